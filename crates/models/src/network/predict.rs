//! Predictions.

use std::cell::Cell;

use thalweg_autodiff::Number;
use thalweg_core::{Batch, Float, Params};

use super::objective::Kept;
use super::{Input, Network, Output, Work};
use crate::layers::States;
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

    /// The outputs z of the tokens of one sequence that goes on, `out [places, outputs]`: `codes` are as many as a row has,
    /// and `state` is where the tokens before them left the recurrent layers, zeros at first; it is moved on. One after the
    /// other, stretches of a sequence give what the sequence gives as one row, but for rounding.
    ///
    /// # Panics
    /// When the network has no [`state`](Network::state) of the length of `state` or is of no tokens, and as [`Network::scores`].
    pub fn advance(&self, theta: &Params<F>, codes: &[u32], state: &mut [F], out: &mut [F]) {
        assert_eq!(
            self.state(),
            Some(state.len()),
            "the network does not carry {} numbers of state",
            state.len()
        );
        assert_eq!(out.len(), self.places() * self.outputs, "each place has {} outputs", self.outputs);
        let batch = Batch { codes, code_width: codes.len(), index: Some(&[0]), ..Batch::NONE };
        self.check(theta, &batch, false);
        let mut guard = self.work();
        let Work { workspace, rows, statistics, .. } = &mut *guard;
        rows.gather(&batch, 0, 1, self.reading(), false);
        let mut tape = workspace.evaluation(&self.layout, theta.flat());
        let at = Cell::new(0);
        let states = Some(States { numbers: state, at: &at });
        let kept = Kept { numbers: statistics.flat_mut(), share: None };
        let z = self.forward_from(&mut tape, &rows.dense, &rows.bags, 1, kept, self.seed, states);
        out.copy_from_slice(tape.value(z));
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
            next = rows.gather(batch, next, self.evaluation_rows(), self.reading(), false);
            let mut tape = workspace.evaluation(&self.layout, theta.flat());
            let kept = Kept { numbers: statistics.flat_mut(), share: None };
            let z = self.forward(&mut tape, &rows.dense, &rows.bags, rows.count, kept, self.seed);
            write(tape.value(z), scratch, &mut out[start * row..next * row]);
        }
    }
}
