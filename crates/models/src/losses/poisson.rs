//! Poisson regression of counts with the log link: ŷ = exp z.
//! ```text
//! loss(z, y) = exp z − y·z,  y ≥ 0        ∂/∂z = exp z − y        ∂²/∂z² = exp z
//! ```
//! The negative log-likelihood without ln y!, which no parameter moves. PyTorch's `PoissonNLLLoss(log_input=True)` is the
//! same; scikit-learn's PoissonRegressor minimises half the deviance, this plus a constant. The curvature has no bound:
//! the Hessian is taken at a given θ.
//! Source: Nelder and Wedderburn, *Generalized linear models*, 1972, <https://doi.org/10.2307/2344614>.

use thalweg_core::Float;

use super::{Entry, Loss, Pointwise, Task};

/// exp z − y·z.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Poisson;

impl Pointwise for Poisson {
    #[inline(always)]
    fn element<F: Float>(&self, z: F, y: F) -> (F, F) {
        let mean = z.exp();
        (mean - y * z, mean - y)
    }
    #[inline(always)]
    fn curvature<F: Float>(&self, z: F, _y: F) -> F {
        z.exp()
    }
    #[inline(always)]
    fn mean<F: Float>(&self, z: F) -> F {
        z.exp()
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "poisson",
    task: Task::Count,
    bound: None,
    smooth: true,
    hyper: &[],
    doc: "exp z − y·z with ŷ = exp z: counts and rates",
    make: |_| Loss::Poisson(Poisson),
};
