//! [`fit`]: the loop of gradient and step.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use thalweg_core::{
    At, Batch, Float, Grads, NoOracle, Objective, Optimizer, Params, Penalty, StepError, Total,
};
use thalweg_data::Batches;

use crate::event::{EpochRecord, Event, Observer, StepRecord};
use crate::oracle::BatchOracle;
use crate::stop::Stop;

/// The loss may grow to this many times its start before a run counts as diverged.
const GROWTH: f64 = 1e8;
/// The full gradient is looked at when the sum of an epoch's gradients is within this many tolerances.
const NEAR: f64 = 10.0;
/// So many epochs in a row must change the loss by less than the tolerance.
const STILL: u32 = 10;

/// How long and how a run goes.
#[derive(Clone, Debug, PartialEq)]
pub struct FitOptions {
    /// Passes over the training rows at most.
    pub epochs: u64,
    /// Stop when every coordinate of the full gradient (of mean loss + penalty) is at most this; 0 never does.
    pub tolerance: f64,
    /// Stop when the objective changed by less than this share of itself in ten epochs in a row; 0 never does.
    pub loss_tolerance: f64,
    /// Stop after so many epochs without a better validation loss (training loss where nothing validates).
    pub patience: Option<u64>,
    /// What is added to the mean loss.
    pub penalty: Penalty,
    /// Steps (0 is the start) after which the objective is evaluated on all training rows, outside the clock, and told as
    /// [`Event::Probe`]; ascending.
    pub probes: Vec<u64>,
}

/// What a run is given besides its options.
pub struct Task<'a, F: Float> {
    /// What is minimised.
    pub objective: &'a dyn Objective<F>,
    /// All training rows.
    pub train: Batch<'a, F>,
    /// All validation rows, and what scores weights on them.
    pub valid: Option<Valid<'a, F>>,
    /// Set by someone who wants the run to end.
    pub interrupt: &'a AtomicBool,
    /// What belongs to the weights without being among them.
    pub kept: Option<&'a dyn Kept<F>>,
}

/// Numbers that training keeps beside the weights, such as the running means of batch norm: those of the best epoch belong to
/// that epoch's weights, and averaged weights have some of their own.
pub trait Kept<F: Float> {
    /// Remembers them as they are.
    fn keep(&self);
    /// Goes back to those that were kept last.
    fn restore(&self);
    /// Makes them those of weights that were averaged from the trained ones, until training [resumes](Kept::resume).
    fn become_those_of(&self, weights: &Params<F>);
    /// Goes back to those of the trained weights.
    fn resume(&self);
}

/// The validation rows and a score for weights on them (higher is better, or lower: nothing depends on it).
pub struct Valid<'a, F: Float> {
    /// What is minimised, over these rows.
    pub objective: &'a dyn Objective<F>,
    /// The rows.
    pub batch: Batch<'a, F>,
    /// The score.
    pub score: &'a dyn Fn(&Params<F>) -> f64,
}

impl<F: Float> Valid<'_, F> {
    fn loss(&self, theta: &Params<F>) -> f64 {
        self.objective.loss(theta, &self.batch).mean()
    }
}

/// What a run ends with.
#[derive(Clone, Debug)]
pub struct Fitted<F: Float> {
    /// The weights to use: the optimizer's evaluation weights, those of the best epoch where rows validate.
    pub params: Params<F>,
    /// Why it ended.
    pub stop: Stop,
    /// Epochs in which a step was made.
    pub epochs: u64,
    /// Steps made: batches, whether or not the optimizer took each by itself.
    pub steps: u64,
    /// Steps that the optimizer left out because gradient or loss was not finite.
    pub skipped: u64,
    /// Seconds of training, evaluation and observers not counted.
    pub seconds: f64,
    /// The epoch that `params` come from.
    pub best_epoch: u64,
    /// Mean loss of `params` on all training rows, penalty included.
    pub train_loss: f64,
    /// Mean loss of `params` on the validation rows, without penalty.
    pub valid_loss: Option<f64>,
    /// Where a diverged run stopped being finite: the step, and the coordinate if one stood out.
    pub diverged: Option<Divergence>,
}

/// Where a run stopped being finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The step.
    pub step: u64,
    /// The first coordinate (place in the flat buffer) that was not finite.
    pub coordinate: Option<usize>,
    /// Whether `Fitted::params` are better than the start.
    pub has_best: bool,
}

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// A step could not be made.
    #[error("step {step} could not be made")]
    Step {
        /// The step.
        step: u64,
        /// Why.
        source: StepError,
    },
    /// The optimizer works on the whole data only, and was given a part of them.
    #[error(
        "{optimizer} works on all training rows at once, and the batches have fewer; leave the batch size out, or say full"
    )]
    FullBatch {
        /// The optimizer's expression.
        optimizer: String,
    },
    /// An observer could not write.
    #[error("cannot write the run's metrics")]
    Observer(#[source] std::io::Error),
}

/// A clock that runs only while we train.
struct Clock {
    sum: Duration,
    since: Instant,
}

impl Clock {
    fn start() -> Self {
        Self { sum: Duration::ZERO, since: Instant::now() }
    }
    fn pause(&mut self) -> f64 {
        self.sum += self.since.elapsed();
        self.sum.as_secs_f64()
    }
    fn go_on(&mut self) {
        self.since = Instant::now();
    }
}

/// The monitored loss: the best so far and its weights.
struct Best<F: Float> {
    loss: f64,
    epoch: u64,
    params: Params<F>,
    valid_loss: Option<f64>,
}

/// Minimises `task.objective` plus the penalty from `start`, batch by batch, and reports to `observers`.
///
/// Deterministic: weights depend on data, seed and configuration only. A full batch looks at the gradient's size before each
/// step; mini-batches look at the full gradient after an epoch whose summed gradients were near 0.
///
/// # Errors
/// A step that cannot be made, or an observer that cannot write. Divergence and interruption are results, not errors.
pub fn fit<F: Float>(
    task: &Task<'_, F>,
    optimizer: &mut dyn Optimizer<F>,
    start: Params<F>,
    batches: &mut Batches,
    options: &FitOptions,
    observers: &mut [&mut dyn Observer],
) -> Result<Fitted<F>, FitError> {
    let Task { objective, train, .. } = *task;
    let mut theta = start;
    let mut evaluated = theta.clone();
    let mut grads = Grads::zeros(objective.layout());
    let watched = !batches.is_full() && options.tolerance > 0.0;
    let mut epoch_grads: Option<Grads<F>> = watched.then(|| Grads::zeros(objective.layout()));
    let mut tell =
        |event: Event<'_>| observers.iter_mut().try_for_each(|o| o.event(&event)).map_err(FitError::Observer);
    tell(Event::Start {
        epochs: options.epochs,
        steps_per_epoch: batches.per_epoch() as u64,
        rows: train.len() as u64,
    })?;
    let mut clock = Clock::start();
    let mut best: Option<Best<F>> = None;
    let mut first_loss = f64::NAN;
    let mut previous = f64::NAN;
    let mut still = 0;
    let mut divergence = None;
    let (mut steps, mut rows, mut epoch, mut skipped) = (0u64, 0u64, 0u64, 0u64);

    let probe = |steps: u64, theta: &Params<F>, weights: Option<&[F]>| {
        let mut at = theta.clone();
        let kept = task.kept.filter(|_| steps > 0 && weights.is_some());
        if let Some(weights) = weights.filter(|_| steps > 0) {
            at.flat_mut().copy_from_slice(weights);
        }
        kept.iter().for_each(|kept| kept.become_those_of(&at));
        let value = objective.loss(&at, &train).mean() + options.penalty.value(&at);
        kept.iter().for_each(|kept| kept.resume());
        value
    };
    let mut probes = options.probes.iter().copied().peekable();
    if probes.next_if_eq(&0).is_some() {
        let loss = probe(0, &theta, None);
        tell(Event::Probe { step: 0, rows: 0, seconds: 0.0, loss })?;
        clock.go_on();
    }

    let stop = 'run: loop {
        if epoch == options.epochs {
            break Stop::Epochs;
        }
        epoch += 1;
        let mut sum = Total::default();
        let (mut lr, mut norm, mut clipped, mut in_epoch) = (0.0, 0.0, 0u64, 0u64);
        let mut penalty = 0.0;
        let mut last = false;
        while !last {
            if task.interrupt.load(Ordering::Relaxed) {
                epoch -= u64::from(in_epoch == 0);
                break 'run Stop::Interrupted;
            }
            let next = batches.next();
            last = next.last;
            let index = next.index;
            let batch = match index {
                Some(index) => train.rows(index),
                None => train,
            };
            let total = objective.gradient(&theta, &batch, &mut grads);
            if total.weight == 0.0 {
                // Every row of this batch weighs nothing: as if the batch were absent.
                grads.clear();
                continue;
            }
            penalty = options.penalty.value(&theta);
            let loss = total.mean() + penalty;
            if !first_loss.is_finite() {
                first_loss = loss;
            }
            if index.is_none() && options.tolerance > 0.0 {
                let slope = options.penalty.stationarity(&theta, &grads);
                // Where an average of the weights is kept, it is the average that must have come to rest.
                let rests = |weights: &[F]| {
                    let mut average = theta.clone();
                    average.flat_mut().copy_from_slice(weights);
                    let mut grads = Grads::zeros(objective.layout());
                    objective.gradient_again(&average, &train, &mut grads);
                    options.penalty.stationarity(&average, &grads) <= options.tolerance
                };
                if slope <= options.tolerance
                    && steps > 0
                    && optimizer.evaluation_weights(&theta).is_none_or(rests)
                {
                    epoch -= 1;
                    break 'run Stop::Gradient;
                }
            }
            if let Some(sum) = &mut epoch_grads {
                sum.total += grads.total;
                sum.flat_mut().iter_mut().zip(grads.flat()).for_each(|(s, g)| *s += *g);
            }
            let scale = optimizer.loss_scale();
            if scale != 1.0 {
                let scale = F::from_f64(scale);
                grads.flat_mut().iter_mut().for_each(|g| *g = *g * scale);
            }
            let at = At { step: steps + 1, penalty: options.penalty };
            if index.is_some() && optimizer.needs().full_batch {
                return Err(FitError::FullBatch { optimizer: optimizer.expression() });
            }
            let mut oracle = BatchOracle { objective, train, batch };
            let report = optimizer
                .step(at, &mut theta, &mut grads, &mut oracle)
                .map_err(|source| FitError::Step { step: steps + 1, source })?;
            steps += 1;
            in_epoch += 1;
            rows += batch.len() as u64;
            skipped += u64::from(report.skipped);
            if !report.skipped {
                sum += total;
            }
            (lr, norm) = (report.lr, report.grad_norm);
            clipped += u64::from(report.clipped);
            tell(Event::Step(&StepRecord {
                step: steps,
                epoch,
                loss,
                lr,
                grad_norm: norm,
                clipped: report.clipped,
            }))?;
            if probes.next_if_eq(&steps).is_some() {
                let seconds = clock.pause();
                let loss = probe(steps, &theta, optimizer.evaluation_weights(&theta));
                tell(Event::Probe { step: steps, rows, seconds, loss })?;
                clock.go_on();
            }
            let grown = loss - first_loss.abs() * GROWTH > GROWTH;
            if !report.skipped && (report.non_finite.is_some() || !loss.is_finite() || grown) {
                divergence = Some((steps, report.non_finite));
                break 'run Stop::Diverged;
            }
        }
        // Gradients that wait for more are the epoch's last step.
        let at = At { step: steps, penalty: options.penalty };
        let flushed = optimizer
            .flush(at, &mut theta, &mut grads, &mut NoOracle)
            .map_err(|source| FitError::Step { step: steps, source })?;
        if let Some(report) = flushed {
            (lr, norm) = (report.lr, report.grad_norm);
            clipped += u64::from(report.clipped);
            skipped += u64::from(report.skipped);
            if !report.skipped && report.non_finite.is_some() {
                divergence = Some((steps, report.non_finite));
                break 'run Stop::Diverged;
            }
        }
        let averages = match optimizer.evaluation_weights(&theta) {
            Some(weights) => {
                evaluated.flat_mut().copy_from_slice(weights);
                true
            }
            None => {
                evaluated.copy_from(&theta);
                false
            }
        };
        let seconds = clock.pause();
        let averaged = task.kept.filter(|_| averages);
        averaged.iter().for_each(|kept| kept.become_those_of(&evaluated));
        let train_loss = sum.mean() + penalty;
        let valid_loss = task.valid.as_ref().map(|v| v.loss(&evaluated));
        let valid_score = task.valid.as_ref().map(|v| (v.score)(&evaluated));
        tell(Event::Epoch(&EpochRecord {
            epoch,
            step: steps,
            rows,
            seconds,
            lr,
            train_loss,
            grad_norm: norm,
            clipped: clipped as f64 / in_epoch.max(1) as f64,
            valid_loss,
            valid_score,
        }))?;
        clock.go_on();
        let monitored = valid_loss.unwrap_or(train_loss);
        optimizer.observe(monitored);
        let improved = best.as_ref().is_none_or(|b| monitored < b.loss) && monitored.is_finite();
        if improved && (task.valid.is_some() || options.patience.is_some()) {
            best = Some(Best { loss: monitored, epoch, params: evaluated.clone(), valid_loss });
            task.kept.iter().for_each(|kept| kept.keep());
        }
        averaged.iter().for_each(|kept| kept.resume());
        if let (Some(patience), Some(best)) = (options.patience, &best)
            && epoch - best.epoch >= patience
        {
            break Stop::Patience;
        }
        still = if (previous - train_loss).abs() <= options.loss_tolerance * train_loss.abs() {
            still + 1
        } else {
            0
        };
        previous = train_loss;
        if options.loss_tolerance > 0.0 && still >= STILL {
            break Stop::Loss;
        }
        if let Some(sum) = &mut epoch_grads {
            // Each batch's gradient was taken at weights of its own; near the end these hardly move, and the sum says whether
            // the exact gradient is worth a pass over all rows.
            let near = options.penalty.stationarity(&evaluated, sum) <= NEAR * options.tolerance;
            sum.clear();
            if near {
                objective.gradient_again(&evaluated, &train, sum);
                let slope = options.penalty.stationarity(&evaluated, sum);
                sum.clear();
                if slope <= options.tolerance {
                    break Stop::Gradient;
                }
            }
        }
    };
    let seconds = clock.pause();
    tell(Event::End { stop, steps })?;

    match optimizer.evaluation_weights(&theta) {
        Some(weights) if steps > 0 => {
            evaluated.flat_mut().copy_from_slice(weights);
            task.kept.iter().for_each(|kept| kept.become_those_of(&evaluated));
        }
        _ => evaluated.copy_from(&theta),
    }
    let validates = task.valid.is_some();
    let diverged = stop == Stop::Diverged;
    let mut best_epoch = epoch;
    let has_kept = best.is_some();
    if let Some(best) = best.filter(|_| validates || diverged) {
        let last = task.valid.as_ref().map(|v| v.loss(&evaluated));
        // An interrupted or diverged epoch has not been judged yet: it may hold the best weights or the worst.
        if diverged || !last.is_some_and(|last| last < best.valid_loss.unwrap_or(best.loss)) {
            best_epoch = best.epoch;
            evaluated = best.params;
            task.kept.iter().for_each(|kept| kept.restore());
        }
    }
    let train_loss = objective.loss(&evaluated, &train).mean() + options.penalty.value(&evaluated);
    let valid_loss = task.valid.as_ref().map(|v| v.loss(&evaluated));
    // Without validation, the loss that was best is one before a step, and the weights are those after it.
    let has_best = has_kept && train_loss < first_loss;
    Ok(Fitted {
        params: evaluated,
        stop,
        epochs: epoch,
        steps,
        skipped,
        seconds,
        best_epoch,
        train_loss,
        valid_loss,
        diverged: divergence.map(|(step, coordinate)| Divergence { step, coordinate, has_best }),
    })
}
