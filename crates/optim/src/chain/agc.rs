//! Adaptive gradient clipping. Brock, De, Smith & Simonyan 2021, equation 3, <https://arxiv.org/abs/2102.06171>.
//! ```text
//! where ‖gᵢ‖ > λ·max(‖θᵢ‖, ε):   gᵢ ← gᵢ·λ·max(‖θᵢ‖, ε)/‖gᵢ‖        i: a unit
//! ```
//! A unit of a tensor with several axes is what leads to one output: all numbers at one place of the axis named `out` (of the first
//! axis where none is). A vector is one unit, as in optax and the authors' code.
//!
//! Differs from optax and pytorch-optimizer for tensors of three axes: they take the norm over one axis only.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Float, StepError, Tensor, Threads};

use super::units::Units;
use super::{Make, Stage};
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
        let (scale, threads) = (step.scale, step.threads);
        for part in &mut step.parts {
            let several = part.tensor.shape.len() > 1;
            let units = if several { Units::of(part.tensor) } else { Units::one(part.tensor.len()) };
            let (theta, grad) = part.both();
            let factor = |(size, theta): (f64, f64)| {
                let (size, largest) = (size * scale, self.clipping * theta.max(self.eps));
                if size > largest { largest / size.max(1e-6) } else { 1.0 }
            };
            let both = norms(units, threads, grad).into_iter().zip(norms(units, threads, theta));
            let factors: Vec<f64> = both.map(factor).collect();
            if factors.iter().any(|&factor| factor != 1.0) {
                let factors: Vec<F> = factors.into_iter().map(F::from_f64).collect();
                units.change(threads, grad, &factors, |g, factor| g * factor);
            }
        }
        Ok(())
    }
}

/// ‖x‖₂ of each unit. Where squares leave the range of f64 the numbers are divided by the largest.
fn norms<F: Float>(units: Units, threads: &Threads, x: &[F]) -> Vec<f64> {
    let sums = units.sums(threads, x, |x| x * x);
    let norm = |(unit, sum): (usize, f64)| {
        // As for the norm of all: below 1e-270 squares may have lost digits that count. Those of f32 are always above.
        if sum.is_nan() || F::BYTES == 4 || (sum > 1e-270 && sum < f64::INFINITY) {
            return sum.sqrt();
        }
        let top = units.numbers(x, unit).fold(0.0f64, |top, x| top.max(x.to_f64().abs()));
        if top == 0.0 || top == f64::INFINITY {
            return top;
        }
        let power = libm::ldexp(1.0, (-libm::frexp(top).1).clamp(-1000, 1000));
        let squares = units.numbers(x, unit).map(|x| x.to_f64() * power).fold(0.0, |sum, x| sum + x * x);
        squares.sqrt() / power
    };
    sums.into_iter().enumerate().map(norm).collect()
}
