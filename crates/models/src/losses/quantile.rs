//! The quantile (pinball) loss.
//! ```text
//! loss(z, y) = q·(y − z) for z < y,  (1 − q)·(z − y) for z ≥ y
//! ∂/∂z = −q for z < y,  1 − q for z > y,  0 where z = y
//! ```
//! Its minimum over constants is the q-quantile of y; q = ½ is half the absolute error. A kink at z = y: no bound on
//! curvature exists. scikit-learn's QuantileRegressor (`quantile=q`) minimises its mean plus l1 penalty.
//! Source: Koenker and Bassett, *Regression quantiles*, 1978, <https://doi.org/10.2307/1913643>.

use thalweg_core::Float;
use thalweg_core::hyper::{Hyper, Range};

use super::{Entry, Loss, Pointwise, Task, sign};

/// The pinball loss whose minimum is the `q`-quantile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantile {
    /// The share of targets below the prediction, in (0, 1).
    pub q: f64,
}

impl Pointwise for Quantile {
    #[inline(always)]
    fn element<F: Float>(&self, z: F, y: F) -> (F, F) {
        let (over, under) = (F::from_f64(1.0 - self.q), F::from_f64(-self.q));
        let r = z - y;
        (r * F::select(r.lt(F::zero()), under, over), sign(r, over, under))
    }
    #[inline(always)]
    fn curvature<F: Float>(&self, _z: F, _y: F) -> F {
        F::zero()
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "quantile",
    task: Task::Number,
    bound: None,
    smooth: false,
    hyper: &[Hyper::required("q", Range::INSIDE_UNIT, "the share of targets below the prediction")],
    doc: "pinball loss: the q-quantile of y",
    make: |h| Loss::Quantile(Quantile { q: h[0] }),
};
