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
    /// The same numbers in a layout of the same tensors in another order: to go on with some of them frozen.
    ///
    /// # Panics
    /// When the other layout has other tensors: a mistake in the model's code.
    pub fn rearranged(&self, layout: &Arc<Layout>) -> Self {
        let mut other = Self::zeros(layout);
        assert_eq!(layout.tensors().len(), self.layout.tensors().len(), "these layouts have other tensors");
        for tensor in layout.tensors() {
            let numbers = self.tensor(&tensor.name);
            assert_eq!(numbers.len(), tensor.len(), "the tensor {:?} has another size", tensor.name);
            other.data[tensor.range()].copy_from_slice(numbers);
        }
        other
    }
    /// Copies the numbers of `other`, which has the same layout.
    pub fn copy_from(&mut self, other: &Self) {
        self.data.copy_from_slice(&other.data);
    }
}

/// The gradient: a flat buffer of the parameters' layout that ends where they are frozen, and what it was summed over.
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
        Self {
            layout: Arc::clone(layout),
            data: Buffer::zeros(layout.trained_len()),
            total: Total::default(),
        }
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
    /// The numbers of the tensor `name`.
    ///
    /// # Panics
    /// As [`Params::tensor`] does, and when the tensor is frozen.
    pub fn tensor(&self, name: &str) -> &[F] {
        &self.data[trained_place(&self.layout, name)]
    }
    /// The numbers of the tensor `name`, to be written. Panics as [`Grads::tensor`] does.
    pub fn tensor_mut(&mut self, name: &str) -> &mut [F] {
        &mut self.data[trained_place(&self.layout, name)]
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

fn trained_place(layout: &Layout, name: &str) -> std::ops::Range<usize> {
    let range = place(layout, name);
    assert!(range.end <= layout.trained_len(), "the tensor {name:?} is frozen: it has no gradient");
    range
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn numbers_follow_their_names_into_another_order_and_gradients_end_before_what_is_frozen() {
        let tensor =
            |builder: crate::layout::LayoutBuilder, name| builder.tensor(name, &[20], &["out"], Kind::Weight);
        let plain = Arc::new(tensor(tensor(Layout::builder(), "a"), "b").build());
        let frozen = Arc::new(tensor(tensor(Layout::builder(), "b").frozen(), "a").build());
        let mut theta = Params::<f32>::zeros(&plain);
        theta.tensor_mut("a").fill(1.0);
        theta.tensor_mut("b").fill(2.0);
        let other = theta.rearranged(&frozen);
        assert_eq!((other.tensor("a"), other.tensor("b")), (theta.tensor("a"), theta.tensor("b")));
        assert_eq!(&other.flat()[..20], theta.tensor("b"));
        assert_eq!(other.rearranged(&plain).flat(), theta.flat());
        let grads = Grads::<f32>::zeros(&frozen);
        assert_eq!((grads.flat().len(), grads.tensor("b").len()), (32, 20));
        assert_eq!(frozen.trained().len(), 1);
    }

    #[test]
    #[should_panic(expected = "the tensor \"a\" is frozen: it has no gradient")]
    fn a_frozen_tensor_has_no_gradient() {
        let layout = Layout::builder().frozen().tensor("a", &[20], &["out"], Kind::Weight).build();
        Grads::<f32>::zeros(&Arc::new(layout)).tensor("a");
    }
}
