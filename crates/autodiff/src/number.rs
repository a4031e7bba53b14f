//! [`Number`]: what tensors are made of.

use std::cell::Cell;
use std::fmt::Debug;

use thalweg_core::gemm::{Epilogue, Finish, Gather, Mat, MatMut, Operand, Packed, gather, gemm, gemm_with};
use thalweg_core::math::Elementary;
use thalweg_core::{Buffer, Float, Real, Threads};

/// A number that operations are written for: `f32`, `f64`, or [`Dual`](crate::Dual) of one of them.
///
/// `f32` and `f64` take the fast kernels; dual numbers take plain loops through the same formulas, so each operation has its
/// second derivatives without code of its own.
pub trait Number: Real<Mask = bool> + Default + PartialEq + Debug {
    /// The float beneath.
    type Base: Float;
    /// That float as a number.
    fn from_base(x: Self::Base) -> Self;
    /// The value alone.
    fn base(self) -> Self::Base;
    /// The value alone, in `f64`.
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.base().to_f64()
    }
    /// Whether the value is NaN.
    #[inline(always)]
    fn is_nan(self) -> bool {
        self.to_f64().is_nan()
    }
    /// eˣ.
    fn exp(self) -> Self;
    /// ln x.
    fn ln(self) -> Self;
    /// tanh x.
    fn tanh(self) -> Self;
    /// erf x.
    fn erf(self) -> Self;
    /// erf x and e^(−x²): see [`Elementary::erf_and_exp`].
    fn erf_and_exp(self) -> (Self, Self);
    /// 1/(1 + e⁻ˣ).
    fn sigmoid(self) -> Self;
    /// ln(1 + eˣ), without overflow.
    fn softplus(self) -> Self;
    /// `C ← α·A·B + β·C`: see [`gemm`].
    fn product(
        threads: &Threads,
        alpha: Self,
        a: View<'_, Self>,
        b: View<'_, Self>,
        beta: Self,
        c: ViewMut<'_, Self>,
    );
    /// `y ← x·w + bias` by columns, of which the relu if asked for: `x [n, in]`, `w [in, out]`, `y [n, out]` row after row.
    fn dense(
        threads: &Threads,
        x: View<'_, Self>,
        w: View<'_, Self>,
        bias: Option<&[Self]>,
        relu: bool,
        y: &mut [Self],
    ) {
        let out = w.cols;
        Self::product(threads, Self::one(), x, w, Self::zero(), ViewMut::new(y, x.rows, out));
        for y in y.chunks_exact_mut(out.max(1)) {
            if let Some(bias) = bias {
                y.iter_mut().zip(bias).for_each(|(y, &b)| *y = *y + b);
            }
            if relu {
                y.iter_mut().for_each(|y| *y = Self::select(y.lt(Self::zero()), Self::zero(), *y));
            }
        }
    }
    /// Calls `f` with memory of this thread, of any values: it stays in the thread's cache from call to call.
    fn scratch<R>(len: usize, f: impl FnOnce(&mut [Self]) -> R) -> R;
    /// A matrix that several products read, as they like it best.
    type Packed<'a>: Copy + Sync;
    /// The numbers that [`Number::pack`] takes for a matrix of that size.
    fn room(rows: usize, cols: usize) -> usize;
    /// Packs a matrix into `room`.
    fn pack(threads: &Threads, b: View<'_, Self>, room: &mut [Self]);
    /// What was packed there of a matrix of that size, for [`Number::gather`].
    fn packed(room: &[Self], rows: usize, cols: usize) -> Self::Packed<'_>;
    /// `C ← A·B + β·C`, then bias and relu, on this thread: row i of C is `c[starts[i]..]`. See [`gather`](gather()).
    fn gather(
        a: Gather<'_, Self>,
        b: Columns<'_, Self>,
        c: &mut [Self],
        starts: &[u32],
        finish: Finish<'_, Self>,
    );
}

/// B of [`Number::gather`].
#[derive(Clone, Copy, Debug)]
pub enum Columns<'a, N: Number> {
    /// Packed before.
    Packed(N::Packed<'a>),
    /// In place; columns are contiguous.
    Rows(View<'a, N>),
}

/// A matrix to be read: element (i, j) at `data[i·row + j·col]`.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, N> {
    /// The numbers.
    pub data: &'a [N],
    /// How many rows.
    pub rows: usize,
    /// How many columns.
    pub cols: usize,
    /// From one row to the next.
    pub row: usize,
    /// From one column to the next.
    pub col: usize,
}

impl<'a, N> View<'a, N> {
    /// `rows × cols` numbers, row after row.
    pub fn new(data: &'a [N], rows: usize, cols: usize) -> Self {
        Self { data, rows, cols, row: cols, col: 1 }
    }
    /// The transpose: the same numbers.
    pub fn t(self) -> Self {
        Self { data: self.data, rows: self.cols, cols: self.rows, row: self.col, col: self.row }
    }
}

/// A matrix to be written: as [`View`].
#[derive(Debug)]
pub struct ViewMut<'a, N> {
    /// The numbers.
    pub data: &'a mut [N],
    /// How many rows.
    pub rows: usize,
    /// How many columns.
    pub cols: usize,
    /// From one row to the next.
    pub row: usize,
    /// From one column to the next.
    pub col: usize,
}

impl<'a, N> ViewMut<'a, N> {
    /// `rows × cols` numbers, row after row.
    pub fn new(data: &'a mut [N], rows: usize, cols: usize) -> Self {
        Self { data, rows, cols, row: cols, col: 1 }
    }
}

/// Adds a number to each column, and cuts at 0 if asked to.
struct Shift<'a, F> {
    bias: Option<&'a [F]>,
    relu: bool,
}

impl<F: Float> Epilogue<F> for Shift<'_, F> {
    #[inline(always)]
    fn apply(&self, _: usize, j: usize, c: &mut [F]) {
        if let Some(bias) = self.bias {
            c.iter_mut().zip(&bias[j..]).for_each(|(c, &b)| *c += b);
        }
        if self.relu {
            c.iter_mut().for_each(|c| *c = F::select((*c).lt(F::zero()), F::zero(), *c));
        }
    }
}

macro_rules! number {
    ($f:ty) => {
        impl Number for $f {
            type Base = $f;
            #[inline(always)]
            fn from_base(x: $f) -> Self {
                x
            }
            #[inline(always)]
            fn base(self) -> $f {
                self
            }
            #[inline(always)]
            fn exp(self) -> Self {
                Elementary::exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                Elementary::ln(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                Elementary::tanh(self)
            }
            #[inline(always)]
            fn erf(self) -> Self {
                Elementary::erf(self)
            }
            #[inline(always)]
            fn erf_and_exp(self) -> (Self, Self) {
                Elementary::erf_and_exp(self)
            }
            #[inline(always)]
            fn sigmoid(self) -> Self {
                Elementary::sigmoid(self)
            }
            #[inline(always)]
            fn softplus(self) -> Self {
                Elementary::softplus(self)
            }
            fn product(
                t: &Threads,
                alpha: $f,
                a: View<'_, $f>,
                b: View<'_, $f>,
                beta: $f,
                c: ViewMut<'_, $f>,
            ) {
                if c.rows == 0 || c.cols == 0 {
                    return;
                }
                gemm(
                    t,
                    alpha,
                    Mat::strided(a.data, a.rows, a.cols, a.row, a.col),
                    Mat::strided(b.data, b.rows, b.cols, b.row, b.col),
                    beta,
                    MatMut::strided(c.data, c.rows, c.cols, c.row, c.col),
                );
            }
            fn dense(
                threads: &Threads,
                x: View<'_, $f>,
                w: View<'_, $f>,
                bias: Option<&[$f]>,
                relu: bool,
                y: &mut [$f],
            ) {
                gemm_with(
                    threads,
                    1.0,
                    Mat::strided(x.data, x.rows, x.cols, x.row, x.col),
                    Operand::Source(&Mat::strided(w.data, w.rows, w.cols, w.row, w.col)),
                    0.0,
                    MatMut::new(y, x.rows, w.cols),
                    &Shift { bias, relu },
                );
            }
            fn scratch<R>(len: usize, f: impl FnOnce(&mut [Self]) -> R) -> R {
                thread_local! {
                    static ROOM: Cell<Buffer<$f>> = Cell::new(Buffer::zeros(0));
                }
                let mut room = ROOM.replace(Buffer::zeros(0));
                if room.len() < len {
                    room = Buffer::zeros(len);
                }
                let result = f(&mut room[..len]);
                ROOM.set(room);
                result
            }
            type Packed<'a> = Packed<'a, $f>;
            fn room(rows: usize, cols: usize) -> usize {
                Packed::<$f>::room(rows, cols)
            }
            fn pack(threads: &Threads, b: View<'_, $f>, room: &mut [$f]) {
                Packed::whole(threads, &Mat::strided(b.data, b.rows, b.cols, b.row, b.col), room);
            }
            fn packed(room: &[$f], rows: usize, cols: usize) -> Packed<'_, $f> {
                Packed::in_room(room, rows, cols)
            }
            fn gather(
                a: Gather<'_, $f>,
                b: Columns<'_, $f>,
                c: &mut [$f],
                starts: &[u32],
                finish: Finish<'_, $f>,
            ) {
                match b {
                    Columns::Packed(b) => gather(a, &Operand::Packed(b), c, starts, finish),
                    Columns::Rows(b) => {
                        let b = Mat::strided(b.data, b.rows, b.cols, b.row, b.col);
                        gather(a, &Operand::Source(&b), c, starts, finish);
                    }
                }
            }
        }
    };
}

number!(f32);
number!(f64);
