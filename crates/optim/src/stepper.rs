//! [`Stepper`]: an optimizer over slices of your own, wherever they lie.
//!
//! For programs that keep their parameters in `ndarray`, `nalgebra`, plain vectors or another framework's tensors. The bits are those
//! of the same tensors in one flat buffer.

use std::fmt;
use std::sync::Arc;

use thalweg_core::expr::ExprError;
use thalweg_core::{
    At, Buffer, Float, Grads, Kind, Layout, Memory, Oracle, Params, Penalty, Report, StepError, Total,
};

use crate::assembled::{Assembled, Parts, take};
use crate::driver::Gradient;
use crate::format::{BLOCK8, View, decode_bf16, decode_block8, encode_bf16_nearest};
use crate::groups::GroupError;
use crate::method::Part;
use crate::plan::{Plan, Setup};
use crate::rules::Build;
use crate::state::Stateful;

mod builder;

pub use builder::StepperBuilder;

/// Why a [`Stepper`] cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StepperError {
    /// The expression is wrong.
    #[error(transparent)]
    Expression(#[from] ExprError),
    /// Its groups do not fit the tensors.
    #[error(transparent)]
    Groups(#[from] GroupError),
    /// Two tensors have one name.
    #[error("two tensors are named {name:?}")]
    Twice {
        /// The name.
        name: String,
    },
    /// Sizes and axes differ in number, or there are more numbers than a machine can count.
    #[error(
        "the tensor {name:?} has the sizes {shape:?} and the axes {axes:?}: one axis for each size, fewer than 2⁶³ bytes"
    )]
    Shape {
        /// Its name.
        name: String,
        /// Its sizes.
        shape: Vec<usize>,
        /// Its axes.
        axes: Vec<&'static str>,
    },
    /// A mask is for a tensor that is not there.
    #[error("there is no tensor {name:?} to mask; there are {tensors}")]
    NoTensor {
        /// The name.
        name: String,
        /// The names of all tensors.
        tensors: String,
    },
    /// A mask is not as long as its tensor.
    #[error("the mask of {name:?} has {found} numbers where the tensor has {expected}")]
    Mask {
        /// The tensor's name.
        name: String,
        /// Its length.
        expected: usize,
        /// The mask's.
        found: usize,
    },
    /// A schedule or a phase goes by the length of the run, which is not known.
    #[error(
        "{expression} depends on the length of the run: say it, as in \
         Stepper::builder(…).horizon(Horizon {{ steps: 10_000, per_epoch: 100 }})"
    )]
    NoHorizon {
        /// The expression.
        expression: String,
    },
}

/// A tensor at a step: its parameters and their gradient.
#[derive(Debug)]
pub struct TensorMut<'a, F> {
    /// The parameters: `&mut [F]`, or bf16 by bits, `&mut [u16]`.
    pub theta: View<'a, F>,
    /// Their gradient: `&mut [F]` is zeros afterwards, `&[F]` and `&[u16]` (bf16) stay.
    pub grad: Gradient<'a, F>,
}

impl<'a, F> TensorMut<'a, F> {
    /// A tensor from slices.
    pub fn new(theta: impl Into<View<'a, F>>, grad: impl Into<Gradient<'a, F>>) -> Self {
        Self { theta: theta.into(), grad: grad.into() }
    }
}

macro_rules! from_slices {
    ($($f:ty)*) => {$(
        impl<'a> From<&'a mut [$f]> for View<'a, $f> {
            fn from(numbers: &'a mut [$f]) -> Self {
                View::Own(numbers)
            }
        }
        impl<'a> From<&'a mut [u16]> for View<'a, $f> {
            fn from(bits: &'a mut [u16]) -> Self {
                View::Bf16(bits)
            }
        }
        impl<'a> From<&'a mut [$f]> for Gradient<'a, $f> {
            fn from(numbers: &'a mut [$f]) -> Self {
                Gradient::Clear(numbers)
            }
        }
        impl<'a> From<&'a [$f]> for Gradient<'a, $f> {
            fn from(numbers: &'a [$f]) -> Self {
                Gradient::Keep(numbers)
            }
        }
        impl<'a> From<&'a [u16]> for Gradient<'a, $f> {
            fn from(bits: &'a [u16]) -> Self {
                Gradient::KeepBf16(bits)
            }
        }
    )*};
}
from_slices!(f32 f64);

/// Evaluates the batch of a step again, for rules that look at other points: given θ tensor by tensor it writes the gradient, which
/// is zeros before, in the units of the gradient of the step (a sum over rows where that was one), and returns the loss in the same.
pub type Evaluate<'e, F> = dyn FnMut(&[&[F]], &mut [&mut [F]]) -> f64 + 'e;

/// Called after each step.
type Callback = Box<dyn FnMut(&Report) + Send>;

/// An optimizer over slices of your own.
///
/// ```
/// use thalweg_optim::Stepper;
/// let mut theta = [1.0f32, -2.0];
/// let mut adam = Stepper::<f32>::new("adam(lr=0.01)")?;
/// for _ in 0..1000 {
///     let grad = [2.0 * theta[0], 2.0 * theta[1]]; // of θ₀² + θ₁²
///     adam.step(&mut theta, &grad)?;
/// }
/// assert!(theta.iter().all(|x| x.abs() < 1e-3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Several tensors, each with its name, so that groups can go by it:
///
/// ```
/// use thalweg_core::{Kind, Total};
/// use thalweg_optim::{Stepper, TensorMut};
/// let mut optimizer = Stepper::<f32>::builder("{ weights: adamw(lr=0.01); biases: sgd(lr=0.1) }")
///     .tensor("weight", &[2, 3], &["out", "in"], Kind::Weight)
///     .tensor("bias", &[2], &["out"], Kind::Bias)
///     .build()?;
/// let (mut weight, mut bias) = ([0.5f32; 6], [0.0f32; 2]);
/// let (mut weight_grad, bias_grad) = ([1.0f32; 6], [1.0f32; 2]);
/// let tensors = [
///     TensorMut::new(&mut weight[..], &mut weight_grad[..]), // zeros afterwards
///     TensorMut::new(&mut bias[..], &bias_grad[..]),         // left as it is
/// ];
/// // The gradients are sums over a batch of weight 2.
/// let report = optimizer.step_tensors(tensors, Total { loss: 1.0, weight: 2.0 })?;
/// assert_eq!(bias, [-0.05; 2]);
/// assert_eq!(report.lr, 0.01);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Stepper<F: Build> {
    plan: Plan,
    setup: Setup,
    penalty: Penalty,
    built: Option<Built<F>>,
    /// Steps so far, those included that wrote nothing.
    steps: u64,
    callbacks: Vec<Callback>,
}

/// What is known once the tensors are.
struct Built<F: Build> {
    assembled: Assembled<F>,
    layout: Arc<Layout>,
    /// The parameters in full precision, of the tensors that have such a copy; NaN before the first step.
    masters: Vec<Option<Buffer<F>>>,
    /// Gradients that had to be copied.
    grads: Vec<Option<Buffer<F>>>,
    /// θ in one buffer, where that is needed.
    flat: Option<Buffer<F>>,
    /// The places in each tensor that stay 0.
    masked: Vec<Vec<usize>>,
}

impl<F: Build> fmt::Debug for Stepper<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stepper").field("expression", &self.expression()).field("steps", &self.steps).finish()
    }
}

/// One tensor of `n` numbers.
fn vector(n: usize) -> Arc<Layout> {
    Arc::new(Layout::builder().tensor("theta", &[n], &["out"], Kind::Weight).build())
}

/// Whether a copy in full precision has been taken: it is NaN before.
fn begun<F: Float>(master: &[F]) -> bool {
    master.first().is_none_or(|x| !x.to_f64().is_nan())
}

/// Parameters of any format as plain numbers.
fn read<F: Float>(theta: &View<'_, F>, to: &mut [F]) {
    match theta {
        View::Own(theta) => to.copy_from_slice(theta),
        View::Bf16(theta) => decode_bf16(theta, to),
        View::Block8 { codes, scales, sign } => decode_block8(codes, scales, *sign, to),
    }
}

impl<F: Build> Built<F> {
    fn new(plan: &Plan, setup: &Setup, layout: &Arc<Layout>, masters: &[bool]) -> Result<Self, GroupError> {
        let master = |(t, &wanted): (&thalweg_core::Tensor, &bool)| {
            wanted.then(|| {
                let mut copy = Buffer::zeros(t.len());
                copy.fill(F::NAN);
                copy
            })
        };
        Ok(Self {
            assembled: plan.assemble(layout, setup)?,
            layout: Arc::clone(layout),
            masters: layout.tensors().iter().zip(masters).map(master).collect(),
            grads: layout.tensors().iter().map(|_| None).collect(),
            flat: None,
            masked: vec![vec![]; layout.tensors().len()],
        })
    }

    /// Refuses tensors of other lengths.
    fn check(&self, tensors: &[TensorMut<'_, F>]) -> Result<(), StepError> {
        let (expected, found) = (self.layout.tensors().len(), tensors.len());
        if found != expected {
            return Err(StepError::Tensors { expected, found });
        }
        for (tensor, given) in self.layout.tensors().iter().zip(tensors) {
            let expected = tensor.len();
            let lengths = [("a tensor", given.theta.len()), ("the gradient of a tensor", given.grad.len())];
            for (what, found) in lengths {
                if found != expected {
                    return Err(StepError::Length { what, expected, found });
                }
            }
            if let View::Block8 { scales, .. } = &given.theta {
                let (expected, found) = (expected.div_ceil(BLOCK8), scales.len());
                if found != expected {
                    return Err(StepError::Length { what: "the scales of block8", expected, found });
                }
            }
        }
        Ok(())
    }

    /// θ of all tensors in one buffer: the copies in full precision where there are some.
    fn gather(&mut self, tensors: &[TensorMut<'_, F>]) {
        let flat = self.flat.get_or_insert_with(|| Buffer::zeros(self.layout.buffer_len()));
        for ((tensor, given), master) in self.layout.tensors().iter().zip(tensors).zip(&self.masters) {
            let to = &mut flat[tensor.range()];
            match master.as_ref().filter(|m| begun(m)) {
                Some(master) => to.copy_from_slice(master),
                None => read(&given.theta, to),
            }
        }
    }

    /// θ of all tensors, and their copies in full precision, go back to the gathered ones that were kept.
    fn roll_back(&mut self, tensors: &mut [TensorMut<'_, F>]) {
        let flat = self.flat.as_mut().expect("it was gathered");
        self.assembled.roll_back(flat);
        for ((tensor, given), master) in self.layout.tensors().iter().zip(tensors).zip(&mut self.masters) {
            let from = &flat[tensor.range()];
            if let Some(master) = master {
                master.copy_from_slice(from);
            }
            match &mut given.theta {
                View::Own(theta) => theta.copy_from_slice(from),
                // Numbers that were read from bf16 are written as they were.
                View::Bf16(theta) => encode_bf16_nearest(from, theta),
                View::Block8 { .. } => unreachable!("block8 was refused"),
            }
        }
    }

    /// Masked coordinates of θ become 0.
    fn zero_masked(&mut self, tensors: &mut [TensorMut<'_, F>]) {
        for ((given, master), places) in tensors.iter_mut().zip(&mut self.masters).zip(&self.masked) {
            given.theta.zero_at(places);
            // One that is NaN has not begun.
            if let Some(master) = master
                && master.first().is_some_and(|x| !x.to_f64().is_nan())
            {
                View::Own(master).zero_at(places);
            }
        }
    }

    fn step(
        &mut self,
        at: At,
        tensors: &mut [TensorMut<'_, F>],
        mut total: Total,
        known: bool,
        oracle: &mut dyn Oracle<F>,
        flush: bool,
    ) -> Result<Report, StepError> {
        let assembled = &mut self.assembled;
        assembled.advance(at);
        // Nobody said what the loss is.
        let unknown = total.loss.is_nan() && !known;
        if let Some(rule) = assembled.goes_by_loss().filter(|_| unknown) {
            return Err(StepError::NoLoss { rule });
        }
        let (elementwise, rolls_back) = (assembled.is_elementwise(), assembled.rolls_back());
        let takes = |theta: &View<'_, F>| match theta {
            View::Own(_) => true,
            View::Bf16(_) => elementwise,
            View::Block8 { .. } => elementwise && !rolls_back,
        };
        if !tensors.iter().all(|t| takes(&t.theta)) {
            return Err(StepError::Unsupported {
                rule: "this optimizer",
                why: "works on parameters in full precision only: bf16 goes with rules that work coordinate by coordinate, \
                      without stages that look at weights or keep gradients",
            });
        }
        if unknown && assembled.is_guarded() {
            // Only the gradient is looked at.
            total.loss = 0.0;
        }
        let plain = assembled.reads_gradients();
        self.zero_masked(tensors);
        if rolls_back {
            self.gather(tensors);
            let flat = self.flat.as_ref().expect("it was just gathered");
            self.assembled.keep_copy(flat);
        }
        let layout = Arc::clone(&self.layout);
        let mut parts = Vec::with_capacity(tensors.len());
        let rooms = self.masters.iter_mut().zip(&mut self.grads).zip(&self.masked);
        for ((index, tensor), (given, ((master, room), masked))) in
            layout.tensors().iter().enumerate().zip(tensors.iter_mut().zip(rooms))
        {
            if let Some(master) = master.as_mut().filter(|m| !begun(m)) {
                read(&given.theta, master);
            }
            // What is masked has no gradient.
            let free = masked.is_empty();
            let mut grad = match &mut given.grad {
                Gradient::Clear(grad) => Gradient::Clear(grad),
                Gradient::Keep(grad) if elementwise && free => Gradient::Keep(grad),
                Gradient::KeepBf16(grad) if elementwise && !plain && free => Gradient::KeepBf16(grad),
                Gradient::Keep(grad) => {
                    let copy = room.get_or_insert_with(|| Buffer::zeros(tensor.len()));
                    copy.copy_from_slice(grad);
                    Gradient::Clear(copy)
                }
                Gradient::KeepBf16(grad) => {
                    let copy = room.get_or_insert_with(|| Buffer::zeros(tensor.len()));
                    decode_bf16(grad, copy);
                    Gradient::Clear(copy)
                }
            };
            if let Gradient::Clear(grad) = &mut grad {
                masked.iter().for_each(|&i| grad[i] = F::zero());
            }
            parts.push(Part {
                index,
                tensor,
                theta: given.theta.reborrow(),
                master: master.as_deref_mut(),
                grad,
                average: None,
                place: tensor.offset as u64,
            });
        }
        let report = self.assembled.step_parts(at, Parts { parts, total }, oracle, flush)?;
        if report.skipped && rolls_back {
            self.roll_back(tensors);
        }
        self.zero_masked(tensors);
        if report.non_finite.is_some() || report.skipped {
            for given in tensors {
                if let Gradient::Clear(grad) = &mut given.grad {
                    grad.fill(F::zero());
                }
            }
        }
        Ok(report)
    }
}

impl<F: Build> Stepper<F> {
    /// An optimizer over one vector, whose length the first step tells.
    ///
    /// # Errors
    /// As [`StepperBuilder::build`].
    pub fn new(expression: &str) -> Result<Self, StepperError> {
        Self::builder(expression).build()
    }

    /// An optimizer over one vector of `len` numbers: one whose saved state can be restored before the first step.
    ///
    /// # Errors
    /// As [`StepperBuilder::build`].
    pub fn with_len(expression: &str, len: usize) -> Result<Self, StepperError> {
        Self::builder(expression).tensor("theta", &[len], &["out"], Kind::Weight).build()
    }

    /// An optimizer over named tensors, with all there is to be said.
    pub fn builder(expression: &str) -> StepperBuilder<F> {
        StepperBuilder {
            expression: expression.into(),
            tensors: vec![],
            setup: Setup::default(),
            horizon: None,
            penalty: Penalty::default(),
            callbacks: vec![],
            of: std::marker::PhantomData,
        }
    }

    /// One step of the only tensor: θ ← θ + u, given the gradient of the mean loss.
    ///
    /// # Errors
    /// As [`Stepper::step_tensors`]; rules that go by the loss too take [`Stepper::step_with_loss`].
    pub fn step(&mut self, theta: &mut [F], grad: &[F]) -> Result<Report, StepError> {
        let tensor = TensorMut { theta: View::Own(theta), grad: Gradient::Keep(grad) };
        self.step_tensors([tensor], Total { loss: f64::NAN, weight: 1.0 })
    }

    /// [`Stepper::step`] with the mean loss beside its gradient, for rules that go by it (`polyak`). A loss that is not finite is
    /// met as a gradient that is not.
    ///
    /// ```
    /// use thalweg_optim::Stepper;
    /// let mut theta = [3.0, -2.0];
    /// let mut polyak = Stepper::<f64>::new("polyak(f_min=0)")?;
    /// for _ in 0..50 {
    ///     let loss = 0.5 * (theta[0] * theta[0] + theta[1] * theta[1]);
    ///     let gradient = theta;
    ///     polyak.step_with_loss(&mut theta, &gradient, loss)?;
    /// }
    /// assert!(theta.iter().all(|x| x.abs() < 1e-7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Stepper::step_tensors`].
    pub fn step_with_loss(&mut self, theta: &mut [F], grad: &[F], loss: f64) -> Result<Report, StepError> {
        let tensor = TensorMut { theta: View::Own(theta), grad: Gradient::Keep(grad) };
        let total = Total { loss, weight: 1.0 };
        self.go(vec![tensor], total, true, &mut thalweg_core::NoOracle, false)
    }

    /// One step of all tensors, given in the order in which they were declared. The gradients are sums over rows that weigh
    /// `total.weight` together, and `total.loss` is the sum of their losses (NaN where it is not known, which rules that go by it
    /// refuse); gradients of a mean have weight 1.
    ///
    /// Rules that work coordinate by coordinate take parameters in bf16, and gradients that stay as they are without a copy. Other
    /// rules take parameters in full precision, and copy gradients that are to stay.
    ///
    /// # Errors
    /// Another number of tensors, other lengths, no weight, compressed parameters where the rule takes none, or what the rule needs and
    /// is not there. Nothing is written then. A gradient that is not finite is no error: [`Report::non_finite`] says so, counted in a
    /// buffer in which every tensor starts at a multiple of 16.
    pub fn step_tensors<'a>(
        &mut self,
        tensors: impl IntoIterator<Item = TensorMut<'a, F>>,
        total: Total,
    ) -> Result<Report, StepError>
    where
        F: 'a,
    {
        self.go(tensors.into_iter().collect(), total, false, &mut thalweg_core::NoOracle, false)
    }

    /// [`Stepper::step_tensors`] for rules that look at other points of the same batch: SAM, L-BFGS, line searches. Where the rule goes
    /// by the loss, a NaN in `total.loss` is one that is not finite: who evaluates knows it.
    ///
    /// # Errors
    /// As [`Stepper::step_tensors`].
    pub fn step_with<'a>(
        &mut self,
        tensors: impl IntoIterator<Item = TensorMut<'a, F>>,
        total: Total,
        evaluate: &mut Evaluate<'_, F>,
    ) -> Result<Report, StepError>
    where
        F: 'a,
    {
        let mut oracle = Closure { evaluate, weight: total.weight, spare: None };
        let known = self.needs().loss;
        self.go(tensors.into_iter().collect(), total, known, &mut oracle, false)
    }

    /// Takes the step for which gradients wait (`accumulate`), however few they are; `None` where none wait.
    ///
    /// # Errors
    /// As [`Stepper::step_tensors`].
    pub fn flush<'a>(
        &mut self,
        tensors: impl IntoIterator<Item = TensorMut<'a, F>>,
    ) -> Result<Option<Report>, StepError>
    where
        F: 'a,
    {
        let tensors: Vec<TensorMut<'a, F>> = tensors.into_iter().collect();
        if let Some(built) = &self.built {
            built.check(&tensors)?;
        }
        if !self.built.as_ref().is_some_and(|b| b.assembled.waits()) {
            return Ok(None);
        }
        self.go(tensors, Total::default(), true, &mut thalweg_core::NoOracle, true).map(Some)
    }

    fn go(
        &mut self,
        mut tensors: Vec<TensorMut<'_, F>>,
        total: Total,
        known: bool,
        oracle: &mut dyn Oracle<F>,
        flush: bool,
    ) -> Result<Report, StepError> {
        if self.built.is_none() {
            let [only] = &tensors[..] else {
                return Err(StepError::Tensors { expected: 1, found: tensors.len() });
            };
            let built = Built::new(&self.plan, &self.setup, &vector(only.theta.len()), &[false]);
            let unfit =
                |_| StepError::Unsupported { rule: "this optimizer", why: "does not work on one vector" };
            let built = built.map_err(unfit)?;
            built.check(&tensors)?;
            self.built = Some(built);
        }
        let built = self.built.as_mut().expect("it was just made");
        built.check(&tensors)?;
        let step = if flush { self.steps } else { self.steps + 1 };
        let report =
            built.step(At { step, penalty: self.penalty }, &mut tensors, total, known, oracle, flush)?;
        self.steps = step;
        self.callbacks.iter_mut().for_each(|callback| callback(&report));
        Ok(report)
    }

    /// The weights to validate and to save, tensor by tensor, where they are not θ itself (an averaged copy), given θ.
    ///
    /// # Errors
    /// Another number of tensors, or other lengths.
    pub fn evaluation_weights(&mut self, theta: &[&[F]]) -> Result<Option<Vec<&[F]>>, StepError> {
        let Some(built) = &mut self.built else { return Ok(None) };
        let (expected, found) = (built.layout.tensors().len(), theta.len());
        if found != expected {
            return Err(StepError::Tensors { expected, found });
        }
        let flat = built.flat.get_or_insert_with(|| Buffer::zeros(built.layout.buffer_len()));
        for (tensor, theta) in built.layout.tensors().iter().zip(theta) {
            let (expected, found) = (tensor.len(), theta.len());
            if found != expected {
                return Err(StepError::Length { what: "a tensor", expected, found });
            }
            flat[tensor.range()].copy_from_slice(theta);
        }
        let weights = built.assembled.evaluated(flat);
        Ok(weights.map(|all| built.layout.tensors().iter().map(|t| &all[t.range()]).collect()))
    }

    /// Holds the coordinates of a tensor where `mask` is 0 at exactly 0 from now on, in θ, in its copy in full precision and in the
    /// weights to evaluate, whatever the rule and its memory: for pruning. `None` frees the tensor. The only tensor of
    /// [`Stepper::new`] is named `theta`, and a mask tells its length. A mask is no part of the state: set it again after
    /// restoring.
    ///
    /// ```
    /// let mut momentum = thalweg_optim::Stepper::<f64>::new("momentum(lr=0.1)")?;
    /// momentum.set_mask("theta", Some(&[1.0, 0.0]))?;
    /// let mut theta = [1.0, 2.0];
    /// momentum.step(&mut theta, &[0.5, 0.5])?;
    /// assert_eq!(theta, [0.95, 0.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A name that no tensor has, or a mask of another length.
    pub fn set_mask(&mut self, tensor: &str, mask: Option<&[F]>) -> Result<(), StepperError> {
        if let (None, "theta", Some(mask)) = (&self.built, tensor, mask) {
            self.built = Some(Built::new(&self.plan, &self.setup, &vector(mask.len()), &[false])?);
        }
        let tensors = self.built.as_ref().map_or(&[][..], |built| built.layout.tensors());
        let Some(nth) = tensors.iter().position(|t| t.name == tensor) else {
            if self.built.is_none() && tensor == "theta" {
                return Ok(());
            }
            let names: Vec<String> = tensors.iter().map(|t| format!("{:?}", t.name)).collect();
            let tensors = if names.is_empty() { "\"theta\"".into() } else { names.join(", ") };
            return Err(StepperError::NoTensor { name: tensor.into(), tensors });
        };
        let (expected, found) = (tensors[nth].len(), mask.map_or(tensors[nth].len(), <[F]>::len));
        if found != expected {
            return Err(StepperError::Mask { name: tensor.into(), expected, found });
        }
        let built = self.built.as_mut().expect("it has tensors");
        let zeros =
            mask.into_iter().flat_map(|mask| mask.iter().enumerate().filter(|(_, x)| **x == F::zero()));
        built.masked[nth] = zeros.map(|(i, _)| i).collect();
        let offsets = built.layout.tensors().iter().map(|t| t.offset);
        let all = offsets.zip(&built.masked).flat_map(|(from, places)| places.iter().map(move |i| from + i));
        let all: Vec<usize> = all.collect();
        built.assembled.mask((!all.is_empty()).then_some(all));
        Ok(())
    }

    /// Calls `callback` after each step from now on.
    pub fn on_step(&mut self, callback: impl FnMut(&Report) + Send + 'static) {
        self.callbacks.push(Box::new(callback));
    }

    /// How many steps were made, those included that wrote nothing.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What the next gradient is to be multiplied by before it is given: 1 unless the loss is scaled.
    pub fn loss_scale(&self) -> f64 {
        self.built.as_ref().map_or(1.0, |b| thalweg_core::Optimizer::loss_scale(&b.assembled))
    }

    /// What it asks of its caller: the loss where it goes by it, [`Stepper::step_with`] where it evaluates again.
    pub fn needs(&self) -> thalweg_core::Needs {
        match &self.built {
            Some(built) => thalweg_core::Optimizer::needs(&built.assembled),
            None => self
                .plan
                .assemble::<F>(&vector(1), &self.setup)
                .map_or_else(|_| thalweg_core::Needs::default(), |a| thalweg_core::Optimizer::needs(&a)),
        }
    }

    /// The expression, all values filled in.
    pub fn expression(&self) -> String {
        match &self.built {
            Some(built) => thalweg_core::Optimizer::expression(&built.assembled),
            None => self.plan.filled().to_string(),
        }
    }

    /// Shows all memory, as [`thalweg_core::Optimizer::visit_state`] does: nothing before the tensors are known.
    pub fn visit_state(&mut self, visit: &mut dyn FnMut(&str, Memory<'_>)) {
        let Some(built) = &mut self.built else { return };
        thalweg_core::Optimizer::visit_state(&mut built.assembled, visit);
        visit("stepper.steps", Memory::Count(&mut self.steps));
        for (tensor, master) in built.layout.tensors().iter().zip(&mut built.masters) {
            if let Some(master) = master {
                visit(&format!("{}/master", tensor.name), F::memory(master));
            }
        }
    }
}

impl<F: Build> Stateful for Stepper<F> {
    fn expression(&self) -> String {
        Stepper::expression(self)
    }
    fn visit_state(&mut self, visit: &mut dyn FnMut(&str, Memory<'_>)) {
        Stepper::visit_state(self, visit);
    }
}

/// [`Evaluate`] as an oracle.
struct Closure<'c, 'e, F: Float> {
    evaluate: &'c mut Evaluate<'e, F>,
    weight: f64,
    /// For the gradient where only the loss is asked for.
    spare: Option<Grads<F>>,
}

impl<F: Float> Oracle<F> for Closure<'_, '_, F> {
    fn loss(&mut self, theta: &Params<F>) -> Total {
        let mut grads = self.spare.take().unwrap_or_else(|| Grads::zeros(theta.layout()));
        let total = self.gradient(theta, &mut grads);
        self.spare = Some(grads);
        total
    }
    fn gradient(&mut self, theta: &Params<F>, grads: &mut Grads<F>) -> Total {
        grads.clear();
        let layout = Arc::clone(theta.layout());
        let points: Vec<&[F]> = layout.tensors().iter().map(|t| &theta.flat()[t.range()]).collect();
        let (mut rest, mut from, mut out) = (grads.flat_mut(), 0, Vec::with_capacity(points.len()));
        for tensor in layout.tensors() {
            out.push(take(&mut rest, tensor.offset - from, tensor.len()));
            from = tensor.offset + tensor.len();
        }
        let loss = (self.evaluate)(&points, &mut out);
        grads.total = Total { loss, weight: self.weight };
        grads.total
    }
}
