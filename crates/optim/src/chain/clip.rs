//! Clipping, as in PyTorch: by global norm, Pascanu, Mikolov & Bengio 2013, <https://arxiv.org/abs/1211.5063>, and by value.
//! Where both stand in a chain they act in the order in which they are written.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Float, Real};

use super::{Make, Stage};
use crate::about::about;
use crate::assembled::Early;

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

/// What a chain's clipping comes to at a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Clipped {
    /// The gradients are to be multiplied by this,
    pub scale: f64,
    /// and then cut to ± this.
    pub limit: f64,
    /// Whether a norm was too large.
    pub clipped: bool,
}

impl Clipped {
    /// Nothing clipped yet of gradients that are to be multiplied by `scale`.
    pub fn new(scale: f64) -> Self {
        Self { scale, limit: f64::INFINITY, clipped: false }
    }

    /// The next stage is [`CLIP`]; `norm` is that of the gradients as they were given, each number cut to ± its argument.
    pub fn by_norm(&mut self, max: f64, norm: impl FnOnce(f64) -> f64) {
        // Cutting at c and then scaling by f is scaling by f and then cutting at c·f.
        let raw = if self.limit == f64::INFINITY { f64::INFINITY } else { self.limit / self.scale };
        let factor = factor(norm(raw) * self.scale, max);
        self.scale *= factor;
        self.limit *= factor;
        self.clipped |= factor < 1.0;
    }

    /// The next stage is [`CLIP_VALUE`].
    pub fn by_value(&mut self, limit: f64) {
        self.limit = self.limit.min(limit);
    }

    /// All clipping stages of a chain in their order, from `scale` on; others are passed over.
    pub fn of<F: Float>(early: &[Early<F>], scale: f64, norm: impl Fn(f64) -> f64) -> Self {
        let mut clipped = Self::new(scale);
        for stage in early {
            match stage {
                Early::Clip(max) => clipped.by_norm(*max, &norm),
                Early::ClipValue(limit) => clipped.by_value(*limit),
                Early::Pass(_) => {}
            }
        }
        clipped
    }
}
