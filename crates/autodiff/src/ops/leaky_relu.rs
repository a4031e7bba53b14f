//! `leaky_relu`: a function of each number.

use crate::elementwise::Function;
use crate::{Number, Tape, Var};

/// `x` above 0, `a·x` below. PyTorch's default is a = 0.01.
/// Backward: `dx += (y > 0 ? 1 : a)·dy`.
#[derive(Clone, Copy, Debug)]
pub struct LeakyRelu {
    /// Slope a below 0; not negative.
    pub a: f64,
}

impl Function for LeakyRelu {
    const NAME: &'static str = "leaky_relu";
    const FROM_RESULT: bool = true;
    #[inline(always)]
    fn value<N: Number>(self, x: N) -> N {
        N::select(x.lt(N::zero()), N::from_f64(self.a) * x, x)
    }
    #[inline(always)]
    fn slope<N: Number>(self, y: N) -> N {
        N::select(N::zero().lt(y), N::one(), N::from_f64(self.a))
    }
}

impl<N: Number> Tape<'_, N> {
    /// `x` above 0, `a·x` below. PyTorch's default is a = 0.01. Any shape.
    pub fn leaky_relu(&mut self, x: Var, a: f64) -> Var {
        self.map(LeakyRelu { a }, x)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1]], |t, x| t.leaky_relu(x[0], 0.1));
        check!([[3, 5, 7]], |t, x| t.leaky_relu(x[0], 0.1));
    }
}
