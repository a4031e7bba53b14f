//! Sharpness-aware minimisation: the gradient of the worst point nearby, for any rule. Foret, Kleiner, Mobahi & Neyshabur 2021,
//! <https://arxiv.org/abs/2010.01412>; adaptive form: Kwon, Kim, Park & Choi 2021, <https://arxiv.org/abs/2102.11600>.
//! ```text
//! ε = ρ g/‖g‖₂                  adaptive:  ε = ρ θ²g/‖|θ| g‖₂
//! g ← ∇f(θ + ε) on the same batch; what stands behind steps from θ
//! ```
//! For networks that should generalise: flat minima, at two gradients a step. No memory. Stages before it act on the gradient
//! that points to the neighbour, stages behind it on the neighbour's. As optax's `contrib.sam` with a normalised adversary and
//! pytorch-optimizer's `SAM` (which adds 10⁻¹² to the norm); PyTorch and Keras do not have it. The objective's and the chain's
//! penalties stay outside, taken at θ, as in the paper. A gradient of 0, or one that is not finite, stays as it is. The norm is
//! that of all parameters: a group that does not hold them all is refused.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Float, Needs, StepError, Tensor};

use super::{Make, Stage};
use crate::about::about;
use crate::method::{Before, Step};
use crate::rules::Values;
use crate::vector::fuse;
use crate::whole::Elsewhere;

/// The gradient of the worst point within ρ.
pub static SAM: Stage = Stage {
    name: "sam",
    summary: "takes the gradient at the worst point within rho (two gradients a step): flat minima",
    about: about!("sam.rs"),
    hyper: &[
        Hyper::new("rho", 0.05, Range::NON_NEGATIVE, "ρ, the distance to that point; parameter units"),
        Hyper::new("adaptive", 0.0, Range::SWITCH, "distances are relative to each parameter's size"),
    ],
    before: true,
    make: Make::Whole(make, make),
};

struct Sam<F: Float> {
    rho: f64,
    adaptive: bool,
    there: Elsewhere<F>,
}

fn make<F: Float>(values: &Values<'_>, _: &[&Tensor]) -> Box<dyn Before<F>> {
    Box::new(Sam { rho: values.get("rho"), adaptive: values.is("adaptive"), there: Elsewhere::new() })
}

impl<F: Float> Before<F> for Sam<F> {
    fn needs(&self) -> Needs {
        Needs { reevaluation: true, ..Needs::default() }
    }

    fn before(&mut self, step: &mut Step<'_, '_, F>) -> Result<(), StepError> {
        let adaptive = self.adaptive;
        let scale = F::from_f64(step.scale);
        let rows = step.parts.iter_mut().map(|part| {
            let (theta, g) = part.both();
            ([theta, g], ())
        });
        let [squares] = fuse(step.threads, rows, |[theta, g], (), [squares]| {
            for ((theta, g), square) in theta.iter().zip(g).zip(squares) {
                let x = (*g * scale).to_f64() * if adaptive { theta.to_f64() } else { 1.0 };
                *square = x * x;
            }
        });
        let norm = squares.sqrt();
        if norm == 0.0 || !norm.is_finite() || self.rho == 0.0 {
            return Ok(());
        }
        let far = F::from_f64(step.scale * self.rho / norm);
        self.there.set_along(step, |theta, g| {
            let along = far * g;
            theta + if adaptive { theta * theta * along } else { along }
        });
        let total = self.there.gradient(step, SAM.name)?;
        for part in &mut step.parts {
            let from = self.there.grad(part.tensor);
            part.grad().copy_from_slice(from);
        }
        step.scale = 1.0 / total.weight;
        Ok(())
    }
}
