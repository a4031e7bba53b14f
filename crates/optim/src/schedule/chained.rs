//! The product of schedules: PyTorch's `ChainedScheduler`, where each multiplies the rate (all but those with an
//! η_min other than 0, which PyTorch then adds in its own way).

use super::Curve;

/// The first schedule's rate times those of the others, from 1 where they say none.
pub static CHAINED: Curve = Curve {
    name: "chained",
    formula: "the product of schedules, all but the first from 1, as in chained(cosine(0.1), exponential)",
    lr: "the rate of the first schedule; parameter units per step",
    joins: true,
    rate: |now| {
        let factor = |(i, part): (usize, &super::Schedule)| {
            part.rate_at(lr_of(i, part.lr, now.lr), now.k as u64, now.rest)
        };
        now.parts.iter().enumerate().map(factor).fold(1.0, |product, x| (product * x).min(f64::MAX))
    },
    ..Curve::PLAIN
};

/// The rate that the i-th schedule starts from.
pub(super) fn lr_of(i: usize, own: Option<f64>, whole: f64) -> f64 {
    own.unwrap_or(if i == 0 { whole } else { 1.0 })
}
