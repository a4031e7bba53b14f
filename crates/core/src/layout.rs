//! [`Layout`]: which numbers of the flat buffer are which tensor.

use std::ops::Range;

/// Tensors start at a multiple of this many numbers: 64 bytes of `f32`, 128 of `f64`, so one layout serves both.
pub const TENSOR_ALIGN: usize = 16;

/// What a tensor is for. Penalties and groups go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Weights: penalised by l1 and l2.
    Weight,
    /// Biases and intercepts: never penalised.
    Bias,
    /// Gains of normalisations: never penalised.
    Gain,
    /// Tables whose rows are looked up: penalised as weights are, but no matrix that maps one space to another.
    Embedding,
}

impl Kind {
    /// Whether penalties and decay reach it.
    pub fn is_penalised(self) -> bool {
        matches!(self, Kind::Weight | Kind::Embedding)
    }
}

/// A named range of the flat buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The name, unique in its layout, as in `weight`.
    pub name: String,
    /// The sizes, outermost first; no sizes is a single number.
    pub shape: Vec<usize>,
    /// The name of each axis, as in `["out", "in"]`.
    pub axes: Vec<&'static str>,
    /// What it is for.
    pub kind: Kind,
    /// The place of its first number.
    pub offset: usize,
}

impl Tensor {
    /// How many numbers it has.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// Whether it has no numbers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Its numbers in the flat buffer.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// The names, shapes and places of all tensors of a model: first those that are trained, then those that are frozen. A gradient and the
/// memory of an optimizer end where the frozen ones begin.
///
/// ```
/// use thalweg_core::{Kind, Layout};
/// let layout = Layout::builder()
///     .tensor("weight", &[3, 20], &["out", "in"], Kind::Weight)
///     .tensor("bias", &[3], &["out"], Kind::Bias)
///     .build();
/// assert_eq!(layout.get("bias").unwrap().offset, 64); // 60 rounded up to a multiple of 16
/// assert_eq!(layout.count(), 63); // padding is never counted
///
/// let layout = Layout::builder()
///     .tensor("head", &[4], &["out"], Kind::Weight)
///     .frozen()
///     .tensor("body", &[100], &["out"], Kind::Weight)
///     .build();
/// assert_eq!((layout.buffer_len(), layout.trained_len()), (128, 16));
/// assert_eq!(layout.trained()[0].name, "head");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    tensors: Vec<Tensor>,
    /// How many of them, the last ones, are frozen.
    frozen: usize,
}

impl Layout {
    /// Starts a layout without tensors.
    pub fn builder() -> LayoutBuilder {
        LayoutBuilder { layout: Layout::default(), frozen: false }
    }
    /// The tensors in the order of their places.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }
    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|t| t.name == name)
    }
    /// The length of a flat buffer of this layout, padding included.
    pub fn buffer_len(&self) -> usize {
        self.tensors.last().map_or(0, |t| round_up(t.range().end))
    }
    /// The tensors that are trained: those before the frozen ones.
    pub fn trained(&self) -> &[Tensor] {
        &self.tensors[..self.tensors.len() - self.frozen]
    }
    /// The length of a flat buffer of what is trained, padding included: a gradient's.
    pub fn trained_len(&self) -> usize {
        self.trained().last().map_or(0, |t| round_up(t.range().end))
    }
    /// The number of parameters, padding not counted.
    pub fn count(&self) -> usize {
        self.tensors.iter().map(Tensor::len).sum()
    }
}

/// Collects tensors for a [`Layout`].
#[derive(Debug)]
pub struct LayoutBuilder {
    layout: Layout,
    frozen: bool,
}

impl LayoutBuilder {
    /// Adds a tensor behind the others.
    ///
    /// # Panics
    /// When the name is taken, or shape and axes differ in number: a mistake in the model's code.
    pub fn tensor(mut self, name: &str, shape: &[usize], axes: &[&'static str], kind: Kind) -> Self {
        assert!(self.layout.get(name).is_none(), "two tensors are named {name:?}");
        assert_eq!(
            shape.len(),
            axes.len(),
            "tensor {name:?} has {} sizes and {} axes",
            shape.len(),
            axes.len()
        );
        let offset = self.layout.buffer_len();
        let tensor = Tensor { name: name.into(), shape: shape.into(), axes: axes.into(), kind, offset };
        self.layout.tensors.push(tensor);
        self.layout.frozen += usize::from(self.frozen);
        self
    }
    /// From here on, tensors are frozen.
    pub fn frozen(mut self) -> Self {
        self.frozen = true;
        self
    }
    /// The layout.
    pub fn build(self) -> Layout {
        self.layout
    }
}

fn round_up(n: usize) -> usize {
    n.div_ceil(TENSOR_ALIGN) * TENSOR_ALIGN
}
