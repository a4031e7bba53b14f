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
    /// The matrix itself where it exists: a small product reads it in place.
    fn matrix(&self) -> Option<Mat<'_, F>> {
        None
    }
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
    fn matrix(&self) -> Option<Mat<'_, F>> {
        Some(*self)
    }
}

/// Numbers a side of a square that is turned over where columns are contiguous.
const SQUARE: usize = 4;

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
    let (depth, mut done) = (p.len(), 0);
    if along == 1 {
        // Squares of SQUARE × SQUARE are turned over in registers.
        let squares = depth / SQUARE;
        for nth in 0..count / SQUARE {
            let columns: [&[F]; SQUARE] = std::array::from_fn(|k| {
                let from = p.start + (j.start + nth * SQUARE + k) * across;
                &data[from..from + squares * SQUARE]
            });
            let [a, b, c, d] = columns.map(|column| column.as_chunks::<SQUARE>().0);
            let squares = a.iter().zip(b).zip(c).zip(d).zip(out.chunks_exact_mut(SQUARE * width));
            for ((((a, b), c), d), out) in squares {
                for i in 0..SQUARE {
                    let at = i * width + nth * SQUARE;
                    out[at..at + SQUARE].copy_from_slice(&[a[i], b[i], c[i], d[i]]);
                }
            }
        }
        done = count / SQUARE * SQUARE;
        let rest = squares * SQUARE;
        for (k, j) in j.clone().enumerate().take(done) {
            for q in rest..depth {
                out[q * width + k] = data[p.start + q + j * across];
            }
        }
    }
    for (k, j) in j.enumerate().skip(done) {
        let from = p.start * along + j * across;
        for (q, out) in out.chunks_exact_mut(width).enumerate() {
            out[k] = data[from + q * along];
        }
    }
}
