//! `sub`: a function of each pair of numbers.

use crate::elementwise::Pair;
use crate::{Number, Tape, Var};

/// `a − b`, broadcast as [`Tape::pair`] does.
/// Backward: `da += dy, db −= dy`, each summed over the axes along which it was repeated.
#[derive(Clone, Copy, Debug)]
pub struct Sub;

impl Pair for Sub {
    const NAME: &'static str = "sub";
    #[inline(always)]
    fn value<N: Number>(self, a: N, b: N) -> N {
        a - b
    }
    #[inline(always)]
    fn slopes<N: Number>(self, a: N, b: N) -> [N; 2] {
        let _ = (a, b);
        [N::one(), -N::one()]
    }
}

impl<N: Number> Tape<'_, N> {
    /// `a − b`, broadcast as [`Tape::pair`] does. Panics as it does.
    #[track_caller]
    pub fn sub(&mut self, a: Var, b: Var) -> Var {
        self.pair(Sub, a, b)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1], [1]], |t, x| t.sub(x[0], x[1]));
        check!([[3, 5], [3, 5]], |t, x| t.sub(x[0], x[1]));
        check!([[3, 5], [5]], |t, x| t.sub(x[0], x[1]));
        check!([[5], [3, 1, 2, 5]], |t, x| t.sub(x[0], x[1]));
        check!([[3, 1, 4], [1, 5, 1]], |t, x| t.sub(x[0], x[1]));
        check!([[3, 4], []], |t, x| t.sub(x[0], x[1]));
        check!([[2, 3, 1, 1], [2, 3, 2, 2]], |t, x| t.sub(x[0], x[1]));
    }
}
