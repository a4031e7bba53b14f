//! `scale`: a function of each number.

use crate::elementwise::Function;
use crate::{Number, Tape, Var};

/// `c·x` with a constant c.
/// Backward: `dx += c·dy`.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// The factor c.
    pub c: f64,
}

impl Function for Scale {
    const NAME: &'static str = "scale";
    const FROM_RESULT: bool = true;
    #[inline(always)]
    fn value<N: Number>(self, x: N) -> N {
        N::from_f64(self.c) * x
    }
    #[inline(always)]
    fn slope<N: Number>(self, y: N) -> N {
        let _ = y;
        N::from_f64(self.c)
    }
}

impl<N: Number> Tape<'_, N> {
    /// `c·x` with a constant c. Any shape.
    pub fn scale(&mut self, x: Var, c: f64) -> Var {
        self.map(Scale { c }, x)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1]], |t, x| t.scale(x[0], -1.7));
        check!([[3, 5, 7]], |t, x| t.scale(x[0], -1.7));
    }
}
