//! Gradient centralisation. Yong, Huang, Hua & Zhang 2020, equation 1, <https://arxiv.org/abs/2004.01461>.
//! ```text
//! gᵢ ← gᵢ − mean(gᵢ)        i: an output of a tensor with several axes
//! ```
//! An output is one place of the axis named `out` (of the first axis where none is). Vectors stay as they are. Differs from optax,
//! which always takes the first axis, also where weights are `[in, out]`.

use thalweg_core::{Float, StepError, Tensor};

use super::units::Units;
use super::{Make, Stage};
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
        let threads = step.threads;
        for part in step.parts.iter_mut().filter(|p| p.tensor.shape.len() > 1) {
            let units = Units::of(part.tensor);
            let grad = part.grad();
            // Divided first, so that a sum of large numbers stays finite.
            let share = 1.0 / units.len() as f64;
            let means: Vec<F> =
                units.sums(threads, grad, |g| g * share).into_iter().map(F::from_f64).collect();
            units.change(threads, grad, &means, |g, mean| g - mean);
        }
        Ok(())
    }
}
