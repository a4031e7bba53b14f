//! AdEMAMix. Pagliardini, Ablin & Grangier 2024, equation AdEMAMix, <https://arxiv.org/abs/2409.03137>.
//! ```text
//! m ← β₁ m + (1 − β₁) g             n ← β₃ n + (1 − β₃) g
//! v ← β₂ v + (1 − β₂) g²
//! θ ← θ − η (m̂ + α n) / (√v̂ + ε)     m̂, v̂: corrected for their start; n is not
//! ```
//! Adam with a second mean that remembers ten thousand gradients: for long runs of large models, whose old gradients stay useful
//! far longer than Adam's m keeps them. On short ones n hardly fills.
//!
//! Memory: 3 numbers a parameter (m, n, v). Differs from the paper: α and β₃ are constants, where it lets both rise over the run.
//! optax's `contrib.ademamix` is the same with constants, and takes schedules for both; it adds the decay as AdamW does, as here.
//! PyTorch and Keras do not have it.

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use super::adam::{BETA1, BETA2, EPS};
use crate::arithmetic::{mixed, mixed_square, ratio};
use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

/// β₃.
pub const BETA3: Hyper = Hyper::new("beta3", 0.9999, Range::UNIT, "decay β₃ of the slow mean n per step");
/// α.
pub const ALPHA: Hyper =
    Hyper::new("alpha", 5.0, Range::NON_NEGATIVE, "α: what n counts beside the corrected m");

hyper! {
    /// θ ← θ − η (m̂ + α n)/(√v̂ + ε).
    pub struct AdEmaMix {
        beta1 = BETA1;
        beta2 = BETA2;
        beta3 = BETA3;
        alpha = ALPHA;
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
        /// η/(1 − β₁ᵗ).
        step,
        /// ηα.
        slow,
        /// 1/(1 − β₂ᵗ).
        root,
        eps,
        /// η(1 + α): a constant g ends in m̂ = n = g.
        metric,
    }
}

impl Rule<3> for AdEmaMix {
    const NAME: &'static str = "ademamix";
    const STATE: [Slot; 3] =
        [Slot::signed("exp_avg"), Slot::signed("exp_avg_slow"), Slot::non_negative("exp_avg_sq")];
    // The slow mean would need its ten thousand steps to know what a constant gradient ends in.
    const PROXIMAL: bool = false;
    declared!(AdEmaMix, Coef);

    fn coef<X: Scalar>(h: &AdEmaMix<X>, When { t, lr }: When<X>, _: &mut [X]) -> Coef<X> {
        let one = X::one();
        Coef {
            b1: h.beta1,
            a1: one - h.beta1,
            b2: h.beta2,
            a2: one - h.beta2,
            b3: h.beta3,
            a3: one - h.beta3,
            step: lr / (one - h.beta1.pow(t)),
            slow: lr * h.alpha,
            root: one / (one - h.beta2.pow(t)),
            eps: h.eps,
            metric: lr * (one + h.alpha),
        }
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [m, n, v]: [F; 3]) -> (F, [F; 3]) {
        let (m, n) = (mixed(c.b1, m, c.a1, g), mixed(c.b3, n, c.a3, g));
        let v = mixed_square(c.b2, v, c.a2, g);
        (-ratio(c.step * m + c.slow * n, (c.root * v).sqrt() + c.eps), [m, n, v])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, [_, _, v]: [F; 3]) -> F {
        ratio(c.metric, (c.root * v).sqrt() + c.eps)
    }
}
