//! Schedules one after another: PyTorch's `SequentialLR`, optax's `join_schedules`. Each counts its steps and its
//! percentages from where it begins to where the next one does; the last one runs to the end of the run and holds
//! what it ends with.

use super::{Curve, Horizon, Points};

/// The rate of the schedule whose time it is. The first one's rate is that of those that say none.
pub static SEQUENTIAL: Curve = Curve {
    name: "sequential",
    formula: "one schedule after another, as in sequential(linear(0.1), cosine, at=5 epochs)",
    lr: "the rate of the first schedule, and of those that say none; parameter units per step",
    at: Some(Points {
        default: &[],
        doc: "when the next schedule begins, from the start of the run; without it they share the run",
    }),
    joins: true,
    rate: |now| {
        let (mut now_at, mut begins) = (0, 0.0f64);
        // What begins before the one before it begins with it.
        let begin = |i: usize| now.at[..i].iter().fold(0.0, |last: f64, at| last.max(*at));
        for i in 1..now.parts.len() {
            if begin(i) <= now.k {
                (now_at, begins) = (i, begin(i));
            }
        }
        let ends = if now_at < now.at.len() { begin(now_at + 1) } else { now.rest.steps as f64 };
        let part = &now.parts[now_at];
        let horizon = Horizon { steps: (ends - begins).max(0.0) as u64, ..now.rest };
        part.rate_at(part.lr.unwrap_or(now.lr), (now.k - begins) as u64, horizon)
    },
    ..Curve::PLAIN
};
