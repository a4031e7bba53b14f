//! `huber`: a loss.

use crate::elementwise::Pair;
use crate::{Number, Tape, Var};

/// `½d²` for d = ŷ − y up to |d| = δ, `δ(|d| − ½δ)` beyond. Huber 1964, <https://doi.org/10.1214/aoms/1177703732>.
#[derive(Clone, Copy, Debug)]
pub struct Huber {
    /// Where the parabola becomes a line; above 0, in units of y.
    pub delta: f64,
}

impl Pair for Huber {
    const NAME: &'static str = "huber";
    #[inline(always)]
    fn value<N: Number>(self, a: N, b: N) -> N {
        let (d, delta, half) = ((a - b).abs(), N::from_f64(self.delta), N::from_f64(0.5));
        N::select(d.lt(delta), half * d * d, delta * (d - half * delta))
    }
    #[inline(always)]
    fn slopes<N: Number>(self, a: N, b: N) -> [N; 2] {
        let delta = N::from_f64(self.delta);
        let d = (a - b).at_most(delta).at_least(-delta);
        [d, -d]
    }
}

impl<N: Number> Tape<'_, N> {
    /// `½d²` for d = ŷ − y up to |d| = δ, `δ(|d| − ½δ)` beyond. Huber 1964, <https://doi.org/10.1214/aoms/1177703732>.
    ///
    /// Summed over all numbers with weights for rows: see [`Tape::loss`], and panics as it does.
    #[track_caller]
    pub fn huber(&mut self, prediction: Var, target: Var, delta: f64, weights: Option<Var>) -> Var {
        self.loss(Huber { delta }, prediction, target, weights)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::{check, some};

    #[test]
    fn gradient() {
        check!([[1], [1]], |t, x| t.huber(x[0], x[1], 0.4, None));
        check!([[3, 5], [3, 5]], |t, x| t.huber(x[0], x[1], 0.4, None));
        check!([[3, 5], [3, 5]], |t, x| {
            let w = some(t, [3]);
            t.huber(x[0], x[1], 0.4, Some(w))
        });
    }
}
