//! The innermost loops: a tile of C in registers, over panels of A and B.

use super::pack::turn4;
use crate::Float;
use crate::isa::{self, Isa};

/// The most numbers that a tile has.
const TILE: usize = 12 * 32;

/// The sums of a tile, row after row, each [`Kernel::COLS`] numbers.
#[repr(align(64))]
pub(super) struct Tile<F>(pub [F; TILE]);

impl<F: Float> Tile<F> {
    /// A tile of zeros.
    pub fn zeros() -> Self {
        Self([F::zero(); TILE])
    }

    /// The transpose of a tile of `rows × cols` numbers, both at least 4: its first `wanted` columns, by squares of 4 × 4 that are
    /// turned over in registers.
    #[inline(always)]
    pub fn turn(&self, rows: usize, cols: usize, wanted: usize, to: &mut Self) {
        const SIDE: usize = 4;
        for j in (0..wanted).step_by(SIDE) {
            let j = j.min(cols - SIDE);
            for i in (0..rows).step_by(SIDE) {
                let i = i.min(rows - SIDE);
                let square: [[F; SIDE]; SIDE] = std::array::from_fn(
                    #[inline(always)]
                    |r| std::array::from_fn(|c| self.0[(i + r) * cols + j + c]),
                );
                let turned: [[F; SIDE]; SIDE] =
                    std::array::from_fn(|c| std::array::from_fn(|r| square[r][c]));
                for (c, column) in turned.iter().enumerate() {
                    let at = (j + c) * rows + i;
                    to.0[at..at + SIDE].copy_from_slice(column);
                }
            }
        }
    }
}

/// What is read as A.
#[derive(Clone, Copy)]
pub(super) enum Left<'a, F> {
    /// Element (i, p) at `[p·ROWS + i]`, all rows of a tile present.
    Panel(&'a [F]),
    /// Element (i, p) at `data[i·row + p·col]`.
    Direct { data: &'a [F], row: usize, col: usize },
    /// Element (i, s·len + q) at `data[rows[i] + segments[s] + q·step]`, which lie inside: whoever makes it has looked.
    Gather { data: &'a [F], rows: &'a [u32], segments: &'a [u32], len: usize, step: usize },
}

/// What is read as B.
#[derive(Clone, Copy)]
pub(super) enum Right<'a, F> {
    /// Element (p, j) at `[p·COLS + j]`, all columns of a tile present.
    Panel(&'a [F]),
    /// Element (p, j) at `data[p·row + j]`.
    Direct { data: &'a [F], row: usize },
}

/// How much of a tile is wanted, over how many terms; none is 0.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub rows: usize,
    pub cols: usize,
    pub depth: usize,
}

/// One instruction set's tile.
pub(super) trait Kernel<F>: Copy + Sync {
    /// Rows of a tile, and of a panel of A.
    const ROWS: usize;
    /// Columns of a tile, and of a panel of B: two vectors.
    const COLS: usize;
    /// `out[i·COLS + j] = Σ_p a(i, p)·b(p, j)` for the first rows and columns of the extent, p rising. What lies beyond them may be
    /// written too.
    ///
    /// # Panics
    /// When `a` or `b` ends before the extent does.
    fn tile(self, extent: Extent, a: Left<'_, F>, b: Right<'_, F>, out: &mut Tile<F>);
    /// A whole tile whose rows go to `c + starts[i]`: `c ← max?(Σ_p a(i, p)·b(p, j) + β·c + bias)`, the old numbers not read where β is 0.
    ///
    /// # Safety
    /// The rows of C lie in memory that is the caller's to read and write.
    #[inline(always)]
    unsafe fn scattered(
        self,
        depth: usize,
        a: Left<'_, F>,
        b: Right<'_, F>,
        c: *mut F,
        starts: &[u32],
        finish: Finish<'_, F>,
    ) where
        F: Float,
    {
        let mut tile = Tile::zeros();
        self.tile(Extent { rows: Self::ROWS, cols: Self::COLS, depth }, a, b, &mut tile);
        for (sums, &start) in tile.0.chunks_exact(Self::COLS).zip(starts) {
            // SAFETY: the caller's promise.
            let c = unsafe { std::slice::from_raw_parts_mut(c.add(start as usize), Self::COLS) };
            finish.row(c, sums);
        }
    }
    /// Runs `f`, compiled for the instruction set.
    fn run<R>(self, f: impl FnOnce() -> R) -> R;
    /// Columns that [`Kernel::turn`] takes.
    const SIDE: usize = 4;
    /// `out[p·width + j] ← data[p + j·across]` for [`Kernel::SIDE`] columns j and `depth` rows p.
    ///
    /// # Panics
    /// When `data` or `out` ends before that.
    #[inline(always)]
    fn turn(self, data: &[F], across: usize, depth: usize, width: usize, out: &mut [F])
    where
        F: Float,
    {
        turn4(data, across, depth, width, out);
    }
    /// A whole tile: `c[i·row + j] ← α·Σ_p a(i, p)·b(p, j) + β·c[i·row + j]`.
    ///
    /// # Safety
    /// The rows of C lie in memory that is the caller's to read and write.
    #[inline(always)]
    unsafe fn whole(
        self,
        depth: usize,
        a: Left<'_, F>,
        b: Right<'_, F>,
        (alpha, beta): (F, F),
        c: *mut F,
        row: usize,
    ) where
        F: Float,
    {
        let mut tile = Tile::zeros();
        self.tile(Extent { rows: Self::ROWS, cols: Self::COLS, depth }, a, b, &mut tile);
        for (i, sums) in tile.0.chunks_exact(Self::COLS).take(Self::ROWS).enumerate() {
            // SAFETY: the caller's promise; rows do not overlap.
            let c = unsafe { std::slice::from_raw_parts_mut(c.add(i * row), Self::COLS) };
            update(c, sums.iter().copied(), alpha, beta);
        }
    }
}

/// What becomes of sums on their way to C.
#[derive(Clone, Copy, Debug)]
pub struct Finish<'a, F> {
    /// What the old numbers are multiplied by; at 0 they are not read.
    pub beta: F,
    /// Added to each column.
    pub bias: Option<&'a [F]>,
    /// Numbers below 0 become 0, and NaN stays NaN.
    pub relu: bool,
}

impl<F: Float> Finish<'_, F> {
    /// For the columns from `j` on.
    #[inline(always)]
    pub(super) fn from(&self, j: usize) -> Self {
        Self { bias: self.bias.map(|bias| &bias[j..]), ..*self }
    }
    /// A stretch of a row of C.
    #[inline(always)]
    pub(super) fn row(&self, c: &mut [F], sums: &[F]) {
        let zero = F::zero();
        update(c, sums.iter().copied(), F::one(), self.beta);
        if let Some(bias) = self.bias {
            c.iter_mut().zip(bias).for_each(|(c, &bias)| *c += bias);
        }
        if self.relu {
            c.iter_mut().for_each(|c| *c = F::select((*c).lt(zero), zero, *c));
        }
    }
}

/// `c ← α·sums + β·c`; with β = 0 the old numbers are not read.
#[inline(always)]
pub(super) fn update<F: Float>(c: &mut [F], sums: impl Iterator<Item = F>, alpha: F, beta: F) {
    if beta == F::zero() {
        c.iter_mut().zip(sums).for_each(|(c, sum)| *c = alpha * sum);
    } else {
        c.iter_mut().zip(sums).for_each(|(c, sum)| *c = alpha * sum + beta * *c);
    }
}

/// Asks for the cache line of a number, which need not be there.
#[inline(always)]
pub(super) fn ask<F>(at: *const F) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, whatever the address; every x86-64 has SSE.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Asks for the cache line of a number as far as the second cache.
#[inline(always)]
pub(super) fn ask_near<F>(at: &F) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; every x86-64 has SSE.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(std::ptr::from_ref(at).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
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
pub(super) struct Plain;

impl<F: Float> Kernel<F> for Plain {
    const ROWS: usize = 4;
    const COLS: usize = 8;

    #[inline(always)]
    fn tile(self, Extent { rows, cols, depth }: Extent, a: Left<'_, F>, b: Right<'_, F>, out: &mut Tile<F>) {
        let mut sums = [[F::zero(); 8]; 4];
        let left = |i: usize, p: usize| match a {
            Left::Panel(data) => data[i + p * 4],
            Left::Direct { data, row, col } => data[i * row + p * col],
            Left::Gather { data, rows, segments, len, step } => {
                data[rows[i] as usize + segments[p / len] as usize + p % len * step]
            }
        };
        let (b, b_row, whole) = match b {
            Right::Panel(data) => (data, 8, true),
            Right::Direct { data, row } => (data, row, cols == 8),
        };
        for p in 0..depth {
            let mut right = [F::zero(); 8];
            match b[p * b_row..].first_chunk::<8>() {
                Some(b) if whole => right = *b,
                _ => right[..cols].copy_from_slice(&b[p * b_row..][..cols]),
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let left = left(i.min(rows - 1), p);
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum += left * right;
                }
            }
        }
        for (out, sums) in out.0.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
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
    use std::arch::x86_64::__m256;
    use std::array::from_fn;

    use pulp::x86::{V3, V4};
    use pulp::{MemMask, Simd};

    use super::super::reach;
    use super::{Extent, Finish, Kernel, Left, Right, Tile, ask, turn4};

    /// How A is read.
    const PANEL: u8 = 0;
    const DIRECT: u8 = 1;
    const GATHER: u8 = 2;
    /// Terms from which on C is asked for before they are summed.
    const FAR: usize = 64;
    /// How many terms ahead A is asked for: a panel streams through the first cache, in which one of B stays.
    const AHEAD: usize = 16;

    macro_rules! fused {
        ($set:ident, $f:ident, $lanes:literal, $rows:literal, [$($some:literal),*], $vector:ident, $splat:ident, $fma:ident, $cut:ident, $between:ident,
            $vectors_mut:ident, $mul:ident, $add:ident, $max:ident, $terms:ident, $side:literal, $turn:ident) => {
            impl Kernel<$f> for $set {
                const ROWS: usize = $rows;
                const COLS: usize = 2 * $lanes;

                #[inline(always)]
                fn tile(self, extent: Extent, a: Left<'_, $f>, b: Right<'_, $f>, out: &mut Tile<$f>) {
                    /// R rows of V vectors.
                    #[inline(never)]
                    fn sums<const R: usize, const V: usize, const WAY: u8, const CUT: bool>(
                        simd: $set, extent: Extent, a: Left<'_, $f>, b: Right<'_, $f>, out: &mut Tile<$f>,
                    ) {
                        simd.vectorize(
                            #[inline(always)]
                            || {
                                let sums = $terms::<R, V, WAY, CUT>(simd, extent, a, b);
                                let (out, _) = <$set as Simd>::$vectors_mut(&mut out.0);
                                for i in 0..R {
                                    for j in 0..V {
                                        out[2 * i + j] = sums[i][j];
                                    }
                                }
                            },
                        );
                    }
                    let cut = extent.cols % $lanes != 0 && matches!(b, Right::Direct { .. });
                    // The lowest tile that holds the rows, and the narrowest that holds the columns.
                    $(if extent.rows <= $some {
                        let sums = match (extent.cols <= $lanes, a, cut) {
                            (true, Left::Panel(_), true) => sums::<$some, 1, PANEL, true>,
                            (true, Left::Panel(_), false) => sums::<$some, 1, PANEL, false>,
                            (true, Left::Direct { .. }, true) => sums::<$some, 1, DIRECT, true>,
                            (true, Left::Direct { .. }, false) => sums::<$some, 1, DIRECT, false>,
                            (true, Left::Gather { .. }, true) => sums::<$some, 1, GATHER, true>,
                            (true, Left::Gather { .. }, false) => sums::<$some, 1, GATHER, false>,
                            (false, Left::Panel(_), true) => sums::<$some, 2, PANEL, true>,
                            (false, Left::Panel(_), false) => sums::<$some, 2, PANEL, false>,
                            (false, Left::Direct { .. }, true) => sums::<$some, 2, DIRECT, true>,
                            (false, Left::Direct { .. }, false) => sums::<$some, 2, DIRECT, false>,
                            (false, Left::Gather { .. }, true) => sums::<$some, 2, GATHER, true>,
                            (false, Left::Gather { .. }, false) => sums::<$some, 2, GATHER, false>,
                        };
                        return sums(self, extent, a, b, out);
                    })*
                }

                #[inline(always)]
                unsafe fn whole(
                    self, depth: usize, a: Left<'_, $f>, b: Right<'_, $f>, (alpha, beta): ($f, $f), c: *mut $f, row: usize,
                ) {
                    #[inline(always)]
                    fn whole<const WAY: u8>(
                        simd: $set, depth: usize, a: Left<'_, $f>, b: Right<'_, $f>, (alpha, beta): ($f, $f), c: *mut $f, row: usize,
                    ) {
                        if depth >= FAR {
                            for i in 0..$rows {
                                for at in [0, $lanes, 2 * $lanes - 1] {
                                    ask(c.wrapping_add(i * row + at));
                                }
                            }
                        }
                        let extent = Extent { rows: $rows, cols: 2 * $lanes, depth };
                        let sums = $terms::<$rows, 2, WAY, false>(simd, extent, a, b);
                        let (alpha, scale) = (simd.$splat(alpha), simd.$splat(beta));
                        for i in 0..$rows {
                            for j in 0..2 {
                                let at = c.wrapping_add(i * row + j * $lanes).cast::<<$set as Simd>::$vector>();
                                let sum = simd.$mul(alpha, sums[i][j]);
                                // SAFETY: the caller's promise about C.
                                unsafe {
                                    at.write_unaligned(if beta == 0.0 { sum } else { simd.$add(sum, simd.$mul(scale, at.read_unaligned())) });
                                }
                            }
                        }
                    }
                    match a {
                        Left::Panel(_) => whole::<PANEL>(self, depth, a, b, (alpha, beta), c, row),
                        Left::Direct { .. } => whole::<DIRECT>(self, depth, a, b, (alpha, beta), c, row),
                        Left::Gather { .. } => whole::<GATHER>(self, depth, a, b, (alpha, beta), c, row),
                    }
                }

                #[inline(always)]
                unsafe fn scattered(
                    self, depth: usize, a: Left<'_, $f>, b: Right<'_, $f>, c: *mut $f, starts: &[u32], finish: Finish<'_, $f>,
                ) {
                    let extent = Extent { rows: $rows, cols: 2 * $lanes, depth };
                    let sums = $terms::<$rows, 2, GATHER, false>(self, extent, a, b);
                    let (beta, floor) = (self.$splat(finish.beta), self.$splat(if finish.relu { 0.0 } else { <$f>::NEG_INFINITY }));
                    // −0 changes no number, 0 would turn −0 over.
                    let mut bias = [self.$splat(-0.0); 2];
                    if let Some(numbers) = finish.bias {
                        let numbers = &numbers[..2 * $lanes];
                        // SAFETY: the slice holds two vectors.
                        bias = from_fn(|j| unsafe { numbers.as_ptr().add(j * $lanes).cast::<<$set as Simd>::$vector>().read_unaligned() });
                    }
                    let starts: &[u32; $rows] = starts.first_chunk().expect("a start for each row");
                    // By number, so that the sums stay in registers.
                    for i in 0..$rows {
                        for j in 0..2 {
                            let at = c.wrapping_add(starts[i] as usize + j * $lanes).cast::<<$set as Simd>::$vector>();
                            // SAFETY: the caller's promise about C.
                            unsafe {
                                let sum = if finish.beta == 0.0 { sums[i][j] } else { self.$add(sums[i][j], self.$mul(beta, at.read_unaligned())) };
                                // The second operand is what comes back where one is NaN.
                                at.write_unaligned(self.$max(floor, self.$add(sum, bias[j])));
                            }
                        }
                    }
                }

                #[inline(always)]
                fn run<R>(self, f: impl FnOnce() -> R) -> R {
                    self.vectorize(f)
                }

                const SIDE: usize = $side;
                #[inline(always)]
                fn turn(self, data: &[$f], across: usize, depth: usize, width: usize, out: &mut [$f]) {
                    $turn(self, data, across, depth, width, out);
                }
            }

            /// The sums of R rows of V vectors; WAY: how `a` is read; CUT: the last vector is read in part.
            #[inline(always)]
            fn $terms<const R: usize, const V: usize, const WAY: u8, const CUT: bool>(
                simd: $set, extent: Extent, a: Left<'_, $f>, b: Right<'_, $f>,
            ) -> [[<$set as Simd>::$vector; V]; R] {
                let Extent { rows, cols, depth } = extent;
                let (b, width) = match b {
                    Right::Panel(data) => (data, 2 * $lanes),
                    Right::Direct { data, row } => (data, row),
                };
                let last = if CUT { cols - (V - 1) * $lanes } else { $lanes };
                assert!(rows > 0 && rows <= R && last <= $lanes, "a tile holds its extent");
                assert!(reach(depth, (V - 1) * $lanes + last, width, 1) <= b.len(), "B ends early");
                let alone = [0];
                let (starts, segments, len, step): ([*const $f; R], &[u32], usize, usize) = match a {
                    Left::Panel(data) if WAY == PANEL => {
                        assert!(reach(R, depth, 1, $rows) <= data.len(), "A ends early");
                        (from_fn(|i| data.as_ptr().wrapping_add(i)), &alone, depth, $rows)
                    }
                    Left::Direct { data, row, col } if WAY == DIRECT => {
                        assert!(reach(rows, depth, row, col) <= data.len(), "A ends early");
                        (from_fn(|i| data.as_ptr().wrapping_add(i.min(rows - 1) * row)), &alone, depth, col)
                    }
                    Left::Gather { data, rows: from, segments, len, step } if WAY == GATHER => {
                        assert!(rows <= from.len() && segments.len() * len == depth, "A ends early");
                        (from_fn(|i| data.as_ptr().wrapping_add(from[i.min(rows - 1)] as usize)), segments, len, step)
                    }
                    _ => unreachable!("the way is that of A"),
                };
                // Without pulp's way around slow masks, which jumps in the loop.
                let mask = MemMask::new(simd.$between(0, last as _).mask());
                let mut b_row = b.as_ptr();
                let mut sums = [[simd.$splat(0.0); V]; R];
                for &segment in segments {
                    let mut from = segment as usize;
                    for _ in 0..len {
                        if WAY == GATHER {
                            ask(b_row.wrapping_add(AHEAD * width));
                            ask(b_row.wrapping_add(AHEAD * width + $lanes));
                        } else {
                            ask(starts[0].wrapping_add(from + AHEAD * step));
                        }
                        let right: [<$set as Simd>::$vector; V] = from_fn(
                            #[inline(always)]
                            |j| {
                                let at = b_row.wrapping_add(j * $lanes);
                                // SAFETY: this is row p < depth, and the assertion on B says that its columns are there.
                                unsafe {
                                    if CUT && j == V - 1 { simd.$cut(mask, at) } else { at.cast::<<$set as Simd>::$vector>().read_unaligned() }
                                }
                            },
                        );
                        for i in 0..R {
                            // SAFETY: (i, p) lies inside A: the assertions on it, and the promise of who gathers.
                            let left = simd.$splat(unsafe { *starts[i].wrapping_add(from) });
                            for j in 0..V {
                                sums[i][j] = simd.$fma(left, right[j], sums[i][j]);
                            }
                        }
                        from += step;
                        b_row = b_row.wrapping_add(width);
                    }
                }
                sums
            }
        };
    }
    fused!(
        V3,
        f32,
        8,
        6,
        [1, 2, 4, 6],
        f32s,
        splat_f32s,
        mul_add_f32s,
        mask_load_ptr_f32s,
        mask_between_m32s,
        as_mut_simd_f32s,
        mul_f32s,
        add_f32s,
        max_f32s,
        f32_v3,
        8,
        turn8
    );
    fused!(
        V3,
        f64,
        4,
        6,
        [1, 2, 4, 6],
        f64s,
        splat_f64s,
        mul_add_f64s,
        mask_load_ptr_f64s,
        mask_between_m64s,
        as_mut_simd_f64s,
        mul_f64s,
        add_f64s,
        max_f64s,
        f64_v3,
        4,
        turn4_f64
    );
    fused!(
        V4,
        f32,
        16,
        12,
        [1, 2, 4, 8, 12],
        f32s,
        splat_f32s,
        mul_add_f32s,
        mask_load_ptr_f32s,
        mask_between_m32s,
        as_mut_simd_f32s,
        mul_f32s,
        add_f32s,
        max_f32s,
        f32_v4,
        8,
        turn8_v4
    );
    fused!(
        V4,
        f64,
        8,
        12,
        [1, 2, 4, 8, 12],
        f64s,
        splat_f64s,
        mul_add_f64s,
        mask_load_ptr_f64s,
        mask_between_m64s,
        as_mut_simd_f64s,
        mul_f64s,
        add_f64s,
        max_f64s,
        f64_v4,
        4,
        turn4_f64
    );

    #[inline(always)]
    fn turn4_f64<S>(_: S, data: &[f64], across: usize, depth: usize, width: usize, out: &mut [f64]) {
        turn4(data, across, depth, width, out);
    }

    #[inline(always)]
    fn turn8_v4(simd: V4, data: &[f32], across: usize, depth: usize, width: usize, out: &mut [f32]) {
        turn8(*simd, data, across, depth, width, out);
    }

    /// Squares of 8 × 8, each from 16 loads of four numbers: two rows of four columns share a vector, so that lanes need not be crossed.
    #[inline(always)]
    fn turn8(simd: V3, data: &[f32], across: usize, depth: usize, width: usize, out: &mut [f32]) {
        const SIDE: usize = 8;
        assert!(reach(depth, SIDE, 1, across) <= data.len(), "the columns end early");
        assert!(reach(depth, SIDE, width, 1) <= out.len(), "the panel ends early");
        let avx = simd.avx;
        let squares = depth / SIDE;
        for nth in 0..squares {
            let from = data.as_ptr().wrapping_add(nth * SIDE);
            if nth % 2 == 0 {
                // The columns that follow, while these are at work: runs of a panel's depth are too short for the hardware to foresee.
                (SIDE..2 * SIDE).for_each(|j| ask(from.wrapping_add(j * across)));
            }
            for half in 0..2 {
                // SAFETY: rows below `depth` of eight columns: the assertion on `data`.
                let pair = |j: usize| unsafe {
                    let at = |j: usize| from.wrapping_add(half * 4 + j * across);
                    let low = simd.sse._mm_loadu_ps(at(j));
                    let high = simd.sse._mm_loadu_ps(at(j + 4));
                    avx._mm256_insertf128_ps::<1>(avx._mm256_castps128_ps256(low), high)
                };
                let [a, b, c, d]: [__m256; 4] = from_fn(pair);
                let (ab, ab_high) = (avx._mm256_unpacklo_ps(a, b), avx._mm256_unpackhi_ps(a, b));
                let (cd, cd_high) = (avx._mm256_unpacklo_ps(c, d), avx._mm256_unpackhi_ps(c, d));
                let rows = [
                    avx._mm256_shuffle_ps::<0x44>(ab, cd),
                    avx._mm256_shuffle_ps::<0xEE>(ab, cd),
                    avx._mm256_shuffle_ps::<0x44>(ab_high, cd_high),
                    avx._mm256_shuffle_ps::<0xEE>(ab_high, cd_high),
                ];
                for (i, row) in rows.into_iter().enumerate() {
                    let to = out.as_mut_ptr().wrapping_add((nth * SIDE + half * 4 + i) * width);
                    // SAFETY: the assertion on `out`.
                    unsafe { avx._mm256_storeu_ps(to, row) };
                }
            }
        }
        for q in squares * SIDE..depth {
            for k in 0..SIDE {
                out[q * width + k] = data[q + k * across];
            }
        }
    }
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
