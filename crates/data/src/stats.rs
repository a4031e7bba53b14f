//! Means and spreads of a column, in an order of summation that does not depend on threads.

use crate::table::MISSING;

/// The numbers of a column, wherever they lie.
#[derive(Clone, Debug)]
pub(crate) enum Values<'a> {
    /// One after the other; NaN is missing.
    Direct(&'a [f64]),
    /// The same, not borrowed.
    Owned(Vec<f64>),
    /// A number for each level.
    Levels { codes: &'a [u32], values: Vec<f64> },
}

impl Values<'_> {
    /// The number in a row; NaN if missing.
    #[inline(always)]
    pub fn get(&self, row: u32) -> f64 {
        match self {
            Values::Direct(x) => x[row as usize],
            Values::Owned(x) => x[row as usize],
            Values::Levels { codes, values } => match codes[row as usize] {
                MISSING => f64::NAN,
                code => values[code as usize],
            },
        }
    }
}

/// What is known of the numbers in some rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moments {
    /// Σ w x / Σ w over present cells.
    pub mean: f64,
    /// √(Σ w (x − mean)² / Σ w); 1 where that is 0.
    pub scale: f64,
    /// The smallest and largest number; infinite cells count.
    pub min: f64,
    pub max: f64,
    pub missing: usize,
    pub present: usize,
}

impl Moments {
    /// Of the cells in `rows`, each weighing `weights[row]`.
    pub fn of(values: &Values, rows: &[u32], weights: Option<&[f64]>) -> Self {
        match values {
            Values::Direct(x) => Self::with(|row| x[row as usize], rows, weights),
            _ => Self::with(|row| values.get(row), rows, weights),
        }
    }

    fn with(value: impl Fn(u32) -> f64, rows: &[u32], weights: Option<&[f64]>) -> Self {
        let weight = |row: u32| weights.map_or(1.0, |w| w[row as usize]);
        let (mut min, mut max, mut missing) = (f64::INFINITY, f64::NEG_INFINITY, 0);
        let term = |row, inverse: f64| {
            let (x, w): (f64, f64) = (value(row), weight(row));
            if x.is_nan() { (0.0, 0.0) } else { (w * (x * inverse), w) }
        };
        let (mut total, weights) = sum(rows, |row| {
            let x = value(row);
            missing += usize::from(x.is_nan());
            min = if x < min { x } else { min };
            max = if x > max { x } else { max };
            term(row, 1.0)
        });
        // A power of two that brings the squares of very large and very small numbers back into range; else 1.
        let unit = power_of_two_below(min.abs().max(max.abs()));
        let inverse = 1.0 / unit;
        if unit != 1.0 {
            (total, _) = sum(rows, |row| term(row, inverse));
        }
        let present = rows.len() - missing;
        let none = Self { mean: 0.0, scale: 1.0, min, max, missing, present };
        if present == 0 || min.is_infinite() || max.is_infinite() {
            return none;
        }
        let mean = total / weights;
        let (square, _) = sum(rows, |row| {
            let (x, w) = (value(row), weight(row));
            let d = x * inverse - mean;
            if x.is_nan() { (0.0, 0.0) } else { (w * (d * d), 0.0) }
        });
        let scale = (square / weights).sqrt() * unit;
        Self { mean: mean * unit, scale: if scale > 0.0 && min < max { scale } else { 1.0 }, ..none }
    }
}

/// 1 for magnitudes whose squares and sums are in range, else the power of two below.
fn power_of_two_below(x: f64) -> f64 {
    if x == 0.0 || (1e-100..1e100).contains(&x) {
        return 1.0;
    }
    // The mantissa's bits cleared; below the smallest normal number that is 0.
    let power = f64::from_bits(x.to_bits() & 0x7ff0_0000_0000_0000);
    if power > 0.0 { power } else { f64::MIN_POSITIVE }
}

/// Σ over `rows`: blocks of 4,096 rows, four lanes in each, joined in order.
#[inline(always)]
fn sum(rows: &[u32], mut term: impl FnMut(u32) -> (f64, f64)) -> (f64, f64) {
    let (mut total, mut weight) = (0.0, 0.0);
    for block in rows.chunks(4096) {
        let (mut x, mut w) = ([0.0; 4], [0.0; 4]);
        for four in block.chunks(4) {
            for (lane, &row) in four.iter().enumerate() {
                let (a, b) = term(row);
                x[lane] += a;
                w[lane] += b;
            }
        }
        total += (x[0] + x[1]) + (x[2] + x[3]);
        weight += (w[0] + w[1]) + (w[2] + w[3]);
    }
    (total, weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_small_and_of_extreme_numbers() {
        let x = [1.0, f64::NAN, 3.0, 5.0];
        let m = Moments::of(&Values::Direct(&x), &[0, 1, 2, 3], None);
        assert_eq!((m.mean, m.scale, m.min, m.max), (3.0, (8.0f64 / 3.0).sqrt(), 1.0, 5.0));
        assert_eq!((m.missing, m.present), (1, 3));
        // The third weighs as if it were there twice.
        let m = Moments::of(&Values::Direct(&x), &[0, 3], Some(&[1.0, 1.0, 1.0, 3.0]));
        assert_eq!((m.mean, m.scale), (4.0, 3.0f64.sqrt()));
        for unit in [1e300, 1e-300, 1e308, 1e-310] {
            let x = [0.5 * unit, 1.5 * unit];
            let m = Moments::of(&Values::Direct(&x), &[0, 1], None);
            assert!((m.mean / unit - 1.0).abs() < 1e-9 && (m.scale / unit - 0.5).abs() < 1e-9, "{m:?}");
        }
        let constant = Moments::of(&Values::Direct(&[0.1; 7]), &[0, 1, 2, 3, 4, 5, 6], None);
        assert_eq!((constant.scale, constant.min == constant.max), (1.0, true));
    }
}
