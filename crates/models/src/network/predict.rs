//! Predictions.

use thalweg_autodiff::Number;
use thalweg_core::{Batch, Float, Params};

use super::objective::{EVALUATION_ROWS, Kept};
use super::{Input, Network, Output, Work};
use crate::losses::Task;

impl<F: Float + Number> Network<F> {
    /// Results for a row: 1, or the tokens of a row where each says something.
    pub fn places(&self) -> usize {
        match (self.output, &self.input) {
            (Output::NextToken, Input::Tokens { context, .. }) => *context,
            _ => 1,
        }
    }

    /// The outputs z of each row, whatever its weight: `out [n, places, outputs]`. No tape is recorded.
    ///
    /// # Panics
    /// When `out` has another size, or the batch's rows are not the network's.
    pub fn scores(&self, theta: &Params<F>, batch: &Batch<'_, F>, out: &mut [F]) {
        let outputs = self.outputs;
        self.predict(theta, batch, outputs, out, |z, _, out| out.copy_from_slice(z));
    }

    /// The prediction for each row, whatever its weight: `out [n, places, `[`Loss::responses`](crate::losses::Loss::responses)`]`.
    /// The probabilities of the classes (two columns for two classes), or ŷ in units of the target (exp z for Poisson).
    ///
    /// # Panics
    /// As [`Network::scores`].
    pub fn responses(&self, theta: &Params<F>, batch: &Batch<'_, F>, out: &mut [F]) {
        let (loss, outputs) = (self.criterion.loss, self.outputs);
        let columns = loss.responses(outputs);
        self.predict(theta, batch, columns, out, |z, scratch, out| {
            let n = z.len() / outputs;
            scratch.clear();
            if columns > outputs {
                // P(class 0) = σ(−z): 1 − σ(z) would cancel.
                scratch.extend(z.iter().map(|&z| -z));
                loss.tile_mean(scratch, n);
                out.chunks_exact_mut(columns).zip(&*scratch).for_each(|(out, &p)| out[0] = p);
                scratch.clear();
            }
            for k in 0..outputs {
                scratch.extend(z.iter().skip(k).step_by(outputs));
            }
            loss.tile_mean(scratch, n);
            for (k, z) in scratch.chunks_exact(n).enumerate() {
                for (out, &z) in out.chunks_exact_mut(columns).zip(z) {
                    out[columns - outputs + k] = z;
                }
            }
        });
    }

    /// The most probable class of each row, the lower one of equals: `out [n, places]`.
    ///
    /// # Panics
    /// When the loss is not one of classes, and as [`Network::scores`].
    pub fn classes(&self, theta: &Params<F>, batch: &Batch<'_, F>, out: &mut [u32]) {
        let loss = self.criterion.loss;
        assert!(loss.task().is_classes(), "the {loss} loss predicts no classes");
        let two = loss.task() == Task::TwoClasses;
        let outputs = self.outputs;
        self.predict(theta, batch, 1, out, |z, _, out| {
            for (z, class) in z.chunks_exact(outputs).zip(out) {
                let best = |best: usize, k: usize| if z[k] > z[best] { k } else { best };
                *class = if two { u32::from(z[0] > F::zero()) } else { (0..outputs).fold(0, best) as u32 };
            }
        });
    }

    /// Calls `write(z [rows·places, outputs], scratch, out [rows·places, columns])` for parts that cover the batch.
    fn predict<T>(
        &self,
        theta: &Params<F>,
        batch: &Batch<'_, F>,
        columns: usize,
        out: &mut [T],
        mut write: impl FnMut(&[F], &mut Vec<F>, &mut [T]),
    ) {
        self.check(theta, batch, false);
        let row = columns * self.places();
        assert_eq!(out.len(), batch.len() * row, "{} rows need {row} predictions each", batch.len());
        let mut guard = self.work();
        let Work { workspace, rows, statistics, scratch, .. } = &mut *guard;
        let mut next = 0;
        while next < batch.len() {
            let start = next;
            next = rows.gather(batch, next, EVALUATION_ROWS, self.reading(), false);
            let mut tape = workspace.evaluation(&self.layout, theta.flat());
            let kept = Kept { numbers: statistics.flat_mut(), share: None };
            let z = self.forward(&mut tape, &rows.dense, &rows.bags, rows.count, kept, self.seed);
            write(tape.value(z), scratch, &mut out[start * row..next * row]);
        }
    }
}
