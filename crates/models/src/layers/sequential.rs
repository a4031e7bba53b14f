//! [`Sequential`]: layers one after the other.

use thalweg_autodiff::{Activation as Function, Number, Shape, Var};
use thalweg_core::expr::Span;

use super::declare::check_row;
use super::{
    Declare, Embedding, Flatten, Last, Layer, Misfit, Module, Norm, Over, Run, States, default_width,
};
use crate::onnx::{Edge, Export, Exporter};

/// A layer in a list.
#[derive(Clone, Debug)]
pub struct Item {
    /// The layer.
    pub module: Module,
    /// Where its call stands in the expression; nowhere, if it was added.
    pub span: Span,
    /// The shape of its results for one row, once it was built.
    output: Shape,
}

impl Item {
    /// A layer whose call stands there.
    pub fn new(module: impl Into<Module>, span: Span) -> Self {
        Self { module: module.into(), span, output: Shape::SCALAR }
    }
}

/// Layers one after the other: `torch.nn.Sequential`. The tensors of layer number i are named `i.…`; the layers of a
/// [`Checkpoint`](super::Checkpoint) are counted as if they stood here themselves.
///
/// Layers that are missing are put in, and count: an [`Embedding`] behind tokens, a [`Flatten`] between an image and a dense layer, a
/// [`Last`] between a sequence and the output layer of a network that says one thing of it. An activation behind a dense
/// layer or a convolution, and a relu behind batch norm or a residual, run in that layer's own pass over memory.
#[derive(Clone, Debug, Default)]
pub struct Sequential {
    /// The layers.
    pub items: Vec<Item>,
}

impl Sequential {
    /// Adds a layer that no expression names.
    pub fn push(&mut self, module: impl Into<Module>) {
        self.items.push(Item::new(module, Span::default()));
    }

    /// How many numbers of state its recurrent layers carry from step to step, where every result of a step takes these and that
    /// step alone; none where a layer looks at other steps.
    pub fn state(&self) -> Option<usize> {
        let of = |item: &Item| match &item.module {
            Module::Recurrent(layer) => Some(layer.state()),
            Module::Residual(layer) => layer.body.state(),
            Module::Embedding(_) | Module::Dense(_) | Module::Activation(_) | Module::Dropout(_) => Some(0),
            Module::Norm(Norm { over: Over::Row | Over::RootMeanSquare, .. }) => Some(0),
            _ => None,
        };
        self.items.iter().map(of).sum()
    }

    /// Gives each activation behind a linear map or convolution to that layer.
    fn fuse(&mut self) {
        for i in 1..self.items.len() {
            let (before, after) = self.items.split_at_mut(i);
            let Module::Activation(activation) = &mut after[0].module else { continue };
            let relu = activation.function == Function::Relu;
            match &mut before[i - 1].module {
                Module::Dense(dense) => dense.activation = activation.function,
                Module::Conv(conv) => conv.activation = activation.function,
                Module::BatchNorm(norm) if relu => norm.relu = true,
                Module::Residual(residual) if relu => residual.relu = true,
                _ => continue,
            }
            activation.fused = true;
        }
    }
}

/// What has to stand between rows of that shape and `next`.
fn missing(next: &Module, shape: Shape, tokens: Option<usize>) -> Option<Module> {
    match (next, tokens) {
        // The layers of a checkpoint look for themselves.
        (Module::Embedding(_) | Module::EmbeddingBag(_) | Module::Checkpoint(_), _) => None,
        (_, Some(vocabulary)) => Some(Embedding::new(default_width(vocabulary)).into()),
        (Module::Dense(_), None) if shape.len() == 3 => Some(Flatten.into()),
        (Module::Dense(dense), None) if shape.len() == 2 && dense.joins => Some(Last.into()),
        _ => None,
    }
}

impl Sequential {
    /// [`Layer::build`] where the first layer has the number `first`; also the number behind the last.
    pub(super) fn build_from(
        &mut self,
        declare: &mut Declare,
        input: Shape,
        first: usize,
    ) -> Result<(Shape, usize), Misfit> {
        let (mut shape, mut i, mut number) = (input, 0, first);
        while i < self.items.len() {
            if let Some(module) = missing(&self.items[i].module, shape, declare.tokens()) {
                let span = self.items[i].span;
                self.items.insert(i, Item::new(module, span));
            }
            let Item { module, span, output } = &mut self.items[i];
            let placed = |misfit: Misfit| Misfit { span: misfit.span.or(Some(*span)), ..misfit };
            i += 1;
            if let Module::Checkpoint(part) = module {
                (shape, number) = part.body_mut().build_from(declare, shape, number).map_err(placed)?;
                *output = shape;
                continue;
            }
            let (place, before) = (number.to_string(), declare.counts());
            let built = declare.within(&place, |declare| module.build(declare, shape));
            shape = built.and_then(|shape| check_row(shape).map(|()| shape)).map_err(placed)?;
            *output = shape;
            declare.row(&place, &module.to_string(), &shape, before);
            number += 1;
        }
        self.fuse();
        Ok((shape, number))
    }
}

impl Layer for Sequential {
    fn build(&mut self, declare: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        self.build_from(declare, input, 0).map(|(shape, _)| shape)
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, mut x: Var) -> Var {
        for item in &self.items {
            let Run { tape, statistics, bags, seed, states } = run;
            let (statistics, bags, seed) = (*statistics, *bags, *seed);
            x = tape.scope(|tape| {
                let states = states.as_mut().map(States::reborrow);
                item.module.forward(&mut Run { tape, statistics, bags, seed, states }, x)
            });
        }
        x
    }
}

impl Export for Sequential {
    fn export(&self, to: &mut Exporter<'_>, x: &Edge, input: Shape) -> Edge {
        let (mut x, mut shape) = (x.clone(), input);
        for (i, item) in self.items.iter().enumerate() {
            x = to.within(&i.to_string(), |to| item.module.export(to, &x, shape));
            shape = item.output;
        }
        x
    }
}
