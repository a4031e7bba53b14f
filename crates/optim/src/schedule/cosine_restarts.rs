//! Half a cosine from `lr` to `end`, again and again, each `mult` times as long as the one before. Loshchilov &
//! Hutter 2017, <https://arxiv.org/abs/1608.03983>: PyTorch's `CosineAnnealingWarmRestarts`, where `every` is T₀,
//! `mult` T_mult (there a whole number) and `end` η_min. It has no end.

use thalweg_core::expr::Duration;
use thalweg_core::hyper::{Hyper, Range};

use super::{Curve, Length, half_cosine, power};

/// end + (lr − end)·(1 + cos(πj/T))/2, j steps after the last restart, T = every·multⁱ the length of the i-th period.
pub static COSINE_RESTARTS: Curve = Curve {
    name: "cosine_restarts",
    formula: "end + (lr − end)·(1 + cos(π·j/T))/2, j steps into a period of T = every·mult^i",
    hyper: &[
        Hyper::new(
            "mult",
            1.0,
            Range::new(1.0, false, f64::INFINITY, true),
            "how much longer each period is",
        ),
        Hyper::new("end", 0.0, Range::NON_NEGATIVE, "the rate that a period falls to"),
    ],
    lengths: &[Length::new("every", Duration::Percent(25.0), "the first period")],
    rate: |now| {
        let ([mult, end], first) = ([now.hyper[0], now.hyper[1]], now.lengths[0]);
        end + (now.lr - end) * half_cosine(share(now.k, first, mult))
    },
    ..Curve::PLAIN
};

/// How much of its period is over at `k`, of [0, 1).
fn share(k: f64, first: f64, mult: f64) -> f64 {
    if mult == 1.0 {
        return (k % first) / first;
    }
    let start = |i: f64| first * ((power(mult, i) - 1.0) / (mult - 1.0));
    let mut i = (libm::log1p((k / first * (mult - 1.0)).min(f64::MAX)) / libm::log(mult)).floor().max(0.0);
    // The logarithm may be off by a rounding where a period begins.
    if i > 0.0 && k < start(i) {
        i -= 1.0;
    } else if k >= start(i + 1.0) {
        i += 1.0;
    }
    ((k - start(i)) / (first * power(mult, i))).clamp(0.0, 1.0)
}
