//! Adadelta. Zeiler 2012, Algorithm 1, <https://arxiv.org/abs/1212.5701>.
//! ```text
//! v ← ρ v + (1 − ρ) g²
//! Δ = √(d + ε) / √(v + ε) · g
//! d ← ρ d + (1 − ρ) Δ²
//! θ ← θ − η Δ
//! ```
//! For problems whose scale is unknown: steps are measured in units of earlier steps, so η = 1 is the paper's rule. Starts
//! slowly, by √ε. Memory: 2 numbers a parameter (v, d). Differs from the paper as PyTorch does: η multiplies the step. optax is
//! the same; Keras has ρ = 0.95, ε = 1e-7 and a rate of 0.001, which is hardly a step.

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use crate::arithmetic::ratio;
use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

/// ρ.
pub const RHO: Hyper = Hyper::new("rho", 0.9, Range::UNIT, "decay ρ of both mean squares per step");
/// ε.
pub const EPS: Hyper =
    Hyper::new("eps", 1e-6, Range::NON_NEGATIVE, "ε, under both roots; sets the size of the first steps");

hyper! {
    /// Δ = √(d + ε)/√(v + ε)·g; θ ← θ − η Δ.
    pub struct Adadelta {
        rho = RHO;
        eps = EPS;
    }
}

coef! {
    /// The scalars of a step.
    pub struct Coef {
        a,
        b,
        eps,
        lr,
    }
}

impl Rule<2> for Adadelta {
    const NAME: &'static str = "adadelta";
    const STATE: [Slot; 2] = [Slot::non_negative("square_avg"), Slot::non_negative("acc_delta")];
    const PROXIMAL: bool = false;
    declared!(Adadelta, Coef);

    fn coef<X: Scalar>(h: &Adadelta<X>, When { lr, .. }: When<X>, _: &mut [X]) -> Coef<X> {
        Coef { a: h.rho, b: X::one() - h.rho, eps: h.eps, lr }
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, _theta: F, g: F, [v, d]: [F; 2]) -> (F, [F; 2]) {
        let v = c.a * v + c.b * g * g;
        let delta = ratio((d + c.eps).sqrt(), (v + c.eps).sqrt()) * g;
        let d = c.a * d + c.b * delta * delta;
        (-(c.lr * delta), [v, d])
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, [v, d]: [F; 2]) -> F {
        c.lr * ratio((d + c.eps).sqrt(), (v + c.eps).sqrt())
    }
}
