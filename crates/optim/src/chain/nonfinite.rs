//! What happens at a gradient or a loss that is not finite. Without a stage: nothing is written and the run stops as diverged.
//!
//! One policy holds for all groups: that of the first chain that has one. The loss counts where the gradients' total carries one.

use thalweg_core::hyper::{Hyper, Range};

use super::{Make, Stage};
use crate::about::about;

/// Goes on without the step, as optax's `apply_if_finite` does. Differs from it after `in_a_row` such steps: optax then applies
/// them, we report a divergence.
pub static SKIP_NONFINITE: Stage = Stage {
    name: "skip_nonfinite",
    summary: "leaves out steps whose gradient or loss is not finite",
    about: about!("nonfinite.rs"),
    hyper: &[Hyper::new("in_a_row", 10.0, Range::COUNT, "so many steps may be left out one after the other")],
    before: true,
    make: Make::Skip,
};

/// Goes back to a copy of weights and memory and on from there with a smaller learning rate. The copy is taken before the first
/// step and after every `every` finite ones; it is saved with the memory. After ten steps in a row that are not finite the next
/// is reported as a divergence. As in no library that we know.
pub static ROLLBACK: Stage = Stage {
    name: "rollback",
    summary: "goes back to a copy of weights and memory where a step is not finite, and multiplies lr by factor",
    about: about!("nonfinite.rs"),
    hyper: &[
        Hyper::new("every", 100.0, Range::COUNT, "steps between two copies"),
        Hyper::new("factor", 0.5, Range::new(0.0, true, 1.0, false), "the learning rate's factor each time"),
    ],
    before: true,
    make: Make::Rollback,
};
