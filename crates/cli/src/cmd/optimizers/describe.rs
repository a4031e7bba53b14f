//! One rule, stage or schedule whole: what it is, its formula as the code runs it, its cost and its values.

use std::sync::Arc;

use serde_json::{Value, json};
use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Kind as TensorKind, Layout, Memory};
use thalweg_optim::chain::{STAGES, Stage};
use thalweg_optim::rules::{ALIASES, ALL, Entry, Kind};
use thalweg_optim::schedule::{CURVES, Curve};
use thalweg_optim::{Plan, Setup, Trace};

use crate::show::{self, Align};

/// A matrix and its bias, to count memory on.
fn example() -> Arc<Layout> {
    Arc::new(
        Layout::builder()
            .tensor("weight", &[64, 64], &["out", "in"], TensorKind::Weight)
            .tensor("bias", &[64], &["out"], TensorKind::Bias)
            .build(),
    )
}

/// Numbers of memory that a plan keeps for each parameter of a matrix.
pub fn numbers_per_parameter(plan: &Plan) -> Option<f64> {
    let layout = example();
    let mut optimizer = plan.build::<f64>(&layout, &Setup::default()).ok()?;
    let mut numbers = 0;
    optimizer.visit_state(&mut |name, memory| {
        if name.starts_with("weight/") && !matches!(memory, Memory::Scalar(_) | Memory::Count(_)) {
            numbers += memory.len();
        }
    });
    Some(numbers as f64 / 4096.0)
}

/// The expression as text for a person, all of it.
pub fn expression(text: &str, plan: &Plan) -> String {
    let mut page = format!("{text} = {plan}\n\n");
    formula(plan, &mut page);
    page
}

fn formula(plan: &Plan, text: &mut String) {
    let memory = numbers_per_parameter(plan);
    let numbers = memory
        .map(|n| format!("{} number{} a parameter", show::number(n, 3), if n == 1.0 { "" } else { "s" }));
    match plan.trace() {
        Some(trace) => {
            text.push_str("One step of each parameter, as the code runs it (g: its gradient; t = 1, 2, …; x/0 counts as 0):\n\n");
            for line in &trace.formula {
                text.push_str(&wrapped(line));
            }
            text.push('\n');
            let slots = trace.memory.join(", ");
            let memory = if slots.is_empty() {
                "none".into()
            } else {
                format!("{slots}: {} a parameter", trace.memory.len())
            };
            text.push_str(&format!("Memory: {memory}\n"));
            text.push_str(&format!(
                "Cost of a parameter: {} + − ×, {} ÷, {} √, {} choices; {} bytes in f32, {} in f64\n\n",
                trace.simple,
                trace.divisions,
                trace.roots,
                trace.choices,
                trace.bytes(4, false),
                trace.bytes(8, false),
            ));
        }
        None => {
            if let Some(numbers) = numbers {
                text.push_str(&format!("Memory: {numbers} of a 64×64 matrix\n\n"));
            }
        }
    }
}

/// A line of a formula, broken at blanks and indented.
fn wrapped(line: &str) -> String {
    let mut out = String::new();
    for (i, part) in show::wrap(line, show::width() - 6).lines().enumerate() {
        out.push_str(if i == 0 { "  " } else { "      " });
        out.push_str(part);
        out.push('\n');
    }
    out
}

/// The formula and its cost for a program.
pub fn trace_json(plan: &Plan) -> Value {
    let cost = |t: &Trace| {
        json!({"formula": t.formula, "memory": t.memory, "simple": t.simple, "divisions": t.divisions, "roots": t.roots,
            "choices": t.choices, "bytes_f32": t.bytes(4, false), "bytes_f64": t.bytes(8, false)})
    };
    json!({"trace": plan.trace().as_ref().map(cost), "numbers_per_parameter": numbers_per_parameter(plan)})
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Elementwise => {
            "coordinate by coordinate: takes every memory format, bf16 parameters, row-sparse gradients and l1"
        }
        Kind::Tensor => "tensor by tensor",
        Kind::Whole => "on all parameters together",
    }
}

fn of_entry(entry: &Entry) -> String {
    let mut text = format!(
        "{}: {}\nSource: {}\nWorks {}\n\n",
        entry.name,
        entry.summary,
        entry.source,
        kind(entry.kind)
    );
    if let Ok(plan) = Plan::parse(entry.name) {
        formula(&plan, &mut text);
    }
    let lr = Hyper::new(
        "lr",
        entry.lr,
        Range::NON_NEGATIVE,
        "learning rate, a number or a schedule; parameter units per step",
    );
    hypers(&[&[lr], entry.hyper].concat(), &mut text);
    if entry.kind == Kind::Elementwise {
        text.push_str("memory=full: full, bf16 or block8 (8-bit floats in blocks of 256)\n");
    }
    text
}

fn hypers(hyper: &[Hyper], text: &mut String) {
    let mut table = vec![["name", "default", "range", "meaning"].map(String::from).to_vec()];
    for h in hyper {
        let default = if h.default.is_nan() { "required".into() } else { h.print(h.default) };
        table.push(vec![h.name.into(), default, h.range.to_string(), h.doc.into()]);
    }
    text.push_str(&show::table(&table, &[Align::Left, Align::Right, Align::Left, Align::Left]));
}

/// The page of a name of the registry.
pub fn describe(name: &str) -> String {
    let mut text = String::new();
    if let Some(entry) = ALL.iter().find(|e| e.name == name) {
        text.push_str(&of_entry(entry));
    } else if let Some((name, stands_for, summary)) = ALIASES.iter().find(|a| a.0 == name) {
        text.push_str(&format!("{name} = {stands_for}: {summary}\n\n"));
        if let Ok(plan) = Plan::parse(name) {
            formula(&plan, &mut text);
        }
        text.push_str(&describe("sgd"));
    } else if let Some(stage) = STAGES.iter().find(|s: &&&Stage| s.name == name) {
        text.push_str(&format!("{}: {}\n\n", stage.name, stage.summary));
        hypers(stage.hyper, &mut text);
    } else if let Some(curve) = CURVES.iter().find(|c: &&&Curve| c.name == name) {
        text.push_str(&super::schedule::describe(curve));
    }
    text
}
