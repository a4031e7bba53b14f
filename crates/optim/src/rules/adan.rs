//! Adan. Xie et al. 2022, Algorithm 1, <https://arxiv.org/abs/2208.06677>, in the authors' code's convention (β here is 1 − β there).
//! ```text
//! d = g − g₋₁                       0 at the first step
//! m ← β₁ m + (1 − β₁) g             w ← β₂ w + (1 − β₂) d
//! n ← β₃ n + (1 − β₃)(g + β₂ d)²
//! u = (m/(1 − β₁ᵗ) + β₂ w/(1 − β₂ᵗ)) / (√(n/(1 − β₃ᵗ)) + ε)
//! θ ← (θ − α u)/(1 + αλ),  with no_prox: θ ← (1 − αλ) θ − α u
//! ```
//! Adam with Nesterov's look-ahead from the difference of gradients; for large batches and networks that are hard to train. Memory: 4
//! numbers a parameter (m, w, n, g₋₁). optax multiplies d and w by 1 − β₂ inside n and u, where the authors' code has β₂, has an
//! ε = 1e-8 under the root as well, and adds the decay to u. PyTorch and Keras do not have it.

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use super::adam::EPS;
use crate::arithmetic::ratio;
use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

/// β₁.
pub const BETA1: Hyper = Hyper::new("beta1", 0.98, Range::UNIT, "decay β₁ of the mean gradient per step");
/// β₂.
pub const BETA2: Hyper =
    Hyper::new("beta2", 0.92, Range::UNIT, "decay β₂ of the mean difference of gradients per step");
/// β₃.
pub const BETA3: Hyper = Hyper::new("beta3", 0.99, Range::UNIT, "decay β₃ of the mean square per step");

hyper! {
    /// Adam with the gradients' difference in both moments.
    pub struct Adan {
        beta1 = BETA1;
        beta2 = BETA2;
        beta3 = BETA3;
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
        b3,
        a3,
        /// 0 at the first step, then 1.
        known,
        /// α/(1 − β₁ᵗ).
        step,
        /// αβ₂/(1 − β₂ᵗ).
        ahead,
        /// 1/(1 − β₃ᵗ).
        root,
        eps,
        lr,
    }
}

impl Rule<4> for Adan {
    const NAME: &'static str = "adan";
    const STATE: [Slot; 4] = [
        Slot::signed("exp_avg"),
        Slot::signed("exp_avg_diff"),
        Slot::non_negative("exp_avg_sq"),
        Slot::signed("previous_grad"),
    ];
    const PROXIMAL: bool = false;
    declared!(Adan, Coef);

    fn coef<X: Scalar>(h: &Adan<X>, When { t, lr }: When<X>, _: &mut [X]) -> Coef<X> {
        let one = X::one();
        Coef {
            b1: h.beta1,
            a1: one - h.beta1,
            b2: h.beta2,
            a2: one - h.beta2,
            b3: h.beta3,
            a3: one - h.beta3,
            known: X::select(one.lt(t), one, X::zero()),
            step: lr / (one - h.beta1.pow(t)),
            ahead: lr * h.beta2 / (one - h.beta2.pow(t)),
            root: one / (one - h.beta3.pow(t)),
            eps: h.eps,
            lr,
        }
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [m, w, n, last]: [F; 4]) -> (F, [F; 4]) {
        let d = c.known * (g - last);
        let m = c.b1 * m + c.a1 * g;
        let w = c.b2 * w + c.a2 * d;
        let ahead = g + c.b2 * d;
        let n = c.b3 * n + c.a3 * ahead * ahead;
        (-ratio(c.step * m + c.ahead * w, (c.root * n).sqrt() + c.eps), [m, w, n, g])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, [_, _, n, _]: [F; 4]) -> F {
        ratio(c.lr, (c.root * n).sqrt() + c.eps)
    }
}
