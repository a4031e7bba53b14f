//! The loops around the tiles: blocks, panels, threads.

use std::cell::RefCell;
use std::ops::Range;

use super::kernel::{Extent, Kernel, Left, Right, Tile, WithKernel, update};
use super::pack::panel;
use super::shared::Shared;
use super::{Mat, Source, reach};
use crate::{Buffer, Float, Threads};

/// Terms that are summed in registers before they are added to C: part of the result's bits.
const INNER: usize = 512;
/// Rows of A that are packed at a time.
const ROWS: usize = 3072;
/// Columns of B that are read again for each panel of A.
const NEAR: usize = 1024;
/// Columns of B that are packed at a time.
const COLS: usize = 2048;
/// Multiplications that are worth a task of their own.
const TASK: usize = 1 << 17;
/// Columns of B up to which A is read in place: packing it costs about as much as half a panel's tiles.
const DIRECT_A: usize = 256;
/// Rows of A up to which B is read in place; more where B has few rows, so few pages.
const DIRECT_B: (usize, usize) = (48, 256);
/// Rows of B that are few.
const FEW: usize = 64;
/// Rows of A up to which it is turned over, not B.
const TURNED: usize = 64;

/// Works on finished stretches of C.
pub trait Epilogue<F>: Sync {
    /// There is nothing to do: [`Keep`].
    const NOTHING: bool = false;
    /// `c` is C at row `i` and columns from `j` on; each element is seen once, when its sum is complete.
    fn apply(&self, i: usize, j: usize, c: &mut [F]);
}

/// No epilogue.
#[derive(Clone, Copy, Debug)]
pub struct Keep;

impl<F> Epilogue<F> for Keep {
    const NOTHING: bool = true;
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

/// Memory for panels that a thread keeps from product to product: of A and of B.
struct Scratch<F>([Buffer<F>; 2]);

impl<F: Float> Default for Scratch<F> {
    fn default() -> Self {
        Self([Buffer::zeros(0), Buffer::zeros(0)])
    }
}

thread_local! {
    static SINGLE: RefCell<Scratch<f32>> = RefCell::default();
    static DOUBLE: RefCell<Scratch<f64>> = RefCell::default();
}

/// The thread's own panels, taken while a product runs.
pub(crate) trait Kept: Sized {
    fn take() -> [Buffer<Self>; 2];
    fn give(panels: [Buffer<Self>; 2]);
}

macro_rules! kept {
    ($f:ident, $of:ident) => {
        impl Kept for $f {
            fn take() -> [Buffer<Self>; 2] {
                $of.take().0
            }
            fn give(panels: [Buffer<Self>; 2]) {
                $of.set(Scratch(panels));
            }
        }
    };
}
kept!(f32, SINGLE);
kept!(f64, DOUBLE);

/// At least `len` numbers that start on a cache line.
fn room<F: Float>(panels: &mut Buffer<F>, len: usize) -> &mut [F] {
    if panels.len() < len {
        *panels = Buffer::zeros(len);
    }
    &mut panels[..len]
}

/// A product of checked shapes.
pub(super) struct Product<'a, F, E> {
    pub threads: &'a Threads,
    pub alpha: F,
    pub a: Mat<'a, F>,
    pub b: Operand<'a, F>,
    pub beta: F,
    pub c: Place<'a, F>,
    pub epilogue: &'a E,
    /// Only tiles that have an element at or below the diagonal.
    pub lower: bool,
}

/// A matrix that is written: element (i, j) at `data[from + i·row + j·col]`.
#[derive(Clone, Copy)]
pub(super) struct Place<'a, F> {
    pub data: &'a Shared<'a, F>,
    pub from: usize,
    pub rows: usize,
    pub cols: usize,
    pub row: usize,
    pub col: usize,
}

/// `C ← α·A·B + β·C`, then the epilogue.
///
/// # Panics
/// When the shapes do not fit.
pub(super) fn multiply<F: Float, E: Epilogue<F>>(product: Product<'_, F, E>) {
    let (rows, cols) = match &product.b {
        Operand::Source(b) => (b.rows(), b.cols()),
        Operand::Packed(b) => (b.rows, b.cols),
    };
    let (a, c) = (product.a, product.c);
    assert!(
        a.cols == rows && a.rows == c.rows && cols == c.cols,
        "matmul: {}×{} times {rows}×{cols} into {}×{}",
        a.rows,
        a.cols,
        c.rows,
        c.cols
    );
    if c.rows > 0 && c.cols > 0 {
        F::pick(product);
    }
}

impl<F: Float, E: Epilogue<F>> WithKernel<F> for Product<'_, F, E> {
    fn with<K: Kernel<F>>(self, kernel: K) {
        let Self { threads, alpha, a, b, beta, c, epilogue, lower } = self;
        let target = Target { c, alpha, epilogue, lower };
        if a.cols == 0 {
            for i in 0..c.rows {
                target.empty(i, 0..c.cols, beta);
            }
            return;
        }
        // A B whose columns are contiguous would be turned over in packing. Few rows of A do not pay for that: they are turned over
        // instead, Cᵀ = Bᵀ·Aᵀ, the same sums in the same order.
        if let Operand::Source(source) = &b
            && let Some(b) = source.matrix()
            && b.col != 1
            && a.rows <= TURNED.min(b.cols)
            && !lower
        {
            let c = Place { rows: c.cols, cols: c.rows, row: c.col, col: c.row, ..c };
            let a = a.t();
            let target = Target { c, alpha, epilogue, lower };
            return blocks::<F, E, K, true>(kernel, threads, b.t(), &Operand::Source(&a), beta, &target);
        }
        blocks::<F, E, K, false>(kernel, threads, a, &b, beta, &target);
    }
}

/// The blocks of a product, one after the other; `TURNED`: it is `Cᵀ` that is computed.
fn blocks<F: Float, E: Epilogue<F>, K: Kernel<F>, const TURNED: bool>(
    kernel: K,
    threads: &Threads,
    a: Mat<'_, F>,
    b: &Operand<'_, F>,
    beta: F,
    target: &Target<'_, F, E>,
) {
    let (m, n, k) = (target.c.rows, target.c.cols, a.cols);
    let [mut a_room, mut b_room] = F::take();
    let all_panels = n.div_ceil(K::COLS);
    let a_direct = n <= DIRECT_A;
    let b_direct = match b {
        Operand::Source(b) if m <= DIRECT_B.0 || k <= FEW && m <= DIRECT_B.1 => {
            b.matrix().filter(|b| b.col == 1)
        }
        _ => None,
    };
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
                let rows = |nth: usize| i0 + nth * K::ROWS..i1.min(i0 + (nth + 1) * K::ROWS);
                let cols = |nth: usize| j0 + nth * K::COLS..j1.min(j0 + (nth + 1) * K::COLS);
                // Panels of B are packed once for all rows.
                let (fresh_a, fresh_b) = match b {
                    Operand::Source(_) if i0 == 0 && b_direct.is_none() => (!a_direct, true),
                    _ => (!a_direct, false),
                };
                let a_len = if a_direct { 0 } else { a_panels * depth * K::ROWS };
                let b_len = if b_direct.is_some() { 0 } else { b_panels * depth * K::COLS };
                let a_panel = |nth: usize| nth * depth * K::ROWS..(nth + 1) * depth * K::ROWS;
                let b_panel = |nth: usize| nth * depth * K::COLS..(nth + 1) * depth * K::COLS;
                let packed_b = match b {
                    Operand::Packed(packed) => {
                        assert!(packed.width == K::COLS, "matmul: packed for another instruction set");
                        Some(&packed.data[p0 * all_panels * K::COLS + j0 / K::COLS * depth * K::COLS..])
                    }
                    Operand::Source(_) => None,
                };
                {
                    let a_to = Shared::new(room(&mut a_room, a_len));
                    let b_to = Shared::new(room(&mut b_room, if fresh_b { b_len } else { 0 }));
                    let (some_a, some_b) =
                        (if fresh_a { a_panels } else { 0 }, if fresh_b { b_panels } else { 0 });
                    share(threads, some_a + some_b, depth * K::COLS * 8, |nth| {
                        kernel.run(
                            #[inline(always)]
                            || {
                                if nth < some_b {
                                    let Operand::Source(b) = b else { return };
                                    let at = b_panel(nth);
                                    // SAFETY: each panel is written by one task.
                                    let out = unsafe { b_to.part(at.start, at.len()) };
                                    match b.matrix() {
                                        Some(b) => {
                                            panel(b.data, (b.row, b.col), p0..p1, cols(nth), K::COLS, out)
                                        }
                                        None => b.pack(p0..p1, cols(nth), K::COLS, out),
                                    }
                                } else {
                                    let at = a_panel(nth - some_b);
                                    // SAFETY: each panel is written by one task.
                                    let out = unsafe { a_to.part(at.start, at.len()) };
                                    panel(a.data, (a.col, a.row), p0..p1, rows(nth - some_b), K::ROWS, out);
                                }
                            },
                        );
                    });
                }
                let (a_room, b_room) = (&a_room[..a_len], packed_b.unwrap_or(&b_room));
                let left = |nth: usize| match a_direct {
                    true => Left::Direct {
                        data: &a.data[rows(nth).start * a.row + p0 * a.col..],
                        row: a.row,
                        col: a.col,
                    },
                    false => Left::Panel(&a_room[a_panel(nth)]),
                };
                let right = |nth: usize| match b_direct {
                    Some(b) => Right::Direct { data: &b.data[p0 * b.row + cols(nth).start..], row: b.row },
                    None => Right::Panel(&b_room[b_panel(nth)]),
                };
                let near = NEAR / K::COLS;
                let (down, across) = cut(threads.count(), a_panels, b_panels, depth * K::ROWS * K::COLS);
                threads.run(down * across, |task| {
                    let part =
                        |all: usize, parts: usize, nth: usize| all * nth / parts..all * (nth + 1) / parts;
                    let (down, across) =
                        (part(a_panels, down, task / across), part(b_panels, across, task % across));
                    let mut tile = Tile::zeros();
                    for start in across.clone().step_by(near) {
                        for ia in down.clone() {
                            let (i, left) = (rows(ia), left(ia));
                            for jb in start..across.end.min(start + near) {
                                let (j, right) = (cols(jb), right(jb));
                                if target.lower && j.start >= i.end {
                                    continue;
                                }
                                kernel.run(
                                    #[inline(always)]
                                    || {
                                        if !TURNED
                                            && target.c.col == 1
                                            && i.len() == K::ROWS
                                            && j.len() == K::COLS
                                        {
                                            let of = (i.clone(), j);
                                            return target.whole(
                                                kernel,
                                                depth,
                                                (left, right),
                                                of,
                                                beta,
                                                last,
                                            );
                                        }
                                        let extent = Extent { rows: i.len(), cols: j.len(), depth };
                                        kernel.tile(extent, left, right, &mut tile);
                                        target.write::<K, TURNED>(i.clone(), j.clone(), beta, &tile, last);
                                    },
                                );
                            }
                        }
                    }
                });
            }
        }
    }
    F::give([a_room, b_room]);
}

/// Pieces of rows and columns, so that each thread has some and none is smaller than [`TASK`]: how many down, how many across.
fn cut(threads: usize, a_panels: usize, b_panels: usize, work: usize) -> (usize, usize) {
    if threads == 1 {
        return (1, 1);
    }
    let most = (a_panels * b_panels * work / TASK).clamp(1, 4 * threads);
    let down = most.min(a_panels);
    (down, most.div_ceil(down).min(b_panels))
}

/// Runs `task(0..n)`, on several threads where `cost` numbers a task make that worth it.
fn share(threads: &Threads, n: usize, cost: usize, task: impl Fn(usize) + Sync) {
    if n * cost < TASK { (0..n).for_each(task) } else { threads.run(n, task) }
}

/// C and what is done with sums.
struct Target<'a, F, E> {
    c: Place<'a, F>,
    alpha: F,
    epilogue: &'a E,
    lower: bool,
}

impl<F: Float, E: Epilogue<F>> Target<'_, F, E> {
    /// A whole tile without a way through [`Tile`], where C's rows are contiguous; the epilogue after the last sums.
    #[inline(always)]
    fn whole<K: Kernel<F>>(
        &self,
        kernel: K,
        depth: usize,
        (left, right): (Left<'_, F>, Right<'_, F>),
        (i, j): (Range<usize>, Range<usize>),
        beta: F,
        last: bool,
    ) {
        let row = self.c.row;
        let from = self.c.from + i.start * row + j.start;
        // SAFETY: tasks work on tiles that do not overlap, and `start` sees to it that the tile lies inside C.
        unsafe {
            let c = self.c.data.start(from, reach(K::ROWS, K::COLS, row, 1));
            kernel.whole(depth, left, right, (self.alpha, beta), c, row);
        }
        if last && !E::NOTHING {
            for i in i {
                // SAFETY: as above.
                let c = unsafe { self.c.data.part(self.c.from + i * row + j.start, K::COLS) };
                self.epilogue.apply(i, j.start, c);
            }
        }
    }

    /// `c ← α·sums + β·c` over a tile, and the epilogue after the last sums. The tile is the caller's alone.
    #[inline(always)]
    fn write<K: Kernel<F>, const TURNED: bool>(
        &self,
        i: Range<usize>,
        j: Range<usize>,
        beta: F,
        tile: &Tile<F>,
        last: bool,
    ) {
        if TURNED {
            let mut turned = Tile::zeros();
            tile.turn(K::ROWS, K::COLS, j.len(), &mut turned);
            for (j, sums) in j.zip(turned.0.chunks_exact(K::ROWS)) {
                self.stretch((j, self.c.col), (i.clone(), self.c.row), beta, sums.iter().copied(), last);
            }
        } else {
            for (i, sums) in i.zip(tile.0.chunks_exact(K::COLS)) {
                self.stretch((i, self.c.row), (j.clone(), self.c.col), beta, sums.iter().copied(), last);
            }
        }
    }

    /// Row `i` of C, or of Cᵀ where that is computed, at columns `j`; each with its stride.
    #[inline(always)]
    fn stretch(
        &self,
        (i, row): (usize, usize),
        (j, col): (Range<usize>, usize),
        beta: F,
        sums: impl Iterator<Item = F>,
        last: bool,
    ) {
        let (alpha, from) = (self.alpha, self.c.from + i * row + j.start * col);
        if col == 1 {
            // SAFETY: tasks work on tiles that do not overlap, and the rows of C do not either.
            let c = unsafe { self.c.data.part(from, j.len()) };
            update(c, sums, alpha, beta);
            if last {
                self.epilogue.apply(i, j.start, c);
            }
            return;
        }
        for (nth, sum) in (0..j.len()).zip(sums) {
            // SAFETY: as above; strides do not make elements overlap.
            let c = unsafe { self.c.data.part(from + nth * col, 1) };
            update(c, std::iter::once(sum), alpha, beta);
        }
    }

    /// A row of a product over no terms.
    fn empty(&self, i: usize, j: Range<usize>, beta: F) {
        let sums = std::iter::repeat_n(F::zero(), j.len());
        self.stretch((i, self.c.row), (j, self.c.col), beta, sums, true);
    }
}

/// Copies what lies below the diagonal of a square matrix to above it.
pub(super) fn mirror<F: Float>(
    threads: &Threads,
    side: usize,
    c: &Shared<'_, F>,
    (row, col): (usize, usize),
) {
    /// Rows and columns that are copied together, so that both fit the first cache.
    const BLOCK: usize = 32;
    let blocks = side.div_ceil(BLOCK);
    share(threads, blocks, BLOCK * side, |nth| {
        let own = nth * BLOCK..side.min((nth + 1) * BLOCK);
        for start in (own.start..side).step_by(BLOCK) {
            for i in own.clone() {
                for j in start.max(i + 1)..side.min(start + BLOCK) {
                    // SAFETY: a task writes above the diagonal in rows of its own; what is below it, nobody writes.
                    unsafe { *c.start(i * row + j * col, 1) = *c.start(j * row + i * col, 1) };
                }
            }
        }
    });
}
