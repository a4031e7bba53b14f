//! Gradient descent with Armijo's backtracking. Armijo 1966, <https://doi.org/10.2140/pjm.1966.16.1>; Nocedal & Wright 2006,
//! Algorithm 3.1.
//! ```text
//! η = the first of a, a·factor, a·factor², … with f(θ − η g) ≤ f(θ) − c₁ η ‖g‖²
//! θ ← θ − η g        the next a: η·growth
//! ```
//! For smooth functions of unknown curvature, on the whole data: gradient descent that finds its rate and never goes up. No
//! memory but one number. The first trial is lr; a schedule multiplies all trials. f has the l2 penalty in it. optax's
//! `scale_by_backtracking_linesearch` differs: factor 0.8, a next trial of 1.5 η, at most 1; PyTorch and Keras do not have it.
//! Where f changes by less than its rounding (ε^⅔ of it), slopes decide (Hager & Zhang 2005, section 4); where no trial of 60 is
//! good enough nothing moves.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Float, Memory, Needs, StepError, Tensor};

use super::svrg::downhill;
use super::{Decay, Entry, Kind, Room, USUAL, Values};
use crate::about::about;
use crate::method::{Done, Method, Part, Step};
use crate::trace::{Setting, Tracer};
use crate::whole::{Elsewhere, dot, noise, scalar};

/// Trials in a step.
const TRIALS: usize = 60;

/// The entry.
pub(super) static ARMIJO: Entry = Entry {
    name: "armijo",
    summary: "gradient descent on all rows with a backtracking line search: finds its rate, never goes up",
    source: "Armijo 1966; Nocedal & Wright 2006, Algorithm 3.1",
    about: about!("armijo.rs"),
    lr: 1.0,
    hyper: &[
        Hyper::new("c1", 1e-4, Range::INSIDE_UNIT, "c₁, the share of the expected decrease that is enough"),
        Hyper::new(
            "factor",
            0.5,
            Range::INSIDE_UNIT,
            "the rate's factor after a trial that is not good enough",
        ),
        Hyper::new(
            "growth",
            2.0,
            Range::new(1.0, false, f64::INFINITY, true),
            "the next step's first trial, as a multiple of the rate that was taken",
        ),
    ],
    decay: Decay::Coupled,
    kind: Kind::Whole,
    make: (make::<f32>, make::<f64>),
    undecoupled: Some("measures how far each step goes down, and a decoupled step is no part of that"),
    unsigned: Some("needs a smooth objective, and |θ| has a kink"),
    ..USUAL
};

struct Armijo<F: Float> {
    c1: f64,
    factor: f64,
    growth: f64,
    /// The first trial as a multiple of lr.
    trial: f64,
    there: Elsewhere<F>,
}

fn make<F: Float>(v: &Values<'_>, _: &Room<'_>) -> Box<dyn Method<F>> {
    Box::new(Armijo {
        c1: v.get("c1"),
        factor: v.get("factor"),
        growth: v.get("growth"),
        trial: 1.0,
        there: Elsewhere::new(),
    })
}

impl<F: Float> Method<F> for Armijo<F> {
    fn needs(&self) -> Needs {
        Needs { loss: true, reevaluation: true, full_batch: true, ..Needs::default() }
    }
    fn finds_rate(&self) -> bool {
        true
    }

    fn trace(&self, page: &mut Tracer, setting: &Setting) {
        page.couple(setting, true);
        page.say("η ← the first of lr·trial, lr·trial·factor, lr·trial·factor², … with f(θ − η·g) ≤ f(θ) − c1·η·‖g‖²");
        let eta = page.scalar("η");
        page.step_to(downhill(page.theta(), eta, page.g()));
        page.say("trial ← growth·η/lr");
    }

    fn step(&mut self, step: &mut Step<'_, '_, F>) -> Result<Done, StepError> {
        step.settle(ARMIJO.name)?;
        self.there.set(step, |_, theta, to| to.copy_from_slice(theta));
        let loss = step.total.mean() + self.there.penalty(step);
        let grads = || step.parts.iter().map(Part::gradient);
        let squares = dot(step.threads, grads(), grads());
        if !loss.is_finite() || !squares.is_finite() {
            let bad = step.first();
            step.clear_gradients();
            return Ok(Done { bad, lr: Some(0.0), ..Done::default() });
        }
        let mut trial = self.trial;
        let mut taken = 0.0;
        for _ in 0..if step.lr == 0.0 || squares == 0.0 { 0 } else { TRIALS } {
            let eta = step.lr * trial;
            let rate = F::from_f64(eta);
            self.there.set_along(step, |theta, g| downhill(theta, rate, g));
            let found = self.there.objective(step, ARMIJO.name)?;
            let lower = if (found - loss).abs() <= noise::<F>(loss) {
                // ∇f(θ − η g)ᵀg ≥ −(1 − 2 c₁)‖g‖²: the same for a parabola, without a difference of f.
                let total = self.there.gradient(step, ARMIJO.name)?;
                self.there.settle(step, total.weight);
                let grads = step.parts.iter().map(Part::gradient);
                let there = step.parts.iter().map(|part| self.there.grad(part.tensor));
                dot(step.threads, grads, there) >= -(1.0 - 2.0 * self.c1) * squares
            } else {
                // A loss that is not finite is no decrease.
                found <= loss - self.c1 * eta * squares
            };
            if lower {
                taken = eta;
                break;
            }
            trial *= self.factor;
        }
        if taken > 0.0 {
            self.trial = (trial * self.growth).min(f64::MAX);
            for part in &mut step.parts {
                let from = self.there.theta(part.tensor);
                part.theta().copy_from_slice(from);
            }
        } else if step.lr > 0.0 {
            self.trial = 1.0;
        }
        step.clear_gradients();
        Ok(Done { lr: Some(taken), ..Done::default() })
    }

    fn visit_state(&mut self, _: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        scalar(visit, "trial", &mut self.trial);
    }
}
