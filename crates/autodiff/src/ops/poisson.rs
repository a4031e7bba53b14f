//! `poisson`: a loss.

use crate::elementwise::Pair;
use crate::{Number, Tape, Var};

/// `e^z − y·z` for the logarithm z of a rate and a count y: the negative log-likelihood but for `ln y!`.
#[derive(Clone, Copy, Debug)]
pub struct Poisson;

impl Pair for Poisson {
    const NAME: &'static str = "poisson";
    #[inline(always)]
    fn value<N: Number>(self, a: N, b: N) -> N {
        a.exp() - a * b
    }
    #[inline(always)]
    fn slopes<N: Number>(self, a: N, b: N) -> [N; 2] {
        [a.exp() - b, -a]
    }
}

impl<N: Number> Tape<'_, N> {
    /// `e^z − y·z` for the logarithm z of a rate and a count y: the negative log-likelihood but for `ln y!`.
    ///
    /// Summed over all numbers with weights for rows: see [`Tape::loss`], and panics as it does.
    #[track_caller]
    pub fn poisson(&mut self, prediction: Var, target: Var, weights: Option<Var>) -> Var {
        self.loss(Poisson, prediction, target, weights)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::{check, some};

    #[test]
    fn gradient() {
        check!([[1], [1]], |t, x| t.poisson(x[0], x[1], None));
        check!([[3, 5], [3, 5]], |t, x| t.poisson(x[0], x[1], None));
        check!([[3, 5], [3, 5]], |t, x| {
            let w = some(t, [3]);
            t.poisson(x[0], x[1], Some(w))
        });
    }
}
