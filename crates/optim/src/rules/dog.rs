//! DoG and DoWG: gradient descent whose rate is how far the weights have gone over how large the gradients were. Ivgi, Hinder &
//! Carmon 2023, <https://arxiv.org/abs/2302.12022>; Khaled, Mishchenko & Jin 2023, <https://arxiv.org/abs/2305.16284>.
//! ```text
//! r ← max(r, ‖θ − θ₀‖)                  r = ρ (1 + ‖θ₀‖) at first;  DoWG: r² = s
//! DoG:    G ← G + ‖g‖²                  θ ← θ − lr · r/√(G + ε) · g
//! DoWG:   G ← G + r² ‖g‖²               θ ← θ − lr · r²/(√G + ε) · g
//! ```
//! For training by SGD without a rate to search: leave lr at 1, without a schedule. The authors of DoG evaluate an average of the
//! weights: `dog | ema(0.999)`. DoWG takes longer steps late in a run.
//!
//! Memory: 1 number a parameter (θ₀), two numbers in all. As optax's `contrib.dog` (its `heuristic` start) and `contrib.dowg`, which
//! begin and decay alike. PyTorch and Keras do not have them. Where all gradients so far are 0 nothing moves.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Buffer, Float, Memory, Real, StepError, Tensor};

use super::svrg::downhill;
use super::{COUPLED, Decay, Entry, Kind, Room, USUAL, Values};
use crate::about::about;
use crate::chain::{copies, visit_copies};
use crate::method::{Done, Method, Step};
use crate::rule::Scalar;
use crate::trace::{Setting, Tracer};
use crate::vector::fuse;
use crate::whole::{finite, keep, mark, scalar, slices};

pub(super) static DOG: Entry = Entry {
    name: "dog",
    summary: "SGD without a rate to choose: distance over gradients (leave lr at 1)",
    source: "Ivgi, Hinder & Carmon 2023",
    about: about!("dog.rs"),
    lr: 1.0,
    hyper: &[
        Hyper::new("reps_rel", 1e-6, Range::POSITIVE, "ρ: the first distance, as a share of 1 + ‖θ₀‖"),
        Hyper::new(
            "eps",
            1e-8,
            Range::NON_NEGATIVE,
            "ε, added to the sum under the root; gradient units squared",
        ),
        COUPLED,
    ],
    decay: Decay::Coupled,
    kind: Kind::Whole,
    make: (make::<f32, false>, make::<f64, false>),
    ..USUAL
};

pub(super) static DOWG: Entry = Entry {
    name: "dowg",
    summary: "SGD without a rate to choose: distance over weighted gradients (leave lr at 1)",
    source: "Khaled, Mishchenko & Jin 2023, Algorithm 1",
    about: about!("dog.rs"),
    lr: 1.0,
    hyper: &[
        Hyper::new(
            "init_estim_sq_dist",
            1e-4,
            Range::POSITIVE,
            "s: the first squared distance; parameter units squared",
        ),
        Hyper::new("eps", 1e-4, Range::NON_NEGATIVE, "ε, added to the root; gradient times parameter units"),
        COUPLED,
    ],
    decay: Decay::Coupled,
    kind: Kind::Whole,
    make: (make::<f32, true>, make::<f64, true>),
    ..USUAL
};

/// `WEIGHTED`: DoWG.
struct Dog<F, const WEIGHTED: bool> {
    /// ρ, or s.
    first: f64,
    eps: f64,
    /// r; of DoWG r².
    distance: f64,
    /// G.
    sum: f64,
    start: Vec<Buffer<F>>,
}

fn make<F: Float, const WEIGHTED: bool>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    Box::new(Dog::<F, WEIGHTED> {
        first: v.get(if WEIGHTED { "init_estim_sq_dist" } else { "reps_rel" }),
        eps: v.get("eps"),
        distance: 0.0,
        sum: 0.0,
        start: copies(room.tensors),
    })
}

/// A term of ‖θ − θ₀‖².
#[inline(always)]
fn gone<X: Real>(theta: X, start: X) -> X {
    (theta - start) * (theta - start)
}

impl<F, const WEIGHTED: bool> Dog<F, WEIGHTED> {
    const NAME: &'static str = if WEIGHTED { "dowg" } else { "dog" };

    /// r, or r², of a sum of squares.
    fn distance<X: Scalar>(squares: X) -> X {
        if WEIGHTED { squares } else { squares.sqrt() }
    }

    /// The new G.
    fn gathered<X: Scalar>(sum: X, distance: X, squares: X) -> X {
        sum + if WEIGHTED { distance * squares } else { squares }
    }

    /// What lr is multiplied by.
    fn rate<X: Scalar>(distance: X, sum: X, eps: X) -> X {
        distance / if WEIGHTED { sum.sqrt() + eps } else { (sum + eps).sqrt() }
    }
}

impl<F: Float, const WEIGHTED: bool> Method<F> for Dog<F, WEIGHTED> {
    fn finds_rate(&self) -> bool {
        true
    }

    fn trace(&self, page: &mut Tracer, setting: &Setting) {
        page.couple(setting, true);
        let (g, theta, start) = (page.g(), page.theta(), page.slot("start"));
        let g_sq = page.sum("‖g‖²", g * g);
        let gone = page.sum("‖θ − start‖²", gone(theta, start));
        let r = page.scalar("r");
        let to_r = Self::distance(gone).at_least(r);
        page.assign("r", r, to_r);
        let sum = page.scalar("G");
        let to_sum = Self::gathered(sum, to_r, g_sq);
        page.assign("G", sum, to_sum);
        let eta = page.name("η", page.lr() * Self::rate(to_r, to_sum, page.scalar("eps")));
        page.step_to(downhill(theta, eta, g));
    }

    fn step(&mut self, step: &mut Step<'_, '_, F>) -> Result<Done, StepError> {
        step.settle(Self::NAME)?;
        if step.t == 1 {
            for (part, start) in step.parts.iter_mut().zip(&mut self.start) {
                start.copy_from_slice(part.theta());
            }
            let size =
                crate::norm::norm(&slices(&self.start).collect::<Vec<_>>(), f64::INFINITY, step.threads);
            self.distance = if WEIGHTED { self.first } else { self.first * (1.0 + size) };
        }
        if step.lr == 0.0 {
            step.clear_gradients();
            return Ok(Done { lr: Some(0.0), ..Done::default() });
        }
        let rows = step.parts.iter_mut().zip(&mut self.start).map(|(part, start)| {
            let (theta, g) = part.both();
            ([theta, g, &mut start[..]], ())
        });
        let [g_sq, far] = fuse(step.threads, rows, |[theta, g, start], (), [g_sq, far]| {
            let terms = g_sq.iter_mut().zip(far);
            for (((theta, g), start), (g_sq, far)) in theta.iter().zip(g).zip(start).zip(terms) {
                *g_sq = g.to_f64() * g.to_f64();
                *far = gone(theta.to_f64(), start.to_f64());
            }
        });
        let distance = Self::distance(far).at_least(self.distance);
        let sum = Self::gathered(self.sum, distance, g_sq);
        if !(distance.is_finite() && sum.is_finite()) {
            let bad = step.first();
            step.clear_gradients();
            return Ok(Done { bad, lr: Some(0.0), ..Done::default() });
        }
        (self.distance, self.sum) = (distance, sum);
        if sum == 0.0 {
            step.clear_gradients();
            return Ok(Done { lr: Some(0.0), ..Done::default() });
        }
        let eta = step.lr * Self::rate(distance, sum, self.eps);
        let rate = F::from_f64(eta);
        let rows = step.parts.iter_mut().map(|part| {
            let (theta, g) = part.both();
            ([theta, g], ())
        });
        let [marked] = fuse(step.threads, rows, |[theta, g], (), [marks]| {
            for ((theta, g), m) in theta.iter_mut().zip(g).zip(marks) {
                let next = downhill(*theta, rate, *g);
                let fine = finite([next]);
                *theta = keep(fine, next, *theta);
                (*g, *m) = mark(fine);
            }
        });
        Ok(Done { bad: step.consumed(marked), lr: Some(eta), ..Done::default() })
    }

    fn visit_state(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        scalar(visit, "distance", &mut self.distance);
        scalar(visit, "sum", &mut self.sum);
        visit_copies("start", &mut self.start, tensors, visit);
    }
}
