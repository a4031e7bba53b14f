//! Cells of a piece of a file into columns.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::fields::{field, fields};
use crate::intern::Interner;
use crate::number::{Cell, Rules, trim};
use crate::window::{PAD, Window, field_end, short_number};

/// Rows that are gathered before they are written to their columns. Columns of equal length tend to start at equal offsets in
/// a page, so that the same row of many columns falls into one set of the first-level cache; written row by row, every store
/// would miss it.
const BLOCK: usize = 32;

/// Where the cells of one column of one piece go.
pub(crate) enum Sink<'a> {
    /// Numbers; text sets the flag.
    Numbers { out: &'a mut [f64], text: &'a AtomicBool },
    /// Texts, numbered as they come in this piece.
    Text { out: &'a mut [u32] },
    /// Nowhere.
    Skip,
}

/// Why a piece could not be read.
#[derive(Debug)]
pub(crate) enum FillError {
    /// The row (in the piece) has so many fields.
    Ragged { row: usize, found: usize },
    /// The cell is not UTF-8.
    InvalidUtf8 { row: usize, column: usize, found: String },
    /// The piece has not the rows that the scan has counted.
    Changed,
}

/// A sink and what it gathers.
enum Column<'a> {
    Numbers { out: &'a mut [f64], block: [f64; BLOCK], text: &'a AtomicBool },
    Text { out: &'a mut [u32], levels: Interner },
    Skip,
}

impl<'a> Column<'a> {
    fn new(sink: Sink<'a>) -> Self {
        match sink {
            Sink::Numbers { out, text } => Self::Numbers { out, block: [0.0; BLOCK], text },
            Sink::Text { out } => Self::Text { out, levels: Interner::new() },
            Sink::Skip => Self::Skip,
        }
    }

    /// Writes the block that ends before `row`.
    fn flush(&mut self, row: usize) {
        if let Self::Numbers { out, block, .. } = self
            && row > 0
        {
            let start = (row - 1) / BLOCK * BLOCK;
            out[start..row].copy_from_slice(&block[..row - start]);
        }
    }

    /// Stores a trimmed cell; false if it is not UTF-8.
    fn put(&mut self, row: usize, cell: &[u8], rules: &Rules) -> bool {
        match self {
            Self::Skip => true,
            Self::Text { out, levels } => {
                let code = levels.get(cell);
                out[row] = code.unwrap_or_default();
                code.is_some()
            }
            Self::Numbers { block, text, .. } => {
                block[row % BLOCK] = match rules.cell(cell) {
                    Cell::Number(x) => x,
                    Cell::Missing => f64::NAN,
                    Cell::Text => {
                        text.store(true, Ordering::Relaxed);
                        return std::str::from_utf8(cell).is_ok();
                    }
                };
                true
            }
        }
    }
}

fn invalid(row: usize, column: usize, cell: &[u8]) -> FillError {
    let found = String::from_utf8_lossy(cell).chars().take(40).collect();
    FillError::InvalidUtf8 { row, column, found }
}

/// Reads `rows` records into the sinks, one for each column; gives back the texts of each column of texts, in order. The buffer is
/// what [`Source::read`](crate::source::Source::read) gives: line feeds follow the last record.
pub(crate) fn fill(
    buffer: &[u8],
    rows: usize,
    delimiter: u8,
    rules: &Rules,
    sinks: Vec<Sink>,
) -> Result<Vec<Interner>, FillError> {
    let end = buffer.len() - PAD;
    let width = sinks.len();
    let mut columns: Vec<Column> = sinks.into_iter().map(Column::new).collect();
    let any_short = rules.numbers.is_empty();
    let mut scratch = Vec::new();
    let mut at = 0;
    for row in 0..rows {
        if row % BLOCK == 0 {
            columns.iter_mut().for_each(|c| c.flush(row));
        }
        while at < end && matches!(buffer[at], b'\n' | b'\r') {
            at += 1;
        }
        if at >= end {
            return Err(FillError::Changed);
        }
        let begin = at;
        for (position, column) in columns.iter_mut().enumerate() {
            let stop = 'field: {
                if let Column::Numbers { block, .. } = column
                    && any_short
                    && let Some((x, len)) = short_number(buffer, at, delimiter)
                {
                    block[row % BLOCK] = x;
                    break 'field at + len;
                }
                let (start, len, stop) = match field_end(buffer, at, delimiter) {
                    len if len < 16 && buffer[at] != b'"' => (at, len, at + len),
                    _ => {
                        let field = field(buffer, at, delimiter, &mut scratch).ok_or(FillError::Changed)?;
                        let Some((start, stop)) = field.bytes else {
                            let cell = trim(&scratch);
                            if !column.put(row, cell, rules) {
                                return Err(invalid(row, position, cell));
                            }
                            break 'field field.stop;
                        };
                        (start, stop - start, field.stop)
                    }
                };
                let blank = |b: u8| b == b' ' || b == b'\t';
                if let Column::Text { out, levels } = column
                    && (1..16).contains(&len)
                    && !blank(buffer[start])
                    && !blank(buffer[start + len - 1])
                {
                    match levels.short(Window::at(buffer, start).first(len), len) {
                        Some(code) => out[row] = code,
                        None => return Err(invalid(row, position, &buffer[start..start + len])),
                    }
                } else {
                    let cell = trim(&buffer[start..start + len]);
                    if !column.put(row, cell, rules) {
                        return Err(invalid(row, position, cell));
                    }
                }
                stop
            };
            let delimits = buffer[stop] == delimiter;
            if delimits != (position + 1 < width) {
                return Err(FillError::Ragged { row, found: fields(buffer, begin, delimiter, |_, _| {}) });
            }
            at = stop + 1;
        }
    }
    columns.iter_mut().for_each(|c| c.flush(rows));
    let levels = |c| if let Column::Text { levels, .. } = c { Some(levels) } else { None };
    Ok(columns.into_iter().filter_map(levels).collect())
}
