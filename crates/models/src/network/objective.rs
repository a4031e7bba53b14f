//! Loss and gradient.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use thalweg_autodiff::{CrossEntropy, Number, Tape, Var};
use thalweg_core::{Batch, Float, Grads, Layout, Objective, Params, Total};

use super::{Network, Output, Rows, Work};
use crate::layers::{Bags, Layer, Run, Statistics};
use crate::losses::Loss;

/// Rows of one tape that records.
const TRAINING_ROWS: usize = 1024;
/// Rows of one tape that does not.
pub(super) const EVALUATION_ROWS: usize = 256;

impl<F: Float + Number> Network<F> {
    /// The outputs of gathered rows, `[n, outputs]`; for next tokens, `[n·context, outputs]`.
    pub(super) fn forward<'a>(
        &self,
        tape: &mut Tape<'a, F>,
        dense: &'a [F],
        bags: &[Bags],
        count: usize,
        kept: &mut Params<F>,
        seed: u64,
    ) -> Var {
        let numbers = self.input.widths().0;
        let mut x = tape.input(dense, [count, numbers]);
        let statistics = Statistics { numbers: kept.flat_mut(), starts: &self.statistic_starts };
        let mut run = Run { tape, statistics, bags, seed };
        if !self.embeddings.is_empty() {
            for embedding in &self.embeddings {
                let rows = embedding.look_up(&mut run);
                x = run.tape.concat(&[x, rows], 1);
            }
        } else if numbers > 0 {
            let mut shape = [count; 4];
            shape[1..=self.entry.len()].copy_from_slice(&self.entry);
            x = run.tape.reshape(x, &shape[..=self.entry.len()]);
        }
        let z = self.layers.forward(&mut run, x);
        match self.output {
            Output::Row(_) => z,
            Output::NextToken => tape.reshape(z, [count * self.entry[0], self.outputs]),
        }
    }

    /// Σ of the losses of gathered rows.
    fn total_loss<'a>(
        &self,
        tape: &mut Tape<'a, F>,
        z: Var,
        rows: &'a Rows<F>,
        class_weights: &'a [F],
    ) -> Var {
        let weights = (!rows.weight.is_empty()).then(|| tape.input(&rows.weight, [rows.weight.len()]));
        if self.criterion.loss == Loss::SOFTMAX {
            let given = self.criterion.weights().is_some();
            let class_weights = given.then(|| tape.input(class_weights, [class_weights.len()]));
            let smoothing = self.criterion.smoothing;
            return tape.softmax_cross_entropy(
                z,
                &rows.labels,
                CrossEntropy { weights, class_weights, smoothing },
            );
        }
        let y = tape.input(&rows.target, [rows.target.len(), 1]);
        match self.criterion.loss {
            Loss::Squared(_) => tape.mse(z, y, weights),
            Loss::Absolute(_) => tape.l1(z, y, weights),
            Loss::Huber(l) => tape.huber(z, y, l.delta, weights),
            Loss::Quantile(l) => tape.quantile(z, y, l.q, weights),
            Loss::Poisson(_) => tape.poisson(z, y, weights),
            Loss::Logistic(_) => tape.bce_with_logits(z, y, weights),
            Loss::Softmax(_) => unreachable!("handled above"),
        }
    }

    /// Refuses what does not belong to this network: a mistake of the caller.
    pub(super) fn check(&self, theta: &Params<F>, batch: &Batch<'_, F>, targets: bool) {
        let (numbers, codes) = self.input.widths();
        let codes = codes + usize::from(targets && self.output == Output::NextToken);
        assert_eq!(theta.flat().len(), self.layout.buffer_len(), "the parameters are another network's");
        assert_eq!(batch.width, numbers, "a row has {} numbers, the network takes {numbers}", batch.width);
        assert!(
            batch.code_width == codes || !targets && batch.code_width > codes,
            "a row has {} codes, the network takes {codes}",
            batch.code_width
        );
    }
}

impl<F: Float + Number> Objective<F> for Network<F> {
    fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    fn loss(&self, theta: &Params<F>, batch: &Batch<'_, F>) -> Total {
        self.check(theta, batch, true);
        let mut guard = self.work();
        let Work { workspace, rows, statistics, class_weights, .. } = &mut *guard;
        let (mut total, mut next) = (Total::default(), 0);
        while next < batch.len() {
            next = rows.gather(batch, next, EVALUATION_ROWS, self.reading(), true);
            if rows.count == 0 {
                break;
            }
            let mut tape = workspace.evaluation(&self.layout, theta.flat());
            let z = self.forward(&mut tape, &rows.dense, &rows.bags, rows.count, statistics, self.seed);
            let loss = self.total_loss(&mut tape, z, rows, class_weights);
            let weight = rows.total_weight(self.criterion.weights());
            total += Total { loss: Float::to_f64(tape.value(loss)[0]), weight };
        }
        total
    }

    fn gradient(&self, theta: &Params<F>, batch: &Batch<'_, F>, grads: &mut Grads<F>) -> Total {
        self.check(theta, batch, true);
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        let total = self.train(theta, batch, step, true, Some(grads));
        grads.total += total;
        total
    }

    fn gradient_again(&self, theta: &Params<F>, batch: &Batch<'_, F>, grads: &mut Grads<F>) -> Total {
        self.check(theta, batch, true);
        let total = self.train(theta, batch, self.last_step(), false, Some(grads));
        grads.total += total;
        total
    }

    fn loss_again(&self, theta: &Params<F>, batch: &Batch<'_, F>) -> Total {
        self.check(theta, batch, true);
        self.train(theta, batch, self.last_step(), false, None)
    }
}

impl<F: Float + Number> Network<F> {
    /// The last step's number, which its draws go by; before the first, that of the first.
    fn last_step(&self) -> u64 {
        self.steps.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// The loss as training sees it, with the draws of `step`, and its gradient added to `grads` if asked for. What is kept beside the
    /// parameters moves if `moves`.
    fn train(
        &self,
        theta: &Params<F>,
        batch: &Batch<'_, F>,
        step: u64,
        moves: bool,
        mut grads: Option<&mut Grads<F>>,
    ) -> Total {
        let mut guard = self.work();
        let Work { workspace, rows, statistics, aside, class_weights, .. } = &mut *guard;
        let kept = if moves { statistics } else { aside };
        // Batch norm looks at all rows of a batch at once.
        let most = if kept.flat().is_empty() { TRAINING_ROWS } else { usize::MAX };
        let (mut total, mut next, mut part) = (Total::default(), 0, 0);
        while next < batch.len() {
            next = rows.gather(batch, next, most, self.reading(), true);
            if rows.count == 0 {
                break;
            }
            let mut tape = workspace.tape(&self.layout, theta.flat());
            let seed = self.seed_of(step, part);
            let z = self.forward(&mut tape, &rows.dense, &rows.bags, rows.count, kept, seed);
            let loss = self.total_loss(&mut tape, z, rows, class_weights);
            if let Some(grads) = &mut grads {
                tape.backward(loss, grads.flat_mut());
            }
            let weight = rows.total_weight(self.criterion.weights());
            total += Total { loss: Float::to_f64(tape.value(loss)[0]), weight };
            part += 1;
        }
        total
    }

    /// The seed of one part of one step.
    fn seed_of(&self, step: u64, part: u64) -> u64 {
        // Odd multipliers, from the digits of the golden ratio and of √2, keep steps and parts apart.
        let mix = step.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part.wrapping_mul(0x6a09_e667_f3bc_c909);
        self.seed ^ mix
    }
}
