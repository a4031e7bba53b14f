//! `quantile`: a loss.

use crate::elementwise::Pair;
use crate::{Number, Tape, Var};

/// `max(τ·d, (τ − 1)·d)` for d = y − ŷ: the pinball loss, whose minimum is the τ-quantile. Koenker & Bassett 1978, <https://doi.org/10.2307/1913643>.
#[derive(Clone, Copy, Debug)]
pub struct Quantile {
    /// The quantile, in (0, 1).
    pub tau: f64,
}

impl Pair for Quantile {
    const NAME: &'static str = "quantile";
    #[inline(always)]
    fn value<N: Number>(self, a: N, b: N) -> N {
        let (d, tau) = (b - a, N::from_f64(self.tau));
        (tau * d).at_least((tau - N::one()) * d)
    }
    #[inline(always)]
    fn slopes<N: Number>(self, a: N, b: N) -> [N; 2] {
        let tau = N::from_f64(self.tau);
        let d = N::select(a.lt(b), tau, tau - N::one());
        [-d, d]
    }
}

impl<N: Number> Tape<'_, N> {
    /// `max(τ·d, (τ − 1)·d)` for d = y − ŷ: the pinball loss, whose minimum is the τ-quantile. Koenker & Bassett 1978, <https://doi.org/10.2307/1913643>.
    ///
    /// Summed over all numbers with weights for rows: see [`Tape::loss`], and panics as it does.
    #[track_caller]
    pub fn quantile(&mut self, prediction: Var, target: Var, tau: f64, weights: Option<Var>) -> Var {
        self.loss(Quantile { tau }, prediction, target, weights)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::{check, some};

    #[test]
    fn gradient() {
        check!([[1], [1]], |t, x| t.quantile(x[0], x[1], 0.8, None));
        check!([[3, 5], [3, 5]], |t, x| t.quantile(x[0], x[1], 0.8, None));
        check!([[3, 5], [3, 5]], |t, x| {
            let w = some(t, [3]);
            t.quantile(x[0], x[1], 0.8, Some(w))
        });
    }
}
