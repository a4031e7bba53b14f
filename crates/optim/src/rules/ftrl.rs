//! FTRL-proximal. McMahan et al. 2013, Algorithm 1, <https://doi.org/10.1145/2487575.2488200>.
//! ```text
//! σ = (r(n + g²) − r(n))/η          r(n) = n^−learning_rate_power, √n if nothing is said
//! z ← z + g + 2 s θ − σθ            n ← n + g²
//! θ ← (clamp(z, −λ₁, λ₁) − z) / ((β + r(n))/η + 2 λ₂)
//! ```
//! For sparse linear models on streams (clicks, hashed features): AdaGrad's rates with exact zeros from λ₁. Memory: 2 numbers a
//! parameter. As Keras: λ₂ counts twice, z starts at 0, so the first step forgets where θ started; s is `l2_shrinkage`. PyTorch
//! and optax do not have it. Powers other than −½ are a rule of their own, [`FtrlPower`]: a power of each number costs ten times
//! a root.

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use crate::arithmetic::ratio;
use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

/// The power of n, negated.
pub const POWER: Hyper = Hyper::new(
    "learning_rate_power",
    -0.5,
    Range::new(f64::NEG_INFINITY, true, 0.0, false),
    "rates go as n to this power: -0.5, they fall as 1/√n; 0, they stay",
);
/// n at the start.
pub const START: Hyper = Hyper::new(
    "initial_accumulator_value",
    0.1,
    Range::NON_NEGATIVE,
    "n before the first step; gradient units squared",
);
/// λ₁.
pub const L1: Hyper =
    Hyper::new("l1", 0.0, Range::NON_NEGATIVE, "λ₁: coordinates with |z| ≤ λ₁ are exactly 0");
/// λ₂.
pub const L2: Hyper = Hyper::new("l2", 0.0, Range::NON_NEGATIVE, "λ₂: pulls θ towards 0");
/// s.
pub const SHRINKAGE: Hyper =
    Hyper::new("l2_shrinkage", 0.0, Range::NON_NEGATIVE, "s: 2sθ is added to the gradient in z");
/// β.
pub const BETA: Hyper = Hyper::new("beta", 0.0, Range::NON_NEGATIVE, "β: added to r(n); gradient units");

hyper! {
    /// Follow the regularised leader, coordinate by coordinate.
    pub struct Ftrl {
        initial_accumulator_value = START;
        l1 = L1;
        l2 = L2;
        l2_shrinkage = SHRINKAGE;
        beta = BETA;
    }
}

hyper! {
    /// [`Ftrl`] with rates that fall as any power of n.
    pub struct FtrlPower {
        learning_rate_power = POWER;
        initial_accumulator_value = START;
        l1 = L1;
        l2 = L2;
        l2_shrinkage = SHRINKAGE;
        beta = BETA;
    }
}

coef! {
    /// The scalars of a step.
    pub struct Coef {
        /// 1/η.
        inverse,
        l1,
        /// 2s.
        shrink,
        /// β/η + 2λ₂.
        more,
        lr,
        /// r(n) = n^power; ½ in [`Ftrl`], which takes roots.
        power,
    }
}

impl<X: Scalar> Coef<X> {
    fn new(lr: X, power: X, [l1, l2, l2_shrinkage, beta]: [X; 4]) -> Self {
        let (zero, two) = (X::zero(), X::from_f64(2.0));
        let inverse = X::select(zero.lt(lr), X::one() / lr, zero);
        Self { inverse, l1, shrink: two * l2_shrinkage, more: beta * inverse + two * l2, lr, power }
    }
}

#[inline(always)]
fn element<F: Real>(c: &Coef<F>, theta: F, g: F, [z, n]: [F; 2], r: impl Fn(F) -> F) -> (F, [F; 2]) {
    let more = n + g * g;
    let after = r(more);
    let sigma = (after - r(n)) * c.inverse;
    let z = z + (g + c.shrink * theta) - sigma * theta;
    let clamped = z.at_least(-c.l1).at_most(c.l1);
    let next = ratio(clamped - z, after * c.inverse + c.more);
    (F::select(F::zero().lt(c.lr), next - theta, F::zero()), [z, more])
}

impl Rule<2> for Ftrl {
    const NAME: &'static str = "ftrl";
    const STATE: [Slot; 2] = [Slot::signed("linear"), Slot::non_negative("accumulator")];
    const PROXIMAL: bool = false;
    declared!(Ftrl, Coef);

    fn initial(&self, k: usize) -> f64 {
        if k == 1 { self.initial_accumulator_value } else { 0.0 }
    }
    fn coef<X: Scalar>(h: &Ftrl<X>, When { lr, .. }: When<X>, _: &mut [X]) -> Coef<X> {
        Coef::new(lr, X::from_f64(0.5), [h.l1, h.l2, h.l2_shrinkage, h.beta])
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, theta: F, g: F, s: [F; 2]) -> (F, [F; 2]) {
        element(c, theta, g, s, F::sqrt)
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, [_, n]: [F; 2]) -> F {
        ratio(F::one(), n.sqrt() * c.inverse + c.more)
    }
}

impl Rule<2> for FtrlPower {
    const NAME: &'static str = "ftrl";
    const STATE: [Slot; 2] = Ftrl::STATE;
    const PROXIMAL: bool = false;
    declared!(FtrlPower, Coef);

    fn initial(&self, k: usize) -> f64 {
        if k == 1 { self.initial_accumulator_value } else { 0.0 }
    }
    fn coef<X: Scalar>(h: &FtrlPower<X>, When { lr, .. }: When<X>, _: &mut [X]) -> Coef<X> {
        Coef::new(lr, -h.learning_rate_power, [h.l1, h.l2, h.l2_shrinkage, h.beta])
    }
    #[inline(always)]
    fn element<F: Real>(c: &Coef<F>, theta: F, g: F, s: [F; 2]) -> (F, [F; 2]) {
        element(c, theta, g, s, |n| n.pow(c.power))
    }
    #[inline(always)]
    fn metric<F: Real>(c: &Coef<F>, [_, n]: [F; 2]) -> F {
        ratio(F::one(), n.pow(c.power) * c.inverse + c.more)
    }
}
