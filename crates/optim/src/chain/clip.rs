//! Clipping, as in PyTorch: by global norm, Pascanu, Mikolov & Bengio 2013, <https://arxiv.org/abs/1211.5063>, and by value.
//! Where both stand in a chain they act in the order in which they are written.

use thalweg_core::Real;
use thalweg_core::hyper::{Hyper, Range};

use super::{Make, Stage};
use crate::about::about;

/// Clipping by the global norm: g ← g·min(1, max/(‖g‖₂ + 10⁻⁶)), over all parameters.
///
/// ‖g‖ is that of the mean gradient of the loss; the l2 penalty and coupled decay are added afterwards.
pub static CLIP: Stage = Stage {
    name: "clip",
    summary: "g ← g·min(1, max_norm/‖g‖₂), over all parameters",
    about: about!("clip.rs"),
    hyper: &[Hyper::required("max_norm", Range::POSITIVE, "the largest norm that passes; gradient units")],
    before: true,
    make: Make::Clip,
};

/// Clipping by value: each coordinate is cut to [−limit, limit].
pub static CLIP_VALUE: Stage = Stage {
    name: "clip_value",
    summary: "each coordinate of g is cut to [−clip_value, clip_value]",
    about: about!("clip.rs"),
    hyper: &[Hyper::required(
        "clip_value",
        Range::POSITIVE,
        "the largest absolute value that passes; gradient units",
    )],
    before: true,
    make: Make::ClipValue,
};

/// The factor of [`CLIP`] for a gradient of this norm. PyTorch's 10⁻⁶ keeps a norm of 0 from dividing.
pub(crate) fn factor<X: Real>(norm: X, max_norm: X) -> X {
    (max_norm / (norm + X::from_f64(1e-6))).at_most(X::one())
}
