//! Rprop. Riedmiller & Braun 1993, <https://doi.org/10.1109/ICNN.1993.298623>; the variant iRprop− of Igel & Hüsken 2000.
//! ```text
//! s ← clamp(s · η⁺, min, max)       where g·g₋₁ > 0
//! s ← clamp(s · η⁻, min, max), g ← 0     where g·g₋₁ < 0
//! θ ← θ − sign(g) s
//! ```
//! For full-batch training: each coordinate finds its own step from the signs of its gradients. With mini-batches it fails.
//! Memory: 2 numbers a parameter. As PyTorch: the learning rate is the first s, and later rates of a schedule count only where
//! they are 0, which stops all movement. optax has the same numbers, but cuts s to its bounds only where it changes. Keras has
//! none.

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use crate::arithmetic::signed;
use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

/// η⁻.
pub const ETAMINUS: Hyper =
    Hyper::new("etaminus", 0.5, Range::new(0.0, true, 1.0, true), "η⁻: factor of s after a change of sign");
/// η⁺.
pub const ETAPLUS: Hyper = Hyper::new(
    "etaplus",
    1.2,
    Range::new(1.0, true, f64::INFINITY, true),
    "η⁺: factor of s while the sign stays",
);
/// The smallest step.
pub const MIN: Hyper = Hyper::new("step_size_min", 1e-6, Range::POSITIVE, "smallest s; parameter units");
/// The largest step.
pub const MAX: Hyper = Hyper::new("step_size_max", 50.0, Range::POSITIVE, "largest s; parameter units");

hyper! {
    /// A step for each coordinate, from signs alone.
    pub struct Rprop {
        etaminus = ETAMINUS;
        etaplus = ETAPLUS;
        step_size_min = MIN;
        step_size_max = MAX;
    }
}

coef! {
    /// The scalars of a step.
    pub struct Coef {
        less,
        more,
        min,
        max,
        lr,
        /// 1, or 0 where the rate is 0.
        go,
    }
}

impl Rule<2> for Rprop {
    const NAME: &'static str = "rprop";
    const STATE: [Slot; 2] = [Slot::signed("prev"), Slot::non_negative("step_size")];
    const PROXIMAL: bool = false;
    declared!(Rprop, Coef);

    fn coef<X: Scalar>(h: &Rprop<X>, When { lr, .. }: When<X>, _: &mut [X]) -> Coef<X> {
        let go = X::select(X::zero().lt(lr), X::one(), X::zero());
        let (less, more) = (h.etaminus, h.etaplus);
        Coef { less, more, min: h.step_size_min, max: h.step_size_max, lr, go }
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [last, s]: [F; 2]) -> (F, [F; 2]) {
        let zero = F::zero();
        let agree = g * last;
        let s = F::select(zero.lt(s), s, c.lr);
        let factor = F::select(zero.lt(agree), c.more, F::select(agree.lt(zero), c.less, F::one()));
        let s = (s * factor).at_least(c.min).at_most(c.max);
        let g = F::select(agree.lt(zero), zero, g);
        (signed(-(c.go * s), g), [g, s])
    }
    #[inline(always)]
    fn metric<F: Real>(_: &Coef<F>, [_, s]: [F; 2]) -> F {
        s
    }
}
