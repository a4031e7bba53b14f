//! `lstm_cell`: one step of a long short-term memory.

use crate::op::{Backward, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Activation, Number, Tape, Var, parallel};

/// `a [n, 4k], b [n, 4k], c [n, k] → [2, n, k]`, quarters i, f, g, o:
/// ```text
/// i, f, o = σ(a + b)    g = tanh(a_g + b_g)    c′ = f∘c + i∘g    h′ = o∘tanh c′        y = [h′, c′]
/// ```
/// Backward: `e = dc′ + dh′∘o∘(1 − tanh² c′)`; `di = e∘g·i(1 − i)`, `df = e∘c·f(1 − f)`, `dg = e∘i·(1 − g²)`,
/// `do = dh′∘tanh c′·o(1 − o)`; `da, db += [di, df, dg, do]`, `dc += e∘f`. Saved: i, f, g, o.
#[derive(Clone, Copy, Debug)]
struct Lstm;

impl<N: Number> Op<N> for Lstm {
    fn name(&self) -> &'static str {
        "lstm_cell"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let c = x.shape(2);
        for i in 0..2 {
            if c.len() != 2 || x.shape(i)[..] != [c[0], 4 * c[1]] {
                misfit("lstm_cell", x.shape(i), c, "four gates [n, 4k] and a cell [n, k]");
            }
        }
        [2, c[0], c[1]].into()
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (a, b, c, k) = (f.x(0), f.x(1), f.x(2), f.shape(2)[1]);
        let (h, next) = y.split_at_mut(c.len());
        let mut gates = f.take(4 * c.len());
        parallel::rows2(
            f.work.threads,
            (next, k),
            (&mut gates, 4 * k),
            80 * k,
            #[inline(always)]
            |at, next, gates| {
                for (i, (next, gates)) in
                    next.chunks_exact_mut(k).zip(gates.chunks_exact_mut(4 * k)).enumerate()
                {
                    let (a, b) = (&a[(at + i) * 4 * k..][..4 * k], &b[(at + i) * 4 * k..][..4 * k]);
                    let c = &c[(at + i) * k..][..k];
                    for j in 0..2 * k {
                        gates[j] = (a[j] + b[j]).sigmoid();
                    }
                    for j in 2 * k..3 * k {
                        gates[j] = (a[j] + b[j]).tanh();
                    }
                    for j in 3 * k..4 * k {
                        gates[j] = (a[j] + b[j]).sigmoid();
                    }
                    for j in 0..k {
                        next[j] = gates[k + j] * c[j] + gates[j] * gates[2 * k + j];
                    }
                }
            },
        );
        let (next, gates_now): (&[N], &[N]) = (next, &gates);
        parallel::rows(
            f.work.threads,
            h,
            k,
            24 * k,
            #[inline(always)]
            |at, h| {
                for (i, h) in h.chunks_exact_mut(k).enumerate() {
                    let (next, o) = (&next[(at + i) * k..][..k], &gates_now[((at + i) * 4 + 3) * k..][..k]);
                    for j in 0..k {
                        h[j] = o[j] * next[j].tanh();
                    }
                }
            },
        );
        f.save(0, gates);
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let (c, saved, k, threads) = (b.x(2), b.saved(0), b.shape(2)[1], b.work.threads);
        let next = &b.y()[c.len()..];
        let mut gates = b.take(saved.len());
        let (dh, dc) = dy.split_at_mut(c.len());
        let dh: &[N] = dh;
        // Rows of dc′ become those of e∘f, the gradient of c.
        parallel::rows2(
            threads,
            (dc, k),
            (&mut gates, 4 * k),
            64 * k,
            #[inline(always)]
            |at, dc, gates| {
                for (i, (dc, gates)) in dc.chunks_exact_mut(k).zip(gates.chunks_exact_mut(4 * k)).enumerate()
                {
                    let i = at + i;
                    let (dh, c, next) = (&dh[i * k..][..k], &c[i * k..][..k], &next[i * k..][..k]);
                    let saved = &saved[i * 4 * k..][..4 * k];
                    for j in 0..k {
                        let [i, f, g, o] = [0, 1, 2, 3].map(|gate| saved[gate * k + j]);
                        let t = next[j].tanh();
                        let e = dc[j] + dh[j] * o * (N::one() - t * t);
                        gates[j] = e * g * (i * (N::one() - i));
                        gates[k + j] = e * c[j] * (f * (N::one() - f));
                        gates[2 * k + j] = e * i * (N::one() - g * g);
                        gates[3 * k + j] = dh[j] * t * (o * (N::one() - o));
                        dc[j] = e * f;
                    }
                }
            },
        );
        if let Some(slot) = b.grad(2) {
            slot.add(dc);
        }
        if let Some(slot) = b.grad(1) {
            slot.add(&gates);
        }
        b.pass(0, &mut gates);
        b.give(gates);
    }
}

impl<N: Number> Tape<'_, N> {
    /// The next state and cell `[h′, c′]`, each `[n, k]`, of a long short-term memory, from `x [n, in]`, `h [n, k]`, `c [n, k]`, weights
    /// `w [4k, in]` and `u [4k, k]` and biases `[4k]` of both; gates in PyTorch's order i, f, g, o:
    /// ```text
    /// i, f, o = σ(w x + b + u h + b′)    g = tanh(w_g x + b_g + u_g h + b′_g)    c′ = f∘c + i∘g    h′ = o∘tanh c′
    /// ```
    /// Hochreiter & Schmidhuber 1997, with the forget gate of Gers, Schmidhuber & Cummins 2000.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn lstm_cell(&mut self, x: Var, [h, c]: [Var; 2], w: [Var; 2], biases: Option<[Var; 2]>) -> [Var; 2] {
        let a = self.dense(x, w[0], biases.map(|b| b[0]), Activation::Identity);
        let b = self.dense(h, w[1], biases.map(|b| b[1]), Activation::Identity);
        let y = self.apply(Lstm, &[a, b, c]);
        [0, 1].map(|i| self.select(y, 0, i))
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1, 2], [1, 1], [1, 1], [4, 2], [4, 1]], |t, x| {
            t.lstm_cell(x[0], [x[1], x[2]], [x[3], x[4]], None)[0]
        });
        check!([[3, 4], [3, 2], [3, 2], [8, 4], [8, 2], [8], [8]], |t, x| {
            let state = t.lstm_cell(x[0], [x[1], x[2]], [x[3], x[4]], Some([x[5], x[6]]));
            let [h, c] = t.lstm_cell(x[0], state, [x[3], x[4]], Some([x[5], x[6]]));
            t.concat(&[h, c], 1)
        });
    }
}
