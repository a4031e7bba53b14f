//! Huber's loss: squared near the target, absolute far from it.
//! ```text
//! r = z − y,  c = clamp(r, −δ, δ)
//! loss(z, y) = c·(r − ½c)  =  ½r² for |r| ≤ δ,  δ(|r| − ½δ) beyond
//! ∂/∂z = c        ∂²/∂z² = 1 for |r| ≤ δ, 0 beyond;  at most 1
//! ```
//! PyTorch's `HuberLoss` is the same. scikit-learn's HuberRegressor also estimates a scale σ, its `epsilon` is δ/σ.
//! Source: Huber, *Robust estimation of a location parameter*, 1964, <https://doi.org/10.1214/aoms/1177703732>.

use thalweg_core::Float;
use thalweg_core::hyper::{Hyper, Range};

use super::{Entry, Loss, Pointwise, Task};

/// Huber's loss with the corner at |z − y| = `delta`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Huber {
    /// Where squares turn into absolute values; units of the target.
    pub delta: f64,
}

impl Pointwise for Huber {
    #[inline(always)]
    fn element<F: Float>(&self, z: F, y: F) -> (F, F) {
        let delta = F::from_f64(self.delta);
        let r = z - y;
        // In this order a NaN stays NaN.
        let c = F::select(delta.lt(r), delta, F::select(r.lt(-delta), -delta, r));
        (c * (r - F::from_f64(0.5) * c), c)
    }
    #[inline(always)]
    fn curvature<F: Float>(&self, z: F, y: F) -> F {
        F::select(F::from_f64(self.delta).lt((z - y).abs()), F::zero(), F::one())
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "huber",
    task: Task::Number,
    bound: Some(1.0),
    smooth: true,
    hyper: &[Hyper::new(
        "delta",
        1.0,
        Range::POSITIVE,
        "where squares turn into absolute values; units of the target",
    )],
    doc: "squared up to delta, absolute beyond: outliers pull less",
    make: |h| Loss::Huber(Huber { delta: h[0] }),
};
