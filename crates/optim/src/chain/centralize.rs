//! Gradient centralisation. Yong, Huang, Hua & Zhang 2020, equation 1, <https://arxiv.org/abs/2004.01461>.
//! ```text
//! gᵢ ← gᵢ − mean(gᵢ)        i: an output of a tensor with several axes
//! ```
//! An output is one place of the axis named `out` (of the first axis where none is). Vectors stay as they are. Differs from optax,
//! which always takes the first axis, also where weights are `[in, out]`.

use thalweg_core::{Float, StepError, Tensor};

use super::{Make, Stage, outputs};
use crate::about::about;
use crate::method::{Before, Step};
use crate::rules::Values;

/// Takes from each output's gradient its mean.
pub static CENTRALIZE: Stage = Stage {
    name: "centralize",
    summary: "takes from the gradient of each output its mean; vectors stay",
    about: about!("centralize.rs"),
    hyper: &[],
    before: true,
    make: Make::Before(make, make),
};

struct Centralize;

fn make<F: Float>(_: &Values<'_>, _: &[&Tensor]) -> Box<dyn Before<F>> {
    Box::new(Centralize)
}

impl<F: Float> Before<F> for Centralize {
    fn before(&mut self, step: &mut Step<'_, '_, F>) -> Result<(), StepError> {
        for part in step.parts.iter_mut().filter(|p| p.tensor.shape.len() > 1) {
            let (outer, units, inner) = outputs(part.tensor);
            let grad = part.grad();
            for unit in 0..units {
                let rows = || (0..outer).map(move |o| (o * units + unit) * inner);
                // Divided first, so that a sum of large numbers stays finite.
                let share = 1.0 / (outer * inner) as f64;
                let numbers = rows().flat_map(|at| &grad[at..at + inner]);
                let mean = F::from_f64(numbers.map(|g| g.to_f64() * share).sum());
                for at in rows() {
                    grad[at..at + inner].iter_mut().for_each(|g| *g = *g - mean);
                }
            }
        }
        Ok(())
    }
}
