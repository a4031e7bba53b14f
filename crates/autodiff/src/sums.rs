//! Sums with a fixed order of additions.

use std::array;
use std::ops::Range;

use thalweg_core::math::LANES;
use thalweg_core::{Threads, isa};

use crate::op::Backward;
use crate::{Number, parallel};

/// The numbers of a block of a long sum: at least this many, and never more than [`BLOCKS`] blocks.
const BLOCK: usize = 4096;
const BLOCKS: usize = 64;

/// Joins the lanes of a sum by a fixed tree, as [`thalweg_core::math::join`] does.
#[inline(always)]
pub fn join<N: Number>(l: [N; LANES]) -> N {
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

/// Σ f(i) for i in 0..n: i goes to lane i mod 8, lanes are joined by a fixed tree.
#[inline(always)]
pub fn sum_of<N: Number>(n: usize, f: impl Fn(usize) -> N) -> N {
    let mut lanes = [N::zero(); LANES];
    let whole = n / LANES * LANES;
    for i in (0..whole).step_by(LANES) {
        for (l, lane) in lanes.iter_mut().enumerate() {
            *lane = *lane + f(i + l);
        }
    }
    for i in whole..n {
        lanes[i - whole] = lanes[i - whole] + f(i);
    }
    join(lanes)
}

/// Adds the sums that runs have made, `size` each and one run behind the other, in order into the first one's.
pub fn join_runs<N: Number>(threads: &Threads, all: &mut [N], size: usize) {
    let runs = all.len().checked_div(size).unwrap_or(0);
    if runs < 2 {
        return;
    }
    let (first, rest) = all.split_at_mut(size);
    let rest: &[N] = rest;
    parallel::rows(
        threads,
        first,
        1,
        2 * runs,
        #[inline(always)]
        |at, first| {
            for run in rest.chunks_exact(size) {
                first.iter_mut().zip(&run[at..]).for_each(|(sum, &x)| *sum = *sum + x);
            }
        },
    );
}

/// Σ x, in the lanes and the tree of [`sum_of`].
#[inline(always)]
pub fn sum<N: Number>(x: &[N]) -> N {
    sum_pairs(
        x,
        x,
        #[inline(always)]
        |x, _| x,
    )
}

/// Σ f(a, b) over pairs, in the lanes and the tree of [`sum_of`].
#[inline(always)]
pub fn sum_pairs<N: Number>(a: &[N], b: &[N], f: impl Fn(N, N) -> N) -> N {
    let mut lanes = [N::zero(); LANES];
    let (a8, a_rest) = a.as_chunks::<LANES>();
    let (b8, b_rest) = b[..a.len()].as_chunks::<LANES>();
    for (a, b) in a8.iter().zip(b8) {
        for l in 0..LANES {
            lanes[l] = lanes[l] + f(a[l], b[l]);
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane = *lane + f(a, b);
    }
    join(lanes)
}

/// Σ a·b, in the lanes and the tree of [`sum_of`].
#[inline(always)]
pub fn dot<N: Number>(a: &[N], b: &[N]) -> N {
    sum_pairs(
        a,
        b,
        #[inline(always)]
        |a, b| a * b,
    )
}

/// The largest of the numbers, −∞ of none; NaN counts for nothing.
#[inline(always)]
pub fn max<N: Number>(x: &[N]) -> N {
    let least = N::from_f64(f64::NEG_INFINITY);
    let mut lanes = [least; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    for x in whole {
        for l in 0..LANES {
            lanes[l] = x[l].at_least(lanes[l]);
        }
    }
    rest.iter().chain(&lanes).fold(least, |top, &x| x.at_least(top))
}

/// Σ f(i) for i in 0..n on several threads: blocks that depend on n alone, joined in order.
pub fn long_sum<N: Number>(threads: &Threads, n: usize, f: impl Fn(usize) -> N + Sync) -> N {
    long_sum_by(
        threads,
        n,
        #[inline(always)]
        |block| sum_of(block.len(), |i| f(block.start + i)),
    )
}

/// The same from the sums of blocks, which `f` finds.
#[inline(always)]
pub fn long_sum_by<N: Number>(threads: &Threads, n: usize, f: impl Fn(Range<usize>) -> N + Sync) -> N {
    let block = BLOCK.max(n.div_ceil(BLOCKS)).max(1);
    let mut parts: [N; BLOCKS] = array::from_fn(|_| N::zero());
    parallel::rows(
        threads,
        &mut parts[..n.div_ceil(block)],
        1,
        block,
        #[inline(always)]
        |at, parts| {
            for (k, part) in parts.iter_mut().enumerate() {
                let start = (at + k) * block;
                *part = f(start..n.min(start + block));
            }
        },
    );
    parts.iter().fold(N::zero(), |sum, &part| sum + part)
}

/// The rows of a block of a sum over rows.
const ROWS: usize = 256;

/// Adds the sum of the rows of `dy [rows, width]` to the gradient of input `i`: rows in blocks, blocks joined in order.
pub fn columns<N: Number>(b: &mut Backward<'_, N>, i: usize, dy: &[N], width: usize) {
    if !b.wants(i) || dy.is_empty() {
        return;
    }
    let blocks = (dy.len() / width).div_ceil(ROWS);
    let mut parts = b.take(blocks * width);
    parallel::rows(
        b.work.threads,
        &mut parts,
        width,
        width * ROWS,
        #[inline(always)]
        |at, parts| {
            let blocks = dy.chunks(ROWS * width).skip(at);
            for (part, rows) in parts.chunks_exact_mut(width).zip(blocks) {
                part.fill(N::zero());
                for row in rows.chunks_exact(width) {
                    for (part, &x) in part.iter_mut().zip(row) {
                        *part = *part + x;
                    }
                }
            }
        },
    );
    if let Some(slot) = b.grad(i) {
        let dx = slot.zeroed();
        isa::run(
            #[inline(always)]
            || {
                for part in parts.chunks_exact(width) {
                    for (dx, &x) in dx.iter_mut().zip(part) {
                        *dx = *dx + x;
                    }
                }
            },
        );
    }
    b.give(parts);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sum_is_the_same_on_any_number_of_threads_and_near_the_exact_one() {
        for n in [0, 1, 7, 8, 4096, 4097, 300_001] {
            let f = |i: usize| 1.0 / (i as f64 + 1.0);
            let one = long_sum(&Threads::serial(), n, f);
            assert_eq!(one.to_bits(), long_sum(&Threads::new(3), n, f).to_bits());
            // Summed from the smallest term on; n/8 additions a lane, each ½ ulp of 13.
            let plain: f64 = (0..n).rev().map(f).sum();
            assert!((one - plain).abs() < 1e-12, "{n}: {one} and {plain}");
        }
    }
}
