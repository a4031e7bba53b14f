//! `triplet`: a loss of distances.

use crate::{Number, Tape, Var};

/// Added to each difference, as PyTorch does, so that the distance of equal rows has a slope.
const EPS: f64 = 1e-6;

impl<N: Number> Tape<'_, N> {
    /// `Σᵢ wᵢ·max(0, |aᵢ − pᵢ| − |aᵢ − nᵢ| + margin)` over the rows of `a [n, d]` (anchor), `p` (should be near) and `n` (should be
    /// far); 1e-6 is added to each difference. Schroff, Kalenichenko & Philbin 2015, <https://arxiv.org/abs/1503.03832>, without their
    /// squares, as PyTorch's `triplet_margin_loss`.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn triplet(&mut self, anchor: Var, near: Var, far: Var, margin: f64, weights: Option<Var>) -> Var {
        let [p, n] = [near, far].map(|other| self.distance(anchor, other));
        let gap = self.sub(p, n);
        let gap = self.shift(gap, margin);
        let losses = self.relu(gap);
        self.weighted_sum(losses, weights)
    }
    /// The distance `|aᵢ − bᵢ + 1e-6|` of rows of `a [.., d]` and `b [.., d]`: `[..]`, as PyTorch's `pairwise_distance`.
    ///
    /// # Panics
    /// When the shapes differ.
    #[track_caller]
    pub fn distance(&mut self, a: Var, b: Var) -> Var {
        let (shape, other) = (self.shape(a), self.shape(b));
        if shape != other || shape.is_empty() {
            crate::shape::misfit("distance", shape, other, "rows of one shape");
        }
        let difference = self.sub(a, b);
        let difference = self.shift(difference, EPS);
        let squares = self.square(difference);
        let square = self.sum_axis(squares, shape.len() - 1);
        self.sqrt(square)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::{check, some};

    #[test]
    fn gradient() {
        check!([[1, 3], [1, 3], [1, 3]], |t, x| t.triplet(x[0], x[1], x[2], 2.0, None));
        check!([[5, 4], [5, 4], [5, 4]], |t, x| {
            let w = some(t, [5]);
            t.triplet(x[0], x[1], x[2], 0.5, Some(w))
        });
    }
}
