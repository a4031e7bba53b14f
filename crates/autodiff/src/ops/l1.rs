//! `l1`: a loss.

use crate::elementwise::Pair;
use crate::{Number, Tape, Var};

/// `|ŷ − y|`, slope 0 where they are equal.
#[derive(Clone, Copy, Debug)]
pub struct L1;

impl Pair for L1 {
    const NAME: &'static str = "l1";
    #[inline(always)]
    fn value<N: Number>(self, a: N, b: N) -> N {
        (a - b).abs()
    }
    #[inline(always)]
    fn slopes<N: Number>(self, a: N, b: N) -> [N; 2] {
        let zero = N::zero();
        let d = N::select(b.lt(a), N::one(), N::select(a.lt(b), -N::one(), zero));
        [d, -d]
    }
}

impl<N: Number> Tape<'_, N> {
    /// `|ŷ − y|`, slope 0 where they are equal.
    ///
    /// Summed over all numbers with weights for rows: see [`Tape::loss`], and panics as it does.
    #[track_caller]
    pub fn l1(&mut self, prediction: Var, target: Var, weights: Option<Var>) -> Var {
        self.loss(L1, prediction, target, weights)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::{check, some};

    #[test]
    fn gradient() {
        check!([[1], [1]], |t, x| t.l1(x[0], x[1], None));
        check!([[3, 5], [3, 5]], |t, x| t.l1(x[0], x[1], None));
        check!([[3, 5], [3, 5]], |t, x| {
            let w = some(t, [3]);
            t.l1(x[0], x[1], Some(w))
        });
    }
}
