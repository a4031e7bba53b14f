//! Where records begin and end: cuts a file into pieces of whole records, and counts rows and lines.
//!
//! A record ends at a line feed, a carriage return or both (unless they are in quotes); empty lines are none. A quote opens a
//! quoted field only at the field's start. These are the rules of the `csv` crate; tests compare the two.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use memchr::{memchr, memchr_iter, memchr2_iter, memchr3};
use rayon::prelude::*;

use crate::source::Source;
use crate::table::Lines;

/// Some whole records of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The bytes, from `start` to `end`.
    pub start: u64,
    pub end: u64,
    /// The first row, and how many there are.
    pub row: usize,
    pub rows: usize,
}

/// All records of a file.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub pieces: Vec<Piece>,
    pub rows: usize,
    pub lines: Lines,
}

/// Why a scan ended early.
#[derive(Debug)]
pub(crate) enum ScanError {
    Io(io::Error),
    UnclosedQuote { line: u64 },
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// One record in a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Where it begins.
    pub start: usize,
    /// Where the next one may begin.
    pub next: usize,
    /// How many line ends are before it (blank lines), and from its start to `next`.
    pub blank: u64,
    pub lines: u64,
}

/// What is found at some place of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Record(Record),
    /// The buffer ends inside a record (or inside its line ending).
    Partial,
    /// Nothing but so many line ends.
    Nothing {
        blank: u64,
    },
    /// The file ends inside quotes; so many line ends are before the record.
    UnclosedQuote {
        blank: u64,
    },
}

/// Finds the record that starts at or after `from`; `last` says that the file ends where the buffer does.
pub(crate) fn record(buffer: &[u8], from: usize, delimiter: u8, last: bool) -> Found {
    let (mut start, mut blank) = (from, 0);
    loop {
        match buffer.get(start) {
            None => return Found::Nothing { blank },
            Some(b'\n') => (start, blank) = (start + 1, blank + 1),
            Some(b'\r') => match buffer.get(start + 1) {
                Some(b'\n') => (start, blank) = (start + 2, blank + 1),
                None if !last => return Found::Partial,
                _ => (start, blank) = (start + 1, blank + 1),
            },
            Some(_) => break,
        }
    }
    let (mut at, mut lines) = (start, 0);
    let done = |next, lines| Found::Record(Record { start, next, blank, lines });
    loop {
        let Some(k) = memchr3(b'"', b'\n', b'\r', &buffer[at..]) else {
            let len = buffer.len();
            return if last { done(len, lines) } else { Found::Partial };
        };
        let k = at + k;
        match buffer[k] {
            b'\n' => return done(k + 1, lines + 1),
            b'\r' => {
                return match buffer.get(k + 1) {
                    Some(b'\n') => done(k + 2, lines + 1),
                    None if !last => Found::Partial,
                    _ => done(k + 1, lines + 1),
                };
            }
            _ if k == start || buffer[k - 1] == delimiter => {
                let mut close = k + 1;
                loop {
                    let Some(q) = memchr(b'"', &buffer[close..]) else {
                        return if last { Found::UnclosedQuote { blank } } else { Found::Partial };
                    };
                    match buffer.get(close + q + 1) {
                        Some(b'"') => close += q + 2,
                        None if !last => return Found::Partial,
                        _ => {
                            close += q + 1;
                            break;
                        }
                    }
                }
                lines += memchr_iter(b'\n', &buffer[k..close]).count() as u64;
                at = close;
            }
            _ => at = k + 1,
        }
    }
}

/// Scans the records from byte `start` on, which is in line `line`, in pieces of about `size` bytes.
pub(crate) fn scan(
    source: &Source,
    start: u64,
    line: u64,
    delimiter: u8,
    size: u64,
) -> Result<Scan, ScanError> {
    match parallel(source, start, line, delimiter, size)? {
        Some(scan) => Ok(scan),
        None => sequential(source, start, line, delimiter, size),
    }
}

/// What is counted in a piece.
#[derive(Default)]
struct Survey {
    rows: usize,
    lines: u64,
    /// Rows before which the distance between line and row changes, and their lines.
    jumps: Vec<(usize, u64)>,
    shift: Option<u64>,
}

impl Survey {
    /// Counts a row that starts on the current line.
    fn row(&mut self) {
        let shift = self.lines - self.rows as u64;
        if self.shift != Some(shift) {
            self.shift = Some(shift);
            self.jumps.push((self.rows, self.lines));
        }
        self.rows += 1;
    }
}

/// The parallel scan. Each piece starts where a line does, and supposes that a record starts there; if every piece then ends where
/// a record ends, all of them were right, since the first one is. None if one does not (its end is in quotes).
fn parallel(source: &Source, start: u64, line: u64, delimiter: u8, size: u64) -> io::Result<Option<Scan>> {
    let cuts = line_cuts(source, start, size)?;
    let len = source.len();
    let wrong = AtomicBool::new(false);
    let surveys: Vec<Survey> = cuts
        .par_windows(2)
        .map_init(Vec::new, |buffer, cut| {
            if wrong.load(Ordering::Relaxed) {
                return Ok(Survey::default());
            }
            source.read(cut[0], cut[1], buffer)?;
            let bytes = &buffer[..(cut[1] - cut[0]) as usize];
            let survey = survey_lines(bytes).or_else(|| survey_records(bytes, delimiter, cut[1] == len));
            Ok(survey.unwrap_or_else(|| {
                wrong.store(true, Ordering::Relaxed);
                Survey::default()
            }))
        })
        .collect::<io::Result<_>>()?;
    if wrong.into_inner() {
        return Ok(None);
    }
    let mut scan = Scan::default();
    let mut line = line;
    for (survey, cut) in surveys.iter().zip(cuts.windows(2)) {
        scan.pieces.push(Piece { start: cut[0], end: cut[1], row: scan.rows, rows: survey.rows });
        for &(row, at) in &survey.jumps {
            scan.lines.set(scan.rows + row, line + at);
        }
        scan.rows += survey.rows;
        line += survey.lines;
    }
    Ok(Some(scan))
}

/// `start`, the starts of lines about `size` bytes apart, and the end.
fn line_cuts(source: &Source, start: u64, size: u64) -> io::Result<Vec<u64>> {
    const LOOK: u64 = 4096;
    let len = source.len();
    let mut cuts = vec![start.min(len)];
    let mut buffer = Vec::new();
    let mut at = start + size;
    while at < len {
        // A line starts where the byte before it is a line feed.
        let mut from = at - 1;
        let cut = loop {
            let to = (from + LOOK).min(len);
            if from == to {
                break len;
            }
            source.read(from, to, &mut buffer)?;
            match memchr(b'\n', &buffer[..(to - from) as usize]) {
                Some(k) => break from + k as u64 + 1,
                None => from = to,
            }
        };
        cuts.push(cut);
        at = cut + size;
    }
    if cuts.last() != Some(&len) {
        cuts.push(len);
    }
    Ok(cuts)
}

/// Counts rows and lines where every line is a record; None if there is a quote or a lone carriage return.
fn survey_lines(bytes: &[u8]) -> Option<Survey> {
    if memchr2_iter(b'"', b'\r', bytes).any(|i| bytes[i] == b'"' || bytes.get(i + 1) != Some(&b'\n')) {
        return None;
    }
    let mut survey = Survey::default();
    let mut from = 0;
    for end in memchr_iter(b'\n', bytes) {
        if !matches!(&bytes[from..end], b"" | b"\r") {
            survey.row();
        }
        survey.lines += 1;
        from = end + 1;
    }
    if from < bytes.len() {
        survey.row();
    }
    Some(survey)
}

/// Counts rows and lines of any records; None if the last does not end where the bytes do.
fn survey_records(bytes: &[u8], delimiter: u8, last: bool) -> Option<Survey> {
    let mut survey = Survey::default();
    let mut at = 0;
    loop {
        match record(bytes, at, delimiter, last) {
            Found::Record(r) => {
                survey.lines += r.blank;
                survey.row();
                survey.lines += r.lines;
                at = r.next;
            }
            Found::Nothing { blank } => {
                survey.lines += blank;
                return Some(survey);
            }
            Found::Partial | Found::UnclosedQuote { .. } => return None,
        }
    }
}

/// The scan from the start, one record after the other.
fn sequential(source: &Source, start: u64, line: u64, delimiter: u8, size: u64) -> Result<Scan, ScanError> {
    let len = source.len();
    let mut scan = Scan::default();
    let (mut start, mut line, mut buffer, mut window) = (start, line, Vec::new(), size);
    while start < len {
        let end = start.saturating_add(window).min(len);
        let last = end == len;
        source.read(start, end, &mut buffer)?;
        let bytes = &buffer[..(end - start) as usize];
        let mut piece = Piece { start, end, row: scan.rows, rows: 0 };
        let mut at = 0;
        loop {
            match record(bytes, at, delimiter, last) {
                Found::Record(r) => {
                    scan.lines.set(scan.rows, line + r.blank);
                    line += r.blank + r.lines;
                    scan.rows += 1;
                    at = r.next;
                }
                Found::Partial => break,
                Found::Nothing { blank } => {
                    line += blank;
                    at = bytes.len();
                    break;
                }
                Found::UnclosedQuote { blank } => {
                    return Err(ScanError::UnclosedQuote { line: line + blank });
                }
            }
        }
        if at == 0 {
            window = window.saturating_mul(2);
            continue;
        }
        window = size;
        piece.end = start + at as u64;
        piece.rows = scan.rows - piece.row;
        start = piece.end;
        scan.pieces.push(piece);
    }
    Ok(scan)
}
