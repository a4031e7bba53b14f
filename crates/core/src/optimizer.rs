//! [`Optimizer`]: what turns a gradient into a step.

use crate::{Float, Grads, Memory, Params, Penalty, Total};

/// What an optimizer asks of the loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// It looks at the loss of the batch beside its gradient ([`Total::loss`]).
    pub loss: bool,
    /// It evaluates loss or gradient at other points of the same batch ([`Oracle::loss`], [`Oracle::gradient`]).
    pub reevaluation: bool,
    /// It works on the whole data only.
    pub full_batch: bool,
    /// It looks at single rows or at all of them ([`Oracle::rows`], [`Oracle::row_gradient`], [`Oracle::full_gradient`]).
    pub rows: bool,
    /// It multiplies vectors by the Hessian ([`Oracle::hessian_vector`]).
    pub curvature: bool,
}

impl Needs {
    /// What both ask together.
    pub fn and(self, other: Self) -> Self {
        Self {
            loss: self.loss | other.loss,
            reevaluation: self.reevaluation | other.reevaluation,
            full_batch: self.full_batch | other.full_batch,
            rows: self.rows | other.rows,
            curvature: self.curvature | other.curvature,
        }
    }
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
    /// Nothing moved: the optimizer keeps the gradient until it has enough of them.
    pub waiting: bool,
    /// No step was made: gradient or loss was not finite, and the optimizer's policy is to go on without it.
    pub skipped: bool,
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
    /// A list of tensors of the wrong length.
    #[error("{found} tensors were given where the optimizer has {expected}")]
    Tensors {
        /// The optimizer's.
        expected: usize,
        /// Those given.
        found: usize,
    },
    /// The gradient was summed over rows of no weight.
    #[error("the batch has no weight: every row's weight is 0")]
    NoWeight,
    /// The rule has no proximal step for an l1 penalty.
    #[error(
        "{rule} has no proximal step: an l1 penalty needs a rule that works coordinate by coordinate, as sgd or adam"
    )]
    NoProximal {
        /// The rule's name.
        rule: &'static str,
    },
    /// The optimizer goes by the loss, and only the gradient was given.
    #[error(
        "{rule} goes by the loss of the batch beside its gradient, and the loss was not given (it is NaN); a Stepper takes it \
         by step_with_loss, or in the total of step_tensors"
    )]
    NoLoss {
        /// The rule's name.
        rule: &'static str,
    },
    /// The oracle cannot answer what the optimizer needs.
    #[error("{rule} needs {what}, which is not available here")]
    NoOracle {
        /// The rule's name.
        rule: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// The rule does not work in this setting.
    #[error("{rule} {why}")]
    Unsupported {
        /// The rule's name.
        rule: &'static str,
        /// What does not work, as a verb phrase.
        why: &'static str,
    },
}

/// Evaluates the current batch again at another point, or other rows.
///
/// Losses and gradients are weighted sums, as everywhere. An answer of `None` (or a weight of NaN) says that it cannot be given.
pub trait Oracle<F: Float> {
    /// The loss of the batch at `theta`.
    fn loss(&mut self, theta: &Params<F>) -> Total;
    /// Loss and gradient of the batch at `theta`; `grads` is cleared first.
    fn gradient(&mut self, theta: &Params<F>, grads: &mut Grads<F>) -> Total;
    /// The places of the batch's rows in the training data; `None` when they are not known.
    fn rows(&self) -> Option<Vec<usize>> {
        None
    }
    /// How many rows the training data have.
    fn count(&self) -> Option<usize> {
        None
    }
    /// Loss and gradient of one row of the training data at `theta`; `grads` is cleared first.
    fn row_gradient(&mut self, _row: usize, _theta: &Params<F>, _grads: &mut Grads<F>) -> Option<Total> {
        None
    }
    /// Loss and gradient of all training data at `theta`; `grads` is cleared first.
    fn full_gradient(&mut self, _theta: &Params<F>, _grads: &mut Grads<F>) -> Option<Total> {
        None
    }
    /// `out ← H v`, H being the Hessian of the batch's summed loss at `theta`; `out` is cleared first. Where the objective has no
    /// product of its own this is the central difference of two gradients.
    fn hessian_vector(&mut self, _theta: &Params<F>, _v: &Params<F>, _out: &mut Grads<F>) -> Option<Total> {
        None
    }
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
    /// One step: θ ← θ + u. The gradient is consumed, `grads` is cleared.
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
    /// Takes the step for which gradients wait ([`Report::waiting`]), however few they are; `None` where none wait. `grads` is clear,
    /// and `at` that of the last step.
    ///
    /// # Errors
    /// As [`Optimizer::step`].
    fn flush(
        &mut self,
        _at: At,
        _theta: &mut Params<F>,
        _grads: &mut Grads<F>,
        _oracle: &mut dyn Oracle<F>,
    ) -> Result<Option<Report>, StepError> {
        Ok(None)
    }
    /// What the next gradient is to be multiplied by before it is given: 1 unless the loss is scaled.
    fn loss_scale(&self) -> f64 {
        1.0
    }
    /// Holds the coordinates where `mask` is 0 at exactly 0 from now on, in `theta` and in the weights to evaluate, whatever the
    /// rule and its memory; `None` frees all. The mask is no part of the state: set it again after restoring.
    ///
    /// # Errors
    /// A mask of another length, or an optimizer that takes none.
    fn set_mask(&mut self, _mask: Option<&Params<F>>) -> Result<(), StepError> {
        Err(StepError::Unsupported { rule: "this optimizer", why: "takes no mask" })
    }
    /// The weights to validate and to save, where they are not `theta` itself (an averaged copy): a buffer of the same layout.
    fn evaluation_weights(&mut self, theta: &Params<F>) -> Option<&[F]>;
    /// Tells schedules that wait for a score to stand still (lower is better) how the last epoch ended.
    fn observe(&mut self, _score: f64) {}
    /// The expression that makes this optimizer, all values filled in.
    fn expression(&self) -> String;
    /// Shows all memory to `visit`, piece by piece, always in the same order: to save it or to restore it. Tensors' memory is
    /// named `<tensor>/<slot>`; everything else has a name of its own.
    fn visit_state(&mut self, visit: &mut dyn FnMut(&str, Memory<'_>));
}
