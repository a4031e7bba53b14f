//! `thalweg optimizers`: the registry of rules, stages and schedules.

use std::io::Write;

use serde_json::{Value, json};
use thalweg_core::hyper::Hyper;
use thalweg_core::suggest::nearest;
use thalweg_optim::Plan;
use thalweg_optim::chain::STAGES;
use thalweg_optim::rules::{ALIASES, ALL, Entry};
use thalweg_optim::schedule::CURVES;

mod bench;
mod describe;
mod page;
mod prose;
mod schedule;

use crate::args;
use crate::failure::Failure;
use crate::show;

/// Runs the subcommand.
pub fn run(args: &args::Optimizers) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if args.bench {
        return bench::run(args, &mut out);
    }
    if args.markdown {
        write!(out, "{}", page::page())?;
        return Ok(());
    }
    if !args.schedule.is_empty() {
        return schedule::run(args, &mut out);
    }
    // A name of the registry, or an expression.
    let plan = match args.name.as_deref().filter(|n| n.contains(['(', '{', '|', ' '])) {
        Some(text) => Some((text, Plan::parse(text).map_err(Failure::usage)?)),
        None => None,
    };
    let document = match (&plan, &args.name) {
        (Some((_, plan)), _) => {
            let mut document = describe::trace_json(plan);
            document["expression"] = json!(plan.to_string());
            document
        }
        (None, None) => all(),
        (None, Some(name)) => one(name)?,
    };
    if args.json {
        serde_json::to_writer(&mut out, &document)?;
        writeln!(out)?;
        return Ok(());
    }
    match (&plan, &args.name) {
        (Some((text, plan)), _) => write!(out, "{}", describe::expression(text, plan))?,
        (None, None) => write!(out, "{}", list())?,
        (None, Some(name)) => write!(out, "{}", describe::describe(name))?,
    }
    Ok(())
}

fn hyper_json(hyper: &[Hyper]) -> Value {
    let default = |h: &Hyper| match h.range.words().is_empty() {
        true => json!(h.default),
        false => json!(h.print(h.default)),
    };
    hyper
        .iter()
        .map(|h| json!({"name": h.name, "default": default(h), "range": h.range.to_string(), "doc": h.doc}))
        .collect()
}

fn entry_json(entry: &Entry) -> Value {
    let mut document = json!({"name": entry.name, "summary": entry.summary, "source": entry.source, "about": entry.about,
        "lr": entry.lr, "hyper": hyper_json(entry.hyper)});
    if let (Ok(plan), Some(fields)) = (Plan::parse(entry.name), document.as_object_mut())
        && let Value::Object(cost) = describe::trace_json(&plan)
    {
        fields.extend(cost);
    }
    document
}

fn all() -> Value {
    json!({
        "optimizers": ALL.iter().map(|e| entry_json(e)).collect::<Vec<_>>(),
        "aliases": ALIASES.iter().map(|a| json!({"name": a.0, "stands_for": a.1, "summary": a.2})).collect::<Vec<_>>(),
        "stages": STAGES.iter().map(|s| json!({"name": s.name, "summary": s.summary, "about": s.about, "hyper": hyper_json(s.hyper)})).collect::<Vec<_>>(),
        "schedules": CURVES.iter().map(|c| schedule::json(c)).collect::<Vec<_>>(),
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
        let lines = show::wrap(&summary, width - 22);
        for (i, line) in lines.lines().enumerate() {
            let name = if i == 0 { name } else { "" };
            text.push_str(&format!("  {name:18}  {line}\n"));
        }
    }
    text.push('\n');
}

/// Names, values, defaults and ranges in lines that break between values.
fn values(hyper: &[Hyper], text: &mut String) {
    let one = |h: &Hyper| {
        let default = if h.default.is_nan() { String::new() } else { format!("={}", h.print(h.default)) };
        // A value's own blanks are no places to break a line.
        format!("{}{default} {}", h.name, h.range).replace(' ', "\u{e000}")
    };
    let all = hyper.iter().map(one).collect::<Vec<_>>().join(", ");
    for line in show::wrap(&all, show::width() - 6).lines() {
        text.push_str(&format!("      {}\n", line.replace('\u{e000}', " ")));
    }
}

/// Every rule with what it is for, its memory, its source and its values.
fn rules(text: &mut String) {
    let width = show::width();
    let title = "Optimizers, with memory in numbers a parameter, source, and values as name=default range";
    text.push_str(&format!("{}\n", show::wrap(title, width)));
    for entry in ALL {
        let lines = show::wrap(entry.summary, width - 22);
        for (i, line) in lines.lines().enumerate() {
            let name = if i == 0 { entry.name } else { "" };
            text.push_str(&format!("  {name:18}  {line}\n"));
        }
        let memory = Plan::parse(entry.name).map_or(String::new(), |plan| describe::memory(&plan));
        for line in show::wrap(&format!("memory {memory}; {}", entry.source), width - 6).lines() {
            text.push_str(&format!("      {line}\n"));
        }
        values(&[&[describe::lr(entry)], entry.hyper].concat(), text);
    }
    text.push('\n');
}

fn list() -> String {
    let mut text = String::new();
    rules(&mut text);
    rows("Short names", ALIASES.iter().map(|a| (a.0, format!("{}: {}", a.1, a.2))), &mut text);
    rows(
        "Around an optimizer, as in clip(1) | adam | ema(0.999)",
        STAGES.iter().map(|s| (s.name, s.summary.into())),
        &mut text,
    );
    rows(
        "Schedules, as in adam(lr=cosine(0.05, warmup=5%))",
        CURVES.iter().map(|c| (c.name, schedule::summary(c))),
        &mut text,
    );
    text.push_str(
        "thalweg optimizers NAME shows one with its formula, cost and values.\nthalweg optimizers --bench measures them on this machine.\nthalweg optimizers --schedule \"cosine(0.1)\" draws a schedule.\n",
    );
    text
}
