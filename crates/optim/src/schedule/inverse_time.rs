//! Inverse time decay, the rate of Robbins and Monro 1951: its sum diverges, that of its squares does not.

use thalweg_core::hyper::{Hyper, Range};

use super::{Curve, EVERY};

/// lr/(1 + decay·k/every).
pub static INVERSE_TIME: Curve = Curve {
    name: "inverse_time",
    formula: "lr/(1 + decay·k/every)",
    hyper: &[Hyper::new("decay", 1.0, Range::NON_NEGATIVE, "how much the divisor grows per `every`")],
    lengths: &[EVERY],
    rate: |lr, h, every, k| lr / (1.0 + h[0] * k / every[0]),
};
