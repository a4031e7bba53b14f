//! Prodigy: Adam that estimates its own rate from how far the weights have gone. Mishchenko & Defazio 2024, Algorithm 4,
//! <https://arxiv.org/abs/2306.06101>.
//! ```text
//! η = d · lr · (bias correction)
//! r ← β₃ r + (d/d₀) η ⟨g, θ₀ − θ⟩        s ← β₃ s + (d/d₀) η g        d̂ = d_coef · r / ‖s‖₁
//! m ← β₁ m + (1 − β₁) d g                v ← β₂ v + (1 − β₂) d² g²
//! d ← min(max(d, d̂), growth_rate · d)
//! θ ← (1 − η λ) θ − η m / (√v + d ε)
//! ```
//! For training without a rate to search: leave lr at 1, with a cosine schedule if any. 4 numbers of memory a parameter (m, v, s,
//! θ₀). Step by step as the authors' `prodigyopt`: η and both decays use the old d, ε the new one; `beta3 = 0` stands for √β₂,
//! `growth_rate = 0` for no limit; where β₁ = 0 the step takes d g with the new d; `safeguard_warmup` leaves lr out of s. PyTorch
//! and Keras do not have it; optax's has no growth limit and always corrects the bias. Where all gradients are 0 nothing moves,
//! and no step is counted.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Buffer, Float, Memory, Real, StepError, Tensor};

use super::{Decay, Entry, Kind, Room, USUAL, Values, adam};
use crate::about::about;
use crate::arithmetic::{coupled, mixed, mixed_square, ratio};
use crate::chain::{copies, visit_copies};
use crate::method::{Done, Method, Step};
use crate::rule::Scalar;
use crate::trace::{Setting, Symbol, Tracer};
use crate::vector::fuse;
use crate::whole::{count, finite, keep, mark, scalar};

/// The first estimate, shared with D-Adaptation.
pub(super) const D0: Hyper = Hyper::new(
    "d0",
    1e-6,
    Range::POSITIVE,
    "the first estimate of the distance to a solution; parameter units",
);
/// The limit of growth.
pub(super) const GROWTH: Hyper =
    Hyper::new("growth_rate", 0.0, Range::NON_NEGATIVE, "d grows at most by this factor a step; 0: any");
/// λ of either form.
pub(super) const DECAY: Hyper = Hyper::new("weight_decay", 0.0, Range::NON_NEGATIVE, "λ, of either form");
/// Bias correction.
pub(super) const CORRECTION: Hyper = Hyper::new(
    "use_bias_correction",
    0.0,
    Range::SWITCH,
    "Adam's, as a factor √(1 − β₂ᵗ)/(1 − β₁ᵗ) of the rate",
);

/// The entry.
pub(super) static PRODIGY: Entry = Entry {
    name: "prodigy",
    summary: "Adam without a rate to choose: estimates the distance to a solution (leave lr at 1)",
    source: "Mishchenko & Defazio 2024, Algorithm 4",
    about: about!("prodigy.rs"),
    lr: 1.0,
    hyper: &[
        adam::BETA1,
        adam::BETA2,
        Hyper::new("beta3", 0.0, Range::UNIT, "decay of the estimate's sums per step; 0: √beta2"),
        adam::EPS,
        DECAY,
        Hyper::new("decoupled", 1.0, Range::SWITCH, "the decay shrinks θ; else λθ is added to the gradient"),
        CORRECTION,
        Hyper::new("safeguard_warmup", 0.0, Range::SWITCH, "a warm-up of lr does not enter s"),
        D0,
        Hyper::new("d_coef", 1.0, Range::POSITIVE, "factor of the estimate: larger or smaller rates"),
        GROWTH,
    ],
    decay: Decay::Decoupled,
    kind: Kind::Whole,
    make: (make::<f32>, make::<f64>),
    ..USUAL
};

/// The limit that a `growth_rate` stands for.
pub(super) fn limit(growth_rate: f64) -> f64 {
    if growth_rate == 0.0 { f64::INFINITY } else { growth_rate }
}

/// Adam's bias correction of the rate at step `t`.
pub(super) fn correction<X: Scalar>(wanted: bool, beta1: X, beta2: X, t: X) -> X {
    let one = X::one();
    if wanted { (one - beta2.pow(t)).sqrt() / (one - beta1.pow(t)) } else { one }
}

/// A term of r: how far the gradient points to where θ came from.
#[inline(always)]
pub(super) fn product<X: Real>(g: X, way: X) -> X {
    g * way
}

/// The new θ: what is left of it, less η times the direction m/(√v + ε).
#[inline(always)]
pub(super) fn stepped<F: Real>(theta: F, shrink: F, eta: F, [m, v]: [F; 2], eps: F) -> F {
    shrink * theta - eta * ratio(m, v.sqrt() + eps)
}

/// d̂.
fn found<X: Scalar>(d_coef: X, numerator: X, size: X) -> X {
    d_coef * numerator / size
}

/// The new r.
fn gathered<X: Scalar>(beta3: X, numerator: X, share: X, eta: X, product: X) -> X {
    beta3 * numerator + share * eta * product
}

struct Prodigy<F> {
    beta1: f64,
    beta2: f64,
    beta3: f64,
    eps: f64,
    decoupled: bool,
    use_bias_correction: bool,
    safeguard_warmup: bool,
    d0: f64,
    d_coef: f64,
    growth: f64,
    d: f64,
    d_max: f64,
    /// r.
    numerator: f64,
    /// Steps that were made.
    made: u64,
    m: Vec<Buffer<F>>,
    v: Vec<Buffer<F>>,
    s: Vec<Buffer<F>>,
    start: Vec<Buffer<F>>,
}

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let (beta2, beta3, d0) = (v.get("beta2"), v.get("beta3"), v.get("d0"));
    Box::new(Prodigy {
        beta1: v.get("beta1"),
        beta2,
        beta3: if beta3 == 0.0 { beta2.sqrt() } else { beta3 },
        eps: v.get("eps"),
        decoupled: v.is("decoupled"),
        use_bias_correction: v.is("use_bias_correction"),
        safeguard_warmup: v.is("safeguard_warmup"),
        d0,
        d_coef: v.get("d_coef"),
        growth: limit(v.get("growth_rate")),
        d: d0,
        d_max: d0,
        numerator: 0.0,
        made: 0,
        m: copies(room.tensors),
        v: copies(room.tensors),
        s: copies(room.tensors),
        start: copies(room.tensors),
    })
}

impl<F: Float> Prodigy<F> {
    /// The new estimate from the two sums; the old one where they say nothing.
    fn estimate(&mut self, numerator: f64, denominator: f64) {
        let found = found(self.d_coef, numerator, denominator);
        if !found.is_finite() {
            return;
        }
        self.numerator = numerator;
        if self.d == self.d0 {
            self.d = self.d.max(found);
        }
        self.d_max = self.d_max.max(found);
        self.d = self.d_max.min(self.d * self.growth);
    }
}

impl<F: Float> Method<F> for Prodigy<F> {
    fn finds_rate(&self) -> bool {
        true
    }

    fn trace(&self, page: &mut Tracer, setting: &Setting) {
        page.couple(setting, false);
        let one = Symbol::one();
        let [b1, b2, b3, eps] = ["beta1", "beta2", "beta3", "eps"].map(|name| page.scalar(name));
        let [t, d, d0] = ["t", "d", "d0"].map(|name| page.scalar(name));
        let decay = setting.decay();
        let eta = page.name("η", d * page.lr() * correction(self.use_bias_correction, b1, b2, t));
        if !self.decoupled {
            page.change_g(coupled(page.g(), decay, page.theta()));
        }
        let (g, [m, v, s, start]) = (page.g(), ["m", "v", "s", "start"].map(|name| page.slot(name)));
        let p = page.sum("p", product(g, start - page.theta()));
        let (to_m, to_v) = (mixed(b1, m, d * (one - b1), g), mixed_square(b2, v, d * d * (one - b2), g));
        page.assign("m", m, to_m);
        page.assign("v", v, to_v);
        let to_s = mixed(b3, s, d / d0 * if self.safeguard_warmup { d } else { eta }, g);
        page.assign("s", s, to_s);
        let q = page.sum("q", to_s.abs());
        let r = page.scalar("r");
        let to_r = gathered(b3, r, d / d0, eta, p);
        page.assign("r", r, to_r);
        page.name("d̂", found(page.scalar("d_coef"), to_r, q));
        page.say("d ← the largest d̂ so far, at most growth_rate·d");
        let shrink = if self.decoupled { one - eta * decay } else { one };
        page.step_to(stepped(page.theta(), shrink, eta, [to_m, to_v], d * eps));
    }

    fn step(&mut self, step: &mut Step<'_, '_, F>) -> Result<Done, StepError> {
        let decay = step.take_decay();
        step.settle(PRODIGY.name)?;
        if step.t == 1 {
            let parts = self.start.iter_mut().zip(&mut step.parts);
            parts.for_each(|(start, part)| start.copy_from_slice(part.theta()));
        }
        if step.lr == 0.0 {
            step.clear_gradients();
            return Ok(Done { lr: Some(0.0), ..Done::default() });
        }
        let corrected = correction(self.use_bias_correction, self.beta1, self.beta2, (self.made + 1) as f64);
        let (d, eta) = (self.d, self.d * step.lr * corrected);
        let of_s = (d / self.d0) * if self.safeguard_warmup { d } else { eta };
        let f = F::from_f64;
        let (b1, a1, b2, a2) =
            (f(self.beta1), f(d * (1.0 - self.beta1)), f(self.beta2), f(d * d * (1.0 - self.beta2)));
        let (b3, a3) = (f(self.beta3), f(of_s));
        let inside = !self.decoupled;
        let memory = self.m.iter_mut().zip(&mut self.v).zip(&mut self.s).zip(&mut self.start);
        let rows =
            step.parts.iter_mut().zip(memory).zip(&decay).map(|((part, (((m, v), s), start)), &decay)| {
                let (theta, g) = part.both();
                (
                    [theta, g, &mut m[..], &mut v[..], &mut s[..], &mut start[..]],
                    f(if inside { decay } else { 0.0 }),
                )
            });
        // A coordinate whose memory cannot hold what comes keeps it, and a gradient of NaN says so to the second sweep.
        let [sum, size] = fuse(step.threads, rows, |[theta, g, m, v, s, start], decay, [products, sizes]| {
            let terms = products.iter_mut().zip(sizes);
            let memory = m.iter_mut().zip(v).zip(s).zip(start);
            for (((theta, g), (((m, v), s), start)), (term, size)) in
                theta.iter().zip(g).zip(memory).zip(terms)
            {
                let all = coupled(*g, decay, *theta);
                *term = product(all.to_f64(), (*start - *theta).to_f64());
                let (to_m, to_v, to_s) =
                    (mixed(b1, *m, a1, all), mixed_square(b2, *v, a2, all), mixed(b3, *s, a3, all));
                let fine = finite([all, to_m, to_v, to_s]);
                (*m, *v, *s) = (keep(fine, to_m, *m), keep(fine, to_v, *v), keep(fine, to_s, *s));
                *size = s.to_f64().abs();
                *g = keep(fine, all, F::NAN);
                *term = keep(fine, *term, 0.0);
            }
        });
        if size == 0.0 {
            let bad = step.consumed(1.0);
            return Ok(Done { bad, lr: Some(eta), ..Done::default() });
        }
        self.estimate(gathered(self.beta3, self.numerator, d / self.d0, eta, sum), size);
        self.made += 1;
        // Without momentum the authors' step has the new d in the place of m's old one.
        let renewed = if self.beta1 == 0.0 { self.d / d } else { 1.0 };
        let (eta_f, eps) = (f(eta * renewed), f(self.d * self.eps));
        let memory = self.m.iter_mut().zip(&mut self.v);
        let rows = step.parts.iter_mut().zip(memory).zip(&decay).map(|((part, (m, v)), &decay)| {
            let (theta, g) = part.both();
            ([theta, g, &mut m[..], &mut v[..]], f(if inside { 1.0 } else { 1.0 - eta * decay }))
        });
        let [marked] = fuse(step.threads, rows, |[theta, g, m, v], shrink, [marks]| {
            for ((((theta, g), m), v), mark_here) in theta.iter_mut().zip(g).zip(m).zip(v).zip(marks) {
                let next = stepped(*theta, shrink, eta_f, [*m, *v], eps);
                let fine = finite([next, *g]);
                *theta = keep(fine, next, *theta);
                (*g, *mark_here) = mark(fine);
            }
        });
        Ok(Done { bad: step.consumed(marked), lr: Some(eta), ..Done::default() })
    }

    fn visit_state(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        count(visit, "made", &mut self.made);
        scalar(visit, "d", &mut self.d);
        scalar(visit, "d_max", &mut self.d_max);
        scalar(visit, "d_numerator", &mut self.numerator);
        for (name, slot) in
            [("m", &mut self.m), ("v", &mut self.v), ("s", &mut self.s), ("start", &mut self.start)]
        {
            visit_copies(name, slot, tensors, visit);
        }
    }
}
