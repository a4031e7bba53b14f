//! A rate that falls by a factor at each of some points in time: PyTorch's `MultiStepLR`. The points count from the
//! start of the run; two at the same step are two factors.

use thalweg_core::expr::Duration;
use thalweg_core::hyper::{Hyper, Range};

use super::{Curve, Points, power};

/// lr·γ^(number of points up to k).
pub static MULTISTEP: Curve = Curve {
    name: "multistep",
    formula: "lr·gamma^(points passed), as in multistep(0.1, 30 epochs, 60 epochs)",
    hyper: &[Hyper::new("gamma", 0.1, Range::POSITIVE, "the factor γ")],
    at: Some(Points {
        default: &[Duration::Percent(50.0), Duration::Percent(75.0)],
        doc: "a time from the start of the run at which the rate changes; any number of them",
    }),
    rate: |now| {
        let passed = now.at.iter().filter(|at| **at <= now.k).count();
        now.lr * power(now.hyper[0], passed as f64)
    },
    ..Curve::PLAIN
};
