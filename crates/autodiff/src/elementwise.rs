//! [`Function`] and [`Pair`]: formulas of one and of two numbers, and the operations that run them over tensors.

use crate::op::{Backward, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::{AXES, Shape, misfit};
use crate::{Number, Tape, Var, parallel};

/// What an elementary function counts as, in simple operations: only decides when threads are worth it.
const COST: usize = 8;

/// A function of one number, with its slope.
pub trait Function: Copy + Send + Sync + 'static {
    /// The name that errors carry.
    const NAME: &'static str;
    /// The slope is worked out from the result; else from the input.
    const FROM_RESULT: bool;
    /// f(x).
    fn value<N: Number>(self, x: N) -> N;
    /// f′(x), from x or, if `FROM_RESULT`, from f(x).
    fn slope<N: Number>(self, saved: N) -> N;
    /// f(x) and f′(x), from x, where they are cheaper together.
    #[inline(always)]
    fn both<N: Number>(self, x: N) -> (N, N) {
        let y = self.value(x);
        (y, self.slope(if Self::FROM_RESULT { y } else { x }))
    }
}

/// `y = f(x)` for each number; backward `dx += f′(x)·dy`.
#[derive(Clone, Copy)]
pub(crate) struct Map<T>(pub T);

impl<N: Number, T: Function> Op<N> for Map<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        x.shape(0)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (x, function) = (f.x(0), self.0);
        parallel::rows(
            f.work.threads,
            y,
            1,
            COST,
            #[inline(always)]
            |at, y| {
                for (y, &x) in y.iter_mut().zip(&x[at..]) {
                    *y = function.value(x);
                }
            },
        );
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        if b.wants(0) {
            let saved = if T::FROM_RESULT { b.y() } else { b.x(0) };
            times_slope(b.work.threads, self.0, saved, dy);
            b.pass(0, dy);
        }
    }
}

/// `y ← f(y)` in place.
pub(crate) fn apply<N: Number, T: Function>(threads: &thalweg_core::Threads, function: T, y: &mut [N]) {
    parallel::rows(
        threads,
        y,
        1,
        COST,
        #[inline(always)]
        |_, y| {
            for y in y.iter_mut() {
                *y = function.value(*y);
            }
        },
    );
}

/// `slope ← f′(y)`, then `y ← f(y)` in place.
pub(crate) fn apply_both<N: Number, T: Function>(
    threads: &thalweg_core::Threads,
    function: T,
    y: &mut [N],
    slope: &mut [N],
) {
    parallel::rows2(
        threads,
        (y, 1),
        (slope, 1),
        2 * COST,
        #[inline(always)]
        |_, y, slope| {
            for (y, slope) in y.iter_mut().zip(slope) {
                (*y, *slope) = function.both(*y);
            }
        },
    );
}

/// `dy ← dy·slope` in place.
pub(crate) fn times<N: Number>(threads: &thalweg_core::Threads, slope: &[N], dy: &mut [N]) {
    parallel::rows(
        threads,
        dy,
        1,
        1,
        #[inline(always)]
        |at, dy| dy.iter_mut().zip(&slope[at..]).for_each(|(dy, &s)| *dy = *dy * s),
    );
}

/// `dy ← dy·f′` in place, from what the slope is worked out from.
pub(crate) fn times_slope<N: Number, T: Function>(
    threads: &thalweg_core::Threads,
    function: T,
    saved: &[N],
    dy: &mut [N],
) {
    parallel::rows(
        threads,
        dy,
        1,
        COST,
        #[inline(always)]
        |at, dy| {
            for (dy, &s) in dy.iter_mut().zip(&saved[at..]) {
                *dy = *dy * function.slope(s);
            }
        },
    );
}

impl<N: Number> Tape<'_, N> {
    /// `f(x)` for each number of any shape: your own formulas run as fast as ours.
    pub fn map<T: Function>(&mut self, function: T, x: Var) -> Var {
        self.apply(Map(function), &[x])
    }
    /// `f(a, b)` for each pair of numbers, broadcast as NumPy does: axes are compared from the last one, and an axis of size 1,
    /// or one that is missing, is repeated.
    ///
    /// # Panics
    /// When an axis has two sizes and none of them is 1.
    pub fn pair<T: Pair>(&mut self, function: T, a: Var, b: Var) -> Var {
        self.apply(Zip(function), &[a, b])
    }
}

/// A function of two numbers, with its slopes.
pub trait Pair: Copy + Send + Sync + 'static {
    /// The name that errors carry.
    const NAME: &'static str;
    /// f(a, b).
    fn value<N: Number>(self, a: N, b: N) -> N;
    /// ∂f/∂a and ∂f/∂b.
    fn slopes<N: Number>(self, a: N, b: N) -> [N; 2];
}

/// `y = f(a, b)` with broadcasting; backward sums over the axes along which an input was repeated.
#[derive(Clone, Copy)]
struct Zip<T>(T);

/// How to walk through `y` row by row of its last axis, and where `a` and `b` are meanwhile.
#[derive(Clone, Copy)]
struct Walk {
    shape: Shape,
    strides: [[usize; AXES]; 2],
}

impl Walk {
    fn new(y: Shape, a: Shape, b: Shape) -> Self {
        let strides = [a, b].map(|x| {
            let own = x.strides();
            let mut strides = [0; AXES];
            let missing = y.len() - x.len();
            for axis in 0..x.len() {
                strides[missing + axis] = if x[axis] == 1 { 0 } else { own[axis] };
            }
            strides
        });
        // Neighbouring axes that lie behind one another in both inputs are walked as one.
        let mut walk = Self { shape: Shape::SCALAR, strides: [[0; AXES]; 2] };
        let mut sizes = [1; AXES];
        let mut axes = 0;
        for axis in 0..y.len() {
            if y[axis] == 1 {
                continue;
            }
            let joins = axes > 0 && (0..2).all(|k| walk.strides[k][axes - 1] == strides[k][axis] * y[axis]);
            if joins {
                sizes[axes - 1] *= y[axis];
            } else {
                sizes[axes] = y[axis];
                axes += 1;
            }
            for (to, from) in walk.strides.iter_mut().zip(&strides) {
                to[axes - 1] = from[axis];
            }
        }
        walk.shape = Shape::new(&sizes[..axes.max(1)]);
        walk
    }
    /// The places of `a` and `b` at the start of row `row`.
    #[inline(always)]
    fn start(&self, mut row: usize) -> [usize; 2] {
        let mut at = [0; 2];
        for axis in (0..self.shape.len() - 1).rev() {
            let i = row % self.shape[axis];
            row /= self.shape[axis];
            at = [at[0] + i * self.strides[0][axis], at[1] + i * self.strides[1][axis]];
        }
        at
    }
    /// Their steps along a row: 0 or 1.
    #[inline(always)]
    fn step(&self) -> [usize; 2] {
        [0, 1].map(|k| self.strides[k][self.shape.len() - 1])
    }
}

/// Calls `f(y, a, b)` along a row, with loops of their own for the inputs that stand still.
#[inline(always)]
fn along<N: Number, Y>(y: &mut [Y], a: &[N], b: &[N], step: [usize; 2], f: impl Fn(&mut Y, N, N)) {
    let n = y.len();
    match step {
        [1, 1] => {
            for ((y, &a), &b) in y.iter_mut().zip(&a[..n]).zip(&b[..n]) {
                f(y, a, b);
            }
        }
        [1, _] => {
            let b = b[0];
            for (y, &a) in y.iter_mut().zip(&a[..n]) {
                f(y, a, b);
            }
        }
        [_, 1] => {
            let a = a[0];
            for (y, &b) in y.iter_mut().zip(&b[..n]) {
                f(y, a, b);
            }
        }
        _ => {
            let (a, b) = (a[0], b[0]);
            for y in y.iter_mut() {
                f(y, a, b);
            }
        }
    }
}

/// The shape that both inputs are repeated to.
pub(crate) fn broadcast(name: &str, a: Shape, b: Shape) -> Shape {
    let axes = a.len().max(b.len());
    let mut sizes = [1; AXES];
    for axis in 0..axes {
        let size = |s: Shape| if axis + s.len() < axes { 1 } else { s[axis + s.len() - axes] };
        sizes[axis] = match (size(a), size(b)) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            _ => misfit(name, a, b, "sizes must be equal or 1, from the last axis on"),
        };
    }
    Shape::new(&sizes[..axes])
}

impl<N: Number, T: Pair> Op<N> for Zip<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        broadcast(T::NAME, x.shape(0), x.shape(1))
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (a, b, function) = (f.x(0), f.x(1), self.0);
        let walk = Walk::new(self.shape(f), f.shape(0), f.shape(1));
        let width = walk.shape.last_size();
        if a.len() == b.len() && walk.shape.len() == 1 && walk.step() == [1, 1] {
            parallel::rows(
                f.work.threads,
                y,
                1,
                COST,
                #[inline(always)]
                |at, y| along(y, &a[at..], &b[at..], [1, 1], |y, a, b| *y = function.value(a, b)),
            );
            return;
        }
        parallel::rows(
            f.work.threads,
            y,
            width,
            width * COST,
            #[inline(always)]
            |at, y| {
                for (i, y) in y.chunks_exact_mut(width).enumerate() {
                    let [p, q] = walk.start(at + i);
                    along(y, &a[p..], &b[q..], walk.step(), |y, a, b| *y = function.value(a, b));
                }
            },
        );
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let (function, threads) = (self.0, b.work.threads);
        let (xa, xb) = (b.x(0), b.x(1));
        let walk = Walk::new(b.y_shape(), b.shape(0), b.shape(1));
        let width = walk.shape.last_size();
        let step = walk.step();
        for k in 0..2 {
            let Some(slot) = b.grad(k) else { continue };
            if slot.grad.len() == dy.len() {
                // Not repeated: every number of dy has its own place, in the same order.
                let fresh = slot.fresh;
                let dy: &[N] = dy;
                // Rows of one number where nothing is repeated at all, so that any cut will do.
                let flat = walk.shape.len() == 1 && step == [1, 1];
                let width = if flat { 1 } else { width };
                parallel::rows(
                    threads,
                    slot.grad,
                    width,
                    width * COST,
                    #[inline(always)]
                    |at, dx| {
                        if flat {
                            zip_slopes(function, k, fresh, dx, &xa[at..], &xb[at..], &dy[at..], step);
                            return;
                        }
                        let rows = dx.chunks_exact_mut(width).zip(dy[at * width..].chunks_exact(width));
                        for (i, (dx, dy)) in rows.enumerate() {
                            let [p, q] = walk.start(at + i);
                            zip_slopes(function, k, fresh, dx, &xa[p..], &xb[q..], dy, step);
                        }
                    },
                );
                continue;
            }
            // Repeated: rows are added in order.
            let dx = slot.zeroed();
            thalweg_core::isa::run(
                #[inline(always)]
                || {
                    for (row, dy) in dy.chunks_exact(width).enumerate() {
                        let [p, q] = walk.start(row);
                        let at = [p, q][k];
                        if step[k] == 1 {
                            zip_slopes(
                                function,
                                k,
                                false,
                                &mut dx[at..at + width],
                                &xa[p..],
                                &xb[q..],
                                dy,
                                step,
                            );
                        } else {
                            let mut sum = N::zero();
                            for (j, &dy) in dy.iter().enumerate() {
                                let slopes = function.slopes(xa[p + j * step[0]], xb[q + j * step[1]]);
                                sum = sum + slopes[k] * dy;
                            }
                            dx[at] = dx[at] + sum;
                        }
                    }
                },
            );
        }
    }
}

/// `dx += ∂f/∂(input k)·dy` along a row; `=` if fresh.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one call for each of the few loops that it stands for")]
fn zip_slopes<N: Number, T: Pair>(
    function: T,
    k: usize,
    fresh: bool,
    dx: &mut [N],
    a: &[N],
    b: &[N],
    dy: &[N],
    step: [usize; 2],
) {
    match (k, fresh) {
        (0, true) => zip_slope::<N, T, 0, true>(function, dx, a, b, dy, step),
        (0, false) => zip_slope::<N, T, 0, false>(function, dx, a, b, dy, step),
        (_, true) => zip_slope::<N, T, 1, true>(function, dx, a, b, dy, step),
        (_, false) => zip_slope::<N, T, 1, false>(function, dx, a, b, dy, step),
    }
}

#[inline(always)]
fn zip_slope<N: Number, T: Pair, const K: usize, const FRESH: bool>(
    function: T,
    dx: &mut [N],
    a: &[N],
    b: &[N],
    dy: &[N],
    step: [usize; 2],
) {
    let n = dx.len();
    let each = |dx: &mut N, a: N, b: N, dy: N| {
        let slope = function.slopes(a, b)[K] * dy;
        *dx = if FRESH { slope } else { *dx + slope };
    };
    match step {
        [1, 1] => {
            for (dx, ((&a, &b), &dy)) in dx.iter_mut().zip(a[..n].iter().zip(&b[..n]).zip(&dy[..n])) {
                each(dx, a, b, dy);
            }
        }
        [1, _] => {
            let b = b[0];
            for ((dx, &a), &dy) in dx.iter_mut().zip(&a[..n]).zip(&dy[..n]) {
                each(dx, a, b, dy);
            }
        }
        [_, 1] => {
            let a = a[0];
            for ((dx, &b), &dy) in dx.iter_mut().zip(&b[..n]).zip(&dy[..n]) {
                each(dx, a, b, dy);
            }
        }
        _ => {
            let (a, b) = (a[0], b[0]);
            for (dx, &dy) in dx.iter_mut().zip(&dy[..n]) {
                each(dx, a, b, dy);
            }
        }
    }
}
