//! [`Table`]: a file as columns, before anything is decided about them.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::number;

/// The code of a missing cell of a text column.
pub const MISSING: u32 = u32::MAX;

/// A file as columns.
///
/// The form of a column depends on what its cells are, not on how or on how many threads the file was read:
/// [`Cells::Numbers`] if every present cell is a number, and some number is not whole or more than 20 differ;
/// [`Cells::Text`] otherwise (texts, dates, whole numbers with few values, numbers among which there is text), and where
/// [`ReadOptions::text`](crate::ReadOptions::text) asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: usize,
    pub(crate) source: PathBuf,
    pub(crate) lines: Lines,
}

impl Table {
    /// The columns, in the order of the file.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// How many rows there are (the header is none).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The numbers of all rows: 0, 1, …
    pub fn all_rows(&self) -> Vec<u32> {
        (0..self.rows as u32).collect()
    }

    /// The file (or the name that was given for it).
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// The position of the column of that name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The name nearest to `name`, for "did you mean".
    pub fn nearest(&self, name: &str) -> Option<String> {
        thalweg_core::suggest::nearest(name, self.columns.iter().map(|c| c.name.as_str())).map(String::from)
    }

    /// The line on which a row starts, counted from 1.
    pub fn line(&self, row: u32) -> u64 {
        self.lines.of(row as usize)
    }
}

/// One column of a [`Table`].
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name: the header's, surrounding blanks removed; `column1`, `column2`, … without a header or where it is empty.
    pub name: String,
    /// Its cells.
    pub cells: Cells,
}

impl PartialEq for Column {
    /// Equal names and equal cells, bit for bit (so a missing number equals a missing number).
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &[f64], b: &[f64]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
        };
        self.name == other.name
            && match (&self.cells, &other.cells) {
                (Cells::Numbers(a), Cells::Numbers(b)) => same(a, b),
                (Cells::Text { codes: a, levels: x }, Cells::Text { codes: b, levels: y }) => {
                    a == b && x == y
                }
                _ => false,
            }
    }
}

/// The cells of a column.
#[derive(Clone, Debug)]
pub enum Cells {
    /// Numbers; NaN is a missing cell. Infinite cells are kept as such: whoever uses the column refuses them.
    Numbers(Vec<f64>),
    /// Texts, each the number of a level; [`MISSING`] is a missing cell.
    Text {
        /// The level of each row.
        codes: Vec<u32>,
        /// The distinct texts, sorted by bytes; surrounding blanks are removed.
        levels: Levels,
    },
}

impl Column {
    /// How many cells are missing.
    pub fn missing(&self) -> usize {
        match &self.cells {
            Cells::Numbers(x) => x.par_iter().with_min_len(1 << 14).filter(|x| x.is_nan()).count(),
            Cells::Text { codes, .. } => {
                codes.par_iter().with_min_len(1 << 14).filter(|&&c| c == MISSING).count()
            }
        }
    }

    /// Whether the cell of that row is missing.
    pub fn is_missing(&self, row: u32) -> bool {
        match &self.cells {
            Cells::Numbers(x) => x[row as usize].is_nan(),
            Cells::Text { codes, .. } => codes[row as usize] == MISSING,
        }
    }

    /// The cell of that row as text, as the file has it or, for a column of numbers, in its shortest form; none if missing.
    pub fn text(&self, row: u32) -> Option<Cow<'_, str>> {
        match &self.cells {
            Cells::Numbers(x) => {
                let x = x[row as usize];
                (!x.is_nan()).then(|| Cow::Owned(x.to_string()))
            }
            Cells::Text { codes, levels } => {
                let code = codes[row as usize];
                (code != MISSING).then(|| Cow::Borrowed(levels.get(code)))
            }
        }
    }

    /// The cell of that row as a number; NaN if it is missing or no number.
    pub fn number(&self, row: u32) -> f64 {
        match &self.cells {
            Cells::Numbers(x) => x[row as usize],
            Cells::Text { codes, levels } => match codes[row as usize] {
                MISSING => f64::NAN,
                code => number::parse(levels.get(code).as_bytes()).unwrap_or(f64::NAN),
            },
        }
    }
}

/// Distinct texts, one after the other in one string.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Levels {
    text: String,
    ends: Vec<usize>,
}

impl Levels {
    /// Adds a text.
    pub fn push(&mut self, level: &str) {
        self.text.push_str(level);
        self.ends.push(self.text.len());
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text of a code.
    pub fn get(&self, code: u32) -> &str {
        let i = code as usize;
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.text[start..self.ends[i]]
    }

    /// All texts, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        (0..self.len()).map(|i| self.get(i as u32))
    }

    /// What each level is as a number.
    pub(crate) fn numbers(&self) -> Vec<Option<f64>> {
        self.iter().map(|l| number::parse(l.as_bytes())).collect()
    }
}

impl<'a> FromIterator<&'a str> for Levels {
    fn from_iter<I: IntoIterator<Item = &'a str>>(iter: I) -> Self {
        let mut levels = Self::default();
        iter.into_iter().for_each(|l| levels.push(l));
        levels
    }
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Which line each row starts on: from `row` on, each row starts one line after the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines(Vec<(u32, u64)>);

impl Lines {
    /// Says that `row` starts on `line`; rows come in order.
    pub fn set(&mut self, row: usize, line: u64) {
        match self.0.last() {
            Some(&(r, l)) if l + (row as u64 - u64::from(r)) == line => {}
            _ => self.0.push((row as u32, line)),
        }
    }

    pub fn of(&self, row: usize) -> u64 {
        let at = self.0.partition_point(|&(r, _)| r as usize <= row);
        match at.checked_sub(1).map(|i| self.0[i]) {
            Some((r, l)) => l + (row - r as usize) as u64,
            None => row as u64 + 1,
        }
    }
}
