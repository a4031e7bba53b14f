//! Lookahead. Zhang, Lucas, Hinton & Ba 2019, Algorithm 1, <https://arxiv.org/abs/1907.08610>.
//! ```text
//! φ = θ₀;   after every k-th step:   φ ← φ + α(θ − φ),   θ ← φ
//! ```
//! The rule's memory stays. Validation and the saved model use φ, as the paper and optax have it. As optax's `lookahead` and
//! pytorch-optimizer's `Lookahead(pullback_momentum="none")`.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Buffer, Float, Memory, Tensor, Threads};

use super::{Make, Stage, copies, visit_copies};
use crate::about::about;
use crate::method::After;
use crate::rules::Values;

/// Slow weights that follow the fast ones every k steps.
pub static LOOKAHEAD: Stage = Stage {
    name: "lookahead",
    summary: "every k steps φ ← φ + alpha·(θ − φ) and θ ← φ; validates and saves φ",
    about: about!("lookahead.rs"),
    hyper: &[
        Hyper::new("k", 5.0, Range::COUNT, "steps between two moves of the slow weights"),
        Hyper::new("alpha", 0.5, Range::FRACTION, "α, the share of the way that the slow weights go"),
    ],
    before: false,
    make: Make::After(make, make),
};

struct Lookahead<F> {
    k: u64,
    alpha: f64,
    slow: Vec<Buffer<F>>,
}

fn make<F: Float>(values: &Values<'_>, tensors: &[&Tensor]) -> Box<dyn After<F>> {
    Box::new(Lookahead { k: values.get("k") as u64, alpha: values.get("alpha"), slow: copies(tensors) })
}

impl<F: Float> After<F> for Lookahead<F> {
    fn begin(&mut self, nth: usize, theta: &[F]) {
        self.slow[nth].copy_from_slice(theta);
    }
    fn after(&mut self, t: u64, theta: &mut [&mut [F]], threads: &Threads) {
        if !t.is_multiple_of(self.k) {
            return;
        }
        for (slow, theta) in self.slow.iter_mut().zip(theta) {
            crate::vector::each(threads, slow, theta, |slow, theta| {
                crate::block::average(slow, theta, self.alpha);
                theta.copy_from_slice(slow);
            });
        }
    }
    fn evaluation(&self, nth: usize) -> Option<&[F]> {
        Some(&self.slow[nth])
    }
    fn visit_state(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        visit_copies("slow", &mut self.slow, tensors, visit);
    }
}
