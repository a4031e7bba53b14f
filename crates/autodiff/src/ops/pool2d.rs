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
        let [n, c, h, w] = x[..] else { panic!("{name}: {x} is not a batch of images [n, c, h, w]") };
        let fits = (0..2).all(|k| 2 * self.padding[k] <= self.size[k] && self.stride[k] > 0);
        let along =
            |size, k: usize| places(size, self.size[k], self.stride[k], self.padding[k], 1).filter(|_| fits);
        match (along(h, 0), along(w, 1)) {
            (Some(p), Some(q)) => [n, c, p, q].into(),
            _ => panic!("{name}: {self:?} does not fit {x}"),
        }
    }
    /// The rows and columns of an image `[h, w]` that window (p, q) sees.
    #[inline(always)]
    fn inside(&self, [h, w]: [usize; 2], p: usize, q: usize) -> [std::ops::Range<usize>; 2] {
        [(h, p, 0), (w, q, 1)].map(|(size, at, k)| {
            let start = at * self.stride[k];
            start.saturating_sub(self.padding[k])
                ..(start + self.size[k]).saturating_sub(self.padding[k]).min(size)
        })
    }
}

/// `[n, c, h, w] → [n, c, h′, w′]`: the largest in each window; backward adds `dy` to the first largest.
#[derive(Clone, Copy, Debug)]
struct MaxPool {
    window: PoolWindow,
    places: Codes,
}

/// `[n, c, h, w] → [n, c, h′, w′]`: the mean of each window, padding counted as zeros (PyTorch's default); backward adds `dy` over
/// the window's size to each of its numbers.
#[derive(Clone, Copy, Debug)]
struct AvgPool {
    window: PoolWindow,
}

impl<N: Number> Op<N> for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        self.window.shape("max_pool2d", x.shape(0))
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (shape, to, window) = (f.shape(0), self.shape(f), self.window);
        let (x, [h, w], [p, q]) = (f.x(0), [shape[2], shape[3]], [to[2], to[3]]);
        let threads = f.work.threads;
        self.places = f.new_codes(y.len());
        let kept = f.codes_mut(self.places);
        if y.is_empty() {
            return;
        }
        parallel::rows2(threads, (y, p * q), (kept, p * q), 2 * h * w, |at, y, kept| {
            let images = y.chunks_exact_mut(p * q).zip(kept.chunks_exact_mut(p * q));
            for (i, (y, kept)) in images.enumerate() {
                let x = &x[(at + i) * h * w..][..h * w];
                for (k, (y, kept)) in y.iter_mut().zip(kept).enumerate() {
                    let [rows, columns] = window.inside([h, w], k / q, k % q);
                    let mut best = rows.start * w + columns.start;
                    for row in rows {
                        for j in row * w + columns.start..row * w + columns.end {
                            let (top, x) = (x[best], x[j]);
                            best = if top.lt(x) || (x.is_nan() && !top.is_nan()) { j } else { best };
                        }
                    }
                    *y = x[best];
                    *kept = best as u32;
                }
            }
        });
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let (shape, to, kept) = (b.shape(0), b.y_shape(), b.codes(self.places));
        let (image, places, threads) = (shape[2] * shape[3], to[2] * to[3], b.work.threads);
        let dy: &[N] = dy;
        let Some(slot) = b.grad(0) else { return };
        let dx = slot.zeroed();
        parallel::rows(threads, dx, image, 2 * image, |at, dx| {
            for (i, dx) in dx.chunks_exact_mut(image).enumerate() {
                let at = (at + i) * places;
                for (&dy, &place) in dy[at..at + places].iter().zip(&kept[at..]) {
                    dx[place as usize] = dx[place as usize] + dy;
                }
            }
        });
    }
}

impl<N: Number> Op<N> for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        self.window.shape("avg_pool2d", x.shape(0))
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (shape, to, window) = (f.shape(0), self.shape(f), self.window);
        let (x, [h, w], [p, q]) = (f.x(0), [shape[2], shape[3]], [to[2], to[3]]);
        let share = N::from_f64(1.0 / (window.size[0] * window.size[1]) as f64);
        if y.is_empty() {
            return;
        }
        parallel::rows(f.work.threads, y, p * q, 2 * h * w, |at, y| {
            for (i, y) in y.chunks_exact_mut(p * q).enumerate() {
                let x = &x[(at + i) * h * w..][..h * w];
                for (k, y) in y.iter_mut().enumerate() {
                    let [rows, columns] = window.inside([h, w], k / q, k % q);
                    let mut sum = N::zero();
                    for row in rows {
                        for &x in &x[row * w..][columns.clone()] {
                            sum = sum + x;
                        }
                    }
                    *y = sum * share;
                }
            }
        });
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let (shape, to, window) = (b.shape(0), b.y_shape(), self.window);
        let ([h, w], [p, q], threads) = ([shape[2], shape[3]], [to[2], to[3]], b.work.threads);
        let share = N::from_f64(1.0 / (window.size[0] * window.size[1]) as f64);
        let dy: &[N] = dy;
        let Some(slot) = b.grad(0) else { return };
        let dx = slot.zeroed();
        parallel::rows(threads, dx, h * w, 2 * h * w, |at, dx| {
            for (i, dx) in dx.chunks_exact_mut(h * w).enumerate() {
                for (k, &dy) in dy[(at + i) * p * q..][..p * q].iter().enumerate() {
                    let [rows, columns] = window.inside([h, w], k / q, k % q);
                    for row in rows {
                        for dx in &mut dx[row * w..][columns.clone()] {
                            *dx = *dx + share * dy;
                        }
                    }
                }
            }
        });
    }
}

impl<N: Number> Tape<'_, N> {
    /// The largest number of each window over `x [n, c, h, w]`. As PyTorch's `max_pool2d`.
    ///
    /// # Panics
    /// When the window does not fit.
    #[track_caller]
    pub fn max_pool2d(&mut self, x: Var, window: PoolWindow) -> Var {
        self.apply(MaxPool { window, places: Codes::default() }, &[x])
    }
    /// The mean of each window over `x [n, c, h, w]`, padding counted as zeros. As PyTorch's `avg_pool2d`.
    ///
    /// # Panics
    /// When the window does not fit.
    #[track_caller]
    pub fn avg_pool2d(&mut self, x: Var, window: PoolWindow) -> Var {
        self.apply(AvgPool { window }, &[x])
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
