//! Dynamic loss scaling for gradients in half precision. Micikevicius et al. 2018, section 3.2, <https://arxiv.org/abs/1710.03740>;
//! values and defaults as PyTorch's `GradScaler`.
//! ```text
//! g is given as S·g and divided by S before anything else looks at it
//! not finite:                   no step,  S ← S·backoff
//! `interval` finite in a row:   S ← S·growth
//! ```
//! Who computes gradients multiplies by `Optimizer::loss_scale` (the loop does). There is one S for all groups: it is that of the
//! first chain that asks for one. With powers of two, scaling changes no bit of a gradient that neither overflows nor underflows.
//! After 50 steps in a row that are not finite, which no overflow explains, the next one is told as a divergence.

use thalweg_core::hyper::{Hyper, Range};

use super::{Make, Stage};
use crate::about::about;

/// Gradients come multiplied by a scale that adapts; a step that overflowed is left out.
pub static LOSS_SCALE: Stage = Stage {
    name: "loss_scale",
    summary: "takes gradients multiplied by S; halves S and makes no step where one is not finite",
    about: about!("loss_scale.rs"),
    hyper: &[
        Hyper::new("init", 65536.0, Range::POSITIVE, "S at the start"),
        Hyper::new("growth", 2.0, Range::new(1.0, true, f64::INFINITY, true), "S grows by this factor"),
        Hyper::new("backoff", 0.5, Range::INSIDE_UNIT, "S shrinks by this factor"),
        Hyper::new("interval", 2000.0, Range::COUNT, "finite steps in a row before S grows"),
    ],
    before: true,
    make: Make::LossScale,
};
