//! `last`: the last step of a sequence.

use std::fmt;

use thalweg_autodiff::{Number, Shape, Var};

use super::{Declare, Entry, Layer, Misfit, Run};
use crate::onnx::{Edge, Export, Exporter};

/// `[steps, d] → [d]`: what a recurrent network says after the whole sequence.
#[derive(Clone, Debug)]
pub struct Last;

impl Layer for Last {
    fn build(&mut self, _: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        match input[..] {
            [steps, d] if steps > 0 => Ok([d].into()),
            _ => Err(Misfit::new(format!("last takes a sequence, not {input}"))),
        }
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        let steps = run.tape.shape(x)[1];
        run.tape.select(x, 1, steps - 1)
    }
}

impl Export for Last {
    fn export(&self, to: &mut Exporter<'_>, x: &Edge, _: Shape) -> Edge {
        to.graph.select(x, 1, -1)
    }
}

impl fmt::Display for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("last")
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "last",
    usage: "last",
    hyper: &[],
    doc: "the last step of a sequence",
    read: |r| r.values(&[], &[]).map(|_| vec![Last.into()]),
};
