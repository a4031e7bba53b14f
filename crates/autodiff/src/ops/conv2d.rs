//! `conv2d` and `conv1d`: convolutions (cross-correlations, as everywhere in learning).

use thalweg_core::Threads;

use crate::number::{View, ViewMut};
use crate::op::{Backward, Forward, Inputs, Op, Work};
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Activation, Number, Tape, Var, parallel, sums};

/// Images are worked on in this many runs at most, each with columns and weight gradients of its own: fixed, so that the order of
/// sums does not depend on the threads.
const RUNS: usize = 8;

/// How a window moves over an image. Sizes are `[rows, columns]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How far it moves.
    pub stride: [usize; 2],
    /// Zeros around the image, on each side.
    pub padding: [usize; 2],
    /// The distance of its points.
    pub dilation: [usize; 2],
    /// Runs of channels that do not see each other.
    pub groups: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1 }
    }
}

/// How many places a window of `k` points has along an axis of `size`; none if it does not fit.
pub(crate) fn places(size: usize, k: usize, stride: usize, padding: usize, dilation: usize) -> Option<usize> {
    let (size, reach) = (size + 2 * padding, dilation * (k.checked_sub(1)?) + 1);
    Some(size.checked_sub(reach)? / stride + 1)
}

/// `x [n, c, h, w], kernel [o, c/groups, kh, kw], bias [o] → [n, o, h′, w′]`, h′ = ⌊(h + 2·padding − dilation·(kh − 1) − 1)/stride⌋ + 1:
/// ```text
/// z[i, o, p, q] = bias[o] + Σ_{c, r, s} kernel[o, c, r, s]·x[i, c, p·stride + r·dilation − padding, …]     y = f(z)
/// ```
/// As a product `z = K·columns` for each image and group. Backward: `dz = f′(z)∘dy`, `dbias += Σ dz`, `dK += dz·columnsᵀ`,
/// `dcolumns = Kᵀ·dz`, added back to where they came from. Saved: z, where f′ needs it.
#[derive(Clone, Copy, Debug)]
struct Conv {
    window: Window,
    activation: Activation,
    bias: bool,
}

/// The sizes of one convolution.
#[derive(Clone, Copy)]
struct Sizes {
    n: usize,
    c: usize,
    h: usize,
    w: usize,
    o: usize,
    kh: usize,
    kw: usize,
    ph: usize,
    pw: usize,
    window: Window,
}

impl Sizes {
    fn new(window: Window, x: Shape, kernel: Shape) -> Self {
        let (&[n, c, h, w], &[o, per, kh, kw]) = (&x[..], &kernel[..]) else {
            misfit("conv2d", x, kernel, "an image [n, c, h, w] and a kernel [o, c/groups, kh, kw]");
        };
        let g = window.groups;
        if g == 0 || per * g != c || !o.is_multiple_of(g) {
            misfit("conv2d", x, kernel, "a kernel whose channels are those of the image over the groups");
        }
        let [sh, sw] = window.stride;
        assert!(sh > 0 && sw > 0, "conv2d: the stride {sh}, {sw} does not move");
        let [ph, pw] = [(h, kh, 0), (w, kw, 1)].map(|(size, k, axis)| {
            places(size, k, window.stride[axis], window.padding[axis], window.dilation[axis]).unwrap_or_else(
                || misfit("conv2d", x, kernel, "a kernel that is no larger than the padded image"),
            )
        });
        Self { n, c, h, w, o, kh, kw, ph, pw, window }
    }
    /// Rows of the columns of one group: channels times points of the window.
    fn depth(&self) -> usize {
        self.c / self.window.groups * self.kh * self.kw
    }
    fn places(&self) -> usize {
        self.ph * self.pw
    }
    /// Whether the columns are the image itself.
    fn is_plain(&self) -> bool {
        let Window { stride, padding, .. } = self.window;
        [self.kh, self.kw] == [1, 1] && stride == [1, 1] && padding == [0, 0]
    }
    /// The places q whose column `q·stride + offset − padding` lies inside, and the column of the first.
    #[inline(always)]
    fn inside(&self, offset: usize) -> (std::ops::Range<usize>, usize) {
        let (stride, padding) = (self.window.stride[1], self.window.padding[1]);
        let first = padding.saturating_sub(offset).div_ceil(stride).min(self.pw);
        // q·stride + offset − padding < w
        let end = (self.w + padding).saturating_sub(offset).div_ceil(stride).min(self.pw).max(first);
        (first..end, (first * stride + offset).saturating_sub(padding))
    }
    /// Calls `f(row of the columns, place, image row start, run of q, first column)` for all rows that lie inside the image; rows
    /// outside get an empty run.
    #[inline(always)]
    fn rows(&self, mut f: impl FnMut(usize, Option<(usize, std::ops::Range<usize>)>)) {
        let Window { stride, padding, dilation, groups } = self.window;
        let mut at = 0;
        for c in 0..self.c / groups {
            for r in 0..self.kh {
                for s in 0..self.kw {
                    let (run, first) = self.inside(s * dilation[1]);
                    for p in 0..self.ph {
                        let row = (p * stride[0] + r * dilation[0]).wrapping_sub(padding[0]);
                        let inside = row < self.h;
                        f(at, inside.then(|| ((c * self.h + row) * self.w + first, run.clone())));
                        at += self.pw;
                    }
                }
            }
        }
    }
    /// The columns of one group's channels `x [c/groups, h, w]`: `[depth, places]`.
    #[inline(always)]
    fn columns<N: Number>(&self, x: &[N], to: &mut [N]) {
        let stride = self.window.stride[1];
        self.rows(|at, source| {
            let to = &mut to[at..at + self.pw];
            let Some((from, run)) = source else {
                to.fill(N::zero());
                return;
            };
            to[..run.start].fill(N::zero());
            to[run.end..].fill(N::zero());
            let to = &mut to[run];
            if stride == 1 {
                let len = to.len();
                to.copy_from_slice(&x[from..][..len]);
            } else {
                for (q, to) in to.iter_mut().enumerate() {
                    *to = x[from + q * stride];
                }
            }
        });
    }
    /// Adds columns back to where they came from.
    #[inline(always)]
    fn add_back<N: Number>(&self, columns: &[N], x: &mut [N]) {
        let stride = self.window.stride[1];
        self.rows(|at, source| {
            let Some((to, run)) = source else { return };
            let from = &columns[at + run.start..at + run.end];
            if stride == 1 {
                for (x, &c) in x[to..].iter_mut().zip(from) {
                    *x = *x + c;
                }
            } else {
                for (q, &c) in from.iter().enumerate() {
                    x[to + q * stride] = x[to + q * stride] + c;
                }
            }
        });
    }
}

impl<N: Number> Op<N> for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let s = Sizes::new(self.window, x.shape(0), x.shape(1));
        if self.bias && x.shape(2)[..] != [s.o] {
            misfit("conv2d", x.shape(1), x.shape(2), "a kernel [o, ..] and a bias [o]");
        }
        [s.n, s.o, s.ph, s.pw].into()
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let s = Sizes::new(self.window, f.shape(0), f.shape(1));
        if y.is_empty() {
            return;
        }
        let (x, kernel, bias) = (f.x(0), f.x(1), self.bias.then(|| f.x(2)));
        let (groups, depth, places) = (s.window.groups, s.depth(), s.places());
        let (in_group, out_group) = (s.c / groups * s.h * s.w, s.o / groups);
        let run = s.n.div_ceil(RUNS);
        let size = if s.is_plain() { 1 } else { depth * places };
        let mut columns = f.take(s.n.div_ceil(run) * size);
        let (work, alone) = (f.work, Threads::serial());
        // One image on its own is worth all threads in its product.
        let inner = if s.n == 1 { work.threads } else { &alone };
        let image = s.o * places;
        let each = |i: usize, y: &mut [N], columns: &mut [N]| {
            for g in 0..groups {
                let x = &x[(i * groups + g) * in_group..][..in_group];
                let y = &mut y[g * out_group * places..][..out_group * places];
                let mut beta = N::zero();
                if let Some(bias) = bias {
                    let bias = &bias[g * out_group..];
                    for (y, &b) in y.chunks_exact_mut(places).zip(bias) {
                        y.fill(b);
                    }
                    beta = N::one();
                }
                let columns: &[N] = if s.is_plain() {
                    x
                } else {
                    s.columns(x, columns);
                    columns
                };
                let kernel = View::new(&kernel[g * out_group * depth..], out_group, depth);
                let to = ViewMut::new(y, out_group, places);
                Work { threads: inner, ..work }.product(
                    N::one(),
                    kernel,
                    View::new(columns, depth, places),
                    beta,
                    to,
                );
            }
        };
        runs(work.threads, (y, image, run), (&mut columns, size), |first, y, columns| {
            for (i, y) in y.chunks_exact_mut(image).enumerate() {
                each(first + i, y, columns);
            }
        });
        f.give(columns);
        if f.recording && !self.activation.uses_result() {
            let mut z = f.take(y.len());
            z.copy_from_slice(y);
            f.save(0, z);
        }
        self.activation.apply(work.threads, y);
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let s = Sizes::new(self.window, b.shape(0), b.shape(1));
        if dy.is_empty() {
            return;
        }
        let (x, kernel, work) = (b.x(0), b.x(1), b.work);
        let (groups, depth, places) = (s.window.groups, s.depth(), s.places());
        let (in_group, out_group) = (s.c / groups * s.h * s.w, s.o / groups);
        if self.activation != Activation::Identity {
            let saved = if self.activation.uses_result() { b.y() } else { b.saved(0) };
            self.activation.times_slope(work.threads, saved, dy);
        }
        let dy: &[N] = dy;
        if self.bias
            && let Some(slot) = b.grad(2)
        {
            let db = slot.zeroed();
            parallel::rows(
                work.threads,
                db,
                1,
                s.n * places,
                #[inline(always)]
                |at, db| {
                    for i in 0..s.n {
                        for (k, db) in db.iter_mut().enumerate() {
                            *db = *db + sums::sum(&dy[(i * s.o + at + k) * places..][..places]);
                        }
                    }
                },
            );
        }
        let run = s.n.div_ceil(RUNS);
        let tasks = s.n.div_ceil(run);
        let alone = Threads::serial();
        let inner = if s.n == 1 { work.threads } else { &alone };
        let small = Work { threads: inner, ..work };
        let size = if s.is_plain() { 1 } else { depth * places };
        if b.wants(1) {
            // Each run sums into a gradient of its own; they are joined in order.
            let mut columns = b.take(tasks * size);
            let mut parts = b.take(tasks * kernel.len());
            runs(work.threads, (&mut parts, kernel.len(), 1), (&mut columns, size), |task, part, columns| {
                let images = task * run..((task + 1) * run).min(s.n);
                for i in images.clone() {
                    for g in 0..groups {
                        let x = &x[(i * groups + g) * in_group..][..in_group];
                        let columns: &[N] = if s.is_plain() {
                            x
                        } else {
                            s.columns(x, columns);
                            columns
                        };
                        let dz = &dy[(i * groups + g) * out_group * places..][..out_group * places];
                        let beta = if i == images.start { N::zero() } else { N::one() };
                        let to = ViewMut::new(&mut part[g * out_group * depth..], out_group, depth);
                        let columns = View::new(columns, depth, places).t();
                        small.product(N::one(), View::new(dz, out_group, places), columns, beta, to);
                    }
                }
            });
            if let Some(slot) = b.grad(1) {
                let dk = slot.zeroed();
                for part in parts.chunks_exact(kernel.len()) {
                    for (dk, &p) in dk.iter_mut().zip(part) {
                        *dk = *dk + p;
                    }
                }
            }
            b.give(parts);
            b.give(columns);
        }
        if b.wants(0) {
            let mut columns = b.take(tasks * size);
            if let Some(slot) = b.grad(0) {
                let (dx, image) = (slot.zeroed(), s.c * s.h * s.w);
                runs(work.threads, (dx, image, run), (&mut columns, size), |first, dx, columns| {
                    for (i, dx) in dx.chunks_exact_mut(image).enumerate() {
                        for g in 0..groups {
                            let i = (first + i) * groups + g;
                            let dz = View::new(&dy[i * out_group * places..], out_group, places);
                            let kernel = View::new(&kernel[g * out_group * depth..], out_group, depth).t();
                            let dx = &mut dx[g * in_group..][..in_group];
                            if s.is_plain() {
                                let to = ViewMut::new(dx, depth, places);
                                small.product(N::one(), kernel, dz, N::one(), to);
                            } else {
                                let to = ViewMut::new(columns, depth, places);
                                small.product(N::one(), kernel, dz, N::zero(), to);
                                s.add_back(columns, dx);
                            }
                        }
                    }
                });
            }
            b.give(columns);
        }
    }
}

/// Calls `f(first, part, scratch)` for runs of `run` rows of `width` of `y`, each with its own `size` numbers of scratch.
#[inline(always)]
fn runs<N: Number>(
    threads: &Threads,
    (y, width, run): (&mut [N], usize, usize),
    (scratch, size): (&mut [N], usize),
    f: impl Fn(usize, &mut [N], &mut [N]) + Sync,
) {
    if y.len() <= width * run {
        f(0, y, scratch);
        return;
    }
    let mut parts = y.chunks_mut(width * run).zip(scratch.chunks_mut(size)).enumerate();
    let parts: [_; RUNS] = std::array::from_fn(|_| std::sync::Mutex::new(parts.next()));
    threads.run(RUNS, |task| {
        let part = parts[task].lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some((i, (y, scratch))) = part {
            f(i * run, y, scratch);
        }
    });
}

impl<N: Number> Tape<'_, N> {
    /// `f(x ⋆ kernel + bias)` for `x [n, c, h, w]`, `kernel [o, c/groups, kh, kw]`, `bias [o]`; the result is `[n, o, h′, w′]` with
    /// h′ = ⌊(h + 2·padding − dilation·(kh − 1) − 1)/stride⌋ + 1. As PyTorch's `conv2d`.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn conv2d(
        &mut self,
        x: Var,
        kernel: Var,
        bias: Option<Var>,
        window: Window,
        activation: Activation,
    ) -> Var {
        match bias {
            Some(b) => self.apply(Conv { window, activation, bias: true }, &[x, kernel, b]),
            None => self.apply(Conv { window, activation, bias: false }, &[x, kernel]),
        }
    }
    /// The same along one axis: `x [n, c, l]`, `kernel [o, c/groups, k]`, `bias [o]`; of `window` the second sizes count.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn conv1d(
        &mut self,
        x: Var,
        kernel: Var,
        bias: Option<Var>,
        window: Window,
        activation: Activation,
    ) -> Var {
        let (&[n, c, l], &[o, per, k]) = (&self.shape(x)[..], &self.shape(kernel)[..]) else {
            misfit(
                "conv1d",
                self.shape(x),
                self.shape(kernel),
                "a signal [n, c, l] and a kernel [o, c/groups, k]",
            );
        };
        let (x, kernel) = (self.reshape(x, [n, c, 1, l]), self.reshape(kernel, [o, per, 1, k]));
        let Window { stride, padding, dilation, groups } = window;
        let window =
            Window { stride: [1, stride[1]], padding: [0, padding[1]], dilation: [1, dilation[1]], groups };
        let y = self.conv2d(x, kernel, bias, window, activation);
        let shape = self.shape(y).without(2);
        self.reshape(y, shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check;

    #[test]
    fn gradient() {
        let plain = Window::default();
        check!([[1, 1, 3, 3], [1, 1, 2, 2]], |t, x| t.conv2d(x[0], x[1], None, plain, Activation::Identity));
        check!([[10, 2, 4, 3], [3, 2, 3, 2], [3]], |t, x| {
            t.conv2d(x[0], x[1], Some(x[2]), plain, Activation::Tanh)
        });
        check!([[3, 4, 2, 3], [4, 4, 1, 1], [4]], |t, x| {
            t.conv2d(x[0], x[1], Some(x[2]), plain, Activation::Silu)
        });
        let wild = Window { stride: [2, 3], padding: [2, 1], dilation: [2, 1], groups: 2 };
        check!([[3, 2, 5, 7], [4, 1, 3, 2], [4]], |t, x| {
            t.conv2d(x[0], x[1], Some(x[2]), wild, Activation::Identity)
        });
        let wide = Window { padding: [3, 3], ..plain };
        check!([[2, 1, 2, 2], [1, 1, 3, 3]], |t, x| t.conv2d(x[0], x[1], None, wide, Activation::Identity));
        let along = Window { stride: [1, 2], padding: [0, 1], dilation: [1, 2], groups: 1 };
        check!([[2, 3, 9], [2, 3, 3], [2]], |t, x| t.conv1d(x[0], x[1], Some(x[2]), along, Activation::Gelu));
    }

    #[test]
    #[should_panic(expected = "conv2d: [1, 1, 2, 2] and [1, 1, 3, 3] do not fit")]
    fn a_kernel_that_is_too_large_is_refused() {
        let plain = Window::default();
        check!([[1, 1, 2, 2], [1, 1, 3, 3]], |t, x| t.conv2d(x[0], x[1], None, plain, Activation::Identity));
    }
}
