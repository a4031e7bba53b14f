//! One rise to `lr` and one long fall, far below where it began. Smith & Topin 2018,
//! <https://arxiv.org/abs/1708.07120>: PyTorch's `OneCycleLR`, where `lr` is `max_lr` and `over` is `total_steps`;
//! the momentum stays as it is.
//!
//! As there, the peak is one step before `pct_start` of n, and the end is at the last of the n steps, k = n − 1.

use thalweg_core::hyper::{Hyper, Range};

use super::{Choice, Curve, OVER, half_cosine};

const DIVISOR: Range = Range::new(1.0, false, f64::INFINITY, true);

/// From lr/div_factor to lr, and down to lr/div_factor/final_div_factor; with three phases by way of lr/div_factor.
pub static ONE_CYCLE: Curve = Curve {
    name: "one_cycle",
    formula: "lr/div_factor up to lr at pct_start·n, down to lr/div_factor/final_div_factor at n",
    lr: "the highest rate; parameter units per step",
    hyper: &[
        Hyper::new("pct_start", 0.3, Range::FRACTION, "the share of n in which the rate rises"),
        Hyper::new("div_factor", 25.0, DIVISOR, "lr divided by the first rate"),
        Hyper::new("final_div_factor", 1e4, DIVISOR, "the first rate divided by the last"),
        Hyper::new(
            "three_phase",
            0.0,
            Range::SWITCH,
            "fall to the first rate as fast as it rose, then to the last",
        ),
    ],
    choices: &[Choice { name: "anneal_strategy", words: &["cos", "linear"], doc: "the shape of each phase" }],
    lengths: &[OVER],
    rate: |now| {
        let (n, pct, first) = (now.lengths[0], now.hyper[0], now.lr / now.hyper[1]);
        let last = (n - 1.0, first / now.hyper[2]);
        let top = (pct * n - 1.0, now.lr);
        let back = (2.0 * pct * n - 2.0, first);
        let ends = if now.hyper[3] == 1.0 { vec![top, back, last] } else { vec![top, last] };
        let k = now.k.min(n - 1.0);
        let mut from = (0.0, first);
        for (i, to) in ends.iter().enumerate() {
            if k <= to.0 || i + 1 == ends.len() {
                let x = if to.0 > from.0 { ((k - from.0) / (to.0 - from.0)).clamp(0.0, 1.0) } else { 1.0 };
                let down = if now.choices[0] == 0 { half_cosine(x) } else { 1.0 - x };
                return to.1 + (from.1 - to.1) * down;
            }
            from = *to;
        }
        from.1
    },
    ..Curve::PLAIN
};
