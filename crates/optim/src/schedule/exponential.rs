//! A rate that falls smoothly by a factor in equal times: PyTorch's `ExponentialLR` when `every` is one of its steps.

use thalweg_core::hyper::{Hyper, Range};

use super::{Curve, EVERY, power};

/// lr·γ^(k/every).
pub static EXPONENTIAL: Curve = Curve {
    name: "exponential",
    formula: "lr·gamma^(k/every)",
    hyper: &[Hyper::new("gamma", 0.95, Range::POSITIVE, "the factor γ per `every`")],
    lengths: &[EVERY],
    rate: |now| now.lr * power(now.hyper[0], now.k / now.lengths[0]),
    ..Curve::PLAIN
};
