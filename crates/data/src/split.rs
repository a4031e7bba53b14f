//! [`Split`]: which rows train, which validate, which test.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thalweg_core::random::{Purpose, Stream};

use crate::error::SplitError;
use crate::table::{Cells, MISSING, Table};
use crate::target::number_levels;

/// Rows of one table in three parts without overlap, each ascending.
///
/// A part that comes from a file of its own is empty here: all rows of that file belong to it. Rows in no part (a target is
/// missing, a weight is 0) are used for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Rows to learn from.
    pub train: Vec<u32>,
    /// Rows to stop early and choose by.
    pub valid: Vec<u32>,
    /// Rows that give the score and nothing else.
    pub test: Vec<u32>,
}

/// Where a part comes from: `0.2`, a file, or `none`.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// This fraction of the rows.
    Fraction(f64),
    /// All rows of another file.
    File(PathBuf),
    /// There is no such part.
    None,
}

impl Part {
    /// The fraction, if it is one.
    pub fn fraction(&self) -> Option<f64> {
        match self {
            Part::Fraction(f) => Some(*f),
            Part::File(_) | Part::None => None,
        }
    }
}

impl FromStr for Part {
    type Err = String;
    /// What is a number must be in (0, 1); what is not, and not `none`, is a path.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            _ if text == "none" => Ok(Part::None),
            Ok(f) if f > 0.0 && f < 1.0 => Ok(Part::Fraction(f)),
            Ok(_) => Err(format!("expected a fraction in (0, 1), a file or none, got {text}")),
            Err(_) if text.is_empty() => Err("expected a fraction in (0, 1), a file or none".into()),
            Err(_) => Ok(Part::File(text.into())),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Fraction(x) => x.fmt(f),
            Part::File(path) => path.display().fmt(f),
            Part::None => f.write_str("none"),
        }
    }
}

/// How rows are cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitOptions {
    /// The test part as a fraction of all rows; none without.
    pub test: Option<f64>,
    /// The validation part as a fraction of the rows that do not test; none without.
    pub valid: Option<f64>,
    /// Which rows go where.
    pub by: SplitBy,
    /// The seed of the shuffle.
    pub seed: u64,
}

/// Which rows go into which part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitBy {
    /// Drawn at random; for classes, each class apart, so that all parts have about the same shares.
    Shuffled,
    /// The first rows train, then come those that validate, the last ones test.
    Ordered,
    /// What this column says. If its cells are `train`, `valid` (or `validation`, `val`) and `test`, in any case, they name the part
    /// (and the fractions say nothing). Otherwise rows with equal cells are a group, and groups, in random order, go to test and
    /// then to validation while that brings the part nearer to its fraction; no group is in two parts.
    Column(String),
}

impl FromStr for SplitBy {
    type Err = String;
    /// `shuffled`, `ordered`, or else the name of a column.
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "shuffled" => SplitBy::Shuffled,
            "ordered" => SplitBy::Ordered,
            "" => return Err("expected shuffled, ordered or a column".into()),
            column => SplitBy::Column(column.into()),
        })
    }
}

impl fmt::Display for SplitBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SplitBy::Shuffled => "shuffled",
            SplitBy::Ordered => "ordered",
            SplitBy::Column(column) => column,
        })
    }
}

impl Default for SplitOptions {
    /// A fifth tests, nothing validates, shuffled with seed 0.
    fn default() -> Self {
        Self { test: Some(0.2), valid: None, by: SplitBy::Shuffled, seed: 0 }
    }
}

impl Split {
    /// Cuts `rows` (ascending) of a table; `classes` holds the class of each, if they have one.
    ///
    /// Sizes: the test part has `test·n` rows, rounded to the nearest (half up), at least 1; the validation part `valid` of the
    /// rest. Stratified, each class gives its share of a part rounded down, and the largest remainders (of equal ones the
    /// first class) one more, but no class gives its last row: training has every class.
    ///
    /// The draw depends on the seed and on how many rows there are, not on which: removing rows that are in no part changes
    /// nothing.
    ///
    /// # Errors
    /// [`SplitError`]: a fraction outside (0, 1), too few rows, a part without rows, a column that does not exist or says
    /// something else.
    pub fn new(
        table: &Table,
        rows: &[u32],
        classes: Option<&[u32]>,
        options: &SplitOptions,
    ) -> Result<Self, SplitError> {
        for (part, fraction) in [("test", options.test), ("valid", options.valid)] {
            if let Some(found) = fraction
                && !(found > 0.0 && found < 1.0)
            {
                return Err(SplitError::Fraction { part, found });
            }
        }
        let n = rows.len();
        let parts: Vec<&str> = [("test", options.test), ("valid", options.valid)]
            .iter()
            .filter(|p| p.1.is_some())
            .map(|p| p.0)
            .chain(["train"])
            .collect();
        let few = || SplitError::TooFew { rows: n, parts: parts.join(", ") };
        if n == 0 {
            return Err(few());
        }
        let (test, valid) = sizes(n, options);
        let split = match &options.by {
            SplitBy::Column(column) => by_column(table, rows, column, options)?,
            _ if test + valid >= n => return Err(few()),
            SplitBy::Ordered => {
                let (rest, test) = rows.split_at(n - test);
                let (train, valid) = rest.split_at(rest.len() - valid);
                Self { train: train.into(), valid: valid.into(), test: test.into() }
            }
            SplitBy::Shuffled => {
                let order = shuffled(n, options.seed);
                let class = |i: u32| classes.map_or(0, |c| c[i as usize] as usize);
                let count = 1 + (0..n as u32).map(class).max().unwrap_or(0);
                let mut queues = vec![Vec::new(); count];
                order.into_iter().for_each(|i| queues[class(i)].push(i));
                let free: Vec<usize> = queues.iter().map(|q| q.len().saturating_sub(1)).collect();
                let from_test = apportion(test, &free, &queues.iter().map(Vec::len).collect::<Vec<_>>());
                let left: Vec<usize> = free.iter().zip(&from_test).map(|(f, t)| f - t).collect();
                let sizes: Vec<usize> = queues.iter().zip(&from_test).map(|(q, t)| q.len() - t).collect();
                let from_valid = apportion(valid, &left, &sizes);
                let mut part = vec![0u8; n];
                for ((queue, t), v) in queues.iter().zip(from_test).zip(from_valid) {
                    queue[..t].iter().for_each(|&i| part[i as usize] = 2);
                    queue[t..t + v].iter().for_each(|&i| part[i as usize] = 1);
                }
                let of = |p: u8| rows.iter().zip(&part).filter(|(_, q)| **q == p).map(|(r, _)| *r).collect();
                Self { train: of(0), valid: of(1), test: of(2) }
            }
        };
        let asked = |part: &str| matches!(options.by, SplitBy::Column(_)) || parts.contains(&part);
        let empty = |part: &'static str, rows: &[u32], asked: bool| match rows.is_empty() && asked {
            true => Err(SplitError::EmptyPart { part }),
            false => Ok(()),
        };
        empty("train", &split.train, true)?;
        empty("test", &split.test, asked("test") && options.test.is_some())?;
        empty("valid", &split.valid, asked("valid") && options.valid.is_some())?;
        Ok(split)
    }

    /// [`Split::new`] for rows of something that has no columns, such as images.
    ///
    /// # Errors
    /// As there; no column can say the parts.
    pub fn of_rows(
        source: &Path,
        rows: &[u32],
        classes: Option<&[u32]>,
        options: &SplitOptions,
    ) -> Result<Self, SplitError> {
        let lines = crate::table::Lines::default();
        let table = Table { columns: Vec::new(), rows: rows.len(), source: source.into(), lines };
        Self::new(&table, rows, classes, options)
    }

    fn sorted(mut self) -> Self {
        [&mut self.train, &mut self.valid, &mut self.test].into_iter().for_each(|p| p.sort_unstable());
        self
    }

    /// Writes the parts as CSV: `row,part`, the rows of the data file counted from 0 and ascending.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let mut text = Vec::with_capacity(1 << 16);
        text.extend_from_slice(b"row,part\n");
        let (mut train, mut valid, mut test) = (&self.train[..], &self.valid[..], &self.test[..]);
        loop {
            let next = |rows: &[u32]| rows.first().copied().unwrap_or(u32::MAX);
            let row = next(train).min(next(valid)).min(next(test));
            if row == u32::MAX {
                break;
            }
            push_number(&mut text, row);
            let (part, name) = match row {
                _ if row == next(train) => (&mut train, &b",train\n"[..]),
                _ if row == next(valid) => (&mut valid, &b",valid\n"[..]),
                _ => (&mut test, &b",test\n"[..]),
            };
            text.extend_from_slice(name);
            *part = &part[1..];
            if text.len() > (1 << 16) - 32 {
                to.write_all(&text)?;
                text.clear();
            }
        }
        to.write_all(&text)
    }

    /// Reads what [`Split::write`] writes, for a table of `rows` rows.
    ///
    /// # Errors
    /// [`SplitError::Io`] and [`SplitError::Stored`], which names the line.
    pub fn read(path: &Path, rows: usize) -> Result<Self, SplitError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| SplitError::Io { file: path.into(), source })?;
        Self::parse(path, &text, rows)
    }

    /// [`Split::read`] from memory; `file` stands for the file in errors.
    ///
    /// # Errors
    /// [`SplitError::Stored`].
    pub fn parse(file: &Path, text: &str, rows: usize) -> Result<Self, SplitError> {
        let mut lines = text.lines().zip(1..);
        let error = |line, what: String| Err(SplitError::Stored { file: file.into(), line, what });
        if lines.next().map(|(l, _)| l.trim_end()) != Some("row,part") {
            return error(1, "expected the header row,part".into());
        }
        let mut seen = vec![false; rows];
        let mut split = Self::default();
        for (text, line) in lines {
            if text.is_empty() {
                continue;
            }
            let Some((row, part)) = text.split_once(',') else {
                return error(line, format!("expected a row and its part, found {text:?}"));
            };
            let Some(row) = row.parse::<u32>().ok().filter(|r| (*r as usize) < rows) else {
                return error(line, format!("expected a row from 0 to {}, found {row:?}", rows as i64 - 1));
            };
            if std::mem::replace(&mut seen[row as usize], true) {
                return error(line, format!("row {row} comes a second time"));
            }
            match part.trim_end() {
                "train" => split.train.push(row),
                "valid" => split.valid.push(row),
                "test" => split.test.push(row),
                _ => return error(line, format!("expected train, valid or test, found {part:?}")),
            }
        }
        Ok(split.sorted())
    }
}

/// The number of rows that test, and of those that validate.
fn sizes(n: usize, options: &SplitOptions) -> (usize, usize) {
    let size = |fraction: Option<f64>, n: usize| match fraction {
        Some(f) => ((f * n as f64 + 0.5).floor() as usize).clamp(1, n.max(1)),
        None => 0,
    };
    let test = size(options.test, n);
    (test, size(options.valid, n - test))
}

fn shuffled(n: usize, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    Stream::new(seed, Purpose::Split, 0).shuffle(&mut order);
    order
}

/// Shares `total` out in proportion to `sizes`, at most `free` to each: rounded down first, then one more by largest remainder,
/// then whatever is left in order.
fn apportion(total: usize, free: &[usize], sizes: &[usize]) -> Vec<usize> {
    let n: usize = sizes.iter().sum();
    let exact = |size: usize| total as u128 * size as u128;
    let mut share: Vec<usize> =
        sizes.iter().zip(free).map(|(&s, &f)| ((exact(s) / n.max(1) as u128) as usize).min(f)).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(exact(sizes[i]) % n.max(1) as u128));
    let mut left = total - share.iter().sum::<usize>();
    while left > 0 {
        let before = left;
        for &i in &order {
            if left > 0 && share[i] < free[i] {
                (share[i], left) = (share[i] + 1, left - 1);
            }
        }
        if left == before {
            break;
        }
    }
    share
}

fn by_column(table: &Table, rows: &[u32], name: &str, options: &SplitOptions) -> Result<Split, SplitError> {
    let Some(column) = table.column(name) else {
        return Err(SplitError::UnknownColumn {
            file: table.source().into(),
            column: name.into(),
            nearest: table.nearest(name),
        });
    };
    let own;
    let (codes, levels) = match &column.cells {
        Cells::Text { codes, levels } => (codes, levels),
        Cells::Numbers(x) => {
            own = number_levels(x);
            (&own.0, &own.1)
        }
    };
    #[derive(Clone, Copy)]
    enum Part {
        Train,
        Valid,
        Test,
    }
    let part = |level: &str| match level.to_ascii_lowercase().as_str() {
        "train" | "training" => Some(Part::Train),
        "valid" | "validation" | "val" => Some(Part::Valid),
        "test" | "testing" => Some(Part::Test),
        _ => None,
    };
    let named: Vec<Option<Part>> = levels.iter().map(part).collect();
    let mut split = Split::default();
    if named.iter().any(Option::is_some) {
        for &row in rows {
            match named.get(codes[row as usize] as usize).copied().flatten() {
                Some(Part::Train) => split.train.push(row),
                Some(Part::Valid) => split.valid.push(row),
                Some(Part::Test) => split.test.push(row),
                None => {
                    return Err(SplitError::UnknownPart {
                        file: table.source().into(),
                        line: table.line(row),
                        column: name.into(),
                        found: column.text(row).unwrap_or_default().into_owned(),
                    });
                }
            }
        }
        return Ok(split);
    }
    // Groups in the order of their first row, so that the names do not matter; missing cells are a group.
    let mut group = vec![u32::MAX; levels.len() + 1];
    let mut members: Vec<Vec<u32>> = Vec::new();
    for &row in rows {
        let level = match codes[row as usize] {
            MISSING => levels.len(),
            code => code as usize,
        };
        if group[level] == u32::MAX {
            group[level] = members.len() as u32;
            members.push(Vec::new());
        }
        members[group[level] as usize].push(row);
    }
    let order = shuffled(members.len(), options.seed);
    let (test, valid) = sizes(rows.len(), options);
    for i in order {
        let group = &members[i as usize];
        // Nearer to its size with the group than without.
        let fits = |part: &Vec<u32>, size: usize| part.len() < size && 2 * (size - part.len()) >= group.len();
        let to = match () {
            () if fits(&split.test, test) => &mut split.test,
            () if fits(&split.valid, valid) => &mut split.valid,
            () => &mut split.train,
        };
        to.extend(group);
    }
    Ok(split.sorted())
}

fn push_number(text: &mut Vec<u8>, mut x: u32) {
    let mut digits = [0; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (x % 10) as u8;
        x /= 10;
        if x == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[at..]);
}
