//! Panels: stretches of a matrix in the order in which the innermost loop reads them.

use std::ops::Range;

use super::Mat;
use super::kernel::{Kernel, Plain, ask};
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
        panel(Plain, self.data, (self.row, self.col), p, j, width, out);
    }
    fn matrix(&self) -> Option<Mat<'_, F>> {
        Some(*self)
    }
}

/// How many rows ahead a stretch is asked for while it is copied: each may lie on a page of its own.
const AHEAD: usize = 8;

/// `out[(p − p₀)·width + (j − j₀)] ← data[p·along + j·across]`, 0 beyond the last j.
#[inline(always)]
pub(super) fn panel<F: Float, K: Kernel<F>>(
    kernel: K,
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
        let data = &data[p.start * along + j.start..];
        return match (count == width, width) {
            (true, 6) => rows::<F, 6>(data, along, out),
            (true, 8) => rows::<F, 8>(data, along, out),
            (true, 12) => rows::<F, 12>(data, along, out),
            (true, 16) => rows::<F, 16>(data, along, out),
            (true, 32) => rows::<F, 32>(data, along, out),
            _ => {
                for (q, out) in out.chunks_exact_mut(width).enumerate() {
                    out[..count].copy_from_slice(&data[q * along..][..count]);
                    out[count..].fill(F::zero());
                }
            }
        };
    }
    if count < width {
        out.chunks_exact_mut(width).for_each(|out| out[count..].fill(F::zero()));
    }
    let mut done = 0;
    if along == 1 {
        while done + K::SIDE <= count {
            let data = &data[p.start + (j.start + done) * across..];
            kernel.turn(data, across, p.len(), width, &mut out[done..]);
            done += K::SIDE;
        }
        if K::SIDE > 4 && done + 4 <= count {
            let data = &data[p.start + (j.start + done) * across..];
            turn4(data, across, p.len(), width, &mut out[done..]);
            done += 4;
        }
    }
    for (k, j) in j.enumerate().skip(done) {
        let from = p.start * along + j * across;
        for (q, out) in out.chunks_exact_mut(width).enumerate() {
            out[k] = data[from + q * along];
        }
    }
}

/// Rows of W numbers, `along` apart, behind each other.
#[inline(always)]
fn rows<F: Float, const W: usize>(data: &[F], along: usize, out: &mut [F]) {
    for (q, out) in out.as_chunks_mut::<W>().0.iter_mut().enumerate() {
        let from: &[F] = &data[q * along..];
        for at in (0..W).step_by(64 / F::BYTES) {
            ask(from.as_ptr().wrapping_add(AHEAD * along + at));
        }
        if let Some(from) = from.first_chunk::<W>() {
            *out = *from;
        }
    }
}

/// `out[p·width + j] ← data[p + j·across]` for four columns j and `depth` rows p, by squares that are turned over in registers.
#[inline(always)]
pub(super) fn turn4<F: Float>(data: &[F], across: usize, depth: usize, width: usize, out: &mut [F]) {
    const SIDE: usize = 4;
    let columns: [&[F]; SIDE] = std::array::from_fn(|k| &data[k * across..][..depth]);
    let [a, b, c, d] = columns.map(|column| column.as_chunks::<SIDE>().0);
    let squares = a.iter().zip(b).zip(c).zip(d);
    for (nth, (((a, b), c), d)) in squares.enumerate() {
        let out = &mut out[nth * SIDE * width..];
        for i in 0..SIDE {
            out[i * width..][..SIDE].copy_from_slice(&[a[i], b[i], c[i], d[i]]);
        }
    }
    for q in depth / SIDE * SIDE..depth {
        for (k, column) in columns.iter().enumerate() {
            out[q * width + k] = column[q];
        }
    }
}
