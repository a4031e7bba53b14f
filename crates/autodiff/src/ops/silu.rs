//! `silu`: a function of each number.

use crate::elementwise::Function;
use crate::{Number, Tape, Var};

/// `x·σ(x)`. Elfwing, Uchibe & Doya 2018, <https://arxiv.org/abs/1702.03118>.
/// Backward: `dx += σ(x)·(1 + x·(1 − σ(x)))·dy`.
#[derive(Clone, Copy, Debug)]
pub struct Silu;

impl Function for Silu {
    const NAME: &'static str = "silu";
    const FROM_RESULT: bool = false;
    #[inline(always)]
    fn value<N: Number>(self, x: N) -> N {
        x * x.sigmoid()
    }
    #[inline(always)]
    fn slope<N: Number>(self, x: N) -> N {
        let s = x.sigmoid();
        s + x * (s * (N::one() - s))
    }
}

impl<N: Number> Tape<'_, N> {
    /// `x·σ(x)`. Elfwing, Uchibe & Doya 2018, <https://arxiv.org/abs/1702.03118>. Any shape.
    pub fn silu(&mut self, x: Var) -> Var {
        self.map(Silu, x)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1]], |t, x| t.silu(x[0]));
        check!([[3, 5, 7]], |t, x| t.silu(x[0]));
    }
}
