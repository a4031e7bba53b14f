//! `hinge`: a loss.

use crate::elementwise::Pair;
use crate::{Number, Tape, Var};

/// `max(0, 1 − y·ŷ)` for a target y of −1 or 1.
#[derive(Clone, Copy, Debug)]
pub struct Hinge;

impl Pair for Hinge {
    const NAME: &'static str = "hinge";
    #[inline(always)]
    fn value<N: Number>(self, a: N, b: N) -> N {
        (N::one() - a * b).at_least(N::zero())
    }
    #[inline(always)]
    fn slopes<N: Number>(self, a: N, b: N) -> [N; 2] {
        let inside = (a * b).lt(N::one());
        [N::select(inside, -b, N::zero()), N::select(inside, -a, N::zero())]
    }
}

impl<N: Number> Tape<'_, N> {
    /// `max(0, 1 − y·ŷ)` for a target y of −1 or 1.
    ///
    /// Summed over all numbers with weights for rows: see [`Tape::loss`], and panics as it does.
    #[track_caller]
    pub fn hinge(&mut self, prediction: Var, target: Var, weights: Option<Var>) -> Var {
        self.loss(Hinge, prediction, target, weights)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::{check, some};

    #[test]
    fn gradient() {
        check!([[1], [1]], |t, x| t.hinge(x[0], x[1], None));
        check!([[3, 5], [3, 5]], |t, x| t.hinge(x[0], x[1], None));
        check!([[3, 5], [3, 5]], |t, x| {
            let w = some(t, [3]);
            t.hinge(x[0], x[1], Some(w))
        });
    }
}
