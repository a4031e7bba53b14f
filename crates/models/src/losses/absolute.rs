//! Absolute error.
//! ```text
//! loss(z, y) = |z − y|        ∂/∂z = sign(z − y), 0 where z = y
//! ```
//! Its minimum over constants is the median. It has a kink at z = y, so no bound on curvature exists and a constant rate
//! does not converge: let the rate decay.
//! Source: Boscovich 1757, Laplace 1793; Bloomfield and Steiger, *Least Absolute Deviations*, 1983.

use thalweg_core::Float;

use super::{Entry, Loss, Pointwise, Task, sign};

/// |z − y|.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Absolute;

impl Pointwise for Absolute {
    #[inline(always)]
    fn element<F: Float>(&self, z: F, y: F) -> (F, F) {
        let r = z - y;
        (r.abs(), sign(r, F::one(), -F::one()))
    }
    #[inline(always)]
    fn curvature<F: Float>(&self, _z: F, _y: F) -> F {
        F::zero()
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "absolute",
    task: Task::Number,
    bound: None,
    smooth: false,
    hyper: &[],
    doc: "|ŷ − y|: the median of y",
    make: |_| Loss::Absolute(Absolute),
};
