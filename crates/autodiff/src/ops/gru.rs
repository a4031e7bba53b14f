//! `gru_cell`: one step of a gated recurrent unit.

use crate::op::{Backward, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Activation, Number, Tape, Var, parallel};

/// `a [n, 3k], b [n, 3k], h [n, k] → [n, k]`, thirds r, z, n:
/// ```text
/// r = σ(a_r + b_r)    z = σ(a_z + b_z)    s = tanh(a_n + r∘b_n)    y = s + z∘(h − s)
/// ```
/// Backward: `dz = dy∘(h − s)·z(1 − z)`, `ds = dy∘(1 − z)·(1 − s²)`, `dr = ds∘b_n·r(1 − r)`; `da += [dr, dz, ds]`,
/// `db += [dr, dz, ds∘r]`, `dh += dy∘z`. Saved: r, z, s.
#[derive(Clone, Copy, Debug)]
struct Gru;

impl<N: Number> Op<N> for Gru {
    fn name(&self) -> &'static str {
        "gru_cell"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let h = x.shape(2);
        for i in 0..2 {
            if h.len() != 2 || x.shape(i)[..] != [h[0], 3 * h[1]] {
                misfit("gru_cell", x.shape(i), h, "three gates [n, 3k] and a state [n, k]");
            }
        }
        h
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (a, b, h, k) = (f.x(0), f.x(1), f.x(2), f.shape(2)[1]);
        let mut saved = f.take(3 * y.len());
        parallel::rows2(
            f.work.threads,
            (y, k),
            (&mut saved, 3 * k),
            64 * k,
            #[inline(always)]
            |at, y, saved| {
                for (i, (y, saved)) in y.chunks_exact_mut(k).zip(saved.chunks_exact_mut(3 * k)).enumerate() {
                    let (a, b) = (&a[(at + i) * 3 * k..][..3 * k], &b[(at + i) * 3 * k..][..3 * k]);
                    let h = &h[(at + i) * k..][..k];
                    for j in 0..2 * k {
                        saved[j] = (a[j] + b[j]).sigmoid();
                    }
                    for j in 0..k {
                        saved[2 * k + j] = (a[2 * k + j] + saved[j] * b[2 * k + j]).tanh();
                    }
                    for j in 0..k {
                        let s = saved[2 * k + j];
                        y[j] = s + saved[k + j] * (h[j] - s);
                    }
                }
            },
        );
        f.save(0, saved);
    }
    fn backward(&self, back: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let (b, h, saved, k) = (back.x(1), back.x(2), back.saved(0), back.shape(2)[1]);
        let threads = back.work.threads;
        let mut gates = back.take(saved.len());
        {
            let dy: &[N] = dy;
            parallel::rows(
                threads,
                &mut gates,
                3 * k,
                32 * k,
                #[inline(always)]
                |at, gates| {
                    for (i, gates) in gates.chunks_exact_mut(3 * k).enumerate() {
                        let i = at + i;
                        let (dy, h) = (&dy[i * k..][..k], &h[i * k..][..k]);
                        let (saved, b) = (&saved[i * 3 * k..][..3 * k], &b[i * 3 * k..][..3 * k]);
                        for j in 0..k {
                            let (r, z, s) = (saved[j], saved[k + j], saved[2 * k + j]);
                            let ds = dy[j] * (N::one() - z) * (N::one() - s * s);
                            gates[j] = ds * b[2 * k + j] * (r * (N::one() - r));
                            gates[k + j] = dy[j] * (h[j] - s) * (z * (N::one() - z));
                            gates[2 * k + j] = ds;
                        }
                    }
                },
            );
        }
        if let Some(slot) = back.grad(0) {
            slot.add(&gates);
        }
        if let Some(slot) = back.grad(1) {
            let db = slot.zeroed();
            let rows = gates.chunks_exact(3 * k).zip(saved.chunks_exact(3 * k));
            for (db, (gates, saved)) in db.chunks_exact_mut(3 * k).zip(rows) {
                for j in 0..2 * k {
                    db[j] = db[j] + gates[j];
                }
                for j in 0..k {
                    db[2 * k + j] = db[2 * k + j] + gates[2 * k + j] * saved[j];
                }
            }
        }
        back.give(gates);
        for (dy, saved) in dy.chunks_exact_mut(k).zip(saved.chunks_exact(3 * k)) {
            for (dy, &z) in dy.iter_mut().zip(&saved[k..]) {
                *dy = *dy * z;
            }
        }
        back.pass(2, dy);
    }
}

impl<N: Number> Tape<'_, N> {
    /// The next state `[n, k]` of a gated recurrent unit, from `x [n, in]`, the state `h [n, k]`, weights `w [3k, in]` and `u [3k, k]`
    /// and biases `[3k]` of both; gates in PyTorch's order r, z, n:
    /// ```text
    /// r = σ(w_r x + b_r + u_r h + c_r)    z = σ(w_z x + b_z + u_z h + c_z)
    /// s = tanh(w_n x + b_n + r∘(u_n h + c_n))    h′ = (1 − z)∘s + z∘h
    /// ```
    /// Cho et al. 2014, <https://arxiv.org/abs/1406.1078>, with r applied behind the product, as in PyTorch.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn gru_cell(&mut self, x: Var, h: Var, w: [Var; 2], biases: Option<[Var; 2]>) -> Var {
        let a = self.dense(x, w[0], biases.map(|b| b[0]), Activation::Identity);
        let b = self.dense(h, w[1], biases.map(|b| b[1]), Activation::Identity);
        self.apply(Gru, &[a, b, h])
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
    }
}
