//! `checkpoint`: layers that are run again in the backward pass, `torch.utils.checkpoint`.

use std::fmt;
use std::sync::Arc;

use thalweg_autodiff::{Number, Shape, Var};

use super::residual::layers;
use super::{Declare, Entry, Layer, Misfit, Run, Sequential};
use crate::onnx::{Edge, Export, Exporter};

/// The layers' results and gradients, to the bit, in less memory: what they make on the way is forgotten, and made again when the
/// backward pass needs it. A second forward pass through them is the price. Chen et al. 2016, <https://arxiv.org/abs/1604.06174>.
///
/// The names of the layers' tensors are those that they have without it. Dropout leaves out the same numbers both times, and batch norm
/// moves its running statistics once.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Shared with the tapes that may have to run it again.
    body: Arc<Sequential>,
}

impl Checkpoint {
    /// Those layers.
    pub fn new(body: Sequential) -> Self {
        Self { body: Arc::new(body) }
    }
    /// The layers.
    pub fn body(&self) -> &Sequential {
        &self.body
    }
    pub(super) fn body_mut(&mut self) -> &mut Sequential {
        Arc::make_mut(&mut self.body)
    }
}

impl Layer for Checkpoint {
    fn build(&mut self, declare: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        self.body_mut().build(declare, input)
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        if run.states.is_some() {
            // One stretch of a sequence, without gradients: nothing is worked out twice.
            return self.body.forward(run, x);
        }
        let (body, statistics, bags, seed) = (Arc::clone(&self.body), run.statistics, run.bags, run.seed);
        run.tape
            .checkpoint(move |tape| body.forward(&mut Run { tape, statistics, bags, seed, states: None }, x))
    }
}

impl Export for Checkpoint {
    fn export(&self, to: &mut Exporter<'_>, x: &Edge, input: Shape) -> Edge {
        self.body.export(to, x, input)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("checkpoint(")?;
        for (i, item) in self.body.items.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { ", " }, item.module)?;
        }
        f.write_str(")")
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "checkpoint",
    usage: "checkpoint(layer, layer, …)",
    hyper: &[],
    doc: "layers, parted by commas, that are run again in the backward pass: less memory, more time",
    read: |r| Ok(vec![Checkpoint::new(layers(r, "checkpoint(block, block)")?).into()]),
};
