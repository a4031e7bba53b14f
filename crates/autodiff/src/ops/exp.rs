//! `exp`: a function of each number.

use crate::elementwise::Function;
use crate::{Number, Tape, Var};

/// `eˣ`.
/// Backward: `dx += y·dy`.
#[derive(Clone, Copy, Debug)]
pub struct Exp;

impl Function for Exp {
    const NAME: &'static str = "exp";
    const FROM_RESULT: bool = true;
    #[inline(always)]
    fn value<N: Number>(self, x: N) -> N {
        x.exp()
    }
    #[inline(always)]
    fn slope<N: Number>(self, y: N) -> N {
        y
    }
}

impl<N: Number> Tape<'_, N> {
    /// `eˣ`. Any shape.
    pub fn exp(&mut self, x: Var) -> Var {
        self.map(Exp, x)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1]], |t, x| t.exp(x[0]));
        check!([[3, 5, 7]], |t, x| t.exp(x[0]));
    }
}
