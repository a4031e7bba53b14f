//! `lstm`: a long short-term memory along sequences.

use thalweg_core::gemm::Finish;
use thalweg_core::isa;

use super::recurrence::{Lists, Sizes, weights};
use crate::number::{Columns, View};
use crate::op::{Backward, Codes, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Activation, Number, Tape, Var, parallel};

/// `a [n, steps, 4k], h₀ [n, k], c₀ [n, k], u [4k, k], bias [4k] → [2, n, steps, k]`, quarters i, f, g, o; at each step, from the h and c before it:
/// ```text
/// b = u h + bias    i, f, o = σ(a + b)    g = tanh(a_g + b_g)    c′ = f∘c + i∘g    h′ = o∘tanh c′        y = [h′, c′]
/// ```
/// Backward, from the last step to the first, with `dh′` and `dc′` as they are there plus what comes back from the step behind:
/// `e = dc′ + dh′∘o∘(1 − tanh² c′)`; `di = e∘g·i(1 − i)`, `df = e∘c·f(1 − f)`, `dg = e∘i·(1 − g²)`, `do = dh′∘tanh c′·o(1 − o)`;
/// `da = db = [di, df, dg, do]`, `dc = e∘f`, `dh = db·u`; then `du += Σ dbᵀ·h` and `dbias += Σ db` over steps and rows. Saved: i, f, g, o.
///
/// Rows of a batch know nothing of each other: each thread takes its own through all steps.
#[derive(Clone, Copy, Debug, Default)]
struct Lstm {
    bias: bool,
    sizes: Sizes,
    lists: Codes,
}

impl<N: Number> Op<N> for Lstm {
    fn name(&self) -> &'static str {
        "lstm"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let (a, h, u) = (x.shape(0), x.shape(1), x.shape(3));
        if h.len() != 2 || a.len() != 3 || a[0] != h[0] || a[2] != 4 * h[1] {
            misfit("lstm", a, h, "four gates [n, steps, 4k] and a state [n, k]");
        }
        if x.shape(2)[..] != h[..] {
            misfit("lstm", h, x.shape(2), "a state and a cell, both [n, k]");
        }
        if u[..] != [4 * h[1], h[1]] {
            misfit("lstm", u, h, "a weight [4k, k] and a state [n, k]");
        }
        if self.bias && x.shape(4)[..] != u[..1] {
            misfit("lstm", u, x.shape(4), "a weight [4k, k] and a bias [4k]");
        }
        [2, a[0], a[1], h[1]].into()
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let [n, k] = [0, 1].map(|axis| f.shape(1)[axis]);
        let steps = f.shape(0)[1];
        self.sizes = Sizes { n, steps, k, gates: 4 };
        self.lists = Lists::write(f, self.sizes);
        let (y_h, y_c) = y.split_at_mut(n * steps * k);
        let (mut panels, mut gates) = (f.take(N::room(k, 4 * k)), f.take(4 * y_h.len()));
        N::pack(f.work.threads, View::new(f.x(3), 4 * k, k).t(), &mut panels);
        f.work.count(n * steps * 4 * k * k);
        let (a, h, c, bias) = (f.x(0), f.x(1), f.x(2), self.bias.then(|| f.x(4)));
        let (lists, u) = (Lists::read(f.codes(self.lists), n), N::packed(&panels, k, 4 * k));
        let (widths, cost) = ([steps * k, steps * k, 4 * steps * k], steps * 4 * k * k);
        parallel::apart(f.work.threads, [y_h, y_c, &mut gates], widths, cost, |at, [y_h, y_c, gates]| {
            let rows = y_h.len() / (steps * k);
            for t in 0..steps {
                let (data, starts) = match t.checked_sub(1) {
                    None => (&h[at * k..], lists.first),
                    Some(before) => (&y_h[before * k..], lists.states),
                };
                let state = lists.rows(data, &starts[..rows], k);
                let finish = Finish { beta: N::zero(), bias, relu: false };
                N::gather(state, Columns::Packed(u), &mut gates[4 * t * k..], &lists.gates[..rows], finish);
                isa::run(
                    #[inline(always)]
                    || {
                        for row in 0..rows {
                            let place = row * steps + t;
                            let a = &a[(at * steps + place) * 4 * k..][..4 * k];
                            let gates = &mut gates[place * 4 * k..][..4 * k];
                            let (before, y_c) = y_c.split_at_mut(place * k);
                            let c =
                                if t == 0 { &c[(at + row) * k..][..k] } else { &before[(place - 1) * k..] };
                            let (y_h, y_c) = (&mut y_h[place * k..][..k], &mut y_c[..k]);
                            for j in 0..2 * k {
                                gates[j] = (a[j] + gates[j]).sigmoid();
                            }
                            for j in 2 * k..3 * k {
                                gates[j] = (a[j] + gates[j]).tanh();
                            }
                            for j in 3 * k..4 * k {
                                gates[j] = (a[j] + gates[j]).sigmoid();
                            }
                            for j in 0..k {
                                y_c[j] = gates[k + j] * c[j] + gates[j] * gates[2 * k + j];
                            }
                            for j in 0..k {
                                y_h[j] = gates[3 * k + j] * y_c[j].tanh();
                            }
                        }
                    },
                );
            }
        });
        f.give(panels);
        if f.recording {
            f.save(0, gates);
        } else {
            f.give(gates);
        }
    }
    fn backward(&self, back: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let Sizes { n, steps, k, .. } = self.sizes;
        let (work, h, c, saved) = (back.work, back.x(1), back.x(2), back.saved(0));
        let (y_h, y_c) = back.y().split_at(n * steps * k);
        let lists = Lists::read(back.codes(self.lists), n);
        let mut panels = back.take(N::room(4 * k, k));
        N::pack(work.threads, View::new(back.x(3), 4 * k, k), &mut panels);
        let u = N::packed(&panels, 4 * k, k);
        let (mut da, mut dh, mut dc) = (back.take(saved.len()), back.take(h.len()), back.take(c.len()));
        let first = back.wants(1);
        work.count(n * (steps - usize::from(!first)) * 4 * k * k);
        let (dy_h, dy_c) = dy.split_at(n * steps * k);
        let (widths, cost) = ([4 * steps * k, k, k], steps * 4 * k * k);
        parallel::apart(work.threads, [&mut da, &mut dh, &mut dc], widths, cost, |at, [da, dh, dc]| {
            dh.fill(N::zero());
            dc.fill(N::zero());
            let rows = dh.len() / k;
            for t in (0..steps).rev() {
                isa::run(
                    #[inline(always)]
                    || {
                        for (row, (dh, dc)) in dh.chunks_exact(k).zip(dc.chunks_exact_mut(k)).enumerate() {
                            let place = (at + row) * steps + t;
                            let c =
                                if t == 0 { &c[(at + row) * k..][..k] } else { &y_c[(place - 1) * k..][..k] };
                            let (dy_h, dy_c) = (&dy_h[place * k..][..k], &dy_c[place * k..][..k]);
                            let (saved, next) = (&saved[place * 4 * k..][..4 * k], &y_c[place * k..][..k]);
                            let da = &mut da[(row * steps + t) * 4 * k..][..4 * k];
                            for j in 0..k {
                                let [i, f, g, o] = [0, 1, 2, 3].map(|gate| saved[gate * k + j]);
                                let (tanh, d) = (next[j].tanh(), dh[j] + dy_h[j]);
                                let e = (dc[j] + dy_c[j]) + d * o * (N::one() - tanh * tanh);
                                da[j] = e * g * (i * (N::one() - i));
                                da[k + j] = e * c[j] * (f * (N::one() - f));
                                da[2 * k + j] = e * i * (N::one() - g * g);
                                da[3 * k + j] = d * tanh * (o * (N::one() - o));
                                dc[j] = e * f;
                            }
                        }
                    },
                );
                if t > 0 || first {
                    let a = lists.rows(&da[4 * t * k..], &lists.gates[..rows], 4 * k);
                    let finish = Finish { beta: N::zero(), bias: None, relu: false };
                    N::gather(a, Columns::Packed(u), dh, &lists.first[..rows], finish);
                }
            }
        });
        for (input, d) in [(1, &dh), (2, &dc)] {
            if let Some(slot) = back.grad(input) {
                slot.add(d);
            }
        }
        [dh, dc, panels].into_iter().for_each(|block| back.give(block));
        weights(back, 3, (h, y_h), &da, self.sizes);
        back.pass(0, &mut da);
        back.give(da);
    }
}

impl<N: Number> Tape<'_, N> {
    /// The states and cells `[2, n, steps, k]` of a long short-term memory along sequences `x [n, steps, in]`, from a state and a cell, each `[n, k]`,
    /// weights `w [4k, in]` and `u [4k, k]` and biases `[4k]` of both; gates in PyTorch's order i, f, g, o:
    /// ```text
    /// i, f, o = σ(w x + b + u h + b′)    g = tanh(w_g x + b_g + u_g h + b′_g)    c′ = f∘c + i∘g    h′ = o∘tanh c′
    /// ```
    /// Hochreiter & Schmidhuber 1997, with the forget gate of Gers, Schmidhuber & Cummins 2000.
    ///
    /// # Panics
    /// When the shapes do not fit, or there are 2³² gates.
    #[track_caller]
    pub fn lstm(&mut self, x: Var, [h, c]: [Var; 2], w: [Var; 2], biases: Option<[Var; 2]>) -> Var {
        let a = self.dense(x, w[0], biases.map(|b| b[0]), Activation::Identity);
        let op = Lstm { bias: biases.is_some(), ..Lstm::default() };
        match biases {
            Some([_, b]) => self.apply(op, &[a, h, c, w[1], b]),
            None => self.apply(op, &[a, h, c, w[1]]),
        }
    }
    /// One step of [`Tape::lstm`]: the next state and cell, each `[n, k]`, from `x [n, in]`.
    ///
    /// # Panics
    /// When the shapes do not fit, or there are 2³² gates.
    #[track_caller]
    pub fn lstm_cell(&mut self, x: Var, [h, c]: [Var; 2], w: [Var; 2], biases: Option<[Var; 2]>) -> [Var; 2] {
        let (shape, state) = (self.shape(x), self.shape(h));
        if shape.len() != 2 || state.len() != 2 {
            misfit("lstm_cell", shape, state, "an input [n, in] and a state [n, k]");
        }
        let x = self.reshape(x, [shape[0], 1, shape[1]]);
        let y = self.lstm(x, [h, c], w, biases);
        [0, 1].map(|i| {
            let y = self.select(y, 0, i);
            self.reshape(y, state)
        })
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
        check!([[2, 4, 3], [2, 3], [2, 3], [12, 3], [12, 3], [12], [12]], |t, x| {
            t.lstm(x[0], [x[1], x[2]], [x[3], x[4]], Some([x[5], x[6]]))
        });
    }
}
