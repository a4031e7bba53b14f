//! Loops over rows on several threads: rows are written by one task each, so the result does not depend on how many there are.

use std::array;
use std::sync::{Mutex, PoisonError};

use thalweg_core::{Threads, isa};

/// A loop is cut into at most this many tasks.
const TASKS: usize = 32;
/// Loops of less work than this many simple operations are done by the caller alone: about 10 µs.
const SMALL: usize = if cfg!(test) { 1 } else { 1 << 15 };

/// How many rows each task takes.
fn share(threads: &Threads, rows: usize, cost: usize) -> usize {
    let alone = threads.count() == 1 || rows.saturating_mul(cost) < SMALL;
    if alone { rows } else { rows.div_ceil(TASKS) }
}

/// Calls `f(i, part)` for runs of whole rows of `width` numbers: `part` starts with row `i` of `y`. `cost` is the work of a row
/// in simple operations. `f` is compiled for the instruction set in use if it is `#[inline(always)]`.
#[inline(always)]
pub fn rows<A: Send>(
    threads: &Threads,
    y: &mut [A],
    width: usize,
    cost: usize,
    f: impl Fn(usize, &mut [A]) + Sync,
) {
    if y.is_empty() {
        return;
    }
    let count = y.len() / width;
    let each = share(threads, count, cost);
    if each == count {
        isa::run(
            #[inline(always)]
            || f(0, y),
        );
        return;
    }
    let mut parts = y.chunks_mut(each * width).enumerate();
    let parts: [_; TASKS] = array::from_fn(|_| Mutex::new(parts.next()));
    threads.run(count.div_ceil(each), |task| {
        let part = parts[task].lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((i, part)) = part {
            isa::run(
                #[inline(always)]
                || f(i * each, part),
            );
        }
    });
}

/// As [`rows`], for two results with rows of their own widths; `y` and `z` have one number of rows.
#[inline(always)]
pub fn rows2<A: Send, B: Send>(
    threads: &Threads,
    (y, y_width): (&mut [A], usize),
    (z, z_width): (&mut [B], usize),
    cost: usize,
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    if y.is_empty() {
        return;
    }
    let count = y.len() / y_width;
    let each = share(threads, count, cost);
    let mut parts = y.chunks_mut(each * y_width).zip(z.chunks_mut(each * z_width)).enumerate();
    let parts: [_; TASKS] = array::from_fn(|_| Mutex::new(parts.next()));
    threads.run(count.div_ceil(each), |task| {
        let part = parts[task].lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((i, (y, z))) = part {
            isa::run(
                #[inline(always)]
                || f(i * each, y, z),
            );
        }
    });
}

/// As [`rows2`], for M results and rows that each are long work: as many tasks as threads. `widths` are those of a row. `f` runs as it was
/// compiled.
pub fn apart<A: Send, const M: usize>(
    threads: &Threads,
    parts: [&mut [A]; M],
    widths: [usize; M],
    cost: usize,
    f: impl Fn(usize, [&mut [A]; M]) + Sync,
) {
    let count = parts[0].len() / widths[0];
    let alone = count.saturating_mul(cost) < SMALL;
    let each = if alone { count } else { count.div_ceil(threads.count().min(TASKS)) };
    let mut rest = parts.map(Some);
    let tasks: [_; TASKS] = array::from_fn(|task| {
        let rows = each.min(count.saturating_sub(task * each));
        let mut nth = 0;
        let part = rest.each_mut().map(|rest| {
            let (part, after) = rest.take().unwrap_or_default().split_at_mut(rows * widths[nth]);
            nth += 1;
            *rest = Some(after);
            part
        });
        Mutex::new((rows > 0).then_some(part))
    });
    threads.run(count.div_ceil(each.max(1)), |task| {
        let part = tasks[task].lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(part) = part {
            f(task * each, part);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_visited_once() {
        for n in [0, 1, 5, 31, 32, 33, 1000] {
            for count in [1, 3] {
                let threads = Threads::new(count);
                let (mut y, mut z) = (vec![0usize; 3 * n], vec![0usize; n]);
                let fill = |i: usize, y: &mut [usize]| {
                    for (k, y) in y.chunks_mut(3).enumerate() {
                        for y in y.iter_mut() {
                            *y += i + k + 1;
                        }
                    }
                };
                rows(&threads, &mut y, 3, SMALL, fill);
                assert!(y.iter().enumerate().all(|(i, &y)| y == i / 3 + 1), "{n} rows on {count} threads");
                rows2(&threads, (&mut y, 3), (&mut z, 1), SMALL, |i, y, z| {
                    fill(i, y);
                    for (k, z) in z.iter_mut().enumerate() {
                        *z += i + k;
                    }
                });
                assert!(y.iter().enumerate().all(|(i, &y)| y == 2 * (i / 3 + 1)));
                assert!(z.iter().enumerate().all(|(i, &z)| z == i));
                apart(&threads, [&mut y, &mut z], [3, 1], SMALL, |i, [y, z]| {
                    assert_eq!(y.len(), 3 * z.len());
                    fill(i, y);
                    z.iter_mut().for_each(|z| *z += 1);
                });
                assert!(y.iter().enumerate().all(|(i, &y)| y == 3 * (i / 3 + 1)));
                assert!(z.iter().enumerate().all(|(i, &z)| z == i + 1));
            }
        }
    }
}
