//! The loops around the tiles: blocks, panels, threads.

use std::cell::RefCell;
use std::ops::Range;

use super::kernel::{Extent, Kernel, Left, Right, Tile, WithKernel, ask_near, update};
use super::pack::panel;
use super::shared::Shared;
use super::{Mat, Source, reach};
use crate::{Buffer, Float, Threads};

/// Terms that are summed in registers before they are added to C: part of the result's bits. A panel of B over so many rows stays in
/// the first cache.
const INNER: usize = 256;
/// Rows of A that are read again for each panel of B: over [`INNER`] columns they stay in the second cache.
const ROWS: usize = 384;
/// Numbers of A that are packed at a time, and of B.
const ROOM: [usize; 2] = [1 << 20, 1 << 22];
/// Multiplications that are worth a task of their own.
const TASK: usize = 1 << 16;
/// Numbers that are copied by one thread alone.
const SMALL: usize = 1 << 13;
/// Multiplications up to which each thread packs what it needs by itself.
const ALONE: usize = 1 << 25;
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
    Packed(Packed<'a, F>),
}

/// A B matrix in panels, for several products.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a, F> {
    /// Blocks of rows; in each the panels, in each its rows.
    data: &'a [F],
    rows: usize,
    cols: usize,
    /// Rows of a block.
    block: usize,
    /// Columns of a panel: those of the kernel in use when it was packed.
    width: usize,
}

impl<'a, F: Float> Packed<'a, F> {
    /// The numbers that the panels of a matrix of that size take, at most.
    pub fn room(rows: usize, cols: usize) -> usize {
        rows * cols.next_multiple_of(WIDEST)
    }
    /// Packs a matrix into `room`.
    ///
    /// # Panics
    /// When the room is too small.
    pub fn new(threads: &Threads, b: &dyn Source<F>, room: &'a mut [F]) -> Self {
        Self::in_blocks(threads, b, room, INNER)
    }
    /// Packs a matrix into `room`, each panel in one piece: for [`gather`](super::gather()).
    ///
    /// # Panics
    /// When the room is too small.
    pub fn whole(threads: &Threads, b: &dyn Source<F>, room: &'a mut [F]) -> Self {
        Self::in_blocks(threads, b, room, b.rows().max(1))
    }
    /// What [`Packed::whole`] left in `room`, on the same instruction set, of a matrix of that size.
    ///
    /// # Panics
    /// When the room is too small.
    pub fn in_room(room: &'a [F], rows: usize, cols: usize) -> Self {
        let mut width = 0;
        F::pick(Width(&mut width));

        let data = &room[..rows * cols.div_ceil(width) * width];
        Self { data, rows, cols, block: rows.max(1), width }
    }
    fn in_blocks(threads: &Threads, b: &dyn Source<F>, room: &'a mut [F], block: usize) -> Self {
        let mut packed = Self { data: &[], rows: b.rows(), cols: b.cols(), block, width: 0 };
        F::pick(PackAll { threads, b, room, to: &mut packed });
        packed
    }
    /// The panels, each in one piece, and their width.
    pub(super) fn panels(&self) -> (&'a [F], usize) {
        assert!(self.block >= self.rows, "gather: packed in blocks");
        (self.data, self.width)
    }
    /// Rows and columns.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }
}

/// Asks for the columns of a panel.
struct Width<'a>(&'a mut usize);

impl<F: Float> WithKernel<F> for Width<'_> {
    fn with<K: Kernel<F>>(self, _: K) {
        *self.0 = K::COLS;
    }
}

/// The columns of the widest panel.
const WIDEST: usize = 32;

struct PackAll<'a, 'p, F> {
    threads: &'p Threads,
    b: &'p dyn Source<F>,
    room: &'a mut [F],
    to: &'p mut Packed<'a, F>,
}

impl<F: Float> WithKernel<F> for PackAll<'_, '_, F> {
    fn with<K: Kernel<F>>(self, kernel: K) {
        let Self { threads, b, room, to } = self;
        let room = &mut room[..to.rows * to.cols.div_ceil(K::COLS) * K::COLS];
        let panels =
            Panels { to: Shared::new(room), depth: to.rows, block: to.block, of: 0..to.cols, width: K::COLS };
        share(threads, panels.count(), INNER * K::COLS, |nth| panels.right(kernel, b, nth));
        (to.data, to.width) = (room, K::COLS);
    }
}

/// Panels to be written: those of columns of B, or of rows of A, over blocks of terms.
struct Panels<'a, F> {
    to: Shared<'a, F>,
    /// Terms.
    depth: usize,
    /// Terms of a block.
    block: usize,
    /// Columns of B, or rows of A.
    of: Range<usize>,
    /// How many of them a panel has.
    width: usize,
}

impl<F: Float> Panels<'_, F> {
    /// Panels of all blocks.
    fn count(&self) -> usize {
        self.depth.div_ceil(self.block) * self.of.len().div_ceil(self.width)
    }
    /// Calls `f` with the terms of a panel, its columns or rows, and where it goes. Each may be asked for once.
    #[inline(always)]
    fn write(&self, nth: usize, f: impl FnOnce(Range<usize>, Range<usize>, &mut [F])) {
        let panels = self.of.len().div_ceil(self.width);
        let (block, nth) = (nth / panels, nth % panels);
        let p = block * self.block..self.depth.min((block + 1) * self.block);
        let j = self.of.start + nth * self.width;
        let from = (p.start * panels + nth * p.len()) * self.width;
        // SAFETY: panels do not overlap, and nobody asks for one twice.
        let out = unsafe { self.to.part(from, p.len() * self.width) };
        f(p, j..self.of.end.min(j + self.width), out);
    }
    /// Packs a panel of B.
    fn right<K: Kernel<F>>(&self, kernel: K, b: &dyn Source<F>, nth: usize) {
        kernel.run(
            #[inline(always)]
            || {
                self.write(nth, |p, j, out| match b.matrix() {
                    Some(b) => panel(kernel, b.data, (b.row, b.col), p, j, K::COLS, out),
                    None => b.pack(p, j, K::COLS, out),
                });
            },
        );
    }
    /// Packs a panel of A.
    fn left<K: Kernel<F>>(&self, kernel: K, a: Mat<'_, F>, nth: usize) {
        kernel.run(
            #[inline(always)]
            || {
                self.write(nth, |p, i, out| {
                    panel(kernel, a.data, (a.col, a.row), p, i, K::ROWS, out);
                });
            },
        );
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

/// A product of rows; `TURNED`: it is `Cᵀ` that is computed.
fn blocks<F: Float, E: Epilogue<F>, K: Kernel<F>, const TURNED: bool>(
    kernel: K,
    threads: &Threads,
    a: Mat<'_, F>,
    b: &Operand<'_, F>,
    beta: F,
    target: &Target<'_, F, E>,
) {
    let (m, n, k) = (target.c.rows, target.c.cols, a.cols);
    let right = match *b {
        Operand::Packed(packed) => {
            assert!(packed.width == K::COLS, "matmul: packed for another instruction set");
            assert!(packed.block == INNER || k <= INNER.min(packed.block), "matmul: packed in one piece");
            Given::Packed(packed.data)
        }
        Operand::Source(b) if m <= DIRECT_B.0 || k <= FEW && m <= DIRECT_B.1 => match b.matrix() {
            Some(b) if b.col == 1 => Given::Direct(b),
            _ => Given::Source(b),
        },
        Operand::Source(b) => Given::Source(b),
    };
    let sides = Sides { a, a_direct: n <= DIRECT_A, right, beta };
    let fresh =
        [if matches!(sides.right, Given::Source(_)) { n } else { 0 }, if sides.a_direct { 0 } else { m }];
    let work = m * n * k;
    if threads.count() == 1 || work > ALONE {
        return sides.piece::<E, K, TURNED>(kernel, threads, (0..m, 0..n), target);
    }
    // Numbers that another thread has just packed take longer to come than to be packed again: each packs its own.
    let panels = [m.div_ceil(K::ROWS), n.div_ceil(K::COLS)];
    let most = (work / TASK).clamp(1, threads.count());
    let by_rows = panels[1] < most || panels[0] >= most && fresh[0] <= fresh[1];
    let (panels, width, size) = if by_rows { (panels[0], K::ROWS, m) } else { (panels[1], K::COLS, n) };
    let pieces = most.min(panels);
    let serial = Threads::serial();
    threads.run(pieces, |nth| {
        let edge = |nth: usize| (panels * nth / pieces * width).min(size);
        let own = edge(nth)..edge(nth + 1);
        let of = if by_rows { (own, 0..n) } else { (0..m, own) };
        sides.piece::<E, K, TURNED>(kernel, &serial, of, target);
    });
}

/// B as it is given.
enum Given<'a, F> {
    /// To be read in place.
    Direct(Mat<'a, F>),
    /// To be packed.
    Source(&'a dyn Source<F>),
    /// Packed, all columns.
    Packed(&'a [F]),
}

/// A and B of a product, and how they are read.
struct Sides<'a, F> {
    a: Mat<'a, F>,
    a_direct: bool,
    right: Given<'a, F>,
    beta: F,
}

impl<F: Float> Sides<'_, F> {
    /// These rows and columns of C, both from whole panels on: first A and B are packed, then threads work on stretches of C of their
    /// own, so that they wait for each other twice.
    fn piece<E: Epilogue<F>, K: Kernel<F>, const TURNED: bool>(
        &self,
        kernel: K,
        threads: &Threads,
        (rows, cols): (Range<usize>, Range<usize>),
        target: &Target<'_, F, E>,
    ) {
        let (a, k) = (self.a, self.a.cols);
        let fresh = if let Given::Source(b) = self.right { Some(b) } else { None };
        let at_once = |room: usize, width: usize| (room / k / width).max(1) * width;
        let rows_at_once = if self.a_direct { rows.len() } else { at_once(ROOM[0], K::ROWS).max(ROWS) };
        let cols_at_once = if fresh.is_some() { at_once(ROOM[1], K::COLS) } else { cols.len() };
        let [mut a_room, mut b_room] = F::take();
        for j0 in cols.clone().step_by(cols_at_once.max(1)) {
            let j = j0..cols.end.min(j0 + cols_at_once);
            for i0 in rows.clone().step_by(rows_at_once.max(1)) {
                let i = i0..rows.end.min(i0 + rows_at_once);
                let a_len = if self.a_direct { 0 } else { i.len().div_ceil(K::ROWS) * K::ROWS * k };
                let b_len = if fresh.is_some() { j.len().div_ceil(K::COLS) * K::COLS * k } else { 0 };
                let (a_to, b_to) = (room(&mut a_room, a_len), room(&mut b_room, b_len));
                let left =
                    Panels { to: Shared::new(a_to), depth: k, block: INNER, of: i.clone(), width: K::ROWS };
                let right =
                    Panels { to: Shared::new(b_to), depth: k, block: INNER, of: j.clone(), width: K::COLS };
                let some_a = if self.a_direct { 0 } else { left.count() };
                let some_b = if i0 == rows.start && fresh.is_some() { right.count() } else { 0 };
                share(threads, some_a + some_b, INNER.min(k) * K::COLS, |nth| match fresh {
                    Some(b) if nth < some_b => right.right(kernel, b, nth),
                    _ => left.left(kernel, a, nth - some_b),
                });
                let left =
                    if self.a_direct { LeftSide::Direct(a) } else { LeftSide::Panels(&a_room[..a_len]) };
                let right = match self.right {
                    Given::Direct(b) => RightSide::Direct(b),
                    Given::Source(_) => RightSide::Panels(&b_room[..b_len], j.start, j.len()),
                    Given::Packed(panels) => RightSide::Panels(panels, 0, target.c.cols),
                };
                let stretch = Stretch { left, right, depth: k, i, j: j.clone(), beta: self.beta };
                let (a_panels, b_panels) =
                    (stretch.i.len().div_ceil(K::ROWS), stretch.j.len().div_ceil(K::COLS));
                let (down, across) = cut(threads.count(), a_panels, b_panels, k * K::ROWS * K::COLS);
                threads.run(down * across, |task| {
                    let part =
                        |all: usize, parts: usize, nth: usize| all * nth / parts..all * (nth + 1) / parts;
                    let rows = part(a_panels, down, task / across);
                    let cols = part(b_panels, across, task % across);
                    // One call for all tiles: what is compiled for the instruction set cannot be inlined into what is not.
                    kernel.run(
                        #[inline(always)]
                        || stretch.tiles::<E, K, TURNED>(kernel, rows, cols, target),
                    );
                });
            }
        }
        F::give([a_room, b_room]);
    }
}

/// A of a stretch: in place, or in panels from its first row on.
enum LeftSide<'a, F> {
    Direct(Mat<'a, F>),
    Panels(&'a [F]),
}

/// B of a stretch: in place, or in panels: those of so many columns from one of them on.
enum RightSide<'a, F> {
    Direct(Mat<'a, F>),
    Panels(&'a [F], usize, usize),
}

/// Rows and columns of C whose A and B are at hand.
struct Stretch<'a, F> {
    left: LeftSide<'a, F>,
    right: RightSide<'a, F>,
    /// Terms.
    depth: usize,
    i: Range<usize>,
    j: Range<usize>,
    beta: F,
}

impl<F: Float> Stretch<'_, F> {
    /// The tiles of these panels of rows and columns.
    #[inline(always)]
    fn tiles<E: Epilogue<F>, K: Kernel<F>, const TURNED: bool>(
        &self,
        kernel: K,
        rows: Range<usize>,
        cols: Range<usize>,
        target: &Target<'_, F, E>,
    ) {
        let k = self.depth;
        let a_panels = self.i.len().div_ceil(K::ROWS);
        // As many rows at a time as the second cache holds, in equal parts.
        let near = rows.len().div_ceil(rows.len().div_ceil(ROWS / K::ROWS));
        let mut tile = Tile::zeros();
        for start in rows.clone().step_by(near) {
            let rows = start..rows.end.min(start + near);
            for p0 in (0..k).step_by(INNER) {
                let (p1, beta) = (k.min(p0 + INNER), if p0 == 0 { self.beta } else { F::one() });
                let (depth, last) = (p1 - p0, p1 == k);
                for jb in cols.clone() {
                    let j = self.j.start + jb * K::COLS;
                    let j = j..self.j.end.min(j + K::COLS);
                    let (right, next) = match self.right {
                        RightSide::Direct(b) => {
                            (Right::Direct { data: &b.data[p0 * b.row + j.start..], row: b.row }, &[][..])
                        }
                        RightSide::Panels(panels, first, all) => {
                            let (nth, all) = ((j.start - first) / K::COLS, all.div_ceil(K::COLS));
                            let panels = &panels[(p0 * all + nth * depth) * K::COLS..];
                            let (own, next) = panels.split_at(depth * K::COLS);
                            (Right::Panel(own), &next[..next.len().min(own.len())])
                        }
                    };
                    let share = next.len().div_ceil(rows.len());
                    for (nth, ia) in rows.clone().enumerate() {
                        let i = self.i.start + ia * K::ROWS;
                        let i = i..self.i.end.min(i + K::ROWS);
                        if target.lower && j.start >= i.end {
                            continue;
                        }
                        // The panel that follows comes nearer meanwhile.
                        for line in (nth * share..next.len().min((nth + 1) * share)).step_by(64 / F::BYTES) {
                            ask_near(&next[line]);
                        }
                        let left = match self.left {
                            LeftSide::Direct(a) => {
                                let data = &a.data[i.start * a.row + p0 * a.col..];
                                Left::Direct { data, row: a.row, col: a.col }
                            }
                            LeftSide::Panels(panels) => {
                                let at = (p0 * a_panels + ia * depth) * K::ROWS;
                                Left::Panel(&panels[at..at + depth * K::ROWS])
                            }
                        };
                        if !TURNED && target.c.col == 1 && i.len() == K::ROWS && j.len() == K::COLS {
                            let at = (i.start, j.start);
                            target.whole(kernel, depth, (left, right), at, beta, last);
                            continue;
                        }
                        let extent = Extent { rows: i.len(), cols: j.len(), depth };
                        kernel.tile(extent, left, right, &mut tile);
                        target.write::<K, TURNED>(i, j.clone(), beta, &tile, last);
                    }
                }
            }
        }
    }
}

/// Pieces of rows and columns, so that each thread has several and none is smaller than [`TASK`]: how many down, how many across.
/// Pieces of C are about as wide as they are high, so that a panel serves many tiles.
fn cut(threads: usize, a_panels: usize, b_panels: usize, work: usize) -> (usize, usize) {
    if threads == 1 {
        return (1, 1);
    }
    let most = (a_panels * b_panels * work / TASK).clamp(1, 4 * threads);
    let (mut down, mut across) = (1, 1);
    while down * across < most && (down < a_panels || across < b_panels) {
        if across >= b_panels || down < a_panels && a_panels / down >= 2 * (b_panels / across) {
            down = (2 * down).min(a_panels);
        } else {
            across = (2 * across).min(b_panels);
        }
    }
    (down, across)
}

/// Runs `task(0..n)`, on several threads where `cost` numbers a task make that worth it.
fn share(threads: &Threads, n: usize, cost: usize, task: impl Fn(usize) + Sync) {
    if n * cost < SMALL { (0..n).for_each(task) } else { threads.run(n, task) }
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
        (i, j): (usize, usize),
        beta: F,
        last: bool,
    ) {
        let row = self.c.row;
        let from = self.c.from + i * row + j;
        // SAFETY: tasks work on tiles that do not overlap, and `start` sees to it that the tile lies inside C.
        unsafe {
            let c = self.c.data.start(from, reach(K::ROWS, K::COLS, row, 1));
            kernel.whole(depth, left, right, (self.alpha, beta), c, row);
        }
        if last && !E::NOTHING {
            for i in i..i + K::ROWS {
                // SAFETY: as above.
                let c = unsafe { self.c.data.part(self.c.from + i * row + j, K::COLS) };
                self.epilogue.apply(i, j, c);
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
