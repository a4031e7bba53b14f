//! `add`: a function of each pair of numbers.

use crate::elementwise::{Pair, times_slope};
use crate::op::{Backward, Forward, Inputs, Op};
use crate::ops::relu::Relu;
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Number, Tape, Var, parallel};

/// `a + b`, broadcast as [`Tape::pair`] does.
/// Backward: `da += dy, db += dy`, each summed over the axes along which it was repeated.
#[derive(Clone, Copy, Debug)]
pub struct Add;

impl Pair for Add {
    const NAME: &'static str = "add";
    #[inline(always)]
    fn value<N: Number>(self, a: N, b: N) -> N {
        a + b
    }
    #[inline(always)]
    fn slopes<N: Number>(self, a: N, b: N) -> [N; 2] {
        let _ = (a, b);
        [N::one(), N::one()]
    }
}

/// `a + b` of one shape, of which the relu if asked for. Backward: `dz = [y > 0]·dy`, `da += dz, db += dz`.
#[derive(Clone, Copy, Debug)]
struct Sum {
    relu: bool,
}

impl<N: Number> Op<N> for Sum {
    fn name(&self) -> &'static str {
        "add"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        if x.shape(0) != x.shape(1) {
            misfit("add", x.shape(0), x.shape(1), "two tensors of one shape");
        }
        x.shape(0)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (a, b, relu) = (f.x(0), f.x(1), self.relu);
        parallel::rows(
            f.work.threads,
            y,
            1,
            2,
            #[inline(always)]
            |at, y| {
                for ((y, &a), &b) in y.iter_mut().zip(&a[at..]).zip(&b[at..]) {
                    let z = a + b;
                    *y = if relu { N::select(z.lt(N::zero()), N::zero(), z) } else { z };
                }
            },
        );
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        if self.relu {
            times_slope(b.work.threads, Relu, b.y(), dy);
        }
        if b.wants(0)
            && let Some(slot) = b.grad(0)
        {
            slot.add(dy);
        }
        b.pass(1, dy);
    }
}

impl<N: Number> Tape<'_, N> {
    /// `a + b`, broadcast as [`Tape::pair`] does. Panics as it does.
    #[track_caller]
    pub fn add(&mut self, a: Var, b: Var) -> Var {
        match self.shape(a) == self.shape(b) {
            true => self.apply(Sum { relu: false }, &[a, b]),
            false => self.pair(Add, a, b),
        }
    }
    /// `max(a + b, 0)` for two tensors of one shape, in one pass over memory.
    ///
    /// # Panics
    /// When the shapes differ.
    #[track_caller]
    pub fn add_relu(&mut self, a: Var, b: Var) -> Var {
        self.apply(Sum { relu: true }, &[a, b])
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1], [1]], |t, x| t.add(x[0], x[1]));
        check!([[3, 5], [3, 5]], |t, x| t.add(x[0], x[1]));
        check!([[3, 5], [5]], |t, x| t.add(x[0], x[1]));
        check!([[5], [3, 1, 2, 5]], |t, x| t.add(x[0], x[1]));
        check!([[3, 1, 4], [1, 5, 1]], |t, x| t.add(x[0], x[1]));
        check!([[3, 4], []], |t, x| t.add(x[0], x[1]));
        check!([[2, 3, 1, 1], [2, 3, 2, 2]], |t, x| t.add(x[0], x[1]));
        check!([[4]], |t, x| t.add(x[0], x[0]));
        check!([[3, 5], [3, 5]], |t, x| t.add_relu(x[0], x[1]));
    }
}
