//! The norm of row-sparse gradients, and of these with dense ones, added up as that of dense ones with zeros elsewhere is: the same bits, at
//! the cost of the rows.
//!
//! [`norm`](crate::norm) adds up the numbers of a block, blocks within a task and tasks, each in an order that only their places decide. A
//! zero adds nothing anywhere, so it is enough to go over the blocks that have other numbers.

use std::ops::Range;
use std::sync::Mutex;

use thalweg_core::{Float, Threads, isa};

use crate::block::BLOCK;
use crate::driver::{ALONE, task_len};
use crate::norm::{root, sum_of};

/// The gradient of some rows (sorted, distinct) of a tensor; a dense gradient is one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sparse<'a, F> {
    pub rows: &'a [usize],
    /// rows.len() × width numbers.
    pub values: &'a [F],
    pub width: usize,
    /// Numbers of the tensor, with all its rows.
    pub len: usize,
}

impl<'a, F: Float> Sparse<'a, F> {
    /// All of a tensor.
    pub fn dense(values: &'a [F]) -> Self {
        Self { rows: &[0], values, width: values.len(), len: values.len() }
    }

    /// The place in the tensor of the first number that is not finite.
    pub fn not_finite(&self) -> Option<usize> {
        let place = self.values.iter().position(|g| !g.is_finite())?;
        Some(self.rows[place / self.width] * self.width + place % self.width)
    }
}

/// Numbers beside each other that lie in one task of a dense gradient.
struct Piece {
    /// The place of the first one in the tensor,
    at: usize,
    /// and where they are among its values.
    values: Range<usize>,
}

/// The pieces of a task, and the values that they are of.
struct Task<'a, F> {
    values: &'a [F],
    pieces: Vec<Piece>,
}

/// ‖g‖₂ of all tensors together, each number cut to ± `limit` first: the bits of [`norm`](crate::norm) over the dense tensors.
pub(crate) fn joint_norm<F: Float>(tensors: &[Sparse<'_, F>], limit: f64, threads: &Threads) -> f64 {
    let long = task_len(tensors.iter().map(|tensor| tensor.len).sum());
    let tasks: Vec<Task<'_, F>> = tensors.iter().flat_map(|tensor| tasks(*tensor, long)).collect();
    let largest = || {
        let values = tensors.iter().flat_map(|tensor| tensor.values);
        values.fold(0.0, |top: f64, x| top.max(x.to_f64().abs())).min(limit)
    };
    root(squares(&tasks, limit, 1.0, threads), largest, |unit| squares(&tasks, limit, unit, threads))
}

/// A tensor's numbers, task by task of its dense gradient, each `long`.
fn tasks<F: Float>(tensor: Sparse<'_, F>, long: usize) -> Vec<Task<'_, F>> {
    let Sparse { rows, values, width, .. } = tensor;
    let mut tasks: Vec<Task<'_, F>> = Vec::new();
    let mut last = usize::MAX;
    for (nth, row) in rows.iter().enumerate() {
        let (mut at, mut from, end) = (row * width, nth * width, (row + 1) * width);
        while at < end {
            let task = at / long;
            let len = ((task + 1) * long).min(end) - at;
            if task != last {
                tasks.push(Task { values, pieces: Vec::new() });
                last = task;
            }
            let Some(Task { pieces, .. }) = tasks.last_mut() else { continue };
            match pieces.last_mut() {
                // Neighbours are one piece.
                Some(piece) if piece.at + piece.values.len() == at => piece.values.end += len,
                _ => pieces.push(Piece { at, values: from..from + len }),
            }
            (at, from) = (at + len, from + len);
        }
    }
    tasks
}

/// Σ x² of numbers that are cut to ± `limit` and multiplied by `unit`.
fn squares<F: Float>(tasks: &[Task<'_, F>], limit: f64, unit: f64, threads: &Threads) -> f64 {
    let square = |x: f64| {
        let x = (if x.abs() > limit { limit } else { x }) * unit;
        x * x
    };
    let one = |task: &Task<'_, F>| {
        isa::run(
            #[inline(always)]
            || sum_of_task(task, square),
        )
    };
    let numbers: usize = tasks.iter().flat_map(|task| &task.pieces).map(|piece| piece.values.len()).sum();
    if numbers <= ALONE || threads.count() == 1 {
        return tasks.iter().map(one).sum();
    }
    let sums: Vec<Mutex<f64>> = tasks.iter().map(|_| Mutex::new(0.0)).collect();
    threads.run(tasks.len(), |i| {
        *sums[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner) = one(&tasks[i]);
    });
    sums.into_iter().map(|s| s.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)).sum()
}

/// Blocks in order, each as the dense norm adds it up, zeros included.
#[inline(always)]
fn sum_of_task<F: Float>(task: &Task<'_, F>, f: impl Fn(f64) -> f64) -> f64 {
    let (mut sum, mut block, mut terms) = (0.0, usize::MAX, [0.0f64; BLOCK]);
    let all = |terms: [f64; BLOCK]| sum_of(&terms, |x| x);
    for piece in &task.pieces {
        let (mut at, mut rest) = (piece.at, &task.values[piece.values.clone()]);
        while !rest.is_empty() {
            if at / BLOCK != block {
                sum += all(terms);
                (block, terms) = (at / BLOCK, [0.0; BLOCK]);
            }
            let (now, after) = rest.split_at((BLOCK - at % BLOCK).min(rest.len()));
            for (term, x) in terms[at % BLOCK..].iter_mut().zip(now) {
                *term = f(x.to_f64());
            }
            (at, rest) = (at + now.len(), after);
        }
    }
    sum + all(terms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_core::random::{Purpose, Stream};

    /// Numbers of all sizes in some rows of tables of all widths, over several blocks and tasks, beside a dense tensor or alone.
    #[test]
    fn the_bits_are_those_of_the_dense_norm() {
        fn go<F: Float>(scale: i32) {
            let mut stream = Stream::new(1, Purpose::Data, 3);
            let draw = |s: &mut Stream| F::from_f64(libm::ldexp(s.normal(), scale + s.below(20) as i32));
            let beside: Vec<F> = (0..70_003).map(|_| draw(&mut stream)).collect();
            for (rows, width) in
                [(1, 1), (5, 3), (700, 7), (40, 1024), (9, 70_001), (300_000, 1), (20, 33_000)]
            {
                for share in [1, 2, 5, 40] {
                    let listed: Vec<usize> = (0..rows).filter(|_| stream.below(share) == 0).collect();
                    let values: Vec<F> = (0..listed.len() * width).map(|_| draw(&mut stream)).collect();
                    let mut dense = vec![F::zero(); rows * width];
                    for (row, values) in listed.iter().zip(values.chunks(width)) {
                        dense[row * width..][..width].copy_from_slice(values);
                    }
                    let sparse = Sparse { rows: &listed, values: &values, width, len: dense.len() };
                    let lists: [(Vec<Sparse<_>>, Vec<&[F]>); 3] = [
                        (vec![sparse], vec![&dense]),
                        (vec![Sparse::dense(&beside), sparse], vec![&beside, &dense]),
                        (
                            vec![sparse, Sparse::dense(&beside[..9]), sparse],
                            vec![&dense, &beside[..9], &dense],
                        ),
                    ];
                    for (sparse, dense) in &lists {
                        for limit in [f64::INFINITY, libm::ldexp(1.0, scale + 8)] {
                            let wanted = crate::norm(dense, limit, &Threads::serial());
                            for threads in [1, 3].map(Threads::new) {
                                let ours = joint_norm(sparse, limit, &threads);
                                assert_eq!(
                                    ours.to_bits(),
                                    wanted.to_bits(),
                                    "{rows}×{width}, every {share}th"
                                );
                            }
                        }
                    }
                }
            }
        }
        go::<f32>(0);
        go::<f32>(-120);
        [0, -600, 600].into_iter().for_each(go::<f64>);
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let threads = Threads::serial();
        let norm = |x: f64| {
            let sparse = Sparse { rows: &[1, 4], values: &[1.0, x, 2.0, 3.0], width: 2, len: 10 };
            (joint_norm(&[sparse], f64::INFINITY, &threads), sparse.not_finite())
        };
        assert!(norm(f64::NAN).0.is_nan());
        assert_eq!(norm(f64::NEG_INFINITY), (f64::INFINITY, Some(3)));
        assert_eq!(norm(1.0), (15f64.sqrt(), None));
        let none = Sparse::<f32> { rows: &[], values: &[], width: 5, len: 10 };
        assert_eq!(
            joint_norm(&[none, Sparse { rows: &[3], values: &[], width: 0, len: 0 }], 1.0, &threads),
            0.0
        );
        assert_eq!(joint_norm::<f32>(&[Sparse::dense(&[])], 1.0, &threads), 0.0);
    }
}
