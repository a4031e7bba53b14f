//! Adaptive gradient clipping. Brock, De, Smith & Simonyan 2021, equation 3, <https://arxiv.org/abs/2102.06171>.
//! ```text
//! where ‖gᵢ‖ > λ·max(‖θᵢ‖, ε):   gᵢ ← gᵢ·λ·max(‖θᵢ‖, ε)/‖gᵢ‖        i: a unit
//! ```
//! A unit of a tensor with several axes is what leads to one output: all numbers at one place of the axis named `out` (of the first
//! axis where none is). A vector is one unit, as in optax and the authors' code.
//!
//! Differs from optax and pytorch-optimizer for tensors of three axes: they take the norm over one axis only.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Float, StepError, Tensor};

use super::{Make, Stage, outputs};
use crate::about::about;
use crate::method::{Before, Step};
use crate::rules::Values;

/// Cuts the gradient of each unit whose norm is more than `clipping` times that of its weights.
pub static AGC: Stage = Stage {
    name: "agc",
    summary: "each output's ‖g‖ is cut to clipping·max(‖θ‖, eps)",
    about: about!("agc.rs"),
    hyper: &[
        Hyper::new(
            "clipping",
            0.01,
            Range::POSITIVE,
            "λ, the largest ‖g‖/‖θ‖ that passes; gradient units per parameter unit",
        ),
        Hyper::new("eps", 1e-3, Range::NON_NEGATIVE, "ε, what ‖θ‖ counts as at least; parameter units"),
    ],
    before: true,
    make: Make::Before(make, make),
};

struct Agc {
    clipping: f64,
    eps: f64,
}

fn make<F: Float>(values: &Values<'_>, _: &[&Tensor]) -> Box<dyn Before<F>> {
    Box::new(Agc { clipping: values.get("clipping"), eps: values.get("eps") })
}

impl<F: Float> Before<F> for Agc {
    fn before(&mut self, step: &mut Step<'_, '_, F>) -> Result<(), StepError> {
        let scale = step.scale;
        for part in &mut step.parts {
            let several = part.tensor.shape.len() > 1;
            let (outer, units, inner) =
                if several { outputs(part.tensor) } else { (1, 1, part.tensor.len()) };
            let (theta, grad) = part.both();
            for unit in 0..units {
                let rows = || (0..outer).map(move |o| (o * units + unit) * inner);
                let norm = |of: &[F]| {
                    let rows = rows().flat_map(|at| &of[at..at + inner]);
                    rows.fold(0.0f64, |norm, x| libm::hypot(norm, x.to_f64()))
                };
                let (size, largest) = (norm(grad) * scale, self.clipping * norm(theta).max(self.eps));
                if size > largest {
                    for at in rows() {
                        super::multiply(&mut grad[at..at + inner], largest / size.max(1e-6));
                    }
                }
            }
        }
        Ok(())
    }
}
