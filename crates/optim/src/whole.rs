//! What rules that look at the whole vector share: evaluating elsewhere, decay of their own, coordinates that cannot move.

use thalweg_core::{Buffer, Float, Grads, Memory, Params, StepError, Tensor, Total};

use crate::method::Step;

impl<F: Float> Step<'_, '_, F> {
    /// The gradients become zeros.
    pub fn clear_gradients(&mut self) {
        self.parts.iter_mut().for_each(|part| part.grad().fill(F::zero()));
    }

    /// After a sweep that left NaN in the gradient where a coordinate could not move, in `marked` places, and 0 elsewhere: the
    /// first such place. The gradients are zeros then.
    pub fn consumed(&mut self, marked: f64) -> Option<(usize, usize)> {
        if marked == 0.0 {
            return None;
        }
        let mut first = None;
        for part in &mut self.parts {
            let index = part.index;
            if let Some(place) = part.grad().iter().position(|g| !g.is_finite()) {
                first.get_or_insert((index, place));
            }
        }
        self.clear_gradients();
        first
    }

    /// What a method reports that cannot make its step: the first coordinate.
    pub fn first(&self) -> Option<(usize, usize)> {
        self.parts.first().map(|part| (part.index, 0))
    }
}

/// How far rounding may have moved an objective of the value `f`: ε^⅔ of it, 4·10⁻¹¹ in f64 and 2·10⁻⁵ in f32. Where a line search sees
/// no larger difference, slopes decide (Hager & Zhang 2005, section 4, who take 10⁻⁶).
pub(crate) fn noise<F: Float>(f: f64) -> f64 {
    libm::pow(F::EPSILON.to_f64(), 2.0 / 3.0) * f.abs()
}

/// `new` where `finite`, else `old`.
#[inline(always)]
pub(crate) fn keep<F: Float>(finite: bool, new: F, old: F) -> F {
    F::select(finite, new, old)
}

/// Whether all numbers are finite.
#[inline(always)]
pub(crate) fn finite<F: Float, const N: usize>(numbers: [F; N]) -> bool {
    numbers.iter().fold(true, |all, x| all & (x.abs() < F::INFINITY))
}

/// 0 where a coordinate moved, NaN where it could not: what [`Step::consumed`] looks for.
#[inline(always)]
pub(crate) fn mark<F: Float>(finite: bool) -> (F, f64) {
    (F::select(finite, F::zero(), F::NAN), if finite { 0.0 } else { 1.0 })
}

/// Another point of the same layout, and the gradient there. Allocated at its first use, and no part of the state.
#[derive(Debug)]
pub(crate) struct Elsewhere<F: Float>(Option<(Params<F>, Grads<F>)>);

impl<F: Float> Elsewhere<F> {
    pub fn new() -> Self {
        Self(None)
    }

    fn both(&mut self, step: &Step<'_, '_, F>) -> &mut (Params<F>, Grads<F>) {
        self.0.get_or_insert_with(|| (Params::zeros(step.layout), Grads::zeros(step.layout)))
    }

    /// Sets the point, tensor by tensor: `f` is given the tensor's number in the chain, θ there, and what to write.
    pub fn set(&mut self, step: &mut Step<'_, '_, F>, mut f: impl FnMut(usize, &[F], &mut [F])) {
        let point = &mut self.both(step).0;
        for (nth, part) in step.parts.iter_mut().enumerate() {
            let range = part.tensor.range();
            f(nth, part.theta(), &mut point.flat_mut()[range]);
        }
    }

    /// Sets the point, coordinate by coordinate, from θ and the gradient.
    pub fn set_along(&mut self, step: &mut Step<'_, '_, F>, f: impl Fn(F, F) -> F + Sync) {
        let point = &mut self.both(step).0;
        for part in &mut step.parts {
            let range = part.tensor.range();
            let (theta, g) = part.both();
            let rows = [([theta, g, &mut point.flat_mut()[range]], ())];
            let [] = crate::vector::fuse(step.threads, rows, |[theta, g, to], (), []| {
                for ((theta, g), to) in theta.iter().zip(g).zip(to) {
                    *to = f(*theta, *g);
                }
            });
        }
    }

    /// The l2 penalty at the point.
    pub fn penalty(&mut self, step: &Step<'_, '_, F>) -> f64 {
        step.at.penalty.value(&self.both(step).0)
    }

    /// Loss and gradient of the batch at the point, as sums.
    pub fn gradient(&mut self, step: &mut Step<'_, '_, F>, rule: &'static str) -> Result<Total, StepError> {
        self.ask(step, rule, "gradients at other points", |oracle, theta, grads| {
            Some(oracle.gradient(theta, grads))
        })
    }

    /// Loss and gradient of all training rows at the point, as sums.
    pub fn full_gradient(
        &mut self,
        step: &mut Step<'_, '_, F>,
        rule: &'static str,
    ) -> Result<Total, StepError> {
        self.ask(step, rule, "the gradient over all rows", |oracle, theta, grads| {
            oracle.full_gradient(theta, grads)
        })
    }

    /// Loss and gradient of one training row at the point, as sums.
    pub fn row_gradient(
        &mut self,
        step: &mut Step<'_, '_, F>,
        rule: &'static str,
        row: usize,
    ) -> Result<Total, StepError> {
        self.ask(step, rule, "the gradients of single rows", |oracle, theta, grads| {
            oracle.row_gradient(row, theta, grads)
        })
    }

    fn ask(
        &mut self,
        step: &mut Step<'_, '_, F>,
        rule: &'static str,
        what: &'static str,
        f: impl FnOnce(&mut dyn thalweg_core::Oracle<F>, &Params<F>, &mut Grads<F>) -> Option<Total>,
    ) -> Result<Total, StepError> {
        let (theta, grads) = self.both(step);
        match f(step.oracle, theta, grads) {
            Some(total) if !total.weight.is_nan() => Ok(total),
            _ => Err(StepError::NoOracle { rule, what }),
        }
    }

    /// The loss of the batch at the point: its mean with the l2 penalty.
    pub fn objective(&mut self, step: &mut Step<'_, '_, F>, rule: &'static str) -> Result<f64, StepError> {
        let theta = &self.both(step).0;
        let total = step.oracle.loss(theta);
        if total.weight.is_nan() {
            return Err(StepError::NoOracle { rule, what: "losses at other points" });
        }
        Ok(total.mean() + step.at.penalty.value(theta))
    }

    /// The gradient that was asked for last, of a tensor.
    pub fn grad(&self, tensor: &Tensor) -> &[F] {
        self.0.as_ref().map_or(&[], |(_, grads)| &grads.flat()[tensor.range()])
    }

    /// The same, to be changed.
    pub fn grad_mut(&mut self, tensor: &Tensor) -> &mut [F] {
        self.0.as_mut().map_or(&mut [], |(_, grads)| &mut grads.flat_mut()[tensor.range()])
    }

    /// The point's numbers of a tensor.
    pub fn theta(&self, tensor: &Tensor) -> &[F] {
        self.0.as_ref().map_or(&[], |(theta, _)| &theta.flat()[tensor.range()])
    }

    /// Makes the gradient a mean over `weight` with the l2 penalty in it.
    pub fn settle(&mut self, step: &Step<'_, '_, F>, weight: f64) {
        let Some((theta, grads)) = &mut self.0 else { return };
        for part in &step.parts {
            let l2 = if part.tensor.kind.is_penalised() { step.at.penalty.l2 } else { 0.0 };
            let (scale, l2, range) = (F::from_f64(1.0 / weight), F::from_f64(l2), part.tensor.range());
            let theta = &mut theta.flat_mut()[range.clone()];
            crate::vector::each(step.threads, theta, &mut grads.flat_mut()[range], |theta, grads| {
                for (t, g) in theta.iter().zip(grads) {
                    *g = *g * scale + l2 * *t;
                }
            });
        }
    }
}

/// Shows a number under its name.
pub(crate) fn scalar(visit: &mut dyn FnMut(&str, Memory<'_>), name: &str, x: &mut f64) {
    visit(name, Memory::Scalar(x));
}

/// Shows a count under its name, and says whether that changed it.
pub(crate) fn count(visit: &mut dyn FnMut(&str, Memory<'_>), name: &str, n: &mut u64) -> bool {
    let before = *n;
    visit(name, Memory::Count(n));
    *n != before
}

/// The slices of some buffers.
pub(crate) fn slices<F: Float>(buffers: &[Buffer<F>]) -> impl Iterator<Item = &[F]> {
    buffers.iter().map(|b| &b[..])
}

/// Σ aᵢ·bᵢ over some tensors.
pub(crate) fn dot<'a, F: Float>(
    threads: &thalweg_core::Threads,
    a: impl IntoIterator<Item = &'a [F]>,
    b: impl IntoIterator<Item = &'a [F]>,
) -> f64 {
    let pairs: Vec<(&[F], &[F])> = a.into_iter().zip(b).collect();
    crate::vector::dot(threads, &pairs)
}
