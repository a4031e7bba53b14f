//! Adamax. Kingma & Ba 2015, Algorithm 2, <https://arxiv.org/abs/1412.6980>.
//! ```text
//! m ← β₁ m + (1 − β₁) g
//! u ← max(β₂ u, |g| + ε)
//! θ ← θ − α/(1 − β₁ᵗ) · m / u
//! ```
//! Adam with the largest gradient of late in place of the root mean square: steps are bounded by α. For embeddings and others
//! with rare, large gradients. Memory: 2 numbers a parameter (m, u). Differs from the paper as PyTorch and optax do: ε inside the
//! maximum. Keras adds its 1e-7 to u in the quotient instead, and has a rate of 0.001 where PyTorch has 0.002. With decoupled
//! decay this is optax's `adamaxw`.

use thalweg_core::Real;

use super::adam::{BETA1, BETA2, EPS};
use crate::arithmetic::ratio;
use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

hyper! {
    /// θ ← θ − α m̂/max(β₂ u, |g| + ε).
    pub struct Adamax {
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
        eps,
        /// α/(1 − β₁ᵗ).
        step,
        lr,
    }
}

impl Rule<2> for Adamax {
    const NAME: &'static str = "adamax";
    const STATE: [Slot; 2] = [Slot::signed("exp_avg"), Slot::non_negative("exp_inf")];
    declared!(Adamax, Coef);

    fn coef<X: Scalar>(h: &Adamax<X>, When { t, lr }: When<X>, _: &mut [X]) -> Coef<X> {
        let one = X::one();
        let step = lr / (one - h.beta1.pow(t));
        Coef { b1: h.beta1, a1: one - h.beta1, b2: h.beta2, eps: h.eps, step, lr }
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [m, u]: [F; 2]) -> (F, [F; 2]) {
        let m = c.b1 * m + c.a1 * g;
        let u = (c.b2 * u).at_least(g.abs() + c.eps);
        (-ratio(c.step * m, u), [m, u])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, [_, u]: [F; 2]) -> F {
        ratio(c.lr, u)
    }
}
