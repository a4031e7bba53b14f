//! AdaBelief. Zhuang et al. 2020, Algorithm 2, <https://arxiv.org/abs/2010.07468>.
//! ```text
//! m ← β₁ m + (1 − β₁) g
//! s ← β₂ s + (1 − β₂)(g − m)² + ε
//! θ ← θ − α m̂ / (√ŝ + ε)
//! ```
//! Adam divided by how far gradients are from their mean: large steps where they agree. For networks that Adam trains fast and
//! SGD better, adversarial ones above all. Memory: 2 numbers a parameter (m, s). As the paper and optax with `eps_root = eps`: ε
//! is added to s at every step. The decay is decoupled, as in the authors' code. PyTorch and Keras do not have it.

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use super::adam::{BETA1, BETA2, Coef, coef};
use crate::arithmetic::ratio;
use crate::rule::{Rule, Scalar, Slot, When, declared, hyper};

/// ε.
pub const EPS: Hyper =
    Hyper::new("eps", 1e-16, Range::NON_NEGATIVE, "ε, added to s at each step and to its root");

hyper! {
    /// θ ← θ − α m̂/(√ŝ + ε).
    pub struct AdaBelief {
        beta1 = BETA1;
        beta2 = BETA2;
        eps = EPS;
    }
}

impl Rule<2> for AdaBelief {
    const NAME: &'static str = "adabelief";
    const STATE: [Slot; 2] = [Slot::signed("exp_avg"), Slot::non_negative("exp_avg_var")];
    declared!(AdaBelief, Coef);

    fn coef<X: Scalar>(h: &AdaBelief<X>, when: When<X>, _: &mut [X]) -> Coef<X> {
        coef(h.beta1, h.beta2, h.eps, when)
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [m, s]: [F; 2]) -> (F, [F; 2]) {
        let m = c.b1 * m + c.a1 * g;
        let off = g - m;
        let s = c.b2 * s + c.a2 * off * off + c.eps;
        (-ratio(c.step * m, (c.root * s).sqrt() + c.eps), [m, s])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, [_, s]: [F; 2]) -> F {
        ratio(c.lr, (c.root * s).sqrt() + c.eps)
    }
}
