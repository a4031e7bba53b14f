//! [`Linear`]: linear and generalised linear models.
//!
//! ```text
//! z = W·x + b        f(W, b) = Σᵢ wᵢ·loss(zᵢ, yᵢ)
//! ∂f/∂W = Σᵢ wᵢ·(∂loss/∂z)ᵢ·xᵢᵀ        ∂f/∂b = Σᵢ wᵢ·(∂loss/∂z)ᵢ
//! ```
//! `weight [out, in]`, `bias [out]`; `in` = the numeric columns, then one column for each one-hot feature: code j is column
//! `width + j`, and nobody writes the one-hot matrix down. Loss and gradient come out of one pass: a tile of rows is read
//! into the first-level cache once, and its scores, losses and share of the gradient are computed there.
//!
//! # Same bits
//! Rows are cut into blocks by their number and the model's shape alone; each block sums its rows in order, the blocks are
//! joined in order, in f64. So the result has the same bits on any number of threads and any instruction set (fixed lanes, no
//! fused multiply-add), in or out of an index, and a row of weight 0 is absent to the bit.

mod blocks;
mod export;
mod extremes;
mod kernel;
mod pass;
mod predict;

use std::sync::{Arc, Mutex};

use thalweg_core::objective::difference_of_gradients;
use thalweg_core::{Batch, Float, Grads, Kind, Layout, Objective, Params, Threads, Total};

use self::pass::{Aim, Work};
use crate::losses::{Loss, Task};

pub use self::extremes::Extremes;

/// The sizes of a linear model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Numeric columns.
    pub dense: usize,
    /// One-hot features, counted over all categorical columns.
    pub one_hot: usize,
    /// Outputs: classes for softmax, otherwise 1.
    pub outputs: usize,
    /// Whether there is an intercept.
    pub intercept: bool,
}

impl Shape {
    /// The columns of `weight`.
    pub fn inputs(&self) -> usize {
        self.dense + self.one_hot
    }

    /// `weight [out, in]`, and `bias [out]` if there is an intercept.
    pub fn layout(&self) -> Layout {
        let layout =
            Layout::builder().tensor("weight", &[self.outputs, self.inputs()], &["out", "in"], Kind::Weight);
        match self.intercept {
            true => layout.tensor("bias", &[self.outputs], &["out"], Kind::Bias).build(),
            false => layout.build(),
        }
    }
}

/// Why a linear model has no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LinearError {
    /// The loss has a kink.
    #[error(
        "the {loss} loss has a kink, so its gradient has no largest slope L and no rate 1/L exists; \
         give a rate, and let it decay (or take huber)"
    )]
    NotSmooth {
        /// The name of the loss.
        loss: &'static str,
    },
    /// All weights are 0, or there are no rows.
    #[error("the batch has no weight: every row's weight is 0")]
    NoWeight,
    /// The curvature is infinite or NaN.
    #[error("the curvature is not finite: look for huge or NaN features{}", .at_theta.then_some(", or parameters that diverged").unwrap_or(""))]
    NotFinite {
        /// Whether it was taken at given parameters.
        at_theta: bool,
    },
}

/// A linear model under a loss: an [`Objective`].
///
/// ```
/// use thalweg_core::{Batch, Grads, Objective, Params, Threads};
/// use thalweg_models::{linear::{Linear, Shape}, losses::Loss};
///
/// let shape = Shape { dense: 2, one_hot: 0, outputs: 1, intercept: true };
/// let model = Linear::<f64>::new(shape, Loss::SQUARED, Threads::serial());
/// let batch = Batch { dense: &[1.0, 2.0, 3.0, 4.0], width: 2, target: &[1.0, 0.0], ..Batch::NONE };
/// let theta = Params::zeros(model.layout());
/// let mut grads = Grads::zeros(model.layout());
/// let total = model.gradient(&theta, &batch, &mut grads);
/// assert_eq!((total.loss, total.weight), (0.5, 2.0)); // Σ ½(0 − y)²
/// assert_eq!(grads.tensor("weight"), [-1.0, -2.0]); // Σ (0 − y)·x
/// assert_eq!(grads.tensor("bias"), [-1.0]);
/// ```
#[derive(Debug)]
pub struct Linear<F: Float> {
    layout: Arc<Layout>,
    shape: Shape,
    loss: Loss,
    threads: Threads,
    pool: Mutex<Vec<Work<F>>>,
}

impl<F: Float> Linear<F> {
    /// A model of that shape under that loss.
    ///
    /// # Panics
    /// When the number of outputs does not suit the loss: two or more for softmax, 1 for all others.
    pub fn new(shape: Shape, loss: Loss, threads: Threads) -> Self {
        let suits = if loss.task() == Task::Classes { shape.outputs >= 2 } else { shape.outputs == 1 };
        assert!(suits, "a model under the {loss} loss cannot have {} outputs", shape.outputs);
        Self { layout: Arc::new(shape.layout()), shape, loss, threads, pool: Mutex::default() }
    }

    /// Its sizes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Its loss.
    pub fn loss_function(&self) -> Loss {
        self.loss
    }

    /// ∇²f(θ)·v **added** to `out`, with f the weighted sum of losses over the batch (no penalty); returns Σ wᵢ. Exact where
    /// the second derivative exists; at the corners of Huber's loss, one of the two.
    ///
    /// # Errors
    /// [`LinearError::NotSmooth`] for absolute and quantile loss.
    pub fn hessian_vector(
        &self,
        theta: &Params<F>,
        batch: &Batch<'_, F>,
        v: &Params<F>,
        out: &mut Grads<F>,
    ) -> Result<f64, LinearError> {
        self.smooth()?;
        Ok(self.pass(theta, batch, Aim::Product(v), Some(out)).weight)
    }

    fn smooth(&self) -> Result<(), LinearError> {
        let entry = self.loss.entry();
        if entry.smooth { Ok(()) } else { Err(LinearError::NotSmooth { loss: entry.name }) }
    }
}

impl<F: Float> Objective<F> for Linear<F> {
    fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }
    fn loss(&self, theta: &Params<F>, batch: &Batch<'_, F>) -> Total {
        self.pass(theta, batch, Aim::Loss, None)
    }
    fn gradient(&self, theta: &Params<F>, batch: &Batch<'_, F>, grads: &mut Grads<F>) -> Total {
        let total = self.pass(theta, batch, Aim::Gradient, Some(grads));
        grads.total += total;
        total
    }
    /// Exact where the loss is smooth.
    fn hessian_vector(
        &self,
        theta: &Params<F>,
        v: &Params<F>,
        batch: &Batch<'_, F>,
        out: &mut Grads<F>,
    ) -> Total {
        if self.smooth().is_err() {
            return difference_of_gradients(self, theta, v, batch, out);
        }
        out.clear();
        self.pass(theta, batch, Aim::Product(v), Some(out))
    }
}
