//! Optimizers on a function of the plane.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use thalweg_core::expr::split_list;
use thalweg_core::suggest::nearest;
use thalweg_models::functions::{ALL, Entry};
use thalweg_models::saved::write_whole;
use thalweg_optim::Plan;
use thalweg_train::compare::function::{Path, compare_on_function};
use thalweg_train::pages::function_page;
use thalweg_train::report::{Axis, Line, Series, Spacing, html, terminal};
use thalweg_train::run::RunFolder;

use crate::args::{self, Training};
use crate::failure::Failure;
use crate::show::{self, Align, number};

/// The optimizers when none are named.
pub const DEFAULT: &str = "gd, momentum, adagrad, rmsprop, adam";

/// Steps when nothing is said.
const STEPS: u64 = 1000;
/// Every point is kept for the picture.
const MOST_STEPS: u64 = 1_000_000;

/// Runs `compare --function NAME`.
pub fn run(args: &args::Compare, name: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if name == "list" {
        for f in &ALL {
            writeln!(out, "  {:12} {}", f.name, f.formula)?;
        }
        return Ok(());
    }
    let entry = find(name)?;
    let start = match &args.start {
        Some(text) => point(text)?,
        None => entry.start,
    };
    let steps = args.steps.unwrap_or(STEPS);
    if !(1..=MOST_STEPS).contains(&steps) {
        return Err(Failure::usage(format!("--steps must be in [1, {MOST_STEPS}], got {steps}")));
    }
    let rest = Training { optimizer: None, ..args.training.clone() };
    if args.training.data.is_none()
        && (rest != Training::default() || args.seeds != 1 || args.output.config.is_some())
    {
        let message = "--function goes with --optimizers, --start, --steps and --out; give rates in the optimizers, as in adam(lr=0.1)";
        return Err(Failure::usage(message));
    }
    if let Some(out) = &args.output.out {
        RunFolder::check(out, args.output.force).map_err(Failure::run)?;
    }
    if args.lrs.is_some() || args.batches.is_some() || args.training.data.is_some() {
        return Err(Failure::usage("--function takes no DATA, --lrs or --batches"));
    }
    let list = args.optimizers.as_deref().or(args.training.optimizer.as_deref()).unwrap_or(DEFAULT);
    let plans = split_list(list)
        .into_iter()
        .map(Plan::parse)
        .collect::<Result<Vec<_>, _>>()
        .map_err(Failure::usage)?;
    let steps = steps as usize;
    let paths = compare_on_function(entry, start, steps, &plans).map_err(Failure::usage)?;

    let report = (!args.output.no_report).then(|| match &args.output.out {
        Some(folder) => folder.join("report.html"),
        None => PathBuf::from(format!("{}.html", entry.name)),
    });
    if let Some(path) = &report {
        let page = html(&function_page(entry, start, steps, &paths));
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| write_whole(path, |out| out.write_all(page.as_bytes())))
            .map_err(|e| Failure::Run(format!("cannot write {}: {e}", path.display())))?;
    }
    if args.output.json {
        serde_json::to_writer(&mut out, &paths).map_err(Failure::run)?;
        writeln!(out)?;
        return Ok(());
    }
    write!(out, "{}", text(entry, start, steps, &paths))?;
    if let Some(path) = report {
        writeln!(out, "\nThe paths over the level lines: {}", path.display())?;
    }
    Ok(())
}

fn find(name: &str) -> Result<&'static Entry, Failure> {
    ALL.iter().find(|f| f.name == name).ok_or_else(|| {
        let help = match nearest(name, ALL.iter().map(|f| f.name)) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there are {}", ALL.iter().map(|f| f.name).collect::<Vec<_>>().join(", ")),
        };
        Failure::usage(format!("there is no function {name:?}; {help}"))
    })
}

fn point(text: &str) -> Result<(f64, f64), Failure> {
    let numbers: Vec<f64> =
        text.split(',').filter_map(|x| x.trim().parse().ok()).filter(|x: &f64| x.is_finite()).collect();
    match numbers[..] {
        [x, y] if text.split(',').count() == 2 => Ok((x, y)),
        _ => Err(Failure::usage(format!("--start takes two numbers as in \"-1.5, 2\", got {text:?}"))),
    }
}

fn text(entry: &Entry, start: (f64, f64), steps: usize, paths: &[Path]) -> String {
    let mut text = format!(
        "{}: f(x, y) = {}\nfrom ({}, {}), {steps} steps\n\n",
        entry.name, entry.formula, start.0, start.1
    );
    let least = entry.minima.first().map_or(0.0, |&(x, y)| (entry.value)(x, y));
    let mut chart = Line::new("", Axis::linear("step"), Axis::new("value above the least"));
    chart.y.spacing = Spacing::Log;
    for path in paths {
        let t = (0..path.values.len()).map(|t| t as f64).collect();
        let above = path.values.iter().map(|v| (v - least).max(0.0)).collect();
        chart.series.push(Series::new(path.label.clone(), t, above));
    }
    chart.cap(10.0);
    text.push_str(&terminal(&chart, show::width(), 16, std::io::stdout().is_terminal()));
    text.push('\n');
    let head = ["optimizer", "rate", "", "value", "to common", "ends at", ""];
    let mut rows = vec![head.map(String::from).to_vec()];
    for path in paths {
        let chosen = match &path.search {
            Some(search) if search.at_the_edge() => "best of 9, at the edge",
            Some(_) => "best of 9",
            None => "",
        };
        rows.push(vec![
            path.label.clone(),
            number(path.lr, 3),
            chosen.into(),
            number(path.value, 4),
            path.steps_to_common.map_or("–".into(), |s| format!("{s} steps")),
            format!("({}, {})", number(path.end.0, 4), number(path.end.1, 4)),
            if path.diverged { "diverged".into() } else { String::new() },
        ]);
    }
    use Align::{Left, Right};
    text.push_str(&show::table(&rows, &[Left, Right, Left, Right, Right, Left, Left]));
    text
}
