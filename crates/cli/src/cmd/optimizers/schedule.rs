//! Schedules: what the registry says of a curve, and the rate over a run as a picture and a table.

use std::io::{IsTerminal, Write};

use serde_json::{Value, json};
use thalweg_core::expr::Duration;
use thalweg_core::hyper::{Hyper, Range};
use thalweg_optim::schedule::{Curve, LR, WARMUP};
use thalweg_optim::{Horizon, Schedule};
use thalweg_train::report::{Axis, Line, Series, terminal};

use super::hyper_json;
use crate::args;
use crate::failure::Failure;
use crate::show::{self, Align, number};

/// Steps of an epoch, where only epochs are said.
const PER_EPOCH: u64 = 100;
/// Rates that are drawn, and given in a document, at most.
const DRAWN: u64 = 2000;

/// A curve as the registry describes it.
pub fn json(curve: &Curve) -> Value {
    let lengths = curve.lengths.iter().map(|l| (l.name, l.default, l.doc));
    let lengths = lengths.chain([(WARMUP.name, curve.warmup, WARMUP.doc)]);
    json!({
        "name": curve.name,
        "formula": curve.formula,
        "lr": curve.lr,
        "hyper": hyper_json(curve.hyper),
        "choices": curve.choices.iter().map(|c| json!({"name": c.name, "words": c.words, "doc": c.doc})).collect::<Vec<_>>(),
        "at": curve.at.map(|at| json!({"default": at.default.iter().map(Duration::to_string).collect::<Vec<_>>(), "doc": at.doc})),
        "lengths": lengths.map(|(name, default, doc)| json!({"name": name, "default": default.to_string(), "doc": doc})).collect::<Vec<_>>(),
        "joins": curve.joins,
        "follows_scores": curve.follows_scores,
    })
}

/// The formula and the names of what the curve takes, in a line.
pub fn summary(curve: &Curve) -> String {
    let names: Vec<String> = values(curve).into_iter().map(|[name, ..]| name).collect();
    format!("{} ({})", curve.formula, names.join(", "))
}

/// Name, default, range and meaning of what a curve takes.
pub fn values(curve: &Curve) -> Vec<[String; 4]> {
    let hyper = |h: &Hyper| {
        let default = if h.default.is_nan() { "required".into() } else { h.print(h.default) };
        [h.name.into(), default, h.range.to_string(), h.doc.into()]
    };
    let mut rows = vec![hyper(&Hyper::required(LR.name, Range::NON_NEGATIVE, curve.lr))];
    rows.extend(curve.hyper.iter().map(hyper));
    for choice in curve.choices {
        let first = choice.words.first().copied().unwrap_or_default();
        rows.push([
            choice.name.into(),
            first.into(),
            "a word".into(),
            format!("{}: {}", choice.words.join(", "), choice.doc),
        ]);
    }
    if let Some(at) = curve.at {
        let default: Vec<String> = at.default.iter().map(Duration::to_string).collect();
        let default = if default.is_empty() { "equal shares".into() } else { default.join(", ") };
        rows.push(["at".into(), default, "lengths".into(), at.doc.into()]);
    }
    for (name, default, doc) in curve.lengths.iter().map(|l| (l.name, l.default, l.doc)).chain([(
        WARMUP.name,
        curve.warmup,
        WARMUP.doc,
    )]) {
        rows.push([name.into(), default.to_string(), "a length".into(), doc.into()]);
    }
    rows
}

/// A curve with all that it takes.
pub fn describe(curve: &Curve) -> String {
    let mut rows = vec![["name", "default", "range", "meaning"].map(String::from)];
    rows.extend(values(curve));
    let wide: usize = (0..3).map(|c| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0) + 2).sum();
    let room = show::width().saturating_sub(wide + 3).max(24);
    let mut table = vec![];
    for [name, default, range, meaning] in rows {
        for (i, line) in show::wrap(&meaning, room).lines().enumerate() {
            let first = |cell: &String| if i == 0 { cell.clone() } else { String::new() };
            table.push(vec![first(&name), first(&default), first(&range), line.into()]);
        }
    }
    let joins = "It joins two schedules or more, which stand in it without names.\n";
    let scores = "It follows validation scores: without any, the rate stays as it is.\n";
    let width = show::width();
    let units = "k counts steps from 0 after the warm-up; a length is as in 100 steps, 2 epochs (or 2) or 5% of the run.";
    format!(
        "{}{}{}{}\n{}",
        show::wrap(&format!("{}: {}", curve.name, curve.formula), width),
        show::wrap(units, width),
        if curve.joins { joins } else { "" },
        if curve.follows_scores { scores } else { "" },
        show::table(&table, &[Align::Left, Align::Right, Align::Left, Align::Left])
    )
}

/// Draws the schedules that are asked for, or gives their rates.
pub fn run(args: &args::Optimizers, out: &mut impl Write) -> Result<(), Failure> {
    let horizon = horizon(args)?;
    let mut schedules = vec![];
    for text in &args.schedule {
        schedules.push((text, Schedule::parse(text).map_err(Failure::usage)?));
    }
    let shown = horizon.steps.min(DRAWN);
    let place =
        |i: u64| 1 + (u128::from(i) * u128::from(horizon.steps - 1) / u128::from((shown - 1).max(1))) as u64;
    let steps: Vec<u64> = (0..shown).map(place).collect();
    if args.json {
        let rates = |s: &Schedule| steps.iter().map(|k| s.rate(*k, horizon)).collect::<Vec<_>>();
        let each = schedules.iter().map(|(text, s)| {
            json!({"expression": text, "schedule": s.to_string(), "follows_scores": s.follows_scores(), "rates": rates(s)})
        });
        let document = json!({
            "steps": horizon.steps,
            "steps_per_epoch": horizon.per_epoch,
            "step": steps,
            "schedules": each.collect::<Vec<_>>(),
        });
        serde_json::to_writer(&mut *out, &document)?;
        writeln!(out)?;
        return Ok(());
    }
    let mut chart =
        Line::new("", Axis::linear("step"), Axis { min: Some(0.0), ..Axis::linear("learning rate") });
    let x: Vec<f64> = steps.iter().map(|k| *k as f64).collect();
    for (i, (text, schedule)) in schedules.iter().enumerate() {
        let y = steps.iter().map(|k| schedule.rate(*k, horizon)).collect();
        chart.series.push(Series::new(text.as_str(), x.clone(), y).coloured(i));
    }
    let width = show::width();
    writeln!(out, "{}", terminal(&chart, width, 18, std::io::stdout().is_terminal()))?;
    write!(out, "{}", table(&schedules, horizon))?;
    writeln!(out)?;
    for (i, (text, schedule)) in schedules.iter().enumerate() {
        let name = if schedules.len() > 1 { format!("{}  ", letter(i)) } else { String::new() };
        let mut says = format!("{name}{text} is {schedule}.");
        if schedule.lr.is_none() {
            says += &format!(" It leaves lr open: drawn from {}.", thalweg_core::expr::number(LR.default));
        }
        if schedule.follows_scores() {
            says += " It follows validation scores: drawn without any.";
        }
        write!(out, "{}", show::wrap(&says, width))?;
    }
    Ok(())
}

/// The run that is drawn: 10 epochs of 100 steps where nothing is said.
fn horizon(args: &args::Optimizers) -> Result<Horizon, Failure> {
    let epochs = args.epochs.unwrap_or(10);
    let steps = match (args.steps, args.epochs) {
        (Some(steps), _) => steps,
        (None, _) => epochs.saturating_mul(PER_EPOCH),
    };
    if let (Some(steps), Some(epochs)) = (args.steps, args.epochs)
        && epochs > steps
    {
        return Err(Failure::usage(format!("--epochs {epochs} are more than --steps {steps}")));
    }
    Ok(Horizon { steps, per_epoch: steps.div_ceil(epochs).max(1) })
}

fn letter(i: usize) -> char {
    char::from(b'A' + (i % 26) as u8)
}

/// The first step, each tenth of the run, the last: as many schedules side by side as there is room for.
fn table(schedules: &[(&String, Schedule)], horizon: Horizon) -> String {
    let tenth = |i: u64| (u128::from(horizon.steps) * u128::from(i) / 10) as u64;
    let mut steps: Vec<u64> = [1].into_iter().chain((1..=10).map(tenth)).filter(|k| *k > 0).collect();
    steps.dedup();
    let room = (show::width() - 24) / 14;
    let mut text = String::new();
    for (nth, some) in schedules.chunks(room).enumerate() {
        let heading =
            |i: usize| if schedules.len() > 1 { letter(nth * room + i).into() } else { "rate".to_string() };
        let mut rows = vec![["step", "epoch"].map(String::from).to_vec()];
        rows[0].extend((0..some.len()).map(heading));
        for k in &steps {
            let epoch = 1 + (k - 1) / horizon.per_epoch;
            let mut row = vec![show::count(*k), show::count(epoch)];
            row.extend(some.iter().map(|(_, s)| number(s.rate(*k, horizon), 5)));
            rows.push(row);
        }
        if nth > 0 {
            text.push('\n');
        }
        text.push_str(&show::table(&rows, &vec![Align::Right; 2 + some.len()]));
    }
    text
}
