//! [`Batch`]: the rows that one gradient is taken over.

use crate::Float;

/// A view of some rows of a data set: numeric features, category codes, targets and weights.
///
/// With `index` the batch is those rows of the (whole) slices, in that order; without, it is all of them. Nothing is copied.
///
/// Shapes, with N rows in the slices: `dense [N, width]` row-major, `codes [N, code_width]`, `target [N]`, `weight [N]` or
/// absent (every row weighs 1). A code is the number of a one-hot feature, counted over all categorical columns of the
/// encoder from 0; [`Batch::UNSEEN`] is a level that training never saw: all zeros.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, F> {
    /// Numeric features, row-major.
    pub dense: &'a [F],
    /// Numbers in a row of `dense`.
    pub width: usize,
    /// Category codes, row-major.
    pub codes: &'a [u32],
    /// Codes in a row of `codes`.
    pub code_width: usize,
    /// The targets: a number, or the index of the class.
    pub target: &'a [F],
    /// The weight of each row, if they differ.
    pub weight: Option<&'a [F]>,
    /// Which rows, in which order; all of them when absent.
    pub index: Option<&'a [u32]>,
}

impl<'a, F: Float> Batch<'a, F> {
    /// The code of a level that training did not see.
    pub const UNSEEN: u32 = u32::MAX;

    /// A batch without rows, for objectives that have no data (test functions).
    pub const NONE: Batch<'static, F> =
        Batch { dense: &[], width: 0, codes: &[], code_width: 0, target: &[], weight: None, index: None };

    /// The number of rows in this batch.
    #[inline]
    pub fn len(&self) -> usize {
        self.index.map_or(self.target.len(), <[u32]>::len)
    }

    /// Whether the batch has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the `i`-th row of the batch lies in the slices.
    #[inline(always)]
    pub fn at(&self, i: usize) -> usize {
        match self.index {
            Some(index) => index[i] as usize,
            None => i,
        }
    }

    /// The numeric features of the row at `at` (as [`Batch::at`] gives it).
    #[inline(always)]
    pub fn dense_row(&self, at: usize) -> &'a [F] {
        &self.dense[at * self.width..(at + 1) * self.width]
    }

    /// The category codes of the row at `at`.
    #[inline(always)]
    pub fn code_row(&self, at: usize) -> &'a [u32] {
        &self.codes[at * self.code_width..(at + 1) * self.code_width]
    }

    /// The weight of the row at `at`.
    #[inline(always)]
    pub fn weight_at(&self, at: usize) -> F {
        match self.weight {
            Some(weight) => weight[at],
            None => F::one(),
        }
    }

    /// The same slices, restricted to `index`.
    pub fn rows(self, index: &'a [u32]) -> Batch<'a, F> {
        Batch { index: Some(index), ..self }
    }
}
