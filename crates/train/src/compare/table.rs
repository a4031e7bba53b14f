//! Optimizers, rates or batch sizes side by side on a table: same data, same start, same batches.

use std::sync::atomic::AtomicBool;

use rayon::prelude::*;
use serde::Serialize;
use thalweg_core::Threads;
use thalweg_data::BatchSize;
use thalweg_optim::Plan;

use super::search::{ON_TABLES, Search, on_networks};
use crate::decide::network_rate;
use crate::job::{JobError, Outcome, Prepared, TrainOptions};
use crate::stop::Stop;

/// Points of a curve at most, spread evenly over the logarithm of the step.
const PROBES: usize = 150;
/// A network's curve has a point for each pass, and this many at least: a point costs a third of a pass.
const NETWORK_PROBES: usize = 20;
/// Each of a network's rates is tried for this share of the passes: all five together cost what a run does.
const NETWORK_TRY: u64 = 5;
/// "As good as the best": the share of the way from the best loss to the start that may be left.
pub const COMMON: f64 = 0.01;

/// Who takes part.
#[derive(Clone, Debug)]
pub struct Member {
    /// The name for people.
    pub label: String,
    /// The optimizer; an open rate is searched.
    pub plan: Plan,
    /// Rows in a batch; what the preparation decided if absent.
    pub batch: Option<BatchSize>,
}

/// What it took to come near the best loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reached {
    /// Steps.
    pub steps: u64,
    /// Training rows seen.
    pub rows: u64,
    /// Seconds of training; evaluation not counted.
    pub seconds: f64,
}

/// A member's run.
#[derive(Debug)]
pub struct Ran {
    /// Who.
    pub member: Member,
    /// The search that chose the rate, if one did.
    pub search: Option<Search>,
    /// The run.
    pub outcome: Outcome,
    /// When its loss first came within [`COMMON`] of the best, and stayed there no less than once.
    pub reached: Option<Reached>,
}

impl Ran {
    /// Whether it diverged: a result, not a failure.
    pub fn diverged(&self) -> bool {
        self.outcome.fitted.stop == Stop::Diverged
    }
}

/// All runs on one preparation.
#[derive(Debug)]
pub struct Compared {
    /// In the order of the members.
    pub runs: Vec<Ran>,
    /// The objective at the start.
    pub first_loss: f64,
    /// The lowest objective that any reached.
    pub best_loss: f64,
}

impl Compared {
    /// The place of the run that ended with the lowest objective.
    pub fn lowest(&self) -> Option<usize> {
        let loss = |i: usize| self.runs[i].outcome.fitted.train_loss;
        let ended = |&i: &usize| !self.runs[i].diverged() && loss(i).is_finite();
        (0..self.runs.len()).filter(ended).min_by(|&a, &b| loss(a).total_cmp(&loss(b)))
    }
}

/// A member over several seeds: lowest, median and highest of those runs that did not diverge.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The name for people.
    pub label: String,
    /// The final objective.
    pub loss: [f64; 3],
    /// The score on the test rows (on the training rows where there are none).
    pub score: [f64; 3],
    /// How many runs diverged.
    pub diverged: usize,
    /// How many runs there were.
    pub seeds: usize,
}

/// Puts the same members' runs of several seeds together.
pub fn spreads(seeds: &[Compared]) -> Vec<Spread> {
    let Some(first) = seeds.first() else { return vec![] };
    let of = |i: usize, f: &dyn Fn(&Ran) -> f64| {
        let mut values: Vec<f64> =
            seeds.iter().map(|c| &c.runs[i]).filter(|r| !r.diverged()).map(f).collect();
        values.sort_by(f64::total_cmp);
        match values.len() {
            0 => [f64::NAN; 3],
            n => [values[0], 0.5 * (values[(n - 1) / 2] + values[n / 2]), values[n - 1]],
        }
    };
    let spread = |(i, run): (usize, &Ran)| Spread {
        label: run.member.label.clone(),
        loss: of(i, &|r| r.outcome.fitted.train_loss),
        score: of(i, &|r| r.outcome.shown_score()),
        diverged: seeds.iter().filter(|c| c.runs[i].diverged()).count(),
        seeds: seeds.len(),
    };
    first.runs.iter().enumerate().map(spread).collect()
}

/// Trains every member on `prepared`. A member without a rate, whose rule does not find its own, gets the best of nine, each with
/// the whole budget; on a network, the best of five around a rate that suits the rule, each with a fifth of the passes. It is
/// chosen by the loss on validation rows where there are any, else by the objective on the training rows; never by the test rows.
///
/// # Errors
/// Whatever ends a run other than divergence.
pub fn compare_on_table(
    prepared: &Prepared,
    members: &[Member],
    threads: &Threads,
    interrupt: &AtomicBool,
    mut done: impl FnMut(&Ran),
) -> Result<Compared, JobError> {
    let mut runs = Vec::with_capacity(members.len());
    for member in members {
        let open = member.plan.lr_is_open() && !member.plan.finds_rate();
        let search = if open { Some(search(prepared, member, interrupt)?) } else { None };
        let mut member = member.clone();
        if let Some(search) = &search {
            member.plan.fill_lr(search.rate());
        }
        let batch = prepared.batch_of(&member);
        let steps = prepared.steps(batch);
        let probes = match prepared.job.model {
            Some(_) => usize::try_from(prepared.epochs).unwrap_or(PROBES).clamp(NETWORK_PROBES, PROBES),
            None => PROBES,
        };
        let options =
            TrainOptions { probes: probe_steps(steps, probes), threads: threads.clone(), epochs: None };
        let outcome = prepared.train(&member.plan, batch, &options, &mut [], interrupt)?;
        let ran = Ran { member, search, outcome, reached: None };
        done(&ran);
        runs.push(ran);
    }
    let probes = || runs.iter().flat_map(|r| r.outcome.history.probes.iter()).filter(|p| p.loss.is_finite());
    let ends = runs.iter().filter(|r| !r.diverged()).map(|r| r.outcome.fitted.train_loss);
    let best_loss =
        probes().map(|p| p.loss).chain(ends).filter(|l| l.is_finite()).fold(f64::INFINITY, f64::min);
    let first_loss = probes().find(|p| p.step == 0).map_or(f64::NAN, |p| p.loss);
    let common = best_loss + COMMON * (first_loss - best_loss);
    for run in &mut runs {
        let there = run.outcome.history.probes.iter().find(|p| p.loss <= common);
        run.reached = there.map(|p| Reached { steps: p.step, rows: p.rows, seconds: p.seconds });
    }
    Ok(Compared { runs, first_loss, best_loss })
}

/// The runs of a search go side by side, one thread each: their results do not depend on it.
fn search(prepared: &Prepared, member: &Member, interrupt: &AtomicBool) -> Result<Search, JobError> {
    let network = prepared.job.model.is_some();
    let rates = if network { on_networks(network_rate(&member.plan)) } else { ON_TABLES.into() };
    let epochs = network.then(|| (prepared.epochs / NETWORK_TRY).max(1)).filter(|&n| n < prepared.epochs);
    let tried: Result<Vec<f64>, JobError> = rates
        .par_iter()
        .map(|&lr| {
            let mut plan = member.plan.clone();
            plan.fill_lr(lr);
            let options = TrainOptions { probes: vec![], threads: Threads::serial(), epochs };
            let outcome = prepared.train(&plan, prepared.batch_of(member), &options, &mut [], interrupt)?;
            Ok(match (&outcome.fitted.stop, outcome.fitted.valid_loss) {
                (Stop::Diverged, _) => f64::NAN,
                (_, Some(valid)) => valid,
                (_, None) => outcome.fitted.train_loss,
            })
        })
        .collect();
    Ok(Search { epochs, ..Search::new(&rates, tried?) })
}

/// 0, 1, 2, … and then ever wider apart, up to `steps`: about `most` of them.
fn probe_steps(steps: u64, most: usize) -> Vec<u64> {
    let mut all = vec![0];
    let ratio = libm::pow(steps.max(1) as f64, 1.0 / most as f64);
    let mut at = 1.0;
    while (at as u64) < steps {
        if all.last() != Some(&(at as u64)) {
            all.push(at as u64);
        }
        at *= ratio.max(1.0 + 1e-9);
    }
    all.push(steps);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_rise_and_end_at_the_last_step() {
        for steps in [1, 2, 10, 1000, 1_000_000] {
            for most in [NETWORK_PROBES, PROBES] {
                let probes = probe_steps(steps, most);
                assert!(probes.windows(2).all(|w| w[0] < w[1]), "{probes:?}");
                assert_eq!((probes[0], *probes.last().unwrap()), (0, steps));
                assert!(probes.len() <= most + 3);
            }
        }
    }
}
