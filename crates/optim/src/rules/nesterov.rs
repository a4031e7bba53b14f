//! Nesterov's accelerated gradient. Nesterov 1983; in the form of Sutskever et al. 2013, section 2, as PyTorch has it.
//! ```text
//! b ← μ b + g
//! θ ← θ − η (g + μ b)
//! ```
//! For smooth convex problems, where it beats gradient descent by about the root of the condition number, and for networks as
//! momentum is. θ is the look-ahead point, at which the gradient is taken.
//!
//! Memory: 1 number a parameter (b). Differs from Nesterov: μ is constant. PyTorch and optax's `sgd(nesterov=True)` have this
//! form; in Keras's η multiplies each gradient on entry, the same while η stays.

use thalweg_core::Real;

use super::momentum::MOMENTUM;
use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

hyper! {
    /// b ← μ b + g; θ ← θ − η (g + μ b).
    pub struct Nesterov {
        momentum = MOMENTUM;
    }
}

coef! {
    /// The scalars of a step.
    pub struct Coef {
        mu,
        lr,
        metric,
    }
}

impl Rule<1> for Nesterov {
    const NAME: &'static str = "sgd";
    const STATE: [Slot; 1] = [Slot::signed("momentum_buffer")];
    declared!(Nesterov, Coef);

    fn coef<X: Scalar>(h: &Nesterov<X>, When { lr, .. }: When<X>, _: &mut [X]) -> Coef<X> {
        // A constant gradient g ends in b = g/(1 − μ), and g + μ b = b.
        Coef { mu: h.momentum, lr, metric: lr / (X::one() - h.momentum) }
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [b]: [F; 1]) -> (F, [F; 1]) {
        let b = c.mu * b + g;
        (-(c.lr * (g + c.mu * b)), [b])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, _: [F; 1]) -> F {
        c.metric
    }
}
