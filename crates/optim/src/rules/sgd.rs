//! Gradient descent. Cauchy 1847; stochastic: Robbins & Monro 1951, <https://doi.org/10.1214/aoms/1177729586>.
//! ```text
//! θ ← θ − η g
//! ```
//! Full batch, one sample and mini-batch differ in what g was summed over, not here. Memory: none.

use thalweg_core::Real;
use thalweg_core::hyper::Hyper;

use crate::rule::{Rule, Slot, When, hyper};

hyper! {
    /// θ ← θ − η g.
    pub struct Sgd {}
}

impl Rule<0> for Sgd {
    const NAME: &'static str = "sgd";
    const STATE: [Slot; 0] = [];
    const HYPER: &'static [Hyper] = Self::DECLARED;
    type Coef<F: Real> = F;

    fn values(&self) -> Vec<f64> {
        self.list()
    }
    fn coef<F: Real>(&self, when: When) -> F {
        F::from_f64(when.lr)
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
