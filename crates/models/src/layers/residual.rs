//! `residual`: layers with a way around them.

use std::fmt;

use thalweg_autodiff::{Number, Shape, Var};
use thalweg_core::expr::{ExprError, Value};

use super::{Conv, Declare, Dense, Entry, Item, Layer, Misfit, Module, Reader, Run, Sequential};
use crate::onnx::{Edge, Export, Exporter};

/// `y = body(x) + x`. He et al. 2016, <https://arxiv.org/abs/1512.03385>. Where the body changes the shape, x passes a linear map
/// without bias first: a convolution by one point with the stride that fits, or a dense layer.
///
/// Tensors are named `body.i.…` and `shortcut.weight`.
#[derive(Clone, Debug)]
pub struct Residual {
    /// The layers.
    pub body: Sequential,
    /// Whether a relu follows in the same pass over memory.
    pub relu: bool,
    shortcut: Option<Box<Module>>,
}

impl Residual {
    /// A way around those layers.
    pub fn new(body: Sequential) -> Self {
        Self { body, relu: false, shortcut: None }
    }
}

/// A convolution without bias that looks at one point.
fn by_one_point(out: usize, stride: [usize; 2]) -> Module {
    let mut conv = Conv::new(out);
    (conv.kernel, conv.stride, conv.bias) = ([1; 2], stride, false);
    conv.into()
}

impl Layer for Residual {
    fn build(&mut self, declare: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        let output = declare.within("body", |declare| self.body.build(declare, input))?;
        if output == input {
            return Ok(output);
        }
        let mut module: Module = match (&input[..], &output[..]) {
            (&[_, h, w], &[out, h2, w2]) => by_one_point(out, [h.div_ceil(h2), w.div_ceil(w2)]),
            (&[steps, _], &[steps2, out]) if steps2 != steps => {
                by_one_point(out, [steps.div_ceil(steps2); 2])
            }
            (&[.., _], &[.., out]) => {
                let mut dense = Dense::new(out);
                dense.bias = false;
                dense.into()
            }
            _ => return Err(Misfit::new("a residual needs numbers")),
        };
        let found = declare.within("shortcut", |declare| module.build(declare, input))?;
        if found != output {
            let message = format!("no way around leads from {input} to {output}");
            return Err(Misfit::new(message).help("change the size by a stride alone"));
        }
        self.shortcut = Some(Box::new(module));
        Ok(output)
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        let y = self.body.forward(run, x);
        let around = match &self.shortcut {
            Some(module) => module.forward(run, x),
            None => x,
        };
        match self.relu {
            true => run.tape.add_relu(y, around),
            false => run.tape.add(y, around),
        }
    }
}

impl Export for Residual {
    fn export(&self, to: &mut Exporter<'_>, x: &Edge, input: Shape) -> Edge {
        let y = to.within("body", |to| self.body.export(to, x, input));
        let around = match &self.shortcut {
            Some(module) => to.within("shortcut", |to| module.export(to, x, input)),
            None => x.clone(),
        };
        let y = to.graph.node("Add", &[&y, &around], []);
        if self.relu { to.graph.node("Relu", &[&y], []) } else { y }
    }
}

impl fmt::Display for Residual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("residual(")?;
        for (i, item) in self.body.items.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { ", " }, item.module)?;
        }
        f.write_str(")")
    }
}

pub(super) const ENTRY: Entry = Entry {
    name: "residual",
    usage: "residual(layer, layer, …)",
    hyper: &[],
    doc: "layers, parted by commas, with a way around them",
    read,
};

fn read(r: &Reader<'_>) -> Result<Vec<Module>, ExprError> {
    Ok(vec![Residual::new(layers(r, "residual(conv(16), relu, conv(16))")?).into()])
}

/// The layers that a call takes as arguments; `usage` shows how.
pub(super) fn layers(r: &Reader<'_>, usage: &str) -> Result<Sequential, ExprError> {
    let name = &r.call.name;
    let mut items: Vec<Item> = Vec::new();
    for arg in &r.call.args {
        let (None, Value::Call(call)) = (&arg.name, &arg.value) else {
            let message = format!("{name} takes layers, got {}", arg.value);
            return Err(ExprError::new(r.source, arg.span, message));
        };
        items.extend(Reader { call, source: r.source }.items()?);
    }
    if items.is_empty() {
        let message = format!("{name} needs layers, as in {usage}");
        return Err(ExprError::new(r.source, r.call.span, message));
    }
    Ok(Sequential { items })
}
