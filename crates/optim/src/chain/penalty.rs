//! Penalties of a chain's own weights, beside the objective's: l1, l2 and both (elastic net: Zou & Hastie 2005,
//! <https://doi.org/10.1111/j.1467-9868.2005.00503.x>).
//!
//! They act as the objective's own `--l1` and `--l2` do and add to them: after clipping, on weights and never on biases; l2 through
//! the gradient (coupled), l1 by the proximal step in the rule's own metric, which gives exact zeros. PyTorch's `weight_decay` is
//! `l2`, on biases too; optax's `add_decayed_weights` before the rule is `l2`. What the loop prints as the loss and compares with
//! its tolerance knows the objective's penalty alone.

use thalweg_core::Penalty;
use thalweg_core::hyper::{Hyper, Range};

use super::{Make, Stage};

const L1: Hyper = Hyper::required("l1", Range::NON_NEGATIVE, "strength of l1·‖θ‖₁; loss per parameter unit");
const L2: Hyper =
    Hyper::required("l2", Range::NON_NEGATIVE, "strength of l2/2·‖θ‖²; loss per parameter unit squared");

/// l2·θ is added to the gradient of weights.
pub static L2_STAGE: Stage = Stage {
    name: "l2",
    summary: "adds l2/2·‖θ‖² of this chain's weights to the loss",
    hyper: &[L2],
    before: true,
    make: Make::Penalty(|v| Penalty { l1: 0.0, l2: v.get("l2") }),
};

/// |θ| shrinks by l1 times the rule's own step size: needs a rule that works coordinate by coordinate.
pub static L1_STAGE: Stage = Stage {
    name: "l1",
    summary: "adds l1·‖θ‖₁ of this chain's weights to the loss, by a proximal step",
    hyper: &[L1],
    before: true,
    make: Make::Penalty(|v| Penalty { l1: v.get("l1"), l2: 0.0 }),
};

/// Both.
pub static ELASTIC: Stage = Stage {
    name: "elastic",
    summary: "adds l1·‖θ‖₁ + l2/2·‖θ‖² of this chain's weights to the loss",
    hyper: &[L1, L2],
    before: true,
    make: Make::Penalty(|v| Penalty { l1: v.get("l1"), l2: v.get("l2") }),
};
