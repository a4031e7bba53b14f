//! Sophia: momentum divided by a running estimate of the Hessian's diagonal, cut at 1. Liu, Li, Hall, Liang & Ma 2023, Algorithm 3
//! with the Hutchinson estimator (Algorithm 1), <https://arxiv.org/abs/2305.14342>.
//! ```text
//! every k-th step:  u ∈ {−1, 1}ⁿ at random        h ← β₂ h + (1 − β₂) u ∘ H u
//! m ← β₁ m + (1 − β₁) g
//! θ ← (1 − η λ) θ − η clip(m / max(γ h, ε), ±1)
//! ```
//! For large language models, where a product with the Hessian every tenth step costs little. 2 numbers of memory a parameter
//! (m, h). Differs from the paper: u has independent signs, whose estimate has less variance than that of its normal numbers. The
//! objective's l2 is in g and, exactly, in the diagonal. pytorch-optimizer's `SophiaH` is this with lr/γ, p = γ and ε/γ; optax
//! corrects m for its bias and sees a new estimate one step late. The paper's Gauss-Newton-Bartlett estimator needs labels drawn
//! from the model, which no objective here gives.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Buffer, Float, Grads, Memory, Needs, Params, StepError, Tensor};

use super::adagrad::ratio;
use super::{DECOUPLED, Decay, Entry, Kind, Room, Values, adam, no_conflict};
use crate::chain::{copies, visit_copies};
use crate::method::{Done, Method, Step};
use crate::vector::fuse;
use crate::whole::{finite, keep, mark};

/// The entry.
pub(super) static SOPHIA: Entry = Entry {
    name: "sophia",
    summary: "momentum over an estimate of the Hessian's diagonal, cut at 1; a Hessian product every 10 steps",
    source: "Liu et al. 2023, Algorithms 1 and 3",
    lr: 6e-4,
    hyper: &[
        Hyper { default: 0.96, ..adam::BETA1 },
        Hyper::new("beta2", 0.99, Range::UNIT, "decay β₂ of the diagonal h per estimate"),
        Hyper::new("gamma", 0.01, Range::POSITIVE, "γ: the larger, the fewer coordinates are not cut"),
        Hyper::new("eps", 1e-12, Range::NON_NEGATIVE, "ε, the least that m is divided by; gradient units"),
        Hyper { default: 0.0, ..DECOUPLED },
        Hyper::new("every", 10.0, Range::COUNT, "k, steps between two estimates"),
    ],
    decay: Decay::Decoupled,
    conflict: no_conflict,
    kind: Kind::Whole,
    rest: None,
    make: (make::<f32>, make::<f64>),
};

struct Sophia<F: Float> {
    beta1: f64,
    beta2: f64,
    gamma: f64,
    eps: f64,
    every: u64,
    m: Vec<Buffer<F>>,
    h: Vec<Buffer<F>>,
    /// θ, u and H u; no part of the state.
    room: Option<(Params<F>, Params<F>, Grads<F>)>,
}

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    Box::new(Sophia {
        beta1: v.get("beta1"),
        beta2: v.get("beta2"),
        gamma: v.get("gamma"),
        eps: v.get("eps"),
        every: v.get("every") as u64,
        m: copies(room.tensors),
        h: copies(room.tensors),
        room: None,
    })
}

impl<F: Float> Sophia<F> {
    /// h ← β₂ h + (1 − β₂)(u ∘ H u/weight + l2).
    fn estimate(&mut self, step: &mut Step<'_, '_, F>) -> Result<(), StepError> {
        let (theta, u, product) = self.room.get_or_insert_with(|| {
            (Params::zeros(step.layout), Params::zeros(step.layout), Grads::zeros(step.layout))
        });
        // Steps keep apart from seeds: an odd factor is a permutation of all steps.
        let key = step.seed ^ step.at.step.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
        for part in &mut step.parts {
            let range = part.tensor.range();
            theta.flat_mut()[range.clone()].copy_from_slice(part.theta());
            let place = part.place;
            crate::vector::each_at(step.threads, &mut u.flat_mut()[range], |from, u| {
                for (i, u) in u.iter_mut().enumerate() {
                    let mut stream = Stream::new(key, Purpose::Probe, place + (from + i) as u64);
                    *u = F::from_f64(if stream.below(2) == 0 { 1.0 } else { -1.0 });
                }
            });
        }
        let missing = StepError::NoOracle { rule: SOPHIA.name, what: "products with the Hessian" };
        let total = step.oracle.hessian_vector(theta, u, product).ok_or(missing)?;
        let f = F::from_f64;
        let (b2, a2, scale) = (f(self.beta2), f(1.0 - self.beta2), f(1.0 / total.weight));
        let l2 = step.at.penalty.l2;
        let mut u = u.flat_mut();
        let mut product = product.flat_mut();
        let mut from = 0;
        let mut rows = Vec::with_capacity(step.parts.len());
        for (part, h) in step.parts.iter().zip(&mut self.h) {
            let range = part.tensor.range();
            let u = crate::assembled::take(&mut u, range.start - from, range.len());
            let product = crate::assembled::take(&mut product, range.start - from, range.len());
            from = range.end;
            let l2 = if part.tensor.kind.is_penalised() { l2 } else { 0.0 };
            rows.push(([&mut h[..], u, product], f(l2)));
        }
        let [] = fuse(step.threads, rows, |[h, u, product], l2, []| {
            for ((h, u), product) in h.iter_mut().zip(u).zip(product) {
                let next = b2 * *h + a2 * (*u * (*product * scale) + l2);
                *h = keep(finite([next]), next, *h);
            }
        });
        Ok(())
    }
}

impl<F: Float> Method<F> for Sophia<F> {
    fn needs(&self) -> Needs {
        Needs { curvature: true, ..Needs::default() }
    }

    fn step(&mut self, step: &mut Step<'_, '_, F>) -> Result<Done, StepError> {
        if step.at.penalty.l1 > 0.0 {
            return Err(StepError::NoProximal { rule: SOPHIA.name });
        }
        if (step.t - 1).is_multiple_of(self.every) {
            self.estimate(step)?;
        }
        let decay = step.take_decay();
        step.settle(SOPHIA.name)?;
        let f = F::from_f64;
        let (b1, a1) = (f(self.beta1), f(1.0 - self.beta1));
        let (lr, gamma, eps) = (f(step.lr), f(self.gamma), f(self.eps));
        let memory = self.m.iter_mut().zip(&mut self.h);
        let rows = step.parts.iter_mut().zip(memory).zip(&decay).map(|((part, (m, h)), &decay)| {
            let (theta, g) = part.both();
            ([theta, g, &mut m[..], &mut h[..]], f(1.0 - step.lr * decay))
        });
        let [marked] = fuse(step.threads, rows, |[theta, g, m, h], shrink, [marks]| {
            for ((((theta, g), m), h), mark_here) in theta.iter_mut().zip(g).zip(m).zip(h).zip(marks) {
                let to_m = b1 * *m + a1 * *g;
                let u = ratio(to_m, (gamma * *h).at_least(eps)).at_most(F::one()).at_least(-F::one());
                let next = shrink * *theta - lr * u;
                let fine = finite([to_m, next]);
                (*m, *theta) = (keep(fine, to_m, *m), keep(fine, next, *theta));
                (*g, *mark_here) = mark(fine);
            }
        });
        Ok(Done { bad: step.consumed(marked), ..Done::default() })
    }

    fn visit_state(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        visit_copies("m", &mut self.m, tensors, visit);
        visit_copies("h", &mut self.h, tensors, visit);
    }
}
