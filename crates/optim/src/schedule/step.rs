//! A rate that falls by a factor at equal distances: PyTorch's `StepLR`.

use thalweg_core::hyper::{Hyper, Range};

use super::{Curve, EVERY, power};

/// lr·γ^⌊k/every⌋.
pub static STEP: Curve = Curve {
    name: "step",
    formula: "lr·gamma^⌊k/every⌋",
    hyper: &[Hyper::new("gamma", 0.1, Range::POSITIVE, "the factor γ")],
    lengths: &[EVERY],
    rate: |now| now.lr * power(now.hyper[0], (now.k / now.lengths[0]).floor()),
    ..Curve::PLAIN
};
