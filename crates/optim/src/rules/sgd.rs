//! Gradient descent. Cauchy 1847; stochastic: Robbins & Monro 1951, <https://doi.org/10.1214/aoms/1177729586>.
//! ```text
//! θ ← θ − η g
//! ```
//! For smooth and convex problems whose curvature L is known, where η = 1/L is safe, and wherever memory is all that counts. Full
//! batch, one sample and mini-batch differ in what g was summed over, not here.
//!
//! Memory: none. PyTorch and optax have the same step; PyTorch's rate is 0.001 where nothing is said, as here, Keras's 0.01, and
//! optax has no default. Decay is coupled, as in PyTorch; Keras's `weight_decay` is decoupled, optax's `add_decayed_weights`
//! before it is this.

use thalweg_core::Real;
use thalweg_core::hyper::Hyper;

use crate::rule::{Rule, Scalar, Slot, When};

/// θ ← θ − η g.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sgd;

impl Rule<0> for Sgd {
    const NAME: &'static str = "sgd";
    const STATE: [Slot; 0] = [];
    const HYPER: &'static [Hyper] = &[];
    type With<X: Scalar> = Sgd;
    type Coef<F: Real> = F;

    fn values(&self) -> Vec<f64> {
        vec![]
    }
    fn with<X: Scalar>(_: &[X]) -> Sgd {
        Sgd
    }
    fn coef<X: Scalar>(_: &Sgd, when: When<X>, _: &mut [X]) -> X {
        when.lr
    }
    fn cast<F: Real>(lr: f64) -> F {
        F::from_f64(lr)
    }
    #[inline(always)]
    fn element<F: Real>(&lr: &F, _theta: F, g: F, _: [F; 0]) -> (F, [F; 0]) {
        (-(lr * g), [])
    }
    #[inline(always)]
    fn metric<F: Real>(&lr: &F, _: [F; 0]) -> F {
        lr
    }
}
