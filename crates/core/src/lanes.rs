//! [`Lanes`]: eight numbers that are worked on at once, in the registers of the instruction set in use.
//!
//! Most loops vectorise by themselves under [`isa::run`]. Those that hold several sums in registers (products of
//! rows and vectors) do not reliably: the compiler was seen to pair lanes of different sums and to lose a factor of three.
//! They are written as a [`Kernel`] over these few operations instead; all are correctly rounded, none is fused, so the bits
//! are the same on every instruction set.

use crate::math::{LANES, join};
use crate::{Float, isa};

/// The operations on vectors of [`LANES`] numbers: a token of the instruction set that they are compiled for.
pub trait Lanes<F>: Copy {
    /// The eight numbers in registers.
    type Vector: Copy;
    /// Reads them.
    fn load(self, x: &[F; LANES]) -> Self::Vector;
    /// Writes them.
    fn store(self, v: Self::Vector, to: &mut [F; LANES]);
    /// Eight times `x`.
    fn splat(self, x: F) -> Self::Vector;
    /// a + b.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// a·b.
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The sum of the eight numbers, by the tree of [`join`].
    fn join(self, v: Self::Vector) -> F;
}

/// A piece of work that is written once over [`Lanes`].
///
/// `run` and all it calls must be `#[inline(always)]`, to be compiled for the instruction set.
pub trait Kernel<F> {
    /// What it returns.
    type Output;
    /// Does the work.
    fn run<L: Lanes<F>>(self, lanes: L) -> Self::Output;
}

/// A number type that kernels run on.
pub trait Laned: Sized {
    /// Runs `kernel`, compiled for the instruction set in use.
    fn on_lanes<K: Kernel<Self>>(kernel: K) -> K::Output;
}

/// Plain Rust, for machines without vectors of our own.
#[derive(Clone, Copy)]
struct Plain;

impl<F: Float> Lanes<F> for Plain {
    type Vector = [F; LANES];
    #[inline(always)]
    fn load(self, x: &[F; LANES]) -> [F; LANES] {
        *x
    }
    #[inline(always)]
    fn store(self, v: [F; LANES], to: &mut [F; LANES]) {
        *to = v;
    }
    #[inline(always)]
    fn splat(self, x: F) -> [F; LANES] {
        [x; LANES]
    }
    #[inline(always)]
    fn add(self, mut a: [F; LANES], b: [F; LANES]) -> [F; LANES] {
        for l in 0..LANES {
            a[l] += b[l];
        }
        a
    }
    #[inline(always)]
    fn mul(self, mut a: [F; LANES], b: [F; LANES]) -> [F; LANES] {
        for l in 0..LANES {
            a[l] = a[l] * b[l];
        }
        a
    }
    #[inline(always)]
    fn join(self, v: [F; LANES]) -> F {
        join(v)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m128, __m128d, __m256, __m256d, __m512d};

    use pulp::cast;
    use pulp::core_arch::x86::{Sse, Sse2};
    use pulp::x86::{V1, V3, V4};

    use super::{LANES, Lanes};

    /// `$n` registers `$v` of `$set` hold the eight numbers; `$halves` adds lane i + 4 to lane i, in 4 lanes.
    macro_rules! lanes {
        ($f:ident on $token:ident: $n:literal of $v:ident, $set:ident $splat:ident $add:ident $mul:ident,
         $quarter:ident, |$t:ident, $x:ident| $halves:expr) => {
            impl Lanes<$f> for $token {
                type Vector = [$v; $n];
                #[inline(always)]
                fn load(self, x: &[$f; LANES]) -> [$v; $n] {
                    cast(*x)
                }
                #[inline(always)]
                fn store(self, v: [$v; $n], to: &mut [$f; LANES]) {
                    *to = cast(v);
                }
                #[inline(always)]
                fn splat(self, x: $f) -> [$v; $n] {
                    [self.$set.$splat(x); $n]
                }
                #[inline(always)]
                fn add(self, mut a: [$v; $n], b: [$v; $n]) -> [$v; $n] {
                    for i in 0..$n {
                        a[i] = self.$set.$add(a[i], b[i]);
                    }
                    a
                }
                #[inline(always)]
                fn mul(self, mut a: [$v; $n], b: [$v; $n]) -> [$v; $n] {
                    for i in 0..$n {
                        a[i] = self.$set.$mul(a[i], b[i]);
                    }
                    a
                }
                #[inline(always)]
                fn join(self, v: [$v; $n]) -> $f {
                    let ($t, $x) = (self, v);
                    $quarter(self.sse, self.sse2, $halves)
                }
            }
        };
    }

    /// (h₀ + h₂) + (h₁ + h₃).
    #[inline(always)]
    fn quarters32(sse: Sse, _: Sse2, h: __m128) -> f32 {
        let pairs = sse._mm_add_ps(h, sse._mm_movehl_ps(h, h));
        sse._mm_cvtss_f32(sse._mm_add_ss(pairs, sse._mm_shuffle_ps::<1>(pairs, pairs)))
    }
    /// (h₀ + h₂) + (h₁ + h₃).
    #[inline(always)]
    fn quarters64(_: Sse, sse2: Sse2, h: [__m128d; 2]) -> f64 {
        let pairs = sse2._mm_add_pd(h[0], h[1]);
        sse2._mm_cvtsd_f64(sse2._mm_add_sd(pairs, sse2._mm_unpackhi_pd(pairs, pairs)))
    }

    lanes!(f32 on V1: 2 of __m128, sse _mm_set1_ps _mm_add_ps _mm_mul_ps,
        quarters32, |t, x| t.sse._mm_add_ps(x[0], x[1]));
    lanes!(f64 on V1: 4 of __m128d, sse2 _mm_set1_pd _mm_add_pd _mm_mul_pd,
        quarters64, |t, x| [t.sse2._mm_add_pd(x[0], x[2]), t.sse2._mm_add_pd(x[1], x[3])]);
    lanes!(f32 on V3: 1 of __m256, avx _mm256_set1_ps _mm256_add_ps _mm256_mul_ps,
        quarters32, |t, x| t.sse._mm_add_ps(t.avx._mm256_castps256_ps128(x[0]), t.avx._mm256_extractf128_ps::<1>(x[0])));
    lanes!(f64 on V3: 2 of __m256d, avx _mm256_set1_pd _mm256_add_pd _mm256_mul_pd,
        quarters64, |t, x| cast(t.avx._mm256_add_pd(x[0], x[1])));
    // Eight f32 fill half a register of AVX-512; what it brings them is 32 registers instead of 16.
    lanes!(f32 on V4: 1 of __m256, avx _mm256_set1_ps _mm256_add_ps _mm256_mul_ps,
        quarters32, |t, x| t.sse._mm_add_ps(t.avx._mm256_castps256_ps128(x[0]), t.avx._mm256_extractf128_ps::<1>(x[0])));
    lanes!(f64 on V4: 1 of __m512d, avx512f _mm512_set1_pd _mm512_add_pd _mm512_mul_pd,
    quarters64, |t, x| {
        let high = t.avx512f._mm512_extractf64x4_pd::<1>(x[0]);
        cast(t.avx._mm256_add_pd(t.avx512f._mm512_castpd512_pd256(x[0]), high))
    });
}

macro_rules! laned {
    ($f:ident) => {
        impl Laned for $f {
            #[inline]
            fn on_lanes<K: Kernel<$f>>(kernel: K) -> K::Output {
                #[cfg(target_arch = "x86_64")]
                {
                    use pulp::x86::{V1, V3, V4};
                    match isa::current() {
                        isa::Isa::Avx512 => {
                            if let Some(v4) = V4::try_new() {
                                return v4.vectorize(
                                    #[inline(always)]
                                    || kernel.run(v4),
                                );
                            }
                        }
                        isa::Isa::Avx2 => {
                            if let Some(v3) = V3::try_new() {
                                return v3.vectorize(
                                    #[inline(always)]
                                    || kernel.run(v3),
                                );
                            }
                        }
                        isa::Isa::Baseline => {
                            if let Some(v1) = V1::try_new() {
                                return kernel.run(v1);
                            }
                        }
                    }
                }
                kernel.run(Plain)
            }
        }
    };
}

laned!(f32);
laned!(f64);

#[cfg(test)]
mod tests {
    use super::*;

    /// a·x + y over chunks.
    struct Axpy<'a, F>(F, &'a [[F; LANES]], &'a mut [[F; LANES]]);

    impl<F: Float> Kernel<F> for Axpy<'_, F> {
        type Output = ();
        #[inline(always)]
        fn run<L: Lanes<F>>(self, lanes: L) {
            let a = lanes.splat(self.0);
            for (x, y) in self.1.iter().zip(self.2) {
                lanes.store(lanes.add(lanes.mul(a, lanes.load(x)), lanes.load(y)), y);
            }
        }
    }

    /// The joined lanes of each chunk.
    struct Joins<'a, F>(&'a [[F; LANES]]);

    impl<F: Float> Kernel<F> for Joins<'_, F> {
        type Output = Vec<F>;
        #[inline(always)]
        fn run<L: Lanes<F>>(self, lanes: L) -> Vec<F> {
            self.0.iter().map(|x| lanes.join(lanes.load(x))).collect()
        }
    }

    fn same<F: Float>() {
        let _alone = isa::alone();
        let at = |i: usize| F::from_f64(libm::sin(i as f64) * 3.7);
        let x: Vec<[F; LANES]> = (0..9).map(|i| std::array::from_fn(|l| at(i * LANES + l))).collect();
        let mut plain = x.clone();
        Axpy(at(77), &x, &mut plain).run(Plain);
        for (i, y) in plain.as_flattened().iter().enumerate() {
            assert_eq!(y.bits(), (at(77) * at(i) + at(i)).bits());
        }
        for set in isa::available() {
            isa::limit(Some(set));
            let mut y = x.clone();
            F::on_lanes(Axpy(at(77), &x, &mut y));
            let joins = F::on_lanes(Joins(&x));
            isa::limit(None);
            assert_eq!(y, plain, "{}", set.name());
            assert_eq!(joins, Joins(&x).run(Plain), "{}", set.name());
        }
    }

    #[test]
    fn every_instruction_set_does_the_same() {
        same::<f32>();
        same::<f64>();
    }
}
