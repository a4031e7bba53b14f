//! One rule, stage or schedule whole: what it is, its formula as the code runs it, its cost and its values.

use std::sync::Arc;

use serde_json::{Value, json};
use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Kind as TensorKind, Layout, Memory};
use thalweg_optim::chain::{STAGES, Stage};
use thalweg_optim::rules::{ALIASES, ALL, Entry, Kind};
use thalweg_optim::schedule::{CURVES, Curve};
use thalweg_optim::{Formula, Plan, Setup, Trace};

use super::prose;
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

/// Numbers of memory that a plan keeps for each parameter of a matrix; `None` where that depends on the data.
pub fn numbers_per_parameter(plan: &Plan) -> Option<f64> {
    if let Some(grown) = plan.grown_memory() {
        return grown.numbers;
    }
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

/// The same in words, without what is counted.
pub fn memory(plan: &Plan) -> String {
    let numbers = numbers_per_parameter(plan).map(|n| show::number(n, 3));
    match (plan.grown_memory(), numbers) {
        (Some(grown), Some(n)) => format!("{n}: {}", grown.text),
        (Some(grown), None) => grown.text.into(),
        (None, Some(n)) => n,
        (None, None) => String::new(),
    }
}

/// The expression as text for a person, all of it.
pub fn expression(text: &str, plan: &Plan) -> String {
    let mut page = show::wrap(&format!("{text} = {plan}"), show::width());
    page.push('\n');
    formula(plan, &mut page);
    page
}

/// What the lines of a formula are.
fn preface(trace: &Trace, kind: Kind) -> &'static str {
    match (trace.is_whole(), trace.is_words(), kind) {
        (true, ..) => {
            "One step of each parameter, as the code runs it (g: its gradient; t = 1, 2, …; x/0 counts as 0):"
        }
        (_, true, _) => {
            "Its formula is not traced, since no part of it works coordinate by coordinate; in words, a step is:"
        }
        (.., Kind::Elementwise) => {
            "One step of each parameter (g: its gradient; t = 1, 2, …; x/0 counts as 0). Lines with a dash say in words \
             what stages do around the rule; the others are traced from the code that runs:"
        }
        _ => {
            "One step (g: the gradient of a parameter; t = 1, 2, …; x/0 counts as 0). Lines with a dash say in words what \
             is done to whole tensors or to the whole vector; the others are traced from the code that runs:"
        }
    }
}

fn formula(plan: &Plan, text: &mut String) {
    let formulas = plan.formulas();
    let several = formulas.len() > 1;
    for Formula { until, group, chain, trace } in &formulas {
        let kind = Plan::parse(chain).map_or(Kind::Tensor, |p| p.entry().kind);
        if several {
            let until = until.map(|until| format!(", until {until}")).unwrap_or_default();
            let group = group.as_deref().unwrap_or("all");
            text.push_str(&show::wrap(&format!("Group {group}{until}: {chain}"), show::width()));
            text.push('\n');
        }
        text.push_str(&show::wrap(preface(trace, kind), show::width()));
        text.push('\n');
        for line in &trace.formula {
            text.push_str(&wrapped(&line.text, if line.traced { "  " } else { "  – " }));
        }
        text.push('\n');
        if let Ok(plan) = Plan::parse(chain) {
            let slots = trace.memory.join(", ");
            let slots = if slots.is_empty() { String::new() } else { format!("{slots}: ") };
            let memory = memory(&plan);
            let numbers = match &memory[..] {
                "0" => "none".into(),
                "1" => format!("{slots}1 number a parameter"),
                n => format!("{slots}{n} numbers a parameter"),
            };
            let of = if kind == Kind::Tensor { " of a 64×64 matrix" } else { "" };
            text.push_str(&show::wrap(&format!("Memory: {numbers}{of}"), show::width()));
        }
        if !trace.is_words() {
            let mut cost = format!(
                "Cost of a parameter: {} + − ×, {} ÷, {} √, {} comparisons and choices",
                trace.simple, trace.divisions, trace.roots, trace.choices
            );
            if trace.is_whole() && kind == Kind::Elementwise {
                let bytes = [4, 8].map(|size| trace.bytes(size, false));
                cost.push_str(&format!("; {} bytes in f32, {} in f64", bytes[0], bytes[1]));
            }
            text.push_str(&show::wrap(&cost, show::width()));
        }
        text.push('\n');
    }
}

/// A line of a formula, broken at blanks and indented.
fn wrapped(line: &str, first: &str) -> String {
    let mut out = String::new();
    for (i, part) in show::wrap(line, show::width() - 6).lines().enumerate() {
        out.push_str(if i == 0 { first } else { "      " });
        out.push_str(part);
        out.push('\n');
    }
    out
}

/// The formula and its cost for a program.
pub fn trace_json(plan: &Plan) -> Value {
    let entry_kind = plan.entry().kind;
    let cost = |t: &Trace| {
        let whole = t.is_whole() && entry_kind == Kind::Elementwise;
        let bytes = |size| whole.then(|| t.bytes(size, false));
        json!({"formula": t.lines(), "traced": t.formula.iter().map(|l| l.traced).collect::<Vec<_>>(), "memory": t.memory,
            "simple": t.simple, "divisions": t.divisions, "roots": t.roots, "choices": t.choices,
            "bytes_f32": bytes(4), "bytes_f64": bytes(8)})
    };
    let all: Vec<Value> = plan
        .formulas()
        .iter()
        .map(|f| {
            json!({"group": f.group, "until": f.until.map(|u| u.to_string()), "chain": f.chain, "trace": cost(&f.trace)})
        })
        .collect();
    json!({"trace": cost(&plan.trace()), "formulas": all, "numbers_per_parameter": numbers_per_parameter(plan),
        "memory_grows": plan.grown_memory().map(|g| g.text)})
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

/// The learning rate's declaration.
pub fn lr(entry: &Entry) -> Hyper {
    Hyper::new(
        "lr",
        entry.lr,
        Range::NON_NEGATIVE,
        "learning rate, a number or a schedule; parameter units per step",
    )
}

fn of_entry(entry: &Entry) -> String {
    let width = show::width();
    let mut text = show::wrap(&format!("{}: {}", entry.name, entry.summary), width);
    text.push_str(&show::wrap(&format!("Source: {}", entry.source), width));
    text.push_str(&show::wrap(&format!("Works {}", kind(entry.kind)), width));
    text.push('\n');
    if let Ok(plan) = Plan::parse(entry.name) {
        formula(&plan, &mut text);
    }
    hypers(&[&[lr(entry)], entry.hyper].concat(), &mut text);
    if entry.kind == Kind::Elementwise {
        text.push_str("memory=full: full, bf16 or block8 (8-bit floats in blocks of 256)\n");
    }
    text.push('\n');
    text.push_str(&prose::text(entry.about, width));
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
        text.push_str(&show::wrap(&format!("{}: {}", stage.name, stage.summary), show::width()));
        text.push('\n');
        hypers(stage.hyper, &mut text);
        text.push('\n');
        text.push_str(&prose::text(stage.about, show::width()));
    } else if let Some(curve) = CURVES.iter().find(|c: &&&Curve| c.name == name) {
        text.push_str(&super::schedule::describe(curve));
    }
    text
}
