//! Adam. Kingma & Ba 2015, Algorithm 1, <https://arxiv.org/abs/1412.6980>.
//! ```text
//! m ← β₁ m + (1 − β₁) g            m̂ = m / (1 − β₁ᵗ)
//! v ← β₂ v + (1 − β₂) g²           v̂ = v / (1 − β₂ᵗ)
//! θ ← θ − α m̂ / (√v̂ + ε)           t = 1, 2, …
//! ```
//! For almost everything with gradients of different sizes: networks, embeddings, linear models on unscaled features. Works with its
//! defaults more often than any other rule. AdamW is this rule with decoupled decay: Loshchilov & Hutter 2019, Algorithm 2,
//! <https://arxiv.org/abs/1711.05101>, where, as in PyTorch, the decay θ ← θ − η λ θ is scaled by the scheduled rate.
//!
//! Memory: 2 numbers a parameter (m, v). Differs from the paper: nowhere. PyTorch is the same. optax too, and has an `eps_root`
//! under the root (0 when nothing is said). Keras adds ε = 1e-7 to the root of the uncorrected v, the paper's last remark of
//! section 2: larger by 1/√(1 − β₂ᵗ) at the start. AdamW's λ is 0.01 in PyTorch and here, 0.0001 in optax and 0.004 in Keras.

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use crate::arithmetic::ratio;
use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

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

coef! {
    /// The scalars of a step.
    pub struct Coef {
        b1,
        a1,
        b2,
        a2,
        /// α/(1 − β₁ᵗ).
        step,
        /// 1/(1 − β₂ᵗ).
        root,
        eps,
        /// α: a constant g ends in m̂ = g.
        lr,
    }
}

pub(super) fn coef<X: Scalar>(beta1: X, beta2: X, eps: X, When { t, lr }: When<X>) -> Coef<X> {
    let one = X::one();
    let (c1, c2) = (one - beta1.pow(t), one - beta2.pow(t));
    Coef { b1: beta1, a1: one - beta1, b2: beta2, a2: one - beta2, step: lr / c1, root: one / c2, eps, lr }
}

/// The two moments with a new gradient in them.
#[inline(always)]
pub(super) fn moments<F: Real>(c: &Coef<F>, g: F, m: F, v: F) -> (F, F) {
    (c.b1 * m + c.a1 * g, c.b2 * v + c.a2 * g * g)
}

impl Rule<2> for Adam {
    const NAME: &'static str = "adam";
    const STATE: [Slot; 2] = [Slot::signed("m"), Slot::non_negative("v")];
    declared!(Adam, Coef);

    fn coef<X: Scalar>(h: &Adam<X>, when: When<X>, _: &mut [X]) -> Coef<X> {
        coef(h.beta1, h.beta2, h.eps, when)
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
