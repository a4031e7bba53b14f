//! `matmul`: products of two tensors' matrices.

use thalweg_core::Threads;

use crate::number::{View, ViewMut};
use crate::op::{Backward, Forward, Inputs, Op, Work};
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Number, Tape, Var, parallel};

/// `a [.., m, k], b [.., k, n] → [.., m, n]`: `Y = A·B` for each pair of matrices, each stored as it is or transposed.
/// Backward: `dA += dY·Bᵀ`, `dB += Aᵀ·dY`.
#[derive(Clone, Copy, Debug)]
struct Matmul {
    transposed: [bool; 2],
}

/// The matrices of a product: how many, and [m, k, n].
fn sizes(transposed: [bool; 2], a: Shape, b: Shape) -> (usize, [usize; 3]) {
    let outer = |s: Shape| s.len().saturating_sub(2);
    if a.len() < 2 || b.len() < 2 || a[..outer(a)] != b[..outer(b)] {
        misfit("matmul", a, b, "matrices, and as many of the one as of the other");
    }
    let inner = |s: Shape, t: bool| {
        let (r, c) = (s[s.len() - 2], s[s.len() - 1]);
        if t { (c, r) } else { (r, c) }
    };
    let ((m, k), (k2, n)) = (inner(a, transposed[0]), inner(b, transposed[1]));
    if k != k2 {
        let expected = match transposed {
            [false, false] => "[.., m, k] and [.., k, n]",
            [true, false] => "[.., k, m] (transposed) and [.., k, n]",
            [false, true] => "[.., m, k] and [.., n, k] (transposed)",
            [true, true] => "[.., k, m] and [.., n, k], both transposed",
        };
        misfit("matmul", a, b, expected);
    }
    (a[..outer(a)].iter().product(), [m, k, n])
}

/// A `rows × cols` matrix that is stored transposed if `t`.
fn view<N>(data: &[N], rows: usize, cols: usize, t: bool) -> View<'_, N> {
    if t { View::new(data, cols, rows).t() } else { View::new(data, rows, cols) }
}

/// `C[i] ← A[i]·B[i] + β·C[i]` for each i: one product on all threads, or many on one thread each.
fn products<N: Number>(
    work: Work<'_>,
    [m, k, n]: [usize; 3],
    (a, ta): (&[N], bool),
    (b, tb): (&[N], bool),
    beta: N,
    (c, tc): (&mut [N], bool),
) {
    if m * n == 0 {
        return;
    }
    let one = |threads: &Threads, i: usize, c: &mut [N]| {
        let (row, col) = if tc { (1, m) } else { (n, 1) };
        let c = ViewMut { data: c, rows: m, cols: n, row, col };
        let (a, b) = (&a[i * m * k..][..m * k], &b[i * k * n..][..k * n]);
        Work { threads, ..work }.product(N::one(), view(a, m, k, ta), view(b, k, n, tb), beta, c);
    };
    if c.len() == m * n {
        one(work.threads, 0, c);
        return;
    }
    let alone = Threads::serial();
    parallel::rows(work.threads, c, m * n, m * n * k, |at, c| {
        for (i, c) in c.chunks_exact_mut(m * n).enumerate() {
            one(&alone, at + i, c);
        }
    });
}

impl<N: Number> Op<N> for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let (a, b) = (x.shape(0), x.shape(1));
        let (_, [m, _, n]) = sizes(self.transposed, a, b);
        a.with(a.len() - 2, m).with_last(n)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let [ta, tb] = self.transposed;
        let (_, sizes) = sizes(self.transposed, f.shape(0), f.shape(1));
        products(f.work, sizes, (f.x(0), ta), (f.x(1), tb), N::zero(), (y, false));
    }
    fn backward(&self, back: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let [ta, tb] = self.transposed;
        let (_, [m, k, n]) = sizes(self.transposed, back.shape(0), back.shape(1));
        let (work, a, b) = (back.work, back.x(0), back.x(1));
        if let Some(da) = back.grad(0) {
            let beta = da.beta();
            products(work, [m, n, k], (dy, false), (b, !tb), beta, (da.grad, ta));
        }
        if let Some(db) = back.grad(1) {
            let beta = db.beta();
            products(work, [k, m, n], (a, !ta), (dy, false), beta, (db.grad, tb));
        }
    }
}

impl<N: Number> Tape<'_, N> {
    /// `A·B` for each pair of matrices of `a [.., m, k]` and `b [.., k, n]`, whose leading axes are the same.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn matmul(&mut self, a: Var, b: Var) -> Var {
        self.matmul_of(a, b, [false, false])
    }
    /// As [`Tape::matmul`], with either matrix stored transposed: `[.., k, m]`, `[.., n, k]`.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn matmul_of(&mut self, a: Var, b: Var, transposed: [bool; 2]) -> Var {
        self.apply(Matmul { transposed }, &[a, b])
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1, 1], [1, 1]], |t, x| t.matmul(x[0], x[1]));
        check!([[3, 4], [4, 5]], |t, x| t.matmul(x[0], x[1]));
        check!([[2, 3, 4], [2, 4, 5]], |t, x| t.matmul(x[0], x[1]));
        check!([[4, 3], [4, 5]], |t, x| t.matmul_of(x[0], x[1], [true, false]));
        check!([[3, 1, 3, 4], [3, 1, 5, 4]], |t, x| t.matmul_of(x[0], x[1], [false, true]));
        check!([[2, 4, 3], [2, 5, 4]], |t, x| t.matmul_of(x[0], x[1], [true, true]));
        check!([[3, 3]], |t, x| t.matmul_of(x[0], x[0], [false, true]));
    }

    #[test]
    #[should_panic(expected = "matmul: [2, 3] and [4, 5] do not fit")]
    fn other_inner_sizes_are_refused() {
        check!([[2, 3], [4, 5]], |t, x| t.matmul(x[0], x[1]));
    }
}
