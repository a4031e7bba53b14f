//! ADOPT. Taniguchi et al. 2024, Algorithm 2 with the clipping of its code, <https://arxiv.org/abs/2411.02853>.
//! ```text
//! v ← g²                                                          t = 1: nothing moves
//! m ← β₁ m + (1 − β₁) clip(g / max(√v, ε), ±(t − 1)^¼)              t = 2, 3, …
//! θ ← θ − η m                      v ← β₂ v + (1 − β₂) g²
//! ```
//! Adam that divides each gradient by the mean square of those before it, and takes the mean after: converges at the best rate with
//! any β₂, where Adam may not. For noisy problems on which β₂ would have to be tuned.
//!
//! Memory: 2 numbers a parameter (m, v). As optax's `contrib.adopt` without `nesterov`; `clipping=false` is the paper's first
//! version, which a first gradient of 0 can break. The decay is decoupled, as in the authors' code; optax's has none. PyTorch and
//! Keras do not have it.

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use super::adam::{BETA1, BETA2};
use crate::arithmetic::{mixed, mixed_square, ratio};
use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

/// ε.
pub const EPS: Hyper =
    Hyper::new("eps", 1e-6, Range::POSITIVE, "ε, the least that a gradient is divided by; gradient units");
/// Whether g/√v is cut.
pub const CLIPPING: Hyper =
    Hyper::new("clipping", 1.0, Range::SWITCH, "cut each divided gradient to ± the fourth root of t − 1");

hyper! {
    /// m ← β₁ m + (1 − β₁) g/√v of the step before; θ ← θ − η m.
    pub struct Adopt {
        beta1 = BETA1;
        beta2 = Hyper { default: 0.9999, ..BETA2 };
        eps = EPS;
        clipping = CLIPPING;
    }
}

coef! {
    /// The scalars of a step.
    pub struct Coef {
        b1,
        /// 1 − β₁; 0 at the first step.
        a1,
        /// β₂; 0 at the first step,
        b2,
        /// and 1 less that.
        a2,
        eps,
        limit,
        lr,
    }
}

impl Rule<2> for Adopt {
    const NAME: &'static str = "adopt";
    const STATE: [Slot; 2] = [Slot::signed("exp_avg"), Slot::non_negative("exp_avg_sq")];
    const PROXIMAL: bool = false;
    declared!(Adopt, Coef);

    fn coef<X: Scalar>(h: &Adopt<X>, When { t, lr }: When<X>, _: &mut [X]) -> Coef<X> {
        let (zero, one) = (X::zero(), X::one());
        let (known, largest) = (one.lt(t), X::from_f64(f64::MAX));
        let b2 = X::select(known, h.beta2, zero);
        Coef {
            b1: h.beta1,
            a1: X::select(known, one - h.beta1, zero),
            b2,
            a2: one - b2,
            eps: h.eps,
            limit: X::select(zero.lt(h.clipping), (t - one).pow(X::from_f64(0.25)), largest),
            lr,
        }
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [m, v]: [F; 2]) -> (F, [F; 2]) {
        let divided = ratio(g, v.sqrt().at_least(c.eps)).at_most(c.limit).at_least(-c.limit);
        let m = mixed(c.b1, m, c.a1, divided);
        (-(c.lr * m), [m, mixed_square(c.b2, v, c.a2, g)])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, [_, v]: [F; 2]) -> F {
        ratio(c.lr, v.sqrt().at_least(c.eps))
    }
}
