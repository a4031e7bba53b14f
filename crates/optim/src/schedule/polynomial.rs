//! A rate that falls to `end` along a power of the time left: PyTorch's `PolynomialLR` with `end = 0`; linear by default.

use thalweg_core::hyper::{Hyper, Range};

use super::{Curve, OVER};

/// end + (lr − end)·(1 − k/n)^power, held at `end` from k = n.
pub static POLYNOMIAL: Curve = Curve {
    name: "polynomial",
    formula: "end + (lr − end)·(1 − min(k, n)/n)^power",
    hyper: &[
        Hyper::new("power", 1.0, Range::POSITIVE, "the exponent; 1 is a straight line"),
        Hyper::new("end", 0.0, Range::NON_NEGATIVE, "the last rate"),
    ],
    lengths: &[OVER],
    rate: |lr, h, over, k| h[1] + (lr - h[1]) * libm::pow(1.0 - k.min(over[0]) / over[0], h[0]),
};
