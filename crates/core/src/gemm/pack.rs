//! Panels: stretches of a matrix in the order in which the innermost loop reads them.

use std::ops::Range;

use super::Mat;
use crate::Float;

/// A B matrix that is read panel by panel.
pub trait Source<F>: Sync {
    /// Rows: the inner axis of the product.
    fn rows(&self) -> usize;
    /// Columns.
    fn cols(&self) -> usize;
    /// Writes the numbers at rows `p` and columns `j` to `out[(row − p.start)·width + (column − j.start)]`, and 0 from the last column on
    /// up to `width`.
    fn pack(&self, p: Range<usize>, j: Range<usize>, width: usize, out: &mut [F]);
}

impl<F: Float> Source<F> for Mat<'_, F> {
    fn rows(&self) -> usize {
        self.rows
    }
    fn cols(&self) -> usize {
        self.cols
    }
    #[inline(always)]
    fn pack(&self, p: Range<usize>, j: Range<usize>, width: usize, out: &mut [F]) {
        panel(self.data, (self.row, self.col), p, j, width, out);
    }
}

/// How many numbers of a column are moved at a time where columns are contiguous: what is written stays in the first cache.
const RUN: usize = 16;

/// `out[(p − p₀)·width + (j − j₀)] ← data[p·along + j·across]`, 0 beyond the last j.
#[inline(always)]
pub(super) fn panel<F: Float>(
    data: &[F],
    (along, across): (usize, usize),
    p: Range<usize>,
    j: Range<usize>,
    width: usize,
    out: &mut [F],
) {
    let count = j.len();
    let out = &mut out[..p.len() * width];
    if across == 1 {
        for (p, out) in p.zip(out.chunks_exact_mut(width)) {
            let from = p * along + j.start;
            out[..count].copy_from_slice(&data[from..from + count]);
            out[count..].fill(F::zero());
        }
        return;
    }
    if count < width {
        out.chunks_exact_mut(width).for_each(|out| out[count..].fill(F::zero()));
    }
    for (nth, out) in out.chunks_mut(RUN * width).enumerate() {
        let rows = out.len() / width;
        let first = p.start + nth * RUN;
        for (k, j) in j.clone().enumerate() {
            let from = first * along + j * across;
            if along == 1 {
                let column = &data[from..from + rows];
                for (out, &x) in out.chunks_exact_mut(width).zip(column) {
                    out[k] = x;
                }
            } else {
                for (q, out) in out.chunks_exact_mut(width).enumerate() {
                    out[k] = data[from + q * along];
                }
            }
        }
    }
}
