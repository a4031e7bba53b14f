//! What stands around a rule in a chain, as in `clip(1) | adam | ema(0.999)`: one file for each stage.

pub mod clip;
pub mod ema;

use thalweg_core::hyper::Hyper;

/// A stage around a rule, as the registry describes it.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// The name in expressions.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Its values.
    pub hyper: &'static [Hyper],
    /// Whether it stands before the rule (on the gradient) or after it (on the weights).
    pub before: bool,
}

/// All stages.
pub static STAGES: [&Stage; 3] = [&clip::CLIP, &clip::CLIP_VALUE, &ema::EMA];
