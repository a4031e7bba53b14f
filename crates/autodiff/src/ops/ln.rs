//! `ln`: a function of each number.

use crate::elementwise::Function;
use crate::{Number, Tape, Var};

/// Natural logarithm `ln x`, for x > 0.
/// Backward: `dx += dy/x`.
#[derive(Clone, Copy, Debug)]
pub struct Ln;

impl Function for Ln {
    const NAME: &'static str = "ln";
    const FROM_RESULT: bool = false;
    #[inline(always)]
    fn value<N: Number>(self, x: N) -> N {
        x.ln()
    }
    #[inline(always)]
    fn slope<N: Number>(self, x: N) -> N {
        N::one() / x
    }
}

impl<N: Number> Tape<'_, N> {
    /// Natural logarithm `ln x`, for x > 0. Any shape.
    pub fn ln(&mut self, x: Var) -> Var {
        self.map(Ln, x)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1]], |t, x| {
            let positive = t.exp(x[0]);
            t.ln(positive)
        });
        check!([[3, 5, 7]], |t, x| {
            let positive = t.exp(x[0]);
            t.ln(positive)
        });
    }
}
