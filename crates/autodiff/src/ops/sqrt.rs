//! `sqrt`: a function of each number.

use crate::elementwise::Function;
use crate::{Number, Tape, Var};

/// `√x`, for x > 0.
/// Backward: `dx += dy/(2y)`.
#[derive(Clone, Copy, Debug)]
pub struct Sqrt;

impl Function for Sqrt {
    const NAME: &'static str = "sqrt";
    const FROM_RESULT: bool = true;
    #[inline(always)]
    fn value<N: Number>(self, x: N) -> N {
        x.sqrt()
    }
    #[inline(always)]
    fn slope<N: Number>(self, y: N) -> N {
        N::from_f64(0.5) / y
    }
}

impl<N: Number> Tape<'_, N> {
    /// `√x`, for x > 0. Any shape.
    pub fn sqrt(&mut self, x: Var) -> Var {
        self.map(Sqrt, x)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1]], |t, x| {
            let positive = t.exp(x[0]);
            t.sqrt(positive)
        });
        check!([[3, 5, 7]], |t, x| {
            let positive = t.exp(x[0]);
            t.sqrt(positive)
        });
    }
}
