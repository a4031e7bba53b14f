//! `elu`: a function of each number.

use crate::elementwise::Function;
use crate::{Number, Tape, Var};

/// `x` above 0, `a·(eˣ − 1)` below. Clevert, Unterthiner & Hochreiter 2016, <https://arxiv.org/abs/1511.07289>. PyTorch's default is a = 1.
/// Backward: `dx += (y > 0 ? 1 : y + a)·dy`.
#[derive(Clone, Copy, Debug)]
pub struct Elu {
    /// The limit towards −∞ is −a; not negative.
    pub a: f64,
}

impl Function for Elu {
    const NAME: &'static str = "elu";
    const FROM_RESULT: bool = true;
    #[inline(always)]
    fn value<N: Number>(self, x: N) -> N {
        N::select(x.lt(N::zero()), N::from_f64(self.a) * (x.at_most(N::zero()).exp() - N::one()), x)
    }
    #[inline(always)]
    fn slope<N: Number>(self, y: N) -> N {
        N::select(N::zero().lt(y), N::one(), y + N::from_f64(self.a))
    }
}

impl<N: Number> Tape<'_, N> {
    /// `x` above 0, `a·(eˣ − 1)` below. Clevert, Unterthiner & Hochreiter 2016, <https://arxiv.org/abs/1511.07289>. PyTorch's default is a = 1. Any shape.
    pub fn elu(&mut self, x: Var, a: f64) -> Var {
        self.map(Elu { a }, x)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1]], |t, x| t.elu(x[0], 0.7));
        check!([[3, 5, 7]], |t, x| t.elu(x[0], 0.7));
    }
}
