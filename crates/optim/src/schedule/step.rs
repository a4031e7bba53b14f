//! A rate that falls by a factor at equal distances: PyTorch's `StepLR`.

use thalweg_core::hyper::{Hyper, Range};

use super::{Curve, EVERY};

/// lr·γ^⌊k/every⌋.
pub static STEP: Curve = Curve {
    name: "step",
    formula: "lr·gamma^⌊k/every⌋",
    hyper: &[Hyper::new("gamma", 0.1, Range::POSITIVE, "the factor γ")],
    lengths: &[EVERY],
    rate: |lr, h, every, k| lr * libm::pow(h[0], (k / every[0]).floor()),
};
