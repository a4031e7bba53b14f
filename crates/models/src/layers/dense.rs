//! `dense`: a linear map of each row, `torch.nn.Linear`.

use std::fmt;

use thalweg_autodiff::{Activation as Function, Number, Shape, Var};
use thalweg_core::Kind;
use thalweg_core::hyper::{Hyper, Range};

use super::{Declare, Entry, Init, Layer, Misfit, Place, Run};
use crate::onnx::{Attribute, Edge, Export, Exporter};

/// `y = f(x·weightᵀ + bias)`: `weight [out, in]`, `bias [out]`, both uniform on ±1/√in at the start. A sequence `[steps, in]` is
/// mapped step by step.
#[derive(Clone, Debug)]
pub struct Dense {
    /// The numbers of a result.
    pub out: usize,
    /// Whether there is a bias.
    pub bias: bool,
    /// What follows in the same pass over memory.
    pub activation: Function,
    /// Whether of a sequence the last step alone is mapped: an output layer that says one thing of each row.
    pub joins: bool,
    weight: Place,
    shift: Place,
}

impl Dense {
    /// A map to `out` numbers, with a bias.
    pub fn new(out: usize) -> Self {
        Self {
            out,
            bias: true,
            activation: Function::Identity,
            joins: false,
            weight: Place::default(),
            shift: Place::default(),
        }
    }
}

impl Layer for Dense {
    fn build(&mut self, declare: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        if !(1..=2).contains(&input.len()) {
            return Err(Misfit::new(format!("dense takes numbers or a sequence of them, not {input}")));
        }
        let (out, width) = (self.out, input.last_size());
        let init = Init::fan_in(width);
        self.weight = declare.tensor("weight", &[out, width], &["out", "in"], Kind::Weight, init)?;
        if self.bias {
            self.shift = declare.tensor("bias", &[out], &["out"], Kind::Bias, init)?;
        }
        declare.multiply_adds(&[input.count(), out]);
        Ok(input.with_last(out))
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        let weight = run.tape.param_at(self.weight.index());
        let bias = self.bias.then(|| run.tape.param_at(self.shift.index()));
        run.tape.dense(x, weight, bias, self.activation)
    }
}

impl Export for Dense {
    fn export(&self, to: &mut Exporter<'_>, x: &Edge, input: Shape) -> Edge {
        let (weight, bias) = (self.weight, self.bias.then_some(self.shift));
        let y = export_map(to, x, input, weight, bias);
        to.activation(self.activation, &y)
    }
}

/// `x·weightᵀ + bias` of rows, or of each step of a sequence.
pub(super) fn export_map(
    to: &mut Exporter<'_>,
    x: &Edge,
    input: Shape,
    weight: Place,
    bias: Option<Place>,
) -> Edge {
    let weight = to.parameter(weight);
    let bias = bias.map(|bias| to.parameter(bias));
    let graph = &mut *to.graph;
    if input.len() == 1 {
        let parts: Vec<&Edge> = [x, &weight].into_iter().chain(&bias).collect();
        return graph.node("Gemm", &parts, [Attribute::whole("transB", 1)]);
    }
    let weight = graph.transpose(&weight, &[1, 0]);
    let y = graph.node("MatMul", &[x, &weight], []);
    match bias {
        Some(bias) => graph.node("Add", &[&y, &bias], []),
        None => y,
    }
}

impl fmt::Display for Dense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dense({}{})", self.out, if self.bias { "" } else { ", bias=false" })
    }
}

const HYPER: &[Hyper] = &[
    Hyper::required("out", Range::COUNT, "how many numbers it makes"),
    Hyper::new("bias", 1.0, Range::SWITCH, "whether a bias is added"),
];

pub(super) const ENTRY: Entry = Entry {
    name: "dense",
    usage: "dense(out, bias=true)",
    hyper: HYPER,
    doc: "a linear map; of an image, of all its numbers; of a sequence, step by step",
    read: |r| {
        let v = r.values(HYPER, &[])?;
        Ok(vec![Dense { bias: v[1] != 0.0, ..Dense::new(v[0] as usize) }.into()])
    },
};
