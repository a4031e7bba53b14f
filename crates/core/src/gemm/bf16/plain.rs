//! The sums of [`tdpbf16ps`](super) by plain loops, which the compiler turns into the vectors of the instruction set.

use super::{Left, Right, SIDE, Sums, TILE};
use crate::bf16::from_bf16;

/// Rows that are summed together: each pair of B is taken apart once for all of them.
const ROWS: usize = 8;

/// Adds the products of squares to `sums`, or to zeros.
#[inline(always)]
pub(super) fn add(left: &[Left], right: &[Right], sums: &mut Sums, new: bool) {
    if new {
        sums.0.fill(0.0);
    }
    for (left, right) in left.iter().zip(right) {
        let pairs = right.0.as_chunks::<SIDE>().0;
        for half in [0, TILE] {
            let rows = left.0.as_chunks::<{ ROWS * SIDE }>().0;
            for (left, sums) in rows.iter().zip(sums.0.as_chunks_mut::<{ ROWS * SIDE }>().0) {
                let mut even = [[0.0f32; TILE]; ROWS];
                let mut odd = [[0.0f32; TILE]; ROWS];
                for (p, pairs) in pairs.iter().enumerate() {
                    let pairs: [u32; TILE] = std::array::from_fn(|n| pairs[half + n]);
                    let upper = pairs.map(|pair| f32::from_bits(pair << 16));
                    let lower = pairs.map(|pair| f32::from_bits(pair & 0xFFFF_0000));
                    for r in 0..ROWS {
                        let first = from_bf16(left[r * SIDE + 2 * p]);
                        let second = from_bf16(left[r * SIDE + 2 * p + 1]);
                        for n in 0..TILE {
                            even[r][n] += first * upper[n];
                            odd[r][n] += second * lower[n];
                        }
                    }
                }
                for r in 0..ROWS {
                    let sums = &mut sums[r * SIDE + half..][..TILE];
                    for ((sum, even), odd) in sums.iter_mut().zip(even[r]).zip(odd[r]) {
                        *sum += even + odd;
                    }
                }
            }
        }
    }
}
