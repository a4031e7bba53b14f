//! `cosine_similarity` of rows, and the loss of it.

use crate::op::{Backward, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Number, Tape, Var, sums};

/// No norm counts as smaller than this: PyTorch's `eps`.
const EPS: f64 = 1e-8;

/// `a [.., d], b [.., d] → [..]`: `y = a·b / (|a|·|b|)`, norms at least 1e-8.
/// Backward: `da += dy·(b/(|a||b|) − y·a/|a|²)`, and likewise b.
#[derive(Clone, Copy, Debug)]
struct Cosine;

fn norm<N: Number>(x: &[N]) -> N {
    let square = sums::dot(x, x);
    // Below the smallest norm the root's slope is not wanted.
    N::select(N::from_f64(EPS * EPS).lt(square), square, N::from_f64(EPS * EPS)).sqrt()
}

impl<N: Number> Op<N> for Cosine {
    fn name(&self) -> &'static str {
        "cosine_similarity"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let shape = x.shape(0);
        if shape != x.shape(1) || shape.is_empty() {
            misfit("cosine_similarity", shape, x.shape(1), "rows of one shape");
        }
        shape.without(shape.len() - 1)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (a, b, d) = (f.x(0), f.x(1), f.shape(0).last_size());
        for (i, y) in y.iter_mut().enumerate() {
            let (a, b) = (&a[i * d..][..d], &b[i * d..][..d]);
            *y = sums::dot(a, b) / (norm(a) * norm(b));
        }
    }
    fn backward(&self, back: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let (x, y, d) = ([back.x(0), back.x(1)], back.y(), back.shape(0).last_size());
        for k in 0..2 {
            let Some(slot) = back.grad(k) else { continue };
            let dx = slot.zeroed();
            for (i, &dy) in dy.iter().enumerate() {
                let (own, other) = (&x[k][i * d..][..d], &x[1 - k][i * d..][..d]);
                let (n, m) = (norm(own), norm(other));
                let small = !N::from_f64(EPS).lt(n);
                let (c, e) = (dy / (n * m), N::select(small, N::zero(), dy * y[i] / (n * n)));
                for ((dx, &own), &other) in dx[i * d..].iter_mut().zip(own).zip(other) {
                    *dx = *dx + (c * other - e * own);
                }
            }
        }
    }
}

impl<N: Number> Tape<'_, N> {
    /// The cosine of the angle between rows of `a [.., d]` and `b [.., d]`: `[..]`.
    ///
    /// # Panics
    /// When the shapes differ.
    #[track_caller]
    pub fn cosine_similarity(&mut self, a: Var, b: Var) -> Var {
        self.apply(Cosine, &[a, b])
    }
    /// `Σᵢ wᵢ·(1 − cos(aᵢ, bᵢ))` over the rows of `a [n, d]`, `b [n, d]`.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn cosine_loss(&mut self, a: Var, b: Var, weights: Option<Var>) -> Var {
        let cosine = self.cosine_similarity(a, b);
        let negative = self.neg(cosine);
        let losses = self.shift(negative, 1.0);
        self.weighted_sum(losses, weights)
    }
    /// `Σᵢ wᵢ·lᵢ` for a loss of each row `l [n]` and weights `[n]`, 1 if none; weights are constants.
    ///
    /// # Panics
    /// When the shapes differ.
    #[track_caller]
    pub fn weighted_sum(&mut self, losses: Var, weights: Option<Var>) -> Var {
        let Some(weights) = weights else { return self.sum(losses) };
        let (l, w) = (self.shape(losses), self.shape(weights));
        if l != w {
            misfit("weighted_sum", l, w, "one weight for each loss");
        }
        let weights = self.detach(weights);
        let weighted = self.mul(losses, weights);
        self.sum(weighted)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::{check, some};

    #[test]
    fn gradient() {
        check!([[1, 2], [1, 2]], |t, x| t.cosine_similarity(x[0], x[1]));
        check!([[2, 3, 9], [2, 3, 9]], |t, x| t.cosine_similarity(x[0], x[1]));
        check!([[3, 5], [3, 5]], |t, x| {
            let w = some(t, [3]);
            t.cosine_loss(x[0], x[1], Some(w))
        });
    }
}
