//! `abs`: a function of each number.

use crate::elementwise::Function;
use crate::{Number, Tape, Var};

/// `|x|`.
/// Backward: `dx += sign(x)·dy, with sign(0) = 0`.
#[derive(Clone, Copy, Debug)]
pub struct Abs;

impl Function for Abs {
    const NAME: &'static str = "abs";
    const FROM_RESULT: bool = false;
    #[inline(always)]
    fn value<N: Number>(self, x: N) -> N {
        x.abs()
    }
    #[inline(always)]
    fn slope<N: Number>(self, x: N) -> N {
        let zero = N::zero();
        N::select(zero.lt(x), N::one(), N::select(x.lt(zero), -N::one(), zero))
    }
}

impl<N: Number> Tape<'_, N> {
    /// `|x|`. Any shape.
    pub fn abs(&mut self, x: Var) -> Var {
        self.map(Abs, x)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1]], |t, x| t.abs(x[0]));
        check!([[3, 5, 7]], |t, x| t.abs(x[0]));
    }
}
