//! Gradient noise. Neelakantan, Vilnis, Le, Sutskever, Kaiser, Kurach & Martens 2015, equation 1,
//! <https://arxiv.org/abs/1511.06807>.
//! ```text
//! g ← g + N(0, σ²)        σ² = η/tᵞ        t = 1, 2, …
//! ```
//! g is the mean gradient. As optax's `add_noise`; other numbers, since ours come from (seed, step, place of the coordinate): the
//! same on any number of threads.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Float, StepError, Tensor};

use super::{Make, Stage};
use crate::about::about;
use crate::method::{Before, Step};
use crate::rules::Values;

/// Adds normal noise that fades to the mean gradient.
pub static NOISE: Stage = Stage {
    name: "noise",
    summary: "g ← g + N(0, σ²), σ² = eta/t^gamma",
    about: about!("noise.rs"),
    hyper: &[
        Hyper::new(
            "eta",
            0.01,
            Range::NON_NEGATIVE,
            "η, the variance at the first step; gradient units squared",
        ),
        Hyper::new("gamma", 0.55, Range::NON_NEGATIVE, "γ, how fast the variance falls"),
    ],
    before: true,
    make: Make::Before(make, make),
};

struct Noise {
    eta: f64,
    gamma: f64,
}

fn make<F: Float>(values: &Values<'_>, _: &[&Tensor]) -> Box<dyn Before<F>> {
    Box::new(Noise { eta: values.get("eta"), gamma: values.get("gamma") })
}

impl<F: Float> Before<F> for Noise {
    fn before(&mut self, step: &mut Step<'_, '_, F>) -> Result<(), StepError> {
        let sigma = (self.eta / libm::pow(step.t as f64, self.gamma)).sqrt();
        if sigma == 0.0 {
            return Ok(());
        }
        let (size, threads) = (sigma / step.scale, step.threads);
        // Steps keep apart from seeds: an odd factor is a permutation of all steps.
        let key = step.seed ^ step.at.step.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
        for part in &mut step.parts {
            let place = part.place;
            crate::vector::each_at(threads, part.grad(), |from, grad| {
                for (i, g) in grad.iter_mut().enumerate() {
                    let mut stream = Stream::new(key, Purpose::Noise, place + (from + i) as u64);
                    *g = F::from_f64(g.to_f64() + size * stream.normal());
                }
            });
        }
        Ok(())
    }
}
