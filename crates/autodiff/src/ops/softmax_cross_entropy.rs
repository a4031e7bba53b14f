//! `softmax_cross_entropy`: the loss of classes, from logits.

use crate::op::{Backward, Codes, Forward, Inputs, Op};
use crate::ops::loss::check_weights;
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Number, Tape, Var, parallel, sums};

/// What [`Tape::softmax_cross_entropy`] takes beside logits and labels.
#[derive(Clone, Copy, Debug, Default)]
pub struct CrossEntropy {
    /// A weight for each row `[n]`; 1 if none. A constant.
    pub weights: Option<Var>,
    /// A weight cₖ for each class `[k]`; 1 if none. A constant.
    pub class_weights: Option<Var>,
    /// ε in [0, 1): the share of the target that is spread over all classes. PyTorch's `label_smoothing`.
    pub smoothing: f64,
}

/// `x [n, k]`, labels `[n] → []`: `L = Σᵢ wᵢ Σₖ tᵢₖ·(ln Σⱼ e^xᵢⱼ − xᵢₖ)`, `tᵢₖ = cₖ·((1 − ε)·[k = labelᵢ] + ε/k)`.
/// Backward: `dxᵢₖ += dL·wᵢ·(pᵢₖ·Σⱼ tᵢⱼ − tᵢₖ)`, p = softmax(x), saved.
#[derive(Clone, Copy)]
struct SoftmaxCrossEntropy {
    labels: Codes,
    smoothing: f64,
    /// Which inputs the weights of rows and of classes are.
    weights: Option<usize>,
    class_weights: Option<usize>,
}

const NAME: &str = "softmax_cross_entropy";

impl<N: Number> Op<N> for SoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        NAME
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let logits = x.shape(0);
        if logits.is_empty() || logits.rows() != self.labels.len() {
            misfit(NAME, logits, [self.labels.len()].into(), "one label for each row of logits");
        }
        if let Some(i) = self.weights {
            check_weights(NAME, [logits.rows()].into(), x.shape(i));
        }
        if let Some(i) = self.class_weights
            && x.shape(i)[..] != [logits.last_size()]
        {
            misfit(NAME, logits, x.shape(i), "one weight for each class");
        }
        Shape::SCALAR
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (x, k) = (f.x(0), f.shape(0).last_size());
        let n = self.labels.len();
        let weights = self.weights.map(|i| f.x(i));
        let class_weights = self.class_weights.map(|i| f.x(i));
        let (mut p, mut losses) = (f.take(n * k), f.take(n));
        let labels = f.codes(self.labels);
        if let Some((row, label)) = labels.iter().enumerate().find(|(_, label)| **label as usize >= k) {
            panic!("{NAME}: row {row} has the label {label}, but there are {k} classes");
        }
        let (spread, rest) = (N::from_f64(self.smoothing / k as f64), N::from_f64(1.0 - self.smoothing));
        parallel::rows2(
            f.work.threads,
            (&mut p, k),
            (&mut losses, 1),
            16 * k,
            #[inline(always)]
            |at, p, losses| {
                let rows = x[at * k..].chunks_exact(k).zip(&labels[at..]);
                let results = p.chunks_exact_mut(k).zip(losses);
                for (i, ((x, &label), (p, loss))) in rows.zip(results).enumerate() {
                    let label = label as usize;
                    let top = sums::max(x);
                    for (p, &x) in p.iter_mut().zip(x) {
                        *p = (x - top).exp();
                    }
                    let sum = sums::sum(p);
                    let share = N::one() / sum;
                    for p in p.iter_mut() {
                        *p = *p * share;
                    }
                    let log = sum.ln();
                    // ln Σⱼ e^xⱼ − xₖ, the large parts first.
                    let surprise = |j: usize| log - (x[j] - top);
                    let c = |j: usize| class_weights.map_or(N::one(), |c| c[j]);
                    *loss = rest * c(label) * surprise(label);
                    if self.smoothing > 0.0 {
                        *loss = *loss + spread * sums::sum_of(k, |j| c(j) * surprise(j));
                    }
                    *loss = weights.map_or(*loss, |w| w[at + i] * *loss);
                }
            },
        );
        y[0] = sums::long_sum(f.work.threads, n, |i| losses[i]);
        f.give(losses);
        f.save(0, p);
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let (dl, p, k) = (dy[0], b.saved(0), b.shape(0).last_size());
        let weights = self.weights.map(|i| b.x(i));
        let class_weights = self.class_weights.map(|i| b.x(i));
        let (labels, threads) = (b.codes(self.labels), b.work.threads);
        let (spread, rest) = (N::from_f64(self.smoothing / k as f64), N::from_f64(1.0 - self.smoothing));
        let Some(slot) = b.grad(0) else { return };
        let fresh = slot.fresh;
        let c = |j: usize| class_weights.map_or(N::one(), |c| c[j]);
        let all = spread * sums::sum_of(k, c);
        parallel::rows(
            threads,
            slot.grad,
            k,
            4 * k,
            #[inline(always)]
            |at, dx| {
                let rows = p[at * k..].chunks_exact(k).zip(&labels[at..]);
                for (i, (dx, (p, &label))) in dx.chunks_exact_mut(k).zip(rows).enumerate() {
                    let w = weights.map_or(dl, |w| dl * w[at + i]);
                    let hit = rest * c(label as usize);
                    let total = hit + all;
                    if fresh {
                        for (dx, &p) in dx.iter_mut().zip(p) {
                            *dx = w * (p * total);
                        }
                    } else {
                        for (dx, &p) in dx.iter_mut().zip(p) {
                            *dx = *dx + w * (p * total);
                        }
                    }
                    if self.smoothing > 0.0 {
                        for (j, dx) in dx.iter_mut().enumerate() {
                            *dx = *dx - w * (spread * c(j));
                        }
                    }
                    dx[label as usize] = dx[label as usize] - w * hit;
                }
            },
        );
    }
}

impl<N: Number> Tape<'_, N> {
    /// `Σᵢ wᵢ·(−ln softmax(xᵢ)[labelᵢ])` for logits `[.., k]` and one label in 0..k for each row, with class weights and label
    /// smoothing as in PyTorch's `cross_entropy` with `reduction="sum"`. A sum, not a mean.
    ///
    /// # Panics
    /// When the shapes do not fit, or a label is not a class.
    #[track_caller]
    pub fn softmax_cross_entropy(&mut self, logits: Var, labels: &[u32], options: CrossEntropy) -> Var {
        let CrossEntropy { weights, class_weights, smoothing } = options;
        assert!((0.0..1.0).contains(&smoothing), "{NAME}: smoothing must be in [0, 1), got {smoothing}");
        let labels = self.codes(labels);
        let op = |weights, class_weights| SoftmaxCrossEntropy { labels, smoothing, weights, class_weights };
        let weights = weights.map(|w| self.detach(w));
        let class_weights = class_weights.map(|w| self.detach(w));
        match (weights, class_weights) {
            (None, None) => self.apply(op(None, None), &[logits]),
            (Some(w), None) => self.apply(op(Some(1), None), &[logits, w]),
            (None, Some(c)) => self.apply(op(None, Some(1)), &[logits, c]),
            (Some(w), Some(c)) => self.apply(op(Some(1), Some(2)), &[logits, w, c]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{check, some};

    #[test]
    fn gradient() {
        check!([[1, 3]], |t, x| t.softmax_cross_entropy(x[0], &[2], CrossEntropy::default()));
        check!([[3, 11]], |t, x| {
            t.softmax_cross_entropy(x[0], &[2, 0, 10], CrossEntropy { smoothing: 0.1, ..Default::default() })
        });
        for smoothing in [0.0, 0.2] {
            check!([[3, 5]], |t, x| {
                let (weights, class_weights) = (Some(some(t, [3])), Some(some(t, [5])));
                t.softmax_cross_entropy(x[0], &[2, 0, 2], CrossEntropy { weights, class_weights, smoothing })
            });
        }
    }

    #[test]
    #[should_panic(expected = "softmax_cross_entropy: row 1 has the label 3, but there are 3 classes")]
    fn a_label_that_is_no_class_is_refused() {
        check!([[2, 3]], |t, x| t.softmax_cross_entropy(x[0], &[2, 3], CrossEntropy::default()));
    }
}
