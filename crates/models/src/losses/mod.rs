//! Losses: what a prediction costs, its derivative and its curvature.
//!
//! One file per loss. A loss of one output is a scalar function `(z, y) → (loss, ∂loss/∂z)` ([`Pointwise`]) that reads like
//! the formula and vectorises over a tile of rows; softmax, which joins k outputs, is written on a tile. [`ALL`] is the
//! registry that the expression parser, the tests and the documentation read.
//!
//! Only correctly rounded operations and [`thalweg_core::math`]: the same bits on every instruction set.

mod absolute;
mod hinge;
mod huber;
mod logistic;
mod poisson;
mod quantile;
mod softmax;
mod squared;

use std::fmt;
use std::str::FromStr;

use thalweg_core::expr::{self, Call, ExprError};
use thalweg_core::hyper::{self, Hyper};
use thalweg_core::suggest::nearest;
use thalweg_core::{Float, isa};

pub use self::absolute::Absolute;
pub use self::hinge::Hinge;
pub use self::huber::Huber;
pub use self::logistic::Logistic;
pub use self::poisson::Poisson;
pub use self::quantile::Quantile;
pub use self::softmax::Softmax;
pub use self::squared::Squared;

/// A loss of one output z and one target y.
pub trait Pointwise: Copy + Send + Sync {
    /// The loss and its derivative in z; where it has a kink, the derivative 0 between the two one-sided ones.
    fn element<F: Float>(&self, z: F, y: F) -> (F, F);
    /// The second derivative in z; 0 where the loss is straight.
    fn curvature<F: Float>(&self, z: F, y: F) -> F;
    /// The prediction in units of the target: the inverse link.
    #[inline(always)]
    fn mean<F: Float>(&self, z: F) -> F {
        z
    }
}

/// `above` for r > 0, `below` for r < 0, 0 at 0, NaN for NaN.
#[inline(always)]
fn sign<F: Float>(r: F, above: F, below: F) -> F {
    let side = F::select(r.lt(F::zero()), below, r);
    F::select(F::zero().lt(r), above, side)
}

/// What a loss predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// A number.
    Number,
    /// A count or rate, not negative.
    Count,
    /// One of two classes, target 0 or 1.
    TwoClasses,
    /// One of k classes, target 0, 1, …, k − 1.
    Classes,
}

impl Task {
    /// Whether the target is a class.
    pub fn is_classes(self) -> bool {
        matches!(self, Task::TwoClasses | Task::Classes)
    }
}

/// What the registry says of a loss.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name in expressions.
    pub name: &'static str,
    /// What it predicts.
    pub task: Task,
    /// An upper bound of the second derivative in z (of the largest eigenvalue, for several outputs), if there is one.
    pub bound: Option<f64>,
    /// Whether the derivative is continuous. If not, no rate makes plain gradient descent converge.
    pub smooth: bool,
    /// Its hyperparameters.
    pub hyper: &'static [Hyper],
    /// One line for tables and help.
    pub doc: &'static str,
    /// Makes it from one value for each of `hyper`, in that order, each in its range.
    pub make: fn(&[f64]) -> Loss,
}

/// Every loss.
pub const ALL: &[Entry] = &[
    squared::ENTRY,
    absolute::ENTRY,
    huber::ENTRY,
    quantile::ENTRY,
    poisson::ENTRY,
    logistic::ENTRY,
    softmax::ENTRY,
    hinge::ENTRY,
];

/// A loss with its hyperparameters.
///
/// ```
/// use thalweg_models::losses::Loss;
/// let loss: Loss = "huber(1.35)".parse()?;
/// assert_eq!(loss.to_string(), "huber(delta=1.35)");
/// # Ok::<(), thalweg_core::expr::ExprError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// ½(z − y)².
    Squared(Squared),
    /// |z − y|.
    Absolute(Absolute),
    /// Squared near the target, absolute far from it.
    Huber(Huber),
    /// The pinball loss.
    Quantile(Quantile),
    /// exp z − y·z.
    Poisson(Poisson),
    /// Cross-entropy of two classes.
    Logistic(Logistic),
    /// Cross-entropy of k classes.
    Softmax(Softmax),
    /// The margin of two classes.
    Hinge(Hinge),
}

/// Calls `$body` with `$l` bound to the pointwise loss, or `$softmax` bound to the other one; each arm is compiled for the
/// instruction set in use.
macro_rules! dispatch {
    ($loss:expr, $l:ident => $body:expr, $softmax:ident => $tile:expr) => {
        match $loss {
            Loss::Squared($l) => isa::run(
                #[inline(always)]
                || $body,
            ),
            Loss::Absolute($l) => isa::run(
                #[inline(always)]
                || $body,
            ),
            Loss::Huber($l) => isa::run(
                #[inline(always)]
                || $body,
            ),
            Loss::Quantile($l) => isa::run(
                #[inline(always)]
                || $body,
            ),
            Loss::Poisson($l) => isa::run(
                #[inline(always)]
                || $body,
            ),
            Loss::Logistic($l) => isa::run(
                #[inline(always)]
                || $body,
            ),
            Loss::Hinge($l) => isa::run(
                #[inline(always)]
                || $body,
            ),
            Loss::Softmax($softmax) => isa::run(
                #[inline(always)]
                || $tile,
            ),
        }
    };
}

impl Loss {
    /// Squared error.
    pub const SQUARED: Self = Loss::Squared(Squared);
    /// Absolute error.
    pub const ABSOLUTE: Self = Loss::Absolute(Absolute);
    /// Poisson regression.
    pub const POISSON: Self = Loss::Poisson(Poisson);
    /// Logistic loss of two classes.
    pub const LOGISTIC: Self = Loss::Logistic(Logistic);
    /// Softmax cross-entropy.
    pub const SOFTMAX: Self = Loss::Softmax(Softmax);
    /// Hinge loss of two classes.
    pub const HINGE: Self = Loss::Hinge(Hinge);

    /// What the registry says of it.
    pub fn entry(&self) -> &'static Entry {
        let place = match self {
            Loss::Squared(_) => 0,
            Loss::Absolute(_) => 1,
            Loss::Huber(_) => 2,
            Loss::Quantile(_) => 3,
            Loss::Poisson(_) => 4,
            Loss::Logistic(_) => 5,
            Loss::Softmax(_) => 6,
            Loss::Hinge(_) => 7,
        };
        &ALL[place]
    }

    /// The values of its hyperparameters, in the order of [`Entry::hyper`].
    pub fn values(&self) -> Vec<f64> {
        match self {
            Loss::Huber(l) => vec![l.delta],
            Loss::Quantile(l) => vec![l.q],
            _ => vec![],
        }
    }

    /// Reads a parsed call; `source` is the text it came from.
    ///
    /// # Errors
    /// An unknown loss (with the nearest known one) or hyperparameter, or a value outside its range.
    pub fn from_call(call: &Call, source: &str) -> Result<Self, ExprError> {
        let Some(entry) = ALL.iter().find(|e| e.name == call.name) else {
            let names = ALL.iter().map(|e| e.name);
            let help = match nearest(&call.name, names.clone()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
            };
            let message = format!("there is no loss {:?}", call.name);
            return Err(ExprError::new(source, call.span, message).help(help));
        };
        Ok((entry.make)(&hyper::resolve(call, entry.hyper, source)?))
    }

    /// What it predicts.
    pub fn task(&self) -> Task {
        self.entry().task
    }

    /// How many outputs (logits) a model of `classes` classes needs: k for softmax, otherwise 1.
    pub fn outputs(&self, classes: usize) -> usize {
        if self.task() == Task::Classes { classes } else { 1 }
    }

    /// How many numbers a prediction from `outputs` outputs has: probabilities of all classes (two for the one logit of
    /// the logistic loss), or 1.
    pub fn responses(&self, outputs: usize) -> usize {
        if self.task() == Task::TwoClasses { 2 } else { outputs }
    }

    /// Refuses targets that the loss is not made for.
    ///
    /// # Errors
    /// The first row whose target is not finite, negative for counts, or not the index of a class.
    pub fn check_targets<F: Float>(&self, outputs: usize, targets: &[F]) -> Result<(), TargetError> {
        let allowed = |y: f64| match self.task() {
            Task::Number => y.is_finite(),
            Task::Count => y.is_finite() && y >= 0.0,
            Task::TwoClasses => y == 0.0 || y == 1.0,
            Task::Classes => y >= 0.0 && y < outputs as f64 && y == y.trunc(),
        };
        let expected = match self.task() {
            Task::Number => "a finite number".to_string(),
            Task::Count => "a finite number, 0 or more".to_string(),
            Task::TwoClasses => "0 or 1".to_string(),
            Task::Classes => format!("a class index from 0 to {}", outputs - 1),
        };
        match targets.iter().map(|y| y.to_f64()).enumerate().find(|&(_, y)| !allowed(y)) {
            Some((row, found)) => Err(TargetError { row, found, loss: self.entry().name, expected }),
            None => Ok(()),
        }
    }

    /// Replaces the outputs `z` by ∂loss/∂z and writes the losses, for a tile of n rows.
    ///
    /// `z [outputs, n]` is output-major, `y [n]`, `loss [n]`.
    pub fn tile<F: Float>(&self, z: &mut [F], y: &[F], loss: &mut [F]) {
        let loss = &mut loss[..y.len()];
        dispatch!(self, l => {
            for ((z, &y), loss) in z.iter_mut().zip(y).zip(loss) {
                (*loss, *z) = l.element(*z, y);
            }
        }, s => s.tile(z, y, loss));
    }

    /// Replaces the directions `v` by ∂²loss/∂z²·v, for a tile of n rows; `z` is scratch afterwards.
    ///
    /// `z [outputs, n]` and `v [outputs, n]` are output-major, `y [n]`.
    pub fn tile_product<F: Float>(&self, z: &mut [F], v: &mut [F], y: &[F]) {
        dispatch!(self, l => {
            for ((&mut z, &y), v) in z.iter_mut().zip(y).zip(v) {
                *v = l.curvature(z, y) * *v;
            }
        }, s => s.tile_product(z, v, y.len()));
    }

    /// Replaces the outputs `z [outputs, n]` of n rows by predictions in units of the target: ŷ, or probabilities (of class 1
    /// alone for the logistic loss).
    pub fn tile_mean<F: Float>(&self, z: &mut [F], n: usize) {
        dispatch!(self, l => {
            for z in z.iter_mut() {
                *z = l.mean(*z);
            }
        }, s => s.tile_mean(z, n));
    }
}

impl FromStr for Loss {
    type Err = ExprError;
    fn from_str(source: &str) -> Result<Self, ExprError> {
        Self::from_call(&expr::parse_call(source)?, source)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.entry();
        f.write_str(entry.name)?;
        for (i, (hyper, x)) in entry.hyper.iter().zip(self.values()).enumerate() {
            write!(f, "{}{}={}", if i == 0 { "(" } else { ", " }, hyper.name, hyper.print(x))?;
        }
        if entry.hyper.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

/// A target that the loss is not made for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("row {row}: the {loss} loss takes {expected} as target, found {found}")]
pub struct TargetError {
    /// The row, counted from 0.
    pub row: usize,
    /// Its target.
    pub found: f64,
    /// The name of the loss.
    pub loss: &'static str,
    /// What it takes.
    pub expected: String,
}
