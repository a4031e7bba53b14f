//! Momentum, the heavy ball. Polyak 1964, <https://doi.org/10.1016/0041-5553(64)90137-5>; in PyTorch's form.
//! ```text
//! b ← g                    t = 1
//! b ← μ b + (1 − τ) g      t = 2, 3, …
//! θ ← θ − η b
//! ```
//! For badly conditioned problems, where it needs the root of gradient descent's steps, and for most networks that SGD trains.
//!
//! Memory: 1 number a parameter (b). Differs from Polyak: η multiplies the sum, not each gradient on entry, so a new rate acts on
//! the whole of b at once; the two agree while η stays the same. PyTorch and optax's `sgd` do the same, Keras has Polyak's form.
//! τ is PyTorch's `dampening`, which leaves the first step undamped; optax and Keras have none.

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

/// μ, for this rule and Nesterov's.
pub const MOMENTUM: Hyper =
    Hyper::new("momentum", 0.9, Range::UNIT, "decay μ of the sum of gradients per step");

/// τ.
pub const DAMPENING: Hyper =
    Hyper::new("dampening", 0.0, Range::UNIT, "share τ of each new gradient that is left out");

hyper! {
    /// b ← μ b + (1 − τ) g; θ ← θ − η b.
    pub struct Momentum {
        momentum = MOMENTUM;
        dampening = DAMPENING;
    }
}

coef! {
    /// The scalars of a step.
    pub struct Coef {
        mu,
        share,
        lr,
        metric,
    }
}

impl Rule<1> for Momentum {
    const NAME: &'static str = "sgd";
    const STATE: [Slot; 1] = [Slot::signed("momentum_buffer")];
    declared!(Momentum, Coef);

    fn coef<X: Scalar>(h: &Momentum<X>, When { t, lr }: When<X>, _: &mut [X]) -> Coef<X> {
        let one = X::one();
        let share = X::select(one.lt(t), one - h.dampening, one);
        // A constant gradient g ends in b = g·(1 − τ)/(1 − μ).
        let metric = lr * (one - h.dampening) / (one - h.momentum);
        Coef { mu: h.momentum, share, lr, metric }
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [b]: [F; 1]) -> (F, [F; 1]) {
        let b = c.mu * b + c.share * g;
        (-(c.lr * b), [b])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, _: [F; 1]) -> F {
        c.metric
    }
}
