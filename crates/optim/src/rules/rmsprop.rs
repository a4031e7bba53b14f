//! RMSProp. Tieleman & Hinton 2012, lecture 6.5 of "Neural Networks for Machine Learning"; centred: Graves 2013, equations
//! 38 to 45, <https://arxiv.org/abs/1308.0850>.
//! ```text
//! v ← α v + (1 − α) g²
//! ḡ ← α ḡ + (1 − α) g                      centred only
//! d = √v + ε,  centred: √(v − ḡ²) + ε
//! θ ← θ − η g / d                          without momentum
//! b ← μ b + g/d;  θ ← θ − η b              with
//! ```
//! For recurrent networks and reinforcement learning, where the scale of gradients drifts.
//!
//! Memory: 1 number a parameter (v), 1 more with momentum (b), 1 more centred (ḡ). As PyTorch: ε is outside the root, and v
//! starts at 0 without correction. optax (unless `eps_in_sqrt=False`) and Keras have it inside, as Graves; both keep α = 0.9 of v
//! where PyTorch keeps 0.99, and multiply by η before the sum b, not after. Keras's rate is 0.001, its ε 1e-7. Rounding can bring
//! v − ḡ² just below 0; it counts as 0 here (PyTorch gives NaN).
//!
//! Four rules, by what they remember: [`RmsProp`], [`RmsPropMomentum`], [`RmsPropCentered`], [`RmsPropCenteredMomentum`].

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use super::momentum::MOMENTUM;
use crate::arithmetic::ratio;
use crate::rule::{Rule, Scalar, Slot, When, coef, declared, hyper};

/// α.
pub const ALPHA: Hyper = Hyper::new("alpha", 0.99, Range::UNIT, "decay α of the mean square per step");
/// ε.
pub const EPS: Hyper = Hyper::new("eps", 1e-8, Range::NON_NEGATIVE, "ε, added to the root; gradient units");

coef! {
    /// The scalars of a step.
    pub struct Coef {
        a,
        b,
        mu,
        lr,
        eps,
        /// η/(1 − μ): a constant g/d ends in b = g/d/(1 − μ).
        metric,
    }
}

fn coef<X: Scalar>(alpha: X, eps: X, momentum: X, lr: X) -> Coef<X> {
    let one = X::one();
    Coef { a: alpha, b: one - alpha, mu: momentum, lr, eps, metric: lr / (one - momentum) }
}

#[inline(always)]
fn square<F: Real>(c: &Coef<F>, g: F, v: F) -> F {
    c.a * v + c.b * g * g
}

#[inline(always)]
fn centred<F: Real>(v: F, mean: F) -> F {
    (v - mean * mean).at_least(F::zero()).sqrt()
}

macro_rules! rmsprop {
    ($(#[$doc:meta])* $name:ident, $s:literal, [$($slot:expr),*], { $($field:ident = $hyper:expr;)* }, $momentum:expr,
     |$c:ident, $g:ident, [$($state:ident),*]| $element:block, $divisor:expr) => {
        hyper! {
            $(#[$doc])*
            pub struct $name { $($field = $hyper;)* }
        }
        impl Rule<$s> for $name {
            const NAME: &'static str = "rmsprop";
            const STATE: [Slot; $s] = [$($slot),*];
            declared!($name, Coef);

            fn coef<X: Scalar>(h: &$name<X>, When { lr, .. }: When<X>, _: &mut [X]) -> Coef<X> {
                let momentum: fn(&$name<X>) -> X = $momentum;
                coef(h.alpha, h.eps, momentum(h), lr)
            }
            #[inline(always)]
            fn element<F: Real>($c: &Coef<F>, _theta: F, $g: F, [$($state),*]: [F; $s]) -> (F, [F; $s]) $element
            #[inline(always)]
            #[allow(unused_variables, reason = "not every slot enters the divisor")]
            fn metric<F: Real>($c: &Coef<F>, [$($state),*]: [F; $s]) -> F {
                ratio($c.metric, $divisor + $c.eps)
            }
        }
    };
}

rmsprop! {
    /// v ← α v + (1 − α) g²; θ ← θ − η g/(√v + ε).
    RmsProp, 1, [Slot::non_negative("square")], { alpha = ALPHA; eps = EPS; }, |_| X::zero(),
    |c, g, [v]| {
        let v = square(c, g, v);
        (-(c.lr * ratio(g, v.sqrt() + c.eps)), [v])
    }, v.sqrt()
}
rmsprop! {
    /// [`RmsProp`] with a sum of the divided gradients: b ← μ b + g/(√v + ε); θ ← θ − η b.
    RmsPropMomentum, 2, [Slot::non_negative("square"), Slot::signed("momentum_buffer")],
    { alpha = ALPHA; eps = EPS; momentum = MOMENTUM; }, |r| r.momentum,
    |c, g, [v, b]| {
        let v = square(c, g, v);
        let b = c.mu * b + ratio(g, v.sqrt() + c.eps);
        (-(c.lr * b), [v, b])
    }, v.sqrt()
}
rmsprop! {
    /// [`RmsProp`] divided by the standard deviation of g, √(v − ḡ²) + ε, in place of its root mean square.
    RmsPropCentered, 2, [Slot::non_negative("square"), Slot::signed("mean")], { alpha = ALPHA; eps = EPS; }, |_| X::zero(),
    |c, g, [v, mean]| {
        let v = square(c, g, v);
        let mean = c.a * mean + c.b * g;
        (-(c.lr * ratio(g, centred(v, mean) + c.eps)), [v, mean])
    }, centred(v, mean)
}
rmsprop! {
    /// [`RmsPropCentered`] with momentum.
    RmsPropCenteredMomentum, 3, [Slot::non_negative("square"), Slot::signed("mean"), Slot::signed("momentum_buffer")],
    { alpha = ALPHA; eps = EPS; momentum = MOMENTUM; }, |r| r.momentum,
    |c, g, [v, mean, b]| {
        let v = square(c, g, v);
        let mean = c.a * mean + c.b * g;
        let b = c.mu * b + ratio(g, centred(v, mean) + c.eps);
        (-(c.lr * b), [v, mean, b])
    }, centred(v, mean)
}
