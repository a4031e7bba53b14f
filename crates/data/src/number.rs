//! Cells as numbers: what a number is, what stands for a missing value.

use crate::ReadOptions;

/// What stands for a missing value in every file, beside an empty cell and NaN in any case.
pub const MISSING_TEXTS: [&str; 10] =
    ["NA", "N/A", "n/a", "#N/A", "<NA>", "null", "NULL", "None", "?", "#NA"];

/// A cell without the spaces and tabs around it.
#[inline]
pub(crate) fn trim(mut cell: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = cell {
        cell = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = cell {
        cell = rest;
    }
    cell
}

/// The number that `cell` (trimmed) is: decimal, with or without exponent, or infinite. NaN is no number but a missing cell.
#[inline]
pub(crate) fn parse(cell: &[u8]) -> Option<f64> {
    fast_float2::parse(cell).ok().filter(|x: &f64| !x.is_nan())
}

/// What a cell is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell {
    Missing,
    Number(f64),
    Text,
}

/// Tells missing cells, numbers and text apart.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    texts: Vec<Vec<u8>>,
    /// Markers that are numbers (`-999`) stand for every way to write that number.
    pub numbers: Vec<f64>,
}

impl Rules {
    pub fn new(options: &ReadOptions) -> Self {
        let trimmed = options.missing.iter().map(|m| trim(m.as_bytes()));
        Self {
            numbers: trimmed.clone().filter_map(parse).collect(),
            texts: MISSING_TEXTS.iter().map(|m| m.as_bytes()).chain(trimmed).map(<[u8]>::to_vec).collect(),
        }
    }

    /// What `cell` (trimmed) is.
    pub fn cell(&self, cell: &[u8]) -> Cell {
        if cell.is_empty() || self.texts.iter().any(|m| m == cell) {
            return Cell::Missing;
        }
        match fast_float2::parse::<f64, _>(cell) {
            Ok(x) if x.is_nan() || self.numbers.contains(&x) => Cell::Missing,
            Ok(x) => Cell::Number(x),
            Err(_) => Cell::Text,
        }
    }
}
