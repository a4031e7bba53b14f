//! `choose`: one of two numbers by a mask; and `less`, which makes masks.

use crate::elementwise::Pair;
use crate::op::{Backward, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Number, Tape, Var};

/// `y = mask ≠ 0 ? a : b` for each number of one shape; backward adds `dy` to the one that was chosen.
#[derive(Clone, Copy, Debug)]
struct Choose;

impl<N: Number> Op<N> for Choose {
    fn name(&self) -> &'static str {
        "choose"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        for i in 1..3 {
            if x.shape(i) != x.shape(0) {
                misfit("choose", x.shape(0), x.shape(i), "mask and both choices have one shape");
            }
        }
        x.shape(0)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let choices = f.x(0).iter().zip(f.x(1)).zip(f.x(2));
        for (y, ((&mask, &a), &b)) in y.iter_mut().zip(choices) {
            *y = N::select(mask.to_f64() != 0.0, a, b);
        }
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let mask = b.x(0);
        for k in [1, 2] {
            let Some(slot) = b.grad(k) else { continue };
            for ((dx, &dy), mask) in slot.zeroed().iter_mut().zip(dy.iter()).zip(mask) {
                *dx = *dx + N::select((mask.to_f64() != 0.0) == (k == 1), dy, N::zero());
            }
        }
    }
}

/// 1 where a < b, else 0.
#[derive(Clone, Copy, Debug)]
struct Less;

impl Pair for Less {
    const NAME: &'static str = "less";
    #[inline(always)]
    fn value<N: Number>(self, a: N, b: N) -> N {
        N::select(a.lt(b), N::one(), N::zero())
    }
    #[inline(always)]
    fn slopes<N: Number>(self, _: N, _: N) -> [N; 2] {
        [N::zero(), N::zero()]
    }
}

impl<N: Number> Tape<'_, N> {
    /// `a` where the mask is not 0, else `b`, for tensors of one shape. The mask is a constant.
    ///
    /// # Panics
    /// When the shapes differ.
    #[track_caller]
    pub fn choose(&mut self, mask: Var, a: Var, b: Var) -> Var {
        let mask = self.detach(mask);
        self.apply(Choose, &[mask, a, b])
    }
    /// 1 where a < b, else 0, broadcast as [`Tape::pair`] does; a constant.
    #[track_caller]
    pub fn less(&mut self, a: Var, b: Var) -> Var {
        self.no_grad(|tape| tape.pair(Less, a, b))
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[3, 5], [3, 5]], |t, x| {
            let (a, b) = (t.square(x[0]), t.exp(x[1]));
            let mask = t.less(a, b);
            t.choose(mask, x[1], a)
        });
    }
}
