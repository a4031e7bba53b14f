//! The head of a file: encoding, delimiter, header, and what its first rows look like.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::error::ReadError;
use crate::fields::fields;
use crate::number::{Cell, Rules, parse};
use crate::scan::{Found, Record, record};
use crate::source::Source;
use crate::window::PAD;
use crate::{MAX_WHOLE_CLASSES, ReadOptions, dates};

/// How much of a file is looked at, unless its first two records are longer.
const HEAD: u64 = 64 << 10;
/// What is read at most so that every delimiter gives two records.
const LONG_HEAD: u64 = 16 << 20;
/// How many records are looked at.
const RECORDS: usize = 500;
/// The delimiters that are recognised, the first ones preferred.
pub const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// What the head of a file says.
#[derive(Debug)]
pub(crate) struct Head {
    pub delimiter: u8,
    pub names: Vec<String>,
    /// The line of the first record.
    pub first_line: u64,
    /// Where the rows begin, and in which line.
    pub start: u64,
    pub line: u64,
    /// The length of the last record that was looked at.
    pub row_bytes: u64,
    /// For each column, whether its first cells are such that it will be [`Cells::Numbers`](crate::Cells) unless text comes.
    pub numbers: Vec<bool>,
}

/// Reads the head of a file.
pub(crate) fn sniff(
    source: &Source,
    file: &Path,
    options: &ReadOptions,
    rules: &Rules,
) -> Result<Head, ReadError> {
    let io = |source| ReadError::Io { file: file.into(), source };
    let candidates = match options.delimiter {
        Some(d)
            if d.is_ascii()
                && !matches!(d, b'"' | b'\n' | b'\r' | b'.' | b'-')
                && !d.is_ascii_alphanumeric() =>
        {
            vec![d]
        }
        Some(d) => return Err(ReadError::Delimiter { found: d.into() }),
        None => DELIMITERS.to_vec(),
    };
    let (mut buffer, mut size, len) = (Vec::new(), HEAD, source.len());
    loop {
        let end = size.min(len);
        source.read(0, end, &mut buffer).map_err(io)?;
        let last = end == len;
        let bytes = &buffer[..end as usize];
        not_text(bytes, file)?;
        let bom = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let heads: Vec<Sample> = candidates
            .iter()
            .map(|&d| Sample::take(&buffer, bom, d, last, file))
            .collect::<Result<_, _>>()?;
        // Under a wrong delimiter a record may seem to go on for ever.
        let short = heads.iter().filter(|h| h.records.len() < 2).count();
        if !last && (short == heads.len() || short > 0 && size < LONG_HEAD) {
            size *= 2;
            continue;
        }
        let unclosed = heads.iter().filter(|h| h.records.is_empty()).find_map(|h| h.unclosed);
        // The first of the best: `max_by` would take the last.
        let heads = heads.into_iter().filter(|h| !h.records.is_empty());
        let best = heads.reduce(|a, b| if b.score() > a.score() { b } else { a });
        let sample = match (best, unclosed) {
            (Some(best), None) => best,
            (Some(best), _) if best.widths[0] > 1 => best,
            (_, line) => return Err(ReadError::UnclosedQuote { file: file.into(), line: line.unwrap_or(1) }),
        };
        return sample.head(&buffer, bom, file, options, rules);
    }
}

fn not_text(bytes: &[u8], file: &Path) -> Result<(), ReadError> {
    let what = match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Err(ReadError::Utf16 { file: file.into() }),
        [0x1f, 0x8b, ..] => "a gzip file",
        [b'P', b'K', 3 | 5, 4 | 6, ..] => "a zip file (or a spreadsheet)",
        [b'P', b'A', b'R', b'1', ..] => "a Parquet file",
        _ if bytes.contains(&0) => "a binary file",
        _ => return Ok(()),
    };
    Err(ReadError::NotText { file: file.into(), what })
}

/// The first records of a file under one delimiter.
struct Sample {
    delimiter: u8,
    records: Vec<Record>,
    widths: Vec<usize>,
    /// The line of a record whose quote is never closed.
    unclosed: Option<u64>,
}

impl Sample {
    fn take(buffer: &[u8], from: usize, delimiter: u8, last: bool, file: &Path) -> Result<Self, ReadError> {
        let mut sample = Self { delimiter, records: Vec::new(), widths: Vec::new(), unclosed: None };
        let (mut at, mut line) = (from, 1);
        while sample.records.len() < RECORDS {
            match record(&buffer[..buffer.len() - PAD], at, delimiter, last) {
                Found::Record(r) => {
                    sample.widths.push(fields(buffer, r.start, delimiter, |_, _| {}));
                    (at, line) = (r.next, line + r.blank + r.lines);
                    sample.records.push(r);
                }
                Found::Partial => break,
                Found::Nothing { .. } if sample.records.is_empty() && last => {
                    return Err(ReadError::Empty { file: file.into() });
                }
                Found::Nothing { .. } => break,
                Found::UnclosedQuote { blank } => {
                    sample.unclosed = Some(line + blank);
                    break;
                }
            }
        }
        Ok(sample)
    }

    /// The share of records with as many fields as the first (0 if that is one field), then how many that are.
    fn score(&self) -> (f64, usize) {
        let first = self.widths.first().copied().unwrap_or(0);
        if first < 2 {
            return (0.0, 0);
        }
        let same = self.widths.iter().filter(|&&w| w == first).count();
        (same as f64 / self.widths.len() as f64, first)
    }

    fn head(
        self,
        buffer: &[u8],
        bom: usize,
        file: &Path,
        options: &ReadOptions,
        rules: &Rules,
    ) -> Result<Head, ReadError> {
        let cells = |r: &Record| {
            let mut cells = Vec::new();
            fields(buffer, r.start, self.delimiter, |_, cell| cells.push(cell.to_vec()));
            cells
        };
        let first = &self.records[0];
        let names = cells(first);
        let rest: Vec<Vec<Vec<u8>>> = self.records[1..].iter().map(cells).collect();
        let header = options.header.unwrap_or_else(|| is_header(&names, rules));
        let first_line = 1 + first.blank;
        let numbered = |i: usize| format!("column{}", i + 1);
        let (start, line) = match header {
            true => (first.next as u64, first_line + first.lines),
            false => (bom as u64, 1),
        };
        let text = |(i, name): (usize, &Vec<u8>)| match std::str::from_utf8(name) {
            _ if !header => Ok(numbered(i)),
            Ok("") => Ok(numbered(i)),
            Ok(name) => Ok(name.to_owned()),
            Err(_) => Err(ReadError::InvalidUtf8 {
                file: file.into(),
                line: first_line,
                column: (i + 1).to_string(),
                found: String::from_utf8_lossy(name).into_owned(),
            }),
        };
        let texts: Vec<String> = names.iter().enumerate().map(text).collect::<Result<_, _>>()?;
        distinct(&texts, file, first_line)?;
        let own = if header { None } else { Some(&names) };
        let rows = own.into_iter().chain(&rest);
        let text: HashSet<&String> = options.text.iter().collect();
        let numbers = texts
            .iter()
            .enumerate()
            .map(|(i, name)| {
                !text.contains(name)
                    && looks_numeric(rows.clone().filter_map(|r| r.get(i).map(Vec::as_slice)), rules)
            })
            .collect();
        let row_bytes = self.records.last().map_or(0, |r| (r.next - r.start) as u64);
        Ok(Head { delimiter: self.delimiter, names: texts, first_line, start, line, row_bytes, numbers })
    }
}

/// A first record is a header if none of its cells is a number or a date (and one is not empty), or if they count 0, 1, 2, …
/// or 1, 2, 3, …
fn is_header(names: &[Vec<u8>], rules: &Rules) -> bool {
    let numbers: Vec<Option<f64>> = names.iter().map(|n| parse(n)).collect();
    let counts = |from: usize| {
        names.len() > 1 && numbers.iter().enumerate().all(|(i, n)| *n == Some((i + from) as f64))
    };
    let text = |n: &Vec<u8>| rules.cell(n) == Cell::Text;
    let date = |n: &Vec<u8>| std::str::from_utf8(n).is_ok_and(|n| dates::parse(n).is_some());
    let named = numbers.iter().all(Option::is_none) && names.iter().any(text) && !names.iter().any(date);
    named || counts(0) || counts(1)
}

fn distinct(names: &[String], file: &Path, line: u64) -> Result<(), ReadError> {
    let mut seen = HashMap::new();
    for (second, name) in names.iter().enumerate() {
        if let Some(first) = seen.insert(name, second) {
            let (file, name) = (file.into(), name.clone());
            return Err(ReadError::DuplicateColumn {
                file,
                line,
                name,
                first: first + 1,
                second: second + 1,
            });
        }
    }
    Ok(())
}

/// Whether all present cells are numbers, and not only a few whole ones.
fn looks_numeric<'a>(cells: impl Iterator<Item = &'a [u8]>, rules: &Rules) -> bool {
    let (mut some, mut whole) = (false, Some(Vec::new()));
    for cell in cells {
        match rules.cell(cell) {
            Cell::Missing => {}
            Cell::Text => return false,
            Cell::Number(x) => {
                some = true;
                few_whole(&mut whole, x);
            }
        }
    }
    some && whole.is_none()
}

/// Keeps the distinct values as long as they are whole and few.
pub(crate) fn few_whole(seen: &mut Option<Vec<f64>>, x: f64) {
    if let Some(values) = seen
        && !values.contains(&x)
    {
        values.push(x);
        if x.fract() != 0.0 || values.len() > MAX_WHOLE_CLASSES {
            *seen = None;
        }
    }
}
