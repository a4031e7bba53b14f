//! [`Over`]: a network over rows whose numbers do not lie in memory.

use std::sync::Arc;

use thalweg_autodiff::Number;
use thalweg_core::{Batch, Float, Grads, Layout, Objective, Params, Total};

use super::Network;

/// Appends the numbers of the row at a place (as [`Batch::at`] gives it) to a list.
pub type RowNumbers<'a, F> = dyn Fn(usize, &mut Vec<F>) + Sync + 'a;

/// A network whose rows are made as they are read: a batch has their targets, weights and codes, and `width` numbers in each row,
/// but its `dense` is empty. The bits are those of the same numbers in `dense`.
///
/// ```
/// use thalweg_core::{Batch, Objective};
/// use thalweg_models::losses::Loss;
/// use thalweg_models::network::{Input, ModelSpec, Network, Output};
///
/// let spec = ModelSpec::parse("mlp(4)").unwrap();
/// let network = Network::<f32>::new(&spec, Input::numbers(2), Output::Row(1), Loss::SQUARED, 0).unwrap();
/// let theta = network.init();
/// let batch = Batch { width: 2, target: &[1.0, 2.0], ..Batch::NONE };
/// let bytes = [0u8, 51, 102, 255];
/// let made = |at: usize, to: &mut Vec<f32>| to.extend(bytes[2 * at..][..2].iter().map(|&b| f32::from(b) / 255.0));
/// let dense: Vec<f32> = bytes.iter().map(|&b| f32::from(b) / 255.0).collect();
/// assert_eq!(network.over(&made).loss(&theta, &batch), network.loss(&theta, &Batch { dense: &dense, ..batch }));
/// ```
pub struct Over<'a, F: Float + Number> {
    network: &'a Network<F>,
    numbers: &'a RowNumbers<'a, F>,
}

impl<F: Float + Number> Network<F> {
    /// This network over rows whose numbers `numbers` gives.
    pub fn over<'a>(&'a self, numbers: &'a RowNumbers<'a, F>) -> Over<'a, F> {
        Over { network: self, numbers }
    }
}

impl<F: Float + Number> Over<'_, F> {
    /// [`Network::statistics_of`].
    ///
    /// # Panics
    /// As there.
    pub fn statistics_of<'b>(
        &self,
        theta: &Params<F>,
        batches: impl IntoIterator<Item = Batch<'b, F>>,
    ) -> Params<F> {
        self.network.statistics_over(theta, batches, self.numbers)
    }

    /// [`Network::responses`].
    ///
    /// # Panics
    /// As there.
    pub fn responses(&self, theta: &Params<F>, batch: &Batch<'_, F>, out: &mut [F]) {
        self.network.responses_of(theta, batch, self.numbers, out);
    }
}

impl<F: Float + Number> Objective<F> for Over<'_, F> {
    fn layout(&self) -> &Arc<Layout> {
        self.network.layout()
    }
    fn loss(&self, theta: &Params<F>, batch: &Batch<'_, F>) -> Total {
        self.network.loss_of(theta, batch, self.numbers)
    }
    fn gradient(&self, theta: &Params<F>, batch: &Batch<'_, F>, grads: &mut Grads<F>) -> Total {
        self.network.gradient_of(theta, batch, self.numbers, grads)
    }
    fn gradient_again(&self, theta: &Params<F>, batch: &Batch<'_, F>, grads: &mut Grads<F>) -> Total {
        self.network.gradient_again_of(theta, batch, self.numbers, grads)
    }
    fn loss_again(&self, theta: &Params<F>, batch: &Batch<'_, F>) -> Total {
        self.network.loss_again_of(theta, batch, self.numbers)
    }
    fn hessian_vector(
        &self,
        theta: &Params<F>,
        v: &Params<F>,
        batch: &Batch<'_, F>,
        out: &mut Grads<F>,
    ) -> Total {
        self.network.hessian_vector_of(theta, v, batch, self.numbers, out)
    }
}
