//! [`Units`]: a tensor output by output. Sums over each, and changes by a number of each: in parallel, and the same bits on any
//! number of threads and every instruction set, since blocks and lanes depend on the shape alone.

use std::sync::Mutex;

use thalweg_core::{Float, Tensor, Threads, isa, math};

use super::outputs;

/// Numbers in a task of a thread.
const TASK: usize = 1 << 16;
/// Rows that are shorter than this are summed column by column.
const SHORT: usize = 32;
/// Blocks that sums of columns are cut into, at most.
const BLOCKS: usize = 16;

/// A tensor as [outer, count, inner]: unit u is all numbers [·, u, ·].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Units {
    outer: usize,
    count: usize,
    inner: usize,
}

/// The work of a thread: numbers, and where their sums go.
type Task<'a, F> = Mutex<(&'a [F], &'a mut [f64])>;

impl Units {
    /// One unit for each output of a tensor.
    pub fn of(tensor: &Tensor) -> Self {
        let (outer, count, inner) = outputs(tensor);
        Self { outer, count, inner }
    }

    /// All `n` numbers in one unit.
    pub fn one(n: usize) -> Self {
        Self { outer: 1, count: 1, inner: n }
    }

    /// Numbers of a unit.
    pub fn len(self) -> usize {
        self.outer * self.inner
    }

    /// The numbers of unit `unit`.
    pub fn numbers<F: Float>(self, x: &[F], unit: usize) -> impl Iterator<Item = F> + '_ {
        let starts = (0..self.outer).map(move |o| (o * self.count + unit) * self.inner);
        starts.flat_map(move |at| x[at..at + self.inner].iter().copied())
    }

    /// Σ f(x) over the numbers of each unit, in f64.
    pub fn sums<F: Float>(self, threads: &Threads, x: &[F], f: impl Fn(f64) -> f64 + Sync) -> Vec<f64> {
        let Self { outer, count, inner } = self;
        if x.is_empty() {
            return vec![0.0; count];
        }
        if outer > 1 && inner < SHORT {
            return self.column_sums(threads, x, f);
        }
        // Each row of `inner` numbers in pieces of a task at most; short rows make a task together.
        let (piece, pieces) = (inner.min(TASK), inner.div_ceil(TASK));
        let mut sums = vec![0.0; outer * count * pieces];
        let mut tasks: Vec<Task<'_, F>> = Vec::new();
        if pieces > 1 {
            for (row, sums) in x.chunks(inner).zip(sums.chunks_mut(pieces)) {
                tasks.extend(row.chunks(piece).zip(sums.chunks_mut(1)).map(Mutex::new));
            }
        } else {
            let rows = (TASK / inner).max(1);
            tasks.extend(x.chunks(rows * inner).zip(sums.chunks_mut(rows)).map(Mutex::new));
        }
        run(threads, x.len(), &tasks, |(x, sums)| {
            isa::run(
                #[inline(always)]
                || {
                    for (sum, x) in sums.iter_mut().zip(x.chunks(piece)) {
                        *sum = math::sum_by(x, &f);
                    }
                },
            );
        });
        drop(tasks);
        let of = |unit: usize| {
            let rows = (0..outer).map(move |o| (o * count + unit) * pieces);
            rows.flat_map(|at| &sums[at..at + pieces]).fold(0.0, |all, sum| all + sum)
        };
        (0..count).map(of).collect()
    }

    /// [`Units::sums`] where units lie beside each other: a sum for each column first, in blocks of rows.
    fn column_sums<F: Float>(self, threads: &Threads, x: &[F], f: impl Fn(f64) -> f64 + Sync) -> Vec<f64> {
        let columns = self.count * self.inner;
        let rows = self.outer.div_ceil(BLOCKS).max(TASK / columns).max(1);
        let mut sums = vec![0.0; self.outer.div_ceil(rows) * columns];
        let tasks: Vec<Task<'_, F>> =
            x.chunks(rows * columns).zip(sums.chunks_mut(columns)).map(Mutex::new).collect();
        run(threads, x.len(), &tasks, |(x, sums)| {
            isa::run(
                #[inline(always)]
                || {
                    for row in x.chunks_exact(columns) {
                        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f(x.to_f64()));
                    }
                },
            );
        });
        drop(tasks);
        let (first, others) = sums.split_at_mut(columns);
        for block in others.chunks(columns) {
            first.iter_mut().zip(block).for_each(|(sum, more)| *sum += more);
        }
        first.chunks(self.inner).map(|unit| unit.iter().fold(0.0, |all, sum| all + sum)).collect()
    }

    /// x ← f(x, the number of x's unit).
    pub fn change<F: Float>(self, threads: &Threads, x: &mut [F], of: &[F], f: impl Fn(F, F) -> F + Sync) {
        let Self { count, inner, .. } = self;
        let n = x.len();
        let tasks: Vec<Mutex<(usize, &mut [F])>> =
            x.chunks_mut(TASK).enumerate().map(|(i, x)| Mutex::new((i * TASK, x))).collect();
        run(threads, n, &tasks, |(start, x)| {
            isa::run(
                #[inline(always)]
                || {
                    let (mut at, mut rest) = (*start, &mut x[..]);
                    while !rest.is_empty() {
                        let unit = at / inner % count;
                        // Units of one number each lie beside each other up to the last one.
                        let len = if inner == 1 { count - unit } else { inner - at % inner };
                        let (now, after) = rest.split_at_mut(len.min(rest.len()));
                        at += now.len();
                        if inner == 1 {
                            now.iter_mut().zip(&of[unit..]).for_each(|(x, &of)| *x = f(*x, of));
                        } else {
                            now.iter_mut().for_each(|x| *x = f(*x, of[unit]));
                        }
                        rest = after;
                    }
                },
            );
        });
    }
}

/// Each task once, on several threads where there are numbers enough.
fn run<T: Send>(threads: &Threads, numbers: usize, tasks: &[Mutex<T>], work: impl Fn(&mut T) + Sync) {
    let one = |i: usize| work(&mut tasks[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    if numbers <= 2 * TASK || threads.count() == 1 {
        (0..tasks.len()).for_each(one);
    } else {
        threads.run(tasks.len(), one);
    }
}
