//! The two inner loops of a linear model: scores of a tile of rows, and the sum of its rows times their derivatives.
//!
//! Rows are read where they lie. What does not fill a chunk of 8 columns (the tail of each row) is copied, padded with
//! zeros, when the tile is gathered; weights and sums are padded to whole chunks too, so neither loop has a remainder.
//! Products are summed in the lanes and the tree of [`thalweg_core::math::dot`], rows in their order: the bits do not depend
//! on how rows are grouped into tiles, nor on the instruction set.

use thalweg_core::math::{LANES, join};
use thalweg_core::{Float, isa};

/// So many columns are worked on at once.
pub(super) type Chunk<F> = [F; LANES];

/// Rows whose sums run side by side, to hide the latency of an addition.
const GROUP: usize = 4;

/// The rows of a tile.
pub(super) struct Tile<'a, F> {
    /// Their positions in the data set.
    pub at: &'a [usize],
    /// The numeric features of the data set.
    pub dense: &'a [F],
    /// Numbers in a row.
    pub width: usize,
    /// What each row leaves over of whole chunks, padded; empty when nothing is left.
    pub tails: &'a [Chunk<F>],
}

/// `z [outputs, n]`: the product of each row with each row of `weights [outputs, stride]`.
pub(super) fn scores<F: Float>(tile: &Tile<'_, F>, weights: &[Chunk<F>], z: &mut [F]) {
    if tile.width == 0 {
        z.fill(F::zero());
        return;
    }
    isa::run(
        #[inline(always)]
        || {
            let n = tile.at.len();
            let mut outputs = z.chunks_exact_mut(n).zip(weights.chunks_exact(tile.stride()));
            while let Some((z, w)) = outputs.next() {
                match outputs.next() {
                    Some((z2, w2)) => tile.dots([z, z2], [w, w2]),
                    None => tile.dots([z], [w]),
                }
            }
        },
    );
}

/// Adds d·x of every row, in order, to `sums [outputs, stride]`; `d [outputs, n]`.
pub(super) fn accumulate<F: Float>(tile: &Tile<'_, F>, d: &[F], sums: &mut [Chunk<F>]) {
    if tile.width == 0 {
        return;
    }
    isa::run(
        #[inline(always)]
        || {
            let n = tile.at.len();
            let mut i = 0;
            while i + GROUP <= n {
                tile.add_group::<GROUP>(i, d, sums);
                i += GROUP;
            }
            while i < n {
                tile.add_group::<1>(i, d, sums);
                i += 1;
            }
        },
    );
}

/// Multiplies the derivatives `d [outputs, n]` by the rows' weights (1 when there are none) and sums them, losses and
/// weights in f64: row i of the tile goes to lane i mod 8.
#[inline(always)]
pub(super) fn weigh<F: Float>(
    loss: &[F],
    weight: &[F],
    d: &mut [F],
    bias: &mut [Chunk<f64>],
    losses: &mut Chunk<f64>,
    weights: &mut Chunk<f64>,
) {
    if loss.is_empty() {
        return;
    }
    if weight.is_empty() {
        add_lanes(loss.iter().map(|x| x.to_f64()), losses);
        add_lanes(loss.iter().map(|_| 1.0), weights);
    } else {
        add_lanes(loss.iter().zip(weight).map(|(x, w)| x.to_f64() * w.to_f64()), losses);
        add_lanes(weight.iter().map(|w| w.to_f64()), weights);
        for d in d.chunks_exact_mut(loss.len()) {
            d.iter_mut().zip(weight).for_each(|(d, &w)| *d = *d * w);
        }
    }
    for (d, bias) in d.chunks_exact(loss.len()).zip(bias) {
        add_lanes(d.iter().map(|d| d.to_f64()), bias);
    }
}

#[inline(always)]
fn add_lanes(x: impl Iterator<Item = f64>, lanes: &mut Chunk<f64>) {
    let mut at = 0;
    for x in x {
        lanes[at] += x;
        at = (at + 1) % LANES;
    }
}

impl<'a, F: Float> Tile<'a, F> {
    /// Chunks in a padded row.
    fn stride(&self) -> usize {
        self.width.div_ceil(LANES)
    }

    /// The whole chunks of row `i`.
    #[inline(always)]
    fn chunks(&self, i: usize) -> &'a [Chunk<F>] {
        let start = self.at[i] * self.width;
        self.dense[start..start + self.width].as_chunks().0
    }

    #[inline(always)]
    fn dots<const O: usize>(&self, mut z: [&mut [F]; O], w: [&[Chunk<F>]; O]) {
        let n = self.at.len();
        let mut i = 0;
        while i + GROUP <= n {
            let sums: [[F; O]; GROUP] = self.group(i, w);
            for (r, sums) in sums.into_iter().enumerate() {
                for (z, sum) in z.iter_mut().zip(sums) {
                    z[i + r] = sum;
                }
            }
            i += GROUP;
        }
        while i < n {
            let [sums]: [[F; O]; 1] = self.group(i, w);
            for (z, sum) in z.iter_mut().zip(sums) {
                z[i] = sum;
            }
            i += 1;
        }
    }

    /// The products of `R` rows from `i` on with `O` weight vectors.
    #[inline(always)]
    fn group<const R: usize, const O: usize>(&self, i: usize, w: [&[Chunk<F>]; O]) -> [[F; O]; R] {
        let whole = self.width / LANES;
        let mut lanes = [[[F::zero(); LANES]; O]; R];
        let x: [&[Chunk<F>]; R] = std::array::from_fn(|r| &self.chunks(i + r)[..whole]);
        let weights = w.map(|w| &w[..whole]);
        for c in 0..whole {
            for r in 0..R {
                for o in 0..O {
                    for l in 0..LANES {
                        lanes[r][o][l] += weights[o][c][l] * x[r][c][l];
                    }
                }
            }
        }
        if !self.tails.is_empty() {
            for r in 0..R {
                for o in 0..O {
                    for l in 0..LANES {
                        lanes[r][o][l] += w[o][whole][l] * self.tails[i + r][l];
                    }
                }
            }
        }
        lanes.map(|row| row.map(join))
    }

    #[inline(always)]
    fn add_group<const R: usize>(&self, i: usize, d: &[F], sums: &mut [Chunk<F>]) {
        let n = self.at.len();
        let count = self.width / LANES;
        let x: [&[Chunk<F>]; R] = std::array::from_fn(|r| &self.chunks(i + r)[..count]);
        for (d, sums) in d.chunks_exact(n).zip(sums.chunks_exact_mut(self.stride())) {
            let d: [F; R] = std::array::from_fn(|r| d[i + r]);
            let (whole, tail) = sums.split_at_mut(count);
            for (c, sum) in whole.iter_mut().enumerate() {
                for r in 0..R {
                    for l in 0..LANES {
                        sum[l] += d[r] * x[r][c][l];
                    }
                }
            }
            for sum in tail {
                for r in 0..R {
                    for l in 0..LANES {
                        sum[l] += d[r] * self.tails[i + r][l];
                    }
                }
            }
        }
    }
}
