//! `mlp`: dense layers with an activation behind each, a name for several layers.

use thalweg_autodiff::Activation as Function;
use thalweg_core::expr::{ExprError, Value};
use thalweg_core::hyper::{Hyper, Range};

use super::reader::Reader;
use super::{Activation, Dense, Dropout, Entry, Module};

const WIDTH: Hyper = Hyper::required("width", Range::COUNT, "how many numbers a hidden layer makes");
const HYPER: &[Hyper] =
    &[Hyper::new("dropout", 0.0, Range::UNIT, "the share of hidden numbers that are left out in training")];

pub(super) const ENTRY: Entry = Entry {
    name: "mlp",
    usage: "mlp(width, width, …, dropout=0, activation=relu)",
    hyper: HYPER,
    doc: "a multilayer perceptron: dense, activation and dropout for each width",
    read,
};

/// The function that `activation=` names.
pub(super) fn activation(r: &Reader<'_>) -> Result<Option<Function>, ExprError> {
    let Some(call) = r.word("activation")? else { return Ok(None) };
    let items = Reader { call, source: r.source }.items()?;
    match items.first().map(|item| &item.module) {
        Some(Module::Activation(a)) => Ok(Some(a.function)),
        _ => {
            let message = format!("{} is no activation", call.name);
            let help = "there are relu, gelu, silu, tanh, sigmoid, softplus, elu, leaky_relu";
            Err(ExprError::new(r.source, call.span, message).help(help))
        }
    }
}

fn read(r: &Reader<'_>) -> Result<Vec<Module>, ExprError> {
    let (widths, named) = r.split();
    let dropout = Reader { call: &named, source: r.source }.values(HYPER, &["activation"])?[0];
    let function = activation(r)?.unwrap_or(Function::Relu);
    if widths.is_empty() {
        let message = "mlp needs at least one width, as in mlp(64)";
        return Err(ExprError::new(r.source, r.call.span, message));
    }
    let mut modules: Vec<Module> = Vec::new();
    for arg in widths {
        let Value::Number(width) = arg.value else {
            let message = format!("a width is a number, got {}", arg.value);
            return Err(ExprError::new(r.source, arg.value_span, message));
        };
        let width = WIDTH.check(width).map_err(|m| ExprError::new(r.source, arg.value_span, m))?;
        modules.push(Dense::new(width as usize).into());
        modules.push(Activation::new(function).into());
        if dropout > 0.0 {
            modules.push(Dropout { p: dropout }.into());
        }
    }
    Ok(modules)
}
