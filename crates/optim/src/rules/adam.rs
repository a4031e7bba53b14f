//! Adam. Kingma & Ba 2015, Algorithm 1, <https://arxiv.org/abs/1412.6980>.
//! ```text
//! m ← β₁ m + (1 − β₁) g            m̂ = m / (1 − β₁ᵗ)
//! v ← β₂ v + (1 − β₂) g²           v̂ = v / (1 − β₂ᵗ)
//! θ ← θ − α m̂ / (√v̂ + ε)           t = 1, 2, …
//! ```
//! Differs from the paper: nowhere. AdamW is this rule with decoupled decay: Loshchilov & Hutter 2019, Algorithm 2,
//! <https://arxiv.org/abs/1711.05101>, where, as in PyTorch, the decay θ ← θ − η λ θ is scaled by the scheduled rate.

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use super::adagrad::ratio;
use crate::rule::{Rule, Slot, When, hyper};

/// β₁.
pub const BETA1: Hyper = Hyper::new("beta1", 0.9, Range::UNIT, "decay β₁ of the mean gradient m per step");
/// β₂.
pub const BETA2: Hyper = Hyper::new("beta2", 0.999, Range::UNIT, "decay β₂ of the mean square v per step");
/// ε.
pub const EPS: Hyper = Hyper::new("eps", 1e-8, Range::NON_NEGATIVE, "ε, added to √v̂; gradient units");

hyper! {
    /// θ ← θ − α m̂/(√v̂ + ε).
    pub struct Adam {
        beta1 = BETA1;
        beta2 = BETA2;
        eps = EPS;
    }
}

/// The scalars of a step.
#[derive(Clone, Copy, Debug)]
pub struct Coef<F> {
    pub(super) b1: F,
    pub(super) a1: F,
    pub(super) b2: F,
    pub(super) a2: F,
    /// α/(1 − β₁ᵗ).
    pub(super) step: F,
    /// 1/(1 − β₂ᵗ).
    pub(super) root: F,
    pub(super) eps: F,
    /// α: a constant g ends in m̂ = g.
    pub(super) lr: F,
}

pub(super) fn coef<F: Real>(beta1: f64, beta2: f64, eps: f64, When { t, lr }: When) -> Coef<F> {
    let t = t as f64;
    let (c1, c2) = (1.0 - libm::pow(beta1, t), 1.0 - libm::pow(beta2, t));
    Coef {
        b1: F::from_f64(beta1),
        a1: F::from_f64(1.0 - beta1),
        b2: F::from_f64(beta2),
        a2: F::from_f64(1.0 - beta2),
        step: F::from_f64(lr / c1),
        root: F::from_f64(1.0 / c2),
        eps: F::from_f64(eps),
        lr: F::from_f64(lr),
    }
}

/// The two moments with a new gradient in them.
#[inline(always)]
pub(super) fn moments<F: Real>(c: &Coef<F>, g: F, m: F, v: F) -> (F, F) {
    (c.b1 * m + c.a1 * g, c.b2 * v + c.a2 * g * g)
}

impl Rule<2> for Adam {
    const NAME: &'static str = "adam";
    const STATE: [Slot; 2] = [Slot::signed("m"), Slot::non_negative("v")];
    const HYPER: &'static [Hyper] = Self::DECLARED;
    type Coef<F: Real> = Coef<F>;

    fn values(&self) -> Vec<f64> {
        self.list()
    }
    fn coef<F: Real>(&self, when: When) -> Coef<F> {
        coef(self.beta1, self.beta2, self.eps, when)
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [m, v]: [F; 2]) -> (F, [F; 2]) {
        let (m, v) = moments(c, g, m, v);
        (-ratio(c.step * m, (c.root * v).sqrt() + c.eps), [m, v])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, [_, v]: [F; 2]) -> F {
        ratio(c.lr, (c.root * v).sqrt() + c.eps)
    }
}
