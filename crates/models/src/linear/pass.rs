//! One pass over a batch: tiles of rows are gathered, scored, weighed and summed, block by block.

use std::sync::{Mutex, MutexGuard, PoisonError};

use thalweg_core::math::{LANES, join};
use thalweg_core::{Batch, Float, Grads, Params, Total, isa};

use super::blocks::{self, Block, Cut, Rows};
use super::kernel::{self, Accumulate, Chunk, Columns, Scores};
use super::{Linear, Shape};

/// Sums in the parameters' own type are carried over into f64 after this many rows.
const FLUSH: usize = 1024;

/// The memory of a pass. It returns to the pool: the steady state allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Work<F> {
    /// The numeric weights, padded.
    pub weights: Vec<Chunk<F>>,
    /// The same of a direction.
    directions: Vec<Chunk<F>>,
    cut: Cut,
    blocks: Vec<Mutex<Block<F>>>,
}

/// What a pass makes of the outputs of a tile.
#[derive(Clone, Copy)]
pub(super) enum Aim<'v, F: Float> {
    /// Losses.
    Loss,
    /// Losses and derivatives.
    Gradient,
    /// ∂²loss/∂z² times the outputs of a direction.
    Product(&'v Params<F>),
    /// The bound of ∂²loss/∂z² times the outputs of a direction.
    Bound(&'v Params<F>, f64),
}

/// θ or a direction, as the inner loops read it.
#[derive(Clone, Copy)]
pub(super) struct Vector<'a, F> {
    /// The numeric columns, padded: `[outputs, stride]`.
    chunks: &'a [Chunk<F>],
    /// The whole weight tensor.
    weight: &'a [F],
    /// The biases; empty without an intercept.
    bias: &'a [F],
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn own<T>(mutex: &mut Mutex<T>) -> &mut T {
    mutex.get_mut().unwrap_or_else(PoisonError::into_inner)
}

/// Moves the recent sums into those in f64.
fn carry<F: Float>(recent: &mut [Chunk<F>], sums: &mut [Chunk<f64>]) {
    for (sum, x) in sums.as_flattened_mut().iter_mut().zip(recent.as_flattened_mut()) {
        *sum += std::mem::take(x).to_f64();
    }
}

impl<F: Float> Linear<F> {
    pub(super) fn tile_rows(&self) -> usize {
        blocks::tile_rows::<F>(self.shape.dense, self.shape.outputs)
    }

    /// Chunks in a padded row.
    fn stride(&self) -> usize {
        self.columns().chunks()
    }

    fn columns(&self) -> Columns {
        Columns::of(self.shape.dense)
    }

    pub(super) fn check(&self, theta: &Params<F>, batch: &Batch<'_, F>) {
        assert_eq!(theta.layout(), &self.layout, "these parameters are of another model");
        let columns = batch.is_empty() || batch.width == self.shape.dense;
        assert!(columns, "a batch of {} numeric columns for a model of {}", batch.width, self.shape.dense);
    }

    pub(super) fn take(&self) -> Work<F> {
        lock(&self.pool).pop().unwrap_or_default()
    }

    pub(super) fn give_back(&self, work: Work<F>) {
        lock(&self.pool).push(work);
    }

    /// The numeric part of the weights, each output padded to whole chunks.
    pub(super) fn pad(&self, theta: &Params<F>, chunks: &mut Vec<Chunk<F>>) {
        let Shape { dense, outputs, .. } = self.shape;
        chunks.clear();
        chunks.resize(outputs * self.stride(), [F::zero(); LANES]);
        if dense > 0 {
            let weights = theta.tensor("weight").chunks_exact(self.shape.inputs());
            for (chunks, weight) in chunks.chunks_exact_mut(self.stride()).zip(weights) {
                self.columns().spread(&weight[..dense], chunks);
            }
        }
    }

    pub(super) fn vector<'a>(&self, theta: &'a Params<F>, chunks: &'a [Chunk<F>]) -> Vector<'a, F> {
        let bias = if self.shape.intercept { theta.tensor("bias") } else { &[] };
        Vector { chunks, weight: theta.tensor("weight"), bias }
    }

    /// `z [outputs, n]` of a tile: numeric columns, then codes in their order, then the intercept.
    pub(super) fn outputs(
        &self,
        batch: &Batch<'_, F>,
        rows: &Rows<F>,
        vector: Vector<'_, F>,
        z: &mut Vec<F>,
    ) {
        let Shape { dense, outputs, .. } = self.shape;
        let n = rows.at.len();
        z.resize(outputs * n, F::zero());
        if n == 0 {
            return;
        }
        if dense > 0 {
            F::on_lanes(Scores { tile: rows.tile(batch), weights: vector.chunks, z });
        } else {
            z.fill(F::zero());
        }
        for (o, z) in z.chunks_exact_mut(n).enumerate() {
            if batch.code_width > 0 {
                let weight = &vector.weight[o * self.shape.inputs()..(o + 1) * self.shape.inputs()][dense..];
                for (z, &at) in z.iter_mut().zip(&rows.at) {
                    for &code in batch.code_row(at) {
                        if code != Batch::<F>::UNSEEN {
                            *z += weight[code as usize];
                        }
                    }
                }
            }
            if let Some(&bias) = vector.bias.get(o) {
                z.iter_mut().for_each(|z| *z += bias);
            }
        }
    }

    /// One pass over the batch; the sums that `aim` asks for are added to `out`.
    pub(super) fn pass(
        &self,
        theta: &Params<F>,
        batch: &Batch<'_, F>,
        aim: Aim<'_, F>,
        out: Option<&mut Grads<F>>,
    ) -> Total {
        self.check(theta, batch);
        let Shape { dense, one_hot, outputs, .. } = self.shape;
        let mut work = self.take();
        self.pad(theta, &mut work.weights);
        let theta = self.vector(theta, &work.weights);
        let direction = match aim {
            Aim::Product(v) | Aim::Bound(v, _) => {
                assert_eq!(v.layout(), &self.layout, "this direction is of another model");
                self.pad(v, &mut work.directions);
                Some(self.vector(v, &work.directions))
            }
            Aim::Loss | Aim::Gradient => None,
        };
        let sums = outputs * (dense + one_hot);
        work.cut.set(batch, |rows| blocks::count(rows, dense, batch.code_width, sums, outputs));
        let blocks = work.cut.borders.len() - 1;
        while work.blocks.len() < blocks {
            work.blocks.push(Mutex::default());
        }
        self.threads.run(blocks, |b| {
            let (start, end) = (work.cut.borders[b], work.cut.borders[b + 1]);
            self.block(batch, start, end, &mut lock(&work.blocks[b]), theta, direction, aim);
        });
        let blocks = &mut work.blocks[..blocks];
        let total = blocks.iter_mut().fold(Total::default(), |total, b| total + own(b).total);
        if let Some(out) = out {
            self.join(batch, blocks, out);
        }
        self.give_back(work);
        total
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one pass; each is named where it is made")]
    fn block(
        &self,
        batch: &Batch<'_, F>,
        start: usize,
        end: usize,
        block: &mut Block<F>,
        theta: Vector<'_, F>,
        direction: Option<Vector<'_, F>>,
        aim: Aim<'_, F>,
    ) {
        let Shape { dense, one_hot, outputs, .. } = self.shape;
        block.reset(outputs * self.stride(), outputs, outputs * one_hot);
        let Block { rows, recent, sums, codes, bias, z, v, loss, .. } = block;
        let (mut losses, mut weights) = ([0.0; LANES], [0.0; LANES]);
        let (mut next, mut since) = (start, 0);
        while next < end {
            next = rows.gather(batch, next, end, self.tile_rows(), true);
            let n = rows.at.len();
            self.outputs(batch, rows, theta, z);
            loss.resize(n, F::zero());
            let d = if let Some(direction) = direction {
                self.outputs(batch, rows, direction, v);
                match aim {
                    Aim::Bound(_, bound) => v.iter_mut().for_each(|v| *v = F::from_f64(bound) * *v),
                    _ => self.loss.tile_product(z, v, &rows.target),
                }
                &mut *v
            } else {
                self.loss.tile(z, &rows.target, loss);
                &mut *z
            };
            isa::run(
                #[inline(always)]
                || kernel::weigh(loss, &rows.weight, d, bias, &mut losses, &mut weights),
            );
            if matches!(aim, Aim::Loss) || n == 0 {
                continue;
            }
            if dense > 0 {
                F::on_lanes(Accumulate { tile: rows.tile(batch), d, sums: recent });
            }
            if batch.code_width > 0 {
                for (d, codes) in d.chunks_exact(n).zip(codes.chunks_exact_mut(one_hot)) {
                    for (&d, &at) in d.iter().zip(&rows.at) {
                        for &code in batch.code_row(at) {
                            if code != Batch::<F>::UNSEEN {
                                codes[code as usize] += d.to_f64();
                            }
                        }
                    }
                }
            }
            since += n;
            if since >= FLUSH {
                since = 0;
                carry(recent, sums);
            }
        }
        carry(recent, sums);
        block.total = Total { loss: join(losses), weight: join(weights) };
    }

    /// Adds the sums of the blocks, in their order, to `out`. The codes are zero again afterwards.
    fn join(&self, batch: &Batch<'_, F>, blocks: &mut [Mutex<Block<F>>], out: &mut Grads<F>) {
        let Shape { dense, one_hot, intercept, .. } = self.shape;
        assert_eq!(out.layout(), &self.layout, "this gradient is of another model");
        let Some((first, rest)) = blocks.split_first_mut() else { return };
        let (first, alone) = (own(first), rest.is_empty());
        for block in rest {
            let block = own(block);
            let add = |to: &mut [f64], from: &mut [f64]| {
                to.iter_mut().zip(from).for_each(|(to, from)| *to += std::mem::take(from));
            };
            add(first.sums.as_flattened_mut(), block.sums.as_flattened_mut());
            add(first.bias.as_flattened_mut(), block.bias.as_flattened_mut());
            add(&mut first.codes, &mut block.codes);
        }
        let add = |to: &mut F, sum: f64| *to = F::from_f64(to.to_f64() + sum);
        let inputs = dense + one_hot;
        let weight = out.tensor_mut("weight");
        for (o, weight) in weight.chunks_exact_mut(inputs.max(1)).enumerate() {
            let (numbers, codes) = weight.split_at_mut(dense);
            let sums = &first.sums[o * self.stride()..(o + 1) * self.stride()];
            numbers.iter_mut().zip(self.columns().collect(sums)).for_each(|(to, sum)| add(to, sum));
            let sums = &mut first.codes[o * one_hot..(o + 1) * one_hot];
            if alone && batch.len() * batch.code_width < one_hot / 4 {
                // Few rows and many levels: only those of the rows can hold a sum.
                let rows = (0..batch.len()).flat_map(|i| batch.code_row(batch.at(i)));
                for &code in rows.filter(|&&code| code != Batch::<F>::UNSEEN) {
                    add(&mut codes[code as usize], std::mem::take(&mut sums[code as usize]));
                }
            } else {
                codes.iter_mut().zip(sums).for_each(|(to, sum)| add(to, std::mem::take(sum)));
            }
        }
        if intercept {
            let sums = first.bias.iter().map(|&lanes| join(lanes));
            out.tensor_mut("bias").iter_mut().zip(sums).for_each(|(to, sum)| add(to, sum));
        }
    }
}
