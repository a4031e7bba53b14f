//! A rate that falls by a factor when scores have stopped to improve: PyTorch's `ReduceLROnPlateau`. It needs
//! [`Schedule::observe`](super::Schedule::observe) after each validation; without scores it stays where it is.
//! ```text
//! better: score < best·(1 − threshold) (rel) or best − threshold (abs); mode max: > and + in their places
//! more than `patience` scores in a row that are not better:  lr ← max(factor·lr, min_lr), unless within eps of lr
//! the next `cooldown` scores do not count
//! ```

use thalweg_core::hyper::{Hyper, Range};

use super::{Choice, Curve};

const FACTOR: usize = 0;
const PATIENCE: usize = 1;
const THRESHOLD: usize = 2;
const COOLDOWN: usize = 3;
const MIN_LR: usize = 4;
const EPS: usize = 5;

/// lr, times `factor` for each time that the scores have stood still.
pub static PLATEAU: Curve = Curve {
    name: "plateau",
    formula: "lr·factor^(times that scores stood still for more than patience), at least min_lr",
    hyper: &[
        Hyper::new("factor", 0.1, Range::INSIDE_UNIT, "what the rate is multiplied by"),
        Hyper::new("patience", 10.0, Range::NON_NEGATIVE, "scores without a better one that are borne"),
        Hyper::new("threshold", 1e-4, Range::NON_NEGATIVE, "how much better a score must be to count"),
        Hyper::new("cooldown", 0.0, Range::NON_NEGATIVE, "scores after a change that do not count"),
        Hyper::new("min_lr", 0.0, Range::NON_NEGATIVE, "the lowest rate"),
        Hyper::new("eps", 1e-8, Range::NON_NEGATIVE, "a change no larger than this is not made"),
    ],
    choices: &[
        Choice {
            name: "mode",
            words: &["min", "max"],
            doc: "which score is better: the smaller or the larger",
        },
        Choice {
            name: "threshold_mode",
            words: &["rel", "abs"],
            doc: "whether threshold is a share of the best score",
        },
    ],
    follows_scores: true,
    rate: |now| lowered(now.lr, now.scale, now.hyper[MIN_LR]),
    ..Curve::PLAIN
};

/// The rate after all changes so far; a rate below `min_lr` from the start is left there.
fn lowered(lr: f64, scale: f64, min_lr: f64) -> f64 {
    (lr * scale).max(min_lr.min(lr))
}

/// What scores leave behind.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The best score; NaN before the first.
    best: f64,
    /// Scores since then.
    bad: f64,
    /// Scores that still do not count.
    cooldown: f64,
    /// The product of all changes.
    scale: f64,
}

impl Default for Seen {
    fn default() -> Self {
        Self { best: f64::NAN, bad: 0.0, cooldown: 0.0, scale: 1.0 }
    }
}

impl Seen {
    /// The factor of the rate, of [0, 1] whatever was restored.
    pub fn scale(&self) -> f64 {
        if self.scale >= 0.0 { self.scale.min(1.0) } else { 0.0 }
    }

    pub fn named(&self) -> Vec<(&'static str, f64)> {
        let Self { best, bad, cooldown, scale } = *self;
        NAMES.into_iter().zip([best, bad, cooldown, scale]).collect()
    }

    pub fn named_mut(&mut self) -> Vec<(&'static str, &mut f64)> {
        let Self { best, bad, cooldown, scale } = self;
        NAMES.into_iter().zip([best, bad, cooldown, scale]).collect()
    }

    /// A score, where the rate started from `lr`.
    pub fn observe(&mut self, lr: f64, hyper: &[f64], choices: &[usize], score: f64) {
        let threshold = hyper[THRESHOLD];
        let better = match (choices[0], choices[1]) {
            _ if self.best.is_nan() => score.is_finite(),
            (0, 0) => score < self.best * (1.0 - threshold),
            (0, _) => score < self.best - threshold,
            (_, 0) => score > self.best * (1.0 + threshold),
            (_, _) => score > self.best + threshold,
        };
        (self.best, self.bad) = if better { (score, 0.0) } else { (self.best, self.bad + 1.0) };
        if self.cooldown > 0.0 {
            (self.cooldown, self.bad) = (self.cooldown - 1.0, 0.0);
        }
        if self.bad > hyper[PATIENCE] {
            let scale = self.scale() * hyper[FACTOR];
            let (old, new) = (lowered(lr, self.scale(), hyper[MIN_LR]), lowered(lr, scale, hyper[MIN_LR]));
            if old - new > hyper[EPS] {
                self.scale = scale;
            }
            (self.cooldown, self.bad) = (hyper[COOLDOWN], 0.0);
        }
    }
}

const NAMES: [&str; 4] = ["plateau_best", "plateau_bad", "plateau_cooldown", "plateau_scale"];
