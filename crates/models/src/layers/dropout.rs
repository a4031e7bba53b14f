//! `dropout`: leaves numbers out at random, `torch.nn.Dropout`.

use std::fmt;

use thalweg_autodiff::{Number, Shape, Var};
use thalweg_core::hyper::{Hyper, Range};

use super::{Declare, Entry, Layer, Misfit, Run};
use crate::onnx::{Edge, Export, Exporter};

/// In training `y = x/(1 − p)`, or 0 with probability p; otherwise `y = x`. Srivastava et al. 2014,
/// <https://jmlr.org/papers/v15/srivastava14a.html>.
#[derive(Clone, Debug)]
pub struct Dropout {
    /// The probability, in [0, 1).
    pub p: f64,
}

impl Layer for Dropout {
    fn build(&mut self, _: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        Ok(input)
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        run.tape.dropout(x, self.p, run.seed)
    }
}

impl Export for Dropout {
    fn export(&self, _: &mut Exporter<'_>, x: &Edge, _: Shape) -> Edge {
        x.clone()
    }
}

impl fmt::Display for Dropout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dropout({})", self.p)
    }
}

const HYPER: &[Hyper] = &[Hyper::new("p", 0.5, Range::UNIT, "the share of numbers that are left out")];

pub(super) const ENTRY: Entry = Entry {
    name: "dropout",
    usage: "dropout(p=0.5)",
    hyper: HYPER,
    doc: "leaves a share of the numbers out in training",
    read: |r| Ok(vec![Dropout { p: r.values(HYPER, &[])?[0] }.into()]),
};
