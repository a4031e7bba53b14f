//! [`Dual`]: a number with a tangent.

use std::ops::{Add, Div, Mul, Neg, Sub};

use thalweg_core::gemm::{Finish, Gather, Mat, MatMut, gemm};
use thalweg_core::math::Elementary;
use thalweg_core::{Float, Real, Threads, isa};

use crate::number::{Columns, Number, View, ViewMut};

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
#[repr(C)]
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

impl<F: Float> Number for Dual<F> {
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
    fn erf_and_exp(self) -> (Self, Self) {
        (self.erf(), (-(self * self)).exp())
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
    /// Three products of values and tangents, which lie between each other: `AB + (A′B + AB′)·ε`.
    fn product(
        threads: &Threads,
        alpha: Self,
        a: View<'_, Self>,
        b: View<'_, Self>,
        beta: Self,
        c: ViewMut<'_, Self>,
    ) {
        assert!(
            alpha.tangent == F::zero() && beta.tangent == F::zero(),
            "the factors of a product are constants"
        );
        if c.rows == 0 || c.cols == 0 {
            return;
        }
        let ViewMut { data, rows, cols, row, col } = c;
        let mut add = |i: usize, j: usize, beta: F| {
            let c = MatMut::strided(numbers_mut(data, i | j), rows, cols, 2 * row, 2 * col);
            gemm(threads, alpha.value, part(a, i), part(b, j), beta, c);
        };
        add(1, 0, beta.value);
        add(0, 1, F::one());
        add(0, 0, beta.value);
    }
    fn scratch<R>(len: usize, f: impl FnOnce(&mut [Self]) -> R) -> R {
        f(&mut vec![Self::default(); len])
    }
    type Packed<'a> = View<'a, Self>;
    fn room(rows: usize, cols: usize) -> usize {
        rows * cols
    }
    fn pack(_: &Threads, b: View<'_, Self>, room: &mut [Self]) {
        for p in 0..b.rows {
            for j in 0..b.cols {
                room[p * b.cols + j] = b.data[p * b.row + j * b.col];
            }
        }
    }
    fn packed(room: &[Self], rows: usize, cols: usize) -> View<'_, Self> {
        View::new(room, rows, cols)
    }
    fn gather(
        a: Gather<'_, Self>,
        b: Columns<'_, Self>,
        c: &mut [Self],
        starts: &[u32],
        finish: Finish<'_, Self>,
    ) {
        let (Columns::Packed(b) | Columns::Rows(b)) = b;
        assert!(
            b.rows == a.segments.len() * a.len && a.rows.len() == starts.len() && b.col == 1,
            "the sizes of a product do not fit"
        );
        isa::run(
            #[inline(always)]
            || {
                for (&row, &start) in a.rows.iter().zip(starts) {
                    let c = &mut c[start as usize..][..b.cols];
                    if finish.beta == Self::zero() {
                        c.fill(Self::zero());
                    } else {
                        c.iter_mut().for_each(|c| *c = finish.beta * *c);
                    }
                    for (s, &segment) in a.segments.iter().enumerate() {
                        for q in 0..a.len {
                            let left = a.data[row as usize + segment as usize + q * a.step];
                            let right = &b.data[(s * a.len + q) * b.row..];
                            for (c, &right) in c.iter_mut().zip(right) {
                                *c = *c + left * right;
                            }
                        }
                    }
                    if let Some(bias) = finish.bias {
                        c.iter_mut().zip(bias).for_each(|(c, &bias)| *c = *c + bias);
                    }
                    if finish.relu {
                        c.iter_mut().for_each(|c| *c = Self::select(c.lt(Self::zero()), Self::zero(), *c));
                    }
                }
            },
        );
    }
}

/// The values (k = 0) or the tangents (k = 1) of a matrix.
fn part<F: Float>(x: View<'_, Dual<F>>, k: usize) -> Mat<'_, F> {
    Mat::strided(numbers(x.data, k), x.rows, x.cols, 2 * x.row, 2 * x.col)
}

/// Values and tangents in turn, from the first value (k = 0) or tangent (k = 1) on.
fn numbers<F: Float>(x: &[Dual<F>], k: usize) -> &[F] {
    // SAFETY: a dual number is two floats behind each other, without padding.
    let all = unsafe { std::slice::from_raw_parts(x.as_ptr().cast::<F>(), 2 * x.len()) };
    &all[k.min(all.len())..]
}

/// The same, to be written.
fn numbers_mut<F: Float>(x: &mut [Dual<F>], k: usize) -> &mut [F] {
    // SAFETY: as above; the borrow of `x` is that of the result.
    let all = unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr().cast::<F>(), 2 * x.len()) };
    let k = k.min(all.len());
    &mut all[k..]
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

    /// Against the sum that defines it, of at most 7 terms below 16.
    #[test]
    fn products_carry_tangents_through_any_strides() {
        let [m, k, n] = [5, 7, 3];
        let mut next = 0.0;
        let mut draw = |len: usize| -> Vec<Dual<f64>> {
            let mut number = || {
                next += 1.0;
                4.0 * libm::sin(next)
            };
            (0..len).map(|_| Dual::new(number(), number())).collect()
        };
        let (a, b, old) = (draw(m * k), draw(k * n), draw(m * n));
        let (alpha, none) = (Dual::from_base(0.5), Dual::new(f64::NAN, f64::NAN));
        for [ta, tb, tc] in [[false; 3], [true, false, false], [false, true, true], [true; 3]] {
            for beta in [0.0, 2.0] {
                let view = |x, rows, cols, t| {
                    if t { View::new(x, cols, rows).t() } else { View::new(x, rows, cols) }
                };
                let mut c = if beta == 0.0 { vec![none; m * n] } else { old.clone() };
                let (row, col) = if tc { (1, m) } else { (n, 1) };
                let to = ViewMut { data: &mut c, rows: m, cols: n, row, col };
                let threads = Threads::new(2);
                Dual::product(
                    &threads,
                    alpha,
                    view(&a, m, k, ta),
                    view(&b, k, n, tb),
                    Dual::from_base(beta),
                    to,
                );
                for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                    let at = |i, j, rows, cols, t| if t { j * rows + i } else { i * cols + j };
                    let term = |p| a[at(i, p, m, k, ta)] * b[at(p, j, k, n, tb)];
                    let sum = (0..k).map(term).fold(Dual::zero(), |sum, x| sum + x);
                    let place = i * row + j * col;
                    let kept = if beta == 0.0 { Dual::zero() } else { Dual::from_base(beta) * old[place] };
                    let (found, expected) = (c[place], alpha * sum + kept);
                    assert!((found.value - expected.value).abs() < 1e-13, "{found:?} {expected:?}");
                    assert!((found.tangent - expected.tangent).abs() < 1e-13, "{found:?} {expected:?}");
                }
            }
        }
    }
}
