//! `dense`: a linear map of each row, with bias and activation.

use thalweg_core::Threads;

use crate::elementwise::{Function, apply, apply_both, times, times_slope};
use crate::number::{View, ViewMut};
use crate::op::{Backward, Forward, Inputs, Op};
use crate::ops::elu::Elu;
use crate::ops::gelu::Gelu;
use crate::ops::leaky_relu::LeakyRelu;
use crate::ops::relu::Relu;
use crate::ops::sigmoid::Sigmoid;
use crate::ops::silu::Silu;
use crate::ops::softplus::Softplus;
use crate::ops::tanh::Tanh;
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Number, Tape, Var, sums};

/// A function that follows a linear map or a convolution in the same pass over memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// x itself.
    #[default]
    Identity,
    /// See [`Relu`].
    Relu,
    /// See [`Gelu`].
    Gelu,
    /// See [`Silu`].
    Silu,
    /// See [`Tanh`].
    Tanh,
    /// See [`Sigmoid`].
    Sigmoid,
    /// See [`Softplus`].
    Softplus,
    /// See [`Elu`], with its a.
    Elu(f64),
    /// See [`LeakyRelu`], with its a.
    LeakyRelu(f64),
}

impl Activation {
    /// Whether the slope is worked out from the result; else the input has to be kept.
    pub(crate) fn uses_result(self) -> bool {
        use Activation as A;
        match self {
            A::Identity => true,
            A::Relu => Relu::FROM_RESULT,
            A::Gelu => Gelu::FROM_RESULT,
            A::Silu => Silu::FROM_RESULT,
            A::Tanh => Tanh::FROM_RESULT,
            A::Sigmoid => Sigmoid::FROM_RESULT,
            A::Softplus => Softplus::FROM_RESULT,
            A::Elu(_) => Elu::FROM_RESULT,
            A::LeakyRelu(_) => LeakyRelu::FROM_RESULT,
        }
    }
    /// `y ← f(y)`.
    pub(crate) fn apply<N: Number>(self, threads: &Threads, y: &mut [N]) {
        match self {
            Activation::Identity => {}
            Activation::Relu => apply(threads, Relu, y),
            Activation::Gelu => apply(threads, Gelu, y),
            Activation::Silu => apply(threads, Silu, y),
            Activation::Tanh => apply(threads, Tanh, y),
            Activation::Sigmoid => apply(threads, Sigmoid, y),
            Activation::Softplus => apply(threads, Softplus, y),
            Activation::Elu(a) => apply(threads, Elu { a }, y),
            Activation::LeakyRelu(a) => apply(threads, LeakyRelu { a }, y),
        }
    }
    /// `y ← f(y)` but for relu, which the product has done; saves the slopes as number 0 where a backward pass needs them.
    pub(crate) fn finish<N: Number>(self, f: &mut Forward<'_, N>, y: &mut [N]) {
        if self == Activation::Relu {
            return;
        }
        if f.recording && !self.uses_result() {
            let mut slope = f.take(y.len());
            self.apply_both(f.work.threads, y, &mut slope);
            f.save(0, slope);
        } else {
            self.apply(f.work.threads, y);
        }
    }
    /// `slope ← f′(y)`, then `y ← f(y)`: for functions whose slope is not worked out from the result.
    pub(crate) fn apply_both<N: Number>(self, threads: &Threads, y: &mut [N], slope: &mut [N]) {
        match self {
            Activation::Identity => {}
            Activation::Relu => apply_both(threads, Relu, y, slope),
            Activation::Gelu => apply_both(threads, Gelu, y, slope),
            Activation::Silu => apply_both(threads, Silu, y, slope),
            Activation::Tanh => apply_both(threads, Tanh, y, slope),
            Activation::Sigmoid => apply_both(threads, Sigmoid, y, slope),
            Activation::Softplus => apply_both(threads, Softplus, y, slope),
            Activation::Elu(a) => apply_both(threads, Elu { a }, y, slope),
            Activation::LeakyRelu(a) => apply_both(threads, LeakyRelu { a }, y, slope),
        }
    }
    /// `dy ← dy·f′`, from the result where that suffices, else from the slopes that [`Activation::apply_both`] saved.
    pub(crate) fn times_saved<N: Number>(self, threads: &Threads, saved: &[N], dy: &mut [N]) {
        if self.uses_result() { self.times_slope(threads, saved, dy) } else { times(threads, saved, dy) }
    }
    /// `dy ← dy·f′`, from the result or the input.
    fn times_slope<N: Number>(self, threads: &Threads, saved: &[N], dy: &mut [N]) {
        match self {
            Activation::Identity => {}
            Activation::Relu => times_slope(threads, Relu, saved, dy),
            Activation::Gelu => times_slope(threads, Gelu, saved, dy),
            Activation::Silu => times_slope(threads, Silu, saved, dy),
            Activation::Tanh => times_slope(threads, Tanh, saved, dy),
            Activation::Sigmoid => times_slope(threads, Sigmoid, saved, dy),
            Activation::Softplus => times_slope(threads, Softplus, saved, dy),
            Activation::Elu(a) => times_slope(threads, Elu { a }, saved, dy),
            Activation::LeakyRelu(a) => times_slope(threads, LeakyRelu { a }, saved, dy),
        }
    }
}

/// `x [.., in], w [out, in], b [out] → [.., out]`:  `z = x·wᵀ + b`, `y = f(z)`.
/// Backward: `dz = f′(z)∘dy`, `dx += dz·w`, `dw += dzᵀ·x`, `db += Σ dz` over the rows. Saved: f′(z), where it does not follow from y.
#[derive(Clone, Copy, Debug)]
struct Dense {
    activation: Activation,
    bias: bool,
}

impl<N: Number> Op<N> for Dense {
    fn name(&self) -> &'static str {
        "dense"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let (input, weight) = (x.shape(0), x.shape(1));
        if weight.len() != 2 || input.is_empty() || input.last_size() != weight[1] {
            misfit("dense", input, weight, "an input [.., in] and a weight [out, in]");
        }
        if self.bias && x.shape(2)[..] != weight[..1] {
            misfit("dense", weight, x.shape(2), "a weight [out, in] and a bias [out]");
        }
        input.with_last(weight[0])
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (x, w) = (f.x(0), f.x(1));
        let [out, input] = [f.shape(1)[0], f.shape(1)[1]];
        let n = f.shape(0).rows();
        let (bias, relu) = (self.bias.then(|| f.x(2)), self.activation == Activation::Relu);
        f.work.count(n * out * input);
        N::dense(f.work.threads, View::new(x, n, input), View::new(w, out, input).t(), bias, relu, y);
        self.activation.finish(f, y);
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let (work, x, w) = (b.work, b.x(0), b.x(1));
        let [out, input] = [b.shape(1)[0], b.shape(1)[1]];
        let n = b.shape(0).rows();
        if self.activation != Activation::Identity {
            let saved = if self.activation.uses_result() { b.y() } else { b.saved(0) };
            self.activation.times_saved(work.threads, saved, dy);
        }
        if self.bias {
            sums::columns(b, 2, dy, out);
        }
        let dz = View::new(dy, n, out);
        if let Some(dw) = b.grad(1) {
            let beta = dw.beta();
            work.product(N::one(), dz.t(), View::new(x, n, input), beta, ViewMut::new(dw.grad, out, input));
        }
        if let Some(dx) = b.grad(0) {
            let beta = dx.beta();
            work.product(N::one(), dz, View::new(w, out, input), beta, ViewMut::new(dx.grad, n, input));
        }
    }
}

impl<N: Number> Tape<'_, N> {
    /// `f(x·wᵀ + b)` for `x [.., in]`, `w [out, in]` (PyTorch's order), `b [out]`; the result is `[.., out]`.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn dense(&mut self, x: Var, w: Var, b: Option<Var>, activation: Activation) -> Var {
        match b {
            Some(b) => self.apply(Dense { activation, bias: true }, &[x, w, b]),
            None => self.apply(Dense { activation, bias: false }, &[x, w]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check;

    #[test]
    fn gradient() {
        use Activation as A;
        check!([[1, 1], [1, 1], [1]], |t, x| t.dense(x[0], x[1], Some(x[2]), A::Identity));
        check!([[2, 5, 3], [7, 3]], |t, x| t.dense(x[0], x[1], None, A::Tanh));
        let all = [A::Identity, A::Relu, A::Gelu, A::Silu, A::Tanh, A::Sigmoid, A::Softplus];
        for a in all.into_iter().chain([A::Elu(0.5), A::LeakyRelu(0.2)]) {
            check!([[3, 4], [5, 4], [5]], |t, x| t.dense(x[0], x[1], Some(x[2]), a));
        }
    }

    #[test]
    #[should_panic(expected = "dense: [3, 4] and [5, 3] do not fit")]
    fn a_weight_that_does_not_fit_is_refused() {
        check!([[3, 4], [5, 3]], |t, x| t.dense(x[0], x[1], None, Activation::Identity));
    }
}
