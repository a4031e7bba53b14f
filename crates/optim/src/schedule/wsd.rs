//! Warm-up, stable, decay: the rate rises, stays, and falls in the last part of the run. Hu et al. 2024 (MiniCPM),
//! <https://arxiv.org/abs/2404.06395>; the shape `sqrt` (there 1 − √x) and the straight line are those of Hägele et
//! al. 2024, <https://arxiv.org/abs/2405.18392>. The run can be made longer without another curve for the steps
//! before the decay.

use thalweg_core::expr::Duration;
use thalweg_core::hyper::{Hyper, Range};

use super::{Choice, Curve, Length, OVER, half_cosine};

/// lr until n − decay, then end + (lr − end)·shape(x) with x from 0 to 1 over `decay`, held at `end` from k = n.
pub static WSD: Curve = Curve {
    name: "wsd",
    formula: "lr until k = n − decay, then end + (lr − end)·(1 − x, (1 + cos πx)/2 or 1 − √x), x to 1 at n",
    hyper: &[Hyper::new("end", 0.0, Range::NON_NEGATIVE, "the last rate")],
    choices: &[Choice { name: "shape", words: &["linear", "cosine", "sqrt"], doc: "how the rate falls" }],
    lengths: &[
        Length::new("decay", Duration::Percent(20.0), "the time of the fall, at the end of `over`"),
        OVER,
    ],
    warmup: Duration::Percent(5.0),
    rate: |now| {
        let (end, n) = (now.hyper[0], now.lengths[1]);
        let decay = now.lengths[0].min(n);
        let x = ((now.k - (n - decay)) / decay).clamp(0.0, 1.0);
        let left = match now.choices[0] {
            0 => 1.0 - x,
            1 => half_cosine(x),
            _ => 1.0 - x.sqrt(),
        };
        end + (now.lr - end) * left
    },
    ..Curve::PLAIN
};
