//! [`Encoder::encode`]: a table into a [`Dataset`].

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use thalweg_core::{Batch, Float};

use crate::dates;
use crate::encoder::{Code, Encoder, TargetCode};
use crate::error::{EncodeError, list};
use crate::learn::{Place, values, weights};
use crate::notes::Note;
use crate::pixels::PixelRows;
use crate::stats::Values;
use crate::table::{Cells, Column, Levels, MISSING, Table};
use crate::target::{Task, number_levels};
use crate::{number, pages};

/// Rows that are encoded together: their numbers fit the second-level cache.
const TILE: usize = 256;

/// Rows as numbers: what a [`Batch`] is a view of.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset<F> {
    /// Numeric features, row-major; empty where `pixels` stand in their place.
    pub dense: Vec<F>,
    /// Numbers in a row of `dense`.
    pub width: usize,
    /// Category codes, row-major: numbers of one-hot features, counted over all categorical columns.
    pub codes: Vec<u32>,
    /// Codes in a row of `codes`.
    pub code_width: usize,
    /// The target in its own units, or the number of the class; empty if it was not asked for.
    pub target: Vec<F>,
    /// The weight of each row, if there is a column of weights and the target was asked for.
    pub weight: Option<Vec<F>>,
    /// The row of the table that each row here comes from.
    pub rows: Vec<u32>,
    /// The images that `rows` are of, where numbers are made as they are read: see [`ImageEncoder::rows`](crate::ImageEncoder::rows).
    pub pixels: Option<PixelRows>,
}

impl<F: Float> Dataset<F> {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows as one batch. Without a target, the batch has none either (and so, by its own count, no rows).
    pub fn batch(&self) -> Batch<'_, F> {
        Batch {
            dense: &self.dense,
            width: self.width,
            codes: &self.codes,
            code_width: self.code_width,
            target: &self.target,
            weight: self.weight.as_deref(),
            index: None,
        }
    }

    /// Appends the numeric features of the row at `at` (from 0), each rounded to `G`.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn append_row<G: Float>(&self, at: usize, to: &mut Vec<G>) {
        match &self.pixels {
            Some(pixels) => pixels.append(self.rows[at], to),
            None => {
                let row = &self.dense[at * self.width..(at + 1) * self.width];
                to.extend(row.iter().map(|x| G::from_f64(x.to_f64())));
            }
        }
    }

    /// The same rows with each number rounded to `G`.
    pub fn cast<G: Float>(&self) -> Dataset<G> {
        let cast = |x: &[F]| x.iter().map(|x| G::from_f64(x.to_f64())).collect();
        Dataset {
            dense: cast(&self.dense),
            width: self.width,
            codes: self.codes.clone(),
            code_width: self.code_width,
            target: cast(&self.target),
            weight: self.weight.as_deref().map(cast),
            rows: self.rows.clone(),
            pixels: self.pixels.clone(),
        }
    }

    /// Replaces each target y by (y − center) / scale, as training on a number wants it.
    pub fn standardise_target(&mut self, code: &TargetCode) {
        let (center, scale) = (code.center, code.scale);
        self.target.iter_mut().for_each(|y| *y = F::from_f64((y.to_f64() - center) / scale));
    }
}

/// One number of a row.
struct Dense<'a> {
    values: Values<'a>,
    center: f64,
    scale: f64,
    /// 1 where missing, 0 elsewhere, instead of the number.
    indicator: bool,
}

/// One code of a row.
struct Codes<'a> {
    codes: Cow<'a, [u32]>,
    /// The one-hot feature of each level.
    feature: Vec<u32>,
    missing: u32,
}

impl Encoder {
    /// Encodes `rows` of a table whose columns may come in any order; with `need_target`, target and weights too.
    ///
    /// All arithmetic is in `f64`; the result is rounded to `F` once.
    ///
    /// # Errors
    /// [`EncodeError`]: a column that is not there, a cell that its column cannot have (of these the first row's), a class that
    /// training did not see.
    pub fn encode<F: Float>(
        &self,
        table: &Table,
        rows: &[u32],
        need_target: bool,
    ) -> Result<Dataset<F>, EncodeError> {
        let (mut dense, mut codes, mut checks) = (Vec::new(), Vec::new(), Vec::new());
        let mut base = 0;
        let by_name: FxHashMap<&str, &Column> =
            table.columns().iter().map(|c| (c.name.as_str(), c)).collect();
        for c in &self.columns {
            if matches!(c.code, Code::Ignored { .. }) {
                continue;
            }
            let Some(&column) = by_name.get(c.name.as_str()) else {
                return Err(self.no_column(table, &c.name));
            };
            self.prepare(column, &c.code, base, &mut dense, &mut codes, &mut checks);
            base += c.code.levels() as u32;
        }
        // The first row in which a cell does not fit, then the first column.
        let bad = checks.par_iter().filter_map(|c| c.first(rows).map(|at| (at, c))).min_by_key(|(at, _)| *at);
        if let Some((at, check)) = bad {
            return Err(check.error(table, rows[at]));
        }
        let (width, code_width) = (dense.len(), codes.len());
        let infinite = AtomicBool::new(false);
        let mut data = Dataset {
            dense: pages::zeros(F::zero(), rows.len() * width),
            width,
            codes: pages::zeros(0, rows.len() * code_width),
            code_width,
            target: Vec::new(),
            weight: None,
            rows: rows.to_vec(),
            pixels: None,
        };
        if width > 0 {
            data.dense.par_chunks_mut(TILE * width).zip(rows.par_chunks(TILE)).for_each(|(out, rows)| {
                let mut met = false;
                for (j, d) in dense.iter().enumerate() {
                    met |= d.write(rows, out, j, width);
                }
                if met {
                    infinite.store(true, Ordering::Relaxed);
                }
            });
        }
        if code_width > 0 {
            data.codes.par_chunks_mut(TILE * code_width).zip(rows.par_chunks(TILE)).for_each(
                |(out, rows)| {
                    for (j, c) in codes.iter().enumerate() {
                        c.write(rows, out, j, code_width);
                    }
                },
            );
        }
        if infinite.into_inner() {
            return Err(self.infinite(table, rows));
        }
        if need_target {
            if let Some(target) = &self.target {
                data.target = self.targets(target, table, rows)?;
            }
            if let Some(weight) = &self.weight {
                self.column(table, weight)?;
                let all = weights(table, weight)?;
                data.weight = Some(rows.iter().map(|&r| F::from_f64(all[r as usize])).collect());
            }
        }
        Ok(data)
    }

    /// The columns of a table that this encoder does not use, as a note.
    pub fn extra_columns(&self, table: &Table) -> Option<Note> {
        let target = self.target.iter().map(|t| &t.column);
        let known: FxHashSet<&String> =
            self.columns.iter().map(|c| &c.name).chain(target).chain(&self.weight).collect();
        let columns: Vec<String> =
            table.columns().iter().map(|c| &c.name).filter(|n| !known.contains(n)).cloned().collect();
        (!columns.is_empty()).then_some(Note::Extra { columns })
    }

    /// The rows of a table that have a target and a weight above 0, and how many have no target.
    ///
    /// # Errors
    /// If the column of the target or of the weights is missing, or a weight is not one.
    pub fn rows_with_target(&self, table: &Table) -> Result<(Vec<u32>, usize), EncodeError> {
        let Some(target) = &self.target else {
            return Ok((table.all_rows(), 0));
        };
        let column = self.column(table, &target.column)?;
        let weights = match &self.weight {
            Some(w) => {
                self.column(table, w)?;
                Some(weights(table, w)?)
            }
            None => None,
        };
        let mut rows = table.all_rows();
        rows.retain(|&r| !column.is_missing(r));
        let missing = table.rows() - rows.len();
        if let Some(w) = weights {
            rows.retain(|&r| w[r as usize] > 0.0);
        }
        Ok((rows, missing))
    }

    fn column<'a>(&self, table: &'a Table, name: &str) -> Result<&'a Column, EncodeError> {
        table.column(name).ok_or_else(|| self.no_column(table, name))
    }

    fn no_column(&self, table: &Table, name: &str) -> EncodeError {
        // A name that the encoder uses for another column is no hint.
        let free = table.columns().iter().map(|c| c.name.as_str());
        let free = free.filter(|n| !self.columns.iter().any(|c| c.name == *n));
        EncodeError::MissingColumn {
            file: table.source().into(),
            column: name.into(),
            nearest: thalweg_core::suggest::nearest(name, free).map(String::from),
        }
    }

    /// Finds where the numbers of a column come from.
    fn prepare<'a>(
        &self,
        column: &'a Column,
        code: &Code,
        base: u32,
        dense: &mut Vec<Dense<'a>>,
        codes: &mut Vec<Codes<'a>>,
        checks: &mut Vec<Check<'a>>,
    ) {
        match code {
            Code::Ignored { .. } => {}
            Code::Number { center, scale, varies, missing } => {
                let values = values(column);
                if let Cells::Text { codes, levels } = &column.cells {
                    let bad = levels.numbers().iter().map(Option::is_none).collect();
                    checks.extend(Check::new(column, codes.into(), bad, false));
                }
                if *missing {
                    dense.push(Dense { values: values.clone(), center: 0.0, scale: 1.0, indicator: true });
                }
                if *varies {
                    let at = dense.len() - usize::from(*missing);
                    dense.insert(at, Dense { values, center: *center, scale: *scale, indicator: false });
                }
            }
            Code::Date { first, parts, missing } => {
                let (level_codes, levels) = as_levels(column);
                let at: Vec<_> = levels.iter().map(dates::parse).collect();
                let first = dates::parse(first).unwrap_or_default();
                let bad = at.iter().map(Option::is_none).collect();
                checks.extend(Check::new(column, level_codes.clone(), bad, true));
                let view = |values: Vec<f64>| match &level_codes {
                    Cow::Borrowed(codes) => Values::Levels { codes, values },
                    // A column of numbers has no dates: the check above fails wherever a cell is present.
                    Cow::Owned(codes) => Values::Owned(codes.iter().map(|_| f64::NAN).collect()),
                };
                for p in parts {
                    let part = |at: &Option<_>| at.map_or(f64::NAN, |at| p.part.of(at, first));
                    let values = view(at.iter().map(part).collect());
                    dense.push(Dense { values, center: p.center, scale: p.scale, indicator: false });
                }
                if *missing {
                    let values = view(vec![0.0; at.len()]);
                    dense.push(Dense { values, center: 0.0, scale: 1.0, indicator: true });
                }
            }
            Code::Category { levels, other, missing } => {
                let (level_codes, found) = as_levels(column);
                let pooled = if *other { base + levels.len() as u32 } else { Batch::<f64>::UNSEEN };
                let gap = if *missing { base + (levels.len() + usize::from(*other)) as u32 } else { pooled };
                let known = Lookup::new(levels);
                let feature = found.iter().map(|l| known.find(l).map_or(pooled, |i| base + i)).collect();
                codes.push(Codes { codes: level_codes, feature, missing: gap });
            }
        }
    }

    /// The error for the first infinite cell; called when there is one.
    fn infinite(&self, table: &Table, rows: &[u32]) -> EncodeError {
        let numeric = self.columns.iter().filter(|c| matches!(c.code, Code::Number { .. }));
        let columns: Vec<&Column> = numeric.filter_map(|c| table.column(&c.name)).collect();
        let values: Vec<Values> = columns.iter().map(|c| values(c)).collect();
        for &row in rows {
            for (column, values) in columns.iter().zip(&values) {
                if values.get(row).is_infinite() {
                    let Place { file, line, column, found } = Place::of(table, column, row);
                    return EncodeError::Infinite { file, line, column, found };
                }
            }
        }
        EncodeError::NoRows { file: table.source().into() }
    }

    fn targets<F: Float>(
        &self,
        target: &TargetCode,
        table: &Table,
        rows: &[u32],
    ) -> Result<Vec<F>, EncodeError> {
        let column = self.column(table, &target.column)?;
        if let Some(&row) = rows.iter().find(|&&r| column.is_missing(r)) {
            let (file, line) = (table.source().into(), table.line(row));
            return Err(EncodeError::TargetMissing { file, line, target: target.column.clone() });
        }
        match &target.task {
            Task::Classes(labels) => {
                let (codes, levels) = as_levels(column);
                let known = Lookup::new(labels);
                let class: Vec<Option<u32>> = levels.iter().map(|l| known.find(l)).collect();
                let find = |&row: &u32| {
                    class[codes[row as usize] as usize].map(|c| F::from_f64(c.into())).ok_or_else(|| {
                        let Place { file, line, column, found } = Place::of(table, column, row);
                        let known = list(labels.iter().map(String::as_str));
                        EncodeError::UnknownClass { file, line, target: column, found, known }
                    })
                };
                rows.iter().map(find).collect()
            }
            Task::Number => {
                let values = values(column);
                let find = |&row: &u32| {
                    let x = values.get(row);
                    let place = || Place::of(table, column, row);
                    if x.is_nan() {
                        let Place { file, line, column, found } = place();
                        return Err(EncodeError::NotANumber { file, line, column, found });
                    }
                    if x.is_infinite() {
                        let Place { file, line, column, found } = place();
                        return Err(EncodeError::Infinite { file, line, column, found });
                    }
                    Ok(F::from_f64(x))
                };
                rows.iter().map(find).collect()
            }
        }
    }
}

/// The cells of a column as levels.
fn as_levels(column: &Column) -> (Cow<'_, [u32]>, Cow<'_, Levels>) {
    match &column.cells {
        Cells::Text { codes, levels } => (codes.into(), Cow::Borrowed(levels)),
        Cells::Numbers(x) => {
            let (codes, levels) = number_levels(x);
            (codes.into(), Cow::Owned(levels))
        }
    }
}

/// Finds a text in a list: the same text, or else the same number (`1` for `1.0`).
struct Lookup<'a> {
    texts: FxHashMap<&'a str, u32>,
    numbers: FxHashMap<u64, u32>,
}

impl<'a> Lookup<'a> {
    fn new(list: &'a [String]) -> Self {
        let texts = list.iter().enumerate().map(|(i, t)| (t.as_str(), i as u32)).collect();
        let mut numbers = FxHashMap::default();
        for (i, text) in list.iter().enumerate() {
            if let Some(x) = Self::number(text) {
                numbers.entry(x).or_insert(i as u32);
            }
        }
        Self { texts, numbers }
    }

    /// The bits of a number, −0 taken for 0.
    fn number(text: &str) -> Option<u64> {
        number::parse(text.as_bytes()).map(|x| (x + 0.0).to_bits())
    }

    fn find(&self, text: &str) -> Option<u32> {
        let same = || self.numbers.get(&Self::number(text)?);
        self.texts.get(text).or_else(same).copied()
    }
}

impl Dense<'_> {
    /// Writes its numbers of `rows` into `out`; true if one of them is infinite.
    fn write<F: Float>(&self, rows: &[u32], out: &mut [F], j: usize, width: usize) -> bool {
        match &self.values {
            Values::Direct(x) => self.write_with(|row| x[row as usize], rows, out, j, width),
            values => self.write_with(|row| values.get(row), rows, out, j, width),
        }
    }

    #[inline(always)]
    fn write_with<F: Float>(
        &self,
        value: impl Fn(u32) -> f64,
        rows: &[u32],
        out: &mut [F],
        j: usize,
        width: usize,
    ) -> bool {
        let mut infinite = false;
        let out = out[j..].iter_mut().step_by(width).zip(rows);
        if self.indicator {
            out.for_each(|(out, &row)| *out = if value(row).is_nan() { F::one() } else { F::zero() });
            return false;
        }
        let (center, scale) = (self.center, self.scale);
        for (out, &row) in out {
            let x = value(row);
            infinite |= x.is_infinite();
            *out = if x.is_nan() { F::zero() } else { F::from_f64((x - center) / scale) };
        }
        infinite
    }
}

impl Codes<'_> {
    fn write(&self, rows: &[u32], out: &mut [u32], j: usize, width: usize) {
        for (out, &row) in out[j..].iter_mut().step_by(width).zip(rows) {
            *out = match self.codes[row as usize] {
                MISSING => self.missing,
                code => self.feature[code as usize],
            };
        }
    }
}

/// A column some of whose levels are not what it should hold.
struct Check<'a> {
    column: &'a Column,
    codes: Cow<'a, [u32]>,
    bad: Vec<bool>,
    date: bool,
}

impl<'a> Check<'a> {
    fn new(column: &'a Column, codes: Cow<'a, [u32]>, bad: Vec<bool>, date: bool) -> Option<Self> {
        bad.contains(&true).then_some(Self { column, codes, bad, date })
    }

    /// The first of `rows` that holds a bad level.
    fn first(&self, rows: &[u32]) -> Option<usize> {
        let bad = |&row: &u32| self.bad.get(self.codes[row as usize] as usize).copied().unwrap_or(false);
        rows.iter().position(bad)
    }

    fn error(&self, table: &Table, row: u32) -> EncodeError {
        let Place { file, line, column, found } = Place::of(table, self.column, row);
        match self.date {
            true => EncodeError::NotADate { file, line, column, found },
            false => EncodeError::NotANumber { file, line, column, found },
        }
    }
}
