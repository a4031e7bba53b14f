//! `gather`: numbers picked along an axis.

use crate::op::{Backward, Codes, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::Shape;
use crate::{Number, Tape, Var};

/// `x [outer, k, inner]`, places `[outer, m, inner]` → the same: `y[o, j, i] = x[o, place[o, j, i], i]`.
/// Backward: `dx[o, place[o, j, i], i] += dy[o, j, i]`, in order.
#[derive(Clone, Copy, Debug)]
struct Gather {
    axis: usize,
    m: usize,
    places: Codes,
}

impl<N: Number> Op<N> for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        x.shape(0).with(self.axis, self.m)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (x, [_, k, inner]) = (f.x(0), f.shape(0).around(self.axis));
        for (i, (y, &place)) in y.iter_mut().zip(f.codes(self.places)).enumerate() {
            assert!((place as usize) < k, "gather: place {place} lies outside an axis of {k}");
            *y = x[(i / (self.m * inner) * k + place as usize) * inner + i % inner];
        }
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let ([_, k, inner], places) = (b.shape(0).around(self.axis), b.codes(self.places));
        let Some(slot) = b.grad(0) else { return };
        let dx = slot.zeroed();
        for (i, (&dy, &place)) in dy.iter().zip(places).enumerate() {
            let at = (i / (self.m * inner) * k + place as usize) * inner + i % inner;
            dx[at] = dx[at] + dy;
        }
    }
}

impl<N: Number> Tape<'_, N> {
    /// Picks along an axis: `places` has the shape of `x` but for any number m of places along that axis, and says for each number
    /// of the result where along the axis it comes from. As PyTorch's `gather`.
    ///
    /// # Panics
    /// When there is no such axis, when `places` does not fill whole rows, or a place lies outside the axis.
    #[track_caller]
    pub fn gather(&mut self, x: Var, axis: usize, places: &[u32]) -> Var {
        let shape = self.shape(x);
        assert!(axis < shape.len(), "gather: {shape} has no axis {axis}");
        let [outer, _, inner] = shape.around(axis);
        let m = places.len().checked_div(outer * inner).unwrap_or(0);
        assert!(
            m * outer * inner == places.len(),
            "gather: {} places do not fill axis {axis} of {shape}",
            places.len()
        );
        let places = self.codes(places);
        self.apply(Gather { axis, m, places }, &[x])
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[3, 4]], |t, x| t.gather(x[0], 1, &[3, 0, 0]));
        check!([[3, 4]], |t, x| t.gather(x[0], 0, &[2, 1, 0, 2, 2, 1, 1, 1]));
        check!([[2, 3, 2]], |t, x| t.gather(x[0], 1, &[0, 1, 2, 2, 1, 1, 0, 0]));
    }

    #[test]
    #[should_panic(expected = "gather: place 4 lies outside an axis of 4")]
    fn a_place_outside_is_refused() {
        check!([[3, 4]], |t, x| t.gather(x[0], 1, &[3, 0, 4]));
    }
}
