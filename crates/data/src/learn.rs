//! [`Encoder::learn`]: what columns are and how they are coded, from training rows alone.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::dates::{self, DatePart};
use crate::encoder::{Code, ColumnCode, Encoder, PartCode, Reason, TargetCode};
use crate::error::EncodeError;
use crate::infer::{ColumnType, text_type};
use crate::notes::Note;
use crate::number;
use crate::stats::{Moments, Values};
use crate::table::{Cells, Column, Levels, MISSING, Table};
use crate::target::{Target, Task, number_levels};

/// A level with fewer training rows is pooled.
pub const MIN_LEVEL_ROWS: usize = 5;

/// What is said about columns; the default lets the training rows say everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EncoderOptions {
    /// The column of weights: weight w is the row w times, weight 0 the row absent.
    pub weight: Option<String>,
    /// What columns are used as, where that is not to be inferred. A column named here is never left out for having many levels.
    pub types: BTreeMap<String, ColumnType>,
    /// Text columns that are used with all their levels, however many there are and however few rows each has.
    pub keep: Vec<String>,
    /// Columns that are not to be used, without a note (the one that says which part of the split a row is in, say).
    pub ignore: Vec<String>,
    /// Whether numbers, parts of dates and a numeric target stay as they are, not centred and scaled; then columns that are the same
    /// in all rows stay too, and a missing number is 0.
    pub raw: bool,
}

/// The weight of every row of a table.
///
/// # Errors
/// If there is no such column, or a cell of it is not a finite number ≥ 0.
pub fn weights(table: &Table, column: &str) -> Result<Vec<f64>, EncodeError> {
    let found = find(table, column, "weight")?;
    let values = values(found);
    (0..table.rows() as u32)
        .map(|row| match values.get(row) {
            w if w >= 0.0 && w.is_finite() => Ok(w + 0.0),
            _ => Err(EncodeError::Weight {
                file: table.source().into(),
                line: table.line(row),
                column: column.into(),
                found: found.text(row).unwrap_or_default().into_owned(),
            }),
        })
        .collect()
}

/// The numbers of a column; what is no number is NaN.
pub(crate) fn values(column: &Column) -> Values<'_> {
    match &column.cells {
        Cells::Numbers(x) => Values::Direct(x),
        Cells::Text { codes, levels } => {
            let values = levels.numbers().into_iter().map(|x| x.unwrap_or(f64::NAN)).collect();
            Values::Levels { codes, values }
        }
    }
}

fn find<'a>(table: &'a Table, column: &str, option: &'static str) -> Result<&'a Column, EncodeError> {
    table.column(column).ok_or_else(|| EncodeError::UnknownColumn {
        file: table.source().into(),
        column: column.into(),
        option,
        nearest: table.nearest(column),
    })
}

impl Encoder {
    /// Learns from `rows` of a table, and says what a person should know. No other row has any influence.
    ///
    /// # Errors
    /// [`EncodeError`]: an option that names no column, a cell that its column cannot have, nothing left to learn from.
    pub fn learn(
        table: &Table,
        rows: &[u32],
        target: Option<&Target>,
        options: &EncoderOptions,
    ) -> Result<(Self, Vec<Note>), EncodeError> {
        let target_name = target.map(|t| t.column.as_str());
        check_options(table, target_name, options)?;
        if rows.is_empty() {
            return Err(EncodeError::NoRows { file: table.source().into() });
        }
        let weights = options.weight.as_deref().map(|w| weights(table, w)).transpose()?;
        let weights = weights.as_deref();
        let rows: Cow<[u32]> = match weights {
            None => rows.into(),
            Some(w) => rows.iter().copied().filter(|&r| w[r as usize] > 0.0).collect(),
        };
        if let (true, Some(column)) = (rows.is_empty(), &options.weight) {
            return Err(EncodeError::NoWeight { file: table.source().into(), column: column.clone() });
        }
        let learner = Learner { table, rows: &rows, weights, raw: options.raw };
        let role = |name: &String| {
            Some(name.as_str()) == target_name
                || Some(name) == options.weight.as_ref()
                || options.ignore.contains(name)
        };
        let learnt: Vec<Result<(ColumnCode, Vec<Note>), EncodeError>> = table
            .columns()
            .par_iter()
            .filter(|c| !role(&c.name))
            .map(|column| {
                let asked = options.types.get(&column.name).copied();
                let keep = options.keep.contains(&column.name);
                let (code, mut notes) = learner.column(column, asked, keep)?;
                if let Code::Ignored { reason } = &code
                    && *reason != Reason::Asked
                {
                    notes = vec![Note::LeftOut { column: column.name.clone(), reason: *reason }];
                }
                Ok((ColumnCode { name: column.name.clone(), code }, notes))
            })
            .collect();
        let (mut columns, mut notes) = (Vec::new(), Vec::new());
        for result in learnt {
            let (column, said) = result?;
            columns.push(column);
            notes.extend(said);
        }
        let target = target.map(|t| learner.target(t)).transpose()?;
        let encoder = Self { columns, target, weight: options.weight.clone() };
        let levels = encoder.levels();
        if levels >= MISSING as usize {
            return Err(EncodeError::TooManyLevels { found: levels });
        }
        if encoder.width() + levels == 0 {
            let reason = |c: &ColumnCode| match &c.code {
                Code::Ignored { reason } => format!("{:?}: {reason}", c.name),
                _ => c.name.clone(),
            };
            let reasons = match encoder.columns.len() {
                0 => "there is none beside the target".into(),
                _ => encoder.columns.iter().map(reason).collect::<Vec<_>>().join("; "),
            };
            return Err(EncodeError::NoFeatures { file: table.source().into(), reasons });
        }
        Ok((encoder, notes))
    }
}

fn check_options(table: &Table, target: Option<&str>, options: &EncoderOptions) -> Result<(), EncodeError> {
    options.types.keys().try_for_each(|c| find(table, c, "types").map(drop))?;
    options.keep.iter().try_for_each(|c| find(table, c, "keep").map(drop))?;
    options.ignore.iter().try_for_each(|c| find(table, c, "ignore").map(drop))?;
    match &options.weight {
        Some(weight) if Some(weight.as_str()) == target => {
            Err(EncodeError::TwoRoles { column: weight.clone(), first: "the target", second: "the weight" })
        }
        _ => Ok(()),
    }
}

struct Learner<'a> {
    table: &'a Table,
    rows: &'a [u32],
    weights: Option<&'a [f64]>,
    raw: bool,
}

/// How often something occurs. Counted so that weight w is the row w times, and that weights which are only relative
/// (they sum to 1, say) make nothing rare.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    rows: usize,
    weight: f64,
}

impl Count {
    fn add(&mut self, weight: f64) {
        self.rows += 1;
        self.weight += weight;
    }

    fn size(self) -> f64 {
        self.weight.max(self.rows as f64)
    }
}

impl Learner<'_> {
    fn column(
        &self,
        column: &Column,
        asked: Option<ColumnType>,
        keep: bool,
    ) -> Result<(Code, Vec<Note>), EncodeError> {
        let ignored = |reason| Ok((Code::Ignored { reason }, Vec::new()));
        if asked == Some(ColumnType::Ignore) {
            return ignored(Reason::Asked);
        }
        let (codes, levels): (Cow<[u32]>, Cow<Levels>) = match &column.cells {
            Cells::Numbers(x) if matches!(asked, None | Some(ColumnType::Number)) => {
                return self.number(column, &Values::Direct(x));
            }
            Cells::Numbers(x) => {
                let (codes, levels) = number_levels(x);
                (codes.into(), Cow::Owned(levels))
            }
            Cells::Text { codes, levels } => (codes.into(), Cow::Borrowed(levels)),
        };
        let (mut counts, mut missing) = (vec![Count::default(); levels.len()], 0);
        for &row in self.rows {
            match codes[row as usize] {
                MISSING => missing += 1,
                code => counts[code as usize].add(self.weights.map_or(1.0, |w| w[row as usize])),
            }
        }
        let present = self.rows.len() - missing;
        if present == 0 {
            return ignored(Reason::Empty);
        }
        let kind = asked.unwrap_or_else(|| text_type(&levels, |l| counts[l].rows, present));
        match kind {
            ColumnType::Number => {
                let values = levels.numbers().into_iter().map(|x| x.unwrap_or(f64::NAN)).collect();
                self.check(
                    column,
                    &codes,
                    &levels,
                    |l| number::parse(l.as_bytes()).is_some(),
                    |at| {
                        let Place { file, line, column, found } = at;
                        EncodeError::NotANumber { file, line, column, found }
                    },
                )?;
                self.number(column, &Values::Levels { codes: &codes, values })
            }
            ColumnType::Date => {
                self.check(
                    column,
                    &codes,
                    &levels,
                    |l| dates::parse(l).is_some(),
                    |at| {
                        let Place { file, line, column, found } = at;
                        EncodeError::NotADate { file, line, column, found }
                    },
                )?;
                Ok(self.date(column, &codes, &levels, &counts))
            }
            _ => {
                let size = self.weights.map_or(present as f64, |w| {
                    let seen = self.rows.iter().filter(|&&r| codes[r as usize] != MISSING);
                    seen.map(|&r| w[r as usize]).sum::<f64>().max(present as f64)
                });
                let many = counts.iter().filter(|c| c.rows > 0).count() as f64 * 2.0 > size;
                if many && asked.is_none() && !keep {
                    return ignored(Reason::Distinct);
                }
                Ok(category(column, &levels, &counts, missing, keep))
            }
        }
    }

    /// The first training row whose level does not fit is an error.
    fn check(
        &self,
        column: &Column,
        codes: &[u32],
        levels: &Levels,
        fits: impl Fn(&str) -> bool,
        error: impl Fn(Place) -> EncodeError,
    ) -> Result<(), EncodeError> {
        let bad: Vec<bool> = levels.iter().map(|l| !fits(l)).collect();
        if !bad.contains(&true) {
            return Ok(());
        }
        let is_bad = |row: &&u32| bad.get(codes[**row as usize] as usize).copied().unwrap_or(false);
        match self.rows.iter().find(is_bad) {
            Some(&row) => Err(error(Place::of(self.table, column, row))),
            None => Ok(()),
        }
    }

    fn number(&self, column: &Column, values: &Values) -> Result<(Code, Vec<Note>), EncodeError> {
        let m = Moments::of(values, self.rows, self.weights);
        if m.present == 0 {
            return Ok((Code::Ignored { reason: Reason::Empty }, Vec::new()));
        }
        if m.min.is_infinite() || m.max.is_infinite() {
            let row = self.rows.iter().copied().find(|&r| values.get(r).is_infinite()).unwrap_or_default();
            let Place { file, line, column, found } = Place::of(self.table, column, row);
            return Err(EncodeError::Infinite { file, line, column, found });
        }
        let (varies, missing) = (m.min < m.max || self.raw, m.missing > 0);
        if !varies && !missing {
            return Ok((Code::Ignored { reason: Reason::Constant }, Vec::new()));
        }
        let notes =
            missing.then(|| Note::Missing { column: column.name.clone(), rows: m.missing, level: false });
        let (center, scale) = self.scaling(&m);
        Ok((Code::Number { center, scale, varies, missing }, notes.into_iter().collect()))
    }

    /// Center and scale of numbers.
    fn scaling(&self, m: &Moments) -> (f64, f64) {
        if self.raw { (0.0, 1.0) } else { (m.mean, m.scale) }
    }

    /// A column of dates of which some are present.
    fn date(&self, column: &Column, codes: &[u32], levels: &Levels, counts: &[Count]) -> (Code, Vec<Note>) {
        let at: Vec<_> = levels.iter().map(dates::parse).collect();
        let seen = at.iter().zip(counts).filter(|(_, c)| c.rows > 0).filter_map(|(at, _)| *at);
        let first = seen.min().unwrap_or_default();
        let mut missing = 0;
        let mut parts = Vec::new();
        for part in DatePart::ALL {
            let values = at.iter().map(|at| at.map_or(f64::NAN, |at| part.of(at, first))).collect();
            let m = Moments::of(&Values::Levels { codes, values }, self.rows, self.weights);
            missing = m.missing;
            if m.min < m.max || self.raw {
                let (center, scale) = self.scaling(&m);
                parts.push(PartCode { part, center, scale });
            }
        }
        if parts.is_empty() && missing == 0 {
            return (Code::Ignored { reason: Reason::Constant }, Vec::new());
        }
        let note = Note::Missing { column: column.name.clone(), rows: missing, level: false };
        let notes = if missing > 0 { vec![note] } else { Vec::new() };
        (Code::Date { first: first.to_string(), parts, missing: missing > 0 }, notes)
    }

    fn target(&self, target: &Target) -> Result<TargetCode, EncodeError> {
        let column = find(self.table, &target.column, "target")?;
        if let Some(&row) = self.rows.iter().find(|&&r| column.is_missing(r)) {
            return Err(EncodeError::TargetMissing {
                file: self.table.source().into(),
                line: self.table.line(row),
                target: target.column.clone(),
            });
        }
        let (center, scale) = match target.task {
            Task::Classes(_) => (0.0, 1.0),
            Task::Number => self.scaling(&Moments::of(&values(column), self.rows, self.weights)),
        };
        Ok(TargetCode { column: target.column.clone(), task: target.task.clone(), center, scale })
    }
}

/// A column of levels, some of them present.
fn category(
    column: &Column,
    levels: &Levels,
    counts: &[Count],
    missing: usize,
    keep: bool,
) -> (Code, Vec<Note>) {
    let enough = |c: &Count| keep || c.size() >= MIN_LEVEL_ROWS as f64;
    let seen = || levels.iter().zip(counts).filter(|(_, c)| c.rows > 0);
    let kept: Vec<String> = seen().filter(|(_, c)| enough(c)).map(|(l, _)| l.to_owned()).collect();
    let rare: Vec<usize> = seen().filter(|(_, c)| !enough(c)).map(|(_, c)| c.rows).collect();
    let (other, gap) = (!rare.is_empty(), missing > 0);
    if kept.len() + usize::from(other) + usize::from(gap) < 2 {
        let reason = if other { Reason::Rare } else { Reason::Constant };
        return (Code::Ignored { reason }, Vec::new());
    }
    let name = || column.name.clone();
    let mut notes = Vec::new();
    if other {
        notes.push(Note::Pooled { column: name(), levels: rare.len(), rows: rare.iter().sum() });
    }
    if gap {
        notes.push(Note::Missing { column: name(), rows: missing, level: true });
    }
    (Code::Category { levels: kept, other, missing: gap }, notes)
}

/// Where a cell is, and what it says.
pub(crate) struct Place {
    pub file: std::path::PathBuf,
    pub line: u64,
    pub column: String,
    pub found: String,
}

impl Place {
    pub fn of(table: &Table, column: &Column, row: u32) -> Self {
        Self {
            file: table.source().into(),
            line: table.line(row),
            column: column.name.clone(),
            found: column.text(row).unwrap_or_default().into_owned(),
        }
    }
}
