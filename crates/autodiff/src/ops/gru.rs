//! `gru`: a gated recurrent unit along sequences.

use thalweg_core::gemm::Finish;
use thalweg_core::isa;

use super::recurrence::{Lists, Sizes, weights};
use crate::number::{Columns, View};
use crate::op::{Backward, Codes, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Activation, Number, Tape, Var, parallel};

/// `a [n, steps, 3k], h₀ [n, k], u [3k, k], c [3k] → y [n, steps, k]`, thirds r, z, n; at each step, from the state h = y before it:
/// ```text
/// b = u h + c    r = σ(a_r + b_r)    z = σ(a_z + b_z)    s = tanh(a_n + r∘b_n)    y = s + z∘(h − s)
/// ```
/// Backward, from the last step to the first, with `dy` as it is there plus what comes back from the step behind:
/// `dz = dy∘(h − s)·z(1 − z)`, `ds = dy∘(1 − z)·(1 − s²)`, `dr = ds∘b_n·r(1 − r)`; `da += [dr, dz, ds]`, `db = [dr, dz, ds∘r]`,
/// `dh = dy∘z + db·u`; then `du += Σ dbᵀ·h` and `dc += Σ db` over steps and rows. Saved: r, z, s; b_n.
///
/// Rows of a batch know nothing of each other: each thread takes its own through all steps.
#[derive(Clone, Copy, Debug, Default)]
struct Gru {
    bias: bool,
    sizes: Sizes,
    lists: Codes,
}

impl<N: Number> Op<N> for Gru {
    fn name(&self) -> &'static str {
        "gru"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let (a, h, u) = (x.shape(0), x.shape(1), x.shape(2));
        if h.len() != 2 || a.len() != 3 || a[0] != h[0] || a[2] != 3 * h[1] {
            misfit("gru", a, h, "three gates [n, steps, 3k] and a state [n, k]");
        }
        if u[..] != [3 * h[1], h[1]] {
            misfit("gru", u, h, "a weight [3k, k] and a state [n, k]");
        }
        if self.bias && x.shape(3)[..] != u[..1] {
            misfit("gru", u, x.shape(3), "a weight [3k, k] and a bias [3k]");
        }
        [a[0], a[1], h[1]].into()
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let [n, k] = [0, 1].map(|axis| f.shape(1)[axis]);
        let steps = f.shape(0)[1];
        self.sizes = Sizes { n, steps, k, gates: 3 };
        self.lists = Lists::write(f, self.sizes);
        let (mut panels, mut gates, mut carried) =
            (f.take(N::room(k, 3 * k)), f.take(3 * y.len()), f.take(y.len()));
        N::pack(f.work.threads, View::new(f.x(2), 3 * k, k).t(), &mut panels);
        f.work.count(n * steps * 3 * k * k);
        let (a, h, bias) = (f.x(0), f.x(1), self.bias.then(|| f.x(3)));
        let (lists, u) = (Lists::read(f.codes(self.lists), n), N::packed(&panels, k, 3 * k));
        let (widths, cost) = ([steps * k, 3 * steps * k, steps * k], steps * 3 * k * k);
        let parts: [&mut [N]; 3] = [y, &mut gates, &mut carried];
        parallel::apart(f.work.threads, parts, widths, cost, |at, [y, gates, carried]| {
            let rows = y.len() / (steps * k);
            for t in 0..steps {
                let (data, starts) = match t.checked_sub(1) {
                    None => (&h[at * k..], lists.first),
                    Some(before) => (&y[before * k..], lists.states),
                };
                let state = lists.rows(data, &starts[..rows], k);
                let finish = Finish { beta: N::zero(), bias, relu: false };
                N::gather(state, Columns::Packed(u), &mut gates[3 * t * k..], &lists.gates[..rows], finish);
                isa::run(
                    #[inline(always)]
                    || {
                        for i in 0..rows {
                            let place = i * steps + t;
                            let a = &a[(at * steps + place) * 3 * k..][..3 * k];
                            let gates = &mut gates[place * 3 * k..][..3 * k];
                            let (before, y) = y.split_at_mut(place * k);
                            let h = if t == 0 { &h[(at + i) * k..][..k] } else { &before[(place - 1) * k..] };
                            let (y, carried) = (&mut y[..k], &mut carried[place * k..][..k]);
                            let ([rz_a, s_a], [rz, s]) = (halves(a, 2 * k), halves_mut(gates, 2 * k));
                            for j in 0..2 * k {
                                rz[j] = (rz_a[j] + rz[j]).sigmoid();
                            }
                            let (r, z) = rz.split_at(k);
                            carried.copy_from_slice(s);
                            for j in 0..k {
                                s[j] = (s_a[j] + r[j] * s[j]).tanh();
                            }
                            for j in 0..k {
                                y[j] = s[j] + z[j] * (h[j] - s[j]);
                            }
                        }
                    },
                );
            }
        });
        f.give(panels);
        if f.recording {
            f.save(0, gates);
            f.save(1, carried);
        } else {
            f.give(gates);
            f.give(carried);
        }
    }
    fn backward(&self, back: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let Sizes { n, steps, k, .. } = self.sizes;
        let (work, y, h, gates, carried) = (back.work, back.y(), back.x(1), back.saved(0), back.saved(1));
        let lists = Lists::read(back.codes(self.lists), n);
        let mut panels = back.take(N::room(3 * k, k));
        N::pack(work.threads, View::new(back.x(2), 3 * k, k), &mut panels);
        let u = N::packed(&panels, 3 * k, k);
        let (mut da, mut db, mut dh) = (back.take(gates.len()), back.take(gates.len()), back.take(h.len()));
        let first = back.wants(1);
        work.count(n * (steps - usize::from(!first)) * 3 * k * k);
        let dy: &[N] = dy;
        let (widths, cost) = ([3 * steps * k, 3 * steps * k, k], steps * 3 * k * k);
        let parts: [&mut [N]; 3] = [&mut da, &mut db, &mut dh];
        parallel::apart(work.threads, parts, widths, cost, |at, [da, db, dh]| {
            dh.fill(N::zero());
            let rows = dh.len() / k;
            for t in (0..steps).rev() {
                isa::run(
                    #[inline(always)]
                    || {
                        for (i, dh) in dh.chunks_exact_mut(k).enumerate() {
                            let place = (at + i) * steps + t;
                            let h = if t == 0 { &h[(at + i) * k..][..k] } else { &y[(place - 1) * k..][..k] };
                            let (dy, carried) = (&dy[place * k..][..k], &carried[place * k..][..k]);
                            let [r, z, s] = thirds(&gates[place * 3 * k..][..3 * k], k);
                            let own = (i * steps + t) * 3 * k;
                            let [ar, az, an] = thirds_mut(&mut da[own..][..3 * k], k);
                            for j in 0..k {
                                let d = dh[j] + dy[j];
                                let ds = d * (N::one() - z[j]) * (N::one() - s[j] * s[j]);
                                ar[j] = ds * carried[j] * (r[j] * (N::one() - r[j]));
                                az[j] = d * (h[j] - s[j]) * (z[j] * (N::one() - z[j]));
                                an[j] = ds;
                                dh[j] = d * z[j];
                            }
                            let (db, an) = (&mut db[own..][..3 * k], &*an);
                            db[..k].copy_from_slice(ar);
                            db[k..2 * k].copy_from_slice(az);
                            for (db, (&an, &r)) in db[2 * k..].iter_mut().zip(an.iter().zip(r)) {
                                *db = an * r;
                            }
                        }
                    },
                );
                if t > 0 || first {
                    let a = lists.rows(&db[3 * t * k..], &lists.gates[..rows], 3 * k);
                    let finish = Finish { beta: N::one(), bias: None, relu: false };
                    N::gather(a, Columns::Packed(u), dh, &lists.first[..rows], finish);
                }
            }
        });
        if let Some(slot) = back.grad(1) {
            slot.add(&dh);
        }
        back.give(dh);
        back.give(panels);
        weights(back, 2, (h, y), &db, self.sizes);
        back.give(db);
        back.pass(0, &mut da);
        back.give(da);
    }
}

#[inline(always)]
fn halves<N>(x: &[N], at: usize) -> [&[N]; 2] {
    x.split_at(at).into()
}
#[inline(always)]
fn halves_mut<N>(x: &mut [N], at: usize) -> [&mut [N]; 2] {
    x.split_at_mut(at).into()
}
#[inline(always)]
fn thirds<N>(x: &[N], k: usize) -> [&[N]; 3] {
    [&x[..k], &x[k..2 * k], &x[2 * k..]]
}
#[inline(always)]
fn thirds_mut<N>(x: &mut [N], k: usize) -> [&mut [N]; 3] {
    let (r, rest) = x.split_at_mut(k);
    let (z, s) = rest.split_at_mut(k);
    [r, z, s]
}

impl<N: Number> Tape<'_, N> {
    /// The states `[n, steps, k]` of a gated recurrent unit along sequences `x [n, steps, in]`, from the state `h [n, k]`, weights
    /// `w [3k, in]` and `u [3k, k]` and biases `[3k]` of both; gates in PyTorch's order r, z, n:
    /// ```text
    /// r = σ(w_r x + b_r + u_r h + c_r)    z = σ(w_z x + b_z + u_z h + c_z)
    /// s = tanh(w_n x + b_n + r∘(u_n h + c_n))    h′ = (1 − z)∘s + z∘h
    /// ```
    /// Cho et al. 2014, <https://arxiv.org/abs/1406.1078>, with r applied behind the product, as in PyTorch.
    ///
    /// # Panics
    /// When the shapes do not fit, or there are 2³² gates.
    #[track_caller]
    pub fn gru(&mut self, x: Var, h: Var, w: [Var; 2], biases: Option<[Var; 2]>) -> Var {
        let a = self.dense(x, w[0], biases.map(|b| b[0]), Activation::Identity);
        let op = Gru { bias: biases.is_some(), ..Gru::default() };
        match biases {
            Some([_, c]) => self.apply(op, &[a, h, w[1], c]),
            None => self.apply(op, &[a, h, w[1]]),
        }
    }
    /// One step of [`Tape::gru`]: the next state `[n, k]`, from `x [n, in]`.
    ///
    /// # Panics
    /// When the shapes do not fit, or there are 2³² gates.
    #[track_caller]
    pub fn gru_cell(&mut self, x: Var, h: Var, w: [Var; 2], biases: Option<[Var; 2]>) -> Var {
        let (shape, state) = (self.shape(x), self.shape(h));
        if shape.len() != 2 || state.len() != 2 {
            misfit("gru_cell", shape, state, "an input [n, in] and a state [n, k]");
        }
        let x = self.reshape(x, [shape[0], 1, shape[1]]);
        let y = self.gru(x, h, w, biases);
        self.reshape(y, state)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1, 2], [1, 1], [3, 2], [3, 1]], |t, x| t.gru_cell(x[0], x[1], [x[2], x[3]], None));
        check!([[3, 4], [3, 2], [6, 4], [6, 2], [6], [6]], |t, x| {
            let h = t.gru_cell(x[0], x[1], [x[2], x[3]], Some([x[4], x[5]]));
            t.gru_cell(x[0], h, [x[2], x[3]], Some([x[4], x[5]]))
        });
        check!([[2, 5, 3], [2, 3], [9, 3], [9, 3], [9], [9]], |t, x| {
            t.gru(x[0], x[1], [x[2], x[3]], Some([x[4], x[5]]))
        });
        check!([[9, 3, 2], [9, 1], [3, 2], [3, 1]], |t, x| t.gru(x[0], x[1], [x[2], x[3]], None));
    }
}
