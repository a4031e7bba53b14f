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
    Numbers { out: &'a mut [f64], block: [f64; BLOCK], text: &'a AtomicBool },
    /// Texts, numbered as they come in this piece.
    Text { out: &'a mut [u32], levels: Interner },
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

impl<'a> Sink<'a> {
    pub fn numbers(out: &'a mut [f64], text: &'a AtomicBool) -> Self {
        Sink::Numbers { out, block: [0.0; BLOCK], text }
    }

    /// Writes the block that ends before `row`.
    fn flush(&mut self, row: usize) {
        if let Sink::Numbers { out, block, .. } = self
            && row > 0
        {
            let start = (row - 1) / BLOCK * BLOCK;
            out[start..row].copy_from_slice(&block[..row - start]);
        }
    }

    /// Stores a trimmed cell; false if it is not UTF-8.
    fn put(&mut self, row: usize, cell: &[u8], rules: &Rules) -> bool {
        match self {
            Sink::Skip => true,
            Sink::Text { out, levels } => {
                let code = levels.get(cell);
                out[row] = code.unwrap_or_default();
                code.is_some()
            }
            Sink::Numbers { block, text, .. } => {
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

/// Reads `rows` records into the sinks, one for each column. The buffer is what [`Source::read`](crate::source::Source::read)
/// gives: line feeds follow the last record.
pub(crate) fn fill(
    buffer: &[u8],
    rows: usize,
    delimiter: u8,
    rules: &Rules,
    sinks: &mut [Sink],
) -> Result<(), FillError> {
    let end = buffer.len() - PAD;
    let width = sinks.len();
    let any_short = rules.numbers.is_empty();
    let mut scratch = Vec::new();
    let mut at = 0;
    for row in 0..rows {
        if row % BLOCK == 0 {
            sinks.iter_mut().for_each(|s| s.flush(row));
        }
        while at < end && matches!(buffer[at], b'\n' | b'\r') {
            at += 1;
        }
        if at >= end {
            return Err(FillError::Changed);
        }
        let begin = at;
        for (column, sink) in sinks.iter_mut().enumerate() {
            let stop = 'field: {
                if let Sink::Numbers { block, .. } = sink
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
                            if !sink.put(row, cell, rules) {
                                return Err(invalid(row, column, cell));
                            }
                            break 'field field.stop;
                        };
                        (start, stop - start, field.stop)
                    }
                };
                let blank = |b: u8| b == b' ' || b == b'\t';
                if let Sink::Text { out, levels } = sink
                    && (1..16).contains(&len)
                    && !blank(buffer[start])
                    && !blank(buffer[start + len - 1])
                {
                    match levels.short(Window::at(buffer, start).first(len), len) {
                        Some(code) => out[row] = code,
                        None => return Err(invalid(row, column, &buffer[start..start + len])),
                    }
                } else {
                    let cell = trim(&buffer[start..start + len]);
                    if !sink.put(row, cell, rules) {
                        return Err(invalid(row, column, cell));
                    }
                }
                stop
            };
            let delimits = buffer[stop] == delimiter;
            if delimits != (column + 1 < width) {
                return Err(FillError::Ragged { row, found: fields(buffer, begin, delimiter, |_, _| {}) });
            }
            at = stop + 1;
        }
    }
    sinks.iter_mut().for_each(|s| s.flush(rows));
    Ok(())
}
