//! A rate that rises from `base_lr` to `lr` and falls back, again and again. Smith 2017,
//! <https://arxiv.org/abs/1506.01186>: PyTorch's `CyclicLR`, where `lr` is `max_lr`, `up` and `down` are
//! `step_size_up` and `step_size_down`, and the momentum stays as it is. It has no end.

use thalweg_core::expr::Duration;
use thalweg_core::hyper::{Hyper, Range};

use super::{Choice, Curve, Length, power};

/// base_lr + (lr − base_lr)·height·mode: the height rises from 0 to 1 over `up`, and falls to 0 over `down`.
pub static CYCLIC: Curve = Curve {
    name: "cyclic",
    formula: "base_lr + (lr − base_lr)·height·(1, 2^−cycle or gamma^k), height from 0 up to 1 and back",
    lr: "the highest rate; parameter units per step",
    hyper: &[
        Hyper::new("base_lr", 0.0, Range::NON_NEGATIVE, "the lowest rate"),
        Hyper::new(
            "gamma",
            1.0,
            Range::new(0.0, true, 1.0, false),
            "the height's factor per step; exp_range's alone",
        ),
    ],
    choices: &[Choice {
        name: "mode",
        words: &["triangular", "triangular2", "exp_range"],
        doc: "heights stay, are halved each cycle, or shrink by gamma a step",
    }],
    lengths: &[
        Length::new("up", Duration::Epochs(2.0), "the time of the rise"),
        Length {
            like: Some("up"),
            ..Length::new(
                "down",
                Duration::Epochs(2.0),
                "the time of the fall; up's where only that is given",
            )
        },
    ],
    rate: |now| {
        let (base, [up, down]) = (now.hyper[0], [now.lengths[0], now.lengths[1]]);
        let cycle = (now.k / (up + down)).floor();
        let j = now.k % (up + down);
        let height = if j <= up { j / up } else { (up + down - j) / down };
        let mode = match now.choices[0] {
            0 => 1.0,
            1 => power(0.5, cycle),
            _ => power(now.hyper[1], now.k),
        };
        base + (now.lr - base) * (height * mode).clamp(0.0, 1.0)
    },
    ..Curve::PLAIN
};
