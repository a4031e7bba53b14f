//! Nesterov's accelerated gradient. Nesterov 1983; in the form of Sutskever et al. 2013, section 2, as PyTorch has it.
//! ```text
//! b ← μ b + g
//! θ ← θ − η (g + μ b)
//! ```
//! θ is the look-ahead point, at which the gradient is taken. Differs from Nesterov: μ is constant.

use thalweg_core::Real;
use thalweg_core::hyper::Hyper;

use super::momentum::MOMENTUM;
use crate::rule::{Rule, Slot, When, hyper};

hyper! {
    /// b ← μ b + g; θ ← θ − η (g + μ b).
    pub struct Nesterov {
        momentum = MOMENTUM;
    }
}

/// The scalars of a step.
#[derive(Clone, Copy, Debug)]
pub struct Coef<F> {
    mu: F,
    lr: F,
    metric: F,
}

impl Rule<1> for Nesterov {
    const NAME: &'static str = "sgd";
    const STATE: [Slot; 1] = [Slot::signed("momentum")];
    const HYPER: &'static [Hyper] = Self::DECLARED;
    type Coef<F: Real> = Coef<F>;

    fn values(&self) -> Vec<f64> {
        self.list()
    }
    fn coef<F: Real>(&self, When { lr, .. }: When) -> Coef<F> {
        // A constant gradient g ends in b = g/(1 − μ), and g + μ b = b.
        let metric = lr / (1.0 - self.momentum);
        Coef { mu: F::from_f64(self.momentum), lr: F::from_f64(lr), metric: F::from_f64(metric) }
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
