//! Hinge loss of two classes with one output: the margin of support vector machines, target 0 or 1.
//! ```text
//! s = 2y − 1        loss(z, y) = max(0, 1 − s·z)        ∂/∂z = −s where s·z < 1, else 0
//! ```
//! Straight on both sides of a kink, so no bound on curvature exists and a constant rate does not converge: let the rate decay. z is
//! no log-odds: σ(z), which stands for the probability of class 1, orders rows as z does and is above ½ where z is above 0, but is not
//! calibrated. PyTorch's `HingeEmbeddingLoss` is another loss; scikit-learn's `SGDClassifier(loss="hinge")` is this one.
//! Source: Cortes and Vapnik, *Support-Vector Networks*, 1995, <https://doi.org/10.1007/BF00994018>.

use thalweg_core::Float;

use super::{Entry, Loss, Pointwise, Task, sign};

/// max(0, 1 − (2y − 1)·z).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hinge;

impl Pointwise for Hinge {
    #[inline(always)]
    fn element<F: Float>(&self, z: F, y: F) -> (F, F) {
        let s = (y + y) - F::one();
        let gap = F::one() - s * z;
        let loss = F::select(gap.lt(F::zero()), F::zero(), gap);
        (loss, sign(gap, -s, F::zero()))
    }
    #[inline(always)]
    fn curvature<F: Float>(&self, _z: F, _y: F) -> F {
        F::zero()
    }
    #[inline(always)]
    fn mean<F: Float>(&self, z: F) -> F {
        z.sigmoid()
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "hinge",
    task: Task::TwoClasses,
    bound: None,
    smooth: false,
    hyper: &[],
    doc: "max(0, 1 ∓ ŷ) of two classes: the margin of support vector machines",
    make: |_| Loss::Hinge(Hinge),
};
