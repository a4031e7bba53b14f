//! Matrix products: the one door for all of them.
//!
//! `C ← α·A·B + β·C`, any of the three with any strides, so that transposes cost nothing to ask for. Blocks are fixed in advance
//! and sums run over the inner axis in one order, so the result has the same bits on any number of threads.

use crate::{Float, Threads};

/// A matrix to be read: `rows × cols` numbers, element (i, j) at `data[i·row + j·col]`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a, F> {
    data: &'a [F],
    rows: usize,
    cols: usize,
    row: usize,
    col: usize,
}

impl<'a, F> Mat<'a, F> {
    /// `rows × cols` numbers, row after row.
    ///
    /// # Panics
    /// When `data` has fewer numbers.
    pub fn new(data: &'a [F], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols, 1)
    }
    /// With strides of its own, both above 0.
    ///
    /// # Panics
    /// When the last element lies outside `data`.
    pub fn strided(data: &'a [F], rows: usize, cols: usize, row: usize, col: usize) -> Self {
        assert!(reach(rows, cols, row, col) <= data.len(), "a {rows}×{cols} matrix does not fit its data");
        Self { data, rows, cols, row, col }
    }
    /// The transpose: the same numbers.
    pub fn t(self) -> Self {
        Self { data: self.data, rows: self.cols, cols: self.rows, row: self.col, col: self.row }
    }
    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// How many columns.
    pub fn cols(&self) -> usize {
        self.cols
    }
}

/// A matrix to be written: as [`Mat`].
#[derive(Debug)]
pub struct MatMut<'a, F> {
    data: &'a mut [F],
    rows: usize,
    cols: usize,
    row: usize,
    col: usize,
}

impl<'a, F> MatMut<'a, F> {
    /// `rows × cols` numbers, row after row.
    ///
    /// # Panics
    /// When `data` has fewer numbers.
    pub fn new(data: &'a mut [F], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols, 1)
    }
    /// With strides of its own, both above 0 and without overlap.
    ///
    /// # Panics
    /// When the last element lies outside `data`.
    pub fn strided(data: &'a mut [F], rows: usize, cols: usize, row: usize, col: usize) -> Self {
        assert!(reach(rows, cols, row, col) <= data.len(), "a {rows}×{cols} matrix does not fit its data");
        Self { data, rows, cols, row, col }
    }
    /// The transpose: the same numbers.
    pub fn t(self) -> Self {
        Self { data: self.data, rows: self.cols, cols: self.rows, row: self.col, col: self.row }
    }
}

/// One more than the place of the last element.
fn reach(rows: usize, cols: usize, row: usize, col: usize) -> usize {
    if rows == 0 || cols == 0 { 0 } else { (rows - 1) * row + (cols - 1) * col + 1 }
}

/// `C ← α·A·B + β·C` for `A [m, k]`, `B [k, n]`, `C [m, n]`; with β = 0 the old numbers of C are not read.
///
/// # Panics
/// When the shapes do not fit.
pub fn gemm<F: Float>(threads: &Threads, alpha: F, a: Mat<'_, F>, b: Mat<'_, F>, beta: F, c: MatMut<'_, F>) {
    assert!(
        a.cols == b.rows && a.rows == c.rows && b.cols == c.cols,
        "matmul: {}×{} times {}×{} into {}×{}",
        a.rows,
        a.cols,
        b.rows,
        b.cols,
        c.rows,
        c.cols
    );
    let _ = threads;
    for i in 0..a.rows {
        for j in 0..b.cols {
            let mut sum = F::zero();
            for p in 0..a.cols {
                sum += a.data[i * a.row + p * a.col] * b.data[p * b.row + j * b.col];
            }
            let c = &mut c.data[i * c.row + j * c.col];
            *c = if beta == F::zero() { alpha * sum } else { alpha * sum + beta * *c };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_with_a_transpose_adds_to_what_is_there() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut c = [1.0f64; 4];
        gemm(
            &Threads::serial(),
            2.0,
            Mat::new(&a, 2, 3),
            Mat::new(&a, 2, 3).t(),
            10.0,
            MatMut::new(&mut c, 2, 2),
        );
        assert_eq!(c, [38.0, 74.0, 74.0, 164.0]);
    }
}
