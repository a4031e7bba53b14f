//! `kl_divergence`: a loss.

use crate::elementwise::Pair;
use crate::{Number, Tape, Var};

/// `p·(ln p − q)` for a predicted log-probability q and a target probability p, 0 where p = 0: PyTorch's `kl_div`.
#[derive(Clone, Copy, Debug)]
pub struct KlDivergence;

impl Pair for KlDivergence {
    const NAME: &'static str = "kl_divergence";
    #[inline(always)]
    fn value<N: Number>(self, a: N, b: N) -> N {
        let some = N::zero().lt(b);
        N::select(some, b * (N::select(some, b, N::one()).ln() - a), N::zero())
    }
    #[inline(always)]
    fn slopes<N: Number>(self, a: N, b: N) -> [N; 2] {
        let some = N::zero().lt(b);
        let db = N::select(some, b, N::one()).ln() + N::one() - a;
        [-b, N::select(some, db, N::zero())]
    }
}

impl<N: Number> Tape<'_, N> {
    /// `p·(ln p − q)` for a predicted log-probability q and a target probability p, 0 where p = 0: PyTorch's `kl_div`.
    ///
    /// Summed over all numbers with weights for rows: see [`Tape::loss`], and panics as it does.
    #[track_caller]
    pub fn kl_divergence(&mut self, prediction: Var, target: Var, weights: Option<Var>) -> Var {
        self.loss(KlDivergence, prediction, target, weights)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::{check, some};

    #[test]
    fn gradient() {
        check!([[1], [1]], |t, x| {
            let p = t.exp(x[1]);
            t.kl_divergence(x[0], p, None)
        });
        check!([[3, 5], [3, 5]], |t, x| {
            let p = t.exp(x[1]);
            t.kl_divergence(x[0], p, None)
        });
        check!([[3, 5], [3, 5]], |t, x| {
            let w = some(t, [3]);
            {
                let p = t.exp(x[1]);
                t.kl_divergence(x[0], p, Some(w))
            }
        });
    }
}
