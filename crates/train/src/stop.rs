//! [`Stop`]: why a run ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The reason for the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Every epoch was run.
    Epochs,
    /// The gradient is within `tolerance` of 0 in every coordinate.
    Gradient,
    /// The objective changed by less than `loss_tolerance` of itself in ten epochs in a row.
    Loss,
    /// The monitored loss did not improve for `patience` epochs.
    Patience,
    /// Loss or weights stopped being finite, or the loss grew beyond all bounds.
    Diverged,
    /// Someone asked the run to end.
    Interrupted,
}

impl Stop {
    /// The word in files and documents: `epochs`, `gradient`, …
    pub fn word(self) -> &'static str {
        match self {
            Stop::Epochs => "epochs",
            Stop::Gradient => "gradient",
            Stop::Loss => "loss",
            Stop::Patience => "patience",
            Stop::Diverged => "diverged",
            Stop::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stop::Epochs => "all epochs run",
            Stop::Gradient => "converged, the gradient within the tolerance",
            Stop::Loss => "converged, the loss at rest",
            Stop::Patience => "no improvement within the patience",
            Stop::Diverged => "diverged",
            Stop::Interrupted => "interrupted",
        })
    }
}
