//! Clipping of each tensor's norm by itself, as optax's `clip_by_block_rms` does it for the root mean square and Caffe and Keras
//! (`clipnorm`) for the norm: Pascanu, Mikolov & Bengio 2013, <https://arxiv.org/abs/1211.5063>, tensor by tensor.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Float, StepError, Tensor};

use super::{Make, Stage, clip, multiply};
use crate::about::about;
use crate::method::{Before, Part, Step};
use crate::norm::norm;
use crate::rules::Values;

/// g ← g·min(1, max/(‖g‖₂ + 10⁻⁶)) for each tensor's g by itself. Differs from Keras: the 10⁻⁶ of PyTorch's clipping.
pub static CLIP_TENSOR: Stage = Stage {
    name: "clip_tensor",
    summary: "g ← g·min(1, max_norm/‖g‖₂), each tensor by itself",
    about: about!("clip_tensor.rs"),
    hyper: &[Hyper::required(
        "max_norm",
        Range::POSITIVE,
        "the largest norm of a tensor that passes; gradient units",
    )],
    before: true,
    make: Make::Before(make, make),
};

struct ClipTensor(f64);

fn make<F: Float>(values: &Values<'_>, _: &[&Tensor]) -> Box<dyn Before<F>> {
    Box::new(ClipTensor(values.get("max_norm")))
}

impl<F: Float> Before<F> for ClipTensor {
    fn before(&mut self, step: &mut Step<'_, '_, F>) -> Result<(), StepError> {
        let (scale, threads) = (step.scale, step.threads);
        for part in &mut step.parts {
            let norm = norm(&[Part::gradient(part)], f64::INFINITY, threads) * scale;
            multiply(threads, part.grad(), clip::factor(norm, self.0));
        }
        Ok(())
    }
}
