//! Elementary functions and sums that vectorise and give the same bits everywhere.
//!
//! The system's libm differs from machine to machine and its calls do not vectorise, so loops use these: straight-line
//! code from correctly rounded operations, without fused multiply-add. Bounds are in units in the last place (ulp),
//! measured against the `libm` crate in f64 (for `f32`) and against double-double sums (for `f64`) by the tests.

use crate::Float;

/// The elementary functions of a [`Float`].
pub trait Elementary: Sized + Copy {
    /// eˣ: within 1 ulp (`f64`) and 1 ulp (`f32`); +∞ above the range, 0 below the smallest normal number.
    fn exp(self) -> Self;
    /// ln x for x > 0: within 1.5 ulp; −∞ at 0, NaN below, NaN for NaN. Subnormal numbers count as 0.
    fn ln(self) -> Self;
    /// ln(1 + x) for x ≥ 0: within 2.5 ulp.
    fn log1p(self) -> Self;
    /// 1/(1 + e⁻ˣ): within 3 ulp; never outside [0, 1].
    fn sigmoid(self) -> Self;
    /// ln(1 + eˣ), without overflow: within 3 ulp of the larger of the result and 1.
    fn softplus(self) -> Self;
    /// tanh x: within 3 ulp.
    fn tanh(self) -> Self;
    /// erf x = 2/√π·∫₀ˣ e^(−t²) dt: within 4 ulp.
    fn erf(self) -> Self;
    /// erf x, and e^(−x²), which it is made of: its exponent is at least −36, so it is never below 2.3e−16.
    fn erf_and_exp(self) -> (Self, Self)
    where
        Self: Sized;
}

macro_rules! elementary {
    ($f:ident, $bits:ident, $ibits:ident, $mant:literal, $bias:literal, $exp_max:literal, $exp_min:literal,
     $shift:literal, $ln2_hi:literal, $ln2_lo:literal, exp [$($e:literal),+], ln [$($l:literal),+]) => {
        impl Elementary for $f {
            #[inline(always)]
            fn exp(self) -> Self {
                // x = k·ln2 + r, |r| ≤ ln2/2; eˣ = 2ᵏ·eʳ. Adding 1.5·2^mantissa rounds k and leaves it in the low bits.
                let x = self;
                let clamped = if x > $exp_max { $exp_max } else if x < $exp_min { $exp_min } else { x };
                let shifted = clamped * std::$f::consts::LOG2_E + $shift;
                let k = shifted - $shift;
                let r = (clamped - k * $ln2_hi) - k * $ln2_lo;
                let mut p: $f = 0.0;
                $( p = p * r + $e; )+
                // 1 + r + r²·p, the small terms first.
                let e = 1.0 + (r + (r * r) * p);
                // 2ᵏ in two factors: k reaches one above the largest exponent.
                let ki = (shifted.to_bits() as $ibits).wrapping_sub(($shift as $f).to_bits() as $ibits);
                let half = ki >> 1;
                let pow = |n: $ibits| $f::from_bits((n.wrapping_add($bias) as $bits) << $mant);
                let y = e * pow(half) * pow(ki.wrapping_sub(half));
                let y = if x > $exp_max { $f::INFINITY } else { y };
                let y = if x < $exp_min { 0.0 } else { y };
                if x.is_nan() { x } else { y }
            }
            #[inline(always)]
            fn ln(self) -> Self {
                // x = 2ᵏ·m, √½ ≤ m < √2; ln m = 2·atanh(s), s = (m − 1)/(m + 1).
                let x = self;
                let bits = x.to_bits();
                let off = $f::to_bits(std::$f::consts::FRAC_1_SQRT_2);
                let k = (bits.wrapping_sub(off) as $ibits) >> $mant;
                let m = $f::from_bits(bits.wrapping_sub((k << $mant) as $bits));
                // Small whole numbers to float by the same trick as above: this vectorises for 64 bits too.
                let kf = $f::from_bits(($shift as $f).to_bits().wrapping_add(k as $bits)) - $shift;
                let y = ln_parts!($f, kf, m, $ln2_hi, $ln2_lo, [$($l),+]);
                let y = if x < $f::MIN_POSITIVE { $f::NEG_INFINITY } else { y };
                let y = if x == $f::INFINITY { x } else { y };
                if x < 0.0 || x.is_nan() { $f::NAN } else { y }
            }
            #[inline(always)]
            fn log1p(self) -> Self {
                // ln(1 + x) = ln u + c, u = fl(1 + x), c the rounding error of u relative to u (Kahan's correction).
                let x = self;
                let u = 1.0 + x;
                let c = (if u < 2.0 { x - (u - 1.0) } else { 1.0 - (u - x) }) / u;
                let y = Elementary::ln(u) + c;
                let tiny = x < $f::EPSILON;
                let y = if tiny { x } else { y };
                if x == $f::INFINITY { x } else { y }
            }
            #[inline(always)]
            fn sigmoid(self) -> Self {
                // With e = e^(−|x|), which never overflows: 1/(1+e) for x ≥ 0, e/(1+e) below.
                let e = Elementary::exp(-self.abs());
                let top = if self < 0.0 { e } else { 1.0 };
                top / (1.0 + e)
            }
            #[inline(always)]
            fn softplus(self) -> Self {
                let e = Elementary::exp(-self.abs());
                (if self > 0.0 { self } else { 0.0 }) + e.log1p()
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                // Near 0 a rational function of x², elsewhere 1 − 2/(e²ˣ + 1).
                let x = self;
                let a = x.abs();
                let z = x * x;
                let p = (TANH_P[0] as $f * z + TANH_P[1] as $f) * z + TANH_P[2] as $f;
                let q = ((z + TANH_Q[0] as $f) * z + TANH_Q[1] as $f) * z + TANH_Q[2] as $f;
                let near = x + x * (z * (p / q));
                let far = 1.0 - 2.0 / (Elementary::exp(a + a) + 1.0);
                let far = if x < 0.0 { -far } else { far };
                if a < 0.625 { near } else { far }
            }
            #[inline(always)]
            fn erf(self) -> Self {
                self.erf_and_exp().0
            }
            #[inline(always)]
            fn erf_and_exp(self) -> (Self, Self) {
                // Near 0 a rational function of x², elsewhere 1 − e^(−x²)·P(x)/Q(x) (Cephes, ndtr.c); 1 − erf 6 < 3e−17.
                let x = self;
                let a = x.abs();
                let z = x * x;
                let t = ERF_T.iter().fold(0.0, |s, &c| s * z + c as $f);
                let u = ERF_U.iter().fold(1.0, |s, &c| s * z + c as $f);
                let near = x * (t / u);
                let b = if a > 6.0 { 6.0 } else { a };
                let p = ERF_P.iter().fold(0.0, |s, &c| s * b + c as $f);
                let q = ERF_Q.iter().fold(1.0, |s, &c| s * b + c as $f);
                let e = Elementary::exp(-b * b);
                let far = 1.0 - e * (p / q);
                let far = if x < 0.0 { -far } else { far };
                let y = if a < 1.0 { near } else { far };
                (if x.is_nan() { x } else { y }, e)
            }
        }
    };
}

// tanh: x + x³·P(x²)/Q(x²), which meets the function at the six Chebyshev points of x² in [0, 0.625²].
const TANH_P: [f64; 3] = [-0.9643850249801493, -99.25157970735542, -1613.941322073366];
const TANH_Q: [f64; 3] = [112.77252888384996, 2234.484325610089, 4841.823966220099];
// erf: the coefficients of Cephes' ndtr.c.
const ERF_T: [f64; 5] =
    [9.604973739870516, 90.02601972038427, 2232.005345946843, 7003.325141128051, 55592.30130103949];
const ERF_U: [f64; 5] =
    [33.56171416475031, 521.3579497801527, 4594.323829709801, 22629.000061389095, 49267.39426086359];
const ERF_P: [f64; 9] = [
    2.461969814735305e-10,
    0.5641895648310689,
    7.463210564422699,
    48.63719709856814,
    196.5208329560771,
    526.4451949954773,
    934.5285271719576,
    1027.5518868951572,
    557.5353353693994,
];
const ERF_Q: [f64; 8] = [
    13.228195115474499,
    86.70721408859897,
    354.9377788878199,
    975.7085017432055,
    1823.9091668790973,
    2246.3376081871097,
    1656.6630919416134,
    557.5353408177277,
];

/// ln(2ᵏ·m) from k and m, for one float type.
macro_rules! ln_parts {
    ($f:ident, $k:expr, $m:expr, $hi:literal, $lo:literal, [$($l:literal),+]) => {{
        let f = $m - 1.0;
        let s = f / (2.0 + f);
        let z = s * s;
        let mut p: $f = 0.0;
        $( p = p * z + $l; )+
        // ln m = f − (f²/2 − s·(f²/2 + R)), R = z·p: the leading term f is exact.
        let half = 0.5 * f * f;
        let tail = s * (half + z * p);
        $k * $hi - ((half - (tail + $k * $lo)) - f)
    }};
}

// exp: 1/n! from n = 13 (f64) or 8 (f32) down to 2; the truncation is below 2⁻⁵⁶ and 2⁻²⁷ for |r| ≤ ln2/2.
// ln: R = Σ 2/(2n+1)·sⁿ… as minimax coefficients of W. Cody's form (2/3, 2/5, …), highest first.
elementary!(f64, u64, i64, 52, 1023, 709.782712893384, -708.396418532264, 6755399441055744.0,
    6.931471803691238e-1, 1.9082149292705877e-10,
    exp [1.6059043836821613e-10, 2.08767569878681e-9, 2.505210838544172e-8, 2.755731922398589e-7, 2.7557319223985893e-6,
         2.48015873015873e-5, 1.984126984126984e-4, 1.388888888888889e-3, 8.333333333333333e-3,
         4.1666666666666664e-2, 1.6666666666666666e-1, 0.5],
    ln [1.479_819_860_511_658_6e-1, 1.531_383_769_920_937_3e-1, 1.818_357_216_161_805e-1, 2.222_219_843_214_978_4e-1,
        2.857_142_874_366_239e-1, 3.999_999_999_940_942e-1, 6.666_666_666_666_735e-1]);
elementary!(f32, u32, i32, 23, 127, 88.72284, -87.33654, 12582912.0,
    6.9314575e-1, 1.4286068e-6,
    exp [2.4801587e-5, 1.984_127e-4, 1.3888889e-3, 8.333_333e-3, 4.1666668e-2, 1.6666667e-1, 0.5],
    ln [2.4279078e-1, 2.8498787e-1, 4.0000972e-1, 6.666_666e-1]);

/// The lanes that every sum is cut into, whatever the instruction set.
pub const LANES: usize = 8;

/// Joins the lanes of a sum by a fixed tree.
#[inline(always)]
pub fn join<F: Float>(l: [F; LANES]) -> F {
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

/// Σ aᵢ·bᵢ: number i goes to lane i mod 8, lanes are joined by a fixed tree. The slices have one length.
#[inline(always)]
pub fn dot<F: Float>(a: &[F], b: &[F]) -> F {
    let mut lanes = [F::zero(); LANES];
    let (a8, a_rest) = a.as_chunks::<LANES>();
    let (b8, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a8.iter().zip(b8) {
        for l in 0..LANES {
            lanes[l] += a[l] * b[l];
        }
    }
    for (l, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[l] += a * b;
    }
    join(lanes)
}

/// Σ f(xᵢ) in f64, in the lanes and the tree of [`dot`].
#[inline(always)]
pub fn sum_by<F: Float>(x: &[F], f: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let (x8, rest) = x.as_chunks::<LANES>();
    for x in x8 {
        for l in 0..LANES {
            lanes[l] += f(x[l].to_f64());
        }
    }
    for (l, x) in rest.iter().enumerate() {
        lanes[l] += f(x.to_f64());
    }
    join(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points over the whole range of a function, dense near 0.
    fn points(lo: f64, hi: f64) -> impl Iterator<Item = f64> {
        let n = 200_000;
        let sweep = (0..=n).map(move |i| lo + (hi - lo) * f64::from(i) / f64::from(n));
        let near = (0..=n).map(move |i| libm::pow(2.0, -60.0 + 60.0 * f64::from(i) / f64::from(n)));
        sweep.chain(near.clone()).chain(near.map(|x| -x)).filter(move |x| (lo..=hi).contains(x))
    }

    fn ulp64(x: f64) -> f64 {
        let x = x.abs().max(f64::MIN_POSITIVE);
        f64::from_bits(x.to_bits() + 1) - x
    }

    fn worst64(lo: f64, hi: f64, ours: impl Fn(f64) -> f64, reference: impl Fn(f64) -> f64) -> f64 {
        points(lo, hi).map(|x| (ours(x) - reference(x)).abs() / ulp64(reference(x))).fold(0.0, f64::max)
    }

    fn worst32(lo: f64, hi: f64, ours: impl Fn(f32) -> f32, reference: impl Fn(f64) -> f64) -> f64 {
        let ulp = |y: f64| {
            let y = (y as f32).abs().max(f32::MIN_POSITIVE);
            f64::from(f32::from_bits(y.to_bits() + 1) - y)
        };
        points(lo, hi)
            .map(|x| f64::from(x as f32))
            .map(|x| (f64::from(ours(x as f32)) - reference(x)).abs() / ulp(reference(x)))
            .fold(0.0, f64::max)
    }

    // libm's own results are within 1 ulp, so each bound of f64 leaves room for that one.
    #[test]
    fn f64_functions_are_within_their_bounds() {
        let softplus = |x: f64| x.max(0.0) + libm::log1p(libm::exp(-x.abs()));
        assert!(worst64(-708.0, 709.7, Elementary::exp, libm::exp) <= 2.0);
        assert!(worst64(1e-300, 1e300, Elementary::ln, libm::log) <= 2.5);
        assert!(worst64(1e-3, 10.0, Elementary::ln, libm::log) <= 2.5);
        assert!(worst64(0.0, 100.0, Elementary::log1p, libm::log1p) <= 3.5);
        assert!(worst64(-700.0, 700.0, Elementary::sigmoid, |x| 1.0 / (1.0 + libm::exp(-x))) <= 5.0);
        let err = points(-700.0, 700.0)
            .map(|x| (Elementary::softplus(x) - softplus(x)).abs() / ulp64(softplus(x).max(1.0)))
            .fold(0.0, f64::max);
        assert!(err <= 4.0, "{err}");
        assert!(worst64(-30.0, 30.0, Elementary::tanh, libm::tanh) <= 4.0);
        assert!(worst64(-8.0, 8.0, Elementary::erf, libm::erf) <= 5.0);
    }

    #[test]
    fn f32_functions_are_within_their_bounds() {
        assert!(worst32(-87.3, 88.7, Elementary::exp, libm::exp) <= 1.0);
        assert!(worst32(1e-37, 3e38, Elementary::ln, libm::log) <= 1.5);
        assert!(worst32(1e-3, 10.0, Elementary::ln, libm::log) <= 1.5);
        assert!(worst32(0.0, 100.0, Elementary::log1p, libm::log1p) <= 2.5);
        assert!(worst32(-80.0, 80.0, Elementary::sigmoid, |x| 1.0 / (1.0 + libm::exp(-x))) <= 3.0);
        assert!(worst32(-30.0, 30.0, Elementary::tanh, libm::tanh) <= 3.0);
        assert!(worst32(-8.0, 8.0, Elementary::erf, libm::erf) <= 4.0);
    }

    #[test]
    fn the_edges_are_what_ieee_users_expect() {
        assert_eq!(Elementary::exp(0.0), 1.0);
        assert_eq!(Elementary::exp(710.0), f64::INFINITY);
        assert_eq!(Elementary::exp(f64::INFINITY), f64::INFINITY);
        assert_eq!(Elementary::exp(f64::NEG_INFINITY), 0.0);
        assert_eq!(Elementary::ln(1.0f64), 0.0);
        assert_eq!(Elementary::ln(0.0f64), f64::NEG_INFINITY);
        assert_eq!(Elementary::ln(f64::INFINITY), f64::INFINITY);
        assert_eq!(Elementary::log1p(0.0f32), 0.0);
        assert_eq!(Elementary::log1p(f64::INFINITY), f64::INFINITY);
        assert_eq!(Elementary::sigmoid(f64::INFINITY), 1.0);
        assert_eq!(Elementary::sigmoid(f64::NEG_INFINITY), 0.0);
        assert_eq!(Elementary::softplus(f64::INFINITY), f64::INFINITY);
        for y in [
            Elementary::exp(f64::NAN),
            Elementary::ln(f64::NAN),
            Elementary::ln(-1.0),
            Elementary::sigmoid(f64::NAN),
            Elementary::tanh(f64::NAN),
            Elementary::erf(f64::NAN),
        ] {
            assert!(y.is_nan());
        }
    }

    #[test]
    fn sums_do_not_depend_on_the_instruction_set() {
        let _alone = crate::isa::alone();
        let x: Vec<f64> = (0..1003).map(|i| libm::sin(f64::from(i)) * 1e3).collect();
        let y: Vec<f64> = (0..1003).map(|i| libm::cos(f64::from(i)) / 7.0).collect();
        let all: Vec<u64> = crate::isa::available()
            .into_iter()
            .map(|isa| {
                crate::isa::limit(Some(isa));
                let bits = crate::isa::run(|| dot(&x, &y) + sum_by(&x, |x| x * Elementary::exp(x))).to_bits();
                crate::isa::limit(None);
                bits
            })
            .collect();
        assert!(all.iter().all(|&b| b == all[0]), "{all:x?}");
    }
}
