//! D-Adapted SGD: dual averaging whose rate is an estimate of the distance to a solution. Defazio & Mishchenko 2023, Algorithm 4,
//! <https://arxiv.org/abs/2301.07733>.
//! ```text
//! η = d · lr / ‖g₁‖₂
//! r ← r + η ⟨g, s⟩        s ← s + η g        d̂ = 2 r / ‖s‖₂        d ← max(d, min(d̂, growth_rate · d))
//! θ ← β θ + (1 − β) (θ₀ − s)
//! ```
//! For training by SGD without a rate to search: leave lr at 1. 2 numbers of memory a parameter (s, θ₀). Step by step as the
//! authors' `dadaptation.DAdaptSGD`: g₁ is measured before the decay (which a g₁ far smaller than it turns into a huge step),
//! `growth_rate = 0` stands for no limit. PyTorch, optax and Keras do not have it. Where all gradients are 0 nothing moves.

use thalweg_core::hyper::Hyper;
use thalweg_core::{Buffer, Float, Memory, Real, StepError, Tensor};

use super::prodigy::{D0, GROWTH, limit, product};
use super::{COUPLED, Decay, Entry, Kind, NO_MOMENTUM, Room, USUAL, Values};
use crate::about::about;
use crate::arithmetic::coupled;
use crate::chain::{copies, visit_copies};
use crate::method::{Done, Method, Part, Step};
use crate::rule::Scalar;
use crate::trace::{Setting, Symbol, Tracer};
use crate::vector::fuse;
use crate::whole::{finite, keep, mark, scalar};

/// β of the mean of the iterates.
pub(super) const MOMENTUM: Hyper =
    Hyper { doc: "β: θ keeps this share of itself at each step", ..NO_MOMENTUM };

/// The entry.
pub(super) static DADAPT_SGD: Entry = Entry {
    name: "dadapt_sgd",
    summary: "SGD without a rate to choose: estimates the distance to a solution (leave lr at 1)",
    source: "Defazio & Mishchenko 2023, Algorithm 4",
    about: about!("dadapt_sgd.rs"),
    lr: 1.0,
    hyper: &[MOMENTUM, COUPLED, D0, GROWTH],
    decay: Decay::Coupled,
    kind: Kind::Whole,
    make: (make::<f32>, make::<f64>),
    undecoupled: Some(
        "makes θ anew from its memory at each step, which a decoupled step does not reach; its own weight_decay does",
    ),
    ..USUAL
};

/// The new s.
#[inline(always)]
fn added<F: Real>(s: F, rate: F, g: F) -> F {
    s + rate * g
}

/// The new θ: a share of it stays, the rest is θ₀ less what was summed.
#[inline(always)]
pub(super) fn averaged<F: Real>(theta: F, stay: F, go: F, start: F, sum: F) -> F {
    stay * theta + go * (start - sum)
}

/// d̂.
fn found<X: Scalar>(numerator: X, squares: X) -> X {
    X::from_f64(2.0) * numerator / squares.sqrt()
}

struct DAdaptSgd<F> {
    momentum: f64,
    growth: f64,
    d: f64,
    /// ‖g₁‖₂; 0 until there is one.
    first: f64,
    /// r.
    numerator: f64,
    s: Vec<Buffer<F>>,
    start: Vec<Buffer<F>>,
}

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    Box::new(DAdaptSgd {
        momentum: v.get("momentum"),
        growth: limit(v.get("growth_rate")),
        d: v.get("d0"),
        first: 0.0,
        numerator: 0.0,
        s: copies(room.tensors),
        start: copies(room.tensors),
    })
}

impl<F: Float> Method<F> for DAdaptSgd<F> {
    fn finds_rate(&self) -> bool {
        true
    }

    fn trace(&self, page: &mut Tracer, setting: &Setting) {
        page.couple(setting, false);
        page.say("‖g₁‖: the norm of the first gradient that is not 0, over all parameters");
        let (one, d) = (Symbol::one(), page.scalar("d"));
        let eta = page.name("η", d * page.lr() / page.scalar("‖g₁‖"));
        page.change_g(coupled(page.g(), setting.decay(), page.theta()));
        let (s, start) = (page.slot("s"), page.slot("start"));
        let p = page.sum("p", product(page.g(), s));
        let to_s = added(s, eta, page.g());
        page.assign("s", s, to_s);
        let q = page.sum("q", to_s * to_s);
        let r = page.scalar("r");
        page.assign("r", r, r + eta * p);
        page.name("d̂", found(r + eta * p, q));
        page.say("d ← max(d, min(d̂, growth_rate·d))");
        let beta = page.scalar("momentum");
        page.step_to(averaged(page.theta(), beta, one - beta, start, to_s));
    }

    fn step(&mut self, step: &mut Step<'_, '_, F>) -> Result<Done, StepError> {
        let decay = step.take_decay();
        step.settle(DADAPT_SGD.name)?;
        if step.t == 1 {
            let parts = self.start.iter_mut().zip(&mut step.parts);
            parts.for_each(|(start, part)| start.copy_from_slice(part.theta()));
        }
        let f = F::from_f64;
        if self.first == 0.0 {
            let grads: Vec<&[F]> = step.parts.iter().map(Part::gradient).collect();
            let first = crate::norm::norm(&grads, f64::INFINITY, step.threads);
            // One so small that the rate would be infinite is none.
            self.first = if f(self.d * step.lr / first).is_finite() { first } else { 0.0 };
        }
        if step.lr == 0.0 || self.first == 0.0 {
            step.clear_gradients();
            return Ok(Done { lr: Some(0.0), ..Done::default() });
        }
        let eta = self.d * step.lr / self.first;
        let rate = f(eta);
        let rows = step.parts.iter_mut().zip(&mut self.s).zip(&decay).map(|((part, s), &decay)| {
            let (theta, g) = part.both();
            ([theta, g, &mut s[..]], f(decay))
        });
        let [sum, squares] = fuse(step.threads, rows, |[theta, g, s], decay, [terms, squares]| {
            for ((((theta, g), s), term), square) in theta.iter().zip(g).zip(s).zip(terms).zip(squares) {
                let all = coupled(*g, decay, *theta);
                let next = added(*s, rate, all);
                let fine = finite([all, next]);
                *term = keep(fine, product(all.to_f64(), s.to_f64()), 0.0);
                *s = keep(fine, next, *s);
                *square = s.to_f64() * s.to_f64();
                *g = keep(fine, F::zero(), F::NAN);
            }
        });
        if squares == 0.0 {
            return Ok(Done { bad: step.consumed(1.0), lr: Some(eta), ..Done::default() });
        }
        let numerator = self.numerator + eta * sum;
        let found = found(numerator, squares);
        if found.is_finite() {
            self.numerator = numerator;
            self.d = self.d.max(found.min(self.d * self.growth));
        }
        let (stay, go) = (f(self.momentum), f(1.0 - self.momentum));
        let memory = self.s.iter_mut().zip(&mut self.start);
        let rows = step.parts.iter_mut().zip(memory).map(|(part, (s, start))| {
            let (theta, g) = part.both();
            ([theta, g, &mut s[..], &mut start[..]], ())
        });
        let [marked] = fuse(step.threads, rows, |[theta, g, s, start], (), [marks]| {
            for ((((theta, g), s), start), m) in theta.iter_mut().zip(g).zip(s).zip(start).zip(marks) {
                let next = averaged(*theta, stay, go, *start, *s);
                let fine = finite([next, *g]);
                *theta = keep(fine, next, *theta);
                (*g, *m) = mark(fine);
            }
        });
        Ok(Done { bad: step.consumed(marked), lr: Some(eta), ..Done::default() })
    }

    fn visit_state(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        scalar(visit, "d", &mut self.d);
        scalar(visit, "first_norm", &mut self.first);
        scalar(visit, "d_numerator", &mut self.numerator);
        visit_copies("s", &mut self.s, tensors, visit);
        visit_copies("start", &mut self.start, tensors, visit);
    }
}
