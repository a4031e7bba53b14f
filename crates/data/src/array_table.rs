//! [`Table::from_arrays`]: an array of numbers as a table.

use std::path::Path;

use rayon::prelude::*;

use crate::array::{Array, Elements};
use crate::error::ArrayError;
use crate::sniff::few_whole;
use crate::table::{Cells, Column, Lines, MISSING, Table};
use crate::target::number_levels;

/// Columns that are filled together: the numbers of a row that share a cache line.
const GROUP: usize = 8;

impl Table {
    /// The name that the targets of an array have as a column.
    pub const TARGET: &str = "target";

    /// The table of an array `[n, d]` (or `[n]`, one column), with columns `column1`, `column2`, … as a file without names has, and of
    /// its targets, `[n]` or `[n, 1]`, in a last column [`Table::TARGET`]. NaN is a missing cell. Rows stand in lines 1, 2, ….
    ///
    /// # Errors
    /// [`ArrayError::NoTable`], [`ArrayError::Targets`] or [`ArrayError::TooManyRows`].
    pub fn from_arrays(
        file: impl AsRef<Path>,
        features: &Array,
        targets: Option<(&Path, &Array)>,
    ) -> Result<Self, ArrayError> {
        let file = file.as_ref();
        let (rows, width) = match features.shape[..] {
            [n] if n > 0 => (n, 1),
            [n, d] if n > 0 && d > 0 => (n, d),
            _ => return Err(ArrayError::NoTable { file: file.into(), found: features.shape.clone() }),
        };
        if rows >= MISSING as usize {
            return Err(ArrayError::TooManyRows { file: file.into() });
        }
        let mut numbers: Vec<Vec<f64>> = vec![Vec::new(); width];
        numbers.par_chunks_mut(GROUP).enumerate().for_each(|(group, columns)| {
            columns.iter_mut().for_each(|c| c.reserve_exact(rows));
            for row in 0..rows {
                for (j, column) in columns.iter_mut().enumerate() {
                    column.push(features.elements.get(row * width + group * GROUP + j));
                }
            }
        });
        let name = |i: usize| format!("column{}", i + 1);
        let columns = numbers.into_par_iter().enumerate();
        let mut columns: Vec<Column> =
            columns.map(|(i, x)| Column { name: name(i), cells: cells(x) }).collect();
        if let Some((from, targets)) = targets {
            if !matches!(targets.shape[..], [n] | [n, 1] if n == rows) {
                return Err(ArrayError::Targets {
                    file: from.into(),
                    features: file.into(),
                    found: targets.shape.clone(),
                    expected: rows,
                });
            }
            let all = |x: &Elements| (0..rows).map(|row| x.get(row)).collect();
            columns.push(Column { name: Self::TARGET.into(), cells: cells(all(&targets.elements)) });
        }
        Ok(Table { columns, rows, source: file.into(), lines: Lines::default() })
    }
}

/// The form that [`Table`] promises for such numbers.
fn cells(numbers: Vec<f64>) -> Cells {
    let mut whole = Some(Vec::new());
    numbers.iter().filter(|x| !x.is_nan()).for_each(|&x| few_whole(&mut whole, x));
    if whole.is_none() {
        return Cells::Numbers(numbers);
    }
    // −0 is 0.
    let numbers: Vec<f64> = numbers.into_iter().map(|x| x + 0.0).collect();
    let (codes, levels) = number_levels(&numbers);
    Cells::Text { codes, levels }
}
