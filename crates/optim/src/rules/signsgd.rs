//! signSGD and Signum. Bernstein et al. 2018, Algorithms 1 and 2, <https://arxiv.org/abs/1802.04434>.
//! ```text
//! θ ← θ − η sign(g)                                    signSGD
//! m ← μ m + (1 − μ) g;  θ ← θ − η sign(m)              Signum
//! ```
//! Only signs count: gradients can be sent as one bit, and outliers do no harm. For training over slow networks, and as what Adam
//! becomes without its memory. Memory: none; Signum 1 number a parameter. Decay is decoupled, as in Signum's paper; optax's
//! `sign_sgd` and `signum` have none. PyTorch and Keras do not have them.

use thalweg_core::Real;
use thalweg_core::hyper::Hyper;

use super::momentum::MOMENTUM;
use crate::arithmetic::signed;
use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

/// θ ← θ − η sign(g).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SignSgd;

hyper! {
    /// m ← μ m + (1 − μ) g; θ ← θ − η sign(m).
    pub struct Signum {
        momentum = MOMENTUM;
    }
}

coef! {
    /// The scalars of a step.
    pub struct Coef {
        mu,
        share,
        lr,
    }
}

impl Rule<0> for SignSgd {
    const NAME: &'static str = "signsgd";
    const STATE: [Slot; 0] = [];
    const HYPER: &'static [Hyper] = &[];
    const PROXIMAL: bool = false;
    type With<X: Scalar> = SignSgd;
    type Coef<F: Real> = F;

    fn values(&self) -> Vec<f64> {
        vec![]
    }
    fn with<X: Scalar>(_: &[X]) -> SignSgd {
        SignSgd
    }
    fn coef<X: Scalar>(_: &SignSgd, when: When<X>, _: &mut [X]) -> X {
        when.lr
    }
    fn cast<F: Real>(lr: f64) -> F {
        F::from_f64(lr)
    }
    #[inline(always)]
    fn element<F: Real>(&lr: &F, _theta: F, g: F, _: [F; 0]) -> (F, [F; 0]) {
        (signed(-lr, g), [])
    }
    #[inline(always)]
    fn metric<F: Real>(&lr: &F, _: [F; 0]) -> F {
        lr
    }
}

impl Rule<1> for Signum {
    const NAME: &'static str = "signum";
    const STATE: [Slot; 1] = [Slot::signed("momentum_buffer")];
    const PROXIMAL: bool = false;
    declared!(Signum, Coef);

    fn coef<X: Scalar>(h: &Signum<X>, When { lr, .. }: When<X>, _: &mut [X]) -> Coef<X> {
        Coef { mu: h.momentum, share: X::one() - h.momentum, lr }
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [m]: [F; 1]) -> (F, [F; 1]) {
        let m = c.mu * m + c.share * g;
        (signed(-c.lr, m), [m])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, _: [F; 1]) -> F {
        c.lr
    }
}
