//! ‖x‖₂ of many numbers: summed in f64, in fixed lanes and blocks, so that threads and instruction sets change no bit.

use std::sync::Mutex;

use thalweg_core::{Float, Threads, isa};

use crate::block::BLOCK;
use crate::driver::{ALONE, task_len};

/// Σ f(x) of a block, each number by its place in one of 16 lanes, which are added in pairs. A zero adds nothing.
#[inline(always)]
pub(crate) fn sum_of<F: Float>(block: &[F], f: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; isa::LINE];
    let (lines, rest) = block.as_chunks();
    for line in lines {
        isa::fetch_ahead(line);
        for (lane, x) in lanes.iter_mut().zip(line) {
            *lane += f(x.to_f64());
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += f(x.to_f64());
    }
    let mut half = isa::LINE / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Σ x² of a block.
#[inline(always)]
pub(crate) fn sum_of_squares<F: Float>(block: &[F]) -> f64 {
    sum_of(block, |x| x * x)
}

/// What `one` finds in each block of the parts: within a task joined in order, tasks in order.
fn over_blocks<F: Float>(
    parts: &[&[F]],
    threads: &Threads,
    one: impl Fn(&[F]) -> f64 + Sync,
    join: impl Fn(f64, f64) -> f64 + Sync,
) -> f64 {
    let total: usize = parts.iter().map(|p| p.len()).sum();
    let tasks = || parts.iter().flat_map(|part| part.chunks(task_len(total)));
    let blocks = |task: &[F]| {
        isa::run(
            #[inline(always)]
            || {
                // A loop: `fold` would be a function of its own, compiled for what every machine has.
                let mut all = 0.0;
                for block in task.chunks(BLOCK) {
                    all = join(all, one(block));
                }
                all
            },
        )
    };
    if total <= ALONE || threads.count() == 1 {
        return tasks().map(blocks).fold(0.0, &join);
    }
    let mut found = Vec::with_capacity(parts.iter().map(|p| p.len().div_ceil(task_len(total))).sum());
    found.extend(tasks().map(|task| (task, Mutex::new(0.0))));
    threads.run(found.len(), |i| {
        let (task, found) = &found[i];
        *found.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = blocks(task);
    });
    let found =
        found.into_iter().map(|(_, x)| x.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner));
    found.fold(0.0, join)
}

/// Σ x² of all parts together, each number cut to ± `limit` first and multiplied by `unit`.
fn squares<F: Float>(parts: &[&[F]], limit: f64, unit: f64, threads: &Threads) -> f64 {
    if limit == f64::INFINITY && unit == 1.0 {
        return over_blocks(
            parts,
            threads,
            #[inline(always)]
            |block| sum_of_squares(block),
            |a, b| a + b,
        );
    }
    let cut = |x: f64| (if x.abs() > limit { limit } else { x }) * unit;
    let square = |x| cut(x) * cut(x);
    over_blocks(
        parts,
        threads,
        #[inline(always)]
        |block| sum_of(block, square),
        |a, b| a + b,
    )
}

/// The largest |x|, NaN left out.
fn largest<F: Float>(parts: &[&[F]], threads: &Threads) -> f64 {
    over_blocks(
        parts,
        threads,
        #[inline(always)]
        |block| block.iter().fold(F::zero(), |top, x| x.abs().at_least(top)).to_f64(),
        f64::max,
    )
}

/// ‖x‖₂ of all `parts` together, each number cut to ± `limit` first; not finite where a number is not.
///
/// Summed in fixed lanes and blocks of each part, the same on any number of threads. Where squares leave the range of f64 the
/// numbers are divided by the largest.
pub fn norm<F: Float>(parts: &[&[F]], limit: f64, threads: &Threads) -> f64 {
    from_squares(parts, limit, squares(parts, limit, 1.0, threads), threads)
}

/// [`norm`] where the plain sum of squares is known.
pub(crate) fn from_squares<F: Float>(parts: &[&[F]], limit: f64, sum: f64, threads: &Threads) -> f64 {
    // Squares of f32 are always within the range of f64.
    if F::BYTES == 4 {
        return sum.sqrt();
    }
    root(sum, || largest(parts, threads).min(limit), |unit| squares(parts, limit, unit, threads))
}

/// The root of `sum`, Σ x²; where squares may have left the range of f64, that of Σ (x·unit)² divided by the unit, which the largest |x|
/// decides.
pub(crate) fn root(sum: f64, largest: impl FnOnce() -> f64, squares: impl FnOnce(f64) -> f64) -> f64 {
    // Below 1e-270 squares may have lost digits that count.
    if sum.is_nan() || (sum > 1e-270 && sum < f64::INFINITY) {
        return sum.sqrt();
    }
    let top = largest();
    if top == 0.0 || top == f64::INFINITY {
        return top;
    }
    // A power of two: exact, and neither it nor its inverse overflows.
    let unit = libm::ldexp(1.0, (-libm::frexp(top).1).clamp(-1000, 1000));
    squares(unit).sqrt() / unit
}
