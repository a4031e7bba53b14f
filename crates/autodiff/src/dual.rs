//! [`Dual`]: a number with a tangent.

use std::ops::{Add, Div, Mul, Neg, Sub};

use thalweg_core::math::Elementary;
use thalweg_core::{Float, Real, Threads};

use crate::number::{Number, View, ViewMut};

/// `value + tangent·ε` with ε² = 0: the tangent is the derivative along a direction.
///
/// A gradient that is computed on dual parameters `θ + v·ε` is `∇L(θ) + (∇²L(θ)·v)·ε`: its tangents are the exact
/// Hessian-vector product (Pearlmutter 1994, <https://doi.org/10.1162/neco.1994.6.1.147>).
///
/// ```
/// use thalweg_autodiff::{Dual, Workspace};
/// use thalweg_core::{Kind, Layout, Threads};
/// // L(w) = w₀²·w₁ at (3, 5): ∇²L·(1, 0) = (2w₁, 2w₀)
/// let layout = Layout::builder().tensor("w", &[2], &["in"], Kind::Weight).build();
/// let mut theta = vec![Dual::default(); layout.buffer_len()];
/// theta[..2].copy_from_slice(&[Dual::new(3.0, 1.0), Dual::new(5.0, 0.0)]);
/// let mut grads = vec![Dual::default(); layout.buffer_len()];
/// let mut workspace = Workspace::new(Threads::serial());
/// let mut tape = workspace.tape(&layout, &theta);
/// let w = tape.param("w");
/// let (a, b) = (tape.slice(w, 0, 0..1), tape.slice(w, 0, 1..2));
/// let square = tape.mul(a, a);
/// let loss = tape.mul(square, b);
/// tape.backward(loss, &mut grads);
/// assert_eq!((grads[0].tangent, grads[1].tangent), (10.0, 6.0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dual<F> {
    /// The number.
    pub value: F,
    /// Its derivative along the direction.
    pub tangent: F,
}

impl<F: Float> Dual<F> {
    /// `value + tangent·ε`.
    #[inline(always)]
    pub fn new(value: F, tangent: F) -> Self {
        Self { value, tangent }
    }
    /// f(value), with the slope f′ there.
    #[inline(always)]
    fn chain(self, value: F, slope: F) -> Self {
        Self { value, tangent: slope * self.tangent }
    }
}

impl<F: Float> Add for Dual<F> {
    type Output = Self;
    #[inline(always)]
    fn add(self, b: Self) -> Self {
        Self::new(self.value + b.value, self.tangent + b.tangent)
    }
}
impl<F: Float> Sub for Dual<F> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        Self::new(self.value - b.value, self.tangent - b.tangent)
    }
}
impl<F: Float> Mul for Dual<F> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        Self::new(self.value * b.value, self.tangent * b.value + self.value * b.tangent)
    }
}
impl<F: Float> Div for Dual<F> {
    type Output = Self;
    #[inline(always)]
    fn div(self, b: Self) -> Self {
        let value = self.value / b.value;
        Self::new(value, (self.tangent - value * b.tangent) / b.value)
    }
}
impl<F: Float> Neg for Dual<F> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self::new(-self.value, -self.tangent)
    }
}

impl<F: Float> Real for Dual<F> {
    type Mask = bool;
    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        Self::new(F::from_f64(x), F::zero())
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        let root = self.value.sqrt();
        self.chain(root, F::from_f64(0.5) / root)
    }
    #[inline]
    fn pow(self, y: Self) -> Self {
        let power = self.value.pow(y.value);
        let of_base = self.tangent * y.value * self.value.pow(y.value - F::one());
        // A constant power asks for no logarithm, which 0 has not.
        let of_power = y.tangent * power * Elementary::ln(self.value);
        Self::new(power, of_base + if y.tangent == F::zero() { F::zero() } else { of_power })
    }
    #[inline(always)]
    fn abs(self) -> Self {
        if self.value.lt(F::zero()) { -self } else { self }
    }
    #[inline(always)]
    fn lt(self, other: Self) -> bool {
        self.value.lt(other.value)
    }
    #[inline(always)]
    fn select(mask: bool, a: Self, b: Self) -> Self {
        if mask { a } else { b }
    }
}

impl<F: Float + Number<Base = F>> Number for Dual<F> {
    type Base = F;
    #[inline(always)]
    fn from_base(x: F) -> Self {
        Self::new(x, F::zero())
    }
    #[inline(always)]
    fn base(self) -> F {
        self.value
    }
    #[inline(always)]
    fn exp(self) -> Self {
        let y = Elementary::exp(self.value);
        self.chain(y, y)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        self.chain(Elementary::ln(self.value), F::one() / self.value)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        let y = Elementary::tanh(self.value);
        self.chain(y, F::one() - y * y)
    }
    #[inline(always)]
    fn erf(self) -> Self {
        let slope =
            F::from_f64(std::f64::consts::FRAC_2_SQRT_PI) * Elementary::exp(-(self.value * self.value));
        self.chain(Elementary::erf(self.value), slope)
    }
    #[inline(always)]
    fn sigmoid(self) -> Self {
        let y = Elementary::sigmoid(self.value);
        self.chain(y, y * (F::one() - y))
    }
    #[inline(always)]
    fn softplus(self) -> Self {
        self.chain(Elementary::softplus(self.value), Elementary::sigmoid(self.value))
    }
    fn product(
        _: &Threads,
        alpha: Self,
        a: View<'_, Self>,
        b: View<'_, Self>,
        beta: Self,
        c: ViewMut<'_, Self>,
    ) {
        assert!(
            a.cols == b.rows && a.rows == c.rows && b.cols == c.cols,
            "the sizes of a product do not fit"
        );
        for i in 0..a.rows {
            for j in 0..b.cols {
                let mut sum = Self::zero();
                for p in 0..a.cols {
                    sum = sum + a.data[i * a.row + p * a.col] * b.data[p * b.row + j * b.col];
                }
                let c = &mut c.data[i * c.row + j * c.col];
                *c = if beta == Self::zero() { alpha * sum } else { alpha * sum + beta * *c };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each function's tangent against a central difference; h = ε^(1/3), so the error is of the order h² = 4e−11.
    #[test]
    fn tangents_are_slopes() {
        type Unary = (fn(f64) -> f64, fn(Dual<f64>) -> Dual<f64>);
        let all: [Unary; 10] = [
            (Number::exp, Number::exp),
            (Number::ln, Number::ln),
            (Number::tanh, Number::tanh),
            (Number::erf, Number::erf),
            (Number::sigmoid, Number::sigmoid),
            (Number::softplus, Number::softplus),
            (Real::sqrt, Real::sqrt),
            (|x| x.pow(1.7), |x| x.pow(Dual::from_f64(1.7))),
            (|x| x.pow(x), |x| x.pow(x)),
            (|x| 1.0 / (x * x - 7.0), |x| Dual::one() / (x * x - Dual::from_f64(7.0))),
        ];
        let h = 6e-6;
        for (k, (f, dual)) in all.into_iter().enumerate() {
            for x in [0.3, 0.9, 1.7, 2.2] {
                let y = dual(Dual::new(x, 1.0));
                assert_eq!(y.value, f(x));
                let slope = (f(x + h) - f(x - h)) / (2.0 * h);
                assert!((y.tangent - slope).abs() < 1e-9, "function {k} at {x}: {} and {slope}", y.tangent);
            }
        }
    }
}
