//! Half a cosine from `lr` to `end`. Loshchilov & Hutter 2017, <https://arxiv.org/abs/1608.03983>, without restarts:
//! PyTorch's `CosineAnnealingLR` in closed form.

use thalweg_core::hyper::{Hyper, Range};

use super::{Curve, OVER, half_cosine};

/// end + (lr − end)·(1 + cos(πk/n))/2, held at `end` from k = n.
pub static COSINE: Curve = Curve {
    name: "cosine",
    formula: "end + (lr − end)·(1 + cos(π·min(k, n)/n))/2",
    hyper: &[Hyper::new("end", 0.0, Range::NON_NEGATIVE, "the last rate")],
    lengths: &[OVER],
    rate: |now| {
        let (end, n) = (now.hyper[0], now.lengths[0]);
        end + (now.lr - end) * half_cosine(now.k.min(n) / n)
    },
    ..Curve::PLAIN
};
