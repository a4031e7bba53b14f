//! `square`: a function of each number.

use crate::elementwise::Function;
use crate::{Number, Tape, Var};

/// `x²`.
/// Backward: `dx += 2x·dy`.
#[derive(Clone, Copy, Debug)]
pub struct Square;

impl Function for Square {
    const NAME: &'static str = "square";
    const FROM_RESULT: bool = false;
    #[inline(always)]
    fn value<N: Number>(self, x: N) -> N {
        x * x
    }
    #[inline(always)]
    fn slope<N: Number>(self, x: N) -> N {
        x + x
    }
}

impl<N: Number> Tape<'_, N> {
    /// `x²`. Any shape.
    pub fn square(&mut self, x: Var) -> Var {
        self.map(Square, x)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1]], |t, x| t.square(x[0]));
        check!([[3, 5, 7]], |t, x| t.square(x[0]));
    }
}
