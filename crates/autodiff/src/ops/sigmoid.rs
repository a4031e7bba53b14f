//! `sigmoid`: a function of each number.

use crate::elementwise::Function;
use crate::{Number, Tape, Var};

/// `σ(x) = 1/(1 + e⁻ˣ)`.
/// Backward: `dx += y·(1 − y)·dy`.
#[derive(Clone, Copy, Debug)]
pub struct Sigmoid;

impl Function for Sigmoid {
    const NAME: &'static str = "sigmoid";
    const FROM_RESULT: bool = true;
    #[inline(always)]
    fn value<N: Number>(self, x: N) -> N {
        x.sigmoid()
    }
    #[inline(always)]
    fn slope<N: Number>(self, y: N) -> N {
        y * (N::one() - y)
    }
}

impl<N: Number> Tape<'_, N> {
    /// `σ(x) = 1/(1 + e⁻ˣ)`. Any shape.
    pub fn sigmoid(&mut self, x: Var) -> Var {
        self.map(Sigmoid, x)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1]], |t, x| t.sigmoid(x[0]));
        check!([[3, 5, 7]], |t, x| t.sigmoid(x[0]));
    }
}
