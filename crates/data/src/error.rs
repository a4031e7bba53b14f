//! The errors of this crate: each names the place and the values, and says what to do.

use std::io;
use std::path::PathBuf;

mod inputs;

pub use inputs::{ArrayError, ImageError, TextError};

/// Any error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file could not be read as a table.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A target could not be learnt from.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Rows could not be cut into parts.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// A table could not be turned into numbers.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A file is not an array of numbers.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// Files are not images to learn from.
    #[error(transparent)]
    Images(#[from] ImageError),
    /// A text cannot be learnt from.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// Why a file is not a table.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file could not be opened or read.
    #[error("cannot read {}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path is a folder.
    #[error("{} is a folder; name a file in it", .file.display())]
    Folder {
        /// The folder.
        file: PathBuf,
    },
    /// The file has no bytes, or only blank lines.
    #[error("{} is empty; expected a line of column names and then one line for each row", .file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// The file ends after its column names.
    #[error("{} has column names but no rows", .file.display())]
    HeaderOnly {
        /// The file.
        file: PathBuf,
    },
    /// The file starts with a byte-order mark of UTF-16.
    #[error("{} is encoded in UTF-16; save it as UTF-8", .file.display())]
    Utf16 {
        /// The file.
        file: PathBuf,
    },
    /// The file is not text.
    #[error("{} is {what}, not text; expected CSV", .file.display())]
    NotText {
        /// The file.
        file: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// A cell is not valid UTF-8.
    #[error("{}:{line}: column {column:?}: {found:?} is not valid UTF-8; save the file as UTF-8", .file.display())]
    InvalidUtf8 {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column; its position when the name itself is invalid.
        column: String,
        /// The cell, with � for what is invalid.
        found: String,
    },
    /// A row has too many or too few fields.
    #[error(
        "{}:{line}: expected {expected} fields as in line {first}, found {found} (delimiter {delimiter:?}); \
         a field that contains the delimiter must be in quotes", .file.display()
    )]
    Ragged {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// How many fields the line has.
        found: usize,
        /// How many fields the first line has.
        expected: usize,
        /// The number of the first line.
        first: u64,
        /// The delimiter that is used.
        delimiter: char,
    },
    /// A quote is opened and never closed.
    #[error("{}:{line}: a quote is opened in this row and never closed", .file.display())]
    UnclosedQuote {
        /// The file.
        file: PathBuf,
        /// The line of the row, counted from 1.
        line: u64,
    },
    /// Two columns have the same name.
    #[error(
        "{}:{line}: columns {first} and {second} are both named {name:?}; rename one \
         (or say --header no if this line is data)", .file.display()
    )]
    DuplicateColumn {
        /// The file.
        file: PathBuf,
        /// The line of the header, counted from 1.
        line: u64,
        /// The name.
        name: String,
        /// The position of the first, from 1.
        first: usize,
        /// The position of the second, from 1.
        second: usize,
    },
    /// More rows than a row number can count.
    #[error("{} has more than 4294967294 rows", .file.display())]
    TooManyRows {
        /// The file.
        file: PathBuf,
    },
    /// The file grew or shrank while it was read.
    #[error("{} changed while it was read", .file.display())]
    Changed {
        /// The file.
        file: PathBuf,
    },
    /// The delimiter is a byte that cannot delimit.
    #[error(
        "the delimiter must be one ASCII character other than a quote or the end of a line, got {found:?}"
    )]
    Delimiter {
        /// The byte that was asked for.
        found: char,
    },
}

/// Why a column cannot be the target.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// There is no column of that name.
    #[error("{} has no column {target:?}{}; columns: {columns}", .file.display(), hint(.nearest))]
    Unknown {
        /// The file.
        file: PathBuf,
        /// The name that was asked for.
        target: String,
        /// The nearest name there is.
        nearest: Option<String>,
        /// The names there are, the first few.
        columns: String,
    },
    /// No row has a target.
    #[error("{}: target {target:?} is missing in every row", .file.display())]
    AllMissing {
        /// The file.
        file: PathBuf,
        /// The target.
        target: String,
    },
    /// Every row that has a target weighs 0.
    #[error("{}: every row with a target {target:?} has weight 0", .file.display())]
    Weightless {
        /// The file.
        file: PathBuf,
        /// The target.
        target: String,
    },
    /// Every row has the same class.
    #[error("{}: target {target:?} is {class:?} in every row; two classes are needed", .file.display())]
    OneClass {
        /// The file.
        file: PathBuf,
        /// The target.
        target: String,
        /// The class.
        class: String,
    },
    /// Every row has the same number.
    #[error("{}: target {target:?} is {value} in every row; there is nothing to learn", .file.display())]
    Constant {
        /// The file.
        file: PathBuf,
        /// The target.
        target: String,
        /// The number.
        value: f64,
    },
    /// A text target in which nearly every row is a class of its own.
    #[error(
        "{}: target {target:?} is text with {distinct} different values in {rows} rows (such as {example:?}); \
         name another target, or say --task classes", .file.display()
    )]
    TooManyClasses {
        /// The file.
        file: PathBuf,
        /// The target.
        target: String,
        /// How many values differ.
        distinct: usize,
        /// How many rows have a target.
        rows: usize,
        /// One of the values.
        example: String,
    },
    /// A cell of a numeric target is not a number.
    #[error(
        "{}:{line}: target {target:?}: expected a number, found {found:?}; \
         say --missing {found:?} if it stands for a missing value, or --task classes", .file.display()
    )]
    NotANumber {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The target.
        target: String,
        /// The cell.
        found: String,
    },
    /// A cell of a numeric target is infinite.
    #[error("{}:{line}: target {target:?} is infinite ({found})", .file.display())]
    Infinite {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The target.
        target: String,
        /// The cell.
        found: String,
    },
}

/// Why rows cannot be cut into parts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// A fraction is not between 0 and 1.
    #[error("the {part} fraction must be in (0, 1), got {found}")]
    Fraction {
        /// `test` or `valid`.
        part: &'static str,
        /// What was asked for.
        found: f64,
    },
    /// There are too few rows for the parts asked for.
    #[error("{rows} {}: too few for {parts}; say --test none or give more data", plural(*.rows, "row", "rows"))]
    TooFew {
        /// How many rows there are to cut.
        rows: usize,
        /// The parts that were asked for.
        parts: String,
    },
    /// A part has no rows.
    #[error("the {part} part of the split has no rows")]
    EmptyPart {
        /// `train`, `valid` or `test`.
        part: &'static str,
    },
    /// There is no such split column.
    #[error("{} has no column {column:?} to split by{}", .file.display(), hint(.nearest))]
    UnknownColumn {
        /// The file.
        file: PathBuf,
        /// The name that was asked for.
        column: String,
        /// The nearest name there is.
        nearest: Option<String>,
    },
    /// A cell of the split column names no part.
    #[error("{}:{line}: split column {column:?}: expected train, valid or test, found {found:?}", .file.display())]
    UnknownPart {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The split column.
        column: String,
        /// The cell; empty when missing.
        found: String,
    },
    /// The stored split does not fit.
    #[error("{}:{line}: {what}", .file.display())]
    Stored {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong there.
        what: String,
    },
    /// The stored split could not be read.
    #[error("cannot read {}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a table cannot be turned into numbers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A column of the training data is not in this table.
    #[error("{} has no column {column:?}, which the model was trained on{}", .file.display(), hint(.nearest))]
    MissingColumn {
        /// The file.
        file: PathBuf,
        /// The column.
        column: String,
        /// The nearest name there is.
        nearest: Option<String>,
    },
    /// An option names a column that does not exist.
    #[error("{} has no column {column:?}, named by --{option}{}", .file.display(), hint(.nearest))]
    UnknownColumn {
        /// The file.
        file: PathBuf,
        /// The column.
        column: String,
        /// The option, without its dashes.
        option: &'static str,
        /// The nearest name there is.
        nearest: Option<String>,
    },
    /// A cell of a numeric column is not a number.
    #[error(
        "{}:{line}: column {column:?}: expected a number, found {found:?}; say --missing {found:?} if it stands \
         for a missing value, or --types {column}=category if the column is not numeric", .file.display()
    )]
    NotANumber {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column.
        column: String,
        /// The cell.
        found: String,
    },
    /// A cell of a date column is not a date.
    #[error(
        "{}:{line}: column {column:?}: expected a date such as 2024-12-31, found {found:?}; say --missing {found:?} \
         if it stands for a missing value, or --types {column}=category if the column is not dates", .file.display()
    )]
    NotADate {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column.
        column: String,
        /// The cell.
        found: String,
    },
    /// A cell of a numeric column is infinite.
    #[error(
        "{}:{line}: column {column:?}: {found} is not a finite number; say --missing {found} if it stands for a \
         missing value", .file.display()
    )]
    Infinite {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column.
        column: String,
        /// The cell.
        found: String,
    },
    /// A weight is missing, negative, infinite or no number.
    #[error("{}:{line}: weight column {column:?}: expected a number that is not negative, found {found:?}", .file.display())]
    Weight {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column.
        column: String,
        /// The cell; empty when missing.
        found: String,
    },
    /// All weights are 0.
    #[error("{}: weight column {column:?} is 0 in every row that would be trained on", .file.display())]
    NoWeight {
        /// The file.
        file: PathBuf,
        /// The column.
        column: String,
    },
    /// One column is asked to be two things.
    #[error("column {column:?} cannot be {first} and {second} at once")]
    TwoRoles {
        /// The column.
        column: String,
        /// One thing.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// No column is left to learn from.
    #[error("{}: no column is left to learn from: {reasons}", .file.display())]
    NoFeatures {
        /// The file.
        file: PathBuf,
        /// Why each column was left out.
        reasons: String,
    },
    /// There are no rows to learn from.
    #[error("{}: there are no rows to learn from", .file.display())]
    NoRows {
        /// The file.
        file: PathBuf,
    },
    /// A row that needs a target has none.
    #[error("{}:{line}: target {target:?} is missing", .file.display())]
    TargetMissing {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The target.
        target: String,
    },
    /// A class that training did not see.
    #[error("{}:{line}: target {target:?}: class {found:?} was not seen in training; known: {known}", .file.display())]
    UnknownClass {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The target.
        target: String,
        /// The class.
        found: String,
        /// The classes of the model, the first few.
        known: String,
    },
    /// A class is given a weight and does not exist.
    #[error("there is no class {class:?} to give a weight to; classes: {known}")]
    NoSuchClass {
        /// The class.
        class: String,
        /// The classes there are, the first few.
        known: String,
    },
    /// More one-hot features than a code can count.
    #[error("the categories have {found} levels together, more than a code can count")]
    TooManyLevels {
        /// How many there are.
        found: usize,
    },
}

/// `; did you mean "x"?`, if there is something near.
fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|n| format!("; did you mean {n:?}?")).unwrap_or_default()
}

fn plural<'a>(n: usize, one: &'a str, many: &'a str) -> &'a str {
    if n == 1 { one } else { many }
}

/// The first few of a list, for messages: `a, b, c, … (12 in all)`.
pub(crate) fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let n = names.len();
    let mut text = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if n > SHOWN {
        text.push_str(&format!(", … ({n} in all)"));
    }
    text
}
