//! `concat`: tensors behind each other.

use crate::op::{Backward, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Number, Tape, Var};

/// `[outer, k₁, inner], [outer, k₂, inner], … → [outer, k₁ + k₂ + …, inner]`; backward adds to each input its part.
#[derive(Clone, Copy, Debug)]
struct Concat {
    axis: usize,
}

impl<N: Number> Op<N> for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        assert!(x.count() > 0, "concat: nothing to join");
        let mut shape = x.shape(0);
        assert!(self.axis < shape.len(), "concat: {shape} has no axis {}", self.axis);
        for i in 1..x.count() {
            let other = x.shape(i);
            if other.len() != shape.len() || other.with(self.axis, 0) != shape.with(self.axis, 0) {
                misfit("concat", shape, other, "the same sizes but along the joined axis");
            }
            shape[self.axis] += other[self.axis];
        }
        shape
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let [_, k, inner] = self.shape(f).around(self.axis);
        let (row, mut at) = (k * inner, 0);
        for i in 0..f.count() {
            let [outer, k, _] = f.shape(i).around(self.axis);
            let part = k * inner;
            for o in 0..outer {
                y[o * row + at..][..part].copy_from_slice(&f.x(i)[o * part..][..part]);
            }
            at += part;
        }
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let [_, k, inner] = b.y_shape().around(self.axis);
        let (row, mut at) = (k * inner, 0);
        for i in 0..b.count() {
            let [outer, k, _] = b.shape(i).around(self.axis);
            let part = k * inner;
            if let Some(slot) = b.grad(i) {
                let dx = slot.zeroed();
                for o in 0..outer {
                    let parts = dx[o * part..][..part].iter_mut().zip(&dy[o * row + at..]);
                    for (dx, &dy) in parts {
                        *dx = *dx + dy;
                    }
                }
            }
            at += part;
        }
    }
}

impl<N: Number> Tape<'_, N> {
    /// The tensors behind each other along an axis.
    ///
    /// # Panics
    /// When they differ along another axis.
    #[track_caller]
    pub fn concat(&mut self, all: &[Var], axis: usize) -> Var {
        self.apply(Concat { axis }, all)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[2, 3, 2], [2, 1, 2], [2, 4, 2]], |t, x| t.concat(x, 1));
        check!([[2, 3], [5, 3]], |t, x| t.concat(x, 0));
        check!([[2, 3], [2, 1]], |t, x| t.concat(&[x[0], x[1], x[0]], 1));
    }

    #[test]
    #[should_panic(expected = "concat: [2, 3] and [3, 3] do not fit")]
    fn other_sizes_are_refused() {
        check!([[2, 3], [3, 3]], |t, x| t.concat(x, 1));
    }
}
