//! Squared error.
//! ```text
//! loss(z, y) = ½(z − y)²        ∂/∂z = z − y        ∂²/∂z² = 1
//! ```
//! Its minimum over constants is the mean. The factor ½ makes the derivative the residual; scikit-learn's `squared_error`
//! of SGDRegressor is the same, PyTorch's `MSELoss` is twice this.
//! Source: Gauss, *Theoria motus corporum coelestium*, 1809, book II, section 3.

use thalweg_core::Float;

use super::{Entry, Loss, Pointwise, Task};

/// ½(z − y)².
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Squared;

impl Pointwise for Squared {
    #[inline(always)]
    fn element<F: Float>(&self, z: F, y: F) -> (F, F) {
        let r = z - y;
        (F::from_f64(0.5) * r * r, r)
    }
    #[inline(always)]
    fn curvature<F: Float>(&self, _z: F, _y: F) -> F {
        F::one()
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "squared",
    task: Task::Number,
    bound: Some(1.0),
    smooth: true,
    hyper: &[],
    doc: "½(ŷ − y)²: the mean of y",
    make: |_| Loss::Squared(Squared),
};
