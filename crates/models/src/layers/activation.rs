//! Activations: a function of each number, as layers.

use std::fmt;

use thalweg_autodiff::{Activation as Function, Number, Shape, Var};
use thalweg_core::hyper::{Hyper, Range};

use super::{Declare, Entry, Layer, Misfit, Run};
use crate::onnx::{Attribute, Edge, Export, Exporter};

/// `y = f(x)` of each number.
#[derive(Clone, Debug)]
pub struct Activation {
    /// The function.
    pub function: Function,
    /// Whether the layer before runs it.
    pub(super) fused: bool,
}

impl Activation {
    /// That function as a layer.
    pub fn new(function: Function) -> Self {
        Self { function, fused: false }
    }
}

impl Layer for Activation {
    fn build(&mut self, _: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        Ok(input)
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        if self.fused {
            return x;
        }
        let tape = &mut *run.tape;
        match self.function {
            Function::Identity => x,
            Function::Relu => tape.relu(x),
            Function::Gelu => tape.gelu(x),
            Function::Silu => tape.silu(x),
            Function::Tanh => tape.tanh(x),
            Function::Sigmoid => tape.sigmoid(x),
            Function::Softplus => tape.softplus(x),
            Function::Elu(a) => tape.elu(x, a),
            Function::LeakyRelu(a) => tape.leaky_relu(x, a),
        }
    }
}

impl Export for Activation {
    fn export(&self, to: &mut Exporter<'_>, x: &Edge, _: Shape) -> Edge {
        if self.fused { x.clone() } else { to.activation(self.function, x) }
    }
}

impl Exporter<'_> {
    /// `f(x)` of each number.
    pub(super) fn activation(&mut self, function: Function, x: &Edge) -> Edge {
        let graph = &mut *self.graph;
        match function {
            Function::Identity => x.clone(),
            Function::Relu => graph.node("Relu", &[x], []),
            Function::Gelu => {
                // x·½(1 + erf(x/√2))
                let root = graph.scalar(std::f32::consts::SQRT_2);
                let (one, half) = (graph.scalar(1.0f32), graph.scalar(0.5f32));
                let y = graph.node("Div", &[x, &root], []);
                let y = graph.node("Erf", &[&y], []);
                let y = graph.node("Add", &[&y, &one], []);
                let y = graph.node("Mul", &[&y, &half], []);
                graph.node("Mul", &[x, &y], [])
            }
            Function::Silu => {
                let y = graph.node("Sigmoid", &[x], []);
                graph.node("Mul", &[x, &y], [])
            }
            Function::Tanh => graph.node("Tanh", &[x], []),
            Function::Sigmoid => graph.node("Sigmoid", &[x], []),
            Function::Softplus => graph.node("Softplus", &[x], []),
            Function::Elu(a) => graph.node("Elu", &[x], [Attribute::number("alpha", a)]),
            Function::LeakyRelu(a) => graph.node("LeakyRelu", &[x], [Attribute::number("alpha", a)]),
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.function {
            Function::Identity => f.write_str("identity"),
            Function::Relu => f.write_str("relu"),
            Function::Gelu => f.write_str("gelu"),
            Function::Silu => f.write_str("silu"),
            Function::Tanh => f.write_str("tanh"),
            Function::Sigmoid => f.write_str("sigmoid"),
            Function::Softplus => f.write_str("softplus"),
            Function::Elu(a) => write!(f, "elu({a})"),
            Function::LeakyRelu(a) => write!(f, "leaky_relu({a})"),
        }
    }
}

macro_rules! entry {
    ($constant:ident, $name:literal, $usage:literal, [$($hyper:expr)?], $doc:literal, |$v:ident| $make:expr) => {
        pub(super) const $constant: Entry = Entry {
            name: $name,
            usage: $usage,
            hyper: &[$($hyper)?],
            doc: $doc,
            read: |r| {
                let $v = r.values(&[$($hyper)?], &[])?;
                let _ = &$v;
                Ok(vec![Activation::new($make).into()])
            },
        };
    };
}

entry!(RELU, "relu", "relu", [], "max(x, 0)", |v| Function::Relu);
entry!(GELU, "gelu", "gelu", [], "x·Φ(x), Φ the normal distribution", |v| Function::Gelu);
entry!(SILU, "silu", "silu", [], "x·σ(x)", |v| Function::Silu);
entry!(TANH, "tanh", "tanh", [], "tanh x", |v| Function::Tanh);
entry!(SIGMOID, "sigmoid", "sigmoid", [], "1/(1 + e⁻ˣ)", |v| Function::Sigmoid);
entry!(SOFTPLUS, "softplus", "softplus", [], "ln(1 + eˣ)", |v| Function::Softplus);
entry!(
    ELU,
    "elu",
    "elu(alpha=1)",
    [Hyper::new("alpha", 1.0, Range::POSITIVE, "what it tends to below 0, as −alpha")],
    "x above 0, alpha·(eˣ − 1) below",
    |v| Function::Elu(v[0])
);
entry!(
    LEAKY_RELU,
    "leaky_relu",
    "leaky_relu(slope=0.01)",
    [Hyper::new("slope", 0.01, Range::UNIT, "the slope below 0")],
    "x above 0, slope·x below",
    |v| Function::LeakyRelu(v[0])
);
