//! `permute` and `transpose`: axes in another order.

use thalweg_core::Threads;

use crate::op::{Backward, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::{AXES, Shape};
use crate::{Number, Tape, Var, parallel};

/// `y` has the axes `order[0], order[1], …` of `x`; backward `dx += dy` in the old order.
#[derive(Clone, Copy, Debug)]
struct Permute {
    order: [usize; AXES],
    axes: usize,
}

/// `to[i] ← from[…]`, added if `add`: the axes of `to` have the sizes of `shape` and the steps `strides` through `from`.
fn walk<N: Number>(
    threads: &Threads,
    to: &mut [N],
    shape: Shape,
    from: &[N],
    strides: [usize; AXES],
    add: bool,
) {
    let width = shape.last_size();
    let step = if shape.is_empty() { 1 } else { strides[shape.len() - 1] };
    parallel::rows(
        threads,
        to,
        width,
        2 * width,
        #[inline(always)]
        |first, to| {
            // The place of the first row, then from row to row as a counter goes on.
            let outer = shape.len().saturating_sub(1);
            let (mut counter, mut at, mut row) = ([0; AXES], 0, first);
            for axis in (0..outer).rev() {
                counter[axis] = row % shape[axis];
                at += counter[axis] * strides[axis];
                row /= shape[axis];
            }
            for to in to.chunks_exact_mut(width) {
                match (step, add) {
                    (1, false) => to.copy_from_slice(&from[at..at + width]),
                    (1, true) => to.iter_mut().zip(&from[at..at + width]).for_each(|(to, &x)| *to = *to + x),
                    _ => {
                        for (to, &x) in to.iter_mut().zip(from[at..].iter().step_by(step.max(1))) {
                            *to = if add { *to + x } else { x };
                        }
                    }
                }
                for axis in (0..outer).rev() {
                    counter[axis] += 1;
                    at += strides[axis];
                    if counter[axis] < shape[axis] {
                        break;
                    }
                    at -= shape[axis] * strides[axis];
                    counter[axis] = 0;
                }
            }
        },
    );
}

impl<N: Number> Op<N> for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let shape = x.shape(0);
        let order = &self.order[..self.axes];
        let fits = shape.len() == order.len() && (0..order.len()).all(|axis| order.contains(&axis));
        assert!(fits, "permute: {order:?} is not an order of the axes of {shape}");
        let mut to = shape;
        (0..order.len()).for_each(|i| to[i] = shape[order[i]]);
        to
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let own = f.shape(0).strides();
        let mut strides = [0; AXES];
        (0..self.axes).for_each(|i| strides[i] = own[self.order[i]]);
        walk(f.work.threads, y, self.shape(f), f.x(0), strides, false);
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let (threads, shape, own) = (b.work.threads, b.shape(0), b.y_shape().strides());
        let mut strides = [0; AXES];
        (0..self.axes).for_each(|i| strides[self.order[i]] = own[i]);
        let Some(slot) = b.grad(0) else { return };
        walk(threads, slot.grad, shape, dy, strides, !slot.fresh);
    }
}

impl<N: Number> Tape<'_, N> {
    /// The axes in another order: axis i of the result is axis `order[i]` of `x`.
    ///
    /// # Panics
    /// When `order` does not name each axis once.
    #[track_caller]
    pub fn permute(&mut self, x: Var, order: &[usize]) -> Var {
        assert!(order.len() <= AXES, "permute: {order:?} has more than {AXES} axes");
        let mut op = Permute { order: [0; AXES], axes: order.len() };
        op.order[..order.len()].copy_from_slice(order);
        self.apply(op, &[x])
    }
    /// The last two axes swapped.
    ///
    /// # Panics
    /// With fewer than two axes.
    #[track_caller]
    pub fn transpose(&mut self, x: Var) -> Var {
        let axes = self.shape(x).len();
        assert!(axes >= 2, "transpose: {} has no two axes", self.shape(x));
        let mut order = [0, 1, 2, 3, 4, 5];
        order.swap(axes - 1, axes - 2);
        self.permute(x, &order[..axes])
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[3, 5]], |t, x| t.transpose(x[0]));
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0]] {
            check!([[3, 4, 5]], |t, x| t.permute(x[0], &order));
        }
        check!([[2, 1, 3, 2, 2]], |t, x| t.permute(x[0], &[4, 2, 0, 3, 1]));
    }
}
