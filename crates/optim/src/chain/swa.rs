//! Stochastic weight averaging. Izmailov, Podoprikhin, Garipov, Vetrov & Wilson 2018, <https://arxiv.org/abs/1803.05407>; as
//! PyTorch's `AveragedModel`, updated after the steps `start`, `start + every`, …
//! ```text
//! θ̄ ← θ at first, then θ̄ ← θ̄ + (θ − θ̄)/(n + 1)        n: how many weights θ̄ is the mean of
//! ```
//! Validation and the saved model use θ̄ from its first step on, θ before. Differs from PyTorch: statistics of batch normalisation
//! are not taken again, and the rate is the schedule's alone.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Buffer, Float, Memory, Tensor, Threads};

use super::{Make, Stage, copies, visit_copies};
use crate::about::about;
use crate::method::After;

/// The equal mean of the weights late in the run.
pub static SWA: Stage = Stage {
    name: "swa",
    summary: "validates and saves the mean of θ after the steps start, start + every, …",
    about: about!("swa.rs"),
    hyper: &[
        Hyper::new(
            "start",
            0.75,
            Range::NON_NEGATIVE,
            "the first step that counts; below 1, a share of the run",
        ),
        Hyper::new("every", 0.0, Range::NON_NEGATIVE, "steps between two weights that count; 0 is an epoch"),
    ],
    before: false,
    make: Make::Swa,
};

#[derive(Debug)]
pub(crate) struct Swa<F> {
    start: u64,
    every: u64,
    counted: u64,
    mean: Vec<Buffer<F>>,
}

impl<F: Float> Swa<F> {
    /// Of a run of `steps`, `per_epoch` of them in an epoch: what the rule sees, not what accumulates.
    pub fn new(start: f64, every: f64, steps: u64, per_epoch: u64, tensors: &[&Tensor]) -> Self {
        let start = if start < 1.0 { libm::round(start * steps as f64) } else { start };
        let every = if every == 0.0 { per_epoch } else { every as u64 };
        Self { start: (start as u64).max(1), every: every.max(1), counted: 0, mean: copies(tensors) }
    }
}

impl<F: Float> After<F> for Swa<F> {
    fn after(&mut self, t: u64, theta: &mut [&mut [F]], threads: &Threads) {
        if t < self.start || !(t - self.start).is_multiple_of(self.every) {
            return;
        }
        let share = 1.0 / (self.counted + 1) as f64;
        for (mean, theta) in self.mean.iter_mut().zip(theta) {
            crate::vector::each(threads, mean, theta, |mean, theta| {
                crate::block::average(mean, theta, share);
            });
        }
        self.counted += 1;
    }
    fn evaluation(&self, nth: usize) -> Option<&[F]> {
        (self.counted > 0).then(|| &self.mean[nth][..])
    }
    fn visit_state(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        visit("swa.counted", Memory::Count(&mut self.counted));
        visit_copies("swa", &mut self.mean, tensors, visit);
    }
}
