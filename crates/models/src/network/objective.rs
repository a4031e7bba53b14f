//! Loss and gradient.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use thalweg_autodiff::{CrossEntropy, Dual, Number, Tape, Var, Workspace};
use thalweg_core::{Batch, Float, Grads, Layout, Objective, Params, Threads, Total};

use super::{Input, Network, Output, RowNumbers, Rows, Work};
use crate::layers::{Bags, Layer, Run, States, Statistics};
use crate::losses::Loss;

/// Rows of one tape that records.
const TRAINING_ROWS: usize = 1024;
/// Rows of one tape that does not.
const EVALUATION_ROWS: usize = 256;
/// Outputs of one tape, where each token of a row has some: a large vocabulary makes many.
const OUTPUTS: usize = 1 << 24;

impl<F: Float + Number> Network<F> {
    /// The outputs of gathered rows, `[n, outputs]`; for next tokens, `[n·context, outputs]`.
    pub(super) fn forward<'a, N: Number>(
        &'a self,
        tape: &mut Tape<'a, N>,
        dense: &'a [N],
        bags: &'a [Bags],
        count: usize,
        kept: Kept<'a, N>,
        seed: u64,
    ) -> Var {
        self.forward_from(tape, dense, bags, count, kept, seed, None)
    }

    /// The same, from where a stretch before left the recurrent layers.
    #[allow(clippy::too_many_arguments, reason = "what a row is, and what belongs to it")]
    pub(super) fn forward_from<'a, N: Number>(
        &'a self,
        tape: &mut Tape<'a, N>,
        dense: &'a [N],
        bags: &'a [Bags],
        count: usize,
        kept: Kept<'a, N>,
        seed: u64,
        states: Option<States<'_, N>>,
    ) -> Var {
        let numbers = self.input.widths().0;
        let mut x = tape.input(dense, [count, numbers]);
        let Kept { numbers: kept, share } = kept;
        let kept = Cell::from_mut(kept).as_slice_of_cells();
        let statistics = Statistics { numbers: kept, starts: &self.statistic_starts, share };
        let mut run = Run { tape, statistics, bags, seed, states };
        if !self.embeddings.is_empty() {
            for (column, embedding) in self.embeddings.iter().enumerate() {
                let rows = embedding.look_up(&mut run);
                // Without numeric columns nothing stands before the first.
                x = if numbers + column == 0 { rows } else { run.tape.concat(&[x, rows], 1) };
            }
        } else if numbers > 0 {
            let mut shape = [count; 4];
            shape[1..=self.entry.len()].copy_from_slice(&self.entry);
            x = run.tape.reshape(x, &shape[..=self.entry.len()]);
            if let [_, channels, height, width] = shape[..=self.entry.len()] {
                // Images lie channels last from here on.
                x = match channels {
                    1 => run.tape.reshape(x, [count, height, width, 1]),
                    _ => run.tape.permute(x, &[0, 2, 3, 1]),
                };
            }
        }
        let z = self.layers.forward(&mut run, x);
        match self.output {
            Output::Row(_) => z,
            Output::NextToken => tape.reshape(z, [count * self.entry[0], self.outputs]),
        }
    }

    /// Σ of the losses of gathered rows.
    fn total_loss<'a, N: Number>(&self, tape: &mut Tape<'a, N>, z: Var, wanted: Wanted<'a, N>) -> Var {
        let Wanted { target, labels, weight, class_weights } = wanted;
        let weights = (!weight.is_empty()).then(|| tape.input(weight, [weight.len()]));
        if self.criterion.loss == Loss::SOFTMAX {
            let given = self.criterion.weights().is_some();
            let class_weights = given.then(|| tape.input(class_weights, [class_weights.len()]));
            let smoothing = self.criterion.smoothing;
            return tape.softmax_cross_entropy(z, labels, CrossEntropy { weights, class_weights, smoothing });
        }
        let y = tape.input(target, [target.len(), 1]);
        match self.criterion.loss {
            Loss::Squared(_) => tape.mse(z, y, weights),
            Loss::Absolute(_) => tape.l1(z, y, weights),
            Loss::Huber(l) => tape.huber(z, y, l.delta, weights),
            Loss::Quantile(l) => tape.quantile(z, y, l.q, weights),
            Loss::Poisson(_) => tape.poisson(z, y, weights),
            Loss::Logistic(_) => tape.bce_with_logits(z, y, weights),
            Loss::Hinge(_) => {
                // Classes 0 and 1 as −1 and 1.
                let twice = tape.scale(y, 2.0);
                let side = tape.shift(twice, -1.0);
                tape.hinge(z, side, weights)
            }
            Loss::Softmax(_) => unreachable!("handled above"),
        }
    }

    /// Rows of one tape that records: batch norm looks at all rows of a batch at once.
    fn training_rows(&self) -> usize {
        if self.statistic_starts.is_empty() { self.at_most(TRAINING_ROWS) } else { usize::MAX }
    }

    /// Refuses what does not belong to this network: a mistake of the caller.
    pub(super) fn check(&self, theta: &Params<F>, batch: &Batch<'_, F>, targets: bool) {
        let (numbers, codes) = self.input.widths();
        let next = targets && self.output == Output::NextToken;
        let text = codes > 0 && matches!(self.input, Input::Tokens { .. }) && batch.code_width == 1;
        let codes = if text { 1 } else { codes + usize::from(next) };
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
        self.loss_of(theta, batch, &dense(batch))
    }

    fn gradient(&self, theta: &Params<F>, batch: &Batch<'_, F>, grads: &mut Grads<F>) -> Total {
        self.gradient_of(theta, batch, &dense(batch), grads)
    }

    fn gradient_again(&self, theta: &Params<F>, batch: &Batch<'_, F>, grads: &mut Grads<F>) -> Total {
        self.gradient_again_of(theta, batch, &dense(batch), grads)
    }

    fn loss_again(&self, theta: &Params<F>, batch: &Batch<'_, F>) -> Total {
        self.loss_again_of(theta, batch, &dense(batch))
    }

    /// Exact: see [`Dual`]. The loss is that of the gradient before: dropout leaves the same numbers out, and batch norm uses the
    /// batch's own moments; neither counts as a step.
    fn hessian_vector(
        &self,
        theta: &Params<F>,
        v: &Params<F>,
        batch: &Batch<'_, F>,
        out: &mut Grads<F>,
    ) -> Total {
        self.hessian_vector_of(theta, v, batch, &dense(batch), out)
    }
}

/// The numbers of rows, as a batch has them.
pub(super) fn dense<'a, F: Float>(batch: &Batch<'a, F>) -> impl Fn(usize, &mut Vec<F>) + Sync + use<'a, F> {
    let batch = *batch;
    move |at, to| to.extend_from_slice(batch.dense_row(at))
}

impl<F: Float + Number> Network<F> {
    /// [`Objective::loss`] of rows whose numbers `numbers` gives.
    pub(super) fn loss_of(
        &self,
        theta: &Params<F>,
        batch: &Batch<'_, F>,
        numbers: &RowNumbers<'_, F>,
    ) -> Total {
        self.check(theta, batch, true);
        let mut guard = self.work();
        let Work { workspace, rows, statistics, class_weights, .. } = &mut *guard;
        let (mut total, mut next) = (Total::default(), 0);
        while next < batch.len() {
            next = rows.gather(batch, next, self.evaluation_rows(), self.reading(), true, numbers);
            if rows.count == 0 {
                break;
            }
            let mut tape = workspace.evaluation(&self.layout, theta.flat());
            let kept = Kept { numbers: statistics.flat_mut(), share: None };
            let z = self.forward(&mut tape, &rows.dense, &rows.bags, rows.count, kept, self.seed);
            let loss = self.total_loss(&mut tape, z, rows.wanted(class_weights));
            let weight = rows.total_weight(self.criterion.weights());
            total += Total { loss: Float::to_f64(tape.value(loss)[0]), weight };
        }
        total
    }

    /// [`Objective::gradient`] of rows whose numbers `numbers` gives.
    pub(super) fn gradient_of(
        &self,
        theta: &Params<F>,
        batch: &Batch<'_, F>,
        numbers: &RowNumbers<'_, F>,
        grads: &mut Grads<F>,
    ) -> Total {
        self.check(theta, batch, true);
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        let total = self.train(theta, batch, numbers, step, true, Some(grads));
        grads.total += total;
        total
    }

    /// [`Objective::gradient_again`] of rows whose numbers `numbers` gives.
    pub(super) fn gradient_again_of(
        &self,
        theta: &Params<F>,
        batch: &Batch<'_, F>,
        numbers: &RowNumbers<'_, F>,
        grads: &mut Grads<F>,
    ) -> Total {
        self.check(theta, batch, true);
        let total = self.train(theta, batch, numbers, self.last_step(), false, Some(grads));
        grads.total += total;
        total
    }

    /// [`Objective::loss_again`] of rows whose numbers `numbers` gives.
    pub(super) fn loss_again_of(
        &self,
        theta: &Params<F>,
        batch: &Batch<'_, F>,
        numbers: &RowNumbers<'_, F>,
    ) -> Total {
        self.check(theta, batch, true);
        self.train(theta, batch, numbers, self.last_step(), false, None)
    }

    /// [`Objective::hessian_vector`] of rows whose numbers `numbers` gives.
    ///
    /// Exact: the gradient on dual numbers θ + v·ε has the tangents H v (Pearlmutter 1994, see [`Dual`]). The loss is that of the
    /// gradient before: dropout leaves the same numbers out, and batch norm uses the batch's own moments; neither counts as a step.
    pub(super) fn hessian_vector_of(
        &self,
        theta: &Params<F>,
        v: &Params<F>,
        batch: &Batch<'_, F>,
        numbers: &RowNumbers<'_, F>,
        out: &mut Grads<F>,
    ) -> Total {
        self.check(theta, batch, true);
        assert_eq!(v.flat().len(), theta.flat().len(), "the direction is another network's");
        let step = self.last_step();
        let mut guard = self.work();
        let Work { rows, statistics, class_weights, lifted, .. } = &mut *guard;
        let lifted = lifted.get_or_insert_with(|| Box::new(Lifted::new(self.threads.clone())));
        lifted.start(theta, v, statistics, class_weights);
        let Lifted { workspace, theta, grads, statistics, class_weights, dense, target, weight } =
            &mut **lifted;
        let (mut total, mut next, mut part) = (Total::default(), 0, 0);
        while next < batch.len() {
            next = rows.gather(batch, next, self.training_rows(), self.reading(), true, numbers);
            if rows.count == 0 {
                break;
            }
            lift(&rows.dense, dense);
            lift(&rows.target, target);
            lift(&rows.weight, weight);
            let mut tape = workspace.tape(&self.layout, theta);
            let seed = self.seed_of(step, part);
            let kept = Kept { numbers: statistics, share: None };
            let z = self.forward(&mut tape, dense, &rows.bags, rows.count, kept, seed);
            let wanted = Wanted { target, labels: &rows.labels, weight, class_weights };
            let loss = self.total_loss(&mut tape, z, wanted);
            tape.backward(loss, grads);
            let weight = rows.total_weight(self.criterion.weights());
            total += Total { loss: Float::to_f64(tape.value(loss)[0].value), weight };
            part += 1;
        }
        for (to, from) in out.flat_mut().iter_mut().zip(grads) {
            *to = from.tangent;
        }
        out.total = total;
        total
    }
}

/// What is kept beside the parameters, and the share of the batch in it where layers are not to take their own.
pub(super) struct Kept<'a, N> {
    pub numbers: &'a mut [N],
    pub share: Option<f64>,
}

/// What the losses of gathered rows are worked out from.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a, N> {
    /// Numeric targets.
    pub target: &'a [N],
    /// Classes, or the tokens that follow.
    pub labels: &'a [u32],
    /// The weight of each target; empty when all are 1.
    pub weight: &'a [N],
    pub class_weights: &'a [N],
}

/// What products with the Hessian work in: numbers with tangents, kept from product to product.
pub(super) struct Lifted<F: Float> {
    workspace: Workspace<Dual<F>>,
    theta: Vec<Dual<F>>,
    grads: Vec<Dual<F>>,
    /// A copy that is thrown away: a product is no step.
    statistics: Vec<Dual<F>>,
    class_weights: Vec<Dual<F>>,
    dense: Vec<Dual<F>>,
    target: Vec<Dual<F>>,
    weight: Vec<Dual<F>>,
}

/// The same numbers as constants.
fn lift<F: Float>(from: &[F], to: &mut Vec<Dual<F>>) {
    to.clear();
    to.extend(from.iter().map(|&x| Dual::from_base(x)));
}

impl<F: Float> Lifted<F> {
    fn new(threads: Threads) -> Self {
        Self {
            workspace: Workspace::new(threads),
            theta: Vec::new(),
            grads: Vec::new(),
            statistics: Vec::new(),
            class_weights: Vec::new(),
            dense: Vec::new(),
            target: Vec::new(),
            weight: Vec::new(),
        }
    }
    /// θ + v·ε, and a gradient of 0.
    fn start(&mut self, theta: &Params<F>, v: &Params<F>, statistics: &Params<F>, class_weights: &[F]) {
        self.theta.clear();
        let trained = theta.layout().trained_len();
        self.theta.extend(theta.flat().iter().zip(v.flat()).map(|(&x, &v)| Dual::new(x, v)));
        // What is frozen does not move.
        self.theta[trained..].iter_mut().for_each(|x| x.tangent = F::zero());
        self.grads.clear();
        self.grads.resize(trained, Dual::default());
        lift(statistics.flat(), &mut self.statistics);
        lift(class_weights, &mut self.class_weights);
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
        numbers: &RowNumbers<'_, F>,
        step: u64,
        moves: bool,
        mut grads: Option<&mut Grads<F>>,
    ) -> Total {
        let mut guard = self.work();
        let Work { workspace, rows, statistics, aside, class_weights, .. } = &mut *guard;
        let kept = if moves { statistics } else { aside };
        let (mut total, mut next, mut part) = (Total::default(), 0, 0);
        while next < batch.len() {
            next = rows.gather(batch, next, self.training_rows(), self.reading(), true, numbers);
            if rows.count == 0 {
                break;
            }
            let mut tape = workspace.tape(&self.layout, theta.flat());
            let seed = self.seed_of(step, part);
            let kept = Kept { numbers: kept.flat_mut(), share: None };
            let z = self.forward(&mut tape, &rows.dense, &rows.bags, rows.count, kept, seed);
            let loss = self.total_loss(&mut tape, z, rows.wanted(class_weights));
            if let Some(grads) = &mut grads {
                tape.backward(loss, grads.flat_mut());
            }
            let weight = rows.total_weight(self.criterion.weights());
            total += Total { loss: Float::to_f64(tape.value(loss)[0]), weight };
            part += 1;
        }
        total
    }

    /// The running statistics that these parameters have over the batches: each batch counts the same, whatever was kept before. For
    /// parameters that were not trained themselves, such as averages of others; `torch.optim.swa_utils.update_bn`. Dropout leaves numbers
    /// out as in training. What the network keeps stays as it is: see [`Network::set_statistics`].
    ///
    /// # Panics
    /// When the parameters or the rows are another network's.
    pub fn statistics_of<'b>(
        &self,
        theta: &Params<F>,
        batches: impl IntoIterator<Item = Batch<'b, F>>,
    ) -> Params<F> {
        let mut own = |rows: &mut Rows<F>, batch: &Batch<'b, F>| {
            rows.gather(batch, 0, usize::MAX, self.reading(), true, &dense(batch))
        };
        self.statistics_by(theta, batches, &mut own)
    }

    /// [`Network::statistics_of`] rows whose numbers `numbers` gives.
    pub(super) fn statistics_over<'b>(
        &self,
        theta: &Params<F>,
        batches: impl IntoIterator<Item = Batch<'b, F>>,
        numbers: &RowNumbers<'_, F>,
    ) -> Params<F> {
        let mut made = |rows: &mut Rows<F>, batch: &Batch<'b, F>| {
            rows.gather(batch, 0, usize::MAX, self.reading(), true, numbers)
        };
        self.statistics_by(theta, batches, &mut made)
    }

    /// The same, where `gather` reads the rows of a batch.
    fn statistics_by<'b>(
        &self,
        theta: &Params<F>,
        batches: impl IntoIterator<Item = Batch<'b, F>>,
        gather: &mut dyn FnMut(&mut Rows<F>, &Batch<'b, F>) -> usize,
    ) -> Params<F> {
        let before = self.statistics();
        if self.statistic_starts.is_empty() {
            return before;
        }
        let mut statistics = Params::zeros(before.layout());
        let mut guard = self.work();
        let Work { workspace, rows, .. } = &mut *guard;
        let mut seen = 0u64;
        for batch in batches {
            self.check(theta, &batch, true);
            gather(rows, &batch);
            if rows.count == 0 {
                continue;
            }
            seen += 1;
            let mut tape = workspace.tape(&self.layout, theta.flat());
            let kept = Kept { numbers: statistics.flat_mut(), share: Some(1.0 / seen as f64) };
            let seed = self.seed_of(seen, 0);
            tape.no_grad(|tape| self.forward(tape, &rows.dense, &rows.bags, rows.count, kept, seed));
        }
        if seen == 0 { before } else { statistics }
    }
    /// So many rows of one tape, or fewer where each makes many outputs.
    fn at_most(&self, rows: usize) -> usize {
        if self.output == Output::NextToken {
            (OUTPUTS / (self.places() * self.outputs)).clamp(1, rows)
        } else {
            rows
        }
    }

    /// Rows of one tape that does not record.
    pub(super) fn evaluation_rows(&self) -> usize {
        self.at_most(EVALUATION_ROWS)
    }

    /// The seed of one part of one step.
    fn seed_of(&self, step: u64, part: u64) -> u64 {
        // Odd multipliers, from the digits of the golden ratio and of √2, keep steps and parts apart.
        let mix = step.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part.wrapping_mul(0x6a09_e667_f3bc_c909);
        self.seed ^ mix
    }
}
