//! `attention`: scaled dot-product attention that never holds the whole matrix of scores.

use thalweg_core::{Threads, isa};

use crate::number::{View, ViewMut};
use crate::op::{Backward, Forward, Inputs, Op, Work};
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Number, Tape, Var, parallel, sums};

/// Queries and keys that are worked on at a time.
const QUERIES: usize = 32;
const KEYS: usize = 64;

/// `q [.., n, d], k [.., m, d], v [.., m, e] → [.., n, e]`, for each of the leading axes:
/// ```text
/// S = q·kᵀ·c    P = softmax(S) by rows    y = P·v        causal: query i sees the keys up to i + m − n
/// ```
/// Blocks of queries run over blocks of keys with a running maximum and sum (Dao et al. 2022, <https://arxiv.org/abs/2205.14135>).
/// Saved: l = ln Σ e^S of each row. Backward makes P = e^(S − l) again, block by block:
/// `dv += Pᵀ·dy`, `dS = P∘(dy·vᵀ − Σ dy∘y)`, `dq += c·dS·k`, `dk += c·dSᵀ·q`.
#[derive(Clone, Copy, Debug)]
struct Attention {
    scale: f64,
    causal: bool,
}

#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    n: usize,
    m: usize,
    d: usize,
    e: usize,
}

fn sizes(q: Shape, k: Shape, v: Shape) -> Sizes {
    let outer = q.len().saturating_sub(2);
    if q.len() < 2 || k.len() != q.len() || q[..outer] != k[..outer] || q[outer + 1] != k[outer + 1] {
        misfit("attention", q, k, "queries [.., n, d] and keys [.., m, d]");
    }
    if v.len() != k.len() || v[..=outer] != k[..=outer] {
        misfit("attention", k, v, "keys [.., m, d] and values [.., m, e]");
    }
    let batch = q[..outer].iter().product();
    Sizes { batch, n: q[outer], m: k[outer], d: q[outer + 1], e: v[outer + 1] }
}

/// One batch element: its numbers and how it is worked on.
struct One<'a, N> {
    s: Sizes,
    causal: bool,
    c: N,
    work: Work<'a>,
    q: &'a [N],
    k: &'a [N],
    v: &'a [N],
    /// From a row to the next of q and k, of v, and of y.
    rows: [usize; 3],
}

/// Where the gradients of q, k and v start in a buffer, if they are wanted, and from a row to the next of each.
#[derive(Clone, Copy)]
struct Places {
    starts: [Option<usize>; 3],
    rows: [usize; 3],
}

impl<N: Number> One<'_, N> {
    /// How many keys query `i` sees.
    fn sees(&self, i: usize) -> usize {
        if self.causal { (i + 1 + self.s.m).saturating_sub(self.s.n).min(self.s.m) } else { self.s.m }
    }
    /// The scores of the queries `i..i + rows` with the keys `j..j + cols`: `[rows, KEYS]`; −∞ where a query does not see a key.
    fn scores(&self, i: usize, rows: usize, j: usize, cols: usize, to: &mut [N]) {
        let (d, row) = (self.s.d, self.rows[0]);
        let q = View { data: &self.q[i * row..], rows, cols: d, row, col: 1 };
        let k = View { data: &self.k[j * row..], rows: cols, cols: d, row, col: 1 }.t();
        let scores = ViewMut { data: to, rows, cols, row: KEYS, col: 1 };
        self.work.product(self.c, q, k, N::zero(), scores);
        for r in 0..rows {
            let seen = self.sees(i + r).saturating_sub(j).min(cols);
            to[r * KEYS + seen..r * KEYS + cols].fill(N::from_f64(f64::NEG_INFINITY));
        }
    }
    /// y and l of the queries `i..i + rows`.
    fn forward(&self, i: usize, rows: usize, y: &mut [N], l: &mut [N]) {
        let (e, [_, v_row, y_row]) = (self.s.e, self.rows);
        let least = N::from_f64(f64::NEG_INFINITY);
        let mut p = [N::zero(); QUERIES * KEYS];
        let (mut top, mut sum) = ([least; QUERIES], [N::zero(); QUERIES]);
        (0..rows).for_each(|r| y[r * y_row..][..e].fill(N::zero()));
        let end = self.sees(i + rows - 1);
        for j in (0..end).step_by(KEYS) {
            let cols = KEYS.min(end - j);
            self.scores(i, rows, j, cols, &mut p);
            isa::run(
                #[inline(always)]
                || {
                    for r in 0..rows {
                        let p = &mut p[r * KEYS..][..cols];
                        let new = sums::max(p).at_least(top[r]);
                        if !least.lt(new) {
                            p.fill(N::zero());
                            continue;
                        }
                        // The first block: nothing to shrink.
                        let shrink = if least.lt(top[r]) { (top[r] - new).exp() } else { N::zero() };
                        for p in p.iter_mut() {
                            *p = (*p - new).exp();
                        }
                        sum[r] = sum[r] * shrink + sums::sum(p);
                        for y in y[r * y_row..][..e].iter_mut() {
                            *y = *y * shrink;
                        }
                        top[r] = new;
                    }
                },
            );
            let p = View { data: &p, rows, cols, row: KEYS, col: 1 };
            let v = View { data: &self.v[j * v_row..], rows: cols, cols: e, row: v_row, col: 1 };
            let to = ViewMut { data: &mut *y, rows, cols: e, row: y_row, col: 1 };
            self.work.product(N::one(), p, v, N::one(), to);
        }
        for r in 0..rows {
            // A query that sees no key has a result of 0.
            let none = !least.lt(top[r]);
            let share = if none { N::zero() } else { N::one() / sum[r] };
            for y in y[r * y_row..][..e].iter_mut() {
                *y = *y * share;
            }
            l[r] = if none { N::zero() } else { top[r] + sum[r].ln() };
        }
    }
    /// Adds to the gradients what the queries `i..i + rows` bring.
    fn backward(
        &self,
        i: usize,
        rows: usize,
        (y, l, dy): (&[N], &[N], &[N]),
        to: &mut [N],
        Places { starts: [dq, dk, dv], rows: [q_row, k_row, dv_row] }: Places,
    ) {
        let Sizes { d, e, .. } = self.s;
        let [qk_row, v_row, y_row] = self.rows;
        let (y, l, dy) = (&y[i * y_row..], &l[i..], &dy[i * y_row..]);
        let (mut p, mut ds) = ([N::zero(); QUERIES * KEYS], [N::zero(); QUERIES * KEYS]);
        let mut dots = [N::zero(); QUERIES];
        for (r, dot) in dots[..rows].iter_mut().enumerate() {
            *dot = sums::dot(&y[r * y_row..][..e], &dy[r * y_row..][..e]);
        }
        let end = self.sees(i + rows - 1);
        for j in (0..end).step_by(KEYS) {
            let cols = KEYS.min(end - j);
            self.scores(i, rows, j, cols, &mut p);
            isa::run(
                #[inline(always)]
                || {
                    for r in 0..rows {
                        for p in p[r * KEYS..][..cols].iter_mut() {
                            *p = (*p - l[r]).exp();
                        }
                    }
                },
            );
            let block = |x| View { data: x, rows, cols, row: KEYS, col: 1 };
            let dz = View { data: dy, rows, cols: e, row: y_row, col: 1 };
            if let Some(dv) = dv {
                let to = &mut to[dv + j * dv_row..];
                let to = ViewMut { data: to, rows: cols, cols: e, row: dv_row, col: 1 };
                self.work.product(N::one(), block(&p).t(), dz, N::one(), to);
            }
            if dq.is_none() && dk.is_none() {
                continue;
            }
            let into = ViewMut { data: &mut ds, rows, cols, row: KEYS, col: 1 };
            let v = View { data: &self.v[j * v_row..], rows: cols, cols: e, row: v_row, col: 1 };
            self.work.product(N::one(), dz, v.t(), N::zero(), into);
            isa::run(
                #[inline(always)]
                || {
                    for r in 0..rows {
                        let p = &p[r * KEYS..][..cols];
                        for (ds, &p) in ds[r * KEYS..].iter_mut().zip(p) {
                            *ds = p * (*ds - dots[r]);
                        }
                    }
                },
            );
            if let Some(dq) = dq {
                let k = View { data: &self.k[j * qk_row..], rows: cols, cols: d, row: qk_row, col: 1 };
                let to = &mut to[dq + i * q_row..];
                let to = ViewMut { data: to, rows, cols: d, row: q_row, col: 1 };
                self.work.product(self.c, block(&ds), k, N::one(), to);
            }
            if let Some(dk) = dk {
                let q = View { data: &self.q[i * qk_row..], rows, cols: d, row: qk_row, col: 1 };
                let to = &mut to[dk + j * k_row..];
                let to = ViewMut { data: to, rows: cols, cols: d, row: k_row, col: 1 };
                self.work.product(self.c, block(&ds).t(), q, N::one(), to);
            }
        }
    }
}

impl<N: Number> Op<N> for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let s = sizes(x.shape(0), x.shape(1), x.shape(2));
        x.shape(0).with_last(s.e)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let s = sizes(f.shape(0), f.shape(1), f.shape(2));
        let Sizes { n, m, d, e, .. } = s;
        if y.is_empty() {
            return;
        }
        let (q, k, v, alone) = (f.x(0), f.x(1), f.x(2), Threads::serial());
        let work = Work { threads: &alone, ..f.work };
        let (causal, c) = (self.causal, N::from_f64(self.scale));
        let mut logs = f.take(s.batch * n);
        // Tasks are whole blocks of queries: of one batch element if they fill it, else of runs of them.
        let blocks = n.div_ceil(QUERIES);
        let one = |b: usize| One {
            s,
            causal,
            c,
            work,
            q: &q[b * n * d..],
            k: &k[b * m * d..],
            v: &v[b * m * e..],
            rows: [d, e, e],
        };
        if s.batch == 1 {
            let cost = QUERIES * m * (d + e);
            rows_of_blocks(f.work.threads, (y, e), (&mut logs, 1), cost, |block, y, l| {
                one(0).forward(block * QUERIES, l.len(), y, l);
            });
        } else {
            parallel::rows2(f.work.threads, (y, n * e), (&mut logs, n), n * m * (d + e), |at, y, logs| {
                for (b, (y, l)) in y.chunks_exact_mut(n * e).zip(logs.chunks_exact_mut(n)).enumerate() {
                    for block in 0..blocks {
                        let (i, rows) = (block * QUERIES, QUERIES.min(n - block * QUERIES));
                        one(at + b).forward(i, rows, &mut y[i * e..][..rows * e], &mut l[i..][..rows]);
                    }
                }
            });
        }
        f.save(0, logs);
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let s = sizes(b.shape(0), b.shape(1), b.shape(2));
        let Sizes { n, m, d, e, batch } = s;
        let wanted = [0, 1, 2].map(|i| b.wants(i));
        let lens = [n * d, m * d, m * e];
        let parts = [0, 1, 2].map(|i| if wanted[i] { lens[i] } else { 0 });
        let width: usize = parts.iter().sum();
        let before = [0, parts[0], parts[0] + parts[1]];
        let places = Places { starts: [0, 1, 2].map(|i| wanted[i].then_some(before[i])), rows: [d, d, e] };
        let mut all = b.take(batch * width);
        let (q, k, v, y, l, alone) = (b.x(0), b.x(1), b.x(2), b.y(), b.saved(0), Threads::serial());
        let work = Work { threads: &alone, ..b.work };
        let (causal, c) = (self.causal, N::from_f64(self.scale));
        let dy: &[N] = dy;
        if width > 0 && n > 0 {
            parallel::rows(b.work.threads, &mut all, width, 3 * n * m * (d + e), |at, all| {
                all.fill(N::zero());
                for (i, all) in all.chunks_exact_mut(width).enumerate() {
                    let i = at + i;
                    let one = One {
                        s,
                        causal,
                        c,
                        work,
                        q: &q[i * n * d..],
                        k: &k[i * m * d..],
                        v: &v[i * m * e..],
                        rows: [d, e, e],
                    };
                    let from = (&y[i * n * e..], &l[i * n..], &dy[i * n * e..]);
                    for first in (0..n).step_by(QUERIES) {
                        one.backward(first, QUERIES.min(n - first), from, all, places);
                    }
                }
            });
        } else {
            all.fill(N::zero());
        }
        let mut start = 0;
        for (i, part) in parts.into_iter().enumerate() {
            if let Some(slot) = b.grad(i) {
                let dx = slot.zeroed();
                if part > 0 {
                    for (dx, all) in dx.chunks_exact_mut(part).zip(all.chunks_exact(width)) {
                        for (dx, &g) in dx.iter_mut().zip(&all[start..]) {
                            *dx = *dx + g;
                        }
                    }
                }
            }
            start += part;
        }
        b.give(all);
    }
}

/// `x [n, t, 3·heads·d] → [n, t, heads·d]`: attention of the steps of each row to each other, with queries, keys and values of all
/// heads behind each other in `x`. Head by head the numbers of [`Attention`], read and written where they lie. Saved: as there.
#[derive(Clone, Copy, Debug)]
struct SelfAttention {
    heads: usize,
    causal: bool,
}

impl SelfAttention {
    /// Sizes of one head, the width of all heads, and the rows of the batch.
    fn sizes(&self, x: Shape) -> (Sizes, usize, usize) {
        let (steps, width) = (x[1], x[2] / 3);
        let d = width / self.heads;
        (Sizes { batch: 1, n: steps, m: steps, d, e: d }, width, x[0])
    }
    /// One head of one row `x [t, 3·width]`.
    fn one<'a, N: Number>(
        &self,
        s: Sizes,
        width: usize,
        head: usize,
        x: &'a [N],
        work: Work<'a>,
    ) -> One<'a, N> {
        let at = |part: usize| &x[part * width + head * s.d..];
        let c = N::from_f64(1.0 / (s.d as f64).sqrt());
        let rows = [3 * width, 3 * width, width];
        One { s, causal: self.causal, c, work, q: at(0), k: at(1), v: at(2), rows }
    }
}

impl<N: Number> Op<N> for SelfAttention {
    fn name(&self) -> &'static str {
        "self_attention"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let shape = x.shape(0);
        let fits = shape.len() == 3 && self.heads > 0 && shape[2].is_multiple_of(3 * self.heads);
        assert!(fits, "self_attention: {shape} is not [n, t, 3·d] with a d that {} heads divide", self.heads);
        shape.with_last(shape[2] / 3)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (s, width, rows) = self.sizes(f.shape(0));
        let (x, alone, this, t) = (f.x(0), Threads::serial(), *self, s.n);
        let work = Work { threads: &alone, ..f.work };
        let mut logs = f.take(rows * this.heads * t);
        let cost = 2 * t * t * width;
        parallel::rows2(f.work.threads, (y, t * width), (&mut logs, this.heads * t), cost, |at, y, logs| {
            let rows = y.chunks_exact_mut(t * width).zip(logs.chunks_exact_mut(this.heads * t));
            for (nth, (y, logs)) in rows.enumerate() {
                let x = &x[(at + nth) * t * 3 * width..][..t * 3 * width];
                for (head, l) in logs.chunks_exact_mut(t).enumerate() {
                    let one = this.one(s, width, head, x, work);
                    for i in (0..t).step_by(QUERIES) {
                        let rows = QUERIES.min(t - i);
                        one.forward(i, rows, &mut y[i * width + head * s.d..], &mut l[i..][..rows]);
                    }
                }
            }
        });
        f.save(0, logs);
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let (s, width, _) = self.sizes(b.shape(0));
        let (x, y, logs, threads) = (b.x(0), b.y(), b.saved(0), b.work.threads);
        let (alone, this, t) = (Threads::serial(), *self, s.n);
        let work = Work { threads: &alone, ..b.work };
        let dy: &[N] = dy;
        let Some(slot) = b.grad(0) else { return };
        let fresh = slot.fresh;
        parallel::rows(threads, slot.grad, t * 3 * width, 6 * t * t * width, |at, dx| {
            if fresh {
                dx.fill(N::zero());
            }
            for (nth, dx) in dx.chunks_exact_mut(t * 3 * width).enumerate() {
                let row = at + nth;
                let x = &x[row * t * 3 * width..][..t * 3 * width];
                for head in 0..this.heads {
                    let one = this.one(s, width, head, x, work);
                    let from = row * t * width + head * s.d;
                    let l = &logs[(row * this.heads + head) * t..][..t];
                    let starts = [0, 1, 2].map(|part| Some(part * width + head * s.d));
                    let places = Places { starts, rows: [3 * width; 3] };
                    for i in (0..t).step_by(QUERIES) {
                        let given = (&y[from..], l, &dy[from..]);
                        one.backward(i, QUERIES.min(t - i), given, dx, places);
                    }
                }
            }
        });
    }
}

/// Calls `f(block, y, l)` for blocks of [`QUERIES`] rows of `y` and `l`, the last one shorter.
fn rows_of_blocks<N: Number>(
    threads: &Threads,
    (y, e): (&mut [N], usize),
    (l, _): (&mut [N], usize),
    cost: usize,
    f: impl Fn(usize, &mut [N], &mut [N]) + Sync,
) {
    let whole = l.len() / QUERIES * QUERIES;
    let ((y, y_rest), (l, l_rest)) = (y.split_at_mut(whole * e), l.split_at_mut(whole));
    parallel::rows2(threads, (y, QUERIES * e), (l, QUERIES), cost, |at, y, l| {
        for (i, (y, l)) in y.chunks_exact_mut(QUERIES * e).zip(l.chunks_exact_mut(QUERIES)).enumerate() {
            f(at + i, y, l);
        }
    });
    if !l_rest.is_empty() {
        f(whole / QUERIES, y_rest, l_rest);
    }
}

impl<N: Number> Tape<'_, N> {
    /// `softmax(q·kᵀ·c)·v` for `q [.., n, d], k [.., m, d], v [.., m, e]`, heads among the leading axes; c is 1/√d if none is given.
    /// With `causal`, query i sees the keys up to i + m − n: the last query sees all. (PyTorch's `is_causal` is the same for n = m.)
    /// A query that sees no key has a result of 0.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn attention(&mut self, q: Var, k: Var, v: Var, causal: bool, scale: Option<f64>) -> Var {
        let d = self.shape(q).last_size();
        let scale = scale.unwrap_or(1.0 / (d as f64).sqrt());
        self.apply(Attention { scale, causal }, &[q, k, v])
    }
}

impl<N: Number> Tape<'_, N> {
    /// Attention of the steps of each row to each other: `x [n, t, 3·d]` has queries, keys and values of all heads behind each other (the
    /// result of one dense map), the result is `[n, t, d]`; each of the `heads` works on its own d/heads numbers, scores over √(d/heads).
    /// With `causal`, a step sees itself and those before it. The same as [`Tape::attention`] on the parts, without moving them.
    ///
    /// # Panics
    /// When 3·heads does not divide the width.
    #[track_caller]
    pub fn self_attention(&mut self, x: Var, heads: usize, causal: bool) -> Var {
        self.apply(SelfAttention { heads, causal }, &[x])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Workspace;
    use crate::check::check;
    use thalweg_core::Layout;

    #[test]
    fn gradient() {
        check!([[1, 1], [1, 1], [1, 2]], |t, x| t.attention(x[0], x[1], x[2], false, None));
        for causal in [false, true] {
            check!([[2, 3, 2], [2, 5, 2], [2, 5, 3]], |t, x| t.attention(x[0], x[1], x[2], causal, None));
            check!([[34, 2], [34, 2], [34, 1]], |t, x| t.attention(x[0], x[1], x[2], causal, Some(1.3)));
        }
        check!([[4, 2], [2, 2], [2, 3]], |t, x| t.attention(x[0], x[1], x[2], true, None));
        check!([[1, 70, 1], [1, 70, 1], [1, 70, 1]], |t, x| t.attention(x[0], x[1], x[2], true, None));
        check!([[3, 4]], |t, x| t.attention(x[0], x[0], x[0], true, None));
    }

    #[test]
    fn self_attention_is_attention_on_the_parts() {
        let layout = Layout::default();
        for (n, t, heads, d, causal) in [(2, 5, 3, 2, true), (1, 70, 2, 4, true), (3, 33, 1, 5, false)] {
            let x: Vec<f64> = (0..n * t * 3 * heads * d).map(|i| libm::sin(i as f64 * 0.7)).collect();
            let mut workspace = Workspace::new(Threads::new(2));
            let mut tape = workspace.tape(&layout, &[]);
            let x = tape.input(&x, [n, t, 3 * heads * d]);
            let y = tape.self_attention(x, heads, causal);
            let parts = tape.reshape(x, [n, t, 3, heads, d]);
            let parts = tape.permute(parts, &[2, 0, 3, 1, 4]);
            let [q, k, v] = [0, 1, 2].map(|i| tape.select(parts, 0, i));
            let plain = tape.attention(q, k, v, causal, None);
            let plain = tape.permute(plain, &[0, 2, 1, 3]);
            assert_eq!(tape.value(y), tape.value(plain));
        }
        check!([[2, 5, 12]], |t, x| t.self_attention(x[0], 2, true));
        check!([[1, 35, 6]], |t, x| t.self_attention(x[0], 1, false));
        check!([[2, 3, 6]], |t, x| {
            let y = t.self_attention(x[0], 2, true);
            let z = t.self_attention(x[0], 1, false);
            t.add(y, z)
        });
    }

    /// Against the plain formula with the whole matrix, for sizes around the blocks; both sum at most 200 terms of size 1.
    #[test]
    fn agrees_with_the_whole_matrix() {
        let layout = Layout::default();
        for n in [31, 32, 33, 64, 65, 130, 200] {
            let x: Vec<f64> = (0..2 * n * 5).map(|i| libm::sin(i as f64 * 0.7) * 3.0).collect();
            let mut workspace = Workspace::new(Threads::new(2));
            let mut tape = workspace.tape(&layout, &[]);
            let x = tape.input(&x, [2, n, 5]);
            let fused = tape.attention(x, x, x, false, None);
            let scores = tape.matmul_of(x, x, [false, true]);
            let scores = tape.scale(scores, 1.0 / 5f64.sqrt());
            let p = tape.softmax(scores);
            let plain = tape.matmul(p, x);
            for (a, b) in tape.value(fused).iter().zip(tape.value(plain)) {
                assert!((a - b).abs() < 1e-13, "{n} queries: {a} and {b}");
            }
        }
    }
}
