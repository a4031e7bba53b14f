//! Logistic loss of two classes with one logit: P(class 1) = σ(z) = 1/(1 + e⁻ᶻ), target 0 or 1.
//! ```text
//! t = (1 − 2y)·z        loss(z, y) = ln(1 + eᵗ)  =  ln(1 + eᶻ) − y·z
//! ∂/∂z = (1 − 2y)·σ(t)  =  σ(z) − y        ∂²/∂z² = σ(z)·σ(−z), at most ¼
//! ```
//! The forms in t keep small losses and derivatives exact where those in z cancel, and never overflow. PyTorch's
//! `BCEWithLogitsLoss` is the same, scikit-learn's LogisticRegression of two classes as well.
//! Source: Cox, *The regression analysis of binary sequences*, 1958, <https://doi.org/10.1111/j.2517-6161.1958.tb00292.x>.

use thalweg_core::Float;

use super::{Entry, Loss, Pointwise, Task};

/// ln(1 + eᶻ) − y·z.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Logistic;

impl Pointwise for Logistic {
    #[inline(always)]
    fn element<F: Float>(&self, z: F, y: F) -> (F, F) {
        let side = F::one() - (y + y);
        let t = side * z;
        // softplus and sigmoid share e^(−|t|), which never overflows.
        let e = (-t.abs()).exp();
        let positive = F::select(t.lt(F::zero()), F::zero(), t);
        let top = F::select(t.lt(F::zero()), e, F::one());
        (positive + e.log1p(), side * (top / (F::one() + e)))
    }
    #[inline(always)]
    fn curvature<F: Float>(&self, z: F, _y: F) -> F {
        let e = (-z.abs()).exp();
        let p = F::one() / (F::one() + e);
        p * (e * p)
    }
    #[inline(always)]
    fn mean<F: Float>(&self, z: F) -> F {
        z.sigmoid()
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "logistic",
    task: Task::TwoClasses,
    bound: Some(0.25),
    smooth: true,
    hyper: &[],
    doc: "cross-entropy of two classes, one logit",
    make: |_| Loss::Logistic(Logistic),
};
