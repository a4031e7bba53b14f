//! The innermost loops: a tile of C in registers, over panels of A and B.

use crate::Float;
use crate::isa::{self, Isa};

/// The most numbers that a tile has.
pub(super) const TILE: usize = 12 * 32;

/// One instruction set's tile.
pub(super) trait Kernel<F>: Copy + Sync {
    /// Rows of a tile, and of a panel of A.
    const ROWS: usize;
    /// Columns of a tile, and of a panel of B: two vectors.
    const COLS: usize;
    /// `out[i·COLS + j] = Σ_p a[p·ROWS + i]·b[p·COLS + j]` for the first `rows` rows and the first `cols` columns, p rising. What lies
    /// beyond them may be written too.
    fn tile(self, rows: usize, cols: usize, a: &[F], b: &[F], out: &mut [F; TILE]);
    /// Runs `f`, compiled for the instruction set.
    fn run<R>(self, f: impl FnOnce() -> R) -> R;
}

/// What to do with the kernel in use.
pub(super) trait WithKernel<F> {
    fn with<K: Kernel<F>>(self, kernel: K);
}

/// Numbers that matrices can be multiplied of: `f32` and `f64`.
#[allow(private_bounds, reason = "sealed: kernels are compiled for these two types")]
pub trait Gemm: Copy + Pick + super::driver::Kept {}

impl Gemm for f32 {}
impl Gemm for f64 {}

/// Runs something with the kernel in use.
pub(super) trait Pick: Sized {
    fn pick(work: impl WithKernel<Self>);
}

/// The plain kernel: two roundings a term, whatever vectors the target guarantees.
#[derive(Clone, Copy)]
struct Plain;

impl<F: Float> Kernel<F> for Plain {
    const ROWS: usize = 4;
    const COLS: usize = 8;

    #[inline(always)]
    fn tile(self, _rows: usize, _cols: usize, a: &[F], b: &[F], out: &mut [F; TILE]) {
        let mut sums = [[F::zero(); 8]; 4];
        for (a, b) in a.as_chunks::<4>().0.iter().zip(b.as_chunks::<8>().0) {
            for (sums, &a) in sums.iter_mut().zip(a) {
                for (sum, &b) in sums.iter_mut().zip(b) {
                    *sum += a * b;
                }
            }
        }
        for (out, sums) in out.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
            *out = sums;
        }
    }

    #[inline(always)]
    fn run<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use pulp::Simd;
    use pulp::x86::{V3, V4};

    use super::{Kernel, TILE};

    macro_rules! fused {
        ($set:ident, $f:ident, $lanes:literal, $rows:literal, [$($some:literal),*], $splat:ident, $fma:ident, $vectors:ident, $vectors_mut:ident) => {
            impl Kernel<$f> for $set {
                const ROWS: usize = $rows;
                const COLS: usize = 2 * $lanes;

                #[inline(always)]
                fn tile(self, rows: usize, cols: usize, a: &[$f], b: &[$f], out: &mut [$f; TILE]) {
                    #[inline(always)]
                    fn sums<const R: usize, const V: usize>(simd: $set, a: &[$f], b: &[$f], out: &mut [$f; TILE]) {
                        let mut sums = [[simd.$splat(0.0); V]; R];
                        let (b, _) = <$set as Simd>::$vectors(b);
                        for (a, b) in a.as_chunks::<$rows>().0.iter().zip(b.as_chunks::<2>().0) {
                            for i in 0..R {
                                let a = simd.$splat(a[i]);
                                for j in 0..V {
                                    sums[i][j] = simd.$fma(a, b[j], sums[i][j]);
                                }
                            }
                        }
                        let (out, _) = <$set as Simd>::$vectors_mut(out);
                        for (out, sums) in out.as_chunks_mut::<2>().0.iter_mut().zip(&sums) {
                            out[..V].copy_from_slice(sums);
                        }
                    }
                    // The lowest tile that holds the rows, and the narrowest that holds the columns.
                    $(if rows <= $some {
                        return if cols <= $lanes { sums::<$some, 1>(self, a, b, out) } else { sums::<$some, 2>(self, a, b, out) };
                    })*
                }

                #[inline(always)]
                fn run<R>(self, f: impl FnOnce() -> R) -> R {
                    self.vectorize(f)
                }
            }
        };
    }
    fused!(V3, f32, 8, 6, [1, 2, 4, 6], splat_f32s, mul_add_f32s, as_simd_f32s, as_mut_simd_f32s);
    fused!(V3, f64, 4, 6, [1, 2, 4, 6], splat_f64s, mul_add_f64s, as_simd_f64s, as_mut_simd_f64s);
    fused!(V4, f32, 16, 12, [1, 2, 4, 8, 12], splat_f32s, mul_add_f32s, as_simd_f32s, as_mut_simd_f32s);
    fused!(V4, f64, 8, 12, [1, 2, 4, 8, 12], splat_f64s, mul_add_f64s, as_simd_f64s, as_mut_simd_f64s);
}

macro_rules! pick {
    ($f:ident) => {
        impl Pick for $f {
            fn pick(work: impl WithKernel<Self>) {
                #[cfg(target_arch = "x86_64")]
                {
                    use pulp::x86::{V3, V4};
                    match isa::current() {
                        Isa::Avx512 => {
                            if let Some(v4) = V4::try_new() {
                                return work.with(v4);
                            }
                        }
                        Isa::Avx2 => {
                            if let Some(v3) = V3::try_new() {
                                return work.with(v3);
                            }
                        }
                        Isa::Baseline => {}
                    }
                }
                work.with(Plain);
            }
        }
    };
}
pick!(f32);
pick!(f64);
