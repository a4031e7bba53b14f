//! Plain loops over tensors for rules that are not elementwise: in parallel, in fixed blocks, the same bits on any number of
//! threads.

use std::sync::Mutex;

use thalweg_core::{Float, Threads, isa};

/// Numbers in a task of a thread.
const TASK: usize = 1 << 16;

/// Runs `f` over matching stretches of two slices of one length, in parallel and with the machine's vectors.
pub(crate) fn each<F: Float>(
    threads: &Threads,
    a: &mut [F],
    b: &mut [F],
    f: impl Fn(&mut [F], &mut [F]) + Sync,
) {
    let f = &f;
    if a.len() <= 2 * TASK || threads.count() == 1 {
        return isa::run(
            #[inline(always)]
            || f(a, b),
        );
    }
    let tasks: Vec<Mutex<_>> = a.chunks_mut(TASK).zip(b.chunks_mut(TASK)).map(Mutex::new).collect();
    threads.run(tasks.len(), |i| {
        let mut task = tasks[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (a, b) = &mut *task;
        isa::run(
            #[inline(always)]
            || f(a, b),
        );
    });
}

/// x ← f(x) for each number, in parallel and with the machine's vectors.
pub(crate) fn map<F: Float>(threads: &Threads, x: &mut [F], f: impl Fn(F) -> F + Sync) {
    let one = |x: &mut [F]| {
        isa::run(
            #[inline(always)]
            || x.iter_mut().for_each(|x| *x = f(*x)),
        );
    };
    if x.len() <= 2 * TASK || threads.count() == 1 {
        return one(x);
    }
    let tasks: Vec<Mutex<_>> = x.chunks_mut(TASK).map(Mutex::new).collect();
    threads.run(tasks.len(), |i| {
        one(&mut tasks[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    });
}

/// Runs `f` over stretches of a slice and the places where they start, in parallel.
pub(crate) fn each_at<F: Float>(threads: &Threads, a: &mut [F], f: impl Fn(usize, &mut [F]) + Sync) {
    // What needs its place is slow enough to be shared out early.
    let task = TASK / 16;
    if a.len() <= task || threads.count() == 1 {
        return f(0, a);
    }
    let tasks: Vec<Mutex<_>> = a.chunks_mut(task).map(Mutex::new).collect();
    threads.run(tasks.len(), |i| {
        f(i * task, &mut tasks[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    });
}

/// Runs `f` over blocks of rows of a matrix with `cols` columns, in parallel. Each block has its rows, a number for each of
/// them, and a number for each column, which starts at 0; the latter are joined in the order of the blocks and left in
/// `of_column`. There are at most 16 blocks, and they depend on the shape alone.
pub(crate) fn by_rows<F: Float, T: Copy + Default + Send>(
    threads: &Threads,
    cols: usize,
    x: &mut [F],
    of_row: &mut [T],
    of_column: &mut Vec<T>,
    join: impl Fn(T, T) -> T,
    f: impl Fn(&mut [F], &mut [T], &mut [T]) + Sync,
) {
    let rows = of_row.len();
    let per = rows.div_ceil(16).max(TASK / cols.max(1)).max(1);
    let blocks = rows.div_ceil(per);
    of_column.clear();
    of_column.resize(blocks.max(1) * cols, T::default());
    let one = |(x, (of_row, of_column)): (&mut [F], (&mut [T], &mut [T]))| {
        isa::run(
            #[inline(always)]
            || f(x, of_row, of_column),
        );
    };
    let all =
        x.chunks_mut((per * cols).max(1)).zip(of_row.chunks_mut(per).zip(of_column.chunks_mut(cols.max(1))));
    if blocks == 1 || threads.count() == 1 {
        all.for_each(one);
    } else {
        let tasks: Vec<Mutex<_>> = all.map(|task| Mutex::new(Some(task))).collect();
        threads.run(tasks.len(), |i| {
            let task = tasks[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            task.into_iter().for_each(one);
        });
    }
    let (first, others) = of_column.split_at_mut(cols);
    for block in others.chunks(cols.max(1)) {
        first.iter_mut().zip(block).for_each(|(a, &b)| *a = join(*a, b));
    }
    of_column.truncate(cols);
}

/// Whether every number is finite.
pub(crate) fn finite<F: Float>(threads: &Threads, x: &[F]) -> bool {
    let one = |x: &[F]| {
        isa::run(
            #[inline(always)]
            // 0·x is 0 for finite numbers alone.
            || x.iter().fold(true, |all, &x| all & (F::zero() * x == F::zero())),
        )
    };
    if x.len() <= 2 * TASK || threads.count() == 1 {
        return one(x);
    }
    let tasks: Vec<&[F]> = x.chunks(TASK).collect();
    let all = std::sync::atomic::AtomicBool::new(true);
    threads.run(tasks.len(), |i| {
        all.fetch_and(one(tasks[i]), std::sync::atomic::Ordering::Relaxed);
    });
    all.into_inner()
}

/// Σ aᵢ·bᵢ over all pairs of slices, in f64: blocks within a task, tasks in order.
pub(crate) fn dot<F: Float>(threads: &Threads, pairs: &[(&[F], &[F])]) -> f64 {
    let tasks: Vec<(&[F], &[F])> =
        pairs.iter().flat_map(|(a, b)| a.chunks(TASK).zip(b.chunks(TASK))).collect();
    let one = |(a, b): (&[F], &[F])| {
        isa::run(
            #[inline(always)]
            || dot_block(a, b),
        )
    };
    let total: usize = pairs.iter().map(|p| p.0.len()).sum();
    if total <= 2 * TASK || threads.count() == 1 {
        return tasks.into_iter().map(one).sum();
    }
    let sums: Vec<Mutex<f64>> = tasks.iter().map(|_| Mutex::new(0.0)).collect();
    threads.run(tasks.len(), |i| {
        *sums[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner) = one(tasks[i]);
    });
    sums.into_iter().map(|s| s.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)).sum()
}

/// Numbers in a block of [`fuse`], which stays in the first cache.
pub(crate) const BLOCK: usize = 1024;

/// A task of [`fuse`]: matching stretches, what `f` is told of their tensor, and the sums of their terms.
type Stretch<'a, F, X, const N: usize, const K: usize> = Mutex<([&'a mut [F]; N], X, [f64; K])>;

/// Runs `f` over matching blocks of N slices of one length, tensor by tensor and in parallel; `f` is given what is known of the
/// tensor, and writes K terms for each coordinate, whose sums are returned: in fixed lanes within a block, blocks within a task,
/// tasks in order.
pub(crate) fn fuse<'a, F: Float + 'a, X: Copy + Send + Sync, const N: usize, const K: usize>(
    threads: &Threads,
    tensors: impl IntoIterator<Item = ([&'a mut [F]; N], X)>,
    f: impl Fn([&mut [F]; N], X, [&mut [f64]; K]) + Sync,
) -> [f64; K] {
    let mut tasks: Vec<Stretch<'_, F, X, N, K>> = Vec::new();
    let mut total = 0;
    for (mut rest, known) in tensors {
        total += rest[0].len();
        while rest[0].len() > TASK {
            let (head, tail) = split(rest, TASK);
            tasks.push(Mutex::new((head, known, [0.0; K])));
            rest = tail;
        }
        tasks.push(Mutex::new((rest, known, [0.0; K])));
    }
    let work = |i: usize| {
        let mut task = tasks[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (slices, known, sums) = &mut *task;
        let mut terms = [[0.0f64; BLOCK]; K];
        let len = slices[0].len();
        for from in (0..len).step_by(BLOCK) {
            let range = from..(from + BLOCK).min(len);
            isa::run(
                #[inline(always)]
                || {
                    let block = slices.each_mut().map(|s| &mut s[range.clone()]);
                    f(block, *known, terms.each_mut().map(|t| &mut t[..range.len()]));
                    for (sum, terms) in sums.iter_mut().zip(&terms) {
                        *sum += thalweg_core::math::sum_by(&terms[..range.len()], |x| x);
                    }
                },
            );
        }
    };
    if total <= 2 * TASK || threads.count() == 1 {
        (0..tasks.len()).for_each(work);
    } else {
        threads.run(tasks.len(), work);
    }
    tasks.into_iter().fold([0.0; K], |mut all, task| {
        let sums = task.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).2;
        all.iter_mut().zip(sums).for_each(|(all, sum)| *all += sum);
        all
    })
}

/// Cuts all slices at one place.
fn split<F, const N: usize>(slices: [&mut [F]; N], at: usize) -> ([&mut [F]; N], [&mut [F]; N]) {
    let mut tails = Vec::with_capacity(N);
    let heads = slices.map(|s| {
        let (head, tail) = s.split_at_mut(at);
        tails.push(tail);
        head
    });
    let mut tails = tails.into_iter();
    (heads, std::array::from_fn(|_| tails.next().expect("one tail for each slice")))
}

#[inline(always)]
fn dot_block<F: Float>(a: &[F], b: &[F]) -> f64 {
    let mut lanes = [0.0f64; 16];
    let (x, y) = (a.chunks_exact(16), b.chunks_exact(16));
    let mut tail = 0.0;
    for (x, y) in x.remainder().iter().zip(y.remainder()) {
        tail += x.to_f64() * y.to_f64();
    }
    for (x, y) in x.zip(y) {
        for ((l, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *l += x.to_f64() * y.to_f64();
        }
    }
    let mut width = 8;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0] + tail
}
