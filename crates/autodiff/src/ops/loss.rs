//! What the losses of a prediction and a target have in common.

use crate::elementwise::Pair;
use crate::op::{Backward, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::{Shape, misfit};
use crate::{Number, Tape, Var, parallel, sums};

/// `ŷ [n, ..], y [n, ..], w [n] → []`: `L = Σᵢ wᵢ Σⱼ f(ŷᵢⱼ, yᵢⱼ)`, a weighted sum over rows, never a mean.
/// Backward: `dŷ += dL·wᵢ·∂f/∂ŷ`, `dy += dL·wᵢ·∂f/∂y`; weights are constants.
#[derive(Clone, Copy)]
struct Loss<T>(T);

/// Refuses weights that are not one for each row.
#[track_caller]
pub(crate) fn check_weights(name: &str, rows: Shape, weights: Shape) {
    if weights.len() != 1 || rows.first().copied().unwrap_or(1) != weights[0] {
        misfit(name, rows, weights, "one weight for each row of the first axis");
    }
}

impl<N: Number, T: Pair> Op<N> for Loss<T> {
    fn name(&self) -> &'static str {
        T::NAME
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        if x.shape(0) != x.shape(1) {
            misfit(T::NAME, x.shape(0), x.shape(1), "a loss takes a prediction and a target of one shape");
        }
        if x.count() == 3 {
            check_weights(T::NAME, x.shape(0), x.shape(2));
        }
        Shape::SCALAR
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (a, b, function, threads) = (f.x(0), f.x(1), self.0, f.work.threads);
        if f.count() < 3 {
            y[0] = sums::long_sum_by(
                threads,
                a.len(),
                #[inline(always)]
                |block| {
                    sums::sum_pairs(
                        &a[block.clone()],
                        &b[block],
                        #[inline(always)]
                        |a, b| function.value(a, b),
                    )
                },
            );
            return;
        }
        let weights = f.x(2);
        let width = a.len().checked_div(weights.len()).unwrap_or(0);
        y[0] = sums::long_sum(threads, weights.len(), |i| {
            let (a, b) = (&a[i * width..][..width], &b[i * width..][..width]);
            weights[i] * sums::sum_pairs(a, b, |a, b| function.value(a, b))
        });
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let (dl, function, threads) = (dy[0], self.0, b.work.threads);
        let (xa, xb) = (b.x(0), b.x(1));
        let weights = (b.count() == 3).then(|| b.x(2));
        for k in 0..2 {
            let Some(slot) = b.grad(k) else { continue };
            let fresh = slot.fresh;
            let width = weights.map_or(1, |w| slot.grad.len().checked_div(w.len()).unwrap_or(0).max(1));
            parallel::rows(
                threads,
                slot.grad,
                width,
                8 * width,
                #[inline(always)]
                |at, dx| {
                    let (a, b) = (&xa[at * width..][..dx.len()], &xb[at * width..][..dx.len()]);
                    let Some(weights) = weights else {
                        add_slopes(function, k, fresh, dl, dx, a, b);
                        return;
                    };
                    let rows = a.chunks_exact(width).zip(b.chunks_exact(width)).zip(&weights[at..]);
                    for (dx, ((a, b), &w)) in dx.chunks_exact_mut(width).zip(rows) {
                        add_slopes(function, k, fresh, dl * w, dx, a, b);
                    }
                },
            );
        }
    }
}

/// `dx += c·∂f/∂(input k)`; `=` if fresh.
#[inline(always)]
fn add_slopes<N: Number, T: Pair>(function: T, k: usize, fresh: bool, c: N, dx: &mut [N], a: &[N], b: &[N]) {
    if k == 0 {
        for ((dx, &a), &b) in dx.iter_mut().zip(a).zip(b) {
            let slope = c * function.slopes(a, b)[0];
            *dx = if fresh { slope } else { *dx + slope };
        }
    } else {
        for ((dx, &a), &b) in dx.iter_mut().zip(a).zip(b) {
            let slope = c * function.slopes(a, b)[1];
            *dx = if fresh { slope } else { *dx + slope };
        }
    }
}

impl<N: Number> Tape<'_, N> {
    /// `Σᵢ wᵢ Σⱼ f(ŷᵢⱼ, yᵢⱼ)` for a prediction and a target of one shape `[n, ..]`, with weights `[n]` (1 if none): your own
    /// losses. A sum, not a mean: the driver divides by the weights once.
    ///
    /// # Panics
    /// When prediction and target have different shapes (nothing is broadcast in a loss), or weights do not fit.
    #[track_caller]
    pub fn loss<T: Pair>(&mut self, function: T, prediction: Var, target: Var, weights: Option<Var>) -> Var {
        match weights {
            Some(w) => {
                let w = self.detach(w);
                self.apply(Loss(function), &[prediction, target, w])
            }
            None => self.apply(Loss(function), &[prediction, target]),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::mse::Mse;
    use crate::{CrossEntropy, Tape, Var, Workspace};
    use thalweg_core::{Layout, Threads};

    fn with_tape(f: impl FnOnce(&mut Tape<'_, f64>)) {
        f(&mut Workspace::new(Threads::serial()).tape(&Layout::default(), &[]));
    }

    #[test]
    #[should_panic(expected = "mse: [3] and [3, 1] do not fit")]
    fn a_column_against_a_row_is_refused() {
        with_tape(|t| {
            let (a, b) = (t.full(1.0, [3]), t.full(1.0, [3, 1]));
            t.mse(a, b, None);
        });
    }

    #[test]
    #[should_panic(expected = "mse: [3, 2] and [2] do not fit: one weight for each row")]
    fn weights_of_another_axis_are_refused() {
        with_tape(|t| {
            let (a, b, w) = (t.full(1.0, [3, 2]), t.full(1.0, [3, 2]), t.full(1.0, [2]));
            t.mse(a, b, Some(w));
        });
    }

    #[test]
    fn weight_0_is_absent_and_weight_2_is_twice() {
        with_tape(|t| {
            let a = t.constant(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [3, 2]);
            let b = t.full(0.0, [3, 2]);
            let w = t.constant(&[0.0, 2.0, 1.0], [3]);
            let loss = t.mse(a, b, Some(w));
            assert_eq!(t.value(loss), [0.5 * (2.0 * (9.0 + 16.0) + 25.0 + 36.0)]);
        });
    }

    type Made = fn(&mut Tape<'_, f64>, [Var; 3]) -> Var;

    /// Every loss of the tape, called with a prediction, a target and weights.
    const LOSSES: [(&str, Made); 14] = [
        ("loss", |t, [a, b, w]| t.loss(Mse, a, b, Some(w))),
        ("mse", |t, [a, b, w]| t.mse(a, b, Some(w))),
        ("l1", |t, [a, b, w]| t.l1(a, b, Some(w))),
        ("huber", |t, [a, b, w]| t.huber(a, b, 1.0, Some(w))),
        ("quantile", |t, [a, b, w]| t.quantile(a, b, 0.5, Some(w))),
        ("bce_with_logits", |t, [a, b, w]| t.bce_with_logits(a, b, Some(w))),
        ("poisson", |t, [a, b, w]| t.poisson(a, b, Some(w))),
        ("hinge", |t, [a, b, w]| t.hinge(a, b, Some(w))),
        ("kl_divergence", |t, [a, b, w]| t.kl_divergence(a, b, Some(w))),
        ("cosine_loss", |t, [a, b, w]| t.cosine_loss(a, b, Some(w))),
        ("triplet", |t, [a, b, w]| t.triplet(a, b, b, 1.0, Some(w))),
        ("triplet", |t, [a, b, w]| t.triplet(a, a, b, 1.0, Some(w))),
        ("contrastive", |t, [a, b, w]| t.contrastive(a, b, w, 1.0, None)),
        ("softmax_cross_entropy", |t, [a, b, w]| {
            let labels =
                vec![0; t.shape(b)[0] * t.shape(b)[1..].iter().product::<usize>() / t.shape(a).last_size()];
            t.softmax_cross_entropy(a, &labels, CrossEntropy { weights: Some(w), ..CrossEntropy::default() })
        }),
    ];

    #[test]
    fn every_loss_refuses_other_shapes_and_weights_and_broadcasts_nothing() {
        let refusal = |make: Made, shapes: [&[usize]; 3]| {
            let made = std::panic::catch_unwind(|| {
                with_tape(|t| {
                    let x = shapes.map(|shape| t.full(0.5, shape));
                    let loss = make(t, x);
                    assert_eq!(t.shape(loss).count(), 1);
                });
            });
            made.err().map(|cause| cause.downcast_ref::<String>().cloned().unwrap_or_default())
        };
        for (name, make) in LOSSES {
            assert_eq!(refusal(make, [&[3, 2], &[3, 2], &[3]]), None, "{name}");
            // A column against rows, a row against a column, one number against all, sizes swapped; weights for columns, as a column,
            // for one row more, one for all.
            let wrong: [[&[usize]; 3]; 8] = [
                [&[3, 1], &[3], &[3]],
                [&[3, 3], &[3, 1], &[3]],
                [&[3, 2], &[1], &[3]],
                [&[3, 2], &[2, 3], &[3]],
                [&[3, 2], &[3, 2], &[2]],
                [&[3, 2], &[3, 2], &[3, 1]],
                [&[3, 2], &[3, 2], &[4]],
                [&[3, 2], &[3, 2], &[1]],
            ];
            for shapes in wrong {
                // Labels have no shape but their number.
                let labels = name == "softmax_cross_entropy"
                    && shapes[1].iter().product::<usize>() == shapes[0].iter().product();
                if labels && shapes[2] == [3] {
                    continue;
                }
                let refused = refusal(make, shapes);
                assert!(
                    refused.as_ref().is_some_and(|m| m.contains(" do not fit: ")),
                    "{name} {shapes:?}: {refused:?}"
                );
            }
        }
    }

    /// A new loss takes its place in `LOSSES`.
    #[test]
    fn every_loss_is_in_the_list() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ops");
        for file in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for method in text.split("    pub fn ").skip(1) {
                let (head, _) = method.split_once('{').unwrap_or_default();
                let name = head.split(['(', '<']).next().unwrap_or_default();
                let takes = head.contains("weights: Option<Var>") || head.contains("options: CrossEntropy");
                let known = LOSSES.iter().any(|(known, _)| *known == name) || name == "weighted_sum";
                assert!(known || !takes, "{name}");
            }
        }
    }
}
