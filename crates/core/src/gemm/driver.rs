//! The loops around the tiles: blocks, panels, threads.

use std::cell::RefCell;

use super::kernel::{Kernel, TILE, WithKernel};
use super::pack::panel;
use super::shared::Shared;
use super::{Mat, MatMut, Source};
use crate::{Buffer, Float, Threads};

/// Terms that are summed in registers before they are added to C: part of the result's bits.
const INNER: usize = 256;
/// Rows of A that are packed at a time.
const ROWS: usize = 768;
/// Columns of B that are packed at a time.
const COLS: usize = 2048;
/// Multiplications that are worth a task of their own.
const TASK: usize = 1 << 17;

/// Works on finished stretches of C.
pub trait Epilogue<F>: Sync {
    /// `c` is C at row `i` and columns from `j` on; each element is seen once, when its sum is complete.
    fn apply(&self, i: usize, j: usize, c: &mut [F]);
}

/// No epilogue.
#[derive(Clone, Copy, Debug)]
pub struct Keep;

impl<F> Epilogue<F> for Keep {
    #[inline(always)]
    fn apply(&self, _: usize, _: usize, _: &mut [F]) {}
}

/// B of a product.
pub enum Operand<'a, F> {
    /// To be packed on the way.
    Source(&'a dyn Source<F>),
    /// Packed before.
    Packed(&'a Packed<F>),
}

/// A B matrix in panels, for several products.
#[derive(Debug)]
pub struct Packed<F> {
    /// Blocks of [`INNER`] rows; in each the panels, in each its rows.
    data: Buffer<F>,
    rows: usize,
    cols: usize,
    /// Columns of a panel: those of the kernel in use when it was packed.
    width: usize,
}

impl<F: Float> Default for Packed<F> {
    /// A matrix without numbers.
    fn default() -> Self {
        Self { data: Buffer::zeros(0), rows: 0, cols: 0, width: 0 }
    }
}

impl<F: Float> Packed<F> {
    /// Packs a matrix, in the memory that is here already if it suffices.
    pub fn pack(&mut self, threads: &Threads, b: &dyn Source<F>) {
        F::pick(PackAll { threads, b, to: self });
    }
}

struct PackAll<'a, F> {
    threads: &'a Threads,
    b: &'a dyn Source<F>,
    to: &'a mut Packed<F>,
}

impl<F: Float> WithKernel<F> for PackAll<'_, F> {
    fn with<K: Kernel<F>>(self, kernel: K) {
        let Self { threads, b, to } = self;
        (to.rows, to.cols, to.width) = (b.rows(), b.cols(), K::COLS);
        let panels = to.cols.div_ceil(K::COLS);
        let len = to.rows * panels * K::COLS;
        if to.data.len() < len {
            to.data = Buffer::zeros(len);
        }
        let (rows, cols) = (to.rows, to.cols);
        let data = Shared::new(&mut to.data);
        let blocks = rows.div_ceil(INNER);
        threads.run(blocks * panels, |task| {
            let (block, nth) = (task / panels, task % panels);
            let p = block * INNER..rows.min((block + 1) * INNER);
            let from = p.start * panels * K::COLS + nth * p.len() * K::COLS;
            // SAFETY: each task has a panel of its own.
            let out = unsafe { data.part(from, p.len() * K::COLS) };
            let j = nth * K::COLS..cols.min((nth + 1) * K::COLS);
            kernel.run(
                #[inline(always)]
                || b.pack(p, j, K::COLS, out),
            );
        });
    }
}

/// Memory for panels that a thread keeps from product to product: two of each type, as bytes of the other would not do.
#[derive(Default)]
struct Scratch {
    single: [Vec<f32>; 2],
    double: [Vec<f64>; 2],
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The thread's own panels, taken while a product runs.
pub(crate) trait Kept: Sized {
    fn take() -> [Vec<Self>; 2];
    fn give(panels: [Vec<Self>; 2]);
}

macro_rules! kept {
    ($f:ident, $field:ident) => {
        impl Kept for $f {
            fn take() -> [Vec<Self>; 2] {
                SCRATCH.with_borrow_mut(|s| std::mem::take(&mut s.$field))
            }
            fn give(panels: [Vec<Self>; 2]) {
                SCRATCH.with_borrow_mut(|s| s.$field = panels);
            }
        }
    };
}
kept!(f32, single);
kept!(f64, double);

/// At least `len` numbers.
fn room<F: Float>(panels: &mut Vec<F>, len: usize) -> &mut [F] {
    if panels.len() < len {
        panels.resize(len, F::zero());
    }
    &mut panels[..len]
}

pub(super) fn multiply<F: Float, E: Epilogue<F>>(
    threads: &Threads,
    alpha: F,
    a: Mat<'_, F>,
    b: Operand<'_, F>,
    beta: F,
    c: MatMut<'_, F>,
    epilogue: &E,
) {
    let (rows, cols) = match &b {
        Operand::Source(b) => (b.rows(), b.cols()),
        Operand::Packed(b) => (b.rows, b.cols),
    };
    assert!(
        a.cols == rows && a.rows == c.rows && cols == c.cols,
        "matmul: {}×{} times {rows}×{cols} into {}×{}",
        a.rows,
        a.cols,
        c.rows,
        c.cols
    );
    F::pick(Product { threads, alpha, a, b, beta, c, epilogue });
}

struct Product<'a, F, E> {
    threads: &'a Threads,
    alpha: F,
    a: Mat<'a, F>,
    b: Operand<'a, F>,
    beta: F,
    c: MatMut<'a, F>,
    epilogue: &'a E,
}

impl<F: Float, E: Epilogue<F>> WithKernel<F> for Product<'_, F, E> {
    fn with<K: Kernel<F>>(self, kernel: K) {
        let Self { threads, alpha, a, b, beta, c, epilogue } = self;
        let (m, n, k) = (c.rows, c.cols, a.cols);
        if m == 0 || n == 0 {
            return;
        }
        let target = Target { c: Shared::new(c.data), row: c.row, col: c.col, alpha, epilogue };
        if k == 0 {
            for i in 0..m {
                target.finish(i, 0..n, beta, None, true);
            }
            return;
        }
        let [mut a_room, mut b_room] = F::take();
        let all_panels = n.div_ceil(K::COLS);
        for j0 in (0..n).step_by(COLS) {
            let j1 = n.min(j0 + COLS);
            let b_panels = (j1 - j0).div_ceil(K::COLS);
            for p0 in (0..k).step_by(INNER) {
                let p1 = k.min(p0 + INNER);
                let depth = p1 - p0;
                let (beta, last) = (if p0 == 0 { beta } else { F::one() }, p1 == k);
                for i0 in (0..m).step_by(ROWS) {
                    let i1 = m.min(i0 + ROWS);
                    let a_panels = (i1 - i0).div_ceil(K::ROWS);
                    let a_room = Shared::new(room(&mut a_room, a_panels * depth * K::ROWS));
                    let pack_a = |nth: usize| {
                        let i = i0 + nth * K::ROWS..i1.min(i0 + (nth + 1) * K::ROWS);
                        // SAFETY: each panel is written by one task.
                        let out = unsafe { a_room.part(nth * depth * K::ROWS, depth * K::ROWS) };
                        kernel.run(
                            #[inline(always)]
                            || panel(a.data, (a.col, a.row), p0..p1, i, K::ROWS, out),
                        );
                    };
                    // Panels of B are packed once for all rows.
                    let b_room = match &b {
                        Operand::Source(b) => {
                            let shared = Shared::new(room(&mut b_room, b_panels * depth * K::COLS));
                            let fresh = if i0 == 0 { b_panels } else { 0 };
                            let pack_b = |nth: usize| {
                                let j = j0 + nth * K::COLS..j1.min(j0 + (nth + 1) * K::COLS);
                                // SAFETY: each panel is written by one task.
                                let out = unsafe { shared.part(nth * depth * K::COLS, depth * K::COLS) };
                                kernel.run(
                                    #[inline(always)]
                                    || b.pack(p0..p1, j, K::COLS, out),
                                );
                            };
                            share(threads, fresh + a_panels, depth * K::COLS * 8, |nth| {
                                if nth < fresh { pack_b(nth) } else { pack_a(nth - fresh) }
                            });
                            &b_room[..]
                        }
                        Operand::Packed(packed) => {
                            assert!(packed.width == K::COLS, "matmul: packed for another instruction set");
                            share(threads, a_panels, depth * K::ROWS * 8, pack_a);
                            &packed.data[p0 * all_panels * K::COLS + j0 / K::COLS * depth * K::COLS..]
                        }
                    };
                    // SAFETY: nothing writes to it any more.
                    let a_room = &*unsafe { a_room.part(0, a_panels * depth * K::ROWS) };
                    let work = depth * K::ROWS * K::COLS;
                    // Pieces of rows and columns, so that each thread has some.
                    let most = (a_panels * b_panels * work / TASK).clamp(1, 4 * threads.count());
                    let most = if threads.count() == 1 { 1 } else { most };
                    let down = most.min(a_panels);
                    let across = most.div_ceil(down).min(b_panels);
                    let cut =
                        |all: usize, parts: usize, nth: usize| all * nth / parts..all * (nth + 1) / parts;
                    threads.run(down * across, |task| {
                        let (down, across) =
                            (cut(a_panels, down, task / across), cut(b_panels, across, task % across));
                        kernel.run(
                            #[inline(always)]
                            || {
                                let mut tile = [F::zero(); TILE];
                                for ia in down {
                                    let i = i0 + ia * K::ROWS..i1.min(i0 + (ia + 1) * K::ROWS);
                                    let a = &a_room[ia * depth * K::ROWS..(ia + 1) * depth * K::ROWS];
                                    for jb in across.clone() {
                                        let j = j0 + jb * K::COLS..j1.min(j0 + (jb + 1) * K::COLS);
                                        let b = &b_room[jb * depth * K::COLS..(jb + 1) * depth * K::COLS];
                                        kernel.tile(i.len(), j.len(), a, b, &mut tile);
                                        for (i, sums) in i.clone().zip(tile.chunks_exact(K::COLS)) {
                                            target.finish(i, j.clone(), beta, Some(sums), last);
                                        }
                                    }
                                }
                            },
                        );
                    });
                }
            }
        }
        F::give([a_room, b_room]);
    }
}

/// Runs `task(0..n)`, on several threads where `cost` numbers a task make that worth it.
fn share(threads: &Threads, n: usize, cost: usize, task: impl Fn(usize) + Sync) {
    if n * cost < TASK { (0..n).for_each(task) } else { threads.run(n, task) }
}

/// C and what is done with sums.
struct Target<'a, F, E> {
    c: Shared<'a, F>,
    row: usize,
    col: usize,
    alpha: F,
    epilogue: &'a E,
}

impl<F: Float, E: Epilogue<F>> Target<'_, F, E> {
    /// `c ← α·sums + β·c` over columns `j` of row `i`, and the epilogue after the last sums. Rows and columns are the caller's alone.
    #[inline(always)]
    fn finish(&self, i: usize, j: std::ops::Range<usize>, beta: F, sums: Option<&[F]>, last: bool) {
        let zeros = [F::zero(); 64];
        let one =
            |old: F, sum: F| if beta == F::zero() { self.alpha * sum } else { self.alpha * sum + beta * old };
        if self.col == 1 {
            // SAFETY: tasks work on tiles that do not overlap, and the rows of C do not either.
            let c = unsafe { self.c.part(i * self.row + j.start, j.len()) };
            match sums {
                Some(sums) if beta == F::zero() => {
                    c.iter_mut().zip(sums).for_each(|(c, &sum)| *c = self.alpha * sum);
                }
                Some(sums) => {
                    c.iter_mut().zip(sums).for_each(|(c, &sum)| *c = self.alpha * sum + beta * *c);
                }
                None => c.iter_mut().for_each(|c| *c = one(*c, F::zero())),
            }
            if last {
                self.epilogue.apply(i, j.start, c);
            }
            return;
        }
        for (nth, j) in j.enumerate() {
            // SAFETY: as above; strides do not make elements overlap.
            let c = unsafe { self.c.part(i * self.row + j * self.col, 1) };
            c[0] = one(c[0], sums.map_or(zeros[0], |s| s[nth]));
        }
    }
}
