//! `softmax` and `log_softmax` of rows.

use crate::op::{Backward, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::Shape;
use crate::{Number, Tape, Var, parallel, sums};

/// Row softmax `[.., k] → [.., k]`: `y = e^(x − max x) / Σ e^(x − max x)` along the last axis.
/// Backward, from the result: `dx += y∘(dy − Σ dy∘y)`.
#[derive(Clone, Copy, Debug)]
struct Softmax;

/// `y = x − ln Σ e^x` along the last axis. Backward, from the result: `dx += dy − e^y·Σ dy`.
#[derive(Clone, Copy, Debug)]
struct LogSoftmax;

impl<N: Number> Op<N> for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        x.shape(0)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (x, k) = (f.x(0), f.shape(0).last_size());
        parallel::rows(
            f.work.threads,
            y,
            k,
            16 * k,
            #[inline(always)]
            |at, y| {
                for (y, x) in y.chunks_exact_mut(k).zip(x[at * k..].chunks_exact(k)) {
                    let top = sums::max(x);
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = (x - top).exp();
                    }
                    let share = N::one() / sums::sum(y);
                    for y in y.iter_mut() {
                        *y = *y * share;
                    }
                }
            },
        );
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let (y, k) = (b.y(), b.y_shape().last_size());
        parallel::rows(
            b.work.threads,
            dy,
            k,
            4 * k,
            #[inline(always)]
            |at, dy| {
                for (dy, y) in dy.chunks_exact_mut(k).zip(y[at * k..].chunks_exact(k)) {
                    let dot = sums::dot(y, dy);
                    for (dy, &y) in dy.iter_mut().zip(y) {
                        *dy = y * (*dy - dot);
                    }
                }
            },
        );
        b.pass(0, dy);
    }
}

impl<N: Number> Op<N> for LogSoftmax {
    fn name(&self) -> &'static str {
        "log_softmax"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        x.shape(0)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (x, k) = (f.x(0), f.shape(0).last_size());
        parallel::rows(
            f.work.threads,
            y,
            k,
            16 * k,
            #[inline(always)]
            |at, y| {
                for (y, x) in y.chunks_exact_mut(k).zip(x[at * k..].chunks_exact(k)) {
                    let top = sums::max(x);
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = (x - top).exp();
                    }
                    let log = sums::sum(y).ln();
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = (x - top) - log;
                    }
                }
            },
        );
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let (y, k) = (b.y(), b.y_shape().last_size());
        parallel::rows(
            b.work.threads,
            dy,
            k,
            16 * k,
            #[inline(always)]
            |at, dy| {
                for (dy, y) in dy.chunks_exact_mut(k).zip(y[at * k..].chunks_exact(k)) {
                    let sum = sums::sum(dy);
                    for (dy, &y) in dy.iter_mut().zip(y) {
                        *dy = *dy - y.exp() * sum;
                    }
                }
            },
        );
        b.pass(0, dy);
    }
}

impl<N: Number> Tape<'_, N> {
    /// `e^x / Σ e^x` along the last axis.
    pub fn softmax(&mut self, x: Var) -> Var {
        self.apply(Softmax, &[x])
    }
    /// `x − ln Σ e^x` along the last axis.
    pub fn log_softmax(&mut self, x: Var) -> Var {
        self.apply(LogSoftmax, &[x])
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1, 2]], |t, x| t.softmax(x[0]));
        check!([[2, 3, 11]], |t, x| t.softmax(x[0]));
        check!([[1, 2]], |t, x| t.log_softmax(x[0]));
        check!([[2, 3, 11]], |t, x| t.log_softmax(x[0]));
    }
}
