//! NovoGrad. Ginsburg et al. 2019, Algorithm 1, <https://arxiv.org/abs/1905.11286>.
//! ```text
//! v ← ‖g‖²                             t = 1
//! v ← β₂ v + (1 − β₂) ‖g‖²             t = 2, 3, …
//! m ← β₁ m + (g / (√v + ε) + λ θ)
//! θ ← θ − η m
//! ```
//! ‖g‖ is the norm over one tensor, so that v is one number for each: Adam's normalisation by layers, with half of its memory. For
//! speech and image models, and wherever gradients of layers differ by orders of magnitude.
//!
//! Memory: one number per parameter, and one per tensor (in f64).
//!
//! Differs from the paper: nowhere; as there, m sums up to 1/(1 − β₁) gradients of norm 1. optax is the same; pytorch-optimizer can
//! average instead of summing. PyTorch and Keras have no NovoGrad.

use thalweg_core::Float;
use thalweg_core::hyper::{Hyper, Range};

use super::{Decay, Entry, Kind, Momentum, Room, Values, adam, no_conflict};
use crate::method::Method;
use crate::scaled::{Factor, Scaled, Sizes};

pub(super) static NOVOGRAD: Entry = Entry {
    name: "novograd",
    summary: "momentum on gradients that are divided by each tensor's running norm",
    source: "Ginsburg et al. 2019, Algorithm 1",
    lr: 1e-3,
    hyper: &[
        Hyper { doc: "decay β₁ of the sum m of normalised gradients per step", ..adam::BETA1 },
        Hyper {
            default: 0.25, doc: "decay β₂ of each tensor's mean squared norm v per step", ..adam::BETA2
        },
        Hyper { default: 1e-6, doc: "ε, added to √v; gradient units", ..adam::EPS },
        Hyper::new("weight_decay", 0.0, Range::NON_NEGATIVE, "λ: λθ is added to the normalised gradient"),
    ],
    decay: Decay::Coupled,
    kind: Kind::Tensor,
    rest: None,
    conflict: no_conflict,
    make: (make, make),
};

struct Normed {
    beta2: f64,
    eps: f64,
}

impl Factor for Normed {
    const NAME: &'static str = "novograd";
    const MEMORY: Option<&'static str> = Some("v");

    fn factor(&self, Sizes { t, g, decay, .. }: Sizes, v: &mut f64) -> (f64, f64) {
        *v = if t == 1 { g * g } else { self.beta2 * *v + (1.0 - self.beta2) * g * g };
        let size = v.sqrt() + self.eps;
        // With ε = 0 a tensor that has had no gradient has none now.
        (if size > 0.0 { 1.0 / size } else { 0.0 }, decay)
    }
}

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let normed = Normed { beta2: v.get("beta2"), eps: v.get("eps") };
    let sum = Momentum { momentum: v.get("beta1"), dampening: 0.0 };
    Box::new(Scaled::new(normed, sum, 1.0, room.tensors))
}
