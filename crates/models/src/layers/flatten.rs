//! `flatten`: all numbers of a row behind each other, `torch.nn.Flatten`.

use std::fmt;

use thalweg_autodiff::{Number, Shape, Var};

use super::{Declare, Entry, Layer, Misfit, Run};
use crate::onnx::{Attribute, Edge, Export, Exporter};

/// `[a, b, ..] → [a·b·..]`: of an image, channel by channel, each row by row.
#[derive(Clone, Debug)]
pub struct Flatten;

impl Layer for Flatten {
    fn build(&mut self, _: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        Ok([input.count()].into())
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        let shape = run.tape.shape(x);
        // Channels come first for those who read the weights behind this layer.
        let x = match shape[..] {
            [_, h, w, c] if c > 1 && h * w > 1 => run.tape.permute(x, &[0, 3, 1, 2]),
            _ => x,
        };
        run.tape.reshape(x, [shape[0], shape[1..].iter().product()])
    }
}

impl Export for Flatten {
    fn export(&self, to: &mut Exporter<'_>, x: &Edge, _: Shape) -> Edge {
        to.graph.node("Flatten", &[x], [Attribute::whole("axis", 1)])
    }
}

impl fmt::Display for Flatten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("flatten")
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "flatten",
    usage: "flatten",
    hyper: &[],
    doc: "all numbers of a row behind each other: channels, then rows, then columns",
    read: |r| r.values(&[], &[]).map(|_| vec![Flatten.into()]),
};
