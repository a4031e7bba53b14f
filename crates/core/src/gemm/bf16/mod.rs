//! Products of matrices in bfloat16, summed in f32: for iterations that bear three digits, as Muon's.
//!
//! On processors with AMX (Intel's Xeons since 2023, under Linux 5.16 or later) a product takes about a sixth of the time of [`gemm`](super::gemm())
//! in f32; elsewhere plain loops give the same bits in more than twice that time. The order of sums is that of the machine's instruction,
//! `tdpbf16ps`: of 32 terms those at even places are added up, those at odd places too, both sums are added, and that to what came before.
//! Products of two bf16 are exact in f32, so that it does not matter whether they are added with one rounding or with two, as long as none
//! reaches 2¹²⁸; and numbers below 2⁻⁵⁵ count as 0, so that every sum is a multiple of 2⁻¹²⁴ and none is subnormal, which the instruction
//! would take for 0. A NaN is a NaN, of no particular bits, and what is not finite may spread as NaN.
//!
//! A [`Squares`] keeps a matrix in squares of 32 × 32, each in the order in which products read it. Zeros fill up those at the borders.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
mod plain;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};

use aligned_vec::{AVec, RuntimeAlign};

use super::shared::Shared;
use crate::bf16::{from_bf16, to_bf16};
use crate::buffer::ALIGN;
use crate::{Float, Threads, isa, pages};

/// Rows and columns of a square.
const SIDE: usize = 32;
/// Columns of a tile of the machine, and its rows.
const TILE: usize = SIDE / 2;
/// Squares of a row of A that meet those of a column of B before the sums are put aside.
const DEPTH: usize = 64;
/// Columns of squares of B that a task works on: with [`DEPTH`] squares each they stay in the second cache.
const COLUMNS: usize = 8;

/// A square as A is read: rows 0, 2, 4, …, then 1, 3, 5, …, by the bits of bf16.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Left([u16; SIDE * SIDE]);

/// A square as B is read: pairs of rows, by columns; the upper row is in the lower half of each number.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Right([u32; SIDE * SIDE / 2]);

/// The sums of a square, in the order of [`Left`].
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Sums([f32; SIDE * SIDE]);

/// The numbers of a square in the order of [`Left`], by the bits of bf16, each as wide as a sum: a vector holds as many of either. That order lets
/// most loops go over them from end to end.
type Numbers = [u32; SIDE * SIDE];

/// Where row `r` of [`Numbers`] starts.
#[inline(always)]
fn row(r: usize) -> usize {
    (r % 2 * TILE + r / 2) * SIDE
}

/// How a matrix is kept, which decides where it can stand in a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms {
    /// So that it can be B of [`multiply`].
    pub right: bool,
    /// With its transpose, which [`gram`] wants of A.
    pub turned: bool,
}

/// A matrix in bfloat16. It can stand on the left of a product, and elsewhere as its [`Forms`] say. It takes 2 bytes for each number of a
/// square, and for each form as many again.
#[derive(Debug)]
pub struct Squares {
    rows: usize,
    cols: usize,
    forms: Forms,
    /// Square (i, j) at `i·wide + j`.
    left: AVec<Left, RuntimeAlign>,
    /// Square (i, j) at `j·high + i`.
    right: AVec<Right, RuntimeAlign>,
    /// The transpose of square (i, j) at `i·wide + j`.
    turned: AVec<Right, RuntimeAlign>,
}

impl Squares {
    /// A matrix of zeros.
    pub fn zeros(rows: usize, cols: usize, forms: Forms) -> Self {
        let (left, right, turned) = (AVec::new(ALIGN), AVec::new(ALIGN), AVec::new(ALIGN));
        let mut all = Self { rows: 0, cols: 0, forms, left, right, turned };
        all.resize(rows, cols);
        all
    }

    /// Becomes a matrix of another size, which is to be filled, or written by a product, before it is read.
    pub fn resize(&mut self, rows: usize, cols: usize) {
        (self.rows, self.cols) = (rows, cols);
        let (high, wide) = self.size();
        reserve(&mut self.left, high * wide, Left([0; SIDE * SIDE]));
        for (squares, wanted) in [(&mut self.right, self.forms.right), (&mut self.turned, self.forms.turned)]
        {
            reserve(squares, if wanted { high * wide } else { 0 }, Right([0; SIDE * SIDE / 2]));
        }
    }

    /// Squares in a column, and in a row.
    fn size(&self) -> (usize, usize) {
        (self.rows.div_ceil(SIDE), self.cols.div_ceil(SIDE))
    }

    /// Takes the numbers `of(x)` for x of `from`, row after row; or, `turned`, those of its transpose.
    ///
    /// # Panics
    /// When `from` has fewer numbers.
    pub fn fill<F: Float>(
        &mut self,
        threads: &Threads,
        from: &[F],
        turned: bool,
        of: impl Fn(F) -> f32 + Sync,
    ) {
        let (rows, cols) = (self.rows, self.cols);
        let from = &from[..rows * cols];
        let (high, wide) = self.size();
        let to = Writer::new(self);
        let groups = wide.div_ceil(COLUMNS);
        threads.run(high * groups, |nth| {
            let (i, from_j) = (nth / groups, nth % groups * COLUMNS);
            isa::run(
                #[inline(always)]
                || {
                    for j in from_j..wide.min(from_j + COLUMNS) {
                        let mut numbers = [0; SIDE * SIDE];
                        let (cols, i, j) = if turned { (rows, j, i) } else { (cols, i, j) };
                        let lines = from.chunks_exact(cols).skip(i * SIDE).take(SIDE);
                        for (r, from) in lines.enumerate() {
                            for (number, &x) in numbers[row(r)..][..SIDE].iter_mut().zip(&from[j * SIDE..]) {
                                *number = rounded(of(x));
                            }
                        }
                        // SAFETY: each task has squares of its own.
                        unsafe {
                            if turned {
                                to.put(j, i, &transposed(&numbers), || numbers);
                            } else {
                                to.put(i, j, &numbers, || transposed(&numbers));
                            }
                        }
                    }
                },
            );
        });
    }

    /// Writes `of(x)` for each number x to `to`, row after row; or, `turned`, column after column.
    ///
    /// # Panics
    /// When `to` has fewer numbers.
    pub fn write<F: Float>(
        &self,
        threads: &Threads,
        to: &mut [F],
        turned: bool,
        of: impl Fn(f32) -> F + Sync,
    ) {
        let to = &mut to[..self.rows * self.cols];
        let (across, wide) = (if turned { self.rows } else { self.cols }, self.size().1);
        if across == 0 {
            return;
        }
        let bands: Vec<Mutex<&mut [F]>> = to.chunks_mut(SIDE * across).map(Mutex::new).collect();
        threads.run(bands.len(), |i| {
            let mut band = bands[i].lock().unwrap_or_else(PoisonError::into_inner);
            isa::run(
                #[inline(always)]
                || {
                    for j in 0..across.div_ceil(SIDE) {
                        let mut numbers =
                            numbers_of(&self.left[if turned { j * wide + i } else { i * wide + j }]);
                        if turned {
                            numbers = transposed(&numbers);
                        }
                        for (r, to) in band.chunks_exact_mut(across).enumerate() {
                            for (to, &x) in to[j * SIDE..].iter_mut().zip(&numbers[row(r)..][..SIDE]) {
                                *to = of(f32::from_bits(x << 16));
                            }
                        }
                    }
                },
            );
        });
    }
}

/// At least `count` squares, on huge pages where they are many.
fn reserve<T: Copy>(squares: &mut AVec<T, RuntimeAlign>, count: usize, zero: T) {
    if squares.len() < count {
        let bytes = count * size_of::<T>();
        *squares = AVec::with_capacity(if bytes < pages::HUGE { ALIGN } else { pages::HUGE }, count);
        pages::advise(squares.as_ptr(), bytes);
        squares.resize(count, zero);
    }
}

/// The nearest bf16, 0 below 2⁻⁵⁵.
#[inline(always)]
fn rounded(x: f32) -> u32 {
    const LEAST: f32 = f32::from_bits((127 - 55) << 23);
    if x.abs() < LEAST { 0 } else { u32::from(to_bf16(x)) }
}

/// Places that a square of sums is written to, at most. (A symmetric matrix kept as B would have six; nobody wants one.)
const PLACES: usize = 4;

/// A matrix that several threads write, each squares of its own.
struct Writer<'a> {
    size: (usize, usize),
    forms: Forms,
    left: Shared<'a, Left>,
    right: Shared<'a, Right>,
    turned: Shared<'a, Right>,
}

impl<'a> Writer<'a> {
    fn new(to: &'a mut Squares) -> Self {
        let (size, forms) = (to.size(), to.forms);
        let (left, right) = (Shared::new(&mut to.left), Shared::new(&mut to.right));
        Self { size, forms, left, right, turned: Shared::new(&mut to.turned) }
    }

    /// Where square (i, j) goes, and its transpose too if `both`; places may repeat.
    fn places(&self, i: usize, j: usize, both: bool) -> [*const u8; PLACES] {
        let (high, wide) = self.size;
        let left = |i: usize, j: usize| self.left.start(i * wide + j, 1).cast::<u8>().cast_const();
        let turned = |i: usize, j: usize| match self.forms.turned {
            true => self.turned.start(i * wide + j, 1).cast::<u8>().cast_const(),
            false => left(i, j),
        };
        let right = |i: usize, j: usize| match self.forms.right {
            true => self.right.start(j * high + i, 1).cast::<u8>().cast_const(),
            false => left(i, j),
        };
        let third = if both { left(j, i) } else { right(i, j) };
        [left(i, j), turned(i, j), third, if both { turned(j, i) } else { third }]
    }

    /// Writes square (i, j) in every form.
    ///
    /// # Safety
    /// Nobody else writes this square meanwhile.
    #[inline(always)]
    unsafe fn put(&self, i: usize, j: usize, numbers: &Numbers, transposed: impl FnOnce() -> Numbers) {
        let (high, wide) = self.size;
        // SAFETY: this function's contract; each square has places of its own in every form.
        let left = unsafe { self.left.part(i * wide + j, 1) };
        left[0].0.iter_mut().zip(numbers).for_each(|(left, &x)| *left = x as u16);
        if self.forms.right {
            // SAFETY: as above.
            let right = unsafe { self.right.part(j * high + i, 1) };
            pair(numbers, &mut right[0]);
        }
        if self.forms.turned {
            // SAFETY: as above.
            let turned = unsafe { self.turned.part(i * wide + j, 1) };
            pair(&transposed(), &mut turned[0]);
        }
    }
}

/// Pairs of rows.
#[inline(always)]
fn pair(numbers: &Numbers, to: &mut Right) {
    let (upper, lower) = numbers.split_at(numbers.len() / 2);
    for ((to, upper), lower) in to.0.iter_mut().zip(upper).zip(lower) {
        *to = upper | lower << 16;
    }
}

#[inline(always)]
fn numbers_of(left: &Left) -> Numbers {
    left.0.map(u32::from)
}

/// The transpose, by squares of 4 × 4 in registers.
#[inline(always)]
fn transposed(numbers: &Numbers) -> Numbers {
    let mut turned = [0; SIDE * SIDE];
    for i in (0..SIDE).step_by(4) {
        for j in (0..SIDE).step_by(4) {
            let square = turn(std::array::from_fn(|r| std::array::from_fn(|c| numbers[row(i + r) + j + c])));
            for (c, column) in square.iter().enumerate() {
                turned[row(j + c) + i..][..4].copy_from_slice(column);
            }
        }
    }
    turned
}

/// Left to itself, the compiler scatters single numbers.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn turn(square: [[u32; 4]; 4]) -> [[u32; 4]; 4] {
    use std::arch::x86_64::{_mm_unpackhi_epi32, _mm_unpackhi_epi64, _mm_unpacklo_epi32, _mm_unpacklo_epi64};
    let [a, b, c, d] = square.map(pulp::cast);
    // SAFETY: SSE2 is part of x86-64.
    unsafe {
        let (ab, cd) = (_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
        let (ab_high, cd_high) = (_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d));
        [
            _mm_unpacklo_epi64(ab, cd),
            _mm_unpackhi_epi64(ab, cd),
            _mm_unpacklo_epi64(ab_high, cd_high),
            _mm_unpackhi_epi64(ab_high, cd_high),
        ]
    }
    .map(pulp::cast)
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn turn(square: [[u32; 4]; 4]) -> [[u32; 4]; 4] {
    std::array::from_fn(|c| square.map(|row| row[c]))
}

/// `C ← α·A·B + β·D` for `A [m, k]`, `B [k, n]`, and `D`, `C [m, n]`; each number of C is rounded to bf16 once.
///
/// # Panics
/// When the shapes do not fit, or B is not kept to stand on the right.
pub fn multiply(
    threads: &Threads,
    alpha: f32,
    a: &Squares,
    b: &Squares,
    plus: Option<(f32, &Squares)>,
    c: &mut Squares,
) {
    assert!(b.forms.right, "multiply: B is not kept to stand on the right");
    assert!(a.cols == b.rows && (a.rows, b.cols) == (c.rows, c.cols), "multiply: shapes do not fit");
    product(threads, alpha, a, &b.right, plus, c, false);
}

/// `C ← α·A·Aᵀ + β·D` for `A [m, k]` and a symmetric D, as [`multiply`]: half of the squares are computed.
///
/// # Panics
/// When the shapes do not fit, or A is not kept to be turned.
pub fn gram(threads: &Threads, alpha: f32, a: &Squares, plus: Option<(f32, &Squares)>, c: &mut Squares) {
    assert!(a.forms.turned, "gram: A is not kept to be turned");
    assert!((a.rows, a.rows) == (c.rows, c.cols), "gram: shapes do not fit");
    product(threads, alpha, a, &a.turned, plus, c, true);
}

/// All squares, or those at or below the diagonal and their transposes. Those of a column of B lie behind each other in `right`.
fn product(
    threads: &Threads,
    alpha: f32,
    a: &Squares,
    right: &[Right],
    plus: Option<(f32, &Squares)>,
    c: &mut Squares,
    lower: bool,
) {
    assert!(plus.is_none_or(|(_, d)| (d.rows, d.cols) == (c.rows, c.cols)), "a product: shapes do not fit");
    let ((high, wide), depth) = (c.size(), a.size().1);
    let c = Writer::new(c);
    let mut tasks = Vec::new();
    for j in (0..wide).step_by(COLUMNS) {
        tasks.extend((if lower { j } else { 0 }..high).map(|i| (i, j)));
    }
    threads.run(tasks.len(), |nth| {
        let (i, from) = tasks[nth];
        let to = wide.min(from + COLUMNS).min(if lower { i + 1 } else { wide });
        let left = &a.left[i * depth..][..depth];
        let mut sums = SUMS.take();
        sums.resize(COLUMNS, Sums([0.0; SIDE * SIDE]));
        let near = |nth: usize| c.places(i, from + nth, lower);
        add_up(left, &right[from * depth..to * depth], &mut sums[..to - from], near);
        isa::run(
            #[inline(always)]
            || {
                for (j, sums) in (from..to).zip(&sums) {
                    let numbers = finish(alpha, sums, plus.map(|(beta, d)| (beta, &d.left[i * wide + j])));
                    // SAFETY: a square belongs to one task, and what lies above the diagonal to that of its transpose.
                    unsafe {
                        if lower && i != j {
                            let turned = transposed(&numbers);
                            c.put(i, j, &numbers, || turned);
                            c.put(j, i, &turned, || numbers);
                        } else {
                            c.put(i, j, &numbers, || transposed(&numbers));
                        }
                    }
                }
            },
        );
        SUMS.set(sums);
    });
}

thread_local! {
    /// The sums of a task, kept for the next.
    static SUMS: Cell<Vec<Sums>> = const { Cell::new(Vec::new()) };
}

/// α·sums + β·d, rounded.
#[inline(always)]
fn finish(alpha: f32, sums: &Sums, plus: Option<(f32, &Left)>) -> Numbers {
    let mut numbers = [0; SIDE * SIDE];
    match plus {
        None => numbers.iter_mut().zip(&sums.0).for_each(|(x, &sum)| *x = rounded(alpha * sum)),
        Some((beta, d)) => {
            for ((x, &sum), &d) in numbers.iter_mut().zip(&sums.0).zip(&d.0) {
                *x = rounded(alpha * sum + beta * from_bf16(d));
            }
        }
    }
    numbers
}

/// Each of `sums` becomes the product of a row of squares and one of the columns that follow each other in `right`.
///
/// `near(j)` is where the squares will go that come of the j-th: this memory is asked for while they are computed (and some
/// beyond it, where there are many terms).
fn add_up(left: &[Left], right: &[Right], sums: &mut [Sums], near: impl Fn(usize) -> [*const u8; PLACES]) {
    if left.is_empty() {
        return sums.fill(Sums([0.0; SIDE * SIDE]));
    }
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if amx::is_in_use() {
        return amx::with_tiles(|tiles| {
            in_chunks(left, right, sums, |j, left, right, sums, new| {
                tiles.add(left, right, sums, new, near(j))
            });
        });
    }
    add_up_plainly(left, right, sums);
}

/// [`add_up`] without tiles.
fn add_up_plainly(left: &[Left], right: &[Right], sums: &mut [Sums]) {
    isa::run(
        #[inline(always)]
        || {
            in_chunks(
                left,
                right,
                sums,
                // Else it would be a function of its own, compiled for what every machine has.
                #[inline(always)]
                |_, left, right, sums, new| plain::add(left, right, sums, new),
            );
        },
    );
}

/// [`DEPTH`] squares at a time; the first come to new sums.
#[inline(always)]
fn in_chunks(
    left: &[Left],
    right: &[Right],
    sums: &mut [Sums],
    add: impl Fn(usize, &[Left], &[Right], &mut Sums, bool),
) {
    let depth = left.len();
    for from in (0..depth).step_by(DEPTH) {
        let to = depth.min(from + DEPTH);
        for (j, sums) in sums.iter_mut().enumerate() {
            add(j, &left[from..to], &right[j * depth + from..j * depth + to], sums, from == 0);
        }
    }
}
