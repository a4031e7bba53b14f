//! A rate that goes from one share of `lr` to another in a straight line: PyTorch's `LinearLR`, with its defaults,
//! but for `over`, which is 5 steps there. The straight line down to 0 is `linear(start_factor=1, end_factor=0)`, or
//! `polynomial`.

use thalweg_core::hyper::{Hyper, Range};

use super::{Curve, OVER};

/// lr·(start_factor + (end_factor − start_factor)·k/n), held from k = n.
pub static LINEAR: Curve = Curve {
    name: "linear",
    formula: "lr·(start_factor + (end_factor − start_factor)·min(k, n)/n)",
    lr: "the rate that the factors multiply; parameter units per step",
    hyper: &[
        Hyper::new("start_factor", 1.0 / 3.0, Range::FRACTION, "the factor at the start"),
        Hyper::new("end_factor", 1.0, Range::FRACTION, "the factor at the end"),
    ],
    lengths: &[OVER],
    rate: |now| {
        let ([start, end], x) = ([now.hyper[0], now.hyper[1]], now.k.min(now.lengths[0]) / now.lengths[0]);
        now.lr * (start + (end - start) * x)
    },
    ..Curve::PLAIN
};
