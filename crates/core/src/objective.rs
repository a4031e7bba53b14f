//! [`Objective`]: what is minimised.

use std::ops::{Add, AddAssign};
use std::sync::Arc;

use crate::{Batch, Float, Grads, Layout, Params};

/// A loss summed over rows, and the sum of their weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Total {
    /// Σ wᵢ·lossᵢ.
    pub loss: f64,
    /// Σ wᵢ.
    pub weight: f64,
}

impl Total {
    /// The weighted mean; NaN over no weight.
    pub fn mean(self) -> f64 {
        self.loss / self.weight
    }
}

impl Add for Total {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { loss: self.loss + other.loss, weight: self.weight + other.weight }
    }
}

impl AddAssign for Total {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// A function of the parameters and a batch of rows, with its gradient.
///
/// Losses and gradients are weighted sums over the rows, never means, and both directions are deterministic: the same
/// bits on any number of threads.
pub trait Objective<F: Float>: Sync {
    /// The layout of its parameters.
    fn layout(&self) -> &Arc<Layout>;
    /// Σ wᵢ·lossᵢ(θ) over the batch.
    fn loss(&self, theta: &Params<F>, batch: &Batch<'_, F>) -> Total;
    /// The loss as above, and ∂/∂θ of it **added** to `grads` (numbers and total).
    fn gradient(&self, theta: &Params<F>, batch: &Batch<'_, F>, grads: &mut Grads<F>) -> Total;
    /// What [`Objective::gradient`] was at its last call, as a function of θ and batch: where a call draws anew (dropout), the same draws
    /// again; where it moves what is kept beside θ (running statistics), nothing moves. This is what optimizers compare points by, and
    /// what a look at the gradient takes that is no step.
    fn gradient_again(&self, theta: &Params<F>, batch: &Batch<'_, F>, grads: &mut Grads<F>) -> Total {
        self.gradient(theta, batch, grads)
    }
    /// The loss of [`Objective::gradient_again`]. [`Objective::loss`] is that of predictions, and differs where training draws.
    fn loss_again(&self, theta: &Params<F>, batch: &Batch<'_, F>) -> Total {
        self.loss(theta, batch)
    }
    /// `out ← H v`, H being the Hessian of [`Objective::loss_again`]; of the answer only the weight is meant. [`difference_of_gradients`], unless
    /// an objective has a product of its own.
    fn hessian_vector(
        &self,
        theta: &Params<F>,
        v: &Params<F>,
        batch: &Batch<'_, F>,
        out: &mut Grads<F>,
    ) -> Total {
        difference_of_gradients(self, theta, v, batch, out)
    }
}

/// `out ← H v` by the central difference `(∇f(θ + h v) − ∇f(θ − h v)) / 2h` with `h = ε^⅓·max(1, ‖θ‖∞)/‖v‖∞`. Its error is about ε^⅔
/// where third derivatives are not large: ten digits are right in f64, four in f32.
pub fn difference_of_gradients<F: Float, O: Objective<F> + ?Sized>(
    objective: &O,
    theta: &Params<F>,
    v: &Params<F>,
    batch: &Batch<'_, F>,
    out: &mut Grads<F>,
) -> Total {
    let largest = |x: &Params<F>| x.values().fold(0.0, |top: f64, x| top.max(x.to_f64().abs()));
    let size = largest(v);
    let size = if size == 0.0 { 1.0 } else { size };
    let h = F::from_f64(libm::cbrt(F::EPSILON.to_f64()) * largest(theta).max(1.0) / size);
    let mut point = theta.clone();
    let mut side = |h: F, grads: &mut Grads<F>| {
        // What is frozen does not move.
        let numbers = point.flat_mut().iter_mut().zip(theta.flat()).zip(v.flat());
        numbers.take(grads.flat().len()).for_each(|((p, t), v)| *p = *t + h * *v);
        objective.gradient_again(&point, batch, grads)
    };
    out.clear();
    let mut other = Grads::zeros(out.layout());
    let total = side(h, out);
    side(-h, &mut other);
    let scale = F::from_f64(0.5 / h.to_f64());
    out.flat_mut().iter_mut().zip(other.flat()).for_each(|(a, b)| *a = (*a - *b) * scale);
    total
}

/// What is added to the mean loss: `l2/2·‖w‖² + l1·‖w‖₁` over the trained tensors whose [kind](crate::Kind::is_penalised) is penalised.
///
/// scikit-learn's Ridge `alpha` is `l2·m`, LogisticRegression's `C` is `1/(l2·m)`, Lasso's `alpha` is `l1`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Penalty {
    /// Strength of the absolute values.
    pub l1: f64,
    /// Strength of the squares.
    pub l2: f64,
}

impl Penalty {
    /// The value at θ, summed in f64 in the order of the layout.
    pub fn value<F: Float>(&self, theta: &Params<F>) -> f64 {
        if *self == Self::default() {
            return 0.0;
        }
        let (mut squares, mut absolutes) = (0.0, 0.0);
        for tensor in theta.layout().trained().iter().filter(|t| t.kind.is_penalised()) {
            for w in &theta.flat()[tensor.range()] {
                let w = w.to_f64();
                squares += w * w;
                absolutes += w.abs();
            }
        }
        0.5 * self.l2 * squares + self.l1 * absolutes
    }

    /// How far θ is from a stationary point of `mean loss + penalty`: the largest coordinate of the subgradient of
    /// smallest norm. `grads` holds the summed gradient of the loss. NaN if any coordinate is.
    pub fn stationarity<F: Float>(&self, theta: &Params<F>, grads: &Grads<F>) -> f64 {
        let scale = 1.0 / grads.total.weight;
        let mut worst = 0.0f64;
        for tensor in theta.layout().trained() {
            let Penalty { l1, l2 } = if tensor.kind.is_penalised() { *self } else { Self::default() };
            for (w, g) in theta.flat()[tensor.range()].iter().zip(&grads.flat()[tensor.range()]) {
                let w = w.to_f64();
                let g = g.to_f64() * scale + l2 * w;
                let slope = match w.partial_cmp(&0.0) {
                    Some(std::cmp::Ordering::Greater) => (g + l1).abs(),
                    Some(std::cmp::Ordering::Less) => (g - l1).abs(),
                    Some(std::cmp::Ordering::Equal) if !g.is_nan() => (g.abs() - l1).max(0.0),
                    _ => f64::NAN,
                };
                if slope > worst || slope.is_nan() {
                    worst = slope;
                }
                if worst.is_nan() {
                    return worst;
                }
            }
        }
        worst
    }
}
