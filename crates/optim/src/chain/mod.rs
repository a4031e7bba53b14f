//! What stands around a rule in a chain, as in `clip(1) | adam | ema(0.999)`: one file for each stage.

pub mod accumulate;
pub mod agc;
pub mod centralize;
pub mod clip;
pub mod clip_tensor;
pub mod ema;
pub mod lookahead;
pub mod loss_scale;
pub mod noise;
pub mod nonfinite;
pub mod penalty;
pub mod sam;
pub mod swa;
pub(crate) mod units;

use thalweg_core::hyper::Hyper;
use thalweg_core::{Buffer, Float, Memory, Tensor, Threads};

use self::penalty::Terms;
use crate::method::{After, Before};
use crate::rules::Values;

/// A stage around a rule, as the registry describes it.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// The name in expressions.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// What stands above its code, in Markdown: the formula, what it is for, and where other libraries differ.
    pub about: &'static str,
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
    /// A penalty of the chain's own.
    Penalty(fn(&Values<'_>) -> Terms),
    /// The chain waits for several gradients.
    Accumulate,
    /// Gradients come multiplied.
    LossScale,
    /// Steps that are not finite are left out.
    Skip,
    /// Weights and memory go back.
    Rollback,
    /// A mean over part of the run, whose length it has to know.
    Swa,
    /// A pass over the gradients.
    Before(MakeBefore<f32>, MakeBefore<f64>),
    /// The same, of all parameters of the model together.
    Whole(MakeBefore<f32>, MakeBefore<f64>),
    /// A pass over the weights.
    After(MakeAfter<f32>, MakeAfter<f64>),
}

/// Makes a [`Before`] for some tensors.
pub(crate) type MakeBefore<F> = fn(&Values<'_>, &[&Tensor]) -> Box<dyn Before<F>>;
/// Makes an [`After`] for some tensors.
pub(crate) type MakeAfter<F> = fn(&Values<'_>, &[&Tensor]) -> Box<dyn After<F>>;

/// All stages.
pub static STAGES: [&Stage; 17] = [
    &accumulate::ACCUMULATE,
    &loss_scale::LOSS_SCALE,
    &nonfinite::SKIP_NONFINITE,
    &nonfinite::ROLLBACK,
    &clip::CLIP,
    &clip::CLIP_VALUE,
    &clip_tensor::CLIP_TENSOR,
    &agc::AGC,
    &centralize::CENTRALIZE,
    &noise::NOISE,
    &sam::SAM,
    &penalty::L1_STAGE,
    &penalty::L2_STAGE,
    &penalty::ELASTIC,
    &ema::EMA,
    &swa::SWA,
    &lookahead::LOOKAHEAD,
];

/// A tensor as [outer, outputs, inner]: the axis named `out`, or the first, in the middle.
pub(crate) fn outputs(tensor: &Tensor) -> (usize, usize, usize) {
    let axis = tensor.axes.iter().position(|&a| a == "out").unwrap_or(0);
    let (before, from) = tensor.shape.split_at(axis);
    let outputs = from.first().copied().unwrap_or(1);
    (before.iter().product(), outputs, from.iter().skip(1).product())
}

/// g ← factor·g.
pub(crate) fn multiply<F: Float>(threads: &Threads, grad: &mut [F], factor: f64) {
    if factor != 1.0 {
        let factor = F::from_f64(factor);
        crate::vector::map(threads, grad, |g| g * factor);
    }
}

/// A buffer of zeros for each tensor.
pub(crate) fn copies<F: Float>(tensors: &[&Tensor]) -> Vec<Buffer<F>> {
    tensors.iter().map(|t| Buffer::zeros(t.len())).collect()
}

/// Shows [`copies`] as `<tensor>/<slot>`.
pub(crate) fn visit_copies<F: Float>(
    slot: &str,
    copies: &mut [Buffer<F>],
    tensors: &[&Tensor],
    visit: &mut dyn FnMut(&str, Memory<'_>),
) {
    for (copy, tensor) in copies.iter_mut().zip(tensors) {
        visit(&format!("{}/{slot}", tensor.name), F::memory(copy));
    }
}
