//! NAdam. Dozat 2016, Algorithm 2, <https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ>.
//! ```text
//! μₜ = β₁ (1 − ½·0.96^(t ψ))        P ← P μₜ
//! m ← β₁ m + (1 − β₁) g             v ← β₂ v + (1 − β₂) g²
//! θ ← θ − α ((1 − μₜ)/(1 − P) · g + μₜ₊₁/(1 − P μₜ₊₁) · m) / (√v̂ + ε)
//! ```
//! Adam that looks ahead along m as Nesterov's momentum does; ψ sets how slowly μ warms up. For networks as Adam is, mostly a
//! little faster at the start. Memory: 2 numbers a parameter (m, v), one number in all (P). NAdamW is this rule with decoupled
//! decay. As PyTorch. Keras is this with ψ = 1: μ warms up in a few dozen steps. optax's `nadam` has a constant μ, corrected by 1
//! − β₁ᵗ⁺¹ in the place of the products.

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use super::adam::{BETA1, BETA2, EPS};
use crate::arithmetic::ratio;
use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

/// ψ.
pub const MOMENTUM_DECAY: Hyper =
    Hyper::new("momentum_decay", 4e-3, Range::NON_NEGATIVE, "ψ: how fast the momentum warms up per step");

hyper! {
    /// Adam with Nesterov's look-ahead.
    pub struct Nadam {
        beta1 = BETA1;
        beta2 = BETA2;
        eps = EPS;
        momentum_decay = MOMENTUM_DECAY;
    }
}

coef! {
    /// The scalars of a step.
    pub struct Coef {
        b1,
        a1,
        b2,
        a2,
        /// α(1 − μₜ)/(1 − P).
        now,
        /// αμₜ₊₁/(1 − Pμₜ₊₁).
        ahead,
        /// 1/(1 − β₂ᵗ).
        root,
        eps,
        /// α(1 − μₜ + μₜ₊₁): P ends at 0.
        metric,
    }
}

impl Rule<2> for Nadam {
    const NAME: &'static str = "nadam";
    const STATE: [Slot; 2] = [Slot::signed("exp_avg"), Slot::non_negative("exp_avg_sq")];
    const SCALARS: &'static [(&'static str, f64)] = &[("mu_product", 1.0)];
    declared!(Nadam, Coef);

    fn coef<X: Scalar>(h: &Nadam<X>, When { t, lr }: When<X>, scalars: &mut [X]) -> Coef<X> {
        let one = X::one();
        let (half, base) = (X::from_f64(0.5), X::from_f64(0.96));
        let mu = h.beta1 * (one - half * base.pow(t * h.momentum_decay));
        let next = h.beta1 * (one - half * base.pow((t + one) * h.momentum_decay));
        let product = scalars[0] * mu;
        scalars[0] = product;
        Coef {
            b1: h.beta1,
            a1: one - h.beta1,
            b2: h.beta2,
            a2: one - h.beta2,
            now: lr * (one - mu) / (one - product),
            ahead: lr * next / (one - product * next),
            root: one / (one - h.beta2.pow(t)),
            eps: h.eps,
            metric: lr * (one - mu + next),
        }
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [m, v]: [F; 2]) -> (F, [F; 2]) {
        let m = c.b1 * m + c.a1 * g;
        let v = c.b2 * v + c.a2 * g * g;
        (-ratio(c.now * g + c.ahead * m, (c.root * v).sqrt() + c.eps), [m, v])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, [_, v]: [F; 2]) -> F {
        ratio(c.metric, (c.root * v).sqrt() + c.eps)
    }
}
