//! A rate that falls to `end` along a power of the time left: PyTorch's `PolynomialLR` with `end = 0`; linear by
//! default.

use thalweg_core::hyper::{Hyper, Range};

use super::{Curve, OVER, power};

/// end + (lr − end)·(1 − k/n)^power, held at `end` from k = n.
pub static POLYNOMIAL: Curve = Curve {
    name: "polynomial",
    formula: "end + (lr − end)·(1 − min(k, n)/n)^power",
    hyper: &[
        Hyper::new("power", 1.0, Range::POSITIVE, "the exponent; 1 is a straight line"),
        Hyper::new("end", 0.0, Range::NON_NEGATIVE, "the last rate"),
    ],
    lengths: &[OVER],
    rate: |now| {
        let ([exponent, end], n) = ([now.hyper[0], now.hyper[1]], now.lengths[0]);
        end + (now.lr - end) * power(1.0 - now.k.min(n) / n, exponent)
    },
    ..Curve::PLAIN
};
