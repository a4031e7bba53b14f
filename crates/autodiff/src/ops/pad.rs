//! `pad`: a constant before and behind an axis.

use crate::op::{Backward, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::Shape;
use crate::{Number, Tape, Var};

/// `[outer, k, inner] → [outer, before + k + after, inner]`; backward `dx +=` the middle of `dy`.
#[derive(Clone, Copy, Debug)]
struct Pad {
    axis: usize,
    before: usize,
    after: usize,
    value: f64,
}

impl<N: Number> Op<N> for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let shape = x.shape(0);
        assert!(self.axis < shape.len(), "pad: {shape} has no axis {}", self.axis);
        shape.with(self.axis, self.before + shape[self.axis] + self.after)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (x, [outer, k, inner]) = (f.x(0), f.shape(0).around(self.axis));
        let (part, row) = (k * inner, (self.before + k + self.after) * inner);
        y.fill(N::from_f64(self.value));
        for o in 0..outer {
            y[o * row + self.before * inner..][..part].copy_from_slice(&x[o * part..][..part]);
        }
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let [outer, k, inner] = b.shape(0).around(self.axis);
        let (part, row) = (k * inner, (self.before + k + self.after) * inner);
        let Some(slot) = b.grad(0) else { return };
        let dx = slot.zeroed();
        for o in 0..outer {
            let parts = dx[o * part..][..part].iter_mut().zip(&dy[o * row + self.before * inner..]);
            for (dx, &dy) in parts {
                *dx = *dx + dy;
            }
        }
    }
}

impl<N: Number> Tape<'_, N> {
    /// With `before` and `after` numbers of `value` around an axis.
    ///
    /// # Panics
    /// When there is no such axis.
    #[track_caller]
    pub fn pad(&mut self, x: Var, axis: usize, before: usize, after: usize, value: f64) -> Var {
        self.apply(Pad { axis, before, after, value }, &[x])
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        for axis in 0..3 {
            check!([[2, 3, 2]], |t, x| t.pad(x[0], axis, 1, 2, 0.5));
        }
    }
}
