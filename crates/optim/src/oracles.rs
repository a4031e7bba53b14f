//! Oracles that stand before the caller's: for masked coordinates, and for frozen tensors.

use std::sync::Arc;

use thalweg_core::{Float, Grads, Layout, Oracle, Params, Total};

/// Answers in which masked coordinates have no gradient.
pub(crate) struct Masked<'a, F: Float> {
    pub oracle: &'a mut dyn Oracle<F>,
    pub places: &'a [usize],
}

impl<F: Float> Masked<'_, F> {
    fn zero<T>(&self, grads: &mut Grads<F>, answer: T) -> T {
        self.places.iter().for_each(|&i| grads.flat_mut()[i] = F::zero());
        answer
    }
}

impl<F: Float> Oracle<F> for Masked<'_, F> {
    fn loss(&mut self, theta: &Params<F>) -> Total {
        self.oracle.loss(theta)
    }
    fn gradient(&mut self, theta: &Params<F>, grads: &mut Grads<F>) -> Total {
        let answer = self.oracle.gradient(theta, grads);
        self.zero(grads, answer)
    }
    fn rows(&self) -> Option<Vec<usize>> {
        self.oracle.rows()
    }
    fn count(&self) -> Option<usize> {
        self.oracle.count()
    }
    fn row_gradient(&mut self, row: usize, theta: &Params<F>, grads: &mut Grads<F>) -> Option<Total> {
        let answer = self.oracle.row_gradient(row, theta, grads);
        self.zero(grads, answer)
    }
    fn full_gradient(&mut self, theta: &Params<F>, grads: &mut Grads<F>) -> Option<Total> {
        let answer = self.oracle.full_gradient(theta, grads);
        self.zero(grads, answer)
    }
    fn hessian_vector(&mut self, theta: &Params<F>, v: &Params<F>, out: &mut Grads<F>) -> Option<Total> {
        let answer = self.oracle.hessian_vector(theta, v, out);
        self.zero(out, answer)
    }
}

/// Answers at points whose frozen numbers are θ's: rules that evaluate elsewhere know only what is trained.
pub(crate) struct Frozen<'a, F: Float> {
    pub oracle: &'a mut dyn Oracle<F>,
    pub layout: &'a Arc<Layout>,
    pub numbers: &'a [F],
    pub room: Option<Params<F>>,
}

impl<F: Float> Frozen<'_, F> {
    /// The point, whole.
    fn at(&mut self, theta: &Params<F>) -> (&Params<F>, &mut dyn Oracle<F>) {
        let room = self.room.get_or_insert_with(|| Params::zeros(self.layout));
        let (trained, frozen) = room.flat_mut().split_at_mut(self.layout.trained_len());
        trained.copy_from_slice(&theta.flat()[..trained.len()]);
        frozen.copy_from_slice(self.numbers);
        (room, &mut *self.oracle)
    }
}

impl<F: Float> Oracle<F> for Frozen<'_, F> {
    fn loss(&mut self, theta: &Params<F>) -> Total {
        let (theta, oracle) = self.at(theta);
        oracle.loss(theta)
    }
    fn gradient(&mut self, theta: &Params<F>, grads: &mut Grads<F>) -> Total {
        let (theta, oracle) = self.at(theta);
        oracle.gradient(theta, grads)
    }
    fn rows(&self) -> Option<Vec<usize>> {
        self.oracle.rows()
    }
    fn count(&self) -> Option<usize> {
        self.oracle.count()
    }
    fn row_gradient(&mut self, row: usize, theta: &Params<F>, grads: &mut Grads<F>) -> Option<Total> {
        let (theta, oracle) = self.at(theta);
        oracle.row_gradient(row, theta, grads)
    }
    fn full_gradient(&mut self, theta: &Params<F>, grads: &mut Grads<F>) -> Option<Total> {
        let (theta, oracle) = self.at(theta);
        oracle.full_gradient(theta, grads)
    }
    fn hessian_vector(&mut self, theta: &Params<F>, v: &Params<F>, out: &mut Grads<F>) -> Option<Total> {
        let (theta, oracle) = self.at(theta);
        oracle.hessian_vector(theta, v, out)
    }
}
