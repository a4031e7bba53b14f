//! D-Adapted Adam: Adam whose rate is an estimate of the distance to a solution. Defazio & Mishchenko 2023, Algorithm 5,
//! <https://arxiv.org/abs/2301.07733>.
//! ```text
//! η = d · lr · (bias correction)
//! r ← √β₂ r + (1 − √β₂) η ⟨g, s/(√v + ε)⟩
//! m ← β₁ m + (1 − β₁) η g        v ← β₂ v + (1 − β₂) g²        s ← √β₂ s + (1 − √β₂) η g
//! d̂ = r / ((1 − √β₂) ‖s‖₁)       d ← max(d, min(d̂, growth_rate · d))
//! θ ← (1 − η λ) θ − m / (√v + ε)
//! ```
//! For training without a rate to search: leave lr at 1. 3 numbers of memory a parameter (m, v, s). Step by step as the authors'
//! `dadaptation.DAdaptAdam`: s is divided by the root before g enters it, `growth_rate = 0` stands for no limit. optax's
//! `contrib.dadapt_adamw` is this with decoupled decay and bias correction and without a limit; PyTorch and Keras do not have it.
//! [`super::prodigy`] adapts faster. Where all gradients are 0 nothing moves.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Buffer, Float, Memory, Real, StepError, Tensor};

use super::prodigy::{CORRECTION, D0, DECAY, GROWTH, correction, limit, product, stepped};
use super::{Decay, Entry, Kind, Room, USUAL, Values, adam};
use crate::about::about;
use crate::arithmetic::{coupled, mixed, mixed_square, ratio};
use crate::chain::{copies, visit_copies};
use crate::method::{Done, Method, Step};
use crate::rule::Scalar;
use crate::trace::{Setting, Symbol, Tracer};
use crate::vector::fuse;
use crate::whole::{count, finite, keep, mark, scalar};

/// The entry.
pub(super) static DADAPT_ADAM: Entry = Entry {
    name: "dadapt_adam",
    summary: "Adam without a rate to choose: estimates the distance to a solution (leave lr at 1)",
    source: "Defazio & Mishchenko 2023, Algorithm 5",
    about: about!("dadapt_adam.rs"),
    lr: 1.0,
    hyper: &[
        adam::BETA1,
        adam::BETA2,
        adam::EPS,
        DECAY,
        Hyper::new("decoupled", 0.0, Range::SWITCH, "the decay shrinks θ; else λθ is added to the gradient"),
        CORRECTION,
        D0,
        GROWTH,
    ],
    decay: Decay::Coupled,
    kind: Kind::Whole,
    make: (make::<f32>, make::<f64>),
    ..USUAL
};

/// The new r.
fn gathered<X: Scalar>(root2: X, numerator: X, eta: X, product: X) -> X {
    root2 * numerator + (X::one() - root2) * eta * product
}

/// d̂.
fn found<X: Scalar>(root2: X, numerator: X, size: X) -> X {
    numerator / ((X::one() - root2) * size)
}

struct DAdaptAdam<F> {
    beta1: f64,
    beta2: f64,
    eps: f64,
    decoupled: bool,
    use_bias_correction: bool,
    growth: f64,
    d: f64,
    /// r.
    numerator: f64,
    /// Steps that were made.
    made: u64,
    m: Vec<Buffer<F>>,
    v: Vec<Buffer<F>>,
    s: Vec<Buffer<F>>,
}

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    Box::new(DAdaptAdam {
        beta1: v.get("beta1"),
        beta2: v.get("beta2"),
        eps: v.get("eps"),
        decoupled: v.is("decoupled"),
        use_bias_correction: v.is("use_bias_correction"),
        growth: limit(v.get("growth_rate")),
        d: v.get("d0"),
        numerator: 0.0,
        made: 0,
        m: copies(room.tensors),
        v: copies(room.tensors),
        s: copies(room.tensors),
    })
}

impl<F: Float> Method<F> for DAdaptAdam<F> {
    fn finds_rate(&self) -> bool {
        true
    }

    fn trace(&self, page: &mut Tracer, setting: &Setting) {
        page.couple(setting, false);
        let one = Symbol::one();
        let [b1, b2, eps, t, d] = ["beta1", "beta2", "eps", "t", "d"].map(|name| page.scalar(name));
        let (decay, root2) = (setting.decay(), b2.sqrt());
        let eta = page.name("η", d * page.lr() * correction(self.use_bias_correction, b1, b2, t));
        if !self.decoupled {
            page.change_g(coupled(page.g(), decay, page.theta()));
        }
        let (g, [m, v, s]) = (page.g(), ["m", "v", "s"].map(|name| page.slot(name)));
        let p = page.sum("p", product(g, ratio(s, v.sqrt() + eps)));
        let to_m = mixed(b1, m, eta * (one - b1), g);
        let to_v = mixed_square(b2, v, one - b2, g);
        let to_s = mixed(root2, s, eta * (one - root2), g);
        page.assign("m", m, to_m);
        page.assign("v", v, to_v);
        page.assign("s", s, to_s);
        let q = page.sum("q", to_s.abs());
        let r = page.scalar("r");
        let to_r = gathered(root2, r, eta, p);
        page.assign("r", r, to_r);
        page.name("d̂", found(root2, to_r, q));
        page.say("d ← max(d, min(d̂, growth_rate·d))");
        let shrink = if self.decoupled { one - eta * decay } else { one };
        page.step_to(stepped(page.theta(), shrink, one, [to_m, to_v], eps));
    }

    fn step(&mut self, step: &mut Step<'_, '_, F>) -> Result<Done, StepError> {
        let decay = step.take_decay();
        step.settle(DADAPT_ADAM.name)?;
        if step.lr == 0.0 {
            step.clear_gradients();
            return Ok(Done { lr: Some(0.0), ..Done::default() });
        }
        let t = (self.made + 1) as f64;
        let eta = self.d * step.lr * correction(self.use_bias_correction, self.beta1, self.beta2, t);
        let (root2, f) = (self.beta2.sqrt(), F::from_f64);
        let (b1, a1, b2, a2) =
            (f(self.beta1), f(eta * (1.0 - self.beta1)), f(self.beta2), f(1.0 - self.beta2));
        let (b3, a3, eps) = (f(root2), f(eta * (1.0 - root2)), f(self.eps));
        let inside = !self.decoupled;
        let memory = self.m.iter_mut().zip(&mut self.v).zip(&mut self.s);
        let rows = step.parts.iter_mut().zip(memory).zip(&decay).map(|((part, ((m, v), s)), &decay)| {
            let (theta, g) = part.both();
            ([theta, g, &mut m[..], &mut v[..], &mut s[..]], f(if inside { decay } else { 0.0 }))
        });
        let [sum, size] = fuse(step.threads, rows, |[theta, g, m, v, s], decay, [terms, sizes]| {
            let terms = terms.iter_mut().zip(sizes);
            for (((theta, g), ((m, v), s)), (term, size)) in
                theta.iter().zip(g).zip(m.iter_mut().zip(v).zip(s)).zip(terms)
            {
                let all = coupled(*g, decay, *theta);
                let along = product(all.to_f64(), ratio(*s, v.sqrt() + eps).to_f64());
                let (to_m, to_v, to_s) =
                    (mixed(b1, *m, a1, all), mixed_square(b2, *v, a2, all), mixed(b3, *s, a3, all));
                let fine = finite([all, to_m, to_v, to_s]);
                (*m, *v, *s) = (keep(fine, to_m, *m), keep(fine, to_v, *v), keep(fine, to_s, *s));
                *term = keep(fine, along, 0.0);
                *size = s.to_f64().abs();
                *g = keep(fine, F::zero(), F::NAN);
            }
        });
        if size == 0.0 {
            return Ok(Done { bad: step.consumed(1.0), lr: Some(eta), ..Done::default() });
        }
        let numerator = gathered(root2, self.numerator, eta, sum);
        let found = found(root2, numerator, size);
        if found.is_finite() {
            self.numerator = numerator;
            self.d = self.d.max(found.min(self.d * self.growth));
        }
        self.made += 1;
        let memory = self.m.iter_mut().zip(&mut self.v);
        let rows = step.parts.iter_mut().zip(memory).zip(&decay).map(|((part, (m, v)), &decay)| {
            let (theta, g) = part.both();
            ([theta, g, &mut m[..], &mut v[..]], f(if inside { 1.0 } else { 1.0 - eta * decay }))
        });
        let [marked] = fuse(step.threads, rows, |[theta, g, m, v], shrink, [marks]| {
            for ((((theta, g), m), v), mark_here) in theta.iter_mut().zip(g).zip(m).zip(v).zip(marks) {
                let next = stepped(*theta, shrink, F::one(), [*m, *v], eps);
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
        scalar(visit, "d_numerator", &mut self.numerator);
        for (name, slot) in [("m", &mut self.m), ("v", &mut self.v), ("s", &mut self.s)] {
            visit_copies(name, slot, tensors, visit);
        }
    }
}
