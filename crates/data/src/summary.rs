//! [`summary`]: what a table holds, column by column.

use rayon::prelude::*;
use rustc_hash::FxHashSet;
use serde::Serialize;

use crate::dates;
use crate::infer::{ColumnType, text_type};
use crate::learn::values;
use crate::stats::Moments;
use crate::table::{Cells, Column, MISSING, Table};

/// How many of the most frequent levels are listed.
const TOP: usize = 5;

/// What a table holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The file.
    pub file: String,
    /// How many rows there are.
    pub rows: usize,
    /// The columns, in the order of the file.
    pub columns: Vec<ColumnSummary>,
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnSummary {
    /// Its name.
    pub name: String,
    /// What it would be used as, were all rows training rows.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// How many cells are missing.
    pub missing: usize,
    /// How many values differ.
    pub distinct: usize,
    /// What the values are.
    #[serde(flatten)]
    pub content: Content,
    /// How many cells are not of the type (text among numbers, say), and the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub misfit: Option<Misfit>,
}

/// Cells that are not of their column's type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Misfit {
    /// How many.
    pub cells: usize,
    /// The line of the first, counted from 1.
    pub line: u64,
    /// What the first says.
    pub found: String,
}

/// The values of a column.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "content", rename_all = "lowercase")]
pub enum Content {
    /// None.
    Empty,
    /// Numbers.
    Numbers {
        /// The smallest.
        min: f64,
        /// The mean.
        mean: f64,
        /// The largest.
        max: f64,
        /// The population standard deviation; 0 for a constant.
        std: f64,
    },
    /// Dates.
    Dates {
        /// The first.
        first: String,
        /// The last.
        last: String,
    },
    /// Texts: the most frequent ones and their rows, of equal ones the first by bytes.
    Levels {
        /// At most five.
        top: Vec<(String, usize)>,
    },
}

/// Sums a table up.
pub fn summary(table: &Table) -> Summary {
    let rows = table.all_rows();
    let columns = table.columns().par_iter().map(|c| summarise(table, c, &rows)).collect();
    Summary { file: table.source().display().to_string(), rows: table.rows(), columns }
}

fn summarise(table: &Table, column: &Column, rows: &[u32]) -> ColumnSummary {
    let missing = column.missing();
    let present = rows.len() - missing;
    let (kind, distinct, content, misfit) = match &column.cells {
        Cells::Numbers(x) => {
            let bits: FxHashSet<u64> =
                x.iter().filter(|x| !x.is_nan()).map(|x| (x + 0.0).to_bits()).collect();
            (ColumnType::Number, bits.len(), numbers(column, rows), None)
        }
        Cells::Text { codes, levels } => {
            let mut count = vec![0usize; levels.len()];
            codes.iter().filter(|c| **c != MISSING).for_each(|&c| count[c as usize] += 1);
            let kind = text_type(levels, |l| count[l], present);
            let fits = |text: &str| match kind {
                ColumnType::Number => crate::number::parse(text.as_bytes()).is_some(),
                ColumnType::Date => dates::parse(text).is_some(),
                _ => true,
            };
            let fits: Vec<bool> = levels.iter().map(fits).collect();
            let bad = |row: &&u32| fits.get(codes[**row as usize] as usize) == Some(&false);
            let misfit = rows.iter().find(bad).map(|&row| Misfit {
                cells: count.iter().zip(&fits).filter(|(_, f)| !**f).map(|(n, _)| n).sum(),
                line: table.line(row),
                found: column.text(row).unwrap_or_default().into_owned(),
            });
            let content = match kind {
                _ if present == 0 => Content::Empty,
                ColumnType::Number => numbers(column, rows),
                ColumnType::Date => {
                    let dates = levels.iter().filter_map(|l| dates::parse(l).map(|at| (at, l)));
                    let first = dates.clone().min().map(|(_, l)| l.to_owned()).unwrap_or_default();
                    Content::Dates { first, last: dates.max().map(|(_, l)| l.to_owned()).unwrap_or_default() }
                }
                _ => {
                    let mut order: Vec<u32> = (0..levels.len() as u32).collect();
                    order.sort_by_key(|&l| std::cmp::Reverse(count[l as usize]));
                    let top = order.iter().take(TOP).map(|&l| (levels.get(l).to_owned(), count[l as usize]));
                    Content::Levels { top: top.collect() }
                }
            };
            // Without values there is nothing to use.
            (if present == 0 { ColumnType::Ignore } else { kind }, levels.len(), content, misfit)
        }
    };
    ColumnSummary { name: column.name.clone(), kind, missing, distinct, content, misfit }
}

fn numbers(column: &Column, rows: &[u32]) -> Content {
    let m = Moments::of(&values(column), rows, None);
    match m.present {
        0 => Content::Empty,
        _ if m.min.is_infinite() || m.max.is_infinite() => {
            Content::Numbers { min: m.min, mean: f64::NAN, max: m.max, std: f64::NAN }
        }
        _ => {
            let std = if m.min < m.max { m.scale } else { 0.0 };
            Content::Numbers { min: m.min, mean: m.mean, max: m.max, std }
        }
    }
}
