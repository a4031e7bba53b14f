//! The same rate at every step.

use super::Curve;

/// lr.
pub static CONSTANT: Curve = Curve { name: "constant", ..Curve::PLAIN };
