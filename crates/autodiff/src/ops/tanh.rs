//! `tanh`: a function of each number.

use crate::elementwise::Function;
use crate::{Number, Tape, Var};

/// `tanh x`.
/// Backward: `dx += (1 − y²)·dy`.
#[derive(Clone, Copy, Debug)]
pub struct Tanh;

impl Function for Tanh {
    const NAME: &'static str = "tanh";
    const FROM_RESULT: bool = true;
    #[inline(always)]
    fn value<N: Number>(self, x: N) -> N {
        x.tanh()
    }
    #[inline(always)]
    fn slope<N: Number>(self, y: N) -> N {
        N::one() - y * y
    }
}

impl<N: Number> Tape<'_, N> {
    /// `tanh x`. Any shape.
    pub fn tanh(&mut self, x: Var) -> Var {
        self.map(Tanh, x)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1]], |t, x| t.tanh(x[0]));
        check!([[3, 5, 7]], |t, x| t.tanh(x[0]));
    }
}
