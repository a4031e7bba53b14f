//! Predictions: scores, responses, classes.

use std::sync::{Mutex, PoisonError};

use thalweg_core::math::LANES;
use thalweg_core::{Batch, Float, Params};

use super::Linear;
use super::blocks::Block;
use crate::losses::Task;

/// Rows that one task works on.
const TASK_ROWS: usize = 4096;

impl<F: Float> Linear<F> {
    /// The outputs z of each row, whatever its weight: `out [n, outputs]`.
    pub fn scores(&self, theta: &Params<F>, batch: &Batch<'_, F>, out: &mut [F]) {
        let outputs = self.shape.outputs;
        self.predict(theta, batch, outputs, out, |z, n, out| scatter(z, n, 0, outputs, out));
    }

    /// The prediction for each row, whatever its weight: `out [n, `[`Loss::responses`](crate::losses::Loss::responses)`]`.
    /// The probabilities of the classes (two columns for two classes), or ŷ in units of the target (exp z for Poisson).
    pub fn responses(&self, theta: &Params<F>, batch: &Batch<'_, F>, out: &mut [F]) {
        let outputs = self.shape.outputs;
        let columns = self.loss.responses(outputs);
        self.predict(theta, batch, columns, out, |z, n, out| {
            let mut other = [F::zero(); LANES];
            if columns > outputs {
                // P(class 0) = σ(−z): 1 − σ(z) would cancel.
                for (z, out) in z.chunks(LANES).zip(out.chunks_mut(LANES * columns)) {
                    let other = &mut other[..z.len()];
                    other.iter_mut().zip(z).for_each(|(other, &z)| *other = -z);
                    self.loss.tile_mean(other, z.len());
                    scatter(other, z.len(), 0, columns, out);
                }
            }
            self.loss.tile_mean(z, n);
            scatter(z, n, columns - outputs, columns, out);
        });
    }

    /// The most probable class of each row, the lower one of equals: `out [n]`.
    ///
    /// # Panics
    /// When the loss is not one of classes.
    pub fn classes(&self, theta: &Params<F>, batch: &Batch<'_, F>, out: &mut [u32]) {
        assert!(self.loss.task().is_classes(), "the {} loss predicts no classes", self.loss);
        let two = self.loss.task() == Task::TwoClasses;
        self.predict(theta, batch, 1, out, |z, n, out| {
            for (i, class) in out.iter_mut().enumerate() {
                let best = |best: usize, o: usize| if z[o * n + i] > z[best * n + i] { o } else { best };
                *class =
                    if two { u32::from(z[i] > F::zero()) } else { (0..z.len() / n).fold(0, best) as u32 };
            }
        });
    }

    /// Calls `write(z [outputs, n], n, out [n, columns])` for tiles that cover the batch.
    fn predict<T: Send>(
        &self,
        theta: &Params<F>,
        batch: &Batch<'_, F>,
        columns: usize,
        out: &mut [T],
        write: impl Fn(&mut [F], usize, &mut [T]) + Sync,
    ) {
        let rows = batch.len();
        self.check(theta, batch);
        assert_eq!(out.len(), rows * columns, "{rows} rows of {columns} predictions need as many numbers");
        let batch = Batch { weight: None, ..*batch };
        let mut work = self.take();
        self.pad(theta, &mut work.weights);
        let vector = self.vector(theta, &work.weights);
        let tasks: Vec<Mutex<&mut [T]>> = out.chunks_mut(TASK_ROWS * columns).map(Mutex::new).collect();
        self.threads.run(tasks.len(), |t| {
            let mut out = tasks[t].lock().unwrap_or_else(PoisonError::into_inner);
            let mut block = Block::default();
            let (mut next, end) = (t * TASK_ROWS, rows.min((t + 1) * TASK_ROWS));
            for out in out.chunks_mut(self.tile_rows() * columns) {
                next = block.rows.gather(&batch, next, end, self.tile_rows(), false);
                self.outputs(&batch, &block.rows, vector, &mut block.z);
                write(&mut block.z, block.rows.at.len(), out);
            }
        });
        self.give_back(work);
    }
}

/// Puts `z [outputs, n]` into the columns from `first` on of `out [n, columns]`.
fn scatter<F: Float>(z: &[F], n: usize, first: usize, columns: usize, out: &mut [F]) {
    for (o, z) in z.chunks_exact(n).enumerate() {
        for (out, &z) in out.chunks_exact_mut(columns).zip(z) {
            out[first + o] = z;
        }
    }
}
