//! Optimistic gradient descent and Adam. Daskalakis, Ilyas, Syrgkanis & Zeng 2018, <https://arxiv.org/abs/1711.00141>; Mokhtari,
//! Ozdaglar & Pattathil 2020, <https://arxiv.org/abs/1901.08511>.
//! ```text
//! θ ← θ − η ((α + β) d − β d₋₁)        d: the gradient, or Adam's direction;  d₋₁ = d at the first step
//! ```
//! For games and saddle points, as GANs and constrained problems with multipliers: gradient descent circles around their solutions,
//! and the last step's direction, taken back, damps the circle. On a minimum it is gradient descent.
//!
//! Memory: 1 number a parameter (d₋₁); with Adam's direction 3 (m, v, d₋₁). As optax's `optimistic_gradient_descent` and
//! `optimistic_adam_v2`, whose Adam mixes the gradient in once more when nothing is said (`nesterov=True`), as here. The decay is
//! coupled; optax's have none. PyTorch and Keras do not have them.

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use super::adam::{BETA1, BETA2, EPS};
use crate::arithmetic::{mixed, mixed_square, ratio};
use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

/// α.
pub const ALPHA: Hyper = Hyper::new("alpha", 1.0, Range::POSITIVE, "α: what the direction counts");
/// β.
pub const BETA: Hyper =
    Hyper::new("beta", 1.0, Range::NON_NEGATIVE, "β: what the direction's change since the last step counts");
/// Whether Adam's direction is NAdam's.
pub const NESTEROV: Hyper =
    Hyper::new("nesterov", 1.0, Range::SWITCH, "mix the gradient into Adam's mean once more");

hyper! {
    /// θ ← θ − η ((α + β) g − β g₋₁).
    pub struct OptimisticSgd {
        alpha = ALPHA;
        beta = BETA;
    }
}

hyper! {
    /// [`OptimisticSgd`] along Adam's direction.
    pub struct OptimisticAdam {
        alpha = ALPHA;
        beta = BETA;
        beta1 = BETA1;
        beta2 = BETA2;
        eps = EPS;
        nesterov = NESTEROV;
    }
}

coef! {
    /// The scalars of a step of [`OptimisticSgd`].
    pub struct Coef {
        /// α + β; α at the first step, where the direction before counts as this one.
        now,
        /// β; 0 at the first step.
        before,
        lr,
        metric,
    }
}

coef! {
    /// The scalars of a step of [`OptimisticAdam`].
    pub struct AdamCoef {
        b1,
        a1,
        b2,
        a2,
        /// What m counts in the direction,
        of_m,
        /// and g.
        of_g,
        root,
        eps,
        now,
        before,
        lr,
        metric,
    }
}

/// What the direction and the one before count.
fn shares<X: Scalar>(alpha: X, beta: X, t: X) -> (X, X) {
    let before = X::select(X::one().lt(t), beta, X::zero());
    (alpha + before, before)
}

impl Rule<1> for OptimisticSgd {
    const NAME: &'static str = "optimistic_sgd";
    const STATE: [Slot; 1] = [Slot::signed("previous_grad")];
    declared!(OptimisticSgd, Coef);

    fn coef<X: Scalar>(h: &OptimisticSgd<X>, When { t, lr }: When<X>, _: &mut [X]) -> Coef<X> {
        let (now, before) = shares(h.alpha, h.beta, t);
        // A constant gradient has no change.
        Coef { now, before, lr, metric: lr * h.alpha }
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [last]: [F; 1]) -> (F, [F; 1]) {
        (-(c.lr * (c.now * g - c.before * last)), [g])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, _: [F; 1]) -> F {
        c.metric
    }
}

impl Rule<3> for OptimisticAdam {
    const NAME: &'static str = "optimistic_adam";
    const STATE: [Slot; 3] =
        [Slot::signed("exp_avg"), Slot::non_negative("exp_avg_sq"), Slot::signed("previous_direction")];
    // v drifts even where the gradient rests, and the direction with it: its change, times β, would shift the point of rest.
    const PROXIMAL: bool = false;
    declared!(OptimisticAdam, AdamCoef);

    fn coef<X: Scalar>(h: &OptimisticAdam<X>, When { t, lr }: When<X>, _: &mut [X]) -> AdamCoef<X> {
        let (zero, one) = (X::zero(), X::one());
        let (now, before) = shares(h.alpha, h.beta, t);
        let nesterov = zero.lt(h.nesterov);
        let (this, next) = (one - h.beta1.pow(t), one - h.beta1.pow(t + one));
        AdamCoef {
            b1: h.beta1,
            a1: one - h.beta1,
            b2: h.beta2,
            a2: one - h.beta2,
            of_m: X::select(nesterov, h.beta1 / next, one / this),
            of_g: X::select(nesterov, (one - h.beta1) / this, zero),
            root: one / (one - h.beta2.pow(t)),
            eps: h.eps,
            now,
            before,
            lr,
            metric: lr * h.alpha,
        }
    }
    #[inline(always)]
    fn element<F: Real>(c: &AdamCoef<F>, _theta: F, g: F, [m, v, last]: [F; 3]) -> (F, [F; 3]) {
        let (m, v) = (mixed(c.b1, m, c.a1, g), mixed_square(c.b2, v, c.a2, g));
        let d = ratio(mixed(c.of_m, m, c.of_g, g), (c.root * v).sqrt() + c.eps);
        (-(c.lr * (c.now * d - c.before * last)), [m, v, d])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &AdamCoef<F>, [_, v, _]: [F; 3]) -> F {
        ratio(c.metric, (c.root * v).sqrt() + c.eps)
    }
}
