//! [`Optimizer`]: what turns a gradient into a step.

use crate::{Float, Grads, Params, Penalty, Total};

/// What an optimizer asks of the loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// It evaluates loss or gradient at other points of the same batch.
    pub reevaluation: bool,
    /// It works on the whole data only.
    pub full_batch: bool,
}

/// Where in the run a step is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct At {
    /// The number of this step: 1, 2, …
    pub step: u64,
    /// What the objective adds to the mean loss; its l1 part is taken by a proximal step.
    pub penalty: Penalty,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// The learning rate of this step.
    pub lr: f64,
    /// ‖g‖₂ of the mean gradient, l2 penalty not included, before clipping.
    pub grad_norm: f64,
    /// Whether the gradient was clipped.
    pub clipped: bool,
    /// The first coordinate (place in the flat buffer) whose gradient or new value was not finite. A gradient that is not finite
    /// writes nothing at all; a new value that would not be finite is left out, with its memory, and the others are written.
    pub non_finite: Option<usize>,
}

/// Why a step could not be made. Nothing was written then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// A slice has the wrong length.
    #[error("{what} has {found} numbers where the parameters have {expected}")]
    Length {
        /// Which slice.
        what: &'static str,
        /// The parameters' length.
        expected: usize,
        /// Its length.
        found: usize,
    },
    /// The gradient was summed over rows of no weight.
    #[error("the batch has no weight: every row's weight is 0")]
    NoWeight,
}

/// Evaluates the current batch again at another point.
pub trait Oracle<F: Float> {
    /// The loss at `theta`.
    fn loss(&mut self, theta: &Params<F>) -> Total;
    /// Loss and gradient at `theta`; `grads` is cleared first.
    fn gradient(&mut self, theta: &Params<F>, grads: &mut Grads<F>) -> Total;
}

/// For optimizers that never look at another point: both answers are NaN.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOracle;

impl<F: Float> Oracle<F> for NoOracle {
    fn loss(&mut self, _: &Params<F>) -> Total {
        Total { loss: f64::NAN, weight: f64::NAN }
    }
    fn gradient(&mut self, _: &Params<F>, _: &mut Grads<F>) -> Total {
        Total { loss: f64::NAN, weight: f64::NAN }
    }
}

/// Turns a gradient into a step. Implemented once by the driver of elementwise rules, and by whatever needs more.
pub trait Optimizer<F: Float>: Send {
    /// What it asks of the loop.
    fn needs(&self) -> Needs {
        Needs::default()
    }
    /// One step: θ ← θ + u. The gradient is consumed: `grads` is cleared.
    ///
    /// # Errors
    /// [`StepError`]; nothing is written then. A gradient that is not finite is no error: [`Report::non_finite`] says so.
    fn step(
        &mut self,
        at: At,
        theta: &mut Params<F>,
        grads: &mut Grads<F>,
        oracle: &mut dyn Oracle<F>,
    ) -> Result<Report, StepError>;
    /// The weights to validate and to save, where they are not θ itself (an averaged copy).
    fn evaluation_weights(&self) -> Option<&[F]> {
        None
    }
    /// The expression that makes this optimizer, all values filled in.
    fn expression(&self) -> String;
    /// The memory, by name: one flat buffer of the parameters' layout each.
    fn state(&self) -> Vec<(&'static str, &[F])>;
    /// The memory, to be restored.
    fn state_mut(&mut self) -> Vec<(&'static str, &mut [F])>;
}
