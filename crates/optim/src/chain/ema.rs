//! An exponential moving average of the weights. Polyak & Juditsky 1992 (averaging); as PyTorch's `AveragedModel` with
//! `get_ema_multi_avg_fn`.

use thalweg_core::hyper::{Hyper, Range};

use super::{Make, Stage};
use crate::about::about;

/// θ̄ ← θ after the first step, then θ̄ ← θ̄ + (1 − decay)·(θ − θ̄). Validation and the saved model use θ̄; before the first step
/// there is none, and its buffer holds NaN.
pub static EMA: Stage = Stage {
    name: "ema",
    summary: "validates and saves θ̄ ← decay·θ̄ + (1 − decay)·θ in place of θ",
    about: about!("ema.rs"),
    hyper: &[Hyper::new("decay", 0.999, Range::UNIT, "share of the average that stays per step")],
    before: false,
    make: Make::Ema,
};
