//! `max_axis`: the largest along an axis; the operation behind `min_axis` too.

use crate::op::{Backward, Codes, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::Shape;
use crate::{Number, Tape, Var};

/// `[outer, k, inner] → [outer, inner]`: the largest (or smallest) along the axis, NaN if any is; backward adds `dy` to the first of
/// them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extreme {
    pub axis: usize,
    pub largest: bool,
    pub places: Codes,
}

impl<N: Number> Op<N> for Extreme {
    fn name(&self) -> &'static str {
        if self.largest { "max_axis" } else { "min_axis" }
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let shape = x.shape(0);
        assert!(self.axis < shape.len(), "{}: {shape} has no axis {}", Op::<N>::name(self), self.axis);
        shape.without(self.axis)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (x, [_, k, inner]) = (f.x(0), f.shape(0).around(self.axis));
        self.places = f.new_codes(y.len());
        let places = f.codes_mut(self.places);
        for (i, (y, place)) in y.iter_mut().zip(places).enumerate() {
            let at = i / inner * k * inner + i % inner;
            let mut best = 0;
            for j in 1..k {
                let (top, x) = (x[at + best * inner], x[at + j * inner]);
                let better = if self.largest { top.lt(x) } else { x.lt(top) };
                if better || (x.is_nan() && !top.is_nan()) {
                    best = j;
                }
            }
            *y = x[at + best * inner];
            *place = best as u32;
        }
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let ([_, k, inner], places) = (b.shape(0).around(self.axis), b.codes(self.places));
        let Some(slot) = b.grad(0) else { return };
        let dx = slot.zeroed();
        for (i, (&dy, &place)) in dy.iter().zip(places).enumerate() {
            let at = i / inner * k * inner + i % inner + place as usize * inner;
            dx[at] = dx[at] + dy;
        }
    }
}

impl<N: Number> Tape<'_, N> {
    /// The largest along an axis, which goes away.
    ///
    /// # Panics
    /// When there is no such axis.
    #[track_caller]
    pub fn max_axis(&mut self, x: Var, axis: usize) -> Var {
        self.apply(Extreme { axis, largest: true, places: Codes::default() }, &[x])
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        for axis in 0..3 {
            check!([[3, 4, 5]], |t, x| {
                let s = t.square(x[0]);
                t.max_axis(s, axis)
            });
        }
    }
}
