//! Matrix products: the one door for all of them.
//!
//! `C ← α·A·B + β·C`, any of the three with any strides, so that transposes cost nothing to ask for. Blocks of the inner axis are
//! fixed in advance and each element's sum runs over it in one order, so the result has the same bits on any number of threads.
//! AVX2 and AVX-512 multiply and add with one rounding, the plain kernel with two: bits are promised per instruction set.
//!
//! As Goto & van de Geijn 2008 (<https://doi.org/10.1145/1356052.1356053>): stretches of A and B are copied into panels that the
//! innermost loop reads in order, a tile of C stays in registers. [`Packed`] keeps the panels of a B that is used several times, an
//! [`Epilogue`] works on each finished stretch of C while it is in cache, a [`Source`] writes panels of a B that exists nowhere
//! whole (a convolution's columns).

pub mod bf16;
mod driver;
mod gather;
mod kernel;
mod many;
mod pack;
mod shared;
#[cfg(test)]
mod tests;

use crate::{Float, Threads};
pub use driver::{Epilogue, Keep, Operand, Packed};
pub use gather::{Gather, gather};
pub use kernel::{Finish, Gemm};
pub use many::{Stack, StackMut, gemm_batch};
pub use pack::Source;

use driver::{Place, Product};
use shared::Shared;

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
    /// With strides of its own.
    ///
    /// # Panics
    /// When the last element lies outside `data`, or strides let elements coincide.
    pub fn strided(data: &'a mut [F], rows: usize, cols: usize, row: usize, col: usize) -> Self {
        assert!(apart([(rows, row), (cols, col), (1, 0)]), "elements of C coincide");
        assert!(reach(rows, cols, row, col) <= data.len(), "a {rows}×{cols} matrix does not fit its data");
        Self { data, rows, cols, row, col }
    }
    /// The transpose: the same numbers.
    pub fn t(self) -> Self {
        Self { data: self.data, rows: self.cols, cols: self.rows, row: self.col, col: self.row }
    }
    /// Hands it out to be written in parts.
    fn of(self, f: impl FnOnce(Place<'_, F>)) {
        let Self { data, rows, cols, row, col } = self;
        f(Place { data: &Shared::new(data), from: 0, rows, cols, row, col });
    }
}

/// One more than the place of the last element; the largest number where that is no number.
#[inline(always)]
fn reach(rows: usize, cols: usize, row: usize, col: usize) -> usize {
    if rows == 0 || cols == 0 {
        return 0;
    }
    (rows - 1).saturating_mul(row).saturating_add((cols - 1).saturating_mul(col)).saturating_add(1)
}

/// No two elements of an array with these (extent, stride) pairs lie at one place: each stride passes all that the smaller ones reach.
fn apart(mut axes: [(usize, usize); 3]) -> bool {
    axes.sort_by_key(|axis| axis.1);
    let empty = axes.iter().any(|axis| axis.0 == 0);
    let mut reached = 0usize;
    empty
        || axes.into_iter().filter(|axis| axis.0 > 1).all(|(extent, stride)| {
            let fits = stride > reached;
            reached = reached.saturating_add((extent - 1).saturating_mul(stride));
            fits
        })
}

/// `C ← α·A·B + β·C` for `A [m, k]`, `B [k, n]`, `C [m, n]`; with β = 0 the old numbers of C are not read.
///
/// # Panics
/// When the shapes do not fit.
pub fn gemm<F: Float>(threads: &Threads, alpha: F, a: Mat<'_, F>, b: Mat<'_, F>, beta: F, c: MatMut<'_, F>) {
    // Where C's columns are contiguous, the same product read along the other diagonal: its rows become so.
    let (a, b, c) = if c.col != 1 && c.row == 1 { (b.t(), a.t(), c.t()) } else { (a, b, c) };
    c.of(|c| {
        let b = Operand::Source(&b);
        driver::multiply(Product { threads, alpha, a, b, beta, c, epilogue: &Keep, lower: false });
    });
}

/// [`gemm`] for a B that is packed already or that a [`Source`] makes, with an epilogue over C, whose rows are contiguous.
///
/// # Panics
/// When the shapes do not fit, or C's columns are not contiguous.
pub fn gemm_with<F: Float, E: Epilogue<F>>(
    threads: &Threads,
    alpha: F,
    a: Mat<'_, F>,
    b: Operand<'_, F>,
    beta: F,
    c: MatMut<'_, F>,
    epilogue: &E,
) {
    assert!(c.col == 1, "matmul: an epilogue works on rows of C");
    c.of(|c| driver::multiply(Product { threads, alpha, a, b, beta, c, epilogue, lower: false }));
}

/// `C ← α·A·Aᵀ + β·C` for `A [m, k]` and a symmetric C: the bits of [`gemm`] for about half of its work.
///
/// What lies above the diagonal is copied from below it, so of an unsymmetric C only what is at or below the diagonal counts.
///
/// # Panics
/// When the shapes do not fit.
pub fn gram<F: Float>(threads: &Threads, alpha: F, a: Mat<'_, F>, beta: F, c: MatMut<'_, F>) {
    // Where columns are contiguous, C = Cᵀ lets rows be.
    let c = if c.col != 1 && c.row == 1 { c.t() } else { c };
    let (side, row, col) = (c.rows, c.row, c.col);
    c.of(|c| {
        let b = Operand::Source(&a.t());
        driver::multiply(Product { threads, alpha, a, b, beta, c, epilogue: &Keep, lower: true });
        driver::mirror(threads, side, c.data, (row, col));
    });
}
