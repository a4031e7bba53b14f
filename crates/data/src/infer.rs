//! What a column is, as its training rows say.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::table::Levels;
use crate::{dates, number};

/// What a column is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// A number.
    Number,
    /// One of several levels.
    Category,
    /// A date.
    Date,
    /// Nothing.
    Ignore,
}

impl ColumnType {
    /// All types, as one may ask for them.
    pub const ALL: [ColumnType; 4] =
        [ColumnType::Number, ColumnType::Category, ColumnType::Date, ColumnType::Ignore];

    /// Its name, as [`FromStr`] reads it.
    pub fn name(self) -> &'static str {
        match self {
            ColumnType::Number => "number",
            ColumnType::Category => "category",
            ColumnType::Date => "date",
            ColumnType::Ignore => "ignore",
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ColumnType {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|t| t.name() == text);
        found.ok_or_else(|| format!("expected number, category, date or ignore, got {text:?}"))
    }
}

/// Whether a column is taken for what `n` of its `of` present cells are: at least 95% of them.
pub(crate) fn is_mostly(n: usize, of: usize) -> bool {
    of > 0 && n as u128 * 100 >= of as u128 * 95
}

/// What a column of text is, of whose levels each occurs in so many rows, `present` in all.
pub(crate) fn text_type(levels: &Levels, rows: impl Fn(usize) -> usize, present: usize) -> ColumnType {
    let share = |fits: fn(&str) -> bool| {
        let fitting = levels.iter().enumerate().map(|(i, l)| (rows(i), l)).filter(|(n, l)| *n > 0 && fits(l));
        is_mostly(fitting.map(|(n, _)| n).sum(), present)
    };
    if share(|l| number::parse(l.as_bytes()).is_some()) {
        ColumnType::Number
    } else if share(|l| dates::parse(l).is_some()) {
        ColumnType::Date
    } else {
        ColumnType::Category
    }
}
