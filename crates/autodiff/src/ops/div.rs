//! `div`: a function of each pair of numbers.

use crate::elementwise::Pair;
use crate::{Number, Tape, Var};

/// `a/b`, broadcast as [`Tape::pair`] does.
/// Backward: `da += dy/b, db −= a/b²·dy`, each summed over the axes along which it was repeated.
#[derive(Clone, Copy, Debug)]
pub struct Div;

impl Pair for Div {
    const NAME: &'static str = "div";
    #[inline(always)]
    fn value<N: Number>(self, a: N, b: N) -> N {
        a / b
    }
    #[inline(always)]
    fn slopes<N: Number>(self, a: N, b: N) -> [N; 2] {
        let part = N::one() / b;
        [part, -(a * part * part)]
    }
}

impl<N: Number> Tape<'_, N> {
    /// `a/b`, broadcast as [`Tape::pair`] does. Panics as it does.
    #[track_caller]
    pub fn div(&mut self, a: Var, b: Var) -> Var {
        self.pair(Div, a, b)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1], [1]], |t, x| t.div(x[0], x[1]));
        check!([[3, 5], [3, 5]], |t, x| t.div(x[0], x[1]));
        check!([[3, 5], [5]], |t, x| t.div(x[0], x[1]));
        check!([[5], [3, 1, 2, 5]], |t, x| t.div(x[0], x[1]));
        check!([[3, 1, 4], [1, 5, 1]], |t, x| t.div(x[0], x[1]));
        check!([[3, 4], []], |t, x| t.div(x[0], x[1]));
        check!([[2, 3, 1, 1], [2, 3, 2, 2]], |t, x| t.div(x[0], x[1]));
    }
}
