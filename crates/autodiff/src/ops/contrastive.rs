//! `contrastive`: a loss of pairs.

use crate::shape::misfit;
use crate::{Number, Tape, Var};

impl<N: Number> Tape<'_, N> {
    /// `Σᵢ wᵢ·½(yᵢ·dᵢ² + (1 − yᵢ)·max(0, margin − dᵢ)²)` over the rows of `a [n, d]` and `b [n, d]`, dᵢ their
    /// [distance](Tape::distance): pairs that belong together (y = 1) are drawn together, others (y = 0) pushed apart up to the margin.
    /// `y [n]`. Hadsell, Chopra & LeCun 2006, <https://doi.org/10.1109/CVPR.2006.100>, with y for what they call 1 − Y.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn contrastive(&mut self, a: Var, b: Var, y: Var, margin: f64, weights: Option<Var>) -> Var {
        let d = self.distance(a, b);
        let (rows, together) = (self.shape(d), self.shape(y));
        if rows != together {
            misfit("contrastive", rows, together, "one y for each pair of rows");
        }
        let squares = self.square(d);
        let near = self.mul(y, squares);
        let (less, others) = (self.neg(d), self.neg(y));
        let (gap, others) = (self.shift(less, margin), self.shift(others, 1.0));
        let inside = self.relu(gap);
        let squares = self.square(inside);
        let far = self.mul(others, squares);
        let both = self.add(near, far);
        let losses = self.scale(both, 0.5);
        self.weighted_sum(losses, weights)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::{check, some};
    use thalweg_core::Real;

    #[test]
    fn gradient() {
        check!([[1, 3], [1, 3], [1]], |t, x| t.contrastive(x[0], x[1], x[2], 2.0, None));
        check!([[5, 4], [5, 4]], |t, x| {
            let (middle, w) = (t.full(Real::from_f64(0.7), [5]), some(t, [5]));
            let y = t.less(w, middle);
            t.contrastive(x[0], x[1], y, 2.5, Some(w))
        });
    }

    #[test]
    #[should_panic(expected = "contrastive: [3] and [3, 1] do not fit: one y for each pair of rows")]
    fn a_column_of_answers_is_refused() {
        check!([[3, 2], [3, 2], [3, 1]], |t, x| t.contrastive(x[0], x[1], x[2], 1.0, None));
    }
}
