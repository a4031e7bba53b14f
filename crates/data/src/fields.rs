//! Fields of one record, quotes undone.
//!
//! Written by hand because it is the inner loop of reading; a test compares it with the `csv` crate on any bytes.

use memchr::{memchr, memchr3};

use crate::number::trim;

/// Where a field is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its bytes in the buffer, quotes excluded; none if they had to be put together in the scratch.
    pub bytes: Option<(usize, usize)>,
    /// The place of the delimiter or line end behind it.
    pub stop: usize,
}

/// The field that starts at `at`. None if the buffer ends before it does.
#[inline]
pub(crate) fn field(buffer: &[u8], at: usize, delimiter: u8, scratch: &mut Vec<u8>) -> Option<Field> {
    let end = |from: usize| memchr3(delimiter, b'\n', b'\r', &buffer[from..]).map(|k| from + k);
    if buffer.get(at) != Some(&b'"') {
        let stop = end(at)?;
        return Some(Field { bytes: Some((at, stop)), stop });
    }
    let start = at + 1;
    let close = start + memchr(b'"', &buffer[start..])?;
    let next = *buffer.get(close + 1)?;
    if next == delimiter || next == b'\n' || next == b'\r' {
        return Some(Field { bytes: Some((start, close)), stop: close + 1 });
    }
    // Two quotes are one; what follows the last is taken as it is.
    scratch.clear();
    let (mut from, mut quote) = (start, close);
    while buffer.get(quote + 1) == Some(&b'"') {
        scratch.extend_from_slice(&buffer[from..=quote]);
        from = quote + 2;
        quote = from + memchr(b'"', &buffer[from..])?;
    }
    scratch.extend_from_slice(&buffer[from..quote]);
    let stop = end(quote + 1)?;
    scratch.extend_from_slice(&buffer[quote + 1..stop]);
    Some(Field { bytes: None, stop })
}

/// Calls `each` with the position and the trimmed bytes of every field of the record that starts at `at`; gives back how many
/// there are. The buffer goes on behind the record.
pub(crate) fn fields(
    buffer: &[u8],
    mut at: usize,
    delimiter: u8,
    mut each: impl FnMut(usize, &[u8]),
) -> usize {
    let mut scratch = Vec::new();
    let mut count = 0;
    while let Some(field) = field(buffer, at, delimiter, &mut scratch) {
        each(count, trim(field.bytes.map_or(&scratch[..], |(start, end)| &buffer[start..end])));
        count += 1;
        if buffer[field.stop] != delimiter {
            break;
        }
        at = field.stop + 1;
    }
    count
}
