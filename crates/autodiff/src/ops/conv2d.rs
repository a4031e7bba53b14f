//! `conv2d` and `conv1d`: convolutions (cross-correlations, as everywhere in learning).

use std::array;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use thalweg_core::gemm::{Finish, Gather};
use thalweg_core::{Threads, isa};

use super::winograd::Tiles;
use crate::number::{Columns, View};
use crate::op::{Backward, Codes, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Activation, Number, Tape, Var, parallel, sums};

/// Runs of images in the backward direction at most, each with a weight gradient of its own: fixed, so that the order of sums does not
/// depend on the threads.
const RUNS: usize = 16;
/// Tasks of the forward direction at most.
const TASKS: usize = 32;

/// How a window moves over an image. Sizes are `[rows, columns]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How far it moves.
    pub stride: [usize; 2],
    /// Zeros around the image, on each side.
    pub padding: [usize; 2],
    /// The distance of its points.
    pub dilation: [usize; 2],
    /// Runs of channels that do not see each other.
    pub groups: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1 }
    }
}

/// How many places a window of `k` points has along an axis of `size`; none if it does not fit.
pub(crate) fn places(size: usize, k: usize, stride: usize, padding: usize, dilation: usize) -> Option<usize> {
    let (size, reach) = (size + 2 * padding, dilation * (k.checked_sub(1)?) + 1);
    Some(size.checked_sub(reach)? / stride + 1)
}

/// `x [n, h, w, c], kernel [o, c/groups, kh, kw], bias [o] → [n, h′, w′, o]`, h′ = ⌊(h + 2·padding − dilation·(kh − 1) − 1)/stride⌋ + 1:
/// ```text
/// z[i, p, q, o] = bias[o] + Σ_{r, s, c} kernel[o, c, r, s]·x[i, p·stride + r·dilation − padding, …, c]     y = f(z)
/// ```
/// With channels last the products read the image where it lies: a row of the left matrix is a place of the window, its terms the
/// window's rows, columns and channels ([`Gather`]). Of an image with padding that is a copy with zeros around it.
///
/// Backward: `dz = f′(z)∘dy`, `dbias += Σ dz`; `dkernel += Σ dz·x` over the places, gathered from the same image; `dx` is gathered from dz
/// in a frame of zeros, for each residue of rows and columns modulo the stride by itself, since each has its own points of the kernel.
/// Saved: f′(z), where it does not follow from y.
#[derive(Clone, Copy, Debug)]
struct Conv {
    window: Window,
    activation: Activation,
    bias: bool,
    lists: Codes,
}

/// One axis of a convolution.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub(super) size: usize,
    pub(super) k: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
    pub(super) dilation: usize,
    /// Places of the window.
    pub(super) places: usize,
}

impl Axis {
    /// The image's size with its frame.
    fn framed(&self) -> usize {
        self.size + 2 * self.padding
    }
    /// Positions `phase, phase + stride, …` of the image.
    fn count(&self, phase: usize) -> usize {
        self.size.saturating_sub(phase).div_ceil(self.stride)
    }
    /// The points of the kernel that meet those positions, and the place of the window at which they meet the first one; by rising
    /// places, which may lie outside.
    fn taps(self, phase: usize) -> impl Iterator<Item = (usize, isize)> + Clone {
        let at = (phase + self.padding) as isize;
        (0..self.k).rev().filter_map(move |r| {
            let from = at - (r * self.dilation) as isize;
            (from.rem_euclid(self.stride as isize) == 0).then(|| (r, from.div_euclid(self.stride as isize)))
        })
    }
    fn phases(&self) -> Range<usize> {
        0..self.stride.min(self.size)
    }
    /// Zeros before the places, so that no tap lies outside.
    fn margin(&self) -> usize {
        let first = self.phases().flat_map(|phase| self.taps(phase)).map(|(_, at)| at).min();
        first.map_or(0, |at| (-at).max(0) as usize)
    }
    /// Places with zeros around them.
    fn outer(&self) -> usize {
        let ends = self.phases().flat_map(|phase| {
            let count = self.count(phase) as isize;
            self.taps(phase).map(move |(_, at)| at + count)
        });
        self.margin() + self.places.max(ends.max().unwrap_or(0).max(0) as usize)
    }
}

/// The sizes of one convolution.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) n: usize,
    pub(super) c: usize,
    pub(super) o: usize,
    pub(super) groups: usize,
    pub(super) axes: [Axis; 2],
}

impl Sizes {
    fn new(window: Window, x: Shape, kernel: Shape) -> Self {
        let (&[n, h, w, c], &[o, per, kh, kw]) = (&x[..], &kernel[..]) else {
            misfit("conv2d", x, kernel, "an image [n, h, w, c] and a kernel [o, c/groups, kh, kw]");
        };
        let Window { stride, padding, dilation, groups } = window;
        if groups == 0 || per * groups != c || !o.is_multiple_of(groups) {
            misfit("conv2d", x, kernel, "a kernel whose channels are those of the image over the groups");
        }
        let [sh, sw] = stride;
        assert!(sh > 0 && sw > 0, "conv2d: the stride {sh}, {sw} does not move");
        let axes = [(h, kh, 0), (w, kw, 1)].map(|(size, k, axis)| {
            let (stride, padding, dilation) = (stride[axis], padding[axis], dilation[axis]);
            let places = places(size, k, stride, padding, dilation).unwrap_or_else(|| {
                misfit("conv2d", x, kernel, "a kernel that is no larger than the padded image")
            });
            Axis { size, k, stride, padding, dilation, places }
        });
        let sizes = Self { n, c, o, groups, axes };
        let largest = (sizes.framed() * c).max(sizes.outer() * o).max(sizes.places() * o);
        assert!(u32::try_from(largest).is_ok(), "conv2d: an image of {x} has more than 2³² numbers");
        sizes
    }
    fn of(&self, f: impl Fn(&Axis) -> usize) -> usize {
        f(&self.axes[0]) * f(&self.axes[1])
    }
    fn places(&self) -> usize {
        self.of(|a| a.places)
    }
    fn pixels(&self) -> usize {
        self.of(|a| a.size)
    }
    fn framed(&self) -> usize {
        self.of(Axis::framed)
    }
    fn outer(&self) -> usize {
        self.of(Axis::outer)
    }
    /// Points of the kernel.
    fn points(&self) -> usize {
        self.of(|a| a.k)
    }
    /// Terms of a place: points of the kernel times channels of a group.
    fn depth(&self) -> usize {
        self.points() * self.c / self.groups
    }
    fn is_framed(&self) -> bool {
        self.axes.iter().any(|a| a.padding > 0)
    }
    /// Whether the columns of a window's row lie behind each other, all channels.
    fn is_dense(&self) -> bool {
        self.groups == 1 && self.axes[1].dilation == 1
    }
    /// Terms of a segment in the forward direction: a row of the window, or one of its points.
    fn len(&self) -> usize {
        if self.is_dense() { self.axes[1].k * self.c } else { self.c / self.groups }
    }
    /// Segments of a place.
    fn segments(&self) -> usize {
        if self.is_dense() { self.axes[0].k } else { self.points() }
    }
    /// Writes all lists in the order of [`Lists`]; counts them where there is no room yet.
    fn write_lists(&self, to: &mut [u32]) {
        let Self { c, o, .. } = *self;
        let [v, h] = self.axes;
        let mut to = to.iter_mut();
        let mut put = |x: usize| {
            if let Some(to) = to.next() {
                *to = x as u32;
            }
        };
        let wide = h.framed() * c;
        for p in 0..v.places {
            for q in 0..h.places {
                put(p * v.stride * wide + q * h.stride * c);
            }
        }
        (0..self.places()).for_each(|at| put(at * o));
        for r in 0..v.k {
            for s in 0..if self.is_dense() { 1 } else { h.k } {
                put(r * v.dilation * wide + s * h.dilation * c);
            }
        }
        // The weight gradient: rows are terms of a place, segments rows of places.
        for r in 0..v.k {
            for s in 0..h.k {
                for k in 0..c / self.groups {
                    put(r * v.dilation * wide + s * h.dilation * c + k);
                }
            }
        }
        (0..self.depth()).for_each(|at| put(at * (o / self.groups)));
        (0..v.places).for_each(|p| put(p * v.stride * wide));
        // The image's gradient, phase by phase.
        let wide = h.outer() * o;
        for a in v.phases() {
            for b in h.phases() {
                for (_, at) in v.taps(a) {
                    for (_, along) in h.taps(b) {
                        let row = (at + v.margin() as isize) as usize;
                        let column = (along + h.margin() as isize) as usize;
                        put(row * wide + column * o);
                    }
                }
                for i in 0..v.count(a) {
                    for j in 0..h.count(b) {
                        put(i * wide + j * o);
                    }
                }
                for i in 0..v.count(a) {
                    for j in 0..h.count(b) {
                        put(((a + i * v.stride) * h.size + b + j * h.stride) * c);
                    }
                }
            }
        }
    }
    fn lists_len(&self) -> usize {
        2 * self.places()
            + self.segments()
            + 2 * self.depth()
            + self.axes[0].places
            + self.points()
            + 2 * self.pixels()
    }
    /// The kernel as a matrix `[points in that order and channels of a group, o/groups]`.
    fn matrix<N: Number>(
        &self,
        kernel: &[N],
        group: usize,
        points: impl Iterator<Item = usize>,
        to: &mut [N],
    ) {
        let (per, each, all) = (self.c / self.groups, self.o / self.groups, self.points());
        let kernel = &kernel[group * each * per * all..][..each * per * all];
        for (point, to) in points.zip(to.chunks_exact_mut(per * each)) {
            for (k, to) in to.chunks_exact_mut(each).enumerate() {
                for (to, kernel) in to.iter_mut().zip(kernel.chunks_exact(per * all)) {
                    *to = kernel[k * all + point];
                }
            }
        }
    }
    /// The same the other way round: `[points in that order and o/groups, channels of a group]`.
    fn turned<N: Number>(
        &self,
        kernel: &[N],
        group: usize,
        points: impl Iterator<Item = usize>,
        to: &mut [N],
    ) {
        let (per, each, all) = (self.c / self.groups, self.o / self.groups, self.points());
        let kernel = &kernel[group * each * per * all..][..each * per * all];
        for (point, to) in points.zip(to.chunks_exact_mut(per * each)) {
            for (to, kernel) in to.chunks_exact_mut(per).zip(kernel.chunks_exact(per * all)) {
                for (k, to) in to.iter_mut().enumerate() {
                    *to = kernel[k * all + point];
                }
            }
        }
    }
    /// The rows `rows` of an image in its frame of zeros.
    fn frame<N: Number>(&self, x: &[N], rows: Range<usize>, to: &mut [N]) {
        let [v, h] = self.axes;
        let (wide, inner, before) = (h.framed() * self.c, h.size * self.c, h.padding * self.c);
        for (row, to) in rows.zip(to.chunks_exact_mut(wide)) {
            match row.checked_sub(v.padding).filter(|&row| row < v.size) {
                Some(row) => {
                    to[..before].fill(N::zero());
                    to[before..before + inner].copy_from_slice(&x[row * inner..][..inner]);
                    to[before + inner..].fill(N::zero());
                }
                None => to.fill(N::zero()),
            }
        }
    }
}

/// Places and starts of the products, as [`Sizes::write_lists`] puts them.
struct Lists<'a> {
    rows: &'a [u32],
    starts: &'a [u32],
    segments: &'a [u32],
    kernel_rows: &'a [u32],
    kernel_starts: &'a [u32],
    kernel_segments: &'a [u32],
    phases: &'a [u32],
}

/// The first numbers of a list, which loses them.
fn first<'a>(list: &mut &'a [u32], len: usize) -> &'a [u32] {
    let (first, rest) = list.split_at(len);
    *list = rest;
    first
}

impl<'a> Lists<'a> {
    fn new(s: &Sizes, mut all: &'a [u32]) -> Self {
        let mut take = |len| first(&mut all, len);
        Self {
            rows: take(s.places()),
            starts: take(s.places()),
            segments: take(s.segments()),
            kernel_rows: take(s.depth()),
            kernel_starts: take(s.depth()),
            kernel_segments: take(s.axes[0].places),
            phases: all,
        }
    }
}

impl<N: Number> Op<N> for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let s = Sizes::new(self.window, x.shape(0), x.shape(1));
        if self.bias && x.shape(2)[..] != [s.o] {
            misfit("conv2d", x.shape(1), x.shape(2), "a kernel [o, ..] and a bias [o]");
        }
        [s.n, s.axes[0].places, s.axes[1].places, s.o].into()
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let s = Sizes::new(self.window, f.shape(0), f.shape(1));
        let relu = self.activation == Activation::Relu;
        if let Some(tiles) = Tiles::of(&s) {
            self.lists = f.new_codes(tiles.lists_len());
            tiles.write_lists(f.codes_mut(self.lists));
            if !y.is_empty() {
                tiles.forward(f, self.lists, self.bias, relu, y);
                self.activation.finish(f, y);
            }
            return;
        }
        self.lists = f.new_codes(s.lists_len());
        s.write_lists(f.codes_mut(self.lists));
        if y.is_empty() {
            return;
        }
        let (per, each, depth) = (s.c / s.groups, s.o / s.groups, s.depth());
        let [v, h] = s.axes;
        let room = N::room(depth, each);
        let mut panels = f.take(s.groups * room);
        let mut matrix = f.take(depth * each);
        // Few images are cut into bands of places.
        let bands = (TASKS / 2 / s.n).clamp(1, v.places);
        let high = v.places.div_ceil(bands);
        let bands = v.places.div_ceil(high);
        let reach = (high - 1) * v.stride + v.dilation * (v.k - 1) + 1;
        let units = s.n * bands;
        let tasks = units.min(TASKS);
        let size = if s.is_framed() { reach * h.framed() * s.c } else { 0 };
        let (x, kernel, bias, work) = (f.x(0), f.x(1), self.bias.then(|| f.x(2)), f.work);
        work.count(s.n * s.places() * depth * s.o);
        for (group, room) in panels.chunks_exact_mut(room).enumerate() {
            isa::run(
                #[inline(always)]
                || s.matrix(kernel, group, 0..s.points(), &mut matrix),
            );
            N::pack(work.threads, View::new(&matrix, depth, each), room);
        }
        let lists = Lists::new(&s, f.codes(self.lists));
        let (image, line) = (s.places() * s.o, h.places * s.o);
        let start = |unit: usize| unit / bands * image + (unit % bands * high).min(v.places) * line;
        let task = |nth: usize| nth * units / tasks..(nth + 1) * units / tasks;
        let mut rest = &mut *y;
        let parts: [_; TASKS] = array::from_fn(|nth| {
            let len = start(task(nth).end) - start(task(nth).start);
            Mutex::new((nth < tasks).then(|| cut(&mut rest, len)))
        });
        work.threads.run(tasks, |nth| {
            let Some(y) = taken(&parts[nth]) else { return };
            N::scratch(size, |frame| {
                task(nth).for_each(|unit| {
                    let (i, p) = (unit / bands, unit % bands * high);
                    let places = (high.min(v.places - p)) * h.places;
                    let x = &x[i * s.pixels() * s.c..][..s.pixels() * s.c];
                    let x: &[N] = if s.is_framed() {
                        let from = p * v.stride;
                        s.frame(x, from..from + reach, frame);
                        &*frame
                    } else {
                        &x[p * v.stride * h.size * s.c..]
                    };
                    let y = &mut y[start(unit) - start(task(nth).start)..][..places * s.o];
                    for (group, room) in panels.chunks_exact(room).enumerate() {
                        let (step, len) = (1, s.len());
                        let (rows, segments) = (&lists.rows[..places], lists.segments);
                        let a = Gather { data: &x[group * per..], rows, segments, len, step };
                        let bias = bias.map(|bias| &bias[group * each..][..each]);
                        let finish = Finish { beta: N::zero(), bias, relu };
                        let b = Columns::Packed(N::packed(room, depth, each));
                        N::gather(a, b, &mut y[group * each..], &lists.starts[..places], finish);
                    }
                })
            });
        });
        f.give(matrix);
        f.give(panels);
        self.activation.finish(f, y);
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let s = Sizes::new(self.window, b.shape(0), b.shape(1));
        if dy.is_empty() {
            return;
        }
        let wanted = [b.wants(0), b.wants(1), self.bias && b.wants(2)];
        if let Some(tiles) = Tiles::of(&s) {
            tiles.backward(b, dy, self.lists, self.activation, wanted);
            return;
        }
        let (x, kernel, work) = (b.x(0), b.x(1), b.work);
        let (per, each, depth) = (s.c / s.groups, s.o / s.groups, s.depth());
        let [v, h] = s.axes;
        let lists = Lists::new(&s, b.codes(self.lists));
        let saved = if self.activation.uses_result() { b.y() } else { b.saved(0) };
        let one = |wanted: bool, size: usize| if wanted { size } else { 0 };
        let run = s.n.div_ceil((s.n * s.places() / 128).clamp(1, RUNS));
        let tasks = s.n.div_ceil(run);
        // The kernel, phase by phase, group by group.
        let phases = || v.phases().flat_map(|a| h.phases().map(move |b| (a, b)));
        let taps = |(a, b): (usize, usize)| v.taps(a).count() * h.taps(b).count();
        let mut panels = b.take(one(
            wanted[0],
            phases().map(|phase| N::room(taps(phase) * each, per)).sum::<usize>() * s.groups,
        ));
        if wanted[0] {
            let mut matrix = b.take(kernel.len() / s.groups);
            let mut rest: &mut [N] = &mut panels;
            for (a, b) in phases() {
                let rows = taps((a, b)) * each;
                for group in 0..s.groups {
                    let points = v.taps(a).flat_map(|(r, _)| h.taps(b).map(move |(s, _)| r * h.k + s));
                    isa::run(
                        #[inline(always)]
                        || s.turned(kernel, group, points, &mut matrix),
                    );
                    let (own, others) = std::mem::take(&mut rest).split_at_mut(N::room(rows, per));
                    N::pack(work.threads, View::new(&matrix, rows, per), own);
                    rest = others;
                }
            }
            b.give(matrix);
            work.count(s.n * s.places() * depth * s.o);
        }
        let framed = one(wanted[1] && s.is_framed(), s.framed() * s.c);
        let outer = one(wanted[0], s.outer() * s.o);
        let (dk, db) = (one(wanted[1], kernel.len()), one(wanted[2], s.o));
        let size = dk + db;
        let mut scratch = b.take(tasks * size.max(1));
        // Each position of the image is written by one phase, unless one has no point of the kernel.
        let all_meet = phases().all(|phase| taps(phase) > 0);
        let (image, pixels) = (s.places() * s.o, s.pixels() * s.c);
        let slot = b.grad(0);
        let fresh = slot.as_ref().is_some_and(|slot| slot.fresh) && all_meet;
        let mut dx: &mut [N] = match slot {
            Some(slot) if fresh => slot.grad,
            Some(slot) => slot.zeroed(),
            None => &mut [],
        };
        let beta = if fresh { N::zero() } else { N::one() };
        let (panels_all, activation): (&[N], _) = (&panels, self.activation);
        let (mut dy_rest, mut scratch_rest) = (&mut **dy, &mut *scratch);
        let parts: [_; RUNS] = array::from_fn(|nth| {
            let images = (s.n.saturating_sub(nth * run)).min(run);
            let part = || {
                let dx = cut(&mut dx, one(wanted[0], images * pixels));
                (cut(&mut dy_rest, images * image), dx, cut(&mut scratch_rest, size))
            };
            Mutex::new((nth < tasks).then(part))
        });
        work.threads.run(tasks, |nth| {
            let Some((dy, dx, scratch)) = taken(&parts[nth]) else { return };
            let (dk, db) = scratch.split_at_mut(dk);
            db.fill(N::zero());
            N::scratch(framed + outer, |room| {
                let (frame, dz) = room.split_at_mut(framed);
                dz.fill(N::zero());
                for (nth_image, dy) in dy.chunks_exact_mut(image).enumerate() {
                    let i = nth * run + nth_image;
                    activation.times_saved(&Threads::serial(), &saved[i * image..][..image], dy);
                    isa::run(
                        #[inline(always)]
                        || {
                            if !db.is_empty() {
                                for dy in dy.chunks_exact(s.o) {
                                    db.iter_mut().zip(dy).for_each(|(db, &dy)| *db = *db + dy);
                                }
                            }
                        },
                    );
                    if wanted[1] {
                        let x = &x[i * pixels..][..pixels];
                        let x: &[N] = if s.is_framed() {
                            s.frame(x, 0..v.framed(), frame);
                            frame
                        } else {
                            x
                        };
                        let beta = if nth_image == 0 { N::zero() } else { N::one() };
                        let finish = Finish { beta, bias: None, relu: false };
                        for (group, dk) in dk.chunks_exact_mut(depth * each).enumerate() {
                            let (rows, segments) = (lists.kernel_rows, lists.kernel_segments);
                            let (len, step) = (h.places, h.stride * s.c);
                            let a = Gather { data: &x[group * per..], rows, segments, len, step };
                            let dy = View {
                                data: &dy[group * each..],
                                rows: s.places(),
                                cols: each,
                                row: s.o,
                                col: 1,
                            };
                            N::gather(a, Columns::Rows(dy), dk, lists.kernel_starts, finish);
                        }
                    }
                    if wanted[0] {
                        let (wide, line) = (h.outer() * s.o, h.places * s.o);
                        let from = v.margin() * wide + h.margin() * s.o;
                        for (row, dy) in dy.chunks_exact(line).enumerate() {
                            dz[from + row * wide..][..line].copy_from_slice(dy);
                        }
                        let dx = &mut dx[nth_image * pixels..][..pixels];
                        let (mut lists, mut panels) = (lists.phases, panels_all);
                        for (a, b) in phases() {
                            let (taps, count) = (taps((a, b)), v.count(a) * h.count(b));
                            let segments = first(&mut lists, taps);
                            let (rows, starts) = (first(&mut lists, count), first(&mut lists, count));
                            for group in 0..s.groups {
                                let (own, rest) = panels.split_at(N::room(taps * each, per));
                                panels = rest;
                                if taps == 0 {
                                    continue;
                                }
                                let a =
                                    Gather { data: &dz[group * each..], rows, segments, len: each, step: 1 };
                                let kernel = Columns::Packed(N::packed(own, taps * each, per));
                                let finish = Finish { beta, bias: None, relu: false };
                                N::gather(a, kernel, &mut dx[group * per..], starts, finish);
                            }
                        }
                    }
                }
            });
        });
        b.give(panels);
        if wanted[1] {
            work.count(s.n * s.places() * depth * s.o);
        }
        sums::join_runs(work.threads, &mut scratch, size);
        if wanted[2]
            && let Some(slot) = b.grad(2)
        {
            slot.add(&scratch[dk..][..s.o]);
        }
        if let Some(slot) = b.grad(1) {
            let (to, all) = (slot.zeroed(), s.points());
            let sums: &[N] = &scratch[..dk];
            parallel::rows(
                work.threads,
                to,
                per * all,
                4 * per * all,
                #[inline(always)]
                |at, to| {
                    for (nth, to) in to.chunks_exact_mut(per * all).enumerate() {
                        let (group, o) = ((at + nth) / each, (at + nth) % each);
                        let sums = &sums[group * depth * each..][..depth * each];
                        for (k, to) in to.chunks_exact_mut(all).enumerate() {
                            for (point, to) in to.iter_mut().enumerate() {
                                *to = *to + sums[(point * per + k) * each + o];
                            }
                        }
                    }
                },
            );
        }
        b.give(scratch);
    }
}

/// The first `len` numbers of a slice, which loses them.
pub(super) fn cut<'a, N>(rest: &mut &'a mut [N], len: usize) -> &'a mut [N] {
    let (own, others) = std::mem::take(rest).split_at_mut(len);
    *rest = others;
    own
}

/// What a task works on; each takes its own once.
pub(super) fn taken<T>(part: &Mutex<Option<T>>) -> Option<T> {
    part.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl<N: Number> Tape<'_, N> {
    /// `f(x ⋆ kernel + bias)` for `x [n, c, h, w]`, `kernel [o, c/groups, kh, kw]`, `bias [o]`; the result is `[n, o, h′, w′]` with
    /// h′ = ⌊(h + 2·padding − dilation·(kh − 1) − 1)/stride⌋ + 1. As PyTorch's `conv2d`. [`Tape::conv2d_last`] is faster: this one turns
    /// images over and back.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn conv2d(
        &mut self,
        x: Var,
        kernel: Var,
        bias: Option<Var>,
        window: Window,
        activation: Activation,
    ) -> Var {
        if self.shape(x).len() != 4 {
            let (x, kernel) = (self.shape(x), self.shape(kernel));
            misfit("conv2d", x, kernel, "an image [n, c, h, w] and a kernel [o, c/groups, kh, kw]");
        }
        let x = self.permute(x, &[0, 2, 3, 1]);
        let y = self.conv2d_last(x, kernel, bias, window, activation);
        self.permute(y, &[0, 3, 1, 2])
    }
    /// The same with channels last: `x [n, h, w, c]` gives `[n, h′, w′, o]`; the kernel is `[o, c/groups, kh, kw]` all the same.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn conv2d_last(
        &mut self,
        x: Var,
        kernel: Var,
        bias: Option<Var>,
        window: Window,
        activation: Activation,
    ) -> Var {
        let op = |bias| Conv { window, activation, bias, lists: Codes::default() };
        match bias {
            Some(b) => self.apply(op(true), &[x, kernel, b]),
            None => self.apply(op(false), &[x, kernel]),
        }
    }
    /// A convolution along one axis: `x [n, c, l]`, `kernel [o, c/groups, k]`, `bias [o]`; of `window` the second sizes count.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn conv1d(
        &mut self,
        x: Var,
        kernel: Var,
        bias: Option<Var>,
        window: Window,
        activation: Activation,
    ) -> Var {
        if self.shape(x).len() != 3 {
            let (x, kernel) = (self.shape(x), self.shape(kernel));
            misfit("conv1d", x, kernel, "a signal [n, c, l] and a kernel [o, c/groups, k]");
        }
        let x = self.permute(x, &[0, 2, 1]);
        let y = self.conv1d_last(x, kernel, bias, window, activation);
        self.permute(y, &[0, 2, 1])
    }
    /// The same with channels last: `x [n, l, c]` gives `[n, l′, o]`.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn conv1d_last(
        &mut self,
        x: Var,
        kernel: Var,
        bias: Option<Var>,
        window: Window,
        activation: Activation,
    ) -> Var {
        let (&[n, l, c], &[o, per, k]) = (&self.shape(x)[..], &self.shape(kernel)[..]) else {
            let (x, kernel) = (self.shape(x), self.shape(kernel));
            misfit("conv1d", x, kernel, "a signal [n, l, c] and a kernel [o, c/groups, k]");
        };
        let (x, kernel) = (self.reshape(x, [n, 1, l, c]), self.reshape(kernel, [o, per, 1, k]));
        let Window { stride, padding, dilation, groups } = window;
        let window =
            Window { stride: [1, stride[1]], padding: [0, padding[1]], dilation: [1, dilation[1]], groups };
        let y = self.conv2d_last(x, kernel, bias, window, activation);
        let shape = self.shape(y).without(1);
        self.reshape(y, shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check;

    #[test]
    fn gradient() {
        let plain = Window::default();
        check!([[1, 1, 3, 3], [1, 1, 2, 2]], |t, x| t.conv2d(x[0], x[1], None, plain, Activation::Identity));
        check!([[10, 2, 4, 3], [3, 2, 3, 2], [3]], |t, x| {
            t.conv2d(x[0], x[1], Some(x[2]), plain, Activation::Tanh)
        });
        check!([[3, 4, 2, 3], [4, 4, 1, 1], [4]], |t, x| {
            t.conv2d(x[0], x[1], Some(x[2]), plain, Activation::Silu)
        });
        let wild = Window { stride: [2, 3], padding: [2, 1], dilation: [2, 1], groups: 2 };
        check!([[3, 2, 5, 7], [4, 1, 3, 2], [4]], |t, x| {
            t.conv2d(x[0], x[1], Some(x[2]), wild, Activation::Identity)
        });
        let wide = Window { padding: [3, 3], ..plain };
        check!([[2, 1, 2, 2], [1, 1, 3, 3]], |t, x| t.conv2d(x[0], x[1], None, wide, Activation::Identity));
        // A stride beyond the kernel: some positions meet no point of it.
        let far = Window { stride: [3, 2], ..plain };
        check!([[2, 8, 5, 2], [3, 2, 2, 1], [3]], |t, x| {
            t.conv2d_last(x[0], x[1], Some(x[2]), far, Activation::Relu)
        });
        // Each channel by itself, from several uses of one image.
        let single = Window { padding: [1, 1], groups: 3, ..plain };
        check!([[2, 4, 4, 3], [3, 1, 3, 3]], |t, x| {
            let y = t.conv2d_last(x[0], x[1], None, single, Activation::Identity);
            t.add(y, x[0])
        });
        let along = Window { stride: [1, 2], padding: [0, 1], dilation: [1, 2], groups: 1 };
        check!([[2, 3, 9], [2, 3, 3], [2]], |t, x| t.conv1d(x[0], x[1], Some(x[2]), along, Activation::Gelu));
    }

    #[test]
    #[should_panic(expected = "conv2d: [1, 2, 2, 1] and [1, 1, 3, 3] do not fit")]
    fn a_kernel_that_is_too_large_is_refused() {
        let plain = Window::default();
        check!([[1, 1, 2, 2], [1, 1, 3, 3]], |t, x| t.conv2d(x[0], x[1], None, plain, Activation::Identity));
    }
}
