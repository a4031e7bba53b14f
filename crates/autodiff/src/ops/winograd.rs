//! Windows of 3 × 3 in fewer multiplications: F(2×2, 3×3) of Winograd (Lavin & Gray 2016, "Fast algorithms for convolutional neural
//! networks", section 4), 16 where the sums themselves take 36.
//!
//! Each tile of 2 × 2 places sees 4 × 4 pixels d; with g the window of a channel, `y = Aᵀ[(G g Gᵀ) ∘ (Bᵀ d B)]A`. For each of the 16 points of
//! a tile the sum over channels is a product of matrices: `M = V·U`, V `[tiles, c]`, U `[c, o]`. Backward, from `W = A dy Aᵀ`:
//! `dU += Vᵀ·W`, `dg = Gᵀ dU G`; `D = W·Uᵀ`, `dd = B D Bᵀ`, added up where tiles overlap. All of a block of tiles stays in the cache.
//!
//! Rounding differs from the plain sums': errors are a small multiple of theirs, relative to the largest number of a tile; and a number
//! that is not finite reaches all places of its tiles.

use std::array;
use std::sync::Mutex;

use thalweg_core::gemm::{Finish, Gather};
use thalweg_core::{Threads, isa};

use super::conv2d::{Sizes, cut, taken};
use crate::number::{Columns, View};
use crate::op::{Backward, Codes, Forward};
use crate::pool::Block;
use crate::{Activation, Number, parallel, sums};

/// Points of a tile, after the transform.
const POINTS: usize = 16;
/// Channels at a time.
const LANES: usize = 16;
/// Tiles of a block, about: its numbers are to fit into the cache beside the kernel's.
const TILES: usize = 64;
/// Tasks of the forward direction at most.
const TASKS: usize = 32;
/// Runs of images in the backward direction at most, each with a gradient of the kernel of its own.
const RUNS: usize = 16;
/// Numbers of all those gradients, where they are large.
const SUMS: usize = 1 << 22;

type Lanes<N> = [N; LANES];

/// The sizes of one such convolution.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    n: usize,
    c: usize,
    o: usize,
    /// Of the image: rows and columns.
    size: [usize; 2],
    padding: [usize; 2],
    /// Places of the window: rows and columns.
    places: [usize; 2],
    /// Tiles along an image.
    wide: usize,
    /// Rows of tiles in a block.
    high: usize,
    /// Blocks of an image.
    blocks: usize,
}

/// Where the rows of the products start.
struct Lists<'a> {
    /// Of V, by tiles.
    v: &'a [u32],
    /// Of M and W, by tiles.
    w: &'a [u32],
    /// The one segment.
    zero: &'a [u32],
    /// The columns of V.
    channels: &'a [u32],
    /// Of dU, by channels.
    u: &'a [u32],
}

impl Tiles {
    /// If the convolution is of that kind, and large enough to gain by it.
    pub(super) fn of(s: &Sizes) -> Option<Self> {
        let fits = s.groups == 1
            && s.axes
                .iter()
                .all(|a| a.k == 3 && a.stride == 1 && a.dilation == 1 && a.padding <= 2 && a.places > 1)
            && [s.c, s.o].iter().all(|&c| c >= 2 * LANES && c.is_multiple_of(LANES));
        let [v, h] = s.axes;
        let (tall, wide) = (v.places.div_ceil(2), h.places.div_ceil(2));
        let high = (TILES / wide).clamp(1, tall);
        fits.then_some(Self {
            n: s.n,
            c: s.c,
            o: s.o,
            size: [v.size, h.size],
            padding: [v.padding, h.padding],
            places: [v.places, h.places],
            wide,
            high,
            blocks: tall.div_ceil(high),
        })
    }
    fn tiles(&self) -> usize {
        self.high * self.wide
    }
    /// Numbers of a row of a block's frame: its pixels, with zeros around the image.
    fn row(&self) -> usize {
        (2 * self.wide + 2) * self.c
    }
    fn frame(&self) -> usize {
        (2 * self.high + 2) * self.row()
    }
    fn pixels(&self) -> usize {
        self.size[0] * self.size[1] * self.c
    }
    fn image(&self) -> usize {
        self.places[0] * self.places[1] * self.o
    }
    pub(super) fn lists_len(&self) -> usize {
        2 * self.tiles() + 1 + 2 * self.c
    }
    pub(super) fn write_lists(&self, to: &mut [u32]) {
        let (tiles, c, o) = (self.tiles(), self.c, self.o);
        let all = (0..tiles).map(|t| t * c).chain((0..tiles).map(|t| t * o)).chain([0]);
        let all = all.chain(0..c).chain((0..c).map(|k| k * o));
        to.iter_mut().zip(all).for_each(|(to, x)| *to = x as u32);
    }
    fn lists<'a>(&self, all: &'a [u32]) -> Lists<'a> {
        let (v, rest) = all.split_at(self.tiles());
        let (w, rest) = rest.split_at(self.tiles());
        let (zero, rest) = rest.split_at(1);
        let (channels, u) = rest.split_at(self.c);
        Lists { v, w, zero, channels, u }
    }
    /// Rows of tiles that block `nth` of an image has.
    fn rows(&self, nth: usize) -> usize {
        self.high.min(self.places[0].div_ceil(2) - nth * self.high)
    }

    /// U for each point: `[c, o]`, or `[o, c]` turned; packed. `matrix` has room for one of them all.
    fn kernels<N: Number>(&self, threads: &Threads, g: &[N], turned: bool, all: &mut [N], panels: &mut [N]) {
        let (c, o) = (self.c, self.o);
        let (rows, cols) = if turned { (o, c) } else { (c, o) };
        isa::run(
            #[inline(always)]
            || {
                for i in 0..rows {
                    for j in 0..cols {
                        let (to, from) = if turned { (i, j) } else { (j, i) };
                        let g = &g[(to * c + from) * 9..][..9];
                        let down: [[N; 4]; 3] = array::from_fn(|s| lift(g[s], g[3 + s], g[6 + s]));
                        for r in 0..4 {
                            let across = lift(down[0][r], down[1][r], down[2][r]);
                            for (s, x) in across.into_iter().enumerate() {
                                all[((r * 4 + s) * rows + i) * cols + j] = x;
                            }
                        }
                    }
                }
            },
        );
        let room = N::room(rows, cols);
        for (matrix, room) in all.chunks_exact(rows * cols).zip(panels.chunks_exact_mut(room)) {
            N::pack(threads, View::new(matrix, rows, cols), room);
        }
    }

    /// The pixels under a block's tiles, in a frame of zeros.
    fn take<N: Number>(&self, x: &[N], block: usize, rows: usize, frame: &mut [N]) {
        let [height, width] = self.size;
        let [above, before] = self.padding;
        let (line, before) = (width * self.c, before * self.c);
        for (nth, to) in frame.chunks_exact_mut(self.row()).take(2 * rows + 2).enumerate() {
            let row = 2 * block * self.high + nth;
            match row.checked_sub(above).filter(|&row| row < height) {
                Some(row) => {
                    to[..before].fill(N::zero());
                    to[before..before + line].copy_from_slice(&x[row * line..][..line]);
                    to[before + line..].fill(N::zero());
                }
                None => to.fill(N::zero()),
            }
        }
    }

    /// V of a block: `Bᵀ d B`, `[16, tiles, c]`.
    #[inline(always)]
    fn enter<N: Number>(&self, frame: &[N], rows: usize, v: &mut [N]) {
        let (c, row, tiles) = (self.c, self.row(), rows * self.wide);
        for tile in 0..tiles {
            let from = &frame[tile / self.wide * 2 * row + tile % self.wide * 2 * c..];
            for k in (0..c).step_by(LANES) {
                let mut down = [[[N::zero(); LANES]; 4]; 4];
                for (s, down) in down.iter_mut().enumerate() {
                    let d = |r: usize| load(&from[r * row + s * c + k..]);
                    *down = enter([d(0), d(1), d(2), d(3)]);
                }
                for r in 0..4 {
                    let d = enter([down[0][r], down[1][r], down[2][r], down[3][r]]);
                    for s in 0..4 {
                        v[((r * 4 + s) * tiles + tile) * c + k..][..LANES].copy_from_slice(&d[s]);
                    }
                }
            }
        }
    }

    /// The places of a block from M: `Aᵀ M A`, with bias and relu. `y` is the block's rows of places.
    #[inline(always)]
    fn leave<N: Number>(&self, m: &[N], rows: usize, bias: Option<&[N]>, relu: bool, y: &mut [N]) {
        let (o, tiles, [_, width]) = (self.o, rows * self.wide, self.places);
        let tall = y.len() / (width * o);
        for tile in 0..tiles {
            let (p, q) = (tile / self.wide * 2, tile % self.wide * 2);
            for k in (0..o).step_by(LANES) {
                let mut down = [[[N::zero(); LANES]; 2]; 4];
                for (s, down) in down.iter_mut().enumerate() {
                    let m = |r: usize| load(&m[((r * 4 + s) * tiles + tile) * o + k..]);
                    *down = leave([m(0), m(1), m(2), m(3)]);
                }
                let bias = bias.map_or([N::zero(); LANES], |bias| load(&bias[k..]));
                for i in 0..2 {
                    let places = leave([down[0][i], down[1][i], down[2][i], down[3][i]]);
                    for (j, &z) in places.iter().enumerate() {
                        if p + i < tall && q + j < width {
                            let mut z = add(z, bias);
                            if relu {
                                z.iter_mut().for_each(|z| *z = N::select(z.lt(N::zero()), N::zero(), *z));
                            }
                            y[((p + i) * width + q + j) * o + k..][..LANES].copy_from_slice(&z);
                        }
                    }
                }
            }
        }
    }

    /// W of a block: `A dy Aᵀ`, `[16, tiles, o]`; beyond the places dy is 0.
    #[inline(always)]
    fn spread<N: Number>(&self, dy: &[N], rows: usize, w: &mut [N]) {
        let (o, tiles, [_, width]) = (self.o, rows * self.wide, self.places);
        let tall = dy.len() / (width * o);
        for tile in 0..tiles {
            let (p, q) = (tile / self.wide * 2, tile % self.wide * 2);
            for k in (0..o).step_by(LANES) {
                let mut down = [[[N::zero(); LANES]; 4]; 2];
                for (j, down) in down.iter_mut().enumerate() {
                    let y = |i: usize| {
                        let inside = p + i < tall && q + j < width;
                        if inside {
                            load(&dy[((p + i) * width + q + j) * o + k..])
                        } else {
                            [N::zero(); LANES]
                        }
                    };
                    *down = spread(y(0), y(1));
                }
                for r in 0..4 {
                    let across = spread(down[0][r], down[1][r]);
                    for s in 0..4 {
                        w[((r * 4 + s) * tiles + tile) * o + k..][..LANES].copy_from_slice(&across[s]);
                    }
                }
            }
        }
    }

    /// Adds `B D Bᵀ` of a block to the pixels' gradient in its frame, which starts at the block's first row.
    #[inline(always)]
    fn collect<N: Number>(&self, d: &[N], rows: usize, frame: &mut [N]) {
        let (c, row, tiles) = (self.c, self.row(), rows * self.wide);
        for tile in 0..tiles {
            let to = &mut frame[tile / self.wide * 2 * row + tile % self.wide * 2 * c..];
            for k in (0..c).step_by(LANES) {
                let mut down = [[[N::zero(); LANES]; 4]; 4];
                for (s, down) in down.iter_mut().enumerate() {
                    let d = |r: usize| load(&d[((r * 4 + s) * tiles + tile) * c + k..]);
                    *down = collect([d(0), d(1), d(2), d(3)]);
                }
                for r in 0..4 {
                    let across = collect([down[0][r], down[1][r], down[2][r], down[3][r]]);
                    for s in 0..4 {
                        let to = &mut to[r * row + s * c + k..][..LANES];
                        let sum = add(load(to), across[s]);
                        to.copy_from_slice(&sum);
                    }
                }
            }
        }
    }

    /// The forward direction: all of y.
    pub(super) fn forward<N: Number>(
        &self,
        f: &mut Forward<'_, N>,
        lists: Codes,
        bias: bool,
        relu: bool,
        y: &mut [N],
    ) {
        let (c, o, work) = (self.c, self.o, f.work);
        let bias = bias.then(|| f.x(2));
        let room = N::room(c, o);
        let mut all = f.take(POINTS * c * o);
        let mut panels = f.take(POINTS * room);
        let x = f.x(0);
        self.kernels(work.threads, f.x(1), false, &mut all, &mut panels);
        work.count(self.n * self.image() * 9 * c);
        let lists = self.lists(f.codes(lists));
        let (units, line) = (self.n * self.blocks, self.places[1] * o);
        let tasks = units.min(TASKS);
        let start = |unit: usize| {
            unit / self.blocks * self.image()
                + (unit % self.blocks * 2 * self.high).min(self.places[0]) * line
        };
        let task = |nth: usize| nth * units / tasks..(nth + 1) * units / tasks;
        let mut rest = &mut *y;
        let parts: [_; TASKS] = array::from_fn(|nth| {
            let part = || cut(&mut rest, start(task(nth).end) - start(task(nth).start));
            Mutex::new((nth < tasks).then(part))
        });
        let (v, m) = (POINTS * self.tiles() * c, POINTS * self.tiles() * o);
        work.threads.run(tasks, |nth| {
            let Some(y) = taken(&parts[nth]) else { return };
            N::scratch(self.frame() + v + m, |room_of_all| {
                let (frame, rest) = room_of_all.split_at_mut(self.frame());
                let (v, m) = rest.split_at_mut(v);
                task(nth).for_each(|unit| {
                    let (i, block) = (unit / self.blocks, unit % self.blocks);
                    let rows = self.rows(block);
                    let tiles = rows * self.wide;
                    self.take(&x[i * self.pixels()..][..self.pixels()], block, rows, frame);
                    isa::run(
                        #[inline(always)]
                        || self.enter(frame, rows, v),
                    );
                    for (point, room) in panels.chunks_exact(room).enumerate() {
                        let data = &v[point * tiles * c..][..tiles * c];
                        let a =
                            Gather { data, rows: &lists.v[..tiles], segments: lists.zero, len: c, step: 1 };
                        let u = Columns::Packed(N::packed(room, c, o));
                        let finish = Finish { beta: N::zero(), bias: None, relu: false };
                        let m = &mut m[point * tiles * o..][..tiles * o];
                        N::gather(a, u, m, &lists.w[..tiles], finish);
                    }
                    let from = start(unit) - start(task(nth).start);
                    let y = &mut y[from..from + start(unit + 1) - start(unit)];
                    isa::run(
                        #[inline(always)]
                        || self.leave(m, rows, bias, relu, y),
                    );
                });
            });
        });
        f.give(panels);
        f.give(all);
    }

    /// The backward direction: `wanted` says which gradients, of the image, the kernel, the bias.
    pub(super) fn backward<N: Number>(
        &self,
        b: &mut Backward<'_, N>,
        dy: &mut Block<N>,
        lists: Codes,
        activation: Activation,
        wanted: [bool; 3],
    ) {
        let (c, o, work) = (self.c, self.o, b.work);
        let lists = self.lists(b.codes(lists));
        let (x, kernel) = (b.x(0), b.x(1));
        let saved = if activation.uses_result() { b.y() } else { b.saved(0) };
        let one = |wanted: bool, size: usize| if wanted { size } else { 0 };
        let room = N::room(o, c);
        let mut panels = b.take(one(wanted[0], POINTS * room));
        if wanted[0] {
            let mut all = b.take(POINTS * c * o);
            self.kernels(work.threads, kernel, true, &mut all, &mut panels);
            b.give(all);
        }
        (0..usize::from(wanted[0]) + usize::from(wanted[1]))
            .for_each(|_| work.count(self.n * self.image() * 9 * c));
        let (du, db) = (one(wanted[1], POINTS * c * o), one(wanted[2], o));
        let size = du + db;
        let runs = (SUMS / (POINTS * c * o)).clamp(2, RUNS);
        let run = self.n.div_ceil(runs);
        let tasks = self.n.div_ceil(run);
        let mut scratch = b.take(tasks * size.max(1));
        let slot = b.grad(0);
        let fresh = slot.as_ref().is_some_and(|slot| slot.fresh);
        let mut dx: &mut [N] = match slot {
            Some(slot) => slot.grad,
            None => &mut [],
        };
        let (image, pixels, panels_all): (_, _, &[N]) = (self.image(), self.pixels(), &panels);
        let (mut dy_rest, mut scratch_rest) = (&mut **dy, &mut *scratch);
        let parts: [_; RUNS] = array::from_fn(|nth| {
            let images = (self.n.saturating_sub(nth * run)).min(run);
            let part = || {
                let dx = cut(&mut dx, one(wanted[0], images * pixels));
                (cut(&mut dy_rest, images * image), dx, cut(&mut scratch_rest, size))
            };
            Mutex::new((nth < tasks).then(part))
        });
        let (of_v, of_w) = (POINTS * self.tiles() * c, POINTS * self.tiles() * o);
        // The gradient of a whole image in its frame.
        let outer = one(wanted[0], (2 * self.places[0].div_ceil(2) + 2) * self.row());
        work.threads.run(tasks, |nth| {
            let Some((dy, dx, scratch)) = taken(&parts[nth]) else { return };
            let (du, db) = scratch.split_at_mut(du);
            du.fill(N::zero());
            db.fill(N::zero());
            N::scratch(self.frame() + of_v + of_w + outer, |all| {
                let (frame, rest) = all.split_at_mut(self.frame());
                let (v, rest) = rest.split_at_mut(of_v);
                let (w, outer) = rest.split_at_mut(of_w);
                for (nth_image, dy) in dy.chunks_exact_mut(image).enumerate() {
                    let i = nth * run + nth_image;
                    activation.times_saved(&Threads::serial(), &saved[i * image..][..image], dy);
                    let x = &x[i * pixels..][..pixels];
                    outer.fill(N::zero());
                    for (block, dy) in dy.chunks(2 * self.high * self.places[1] * o).enumerate() {
                        let rows = self.rows(block);
                        let tiles = rows * self.wide;
                        isa::run(
                            #[inline(always)]
                            || {
                                if !db.is_empty() {
                                    for dy in dy.chunks_exact(o) {
                                        db.iter_mut().zip(dy).for_each(|(db, &dy)| *db = *db + dy);
                                    }
                                }
                                self.spread(dy, rows, w);
                            },
                        );
                        if wanted[1] {
                            self.take(x, block, rows, frame);
                            isa::run(
                                #[inline(always)]
                                || self.enter(frame, rows, v),
                            );
                            for (point, du) in du.chunks_exact_mut(c * o).enumerate() {
                                let data = &v[point * tiles * c..][..tiles * c];
                                let (rows, segments) = (lists.channels, lists.zero);
                                let a = Gather { data, rows, segments, len: tiles, step: c };
                                let w = View::new(&w[point * tiles * o..][..tiles * o], tiles, o);
                                let finish = Finish { beta: N::one(), bias: None, relu: false };
                                N::gather(a, Columns::Rows(w), du, lists.u, finish);
                            }
                        }
                        if wanted[0] {
                            for (point, room) in panels_all.chunks_exact(room).enumerate() {
                                let data = &w[point * tiles * o..][..tiles * o];
                                let (rows, segments) = (&lists.w[..tiles], lists.zero);
                                let a = Gather { data, rows, segments, len: o, step: 1 };
                                let u = Columns::Packed(N::packed(room, o, c));
                                let finish = Finish { beta: N::zero(), bias: None, relu: false };
                                let d = &mut v[point * tiles * c..][..tiles * c];
                                N::gather(a, u, d, &lists.v[..tiles], finish);
                            }
                            let outer = &mut outer[2 * block * self.high * self.row()..];
                            isa::run(
                                #[inline(always)]
                                || self.collect(v, rows, outer),
                            );
                        }
                    }
                    if wanted[0] {
                        self.inner(outer, fresh, &mut dx[nth_image * pixels..][..pixels]);
                    }
                }
            });
        });
        b.give(panels);
        sums::join_runs(work.threads, &mut scratch, size);
        if wanted[2]
            && let Some(slot) = b.grad(2)
        {
            slot.add(&scratch[du..][..o]);
        }
        if wanted[1]
            && let Some(slot) = b.grad(1)
        {
            let sums: &[N] = &scratch[..du];
            parallel::rows(
                work.threads,
                slot.zeroed(),
                9 * c,
                64 * c,
                #[inline(always)]
                |first, to| {
                    for (nth, to) in to.chunks_exact_mut(9 * c).enumerate() {
                        for (k, to) in to.chunks_exact_mut(9).enumerate() {
                            let at = k * o + first + nth;
                            let down: [[N; 3]; 4] =
                                array::from_fn(|s| fold(array::from_fn(|r| sums[(r * 4 + s) * c * o + at])));
                            for r in 0..3 {
                                let across = fold(array::from_fn(|s| down[s][r]));
                                to[3 * r..][..3].iter_mut().zip(across).for_each(|(to, x)| *to = *to + x);
                            }
                        }
                    }
                },
            );
        }
        b.give(scratch);
    }

    /// What lies in an image of its gradient with the frame.
    fn inner<N: Number>(&self, outer: &[N], fresh: bool, dx: &mut [N]) {
        let [above, before] = self.padding;
        let (line, before) = (self.size[1] * self.c, before * self.c);
        let rows = outer.chunks_exact(self.row()).skip(above);
        isa::run(
            #[inline(always)]
            || {
                for (to, from) in dx.chunks_exact_mut(line).zip(rows) {
                    let from = &from[before..][..line];
                    if fresh {
                        to.copy_from_slice(from);
                    } else {
                        to.iter_mut().zip(from).for_each(|(to, &x)| *to = *to + x);
                    }
                }
            },
        );
    }
}

#[inline(always)]
fn load<N: Number>(x: &[N]) -> Lanes<N> {
    let mut lanes = [N::zero(); LANES];
    lanes.copy_from_slice(&x[..LANES]);
    lanes
}

#[inline(always)]
fn add<N: Number>(mut a: Lanes<N>, b: Lanes<N>) -> Lanes<N> {
    for (a, b) in a.iter_mut().zip(b) {
        *a = *a + b;
    }
    a
}

#[inline(always)]
fn sub<N: Number>(mut a: Lanes<N>, b: Lanes<N>) -> Lanes<N> {
    for (a, b) in a.iter_mut().zip(b) {
        *a = *a - b;
    }
    a
}

/// Bᵀ along one axis: four pixels become four points.
#[inline(always)]
fn enter<N: Number>(d: [Lanes<N>; 4]) -> [Lanes<N>; 4] {
    [sub(d[0], d[2]), add(d[1], d[2]), sub(d[2], d[1]), sub(d[1], d[3])]
}

/// Aᵀ along one axis: four points become two places.
#[inline(always)]
fn leave<N: Number>(m: [Lanes<N>; 4]) -> [Lanes<N>; 2] {
    [add(add(m[0], m[1]), m[2]), sub(sub(m[1], m[2]), m[3])]
}

/// G along one axis: three points of the kernel become four.
#[inline(always)]
fn lift<N: Number>(a: N, b: N, c: N) -> [N; 4] {
    let half = N::from_f64(0.5);
    [a, (a + b + c) * half, (a - b + c) * half, c]
}

/// Gᵀ along one axis.
#[inline(always)]
fn fold<N: Number>([a, b, c, d]: [N; 4]) -> [N; 3] {
    let half = N::from_f64(0.5);
    [a + (b + c) * half, (b - c) * half, (b + c) * half + d]
}

/// A along one axis: two places become four points.
#[inline(always)]
fn spread<N: Number>(a: Lanes<N>, b: Lanes<N>) -> [Lanes<N>; 4] {
    [a, add(a, b), sub(a, b), sub([N::zero(); LANES], b)]
}

/// B along one axis.
#[inline(always)]
fn collect<N: Number>(d: [Lanes<N>; 4]) -> [Lanes<N>; 4] {
    [d[0], add(sub(d[1], d[2]), d[3]), add(sub(d[1], d[0]), d[2]), sub([N::zero(); LANES], d[3])]
}

#[cfg(test)]
mod tests {
    use thalweg_core::{Kind, Layout};

    use super::*;
    use crate::Workspace;
    use crate::ops::conv2d::Window;

    /// y, dx, dkernel and dbias of Σ r∘conv(x) by the definition.
    fn plainly(
        [n, h, w, c, o, pad]: [usize; 6],
        x: &[f64],
        k: &[f64],
        b: &[f64],
        r: &[f64],
    ) -> [Vec<f64>; 4] {
        let [ph, pw] = [h, w].map(|size| size + 2 * pad - 2);
        let mut all = [vec![0.0; n * ph * pw * o], vec![0.0; x.len()], vec![0.0; k.len()], vec![0.0; o]];
        let [y, dx, dk, db] = &mut all;
        for (at, y) in y.iter_mut().enumerate() {
            let (i, p, q, to) = (at / (ph * pw * o), at / (pw * o) % ph, at / o % pw, at % o);
            *y = b[to];
            db[to] += r[at];
            for (u, v, from) in (0..9 * c).map(|t| (t / (3 * c), t / c % 3, t % c)) {
                let (row, column) = (p + u, q + v);
                if (pad..h + pad).contains(&row) && (pad..w + pad).contains(&column) {
                    let pixel = ((i * h + row - pad) * w + column - pad) * c + from;
                    let weight = (to * c + from) * 9 + u * 3 + v;
                    *y += x[pixel] * k[weight];
                    dx[pixel] += k[weight] * r[at];
                    dk[weight] += x[pixel] * r[at];
                }
            }
        }
        all
    }

    #[test]
    fn agrees_with_the_definition() {
        let numbers = |n: usize, by: f64| -> Vec<f64> { (0..n).map(|i| libm::sin(by * i as f64)).collect() };
        for (sizes, threads) in [
            ([1, 2, 2, 32, 32, 1], 1),
            ([3, 5, 4, 32, 48, 0], 2),
            ([2, 7, 9, 48, 32, 1], 3),
            ([5, 6, 33, 32, 32, 2], 2),
            ([1, 40, 3, 32, 32, 1], 2),
            ([33, 3, 3, 32, 32, 0].map(|x| if x == 0 { 1 } else { x }), 2),
        ] {
            let [n, h, w, c, o, pad] = sizes;
            let [ph, pw] = [h, w].map(|size| size + 2 * pad - 2);
            let (x, k) = (numbers(n * h * w * c, 0.7), numbers(o * c * 9, 1.3));
            let (b, r) = (numbers(o, 2.1), numbers(n * ph * pw * o, 0.37));
            let expected = plainly(sizes, &x, &k, &b, &r);
            let mut layout = Layout::builder();
            let mut theta = Vec::new();
            for (name, of, shape) in
                [("x", &x, vec![n, h, w, c]), ("k", &k, vec![o, c, 3, 3]), ("b", &b, vec![o])]
            {
                let axes = &["n", "h", "w", "c"][..shape.len()];
                layout = layout.tensor(name, &shape, axes, Kind::Weight);
                theta.push(of);
            }
            let layout = layout.build();
            let mut flat = vec![0.0; layout.buffer_len()];
            for (tensor, of) in layout.tensors().iter().zip(theta) {
                flat[tensor.range()].copy_from_slice(of);
            }
            let mut workspace = Workspace::<f64>::new(Threads::new(threads));
            let mut tape = workspace.tape(&layout, &flat);
            let [px, pk, pb] = [0, 1, 2].map(|i| tape.param_at(i));
            let window = Window { padding: [pad; 2], ..Window::default() };
            let y = tape.conv2d_last(px, pk, Some(pb), window, Activation::Identity);
            // x is used twice: one of its gradients is added to the other.
            let twice = tape.sum(px);
            let weights = tape.input(&r, [n, ph, pw, o]);
            let found = tape.value(y).to_vec();
            let z = tape.mul(y, weights);
            let z = tape.sum(z);
            let z = tape.add(z, twice);
            let mut grads = vec![0.0; flat.len()];
            tape.backward(z, &mut grads);
            let close = |found: &[f64], expected: &[f64], more: f64, what: &str| {
                let top = expected.iter().fold(1.0, |top: f64, x| top.max(x.abs()));
                for (a, b) in found.iter().zip(expected) {
                    assert!((a - b - more).abs() < 1e-12 * top, "{what} of {sizes:?}: {a} and {b}");
                }
            };
            close(&found, &expected[0], 0.0, "y");
            for (nth, (tensor, more)) in layout.tensors().iter().zip([1.0, 0.0, 0.0]).enumerate() {
                close(&grads[tensor.range()], &expected[nth + 1], more, &tensor.name);
            }
        }
    }
}
