//! [`Params`] and [`Grads`]: the two flat buffers of one layout.

use std::sync::Arc;

use crate::{Buffer, Float, Layout, Total};

/// The parameters θ of a model: one flat buffer and its layout.
#[derive(Clone, Debug)]
pub struct Params<F: Float> {
    layout: Arc<Layout>,
    data: Buffer<F>,
}

impl<F: Float> Params<F> {
    /// All zeros.
    pub fn zeros(layout: &Arc<Layout>) -> Self {
        Self { layout: Arc::clone(layout), data: Buffer::zeros(layout.buffer_len()) }
    }
    /// Names, shapes and places.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }
    /// The numbers of the tensor `name`.
    ///
    /// # Panics
    /// When the layout has no such tensor: a mistake in the model's code.
    pub fn tensor(&self, name: &str) -> &[F] {
        &self.data[place(&self.layout, name)]
    }
    /// The numbers of the tensor `name`, to be written. Panics as [`Params::tensor`] does.
    pub fn tensor_mut(&mut self, name: &str) -> &mut [F] {
        &mut self.data[place(&self.layout, name)]
    }
    /// The flat buffer, padding included.
    pub fn flat(&self) -> &[F] {
        &self.data
    }
    /// The flat buffer, to be written; padding stays zero.
    pub fn flat_mut(&mut self) -> &mut [F] {
        &mut self.data
    }
    /// Every number of every tensor in order, without the padding.
    pub fn values(&self) -> impl Iterator<Item = F> + '_ {
        self.layout.tensors().iter().flat_map(|t| self.data[t.range()].iter().copied())
    }
    /// Copies the numbers of `other`, which has the same layout.
    pub fn copy_from(&mut self, other: &Self) {
        self.data.copy_from_slice(&other.data);
    }
}

/// The gradient: a flat buffer of the parameters' layout, and what it was summed over.
///
/// It holds a **weighted sum**, never a mean: batches, slices and ranks add up, and the optimizer divides by
/// `total.weight` once.
#[derive(Clone, Debug)]
pub struct Grads<F: Float> {
    layout: Arc<Layout>,
    data: Buffer<F>,
    /// Loss and weight of the rows that were added since the last [`Grads::clear`].
    pub total: Total,
}

impl<F: Float> Grads<F> {
    /// No gradient yet.
    pub fn zeros(layout: &Arc<Layout>) -> Self {
        Self { layout: Arc::clone(layout), data: Buffer::zeros(layout.buffer_len()), total: Total::default() }
    }
    /// Names, shapes and places.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }
    /// The flat buffer, padding included.
    pub fn flat(&self) -> &[F] {
        &self.data
    }
    /// The flat buffer, to be written; padding stays zero.
    pub fn flat_mut(&mut self) -> &mut [F] {
        &mut self.data
    }
    /// The numbers of the tensor `name`. Panics as [`Params::tensor`] does.
    pub fn tensor(&self, name: &str) -> &[F] {
        &self.data[place(&self.layout, name)]
    }
    /// The numbers of the tensor `name`, to be written. Panics as [`Params::tensor`] does.
    pub fn tensor_mut(&mut self, name: &str) -> &mut [F] {
        &mut self.data[place(&self.layout, name)]
    }
    /// Forgets the gradient and its total.
    pub fn clear(&mut self) {
        self.data.fill(F::zero());
        self.total = Total::default();
    }
}

fn place(layout: &Layout, name: &str) -> std::ops::Range<usize> {
    match layout.get(name) {
        Some(tensor) => tensor.range(),
        None => panic!("there is no tensor {name:?} in this layout"),
    }
}
