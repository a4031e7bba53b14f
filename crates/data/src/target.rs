//! What is to be predicted: classes or a number.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::MAX_WHOLE_CLASSES;
use crate::error::{TargetError, list};
use crate::infer::is_mostly;
use crate::number;
use crate::sniff::few_whole;
use crate::table::{Cells, Column, Levels, MISSING, Table};

/// What kind of thing is predicted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// One of these classes, in order; their texts are the file's.
    Classes(Vec<String>),
    /// A number.
    Number,
}

/// [`Task`] as one asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// Classes.
    Classes,
    /// A number.
    Number,
}

impl FromStr for TaskKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "classes" => Ok(Self::Classes),
            "number" => Ok(Self::Number),
            _ => Err(format!("expected classes or number, got {text:?}")),
        }
    }
}

/// The target of a table.
///
/// Classes are texts, booleans, and whole numbers with at most [`MAX_WHOLE_CLASSES`] values; any other target is a number. They
/// are ordered by number if all are numbers (and `1` and `1.0` are one class, named by its shorter text), else by bytes, so the
/// order of rows does not matter.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The column.
    pub column: String,
    /// What is predicted.
    pub task: Task,
    /// The rows that have a target and a weight above 0, ascending.
    pub rows: Vec<u32>,
    /// For classes, the class of each of `rows`; empty for a number.
    pub classes: Vec<u32>,
    /// How many rows were left out because the target is missing.
    pub missing: usize,
    /// How many rows with a target were left out because their weight is 0.
    pub weightless: usize,
}

impl Target {
    /// The target in column `name`: of the kind asked for, or of the kind that its cells say. Rows without a target, and rows
    /// that weigh 0 in `weights` (one for each row of the table), are left out.
    ///
    /// # Errors
    /// [`TargetError`]: no such column, nothing to tell apart, a cell that does not fit the kind.
    pub fn infer(
        table: &Table,
        name: &str,
        task: Option<TaskKind>,
        weights: Option<&[f64]>,
    ) -> Result<Self, TargetError> {
        let Some(column) = table.column(name) else {
            return Err(TargetError::Unknown {
                file: table.source().into(),
                target: name.into(),
                nearest: table.nearest(name),
                columns: list(table.columns().iter().map(|c| c.name.as_str())),
            });
        };
        let (file, target) = (table.source().to_path_buf(), name.to_owned());
        let heavy = |row: &u32| weights.is_none_or(|w| w[*row as usize] > 0.0);
        let present: Vec<u32> = (0..table.rows() as u32).filter(|&row| !column.is_missing(row)).collect();
        let missing = table.rows() - present.len();
        let rows: Vec<u32> = present.iter().copied().filter(heavy).collect();
        let weightless = present.len() - rows.len();
        match (rows.is_empty(), weightless) {
            (false, _) => {}
            (true, 0) => return Err(TargetError::AllMissing { file, target }),
            (true, _) => return Err(TargetError::Weightless { file, target }),
        }
        let kind = match task {
            Some(kind) => kind,
            None => kind(table, column, &rows)?,
        };
        let (task, classes) = match kind {
            TaskKind::Classes => {
                let (labels, classes) = classes(column, &rows);
                if labels.len() < 2 {
                    return Err(TargetError::OneClass { file, target, class: labels.concat() });
                }
                (Task::Classes(labels), classes)
            }
            TaskKind::Number => {
                check_numbers(table, column, &rows)?;
                (Task::Number, Vec::new())
            }
        };
        Ok(Self { column: target, task, rows, classes, missing, weightless })
    }
}

/// What the cells of the rows say that the target is.
fn kind(table: &Table, column: &Column, rows: &[u32]) -> Result<TaskKind, TargetError> {
    let (codes, levels) = match &column.cells {
        Cells::Text { codes, levels } => (codes, levels),
        Cells::Numbers(x) => {
            // Other rows may have made this a column of numbers: these rows alone say what the target is.
            let mut whole = Some(Vec::new());
            rows.iter().for_each(|&row| few_whole(&mut whole, x[row as usize]));
            return Ok(if whole.is_some() { TaskKind::Classes } else { TaskKind::Number });
        }
    };
    let numbers = levels.numbers();
    let mut count = vec![0usize; levels.len()];
    rows.iter().for_each(|&row| count[codes[row as usize] as usize] += 1);
    let parsed: usize = count.iter().zip(&numbers).filter(|(_, x)| x.is_some()).map(|(n, _)| n).sum();
    if is_mostly(parsed, rows.len()) {
        if let Some(&row) = rows.iter().find(|&&row| numbers[codes[row as usize] as usize].is_none()) {
            return Err(not_a_number(table, column, row));
        }
        let mut whole = Some(Vec::new());
        let seen = numbers.iter().zip(&count).filter(|(_, n)| **n > 0);
        seen.filter_map(|(x, _)| *x).for_each(|x| few_whole(&mut whole, x));
        return Ok(if whole.is_some() { TaskKind::Classes } else { TaskKind::Number });
    }
    let distinct = count.iter().filter(|&&n| n > 0).count();
    if distinct > MAX_WHOLE_CLASSES && distinct > rows.len() / 2 {
        return Err(TargetError::TooManyClasses {
            file: table.source().into(),
            target: column.name.clone(),
            distinct,
            rows: rows.len(),
            example: levels.get(codes[rows[0] as usize]).into(),
        });
    }
    Ok(TaskKind::Classes)
}

fn not_a_number(table: &Table, column: &Column, row: u32) -> TargetError {
    TargetError::NotANumber {
        file: table.source().into(),
        line: table.line(row),
        target: column.name.clone(),
        found: column.text(row).unwrap_or_default().into_owned(),
    }
}

/// The labels in order, and the class of each row.
fn classes(column: &Column, rows: &[u32]) -> (Vec<String>, Vec<u32>) {
    let own;
    let (codes, levels) = match &column.cells {
        Cells::Text { codes, levels } => (codes, levels),
        Cells::Numbers(values) => {
            own = number_levels(values);
            (&own.0, &own.1)
        }
    };
    let mut seen = vec![false; levels.len()];
    rows.iter().for_each(|&row| seen[codes[row as usize] as usize] = true);
    let used: Vec<u32> = (0..levels.len() as u32).filter(|&l| seen[l as usize]).collect();
    let numbers: Option<Vec<f64>> = used.iter().map(|&l| number::parse(levels.get(l).as_bytes())).collect();
    let mut order: Vec<usize> = (0..used.len()).collect();
    if let Some(x) = &numbers {
        // Equal numbers come together, the shortest text first.
        let text = |i: usize| levels.get(used[i]);
        order.sort_by(|&a, &b| {
            let by_number = x[a].partial_cmp(&x[b]).expect("no NaN");
            by_number.then(text(a).len().cmp(&text(b).len())).then(text(a).cmp(text(b)))
        });
    }
    let mut labels: Vec<String> = Vec::new();
    let mut class = vec![MISSING; levels.len()];
    let mut last = None;
    for i in order {
        let value = numbers.as_ref().map(|x| x[i]);
        if value.is_none() || value != last {
            labels.push(levels.get(used[i]).to_owned());
        }
        last = value;
        class[used[i] as usize] = labels.len() as u32 - 1;
    }
    (labels, rows.iter().map(|&row| class[codes[row as usize] as usize]).collect())
}

/// Numbers as levels: the shortest text of each, sorted.
pub(crate) fn number_levels(values: &[f64]) -> (Vec<u32>, Levels) {
    let mut texts: Vec<String> = Vec::new();
    let mut number = rustc_hash::FxHashMap::default();
    let mut codes: Vec<u32> = Vec::with_capacity(values.len());
    for x in values {
        if x.is_nan() {
            codes.push(MISSING);
            continue;
        }
        codes.push(*number.entry(x.to_bits()).or_insert_with(|| {
            texts.push(x.to_string());
            texts.len() as u32 - 1
        }));
    }
    let mut order: Vec<u32> = (0..texts.len() as u32).collect();
    order.sort_by(|&a, &b| texts[a as usize].cmp(&texts[b as usize]));
    let mut new = vec![0; texts.len()];
    order.iter().enumerate().for_each(|(i, &old)| new[old as usize] = i as u32);
    codes.iter_mut().filter(|c| **c != MISSING).for_each(|c| *c = new[*c as usize]);
    (codes, order.iter().map(|&i| texts[i as usize].as_str()).collect())
}

/// Every cell of the rows is a finite number, and not all are the same.
fn check_numbers(table: &Table, column: &Column, rows: &[u32]) -> Result<(), TargetError> {
    let numbers = match &column.cells {
        Cells::Numbers(_) => Vec::new(),
        Cells::Text { levels, .. } => levels.numbers(),
    };
    let value = |row: u32| match &column.cells {
        Cells::Numbers(x) => Some(x[row as usize]),
        Cells::Text { codes, .. } => numbers[codes[row as usize] as usize],
    };
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    for &row in rows {
        let Some(x) = value(row) else {
            return Err(not_a_number(table, column, row));
        };
        if x.is_infinite() {
            return Err(TargetError::Infinite {
                file: table.source().into(),
                line: table.line(row),
                target: column.name.clone(),
                found: column.text(row).unwrap_or_default().into_owned(),
            });
        }
        (min, max) = (min.min(x), max.max(x));
    }
    if min == max && rows.len() > 1 {
        let (file, target) = (table.source().into(), column.name.clone());
        return Err(TargetError::Constant { file, target, value: min });
    }
    Ok(())
}
