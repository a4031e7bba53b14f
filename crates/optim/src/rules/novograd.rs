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

use super::{Decay, Entry, Kind, Momentum, Room, USUAL, Values, adam};
use crate::about::about;
use crate::arithmetic::ratio;
use crate::method::Method;
use crate::rule::Scalar;
use crate::scaled::{Factor, Scaled, Sizes};

pub(super) static NOVOGRAD: Entry = Entry {
    name: "novograd",
    summary: "momentum on gradients that are divided by each tensor's running norm",
    source: "Ginsburg et al. 2019, Algorithm 1",
    about: about!("novograd.rs"),
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
    make: (make, make),
    ..USUAL
};

struct Normed;

impl Factor for Normed {
    const NAME: &'static str = "novograd";
    const MEMORY: Option<&'static str> = Some("v");
    const HYPER: [&'static str; 2] = ["beta2", "eps"];
    const RENAMED: &'static [(&'static str, &'static str)] = &[("momentum", "beta1")];

    fn factor<X: Scalar>([beta2, eps]: [X; 2], sizes: Sizes<X>, v: X) -> (X, X, X) {
        let Sizes { t, g, decay, .. } = sizes;
        let one = X::one();
        let v = X::select(one.lt(t), beta2 * v + (one - beta2) * g * g, g * g);
        // With ε = 0 a tensor that has had no gradient has none now.
        (ratio(one, v.sqrt() + eps), decay, v)
    }
}

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let sum = Momentum { momentum: v.get("beta1"), dampening: 0.0 };
    Box::new(Scaled::<Normed, _, _, _>::new(v, sum, 1.0, room.tensors))
}
