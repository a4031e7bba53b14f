//! AdaGrad. Duchi, Hazan & Singer 2011, <https://jmlr.org/papers/v12/duchi11a.html>, the diagonal form.
//! ```text
//! G ← G + g²
//! θ ← θ − η/(1 + (t − 1) λ) · g / (√G + ε)
//! ```
//! For sparse features, whose rates stay large until they have been seen, and for convex problems with noise: rates fall by
//! themselves as the theory asks. On long runs of networks they fall too far.
//!
//! Memory: 1 number a parameter (G). Differs from the paper as PyTorch does: a decay λ of the rate (0 by default), and G starts at a
//! value that can be chosen. PyTorch adds ε = 1e-10 to the root and starts G at 0, as here; optax and Keras have ε = 1e-7 under the
//! root, start G at 0.1, and have no decay of the rate, which Keras sets to 0.001.

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use crate::arithmetic::ratio;
use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

hyper! {
    /// G ← G + g²; θ ← θ − η g/(√G + ε).
    pub struct Adagrad {
        lr_decay = Hyper::new("lr_decay", 0.0, Range::NON_NEGATIVE, "λ: the rate is divided by 1 + (t − 1)·λ");
        initial_accumulator_value =
            Hyper::new("initial_accumulator_value", 0.0, Range::NON_NEGATIVE, "G before the first step; gradient units squared");
        eps = Hyper::new("eps", 1e-10, Range::NON_NEGATIVE, "ε, added to √G; gradient units");
    }
}

coef! {
    /// The scalars of a step.
    pub struct Coef {
        lr,
        eps,
    }
}

impl Rule<1> for Adagrad {
    const NAME: &'static str = "adagrad";
    const STATE: [Slot; 1] = [Slot::non_negative("sum")];
    declared!(Adagrad, Coef);

    fn initial(&self, _: usize) -> f64 {
        self.initial_accumulator_value
    }
    fn coef<X: Scalar>(h: &Adagrad<X>, When { t, lr }: When<X>, _: &mut [X]) -> Coef<X> {
        Coef { lr: lr / (X::one() + (t - X::one()) * h.lr_decay), eps: h.eps }
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [sum]: [F; 1]) -> (F, [F; 1]) {
        let sum = sum + g * g;
        (-(c.lr * ratio(g, sum.sqrt() + c.eps)), [sum])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, [sum]: [F; 1]) -> F {
        ratio(c.lr, sum.sqrt() + c.eps)
    }
}
