//! AMSGrad. Reddi, Kale & Kumar 2018, Algorithm 2, <https://openreview.net/forum?id=ryQu7f-RZ>.
//! ```text
//! m ← β₁ m + (1 − β₁) g
//! v ← β₂ v + (1 − β₂) g²           w ← max(w, v)
//! θ ← θ − α m̂ / (√ŵ + ε)           m̂, ŵ: divided by 1 − β₁ᵗ, 1 − β₂ᵗ
//! ```
//! For problems on which Adam circles or diverges: rare large gradients count for good, so that rates never rise again.
//!
//! Memory: 3 numbers a parameter (m, v, w). Differs from the paper as PyTorch does: both moments are corrected for their start
//! (the paper corrects neither), and the maximum is taken before the correction. optax takes it after, of the corrected v, whose
//! early values then stay. Keras's `amsgrad=True` is PyTorch's with Keras's ε, on the uncorrected root.

use thalweg_core::Real;

use super::adam::{BETA1, BETA2, Coef, EPS, coef, moments};
use crate::arithmetic::ratio;
use crate::rule::{Rule, Scalar, Slot, When, declared, hyper};

hyper! {
    /// Adam divided by the largest mean square so far.
    pub struct AmsGrad {
        beta1 = BETA1;
        beta2 = BETA2;
        eps = EPS;
    }
}

impl Rule<3> for AmsGrad {
    const NAME: &'static str = "amsgrad";
    const STATE: [Slot; 3] = [Slot::signed("m"), Slot::non_negative("v"), Slot::non_negative("max_v")];
    declared!(AmsGrad, Coef);

    fn coef<X: Scalar>(h: &AmsGrad<X>, when: When<X>, _: &mut [X]) -> Coef<X> {
        coef(h.beta1, h.beta2, h.eps, when)
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [m, v, w]: [F; 3]) -> (F, [F; 3]) {
        let (m, v) = moments(c, g, m, v);
        let w = w.at_least(v);
        (-ratio(c.step * m, (c.root * w).sqrt() + c.eps), [m, v, w])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, [_, _, w]: [F; 3]) -> F {
        ratio(c.lr, (c.root * w).sqrt() + c.eps)
    }
}
