//! How the rows of a batch are cut into blocks, and what a block sums.

use thalweg_core::math::LANES;
use thalweg_core::{Batch, Float, Total};

use super::kernel::{Chunk, Columns, Tile};

/// A batch is cut into at most this many blocks, so that their sums stay small.
const MOST: usize = 64;
/// A block does at least this much work (multiply-adds per direction): below, starting it costs more than it saves.
const LEAST_WORK: usize = 1 << 14;
/// A block does at least this many multiply-adds for each number it sums, so that joining the blocks stays cheap.
const WORK_PER_SUM: usize = 16;
/// What a row costs beside its columns, in multiply-adds.
const ROW_WORK: usize = 8;
/// A tile is gathered into about this many bytes of the first-level cache.
const TILE_BYTES: usize = 16 << 10;

/// The number of blocks, a power of two: it depends on the number of rows and the shape of the model alone.
pub(super) fn count(rows: usize, width: usize, code_width: usize, sums: usize, outputs: usize) -> usize {
    let work = rows.saturating_mul((width + code_width + ROW_WORK) * outputs);
    let most = work / LEAST_WORK.max(WORK_PER_SUM * sums);
    1 << most.clamp(1, MOST).ilog2()
}

/// Rows in a tile, a power of two from 8 to 256.
pub(super) fn tile_rows<F: Float>(width: usize, outputs: usize) -> usize {
    let row = (width + 2 * outputs).max(1) * F::BYTES;
    1 << (TILE_BYTES / row).clamp(8, 256).ilog2()
}

/// Where the blocks of a batch begin and end, as positions in the batch.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// One more than there are blocks.
    pub borders: Vec<usize>,
}

impl Cut {
    /// Cuts the rows that weigh something into equal blocks: a row of weight 0 is absent, to the bit.
    pub fn set<F: Float>(&mut self, batch: &Batch<'_, F>, blocks: impl FnOnce(usize) -> usize) {
        let n = batch.len();
        let present = |i: usize| batch.weight_at(batch.at(i)) != F::zero();
        let rows = match (batch.weight, batch.index) {
            (None, _) => n,
            (Some(weight), None) => weight.iter().map(|&w| usize::from(w != F::zero())).sum(),
            (Some(_), Some(_)) => (0..n).filter(|&i| present(i)).count(),
        };
        let blocks = blocks(rows);
        self.borders.clear();
        if rows == n {
            self.borders.extend((0..=blocks).map(|b| border(n, b, blocks)));
            return;
        }
        let mut seen = 0;
        for i in 0..n {
            while self.borders.len() < blocks && seen == border(rows, self.borders.len(), blocks) {
                self.borders.push(i);
            }
            seen += usize::from(present(i));
        }
        self.borders.resize(blocks, n);
        self.borders.push(n);
    }
}

fn border(rows: usize, b: usize, blocks: usize) -> usize {
    (rows as u128 * b as u128 / blocks as u128) as usize
}

/// The rows of a tile: those of a stretch of the batch that weigh something.
#[derive(Debug, Default)]
pub(super) struct Rows<F> {
    /// Their positions in the data set.
    pub at: Vec<usize>,
    /// Where each starts in the numeric features, or in `packed`.
    pub starts: Vec<usize>,
    /// Copies of rows of less than 8 columns, padded.
    pub packed: Vec<Chunk<F>>,
    /// Their targets.
    pub target: Vec<F>,
    /// Their weights; empty when all are 1.
    pub weight: Vec<F>,
}

impl<F: Float> Rows<F> {
    /// Gathers at most `most` rows from position `next` of the batch on, up to `end`; returns the position behind them.
    pub fn gather(
        &mut self,
        batch: &Batch<'_, F>,
        next: usize,
        end: usize,
        most: usize,
        targets: bool,
    ) -> usize {
        self.at.clear();
        self.weight.clear();
        let mut stop = end.min(next + most);
        match (batch.weight, batch.index) {
            (None, None) => self.at.extend(next..stop),
            (None, Some(index)) => self.at.extend(index[next..stop].iter().map(|&at| at as usize)),
            (Some(weight), _) => {
                stop = next;
                while stop < end && self.at.len() < most {
                    let at = batch.at(stop);
                    if weight[at] != F::zero() {
                        self.at.push(at);
                        self.weight.push(weight[at]);
                    }
                    stop += 1;
                }
            }
        }
        if targets {
            self.target.clear();
            self.target.extend(self.at.iter().map(|&at| batch.target[at]));
        }
        self.starts.clear();
        self.packed.clear();
        let columns = Columns::of(batch.width);
        if columns.narrow() {
            self.packed.resize(self.at.len(), [F::zero(); LANES]);
            for (packed, &at) in self.packed.iter_mut().zip(&self.at) {
                packed.iter_mut().zip(batch.dense_row(at)).for_each(|(to, &x)| *to = x);
            }
            self.starts.extend((0..self.at.len()).map(|i| i * LANES));
        } else {
            self.starts.extend(self.at.iter().map(|&at| at * batch.width));
        }
        stop
    }

    /// What the inner loops see of them.
    pub fn tile<'a>(&'a self, batch: &Batch<'a, F>) -> Tile<'a, F> {
        let starts = &self.starts;
        match Columns::of(batch.width).narrow() {
            true => Tile { starts, data: self.packed.as_flattened(), width: LANES },
            false => Tile { starts, data: batch.dense, width: batch.width },
        }
    }
}

/// The sums of one block, and the tile that it is working on. Blocks do not share cache lines (nor the pairs of lines that are
/// fetched together).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Block<F> {
    /// The tile.
    pub rows: Rows<F>,
    /// The outputs of the tile, then its derivatives `[outputs, n]`.
    pub z: Vec<F>,
    /// The outputs of a direction `[outputs, n]`.
    pub v: Vec<F>,
    /// The losses of the tile.
    pub loss: Vec<F>,
    /// Σ d·x of the latest rows, `[outputs, stride]` chunks.
    pub recent: Vec<Chunk<F>>,
    /// The same of the rows before them.
    pub sums: Vec<Chunk<f64>>,
    /// Σ d of the rows of each one-hot feature, `[outputs, one-hot]`. All zeros between two passes.
    pub codes: Vec<f64>,
    /// Σ d in lanes, `[outputs]`.
    pub bias: Vec<Chunk<f64>>,
    /// Loss and weight.
    pub total: Total,
}

impl<F: Float> Block<F> {
    /// All sums at zero. `codes` are so already.
    pub fn reset(&mut self, chunks: usize, outputs: usize, codes: usize) {
        self.recent.clear();
        self.recent.resize(chunks, [F::zero(); LANES]);
        self.sums.clear();
        self.sums.resize(chunks, [0.0; LANES]);
        self.bias.clear();
        self.bias.resize(outputs, [0.0; LANES]);
        self.codes.resize(codes, 0.0);
        self.loss.fill(F::zero());
        self.total = Total::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_blocks_is_a_small_power_of_two() {
        for (rows, width, expected) in [
            (0, 0, 1),
            (1, 1_000_000, 1),
            (1024, 30, 2),
            (4096, 30, 8),
            (500_000, 100, 64),
            (usize::MAX, 9, 64),
        ] {
            assert_eq!(count(rows, width, 0, width, 1), expected, "{rows} × {width}");
        }
        // Many levels: joining their sums would cost more than the rows.
        assert_eq!(count(10_000, 30, 3, 1_000_030, 1), 1);
        for width in [0, 1, 7, 30, 100, 5000, usize::MAX >> 8] {
            let rows = tile_rows::<f64>(width, 1);
            assert!(rows.is_power_of_two() && (8..=256).contains(&rows), "{width}: {rows}");
        }
    }

    #[test]
    fn blocks_hold_the_rows_that_weigh_something_in_equal_parts() {
        let n = 1000;
        let target = vec![0.0; n];
        for every in [1, 2, 3, 7, 500, 2000] {
            let weight: Vec<f64> = (0..n).map(|i| if i % every == 0 { 0.5 } else { 0.0 }).collect();
            let present = weight.iter().filter(|&&w| w != 0.0).count();
            let order: Vec<u32> = (0..n as u32).rev().collect();
            for index in [None, Some(&order[..])] {
                let batch = Batch { target: &target, weight: Some(&weight), index, ..Batch::NONE };
                let mut cut = Cut::default();
                cut.set(&batch, |rows| {
                    assert_eq!(rows, present);
                    8
                });
                assert_eq!((cut.borders.len(), cut.borders[0], cut.borders[8]), (9, 0, n), "{every}");
                let of = |b: usize| {
                    (cut.borders[b]..cut.borders[b + 1])
                        .filter(|&i| batch.weight_at(batch.at(i)) != 0.0)
                        .count()
                };
                for b in 0..8 {
                    assert_eq!(of(b), border(present, b + 1, 8) - border(present, b, 8), "{every}");
                }
            }
        }
    }
}
