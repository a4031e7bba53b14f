//! Fields of one record, quotes undone.

use memchr::memchr;

use crate::number::trim;

/// Splits records; keeps its memory between them.
pub(crate) struct Splitter {
    delimiter: u8,
    reader: csv_core::Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Splitter {
    pub fn new(delimiter: u8) -> Self {
        let reader = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        Self { delimiter, reader, text: Vec::new(), ends: Vec::new() }
    }

    /// Calls `each` with the position and the trimmed bytes of every field of `record` (without its line ending) until it
    /// says stop; gives back how many fields it was called with.
    pub fn split(&mut self, record: &[u8], quote: bool, mut each: impl FnMut(usize, &[u8]) -> bool) -> usize {
        if quote {
            self.unquote(record);
            let mut start = 0;
            for (i, &end) in self.ends.iter().enumerate() {
                if !each(i, trim(&self.text[start..end])) {
                    return i + 1;
                }
                start = end;
            }
            return self.ends.len();
        }
        let (mut rest, mut i) = (record, 0);
        loop {
            let end = memchr(self.delimiter, rest);
            if !each(i, trim(&rest[..end.unwrap_or(rest.len())])) || end.is_none() {
                return i + 1;
            }
            rest = &rest[end.map_or(rest.len(), |e| e + 1)..];
            i += 1;
        }
    }

    /// Reads a record with csv-core.
    fn unquote(&mut self, mut record: &[u8]) {
        self.reader.reset();
        self.text.resize(record.len().max(64), 0);
        self.ends.resize(64.max(self.ends.len()), 0);
        let (mut out, mut ends) = (0, 0);
        loop {
            let (result, read, wrote, ended) =
                self.reader.read_record(record, &mut self.text[out..], &mut self.ends[ends..]);
            (record, out, ends) = (&record[read..], out + wrote, ends + ended);
            match result {
                csv_core::ReadRecordResult::InputEmpty => {} // the next, empty, call says that the input ends
                csv_core::ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                csv_core::ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                csv_core::ReadRecordResult::Record | csv_core::ReadRecordResult::End => break,
            }
        }
        self.text.truncate(out);
        self.ends.truncate(ends);
    }
}
