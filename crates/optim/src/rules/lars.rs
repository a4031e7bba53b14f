//! LARS: layer-wise rates for large batches. You, Gitman & Ginsburg 2017, Algorithm 1, <https://arxiv.org/abs/1708.03888>.
//! ```text
//! r ← κ ‖θ‖ / (‖g‖ + λ ‖θ‖ + ε)      1 where ‖θ‖ = 0 or ‖g‖ + λ‖θ‖ = 0
//! b ← μ b + r (g + λ θ)
//! θ ← θ − η (1 − τ) b                 nesterov:  θ ← θ − η (r (g + λ θ) + μ b)
//! ```
//! The norms are those of one tensor: each moves by a set share of its own length, whatever the size of its gradient. For
//! convolutional networks on batches of thousands; η is then of order 1 to 10, times κ = 0.001.
//!
//! Memory: one number per parameter (none without momentum).
//!
//! Differs from the paper: η multiplies b and not each gradient on entry (the same while η stays), as in pytorch-optimizer, whose
//! dampening τ is here too. There vectors take plain momentum steps without decay; here, as in optax, all tensors are alike. optax
//! divides by ‖g + λθ‖, not by the paper's sum of norms, and multiplies by η on entry into b. PyTorch and Keras have no LARS.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Float, Tensor};

use super::{COUPLED, Decay, Entry, Kind, Momentum, Nesterov, Room, Sgd, USUAL, Values, momentum};
use crate::about::about;
use crate::method::Method;
use crate::rule::Scalar;
use crate::scaled::{Factor, Scaled, Sizes};

pub(super) static LARS: Entry = Entry {
    name: "lars",
    summary: "momentum; each tensor moves by a share of its own norm, for very large batches",
    source: "You, Gitman & Ginsburg 2017, Algorithm 1",
    about: about!("lars.rs"),
    lr: 1.0,
    hyper: &[
        momentum::MOMENTUM,
        momentum::DAMPENING,
        COUPLED,
        Hyper::new(
            "trust_coefficient",
            1e-3,
            Range::POSITIVE,
            "κ: the share of ‖θ‖ that a gradient alone moves θ by, per η",
        ),
        Hyper::new("eps", 0.0, Range::NON_NEGATIVE, "ε, added to the gradient's norm; gradient units"),
        Hyper::new("nesterov", 0.0, Range::SWITCH, "take the gradient's look-ahead form"),
    ],
    decay: Decay::Coupled,
    kind: Kind::Tensor,
    conflict: |v| {
        if v.is("nesterov") && v.get("momentum") == 0.0 {
            Some(("nesterov", "nesterov=true needs a momentum above 0"))
        } else if v.is("nesterov") && v.get("dampening") != 0.0 {
            Some(("dampening", "nesterov=true has no dampening"))
        } else if v.get("momentum") == 0.0 && v.get("dampening") != 0.0 {
            Some(("dampening", "dampening acts on momentum, and momentum is 0"))
        } else {
            None
        }
    },
    make: (make, make),
    ..USUAL
};

struct Trust;

impl Factor for Trust {
    const NAME: &'static str = "lars";
    const MEMORY: Option<&'static str> = None;
    const HYPER: [&'static str; 2] = ["trust_coefficient", "eps"];
    const RENAMED: &'static [(&'static str, &'static str)] = &[];

    fn factor<X: Scalar>([coefficient, eps]: [X; 2], sizes: Sizes<X>, memory: X) -> (X, X, X) {
        let Sizes { g, theta, decay, .. } = sizes;
        let (one, pull) = (X::one(), g + decay * theta);
        let ratio = X::select(pull.is_zero(), one, coefficient * theta / (pull + eps));
        let ratio = X::select(theta.is_zero(), one, ratio);
        (ratio, ratio * decay, memory)
    }
}

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let (momentum, tensors): (f64, &[&Tensor]) = (v.get("momentum"), room.tensors);
    if momentum == 0.0 {
        Box::new(Scaled::<Trust, _, _, _>::new(v, Sgd, 1.0, tensors))
    } else if v.is("nesterov") {
        Box::new(Scaled::<Trust, _, _, _>::new(v, Nesterov { momentum }, 1.0, tensors))
    } else {
        Box::new(Scaled::<Trust, _, _, _>::new(
            v,
            Momentum { momentum, dampening: 0.0 },
            1.0 - v.get("dampening"),
            tensors,
        ))
    }
}
