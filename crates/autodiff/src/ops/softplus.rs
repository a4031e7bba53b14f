//! `softplus`: a function of each number.

use crate::elementwise::Function;
use crate::{Number, Tape, Var};

/// `ln(1 + eˣ)`.
/// Backward: `dx += σ(x)·dy`.
#[derive(Clone, Copy, Debug)]
pub struct Softplus;

impl Function for Softplus {
    const NAME: &'static str = "softplus";
    const FROM_RESULT: bool = false;
    #[inline(always)]
    fn value<N: Number>(self, x: N) -> N {
        x.softplus()
    }
    #[inline(always)]
    fn slope<N: Number>(self, x: N) -> N {
        x.sigmoid()
    }
}

impl<N: Number> Tape<'_, N> {
    /// `ln(1 + eˣ)`. Any shape.
    pub fn softplus(&mut self, x: Var) -> Var {
        self.map(Softplus, x)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1]], |t, x| t.softplus(x[0]));
        check!([[3, 5, 7]], |t, x| t.softplus(x[0]));
    }
}
