//! Stacks: many products of one shape.

use super::driver::{Keep, Operand, Place, Product, multiply};
use super::shared::Shared;
use super::{Mat, apart, reach};
use crate::{Float, Threads};

/// Matrices of one shape to be read: element (i, j) of matrix s at `data[s·step + i·row + j·col]`. A step of 0 reads one matrix again
/// and again.
#[derive(Clone, Copy, Debug)]
pub struct Stack<'a, F> {
    first: Mat<'a, F>,
    count: usize,
    step: usize,
}

impl<'a, F> Stack<'a, F> {
    /// `count` matrices of which `first` is the first; its data holds the others too.
    ///
    /// # Panics
    /// When the last element lies outside the data.
    pub fn new(first: Mat<'a, F>, count: usize, step: usize) -> Self {
        let one = reach(first.rows, first.cols, first.row, first.col);
        assert!(
            one == 0
                || count == 0
                || (count - 1).saturating_mul(step).saturating_add(one) <= first.data.len(),
            "{count} {}×{} matrices do not fit their data",
            first.rows,
            first.cols
        );
        Self { first, count, step }
    }

    fn at(&self, nth: usize) -> Mat<'a, F> {
        let from = nth.saturating_mul(self.step).min(self.first.data.len());
        Mat { data: &self.first.data[from..], ..self.first }
    }
}

/// Matrices of one shape to be written: as [`Stack`], without a place that two of them share.
#[derive(Debug)]
pub struct StackMut<'a, F> {
    data: &'a mut [F],
    count: usize,
    step: usize,
    rows: usize,
    cols: usize,
    row: usize,
    col: usize,
}

impl<'a, F> StackMut<'a, F> {
    /// `count` matrices of `(rows, cols)` numbers, `step` apart, with `(row, col)` strides: they may lie between each other, as the heads
    /// of attention do.
    ///
    /// # Panics
    /// When the last element lies outside `data`, or strides let elements coincide.
    pub fn new(
        data: &'a mut [F],
        (count, step): (usize, usize),
        (rows, cols): (usize, usize),
        (row, col): (usize, usize),
    ) -> Self {
        assert!(apart([(count, step), (rows, row), (cols, col)]), "elements of C coincide");
        let one = reach(rows, cols, row, col);
        assert!(
            one == 0 || count == 0 || (count - 1).saturating_mul(step).saturating_add(one) <= data.len(),
            "{count} {rows}×{cols} matrices do not fit their data"
        );
        Self { data, count, step, rows, cols, row, col }
    }
}

/// `Cₛ ← α·Aₛ·Bₛ + β·Cₛ` for each matrix of the stacks: the bits of [`gemm`](super::gemm) on each.
///
/// Many products are shared out whole, few large ones by their tiles.
///
/// # Panics
/// When the shapes or the counts do not fit.
pub fn gemm_batch<F: Float>(
    threads: &Threads,
    alpha: F,
    a: Stack<'_, F>,
    b: Stack<'_, F>,
    beta: F,
    c: StackMut<'_, F>,
) {
    let StackMut { data, count, step, rows, cols, row, col } = c;
    assert!(
        a.count == count && b.count == count,
        "matmul: {} times {} into {count} matrices",
        a.count,
        b.count
    );
    let data = Shared::new(data);
    let one = |threads: &Threads, nth: usize| {
        let (mut a, mut b) = (a.at(nth), b.at(nth));
        let mut c = Place { data: &data, from: nth.saturating_mul(step), rows, cols, row, col };
        if col != 1 && row == 1 {
            (a, b) = (b.t(), a.t());
            c = Place { rows: cols, cols: rows, row: col, col: row, ..c };
        }
        multiply(Product {
            threads,
            alpha,
            a,
            b: Operand::Source(&b),
            beta,
            c,
            epilogue: &Keep,
            lower: false,
        });
    };
    if count < 2 * threads.count() {
        (0..count).for_each(|nth| one(threads, nth));
    } else {
        let serial = Threads::serial();
        threads.run(count, |nth| one(&serial, nth));
    }
}
