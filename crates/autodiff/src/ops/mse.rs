//! `mse`: a loss.

use crate::elementwise::Pair;
use crate::{Number, Tape, Var};

/// `½(ŷ − y)²`: half of PyTorch's `mse_loss`, so that the slope is ŷ − y.
#[derive(Clone, Copy, Debug)]
pub struct Mse;

impl Pair for Mse {
    const NAME: &'static str = "mse";
    #[inline(always)]
    fn value<N: Number>(self, a: N, b: N) -> N {
        let d = a - b;
        N::from_f64(0.5) * d * d
    }
    #[inline(always)]
    fn slopes<N: Number>(self, a: N, b: N) -> [N; 2] {
        let d = a - b;
        [d, -d]
    }
}

impl<N: Number> Tape<'_, N> {
    /// `½(ŷ − y)²`: half of PyTorch's `mse_loss`, so that the slope is ŷ − y.
    ///
    /// Summed over all numbers with weights for rows: see [`Tape::loss`], and panics as it does.
    #[track_caller]
    pub fn mse(&mut self, prediction: Var, target: Var, weights: Option<Var>) -> Var {
        self.loss(Mse, prediction, target, weights)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::{check, some};

    #[test]
    fn gradient() {
        check!([[1], [1]], |t, x| t.mse(x[0], x[1], None));
        check!([[3, 5], [3, 5]], |t, x| t.mse(x[0], x[1], None));
        check!([[3, 5], [3, 5]], |t, x| {
            let w = some(t, [3]);
            t.mse(x[0], x[1], Some(w))
        });
    }
}
