//! Yogi. Zaheer et al. 2018, Algorithm 2,
//! <https://papers.nips.cc/paper/2018/hash/90365351ccc7437a1309dc64e4db32a3-Abstract.html>.
//! ```text
//! m ← β₁ m + (1 − β₁) g
//! v ← v − (1 − β₂) sign(v − g²) g²
//! θ ← θ − α m̂ / (√v̂ + ε)
//! ```
//! Adam whose mean square rises and falls by no more than a share of g²: a burst of small gradients does not make steps large.
//! For sparse gradients and others whose size jumps. Memory: 2 numbers a parameter. Differs from the paper as optax does: both
//! moments are corrected for their start, and both start at `initial_accumulator_value`, so that θ moves a little even without a
//! gradient. Decay is decoupled. PyTorch and Keras do not have it.

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use super::adam::{BETA1, BETA2, Coef, coef};
use crate::arithmetic::ratio;
use crate::rule::{Rule, Scalar, Slot, When, declared, hyper};

/// ε.
pub const EPS: Hyper = Hyper::new("eps", 1e-3, Range::NON_NEGATIVE, "ε, added to √v̂; gradient units");
/// The start of both moments.
pub const START: Hyper = Hyper::new(
    "initial_accumulator_value",
    1e-6,
    Range::NON_NEGATIVE,
    "m and v before the first step; gradient units, and squared",
);

hyper! {
    /// Adam with an additive mean square.
    pub struct Yogi {
        beta1 = BETA1;
        beta2 = BETA2;
        eps = EPS;
        initial_accumulator_value = START;
    }
}

impl Rule<2> for Yogi {
    const NAME: &'static str = "yogi";
    const STATE: [Slot; 2] = [Slot::signed("exp_avg"), Slot::non_negative("exp_avg_sq")];
    declared!(Yogi, Coef);

    fn initial(&self, _: usize) -> f64 {
        self.initial_accumulator_value
    }
    fn coef<X: Scalar>(h: &Yogi<X>, when: When<X>, _: &mut [X]) -> Coef<X> {
        coef(h.beta1, h.beta2, h.eps, when)
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [m, v]: [F; 2]) -> (F, [F; 2]) {
        let m = c.b1 * m + c.a1 * g;
        let square = g * g;
        let by = c.a2 * square;
        let v = F::select(square.lt(v), v - by, F::select(v.lt(square), v + by, v));
        (-ratio(c.step * m, (c.root * v).sqrt() + c.eps), [m, v])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, [_, v]: [F; 2]) -> F {
        ratio(c.lr, (c.root * v).sqrt() + c.eps)
    }
}
