//! `max_pool2d`, `avg_pool2d`, `global_avg_pool`: windows over images, brought to one number.

use crate::op::{Backward, Codes, Forward, Inputs, Op};
use crate::ops::conv2d::places;
use crate::pool::Block;
use crate::shape::Shape;
use crate::{Number, Tape, Var, parallel};

/// What [`Tape::max_pool2d`] and [`Tape::avg_pool2d`] take: sizes are `[rows, columns]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolWindow {
    /// The window.
    pub size: [usize; 2],
    /// How far it moves.
    pub stride: [usize; 2],
    /// How far it reaches beyond the image, at most half its size.
    pub padding: [usize; 2],
}

impl PoolWindow {
    /// A window that moves by its own size, without padding.
    pub fn square(size: usize) -> Self {
        Self { size: [size; 2], stride: [size; 2], padding: [0; 2] }
    }
    /// The result's shape.
    #[track_caller]
    fn shape(&self, name: &str, x: Shape) -> Shape {
        let [n, h, w, c] = x[..] else { panic!("{name}: {x} is not a batch of images [n, h, w, c]") };
        let fits = (0..2).all(|k| 2 * self.padding[k] <= self.size[k] && self.stride[k] > 0);
        let along =
            |size, k: usize| places(size, self.size[k], self.stride[k], self.padding[k], 1).filter(|_| fits);
        match (along(h, 0), along(w, 1)) {
            (Some(p), Some(q)) => [n, p, q, c].into(),
            _ => panic!("{name}: {self:?} does not fit {x}"),
        }
    }
    /// Calls `f(place, pixel)` for the pixels of an image `[h, w]` that each of `[p, q]` windows sees, row by row.
    #[inline(always)]
    fn each(&self, [h, w]: [usize; 2], [p, q]: [usize; 2], mut f: impl FnMut(usize, usize, bool)) {
        let inside = |at: usize, size: usize, k: usize| {
            let start = at * self.stride[k];
            start.saturating_sub(self.padding[k])
                ..(start + self.size[k]).saturating_sub(self.padding[k]).min(size)
        };
        for i in 0..p {
            for j in 0..q {
                let mut first = true;
                for row in inside(i, h, 0) {
                    for column in inside(j, w, 1) {
                        f(i * q + j, row * w + column, first);
                        first = false;
                    }
                }
            }
        }
    }
}

/// `[n, h, w, c] → [n, h′, w′, c]`: the largest in each window; backward adds `dy` to the first largest.
#[derive(Clone, Copy, Debug)]
struct MaxPool {
    window: PoolWindow,
    places: Codes,
}

/// `[n, h, w, c] → [n, h′, w′, c]`: the mean of each window, padding counted as zeros (PyTorch's default); backward adds `dy` over
/// the window's size to each of its numbers.
#[derive(Clone, Copy, Debug)]
struct AvgPool {
    window: PoolWindow,
}

/// Sizes of images and of results, channels, and the numbers of both.
fn sizes(x: Shape, y: Shape) -> ([usize; 2], [usize; 2], usize, [usize; 2]) {
    let (image, places, c) = ([x[1], x[2]], [y[1], y[2]], x[3]);
    (image, places, c, [x[1] * x[2] * c, y[1] * y[2] * c])
}

impl<N: Number> Op<N> for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        self.window.shape("max_pool2d", x.shape(0))
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (image, places, c, [from, to]) = sizes(f.shape(0), self.shape(f));
        let (x, threads, window) = (f.x(0), f.work.threads, self.window);
        self.places = f.new_codes(y.len());
        let kept = f.codes_mut(self.places);
        if y.is_empty() {
            return;
        }
        parallel::rows2(
            threads,
            (y, to),
            (kept, to),
            2 * from,
            #[inline(always)]
            |at, y, kept| {
                let images = y.chunks_exact_mut(to).zip(kept.chunks_exact_mut(to));
                for (x, (y, kept)) in x[at * from..].chunks_exact(from).zip(images) {
                    window.each(image, places, |place, pixel, first| {
                        let x = &x[pixel * c..][..c];
                        let (y, kept) = (&mut y[place * c..][..c], &mut kept[place * c..][..c]);
                        if first {
                            y.copy_from_slice(x);
                            kept.fill(pixel as u32);
                            return;
                        }
                        for ((y, kept), &x) in y.iter_mut().zip(kept).zip(x) {
                            let above = y.lt(x) | (is_nan(x) & !is_nan(*y));
                            *y = N::select(above, x, *y);
                            *kept = if above { pixel as u32 } else { *kept };
                        }
                    });
                }
            },
        );
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let (image, places, c, [from, to]) = sizes(b.shape(0), b.y_shape());
        let (kept, threads, window) = (b.codes(self.places), b.work.threads, self.window);
        let dy: &[N] = dy;
        let Some(slot) = b.grad(0) else { return };
        let dx = slot.zeroed();
        parallel::rows(
            threads,
            dx,
            from,
            2 * from,
            #[inline(always)]
            |at, dx| {
                let images = dy[at * to..].chunks_exact(to).zip(kept[at * to..].chunks_exact(to));
                for (dx, (dy, kept)) in dx.chunks_exact_mut(from).zip(images) {
                    if c < 8 {
                        for (i, (&dy, &pixel)) in dy.iter().zip(kept).enumerate() {
                            let dx = &mut dx[pixel as usize * c + i % c];
                            *dx = *dx + dy;
                        }
                        continue;
                    }
                    window.each(image, places, |place, pixel, _| {
                        let (dy, kept) = (&dy[place * c..][..c], &kept[place * c..][..c]);
                        for ((dx, &dy), &kept) in dx[pixel * c..][..c].iter_mut().zip(dy).zip(kept) {
                            *dx = *dx + N::select(kept == pixel as u32, dy, N::zero());
                        }
                    });
                }
            },
        );
    }
}

/// Whether a number is not equal to itself.
#[inline(always)]
#[allow(clippy::eq_op, reason = "NaN alone differs from itself")]
fn is_nan<N: Number>(x: N) -> bool {
    x.base() != x.base()
}

impl<N: Number> Op<N> for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        self.window.shape("avg_pool2d", x.shape(0))
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (image, places, c, [from, to]) = sizes(f.shape(0), self.shape(f));
        let (x, window) = (f.x(0), self.window);
        let share = N::from_f64(1.0 / (window.size[0] * window.size[1]) as f64);
        if y.is_empty() {
            return;
        }
        parallel::rows(
            f.work.threads,
            y,
            to,
            2 * from,
            #[inline(always)]
            |at, y| {
                for (x, y) in x[at * from..].chunks_exact(from).zip(y.chunks_exact_mut(to)) {
                    y.fill(N::zero());
                    window.each(image, places, |place, pixel, _| {
                        let y = &mut y[place * c..][..c];
                        y.iter_mut().zip(&x[pixel * c..]).for_each(|(y, &x)| *y = *y + x);
                    });
                    y.iter_mut().for_each(|y| *y = *y * share);
                }
            },
        );
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let (image, places, c, [from, to]) = sizes(b.shape(0), b.y_shape());
        let (threads, window) = (b.work.threads, self.window);
        let share = N::from_f64(1.0 / (window.size[0] * window.size[1]) as f64);
        let dy: &[N] = dy;
        let Some(slot) = b.grad(0) else { return };
        let dx = slot.zeroed();
        parallel::rows(
            threads,
            dx,
            from,
            2 * from,
            #[inline(always)]
            |at, dx| {
                for (dx, dy) in dx.chunks_exact_mut(from).zip(dy[at * to..].chunks_exact(to)) {
                    window.each(image, places, |place, pixel, _| {
                        let dy = &dy[place * c..][..c];
                        dx[pixel * c..][..c].iter_mut().zip(dy).for_each(|(dx, &dy)| *dx = *dx + share * dy);
                    });
                }
            },
        );
    }
}

impl<N: Number> Tape<'_, N> {
    /// The largest number of each window over `x [n, c, h, w]`. As PyTorch's `max_pool2d`.
    ///
    /// # Panics
    /// When the window does not fit.
    #[track_caller]
    pub fn max_pool2d(&mut self, x: Var, window: PoolWindow) -> Var {
        self.by_channel("max_pool2d", x, |tape, x| tape.max_pool2d_last(x, window))
    }
    /// The same with channels last: `x [n, h, w, c]`.
    ///
    /// # Panics
    /// When the window does not fit.
    #[track_caller]
    pub fn max_pool2d_last(&mut self, x: Var, window: PoolWindow) -> Var {
        self.apply(MaxPool { window, places: Codes::default() }, &[x])
    }
    /// The mean of each window over `x [n, c, h, w]`, padding counted as zeros. As PyTorch's `avg_pool2d`.
    ///
    /// # Panics
    /// When the window does not fit.
    #[track_caller]
    pub fn avg_pool2d(&mut self, x: Var, window: PoolWindow) -> Var {
        self.by_channel("avg_pool2d", x, |tape, x| tape.avg_pool2d_last(x, window))
    }
    /// The same with channels last: `x [n, h, w, c]`.
    ///
    /// # Panics
    /// When the window does not fit.
    #[track_caller]
    pub fn avg_pool2d_last(&mut self, x: Var, window: PoolWindow) -> Var {
        self.apply(AvgPool { window }, &[x])
    }
    /// Each channel as an image of its own, so that nothing has to be turned over.
    #[track_caller]
    fn by_channel(&mut self, name: &str, x: Var, pool: impl FnOnce(&mut Self, Var) -> Var) -> Var {
        let shape = self.shape(x);
        let [n, c, h, w] = shape[..] else { panic!("{name}: {shape} is not a batch of images [n, c, h, w]") };
        let x = self.reshape(x, [n * c, h, w, 1]);
        let y = pool(self, x);
        let shape = self.shape(y);
        self.reshape(y, [n, c, shape[1], shape[2]])
    }
    /// The mean of each channel of `x [n, c, ..]`: `[n, c]`.
    ///
    /// # Panics
    /// When there are no channels, or no numbers in them.
    #[track_caller]
    pub fn global_avg_pool(&mut self, x: Var) -> Var {
        let rows = self.channel_rows("global_avg_pool", x);
        self.mean_axis(rows, 2)
    }
    /// The largest number of each channel of `x [n, c, ..]`: `[n, c]`.
    ///
    /// # Panics
    /// When there are no channels, or no numbers in them.
    #[track_caller]
    pub fn global_max_pool(&mut self, x: Var) -> Var {
        let rows = self.channel_rows("global_max_pool", x);
        self.max_axis(rows, 2)
    }
    #[track_caller]
    fn channel_rows(&mut self, name: &str, x: Var) -> Var {
        let shape = self.shape(x);
        assert!(shape.len() >= 3, "{name}: {shape} is not a batch of channels [n, c, ..]");
        self.flatten(x, 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check;

    #[test]
    fn gradient() {
        let wild = PoolWindow { size: [3, 2], stride: [2, 1], padding: [1, 1] };
        for window in [PoolWindow::square(2), wild] {
            check!([[3, 2, 5, 4]], |t, x| t.max_pool2d(x[0], window));
            check!([[3, 2, 5, 4]], |t, x| t.avg_pool2d(x[0], window));
            check!([[2, 5, 4, 9]], |t, x| t.max_pool2d_last(x[0], window));
            check!([[2, 5, 4, 3]], |t, x| t.avg_pool2d_last(x[0], window));
        }
        check!([[1, 1, 1, 1]], |t, x| t.max_pool2d(x[0], PoolWindow::square(1)));
        check!([[2, 3, 2, 3]], |t, x| t.global_avg_pool(x[0]));
        check!([[2, 3, 5]], |t, x| t.global_max_pool(x[0]));
    }

    #[test]
    #[should_panic(expected = "does not fit [1, 1, 1, 1]")]
    fn a_window_larger_than_the_image_is_refused() {
        check!([[1, 1, 1, 1]], |t, x| t.max_pool2d(x[0], PoolWindow::square(2)));
    }
}
