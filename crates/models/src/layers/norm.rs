//! `layernorm`, `rmsnorm`, `groupnorm`: each row brought to mean 0 and variance 1, by itself.

use std::fmt;

use thalweg_autodiff::{Number, Shape, Var};
use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Float, Kind};

use super::{Declare, Entry, Init, Layer, Misfit, Place, Run};
use crate::onnx::{Attribute, Edge, Export, Exporter};

/// What a norm runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The numbers of a row, or of each step of a sequence: `torch.nn.LayerNorm`.
    Row,
    /// The same without a mean or a shift: `torch.nn.RMSNorm`.
    RootMeanSquare,
    /// So many runs of channels: `torch.nn.GroupNorm`.
    Groups(usize),
}

/// `weight∘(x − mean)/√(var + ε) + bias`: see [`Tape::layer_norm`](thalweg_autodiff::Tape::layer_norm) and its neighbours. Gains
/// start at 1, shifts at 0.
#[derive(Clone, Debug)]
pub struct Norm {
    /// What it runs over.
    pub over: Over,
    /// ε; in units of the variance. None: the distance from 1 to the next number, of f32 or f64.
    pub eps: Option<f64>,
    weight: Place,
    bias: Place,
}

impl Norm {
    /// With PyTorch's ε: 1e-5, but none for root mean squares.
    pub fn new(over: Over) -> Self {
        let eps = (over != Over::RootMeanSquare).then_some(1e-5);
        Self { over, eps, weight: Place::default(), bias: Place::default() }
    }
}

impl Layer for Norm {
    fn build(&mut self, declare: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        let size = match (self.over, &input[..]) {
            (Over::Groups(groups), &[channels, ..]) if input.len() != 2 => {
                if !channels.is_multiple_of(groups) {
                    return Err(Misfit::new(format!("{groups} groups do not divide {channels} channels")));
                }
                channels
            }
            (Over::Row | Over::RootMeanSquare, _) if input.len() <= 2 => input.last_size(),
            _ => return Err(Misfit::new(format!("{self} does not take {input}"))),
        };
        self.weight = declare.tensor("weight", &[size], &["channel"], Kind::Gain, Init::Ones)?;
        if self.over != Over::RootMeanSquare {
            self.bias = declare.tensor("bias", &[size], &["channel"], Kind::Bias, Init::Zeros)?;
        }
        Ok(input)
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        let tape = &mut *run.tape;
        let weight = Some(tape.param_at(self.weight.index()));
        let eps = self.eps.unwrap_or_else(|| Float::to_f64(N::Base::EPSILON));
        if self.over == Over::RootMeanSquare {
            return tape.rms_norm(x, weight, eps);
        }
        let bias = Some(tape.param_at(self.bias.index()));
        match self.over {
            Over::Groups(groups) if tape.shape(x).len() == 4 => {
                let x = tape.permute(x, &[0, 3, 1, 2]);
                let y = tape.group_norm(x, groups, weight, bias, eps);
                tape.permute(y, &[0, 2, 3, 1])
            }
            Over::Groups(groups) => tape.group_norm(x, groups, weight, bias, eps),
            _ => tape.layer_norm(x, weight, bias, eps),
        }
    }
}

impl Export for Norm {
    fn export(&self, to: &mut Exporter<'_>, x: &Edge, input: Shape) -> Edge {
        // Files hold f32: its own epsilon where none is given.
        let own = self.eps.unwrap_or(f64::from(f32::EPSILON));
        let eps = || Attribute::number("epsilon", own);
        match self.over {
            Over::Row => {
                let (weight, bias) = (to.parameter(self.weight), to.parameter(self.bias));
                let axis = Attribute::whole("axis", -1);
                to.graph.node("LayerNormalization", &[x, &weight, &bias], [axis, eps()])
            }
            Over::RootMeanSquare => {
                let weight = to.parameter(self.weight);
                let graph = &mut *to.graph;
                let square = graph.node("Mul", &[x, x], []);
                let mean = graph.node("ReduceMean", &[&square], [Attribute::wholes("axes", &[-1])]);
                let eps = graph.scalar(own as f32);
                let mean = graph.node("Add", &[&mean, &eps], []);
                let root = graph.node("Sqrt", &[&mean], []);
                let y = graph.node("Div", &[x, &root], []);
                graph.node("Mul", &[&y, &weight], [])
            }
            Over::Groups(groups) => {
                // Each group is an instance's channel; gain and shift belong to the true ones.
                let mut gains = vec![1; input.len()];
                gains[0] = input[0];
                let weight = to.reshaped(self.weight, &gains);
                let bias = to.reshaped(self.bias, &gains);
                let graph = &mut *to.graph;
                let one = graph.constant("ones", &[groups], &vec![1.0f32; groups]);
                let zero = graph.constant("zeros", &[groups], &vec![0.0f32; groups]);
                let runs = graph.reshape(x, &[0, groups as i64, (input.count() / groups) as i64]);
                let y = graph.node("InstanceNormalization", &[&runs, &one, &zero], [eps()]);
                let shape: Vec<i64> = [0].into_iter().chain(input.iter().map(|&size| size as i64)).collect();
                let y = graph.reshape(&y, &shape);
                let y = graph.node("Mul", &[&y, &weight], []);
                graph.node("Add", &[&y, &bias], [])
            }
        }
    }
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.over {
            Over::Row => f.write_str("layernorm"),
            Over::RootMeanSquare => f.write_str("rmsnorm"),
            Over::Groups(groups) => write!(f, "groupnorm({groups})"),
        }
    }
}

/// ε of all norms.
pub(super) const EPS: Hyper = Hyper::new("eps", 1e-5, Range::POSITIVE, "added to the variance");

const HYPER: &[Hyper] = &[EPS];

pub(super) const ROW: Entry = Entry {
    name: "layernorm",
    usage: "layernorm(eps=1e-5)",
    hyper: HYPER,
    doc: "each row, or step of a sequence, to mean 0 and variance 1; gain and shift",
    read: |r| Ok(vec![Norm { eps: Some(r.values(HYPER, &[])?[0]), ..Norm::new(Over::Row) }.into()]),
};

pub(super) const ROOT_MEAN_SQUARE: Entry = Entry {
    name: "rmsnorm",
    usage: "rmsnorm(eps=0)",
    hyper: ROOT_HYPER,
    doc: "each row, or step of a sequence, to mean square 1; gain",
    read: |r| {
        let eps = Some(r.values(ROOT_HYPER, &[])?[0]).filter(|&eps| eps > 0.0);
        Ok(vec![Norm { eps, ..Norm::new(Over::RootMeanSquare) }.into()])
    },
};

const ROOT_HYPER: &[Hyper] = &[Hyper::new(
    "eps",
    0.0,
    Range::NON_NEGATIVE,
    "added to the mean square; 0 takes the distance from 1 to the next number, as PyTorch does",
)];

const GROUP_HYPER: &[Hyper] =
    &[Hyper::required("groups", Range::COUNT, "runs of channels that share mean and variance"), EPS];

pub(super) const GROUPS: Entry = Entry {
    name: "groupnorm",
    usage: "groupnorm(groups, eps=1e-5)",
    hyper: GROUP_HYPER,
    doc: "runs of channels to mean 0 and variance 1, each row by itself; gain and shift",
    read: |r| {
        let v = r.values(GROUP_HYPER, &[])?;
        Ok(vec![Norm { eps: Some(v[1]), ..Norm::new(Over::Groups(v[0] as usize)) }.into()])
    },
};
