//! AdaBound and AMSBound. Luo et al. 2019, Algorithms 2 and 3, <https://arxiv.org/abs/1902.09843>.
//! ```text
//! m ← β₁ m + (1 − β₁) g             v ← β₂ v + (1 − β₂) g²
//! w = v,  AMSBound: w ← max(w, v)
//! low = η∞ (1 − 1/(γt + 1))         high = η∞ (1 + 1/(γt))
//! θ ← θ − clamp(α √(1 − β₂ᵗ)/(1 − β₁ᵗ)/(√w + ε), low, high) · m
//! ```
//! Starts as Adam and ends as SGD with momentum at the rate η∞: for networks that should start fast and end as SGD does. Memory:
//! 2 numbers a parameter (m, v), AMSBound 3 (w). As the authors' code, which has ε and the corrections for the start that the
//! paper leaves out, and scales the bounds with the schedule (here by the rate's share of the largest one so far); decay is
//! decoupled. PyTorch, optax and Keras do not have it.

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use super::adam::{BETA1, BETA2, EPS};
use crate::arithmetic::ratio;
use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

/// η∞.
pub const FINAL_LR: Hyper =
    Hyper::new("final_lr", 0.1, Range::POSITIVE, "η∞: the rate of SGD that both bounds end at");
/// γ.
pub const GAMMA: Hyper = Hyper::new("gamma", 1e-3, Range::POSITIVE, "γ: how fast the bounds close, per step");

hyper! {
    /// Adam between bounds that close.
    pub struct AdaBound {
        final_lr = FINAL_LR;
        beta1 = BETA1;
        beta2 = BETA2;
        eps = EPS;
        gamma = GAMMA;
    }
}

hyper! {
    /// [`AdaBound`] with the largest mean square so far.
    pub struct AmsBound {
        final_lr = FINAL_LR;
        beta1 = BETA1;
        beta2 = BETA2;
        eps = EPS;
        gamma = GAMMA;
    }
}

coef! {
    /// The scalars of a step.
    pub struct Coef {
        b1,
        a1,
        b2,
        a2,
        /// α √(1 − β₂ᵗ)/(1 − β₁ᵗ).
        step,
        eps,
        low,
        high,
    }
}

/// The largest rate so far.
const LARGEST: &[(&str, f64)] = &[("largest_lr", 0.0)];

fn coef<X: Scalar>(h: &AdaBound<X>, When { t, lr }: When<X>, scalars: &mut [X]) -> Coef<X> {
    let one = X::one();
    scalars[0] = scalars[0].at_least(lr);
    let end = h.final_lr * X::select(X::zero().lt(scalars[0]), lr / scalars[0], X::zero());
    let (c1, c2) = (one - h.beta1.pow(t), one - h.beta2.pow(t));
    Coef {
        b1: h.beta1,
        a1: one - h.beta1,
        b2: h.beta2,
        a2: one - h.beta2,
        step: lr * c2.sqrt() / c1,
        eps: h.eps,
        low: end * (one - one / (h.gamma * t + one)),
        high: end * (one + one / (h.gamma * t)),
    }
}

#[inline(always)]
fn bounded<F: Real>(c: &Coef<F>, w: F) -> F {
    // 0/0: nothing has come in yet, and m is 0 too.
    ratio(c.step, w.sqrt() + c.eps).at_least(c.low).at_most(c.high)
}

impl Rule<2> for AdaBound {
    const NAME: &'static str = "adabound";
    const STATE: [Slot; 2] = [Slot::signed("exp_avg"), Slot::non_negative("exp_avg_sq")];
    const SCALARS: &'static [(&'static str, f64)] = LARGEST;
    declared!(AdaBound, Coef);

    fn coef<X: Scalar>(h: &AdaBound<X>, when: When<X>, scalars: &mut [X]) -> Coef<X> {
        coef(h, when, scalars)
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [m, v]: [F; 2]) -> (F, [F; 2]) {
        let m = c.b1 * m + c.a1 * g;
        let v = c.b2 * v + c.a2 * g * g;
        (-(bounded(c, v) * m), [m, v])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, [_, v]: [F; 2]) -> F {
        bounded(c, v)
    }
}

impl Rule<3> for AmsBound {
    const NAME: &'static str = "amsbound";
    const STATE: [Slot; 3] =
        [Slot::signed("exp_avg"), Slot::non_negative("exp_avg_sq"), Slot::non_negative("max_exp_avg_sq")];
    const SCALARS: &'static [(&'static str, f64)] = LARGEST;
    declared!(AmsBound, Coef);

    fn coef<X: Scalar>(h: &AmsBound<X>, when: When<X>, scalars: &mut [X]) -> Coef<X> {
        let AmsBound { final_lr, beta1, beta2, eps, gamma } = *h;
        coef(&AdaBound { final_lr, beta1, beta2, eps, gamma }, when, scalars)
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [m, v, w]: [F; 3]) -> (F, [F; 3]) {
        let m = c.b1 * m + c.a1 * g;
        let v = c.b2 * v + c.a2 * g * g;
        let w = w.at_least(v);
        (-(bounded(c, w) * m), [m, v, w])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, [_, _, w]: [F; 3]) -> F {
        bounded(c, w)
    }
}
