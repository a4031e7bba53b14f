//! RAdam. Liu et al. 2020, Algorithm 2, <https://arxiv.org/abs/1908.03265>.
//! ```text
//! m ← β₁ m + (1 − β₁) g             v ← β₂ v + (1 − β₂) g²
//! ρ∞ = 2/(1 − β₂) − 1               ρ = ρ∞ − 2tβ₂ᵗ/(1 − β₂ᵗ)
//! r = √((ρ − 4)(ρ − 2)ρ∞ / ((ρ∞ − 4)(ρ∞ − 2)ρ))
//! θ ← θ − α r m̂ √(1 − β₂ᵗ)/(√v + ε)     where ρ > 5,
//! θ ← θ − α m̂                            before
//! ```
//! Adam that waits with dividing until v has seen enough gradients: warm-up without a schedule. For transformers and others that
//! diverge in Adam's first steps. Memory: 2 numbers a parameter (m, v). Differs from the paper as PyTorch does: ρ > 5 in place of
//! 4, and ε, added to the uncorrected root. optax divides from ρ = 5 on, and adds ε to the corrected root. Keras has no RAdam.

use thalweg_core::Real;

use super::adam::{BETA1, BETA2, EPS};
use crate::arithmetic::ratio;
use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

hyper! {
    /// Adam with a rectified start.
    pub struct Radam {
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
        /// The factor of m.
        step,
        /// 1 where the step is divided by √v + ε, else 0,
        divided,
        /// and 1 minus that.
        plain,
        eps,
        metric,
    }
}

/// What α becomes before it is divided by the uncorrected √v, and whether it is (1) or not yet (0).
fn rectified<X: Scalar>(beta2: X, t: X) -> (X, X) {
    let (one, two, four) = (X::one(), X::from_f64(2.0), X::from_f64(4.0));
    let power = beta2.pow(t);
    let all = two / (one - beta2) - one;
    let rho = all - two * t * power / (one - power);
    let square = (rho - four) * (rho - two) * all / ((all - four) * (all - two) * rho);
    let enough = X::from_f64(5.0).lt(rho);
    let factor = X::select(enough, (square * (one - power)).sqrt(), one);
    (factor, X::select(enough, one, X::zero()))
}

impl Rule<2> for Radam {
    const NAME: &'static str = "radam";
    const STATE: [Slot; 2] = [Slot::signed("exp_avg"), Slot::non_negative("exp_avg_sq")];
    declared!(Radam, Coef);

    fn coef<X: Scalar>(h: &Radam<X>, When { t, lr }: When<X>, _: &mut [X]) -> Coef<X> {
        let one = X::one();
        let (factor, divided) = rectified(h.beta2, t);
        Coef {
            b1: h.beta1,
            a1: one - h.beta1,
            b2: h.beta2,
            a2: one - h.beta2,
            step: lr * factor / (one - h.beta1.pow(t)),
            divided,
            plain: one - divided,
            eps: h.eps,
            metric: lr * factor,
        }
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [m, v]: [F; 2]) -> (F, [F; 2]) {
        let m = c.b1 * m + c.a1 * g;
        let v = c.b2 * v + c.a2 * g * g;
        (-ratio(c.step * m, c.divided * (v.sqrt() + c.eps) + c.plain), [m, v])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, [_, v]: [F; 2]) -> F {
        ratio(c.metric, c.divided * (v.sqrt() + c.eps) + c.plain)
    }
}
