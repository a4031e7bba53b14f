//! `thalweg optimizers`: the registry of rules, stages and schedules.

use std::io::Write;

use serde_json::{Value, json};
use thalweg_core::hyper::Hyper;
use thalweg_core::suggest::nearest;
use thalweg_optim::chain::{STAGES, Stage};
use thalweg_optim::rules::{ALIASES, ALL, Entry};
use thalweg_optim::schedule::{CURVES, Curve};

use crate::args;
use crate::failure::Failure;
use crate::show::{self, Align};

/// Runs the subcommand.
pub fn run(args: &args::Optimizers) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let document = match &args.name {
        None => all(),
        Some(name) => one(name)?,
    };
    if args.json {
        serde_json::to_writer(&mut out, &document)?;
        writeln!(out)?;
        return Ok(());
    }
    match &args.name {
        None => write!(out, "{}", list())?,
        Some(name) => write!(out, "{}", describe(name))?,
    }
    Ok(())
}

fn hyper_json(hyper: &[Hyper]) -> Value {
    hyper
        .iter()
        .map(|h| json!({"name": h.name, "default": h.default, "range": h.range.to_string(), "doc": h.doc}))
        .collect()
}

fn entry_json(entry: &Entry) -> Value {
    json!({"name": entry.name, "summary": entry.summary, "source": entry.source, "lr": entry.lr, "hyper": hyper_json(entry.hyper)})
}

fn all() -> Value {
    json!({
        "optimizers": ALL.iter().map(|e| entry_json(e)).collect::<Vec<_>>(),
        "aliases": ALIASES.iter().map(|a| json!({"name": a.0, "stands_for": a.1, "summary": a.2})).collect::<Vec<_>>(),
        "stages": STAGES.iter().map(|s| json!({"name": s.name, "summary": s.summary, "hyper": hyper_json(s.hyper)})).collect::<Vec<_>>(),
        "schedules": CURVES.iter().map(|c| json!({"name": c.name, "formula": c.formula, "hyper": hyper_json(c.hyper)})).collect::<Vec<_>>(),
    })
}

fn one(name: &str) -> Result<Value, Failure> {
    let document = all();
    let found = document
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, list)| list.as_array())
        .flatten()
        .find(|e| e["name"] == name);
    found.cloned().ok_or_else(|| {
        let names: Vec<&str> = names().collect();
        let help = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there are {}", names.join(", ")),
        };
        Failure::usage(format!("there is no optimizer, stage or schedule {name:?}; {help}"))
    })
}

fn names() -> impl Iterator<Item = &'static str> {
    let rules = ALL.iter().map(|e| e.name).chain(ALIASES.iter().map(|a| a.0));
    rules.chain(STAGES.iter().map(|s| s.name)).chain(CURVES.iter().map(|c| c.name))
}

fn rows(title: &str, rows: impl Iterator<Item = (&'static str, String)>, text: &mut String) {
    let width = show::width();
    text.push_str(title);
    text.push('\n');
    for (name, summary) in rows {
        let lines = show::wrap(&summary, width - 18);
        for (i, line) in lines.lines().enumerate() {
            let name = if i == 0 { name } else { "" };
            text.push_str(&format!("  {name:14}  {line}\n"));
        }
    }
    text.push('\n');
}

fn list() -> String {
    let mut text = String::new();
    rows("Optimizers", ALL.iter().map(|e| (e.name, e.summary.to_string())), &mut text);
    rows("Short names", ALIASES.iter().map(|a| (a.0, format!("{}: {}", a.1, a.2))), &mut text);
    rows(
        "Around an optimizer, as in clip(1) | adam | ema(0.999)",
        STAGES.iter().map(|s| (s.name, s.summary.into())),
        &mut text,
    );
    rows(
        "Schedules, as in adam(lr=cosine(0.05, warmup=5%))",
        CURVES.iter().map(|c| (c.name, c.formula.into())),
        &mut text,
    );
    text.push_str("thalweg optimizers NAME shows one with its hyperparameters.\n");
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

fn describe(name: &str) -> String {
    let mut text = String::new();
    if let Some(entry) = ALL.iter().find(|e| e.name == name) {
        text.push_str(&format!("{}: {}\nSource: {}\n\n", entry.name, entry.summary, entry.source));
        let lr = Hyper::new(
            "lr",
            entry.lr,
            thalweg_core::hyper::Range::NON_NEGATIVE,
            "learning rate, a number or a schedule; parameter units per step",
        );
        hypers(&[&[lr], entry.hyper].concat(), &mut text);
    } else if let Some((name, stands_for, summary)) = ALIASES.iter().find(|a| a.0 == name) {
        text.push_str(&format!("{name} = {stands_for}: {summary}\n\n{}", describe("sgd")));
    } else if let Some(stage) = STAGES.iter().find(|s: &&&Stage| s.name == name) {
        text.push_str(&format!("{}: {}\n\n", stage.name, stage.summary));
        hypers(stage.hyper, &mut text);
    } else if let Some(curve) = CURVES.iter().find(|c: &&&Curve| c.name == name) {
        text.push_str(&format!(
            "{}: {}\nk counts steps from 0 after the warm-up\n\n",
            curve.name, curve.formula
        ));
        let lr = Hyper::required("lr", thalweg_core::hyper::Range::NON_NEGATIVE, "the rate it starts from");
        hypers(&[&[lr], curve.hyper].concat(), &mut text);
        for length in curve.lengths {
            text.push_str(&format!("  {}={}: {}\n", length.name, length.default, length.doc));
        }
        text.push_str("  warmup=0 steps: w steps at lr/w, 2·lr/w, …, lr before the curve begins\n");
    }
    text
}
