//! CSV into a [`Table`].
//!
//! What is recognised, in this order:
//!
//! - **Encoding**: UTF-8, with or without a byte-order mark. UTF-16, gzip, zip, Parquet and other binary files are named
//!   in the error.
//! - **Delimiter**: of `,` `;` tab `|` the one under which the largest share of the first 500 records has as many fields as
//!   the first record (at least two); if that ties, the one that gives more fields, then the one named first. Comma, if none
//!   gives two fields.
//! - **Records** as RFC 4180 and the `csv` crate have them: a field that starts with a quote ends at the next lone quote, a doubled
//!   quote in it is a quote, and it may hold delimiters and line ends; a line ends with LF, CRLF or CR; empty lines are skipped. Every
//!   record must have as many fields as the first one.
//! - **Header**: the first record is one if none of its fields is a number or a date (and one is neither empty nor missing), or
//!   if they count 0, 1, 2, … or 1, 2, 3, …. Without one, columns are `column1`, `column2`, …; so is one whose name is empty.
//! - **Cells**: spaces and tabs around a cell are dropped, inside quotes too. Missing are the empty cell, NaN in any case, the
//!   [`MISSING_TEXTS`](crate::MISSING_TEXTS) and what [`ReadOptions::missing`] adds (if that is a number, every way to
//!   write it). A number is decimal, with a point, with or without exponent; `inf` and `infinity` are infinite.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::error::ReadError;
use crate::fill::{FillError, Sink, fill};
use crate::intern::Interner;
use crate::number::Rules;
use crate::pages;
use crate::scan::{Piece, Scan, ScanError, scan};
use crate::sniff::{Head, few_whole, sniff};
use crate::source::Source;
use crate::table::{Cells, Column, MISSING, Table};

/// How a file is read; the default detects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The byte between fields; detected if absent.
    pub delimiter: Option<u8>,
    /// Whether the first record holds the column names; detected if absent.
    pub header: Option<bool>,
    /// Texts that stand for a missing value, beside those that always do.
    pub missing: Vec<String>,
    /// Columns to keep as text even if all their cells are numbers. A name that the file does not have says nothing.
    pub text: Vec<String>,
}

/// Bytes in a piece: large enough to forget its start-up, small enough for the second-level cache.
const PIECE: u64 = 512 << 10;
/// Where rows are long, a piece has so many of them, so that what a piece keeps for each column stays small beside the column.
const PIECE_ROWS: u64 = 128;
/// But no piece is aimed to be longer than this.
const PIECE_MOST: u64 = 32 << 20;

/// Reads a CSV file.
///
/// The file is read in pieces on the threads of the current rayon pool, twice (rows are counted first), and never held whole;
/// neither the pieces nor the number of threads change the result. What is no regular file is held whole.
///
/// # Errors
/// [`ReadError`]: the first one in the file.
///
/// ```
/// # fn main() -> Result<(), thalweg_data::ReadError> {
/// let table = thalweg_data::read_bytes("in memory", b"size;kind\n1.5;a\n\n2.5;b\n", &Default::default())?;
/// assert_eq!((table.rows(), table.columns()[1].name.as_str(), table.line(1)), (2, "kind", 4));
/// # Ok(()) }
/// ```
pub fn read(path: &Path, options: &ReadOptions) -> Result<Table, ReadError> {
    if path.is_dir() {
        return Err(ReadError::Folder { file: path.into() });
    }
    let source = Source::open(path).map_err(|source| ReadError::Io { file: path.into(), source })?;
    read_source(&source, path, options, None)
}

/// Reads CSV from memory; `name` stands for the file in errors.
///
/// # Errors
/// As [`read`].
pub fn read_bytes(name: &str, bytes: &[u8], options: &ReadOptions) -> Result<Table, ReadError> {
    read_source(&Source::Bytes(bytes), name.as_ref(), options, None)
}

/// [`read_bytes`] in pieces of another size, for tests: the result must not depend on it.
#[doc(hidden)]
pub fn read_bytes_in_pieces(
    name: &str,
    bytes: &[u8],
    options: &ReadOptions,
    piece: u64,
) -> Result<Table, ReadError> {
    read_source(&Source::Bytes(bytes), name.as_ref(), options, Some(piece.max(1)))
}

fn read_source(
    source: &Source,
    file: &Path,
    options: &ReadOptions,
    piece: Option<u64>,
) -> Result<Table, ReadError> {
    let rules = Rules::new(options);
    let head = sniff(source, file, options, &rules)?;
    let piece = piece.unwrap_or((PIECE_ROWS * head.row_bytes).clamp(PIECE, PIECE_MOST));
    let scan = scan(source, head.start, head.line, head.delimiter, piece).map_err(|e| match e {
        ScanError::Io(e) => io_error(e, file),
        ScanError::UnclosedQuote { line } => ReadError::UnclosedQuote { file: file.into(), line },
    })?;
    if scan.rows == 0 {
        return Err(ReadError::HeaderOnly { file: file.into() });
    }
    if scan.rows >= MISSING as usize {
        return Err(ReadError::TooManyRows { file: file.into() });
    }
    let reader = Reader { source, file, head: &head, scan: &scan, rules: &rules };
    let mut store: Vec<Store> = head
        .numbers
        .iter()
        .map(|&n| if n { Store::numbers(scan.rows) } else { Store::text(scan.rows) })
        .collect();
    reader.fill(&mut store)?;
    // Where text came among numbers, the texts of the numbers are needed as well: those columns are read once more.
    let again: Vec<bool> = store.iter().map(Store::met_text).collect();
    if again.contains(&true) {
        let second = |&again: &bool| if again { Store::text(scan.rows) } else { Store::Skip };
        let mut texts: Vec<Store> = again.iter().map(second).collect();
        for (first, again) in store.iter_mut().zip(&again) {
            if *again {
                *first = Store::Skip; // its memory is given back before the texts take theirs
            }
        }
        reader.fill(&mut texts)?;
        for (first, second) in store.iter_mut().zip(texts) {
            if !matches!(second, Store::Skip) {
                *first = second;
            }
        }
    }
    let text: HashSet<&String> = options.text.iter().collect();
    let keep = |name: &String| text.contains(name);
    let columns = store
        .into_par_iter()
        .zip(&head.names)
        .map(|(store, name)| Column {
            name: name.clone(),
            cells: store.finish(&scan.pieces, &rules, keep(name)),
        })
        .collect();
    Ok(Table { columns, rows: scan.rows, source: file.into(), lines: scan.lines })
}

fn io_error(source: std::io::Error, file: &Path) -> ReadError {
    match source.kind() {
        std::io::ErrorKind::UnexpectedEof => ReadError::Changed { file: file.into() },
        _ => ReadError::Io { file: file.into(), source },
    }
}

/// A column while it is read.
enum Store {
    Numbers { values: Vec<f64>, text: AtomicBool },
    Text { codes: Vec<u32>, levels: Vec<Interner> },
    Skip,
}

impl Store {
    fn numbers(rows: usize) -> Self {
        Self::Numbers { values: pages::zeros(0.0, rows), text: AtomicBool::new(false) }
    }

    fn text(rows: usize) -> Self {
        Self::Text { codes: pages::zeros(0, rows), levels: Vec::new() }
    }

    fn met_text(&self) -> bool {
        matches!(self, Store::Numbers { text, .. } if text.load(Ordering::Relaxed))
    }

    /// The part of this column that each piece fills.
    fn sinks<'a>(&'a mut self, pieces: &[Piece], out: &mut [Vec<Sink<'a>>]) {
        match self {
            Store::Skip => out.iter_mut().for_each(|o| o.push(Sink::Skip)),
            Store::Numbers { values, text } => {
                let mut rest = &mut values[..];
                for (piece, out) in pieces.iter().zip(out) {
                    let (head, tail) = rest.split_at_mut(piece.rows);
                    out.push(Sink::Numbers { out: head, text });
                    rest = tail;
                }
            }
            Store::Text { codes, .. } => {
                let mut rest = &mut codes[..];
                for (piece, out) in pieces.iter().zip(out) {
                    let (head, tail) = rest.split_at_mut(piece.rows);
                    out.push(Sink::Text { out: head });
                    rest = tail;
                }
            }
        }
    }

    /// Joins the levels of the pieces, and finds the form that [`Table`] promises.
    fn finish(self, pieces: &[Piece], rules: &Rules, keep_text: bool) -> Cells {
        let (mut codes, parts) = match self {
            Store::Numbers { values, .. } => return Cells::Numbers(values),
            Store::Text { codes, levels } => (codes, levels),
            Store::Skip => (Vec::new(), Vec::new()),
        };
        let mut all = Interner::new();
        let old: Vec<Vec<u32>> = parts
            .iter()
            .map(|p| p.iter().map(|l| all.get(l).expect("checked by its piece")).collect())
            .collect();
        drop(parts);
        let (levels, new) = all.sorted(rules);
        drop(all);
        let mut rest = &mut codes[..];
        for (old, piece) in old.iter().zip(pieces) {
            let (head, tail) = rest.split_at_mut(piece.rows);
            head.iter_mut().for_each(|c| *c = new[old[*c as usize] as usize]);
            rest = tail;
        }
        if !keep_text && !levels.is_empty() {
            let numbers: Option<Vec<f64>> = levels.numbers().into_iter().collect();
            if let Some(numbers) = numbers {
                let mut whole = Some(Vec::new());
                numbers.iter().for_each(|&x| few_whole(&mut whole, x));
                if whole.is_none() {
                    let value = |&c: &u32| numbers.get(c as usize).copied().unwrap_or(f64::NAN);
                    return Cells::Numbers(codes.iter().map(value).collect());
                }
            }
        }
        Cells::Text { codes, levels }
    }
}

struct Reader<'a> {
    source: &'a Source<'a>,
    file: &'a Path,
    head: &'a Head,
    scan: &'a Scan,
    rules: &'a Rules,
}

impl Reader<'_> {
    /// Reads all pieces into `store`. The error is the first in the file, whichever thread met its own first.
    fn fill(&self, store: &mut [Store]) -> Result<(), ReadError> {
        let pieces = &self.scan.pieces;
        let mut sinks: Vec<Vec<Sink>> = pieces.iter().map(|_| Vec::with_capacity(store.len())).collect();
        store.iter_mut().for_each(|s| s.sinks(pieces, &mut sinks));
        let results: Vec<Result<Vec<Interner>, ReadError>> = pieces
            .par_iter()
            .zip(sinks)
            .map_init(Vec::new, |buffer, (piece, sinks)| {
                self.source.read(piece.start, piece.end, buffer).map_err(|e| io_error(e, self.file))?;
                let filled = fill(buffer, piece.rows, self.head.delimiter, self.rules, sinks);
                filled.map_err(|e| self.error(e, piece))
            })
            .collect();
        for result in results {
            let mut parts = result?.into_iter();
            for store in store.iter_mut() {
                if let Store::Text { levels, .. } = store {
                    levels.extend(parts.next());
                }
            }
        }
        Ok(())
    }

    fn error(&self, error: FillError, piece: &Piece) -> ReadError {
        let file = self.file.to_path_buf();
        let line = |row: usize| self.scan.lines.of(piece.row + row);
        match error {
            FillError::Changed => ReadError::Changed { file },
            FillError::Ragged { row, found } => ReadError::Ragged {
                file,
                line: line(row),
                found,
                expected: self.head.names.len(),
                first: self.head.first_line,
                delimiter: self.head.delimiter.into(),
            },
            FillError::InvalidUtf8 { row, column, found } => {
                let column = self.head.names[column].clone();
                ReadError::InvalidUtf8 { file, line: line(row), column, found }
            }
        }
    }
}
