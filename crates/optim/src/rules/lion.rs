//! Lion. Chen et al. 2023, Algorithm 2, <https://arxiv.org/abs/2302.06675>.
//! ```text
//! θ ← θ − α sign(β₁ m + (1 − β₁) g)
//! m ← β₂ m + (1 − β₂) g
//! ```
//! Every coordinate moves by α: choose it 3 to 10 times below Adam's and the decay as much above. For large batches. Memory: 1
//! number a parameter. As optax, whose rate has no default; decay is decoupled, 0.001 there as here. Keras's rate is 0.001, and
//! it has no decay unless asked. PyTorch does not have it.

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use crate::arithmetic::signed;
use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

/// β₁.
pub const BETA1: Hyper = Hyper::new("beta1", 0.9, Range::UNIT, "share β₁ of the memory in the direction");
/// β₂.
pub const BETA2: Hyper = Hyper::new("beta2", 0.99, Range::UNIT, "decay β₂ of the memory per step");

hyper! {
    /// θ ← θ − α sign(β₁ m + (1 − β₁) g).
    pub struct Lion {
        beta1 = BETA1;
        beta2 = BETA2;
    }
}

coef! {
    /// The scalars of a step.
    pub struct Coef {
        b1,
        a1,
        b2,
        a2,
        lr,
    }
}

impl Rule<1> for Lion {
    const NAME: &'static str = "lion";
    const STATE: [Slot; 1] = [Slot::signed("exp_avg")];
    const PROXIMAL: bool = false;
    declared!(Lion, Coef);

    fn coef<X: Scalar>(h: &Lion<X>, When { lr, .. }: When<X>, _: &mut [X]) -> Coef<X> {
        let one = X::one();
        Coef { b1: h.beta1, a1: one - h.beta1, b2: h.beta2, a2: one - h.beta2, lr }
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [m]: [F; 1]) -> (F, [F; 1]) {
        let u = signed(-c.lr, c.b1 * m + c.a1 * g);
        (u, [c.b2 * m + c.a2 * g])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, _: [F; 1]) -> F {
        c.lr
    }
}
