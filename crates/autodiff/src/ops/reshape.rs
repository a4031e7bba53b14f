//! `reshape`, and `slice` along an axis.

use std::ops::Range;

use crate::op::{Backward, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Number, Tape, Var};

/// The same numbers in another shape; backward `dx += dy`.
#[derive(Clone, Copy, Debug)]
struct Reshape;

impl<N: Number> Op<N> for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        x.shape(0)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        y.copy_from_slice(f.x(0));
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        b.pass(0, dy);
    }
}

/// `[outer, k, inner] → [outer, to − from, inner]`; backward adds `dy` to that part of `dx`.
#[derive(Clone, Copy, Debug)]
struct Slice {
    axis: usize,
    from: usize,
    to: usize,
}

impl<N: Number> Op<N> for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        x.shape(0).with(self.axis, self.to - self.from)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let [outer, k, inner] = f.shape(0).around(self.axis);
        let (x, part) = (f.x(0), (self.to - self.from) * inner);
        for i in 0..outer {
            let at = (i * k + self.from) * inner;
            y[i * part..][..part].copy_from_slice(&x[at..at + part]);
        }
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let [outer, k, inner] = b.shape(0).around(self.axis);
        let part = (self.to - self.from) * inner;
        let Some(slot) = b.grad(0) else { return };
        let dx = slot.zeroed();
        for i in 0..outer {
            let at = (i * k + self.from) * inner;
            for (dx, &dy) in dx[at..at + part].iter_mut().zip(&dy[i * part..]) {
                *dx = *dx + dy;
            }
        }
    }
}

impl<N: Number> Tape<'_, N> {
    /// The same numbers in another shape, without a copy.
    ///
    /// # Panics
    /// When the shapes have different numbers of numbers.
    #[track_caller]
    pub fn reshape(&mut self, x: Var, shape: impl Into<Shape>) -> Var {
        let (from, to) = (self.shape(x), shape.into());
        if from.count() != to.count() {
            misfit("reshape", from, to, "the same number of numbers");
        }
        self.alias(Reshape, x, 0, to)
    }
    /// All axes from `axis` on as one, without a copy.
    ///
    /// # Panics
    /// When there is no such axis.
    #[track_caller]
    pub fn flatten(&mut self, x: Var, axis: usize) -> Var {
        let shape = self.shape(x);
        assert!(axis < shape.len(), "flatten: {shape} has no axis {axis}");
        let mut to = Shape::new(&shape[..=axis]);
        to[axis] = shape[axis..].iter().product();
        self.reshape(x, to)
    }
    /// The part `range` of an axis; without a copy where the numbers lie together.
    ///
    /// # Panics
    /// When there is no such axis or part of it.
    #[track_caller]
    pub fn slice(&mut self, x: Var, axis: usize, range: Range<usize>) -> Var {
        let shape = self.shape(x);
        let fits = axis < shape.len() && range.start <= range.end && range.end <= shape[axis];
        assert!(fits, "slice: {shape} has no {range:?} along axis {axis}");
        let op = Slice { axis, from: range.start, to: range.end };
        let [outer, _, inner] = shape.around(axis);
        if outer == 1 {
            self.alias(op, x, range.start * inner, shape.with(axis, range.len()))
        } else {
            self.apply(op, &[x])
        }
    }
    /// The `i`-th of an axis, which goes away.
    ///
    /// # Panics
    /// When there is no such axis or place on it.
    #[track_caller]
    pub fn select(&mut self, x: Var, axis: usize, i: usize) -> Var {
        let part = self.slice(x, axis, i..i + 1);
        let shape = self.shape(part).without(axis);
        self.reshape(part, shape)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[3, 4]], |t, x| t.reshape(x[0], [2, 6]));
        check!([[2, 3, 4]], |t, x| t.flatten(x[0], 1));
        for axis in 0..3 {
            check!([[3, 4, 5]], |t, x| t.slice(x[0], axis, 1..3));
            check!([[3, 4, 5]], |t, x| t.select(x[0], axis, 2));
        }
        check!([[6]], |t, x| {
            let (a, b) = (t.slice(x[0], 0, 0..4), t.slice(x[0], 0, 2..6));
            t.mul(a, b)
        });
    }

    #[test]
    #[should_panic(expected = "reshape: [6] and [4] do not fit")]
    fn another_number_of_numbers_is_refused() {
        check!([[6]], |t, x| t.reshape(x[0], [4]));
    }
}
