//! Softmax cross-entropy of k classes with k logits, target the index of the class.
//! ```text
//! pⱼ = exp(zⱼ − m)/S,  m = max z,  S = Σ exp(zⱼ − m)
//! loss(z, y) = (m − z_y) + ln S        ∂/∂zⱼ = pⱼ − [j = y]
//! ∂²/∂z² = diag(p) − p·pᵀ,  eigenvalues at most ½ (Böhning 1992)
//! ```
//! The largest logit is taken off first, so that nothing overflows. PyTorch's `CrossEntropyLoss` and scikit-learn's
//! multinomial LogisticRegression are the same. A shift of all logits changes nothing: without a penalty the minimum is a
//! line, and starting from zero keeps Σⱼ zⱼ at zero.
//! Source: Bridle 1990; Böhning, *Multinomial logistic regression algorithm*, 1992, <https://doi.org/10.1007/BF00048682>.
//!
//! A tile of n rows is stored class-major, `[k, n]`: every loop below runs over rows, and vectorises for any k.

use thalweg_core::Float;

use super::{Entry, Loss, Task};

/// Cross-entropy of the softmax.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Softmax;

/// So many rows at a time have their sums on the stack.
const ROWS: usize = 64;

impl Softmax {
    /// Replaces the logits `z [k, n]` of n rows by ∂loss/∂z and writes the n losses. `y [n]` holds class indices.
    #[inline(always)]
    pub fn tile<F: Float>(&self, z: &mut [F], y: &[F], loss: &mut [F]) {
        let n = y.len();
        for start in (0..n).step_by(ROWS) {
            let y = &y[start..n.min(start + ROWS)];
            let loss = &mut loss[start..start + y.len()];
            let mut top = [F::zero(); ROWS];
            let top = &mut top[..y.len()];
            largest(z, n, start, top);
            loss.fill(F::zero());
            for (j, z) in z.chunks_exact(n).enumerate() {
                let class = F::from_f64(j as f64);
                for ((loss, &z), &y) in loss.iter_mut().zip(&z[start..]).zip(y) {
                    *loss = F::select(y == class, z, *loss);
                }
            }
            let mut sum = [F::zero(); ROWS];
            let sum = &mut sum[..y.len()];
            exponentials(z, n, start, top, sum);
            for ((loss, &top), &sum) in loss.iter_mut().zip(&*top).zip(&*sum) {
                *loss = (top - *loss) + sum.ln();
            }
            for (j, z) in z.chunks_exact_mut(n).enumerate() {
                let class = F::from_f64(j as f64);
                for ((z, &sum), &y) in z[start..].iter_mut().zip(&*sum).zip(y) {
                    *z = *z / sum - F::select(y == class, F::one(), F::zero());
                }
            }
        }
    }

    /// Replaces the directions `v [k, n]` by (diag(p) − p·pᵀ)·v, with p from the logits `z [k, n]`, which become p.
    #[inline(always)]
    pub fn tile_product<F: Float>(&self, z: &mut [F], v: &mut [F], n: usize) {
        self.tile_mean(z, n);
        for start in (0..n).step_by(ROWS) {
            let rows = ROWS.min(n - start);
            let mut along = [F::zero(); ROWS];
            let along = &mut along[..rows];
            for (p, v) in z.chunks_exact(n).zip(v.chunks_exact(n)) {
                for ((along, &p), &v) in along.iter_mut().zip(&p[start..]).zip(&v[start..]) {
                    *along += p * v;
                }
            }
            for (p, v) in z.chunks_exact(n).zip(v.chunks_exact_mut(n)) {
                for ((v, &p), &along) in v[start..].iter_mut().zip(&p[start..]).zip(&*along) {
                    *v = p * (*v - along);
                }
            }
        }
    }

    /// Replaces the logits `z [k, n]` by the probabilities.
    #[inline(always)]
    pub fn tile_mean<F: Float>(&self, z: &mut [F], n: usize) {
        for start in (0..n).step_by(ROWS) {
            let rows = ROWS.min(n - start);
            let (mut top, mut sum) = ([F::zero(); ROWS], [F::zero(); ROWS]);
            let (top, sum) = (&mut top[..rows], &mut sum[..rows]);
            largest(z, n, start, top);
            exponentials(z, n, start, top, sum);
            for z in z.chunks_exact_mut(n) {
                for (z, &sum) in z[start..].iter_mut().zip(&*sum) {
                    *z = *z / sum;
                }
            }
        }
    }
}

/// The largest logit of each row from `start` on.
#[inline(always)]
fn largest<F: Float>(z: &[F], n: usize, start: usize, top: &mut [F]) {
    top.copy_from_slice(&z[start..start + top.len()]);
    for z in z.chunks_exact(n).skip(1) {
        for (top, &z) in top.iter_mut().zip(&z[start..]) {
            *top = z.at_least(*top);
        }
    }
}

/// z ← exp(z − top), summed over the classes.
#[inline(always)]
fn exponentials<F: Float>(z: &mut [F], n: usize, start: usize, top: &[F], sum: &mut [F]) {
    for z in z.chunks_exact_mut(n) {
        for ((z, &top), sum) in z[start..].iter_mut().zip(top).zip(sum.iter_mut()) {
            *z = (*z - top).exp();
            *sum += *z;
        }
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "softmax",
    task: Task::Classes,
    bound: Some(0.5),
    smooth: true,
    hyper: &[],
    doc: "cross-entropy of k classes, k logits",
    make: |_| Loss::Softmax(Softmax),
};
