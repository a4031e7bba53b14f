//! `neg`: a function of each number.

use crate::elementwise::Function;
use crate::{Number, Tape, Var};

/// `−x`.
/// Backward: `dx −= dy`.
#[derive(Clone, Copy, Debug)]
pub struct Neg;

impl Function for Neg {
    const NAME: &'static str = "neg";
    const FROM_RESULT: bool = true;
    #[inline(always)]
    fn value<N: Number>(self, x: N) -> N {
        -x
    }
    #[inline(always)]
    fn slope<N: Number>(self, y: N) -> N {
        let _ = y;
        -N::one()
    }
}

impl<N: Number> Tape<'_, N> {
    /// `−x`. Any shape.
    pub fn neg(&mut self, x: Var) -> Var {
        self.map(Neg, x)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1]], |t, x| t.neg(x[0]));
        check!([[3, 5, 7]], |t, x| t.neg(x[0]));
    }
}
