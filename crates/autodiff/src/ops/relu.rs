//! `relu`: a function of each number.

use crate::elementwise::Function;
use crate::{Number, Tape, Var};

/// `max(x, 0)`.
/// Backward: `dx += [y > 0]·dy, 0 at 0`.
#[derive(Clone, Copy, Debug)]
pub struct Relu;

impl Function for Relu {
    const NAME: &'static str = "relu";
    const FROM_RESULT: bool = true;
    #[inline(always)]
    fn value<N: Number>(self, x: N) -> N {
        // NaN stays NaN, as in PyTorch.
        N::select(x.lt(N::zero()), N::zero(), x)
    }
    #[inline(always)]
    fn slope<N: Number>(self, y: N) -> N {
        N::select(N::zero().lt(y), N::one(), N::zero())
    }
}

impl<N: Number> Tape<'_, N> {
    /// `max(x, 0)`. Any shape.
    pub fn relu(&mut self, x: Var) -> Var {
        self.map(Relu, x)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[7]], |t, x| t.relu(x[0]));
        check!([[3, 5, 7]], |t, x| t.relu(x[0]));
    }
}
