//! The two number traits: [`Real`], the algebra a formula is written in, and [`Float`], a number that is stored.

use std::fmt::{Debug, Display};
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// The algebra that update rules and losses are written in.
///
/// Only correctly rounded operations (`+ − × ÷ √`, comparisons, selection) and one power that is the `libm` crate's, so a formula gives the
/// same bits on every instruction set. A choice is [`Real::select`], never `if`, so that a loop over it vectorises.
pub trait Real:
    Copy
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The result of a comparison.
    type Mask: Copy;
    /// The number nearest to `x`.
    fn from_f64(x: f64) -> Self;
    /// √x.
    fn sqrt(self) -> Self;
    /// selfʸ for self ≥ 0: `libm`'s in f64, the nearest number to that in f32. It does not vectorise: ten times the work of a root.
    fn pow(self, y: Self) -> Self;
    /// |x|.
    fn abs(self) -> Self;
    /// `self < other`; false when either is NaN.
    fn lt(self, other: Self) -> Self::Mask;
    /// `if mask { a } else { b }` for each lane.
    fn select(mask: Self::Mask, a: Self, b: Self) -> Self;

    /// 0.
    #[inline(always)]
    fn zero() -> Self {
        Self::from_f64(0.0)
    }
    /// 1.
    #[inline(always)]
    fn one() -> Self {
        Self::from_f64(1.0)
    }
    /// The larger of two numbers; `other` when `self` is NaN.
    #[inline(always)]
    fn at_least(self, other: Self) -> Self {
        Self::select(other.lt(self), self, other)
    }
    /// The smaller of two numbers; `other` when `self` is NaN.
    #[inline(always)]
    fn at_most(self, other: Self) -> Self {
        Self::select(self.lt(other), self, other)
    }
}

/// A number that buffers hold: `f32` or `f64`.
pub trait Float:
    Real<Mask = bool>
    + Default
    + PartialOrd
    + AddAssign
    + Debug
    + Display
    + crate::math::Elementary
    + crate::lanes::Laned
    + crate::gemm::Gemm
{
    /// Bytes of one number.
    const BYTES: usize;
    /// `"f32"` or `"f64"`.
    const NAME: &'static str;
    /// The distance from 1 to the next number.
    const EPSILON: Self;
    /// The largest finite number.
    const MAX: Self;
    /// +∞.
    const INFINITY: Self;
    /// NaN.
    const NAN: Self;
    /// The same number in `f64` (exact).
    fn to_f64(self) -> f64;
    /// The nearest `f32`.
    fn to_f32(self) -> f32;
    /// The same number (exact).
    fn from_f32(x: f32) -> Self;
    /// These numbers as a piece of state.
    fn memory(numbers: &mut [Self]) -> crate::Memory<'_>;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// The bit pattern, widened to 64 bits: equal exactly when every bit is.
    fn bits(self) -> u64;
    /// What [`Float::size_bits`] gives: `i32` or `i64`.
    type SizeBits: Copy + Ord + Default;
    /// The bits of |x|: they rise with it, and NaN is beyond ∞. The largest of many tells in one comparison whether all are finite.
    fn size_bits(self) -> Self::SizeBits;
}

macro_rules! float {
    ($f:ty, $name:literal, $memory:ident, $size:ty) => {
        impl Real for $f {
            type Mask = bool;
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $f
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                <$f>::sqrt(self)
            }
            #[inline]
            fn pow(self, y: Self) -> Self {
                libm::pow(f64::from(self), f64::from(y)) as $f
            }
            #[inline(always)]
            fn abs(self) -> Self {
                <$f>::abs(self)
            }
            #[inline(always)]
            fn lt(self, other: Self) -> bool {
                self < other
            }
            #[inline(always)]
            fn select(mask: bool, a: Self, b: Self) -> Self {
                if mask { a } else { b }
            }
        }
        impl Float for $f {
            const BYTES: usize = size_of::<$f>();
            const NAME: &'static str = $name;
            const EPSILON: Self = <$f>::EPSILON;
            const MAX: Self = <$f>::MAX;
            const INFINITY: Self = <$f>::INFINITY;
            const NAN: Self = <$f>::NAN;
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                self as f32
            }
            #[inline(always)]
            fn from_f32(x: f32) -> Self {
                x.into()
            }
            fn memory(numbers: &mut [Self]) -> crate::Memory<'_> {
                crate::Memory::$memory(numbers)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                <$f>::is_finite(self)
            }
            #[inline(always)]
            fn bits(self) -> u64 {
                u64::from(self.to_bits())
            }
            type SizeBits = $size;
            #[inline(always)]
            fn size_bits(self) -> $size {
                (self.to_bits() & (<$f>::to_bits(-0.0) - 1)) as $size
            }
        }
    };
}

float!(f32, "f32", F32, i32);
float!(f64, "f64", F64, i64);
