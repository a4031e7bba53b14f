//! A rate that falls with the root of time. With `every` as long as the warm-up w it is the one of Vaswani et al. 2017,
//! <https://arxiv.org/abs/1706.03762>: lr·√(w/t) at the step t ≥ w of the run.

use super::{Curve, EVERY, Length};

/// lr/√(1 + k/every).
pub static INVERSE_SQRT: Curve = Curve {
    name: "inverse_sqrt",
    formula: "lr/√(1 + k/every)",
    lengths: &[Length { doc: "the time in which the rate falls to lr/√2; often the warm-up's", ..EVERY }],
    rate: |now| now.lr / (1.0 + now.k / now.lengths[0]).sqrt(),
    ..Curve::PLAIN
};
