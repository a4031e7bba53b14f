//! What stands around a rule in a chain, as in `clip(1) | adam | ema(0.999)`: one file for each stage.

pub mod clip;
pub mod ema;

use thalweg_core::Tensor;
use thalweg_core::hyper::Hyper;

use crate::method::{After, Before};
use crate::rules::Values;

/// A stage around a rule, as the registry describes it.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// The name in expressions.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Its values.
    pub hyper: &'static [Hyper],
    /// Whether it stands before the rule (on the gradient) or after it (on the weights).
    pub before: bool,
    pub(crate) make: Make,
}

/// How a chain does a stage's work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Make {
    /// Global norm clipping: a factor of the driver's sweep.
    Clip,
    /// Clipping by value: in the driver's sweep.
    ClipValue,
    /// The averaged copy: in the driver's sweep.
    Ema,
    /// A pass over the gradients.
    #[allow(dead_code, reason = "stages of their own are made so")]
    Before(MakeBefore<f32>, MakeBefore<f64>),
    /// A pass over the weights.
    #[allow(dead_code, reason = "stages of their own are made so")]
    After(MakeAfter<f32>, MakeAfter<f64>),
}

/// Makes a [`Before`] for some tensors.
pub(crate) type MakeBefore<F> = fn(&Values<'_>, &[&Tensor]) -> Box<dyn Before<F>>;
/// Makes an [`After`] for some tensors.
pub(crate) type MakeAfter<F> = fn(&Values<'_>, &[&Tensor]) -> Box<dyn After<F>>;

/// All stages.
pub static STAGES: [&Stage; 3] = [&clip::CLIP, &clip::CLIP_VALUE, &ema::EMA];
