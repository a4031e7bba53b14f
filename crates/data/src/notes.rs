//! [`Note`]: what a person should be told about what was done to the data.

use std::fmt;

use serde::Serialize;

use crate::encoder::Reason;
use crate::error::list;

/// Something that was done to the data and is no error.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "note", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Note {
    /// A column gives no feature.
    LeftOut {
        /// The column.
        column: String,
        /// Why.
        reason: Reason,
    },
    /// Rare levels of a column share one feature.
    Pooled {
        /// The column.
        column: String,
        /// How many levels are pooled.
        levels: usize,
        /// How many training rows have one of them.
        rows: usize,
    },
    /// A column has missing cells: they are given the mean (or a level of their own), and a feature says where.
    Missing {
        /// The column.
        column: String,
        /// In how many training rows.
        rows: usize,
        /// Whether they are a level of a category.
        level: bool,
    },
    /// Columns of a table that the encoder does not know.
    Extra {
        /// The columns.
        columns: Vec<String>,
    },
    /// Files in a folder of images that are none.
    NotImages {
        /// How many.
        files: usize,
        /// The first of them.
        first: String,
    },
    /// Images that are partly transparent: transparency is left out.
    Transparent {
        /// How many.
        files: usize,
        /// The first of them.
        first: String,
    },
    /// Rare characters of a text share one symbol.
    PooledCharacters {
        /// The characters, sorted.
        characters: Vec<char>,
        /// How often they occur in training, together.
        times: usize,
        /// A character that occurs less often is rare.
        least: usize,
    },
    /// A text is not valid UTF-8 and is taken as bytes.
    Bytes {
        /// Where the first byte that is not valid lies, from 0.
        offset: usize,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = |n: usize| if n == 1 { "" } else { "s" };
        match self {
            Note::LeftOut { column, reason: reason @ (Reason::Distinct | Reason::Rare) } => {
                write!(f, "column {column:?} is left out: {reason} (--keep {column:?} to use it)")
            }
            Note::LeftOut { column, reason } => write!(f, "column {column:?} is left out: {reason}"),
            Note::Pooled { column, levels, rows } => write!(
                f,
                "column {column:?}: {levels} level{} with fewer than 5 training rows ({rows} row{} together) \
                 count{} as \"other\"",
                s(*levels),
                s(*rows),
                if *levels == 1 { "s" } else { "" }
            ),
            Note::Missing { column, rows, level: false } => write!(
                f,
                "column {column:?}: missing in {rows} training row{}; the mean is used, and a feature says where",
                s(*rows)
            ),
            Note::Missing { column, rows, level: true } => {
                write!(f, "column {column:?}: missing in {rows} training row{}; a level of its own", s(*rows))
            }
            Note::Extra { columns } => {
                let names = list(columns.iter().map(String::as_str));
                write!(
                    f,
                    "not used, since the model does not know {}: {names}",
                    if columns.len() == 1 { "it" } else { "them" }
                )
            }
            Note::NotImages { files, first } => {
                write!(f, "{files} file{} not .png, .jpg or .jpeg left out, such as {first:?}", s(*files))
            }
            Note::Transparent { files, first } => {
                write!(
                    f,
                    "{files} image{} with transparency, which is left out, such as {first:?}",
                    s(*files)
                )
            }
            Note::PooledCharacters { characters, times, least } => {
                let shown: Vec<String> = characters.iter().map(|c| format!("{c:?}")).collect();
                write!(
                    f,
                    "{} character{} seen fewer than {least} times in training ({times} together) count{} as \"other\": {}",
                    characters.len(),
                    s(characters.len()),
                    if characters.len() == 1 { "s" } else { "" },
                    list(shown.iter().map(String::as_str))
                )
            }
            Note::Bytes { offset } => {
                write!(f, "byte {offset} is not valid UTF-8: the text is taken as bytes, not characters")
            }
        }
    }
}
