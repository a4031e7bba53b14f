//! `bce_with_logits`: a loss.

use crate::elementwise::Pair;
use crate::{Number, Tape, Var};

/// `softplus(z) − y·z`: the cross-entropy of the probability σ(z) of class 1, for a logit z and a target y in [0, 1].
#[derive(Clone, Copy, Debug)]
pub struct BceWithLogits;

impl Pair for BceWithLogits {
    const NAME: &'static str = "bce_with_logits";
    #[inline(always)]
    fn value<N: Number>(self, a: N, b: N) -> N {
        a.softplus() - a * b
    }
    #[inline(always)]
    fn slopes<N: Number>(self, a: N, b: N) -> [N; 2] {
        [a.sigmoid() - b, -a]
    }
}

impl<N: Number> Tape<'_, N> {
    /// `softplus(z) − y·z`: the cross-entropy of the probability σ(z) of class 1, for a logit z and a target y in [0, 1].
    ///
    /// Summed over all numbers with weights for rows: see [`Tape::loss`], and panics as it does.
    #[track_caller]
    pub fn bce_with_logits(&mut self, prediction: Var, target: Var, weights: Option<Var>) -> Var {
        self.loss(BceWithLogits, prediction, target, weights)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::{check, some};

    #[test]
    fn gradient() {
        check!([[1], [1]], |t, x| t.bce_with_logits(x[0], x[1], None));
        check!([[3, 5], [3, 5]], |t, x| t.bce_with_logits(x[0], x[1], None));
        check!([[3, 5], [3, 5]], |t, x| {
            let w = some(t, [3]);
            t.bce_with_logits(x[0], x[1], Some(w))
        });
    }
}
