//! `shift`: a function of each number.

use crate::elementwise::Function;
use crate::{Number, Tape, Var};

/// `x + c` with a constant c.
/// Backward: `dx += dy`.
#[derive(Clone, Copy, Debug)]
pub struct Shift {
    /// What is added.
    pub c: f64,
}

impl Function for Shift {
    const NAME: &'static str = "shift";
    const FROM_RESULT: bool = true;
    #[inline(always)]
    fn value<N: Number>(self, x: N) -> N {
        x + N::from_f64(self.c)
    }
    #[inline(always)]
    fn slope<N: Number>(self, y: N) -> N {
        let _ = y;
        N::one()
    }
}

impl<N: Number> Tape<'_, N> {
    /// `x + c` with a constant c. Any shape.
    pub fn shift(&mut self, x: Var, c: f64) -> Var {
        self.map(Shift { c }, x)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1]], |t, x| t.shift(x[0], 0.3));
        check!([[3, 5, 7]], |t, x| t.shift(x[0], 0.3));
    }
}
