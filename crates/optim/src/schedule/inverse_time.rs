//! Inverse time decay, the rate of Robbins and Monro 1951: its sum diverges, that of its squares does not.

use thalweg_core::hyper::{Hyper, Range};

use super::{Curve, EVERY};

/// lr/(1 + decay·k/every).
pub static INVERSE_TIME: Curve = Curve {
    name: "inverse_time",
    formula: "lr/(1 + decay·k/every)",
    hyper: &[Hyper::new("decay", 1.0, Range::NON_NEGATIVE, "how much the divisor grows per `every`")],
    lengths: &[EVERY],
    rate: |now| now.lr / (1.0 + now.hyper[0] * now.k / now.lengths[0]),
    ..Curve::PLAIN
};
