//! `sum` and `mean` of all numbers, and along an axis.

use crate::op::{Backward, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::Shape;
use crate::{Number, Tape, Var, parallel, sums};

/// `x → []`: `y = c·Σ x` of all numbers; backward `dx += c·dy`.
#[derive(Clone, Copy, Debug)]
struct SumAll {
    c: f64,
}

impl<N: Number> Op<N> for SumAll {
    fn name(&self) -> &'static str {
        "sum"
    }
    fn shape(&self, _: &Inputs<'_, N>) -> Shape {
        Shape::SCALAR
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let x = f.x(0);
        y[0] = N::from_f64(self.c)
            * sums::long_sum_by(
                f.work.threads,
                x.len(),
                #[inline(always)]
                |block| sums::sum(&x[block]),
            );
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let dy = N::from_f64(self.c) * dy[0];
        let Some(slot) = b.grad(0) else { return };
        if slot.fresh {
            slot.grad.fill(dy);
        } else {
            for dx in slot.grad.iter_mut() {
                *dx = *dx + dy;
            }
        }
    }
}

/// `[outer, k, inner] → [outer, inner]`: `y = c·Σ x` along the axis; backward `dx += c·dy` all along it.
#[derive(Clone, Copy, Debug)]
struct SumAxis {
    axis: usize,
    c: f64,
}

impl<N: Number> Op<N> for SumAxis {
    fn name(&self) -> &'static str {
        "sum_axis"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let shape = x.shape(0);
        assert!(self.axis < shape.len(), "sum_axis: {shape} has no axis {}", self.axis);
        shape.without(self.axis)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (x, c) = (f.x(0), N::from_f64(self.c));
        let [_, k, inner] = f.shape(0).around(self.axis);
        parallel::rows(
            f.work.threads,
            y,
            inner,
            k * inner,
            #[inline(always)]
            |at, y| {
                let blocks = x[at * k * inner..].chunks_exact(k * inner);
                if inner == 1 {
                    for (y, x) in y.iter_mut().zip(blocks) {
                        *y = c * sums::sum(x);
                    }
                    return;
                }
                for (y, x) in y.chunks_exact_mut(inner).zip(blocks) {
                    y.fill(N::zero());
                    for x in x.chunks_exact(inner) {
                        for (y, &x) in y.iter_mut().zip(x) {
                            *y = *y + x;
                        }
                    }
                    for y in y.iter_mut() {
                        *y = c * *y;
                    }
                }
            },
        );
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let c = N::from_f64(self.c);
        let [_, k, inner] = b.shape(0).around(self.axis);
        let threads = b.work.threads;
        let dy: &[N] = dy;
        let Some(slot) = b.grad(0) else { return };
        let fresh = slot.fresh;
        parallel::rows(
            threads,
            slot.grad,
            k * inner,
            k * inner,
            #[inline(always)]
            |at, dx| {
                let blocks = dx.chunks_exact_mut(k * inner).zip(dy[at * inner..].chunks_exact(inner));
                for (dx, dy) in blocks {
                    for dx in dx.chunks_exact_mut(inner) {
                        for (dx, &dy) in dx.iter_mut().zip(dy) {
                            *dx = if fresh { c * dy } else { *dx + c * dy };
                        }
                    }
                }
            },
        );
    }
}

impl<N: Number> Tape<'_, N> {
    /// Σ of all numbers, as a single number.
    #[track_caller]
    pub fn sum(&mut self, x: Var) -> Var {
        self.apply(SumAll { c: 1.0 }, &[x])
    }
    /// The mean of all numbers, as a single number.
    #[track_caller]
    pub fn mean(&mut self, x: Var) -> Var {
        let shape = self.shape(x);
        self.apply(SumAll { c: 1.0 / shape.count() as f64 }, &[x])
    }
    /// Σ along an axis, which goes away.
    ///
    /// # Panics
    /// When there is no such axis.
    #[track_caller]
    pub fn sum_axis(&mut self, x: Var, axis: usize) -> Var {
        self.apply(SumAxis { axis, c: 1.0 }, &[x])
    }
    /// The mean along an axis, which goes away.
    ///
    /// # Panics
    /// When there is no such axis.
    #[track_caller]
    pub fn mean_axis(&mut self, x: Var, axis: usize) -> Var {
        let shape = self.shape(x);
        assert!(axis < shape.len(), "mean_axis: {shape} has no axis {axis}");
        self.apply(SumAxis { axis, c: 1.0 / shape[axis] as f64 }, &[x])
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1]], |t, x| t.sum(x[0]));
        check!([[3, 5]], |t, x| t.mean(x[0]));
        for axis in 0..3 {
            check!([[3, 4, 5]], |t, x| t.sum_axis(x[0], axis));
            check!([[3, 1, 5]], |t, x| t.mean_axis(x[0], axis));
        }
        check!([[4, 9]], |t, x| {
            let s = t.square(x[0]);
            t.mean_axis(s, 1)
        });
    }
}
