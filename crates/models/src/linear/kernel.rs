//! The inner loops of a linear model: scores of a tile of rows, and the sum of its rows times their derivatives.
//!
//! Rows are read where they lie, in chunks of 8 columns. A width that is no multiple of 8 ends in a chunk of the *last* 8 columns:
//! the columns that it shares with the chunk before have weight 0 there, and their sums are not read. Rows of less than 8
//! columns are copied, padded with zeros ([`Columns`] knows which column is where). So no loop has a remainder.
//!
//! Products are summed in lanes and joined by the tree of [`thalweg_core::math::join`], rows in their order: the bits depend
//! neither on how rows are grouped nor on the instruction set.

use thalweg_core::Float;
use thalweg_core::lanes::{Kernel, Lanes};
use thalweg_core::math::LANES;

/// So many columns are worked on at once.
pub(super) type Chunk<F> = [F; LANES];

/// Where the numeric columns of a row lie in its chunks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    /// Numbers in a row.
    width: usize,
}

impl Columns {
    pub fn of(width: usize) -> Self {
        Self { width }
    }
    /// Whether rows are copied and padded.
    pub fn narrow(self) -> bool {
        self.width < LANES
    }
    /// Chunks of a row.
    pub fn chunks(self) -> usize {
        self.width.div_ceil(LANES)
    }
    /// Columns in chunks of their own, in their order.
    fn whole(self) -> usize {
        self.width / LANES * LANES
    }
    /// Where the columns after those begin.
    fn rest(self) -> usize {
        if self.narrow() { 0 } else { self.chunks() * LANES - (self.width - self.whole()) }
    }
    /// Puts a row's `columns` at their places in `chunks`.
    pub fn spread<F: Float>(self, columns: &[F], chunks: &mut [Chunk<F>]) {
        let (whole, rest) = columns.split_at(self.whole());
        let chunks = chunks.as_flattened_mut();
        chunks[..whole.len()].copy_from_slice(whole);
        chunks[self.rest()..][..rest.len()].copy_from_slice(rest);
    }
    /// The columns of `chunks`, in their order.
    pub fn collect(self, chunks: &[Chunk<f64>]) -> impl Iterator<Item = f64> {
        let (whole, chunks) = (self.whole(), chunks.as_flattened());
        chunks[..whole].iter().chain(&chunks[self.rest()..][..self.width - whole]).copied()
    }
}

/// The rows of a tile, 8 columns or more.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a, F> {
    /// Where each row starts in `data`.
    pub starts: &'a [usize],
    /// The numbers.
    pub data: &'a [F],
    /// Numbers in a row.
    pub width: usize,
}

/// The chunks of a row: those in its order, and the last one if the width is no multiple of 8.
type Row<'a, F> = (&'a [Chunk<F>], Option<&'a Chunk<F>>);

impl<'a, F: Float> Tile<'a, F> {
    #[inline(always)]
    fn row(&self, i: usize) -> Row<'a, F> {
        let start = self.starts[i];
        let row = &self.data[start..start + self.width];
        let (whole, rest) = row.as_chunks();
        (whole, if rest.is_empty() { None } else { row.last_chunk() })
    }
}

/// `z [outputs, n]`: the product of each row with each row of `weights [outputs, chunks]`.
pub(super) struct Scores<'a, F> {
    pub tile: Tile<'a, F>,
    pub weights: &'a [Chunk<F>],
    pub z: &'a mut [F],
}

impl<F: Float> Kernel<F> for Scores<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes<F>>(self, lanes: L) {
        let Self { tile, weights, z } = self;
        let n = tile.starts.len();
        let chunks = Columns::of(tile.width).chunks();
        let mut outputs = z.chunks_exact_mut(n).zip(weights.chunks_exact(chunks));
        // Two rows at a time: four were faster in the cache and half as fast from memory, which is read best in one stream.
        while let Some((z, w)) = outputs.next() {
            let mut i = 0;
            if let Some((z2, w2)) = outputs.next() {
                while i + 2 <= n {
                    let rows = [tile.row(i), tile.row(i + 1)];
                    [[z[i], z2[i]], [z[i + 1], z2[i + 1]]] = products(lanes, rows, [w, w2]);
                    i += 2;
                }
                if i < n {
                    [[z[i], z2[i]]] = products(lanes, [tile.row(i)], [w, w2]);
                }
            } else {
                while i + 2 <= n {
                    [[z[i]], [z[i + 1]]] = products(lanes, [tile.row(i), tile.row(i + 1)], [w]);
                    i += 2;
                }
                if i < n {
                    [[z[i]]] = products(lanes, [tile.row(i)], [w]);
                }
            }
        }
    }
}

/// The products of `R` rows with `O` vectors: side by side, to hide the latency of additions.
#[inline(always)]
fn products<F: Float, L: Lanes<F>, const R: usize, const O: usize>(
    lanes: L,
    rows: [Row<'_, F>; R],
    weights: [&[Chunk<F>]; O],
) -> [[F; O]; R] {
    let mut sums = [[lanes.splat(F::zero()); O]; R];
    let whole = rows[0].0.len();
    let x = rows.map(
        #[inline(always)]
        |row| &row.0[..whole],
    );
    let w = weights.map(
        #[inline(always)]
        |w| &w[..whole],
    );
    for c in 0..whole {
        for o in 0..O {
            let w = lanes.load(&w[o][c]);
            for r in 0..R {
                sums[r][o] = lanes.add(sums[r][o], lanes.mul(w, lanes.load(&x[r][c])));
            }
        }
    }
    for r in 0..R {
        if let Some(last) = rows[r].1 {
            let x = lanes.load(last);
            for o in 0..O {
                sums[r][o] = lanes.add(sums[r][o], lanes.mul(lanes.load(&weights[o][whole]), x));
            }
        }
    }
    let mut out = [[F::zero(); O]; R];
    for r in 0..R {
        for o in 0..O {
            out[r][o] = lanes.join(sums[r][o]);
        }
    }
    out
}

/// Adds d·x of every row, in order, to `sums [outputs, chunks]`; `d [outputs, n]`.
pub(super) struct Accumulate<'a, F> {
    pub tile: Tile<'a, F>,
    pub d: &'a [F],
    pub sums: &'a mut [Chunk<F>],
}

impl<F: Float> Kernel<F> for Accumulate<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes<F>>(self, lanes: L) {
        let Self { tile, d, sums } = self;
        let n = tile.starts.len();
        let chunks = Columns::of(tile.width).chunks();
        let outputs = d.len() / n;
        let mut i = 0;
        while i + 4 <= n {
            let rows = [tile.row(i), tile.row(i + 1), tile.row(i + 2), tile.row(i + 3)];
            for o in 0..outputs {
                let d = &d[o * n + i..][..4];
                add_rows(lanes, rows, [d[0], d[1], d[2], d[3]], &mut sums[o * chunks..(o + 1) * chunks]);
            }
            i += 4;
        }
        while i < n {
            for o in 0..outputs {
                add_rows(lanes, [tile.row(i)], [d[o * n + i]], &mut sums[o * chunks..(o + 1) * chunks]);
            }
            i += 1;
        }
    }
}

#[inline(always)]
fn add_rows<F: Float, L: Lanes<F>, const R: usize>(
    lanes: L,
    rows: [Row<'_, F>; R],
    d: [F; R],
    sums: &mut [Chunk<F>],
) {
    let d = d.map(
        #[inline(always)]
        |d| lanes.splat(d),
    );
    let whole = rows[0].0.len();
    let x = rows.map(
        #[inline(always)]
        |row| &row.0[..whole],
    );
    let (sums, rest) = sums.split_at_mut(whole);
    for c in 0..whole {
        let mut sum = lanes.load(&sums[c]);
        for r in 0..R {
            sum = lanes.add(sum, lanes.mul(d[r], lanes.load(&x[r][c])));
        }
        lanes.store(sum, &mut sums[c]);
    }
    if let Some(rest) = rest.first_mut() {
        let mut sum = lanes.load(rest);
        for r in 0..R {
            if let Some(last) = rows[r].1 {
                sum = lanes.add(sum, lanes.mul(d[r], lanes.load(last)));
            }
        }
        lanes.store(sum, rest);
    }
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
        add_lanes(loss, losses, |x| x.to_f64());
        add_lanes(loss, weights, |_| 1.0);
    } else {
        add_lanes_of_products(loss, weight, losses);
        add_lanes(weight, weights, |w| w.to_f64());
        for d in d.chunks_exact_mut(loss.len()) {
            d.iter_mut().zip(weight).for_each(|(d, &w)| *d = *d * w);
        }
    }
    for (d, bias) in d.chunks_exact(loss.len()).zip(bias) {
        add_lanes(d, bias, |d| d.to_f64());
    }
}

#[inline(always)]
fn add_lanes<F: Float>(x: &[F], lanes: &mut Chunk<f64>, f: impl Fn(F) -> f64) {
    let (chunks, rest) = x.as_chunks::<LANES>();
    for x in chunks {
        for l in 0..LANES {
            lanes[l] += f(x[l]);
        }
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, &x)| *lane += f(x));
}

#[inline(always)]
fn add_lanes_of_products<F: Float>(x: &[F], y: &[F], lanes: &mut Chunk<f64>) {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let (y_chunks, y_rest) = y.as_chunks::<LANES>();
    for (x, y) in chunks.iter().zip(y_chunks) {
        for l in 0..LANES {
            lanes[l] += x[l].to_f64() * y[l].to_f64();
        }
    }
    lanes.iter_mut().zip(rest).zip(y_rest).for_each(|((lane, x), y)| *lane += x.to_f64() * y.to_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_back_from_their_chunks() {
        for width in 0..50 {
            let columns = Columns::of(width);
            let row: Vec<f64> = (1..=width).map(|j| j as f64).collect();
            let mut chunks = vec![[0.0; LANES]; columns.chunks()];
            columns.spread(&row, &mut chunks);
            assert_eq!(columns.collect(&chunks).collect::<Vec<_>>(), row, "{width}");
            // The rest is where the last 8 columns of a row are.
            let last = chunks.last().map_or(&[][..], |c| &c[..]);
            if width >= LANES && width % LANES > 0 {
                let shared = LANES - width % LANES;
                assert!(
                    last[..shared].iter().all(|&w| w == 0.0)
                        && last[shared..] == row[width / LANES * LANES..]
                );
            }
        }
    }
}
