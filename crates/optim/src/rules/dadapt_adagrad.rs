//! D-Adapted AdaGrad: dual averaging with AdaGrad's coordinate rates and an estimate of the distance to a solution. Defazio &
//! Mishchenko 2023, Algorithm 3, <https://arxiv.org/abs/2301.07733>.
//! ```text
//! η = d · lr                  G ← G + g²  (from 10⁻⁶)        s ← s + η g        A = √G + ε
//! q ← q + η² Σ g²/A           d̂ = (Σ s²/A − q) / ‖s‖₁        d ← max(d, min(d̂, growth_rate · d))
//! θ ← β θ + (1 − β) (θ₀ − s/A)
//! ```
//! For sparse features without a rate to search: leave lr at 1. 3 numbers of memory a parameter (G, s, θ₀). Step by step as the
//! authors' `dadaptation.DAdaptAdaGrad` on dense gradients, but that Σ s²/A and ‖s‖₁ are summed anew at each step where theirs adds
//! up changes; `growth_rate = 0` stands for no limit. PyTorch, optax and Keras do not have it.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Buffer, Float, Memory, Real, StepError, Tensor};

use super::dadapt_sgd::{MOMENTUM, averaged};
use super::prodigy::{D0, GROWTH, limit};
use super::{COUPLED, Decay, Entry, Kind, Room, USUAL, Values};
use crate::about::about;
use crate::arithmetic::{coupled, ratio};
use crate::chain::{copies, visit_copies};
use crate::method::{Done, Method, Step};
use crate::rule::Scalar;
use crate::trace::{Setting, Symbol, Tracer};
use crate::vector::fuse;
use crate::whole::{finite, keep, mark, scalar};

/// G before the first step.
const FIRST: f64 = 1e-6;

/// The entry.
pub(super) static DADAPT_ADAGRAD: Entry = Entry {
    name: "dadapt_adagrad",
    summary: "AdaGrad without a rate to choose: estimates the distance to a solution (leave lr at 1)",
    source: "Defazio & Mishchenko 2023, Algorithm 3",
    about: about!("dadapt_adagrad.rs"),
    lr: 1.0,
    hyper: &[
        MOMENTUM,
        Hyper::new("eps", 1e-6, Range::NON_NEGATIVE, "ε, added to √G; gradient units"),
        COUPLED,
        D0,
        GROWTH,
    ],
    decay: Decay::Coupled,
    kind: Kind::Whole,
    make: (make::<f32>, make::<f64>),
    undecoupled: Some(
        "makes θ anew from its memory at each step, which a decoupled step does not reach; its own weight_decay does",
    ),
    ..USUAL
};

/// The new G and s.
#[inline(always)]
fn gathered<F: Real>(g: F, sum: F, s: F, rate: F) -> (F, F) {
    (sum + g * g, s + rate * g)
}

/// A term of a sum of squares over A.
#[inline(always)]
fn term<X: Real>(x: X, root: X) -> X {
    x * x / root
}

/// The new q.
fn squared<X: Scalar>(squares: X, eta: X, g_sq: X) -> X {
    squares + eta * eta * g_sq
}

/// d̂.
fn found<X: Scalar>(s_sq: X, squares: X, size: X) -> X {
    (s_sq - squares) / size
}

struct DAdaptAdagrad<F> {
    momentum: f64,
    eps: f64,
    growth: f64,
    d: f64,
    /// q.
    squares: f64,
    sum: Vec<Buffer<F>>,
    s: Vec<Buffer<F>>,
    start: Vec<Buffer<F>>,
}

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let mut sum = copies(room.tensors);
    sum.iter_mut().for_each(|sum| sum.fill(F::from_f64(FIRST)));
    Box::new(DAdaptAdagrad {
        momentum: v.get("momentum"),
        eps: v.get("eps"),
        growth: limit(v.get("growth_rate")),
        d: v.get("d0"),
        squares: 0.0,
        sum,
        s: copies(room.tensors),
        start: copies(room.tensors),
    })
}

impl<F: Float> Method<F> for DAdaptAdagrad<F> {
    fn finds_rate(&self) -> bool {
        true
    }

    fn trace(&self, page: &mut Tracer, setting: &Setting) {
        page.couple(setting, false);
        let (one, d, eps) = (Symbol::one(), page.scalar("d"), page.scalar("eps"));
        let eta = page.name("η", d * page.lr());
        page.change_g(coupled(page.g(), setting.decay(), page.theta()));
        let [sum, s, start] = ["sum", "s", "start"].map(|name| page.slot(name));
        let (to_sum, to_s) = gathered(page.g(), sum, s, eta);
        page.assign("sum", sum, to_sum);
        page.assign("s", s, to_s);
        let root = page.name("A", to_sum.sqrt() + eps);
        let g_sq = page.sum("Σg²", term(page.g(), root));
        let s_sq = page.sum("Σs²", term(to_s, root));
        let size = page.sum("Σ|s|", to_s.abs());
        let q = page.scalar("q");
        let to_q = squared(q, eta, g_sq);
        page.assign("q", q, to_q);
        page.name("d̂", found(s_sq, to_q, size));
        page.say("d ← max(d, min(d̂, growth_rate·d))");
        let beta = page.scalar("momentum");
        let gone = ratio(to_s, to_sum.sqrt() + eps);
        page.step_to(averaged(page.theta(), beta, one - beta, start, gone));
    }

    fn step(&mut self, step: &mut Step<'_, '_, F>) -> Result<Done, StepError> {
        let decay = step.take_decay();
        step.settle(DADAPT_ADAGRAD.name)?;
        if step.t == 1 {
            let parts = self.start.iter_mut().zip(&mut step.parts);
            parts.for_each(|(start, part)| start.copy_from_slice(part.theta()));
        }
        if step.lr == 0.0 {
            step.clear_gradients();
            return Ok(Done { lr: Some(0.0), ..Done::default() });
        }
        let (eta, f) = (self.d * step.lr, F::from_f64);
        let (rate, eps) = (f(eta), f(self.eps));
        let memory = self.sum.iter_mut().zip(&mut self.s);
        let rows = step.parts.iter_mut().zip(memory).zip(&decay).map(|((part, (sum, s)), &decay)| {
            let (theta, g) = part.both();
            ([theta, g, &mut sum[..], &mut s[..]], f(decay))
        });
        let [g_sq, s_sq, size] =
            fuse(step.threads, rows, |[theta, g, sum, s], decay, [g_sq, s_sq, sizes]| {
                let terms = g_sq.iter_mut().zip(s_sq).zip(sizes);
                for ((((theta, g), sum), s), ((g_sq, s_sq), size)) in
                    theta.iter().zip(g).zip(sum).zip(s).zip(terms)
                {
                    let all = coupled(*g, decay, *theta);
                    let (to_sum, to_s) = gathered(all, *sum, *s, rate);
                    let fine = finite([all, to_sum, to_s]);
                    (*sum, *s) = (keep(fine, to_sum, *sum), keep(fine, to_s, *s));
                    let (root, s) = ((sum.sqrt() + eps).to_f64(), s.to_f64());
                    *g_sq = keep(fine, term(all.to_f64(), root), 0.0);
                    (*s_sq, *size) = (term(s, root), s.abs());
                    *g = keep(fine, F::zero(), F::NAN);
                }
            });
        if size == 0.0 {
            return Ok(Done { bad: step.consumed(1.0), lr: Some(eta), ..Done::default() });
        }
        let squares = squared(self.squares, eta, g_sq);
        let found = found(s_sq, squares, size);
        if found.is_finite() {
            self.squares = squares;
            self.d = self.d.max(found.min(self.d * self.growth));
        }
        let (stay, go) = (f(self.momentum), f(1.0 - self.momentum));
        let memory = self.sum.iter_mut().zip(&mut self.s).zip(&mut self.start);
        let rows = step.parts.iter_mut().zip(memory).map(|(part, ((sum, s), start))| {
            let (theta, g) = part.both();
            ([theta, g, &mut sum[..], &mut s[..], &mut start[..]], ())
        });
        let [marked] = fuse(step.threads, rows, |[theta, g, sum, s, start], (), [marks]| {
            let memory = sum.iter().zip(s).zip(start);
            for (((theta, g), ((sum, s), start)), m) in theta.iter_mut().zip(g).zip(memory).zip(marks) {
                let next = averaged(*theta, stay, go, *start, ratio(*s, sum.sqrt() + eps));
                let fine = finite([next, *g]);
                *theta = keep(fine, next, *theta);
                (*g, *m) = mark(fine);
            }
        });
        Ok(Done { bad: step.consumed(marked), lr: Some(eta), ..Done::default() })
    }

    fn visit_state(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        scalar(visit, "d", &mut self.d);
        scalar(visit, "squares", &mut self.squares);
        for (name, slot) in [("sum", &mut self.sum), ("s", &mut self.s), ("start", &mut self.start)] {
            visit_copies(name, slot, tensors, visit);
        }
    }
}
