//! The same rate at every step.

use super::Curve;

/// lr.
pub static CONSTANT: Curve =
    Curve { name: "constant", formula: "lr", hyper: &[], lengths: &[], rate: |lr, _, _, _| lr };
