//! [`BatchOracle`]: what optimizers may ask for besides the gradient that they are given.

use thalweg_core::{Batch, Float, Grads, Objective, Oracle, Params, Total};

/// Evaluates a batch at other points, and single rows or all of them: as functions of θ that stay the same through a step, which
/// began with the loop's own gradient. An objective without data is one row.
pub(crate) struct BatchOracle<'a, F: Float> {
    /// What is minimised.
    pub objective: &'a dyn Objective<F>,
    /// All training rows.
    pub train: Batch<'a, F>,
    /// Those of this step.
    pub batch: Batch<'a, F>,
}

impl<F: Float> Oracle<F> for BatchOracle<'_, F> {
    fn loss(&mut self, theta: &Params<F>) -> Total {
        self.objective.loss_again(theta, &self.batch)
    }
    fn gradient(&mut self, theta: &Params<F>, grads: &mut Grads<F>) -> Total {
        grads.clear();
        self.objective.gradient_again(theta, &self.batch, grads)
    }
    fn rows(&self) -> Option<Vec<usize>> {
        Some(match self.batch.index {
            Some(index) => index.iter().map(|&row| row as usize).collect(),
            None => (0..self.train.len().max(1)).collect(),
        })
    }
    fn count(&self) -> Option<usize> {
        Some(self.train.len().max(1))
    }
    fn row_gradient(&mut self, row: usize, theta: &Params<F>, grads: &mut Grads<F>) -> Option<Total> {
        let index = [u32::try_from(row).ok()?];
        let batch = if self.train.is_empty() { self.train } else { self.train.rows(&index) };
        grads.clear();
        Some(self.objective.gradient_again(theta, &batch, grads))
    }
    fn full_gradient(&mut self, theta: &Params<F>, grads: &mut Grads<F>) -> Option<Total> {
        grads.clear();
        Some(self.objective.gradient_again(theta, &self.train, grads))
    }
    fn hessian_vector(&mut self, theta: &Params<F>, v: &Params<F>, out: &mut Grads<F>) -> Option<Total> {
        Some(self.objective.hessian_vector(theta, v, &self.batch, out))
    }
}
