//! Optimizers, learning rates or batch sizes on a table.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use thalweg_core::expr::split_list;
use thalweg_data::BatchSize;
use thalweg_models::saved::{sha256, write_whole};
use thalweg_optim::{Plan, Schedule};
use thalweg_train::compare::table::{Compared, Member, Ran, Spread, compare_on_table, spreads};
use thalweg_train::job::Prepared;
use thalweg_train::pages::{chosen, compare_page};
use thalweg_train::report::{Axis, Line, Series, html, terminal};
use thalweg_train::run::RunFolder;

use super::function::DEFAULT;
use crate::args;
use crate::cmd::fit::{INTERRUPT, catch_interrupt};
use crate::failure::Failure;
use crate::settings;
use crate::show::{self, Align, number};

/// Runs `compare DATA`.
pub fn run(args: &args::Compare) -> Result<(), Failure> {
    let mut training = settings::merge(&args.training, &args.output)?;
    if args.optimizers.is_some() {
        // The list wins over the one of a file.
        training.optimizer.clone_from(&args.training.optimizer);
    }
    if args.steps.is_some() {
        return Err(Failure::usage("--steps goes with --function; a run on a table takes --epochs"));
    }
    let job = settings::job(&training, args.output.threads)?;
    if job.model.is_some() {
        return Err(Failure::usage("compare trains linear models; networks are for thalweg fit --model"));
    }
    let members = members(args, &training)?;
    if args.seeds == 0 {
        return Err(Failure::usage("--seeds must be at least 1"));
    }
    if args.start.is_some() {
        return Err(Failure::usage("--start goes with --function"));
    }
    if let Some(out) = &args.output.out {
        RunFolder::check(out, args.output.force).map_err(Failure::run)?;
    }
    catch_interrupt();
    let say = |text: &str| {
        if !args.output.quiet {
            show::note(text);
        }
    };
    let mut first: Option<Prepared> = None;
    let mut all = Vec::new();
    for seed in 0..args.seeds {
        let mut job = job.clone();
        job.seed =
            job.seed.checked_add(seed).ok_or_else(|| Failure::usage("--seed and --seeds go beyond 2⁶⁴"))?;
        // The rate of each member is its own: the job's would fill only the default optimizer.
        (job.plan, job.lr, job.schedule) = (None, None, None);
        let prepared = Prepared::new(job).map_err(settings::failure)?;
        if first.is_none() {
            prepared.decisions().iter().for_each(|note| say(note));
        }
        let threads = prepared.job.threads.clone();
        let compared = compare_on_table(&prepared, &members, &threads, &INTERRUPT, |ran| {
            let seed = if args.seeds > 1 { format!(" (seed {})", prepared.job.seed) } else { String::new() };
            say(&format!("{}{seed}: loss {}", ran.member.label, number(ran.outcome.fitted.train_loss, 5)));
        });
        all.push(compared.map_err(settings::failure)?);
        if INTERRUPT.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
        first.get_or_insert(prepared);
    }
    let (Some(prepared), Some(compared)) = (first, all.first()) else { return Ok(()) };
    let spreads = spreads(&all);
    let command = command(args, &training)?;
    let report = (!args.output.no_report).then(|| match &args.output.out {
        Some(folder) => folder.join("report.html"),
        None => {
            let stem =
                prepared.job.data.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
            PathBuf::from(format!("compare-{stem}.html"))
        }
    });
    if let Some(path) = &report {
        let page = html(&compare_page(&prepared, compared, &spreads, &command));
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| write_whole(path, |out| out.write_all(page.as_bytes())))
            .map_err(|e| Failure::Run(format!("cannot write {}: {e}", path.display())))?;
    }
    let mut out = std::io::stdout().lock();
    if args.output.json {
        let rows: Vec<Value> =
            compared.runs.iter().zip(&spreads).map(|(r, s)| document(&prepared, r, s, &report)).collect();
        serde_json::to_writer(&mut out, &rows).map_err(Failure::run)?;
        writeln!(out)?;
        return Ok(());
    }
    write!(out, "{}", text(&prepared, compared, &spreads))?;
    if let Some(path) = report {
        writeln!(out, "\nCurves against steps, rows and seconds: {}", path.display())?;
    }
    Ok(())
}

/// Who takes part: optimizers, or one optimizer at several rates or batch sizes.
fn members(args: &args::Compare, training: &args::Training) -> Result<Vec<Member>, Failure> {
    let batch = |text: &str| text.parse::<BatchSize>().map_err(|e| Failure::usage(format!("--batches: {e}")));
    let parse = |text: &str| -> Result<Plan, Failure> {
        let mut plan = Plan::parse(text).map_err(Failure::usage)?;
        if let Some(schedule) = &training.schedule {
            plan.fill_schedule(&Schedule::parse(schedule).map_err(Failure::usage)?);
        }
        if let Some(lr) = training.lr {
            plan.fill_lr(lr);
        }
        Ok(plan)
    };
    let common = match &training.batch {
        Some(text) => Some(text.parse::<BatchSize>().map_err(|e| Failure::usage(format!("--batch: {e}")))?),
        None => None,
    };
    let one = || parse(training.optimizer.as_deref().unwrap_or("gd"));
    let member = |label: String, plan: Plan, batch: Option<BatchSize>| Member { label, plan, batch };
    let mut members = match (&args.optimizers, &args.lrs, &args.batches) {
        (list, None, None) => {
            if training.optimizer.is_some() && list.is_some() {
                return Err(Failure::usage("--optimizers lists them all; leave --optimizer out"));
            }
            let list = list.as_deref().or(training.optimizer.as_deref()).unwrap_or(DEFAULT);
            let plans =
                split_list(list).into_iter().map(|text| Ok(member(text.into(), parse(text)?, common)));
            plans.collect::<Result<Vec<_>, Failure>>()?
        }
        (None, Some(list), None) => {
            let plan = one()?;
            if !plan.lr_is_open() {
                return Err(Failure::usage("--lrs gives the rates; leave the optimizer's lr and --lr out"));
            }
            let rate = |text: &str| {
                let lr = text.parse().ok().filter(|x: &f64| *x >= 0.0 && x.is_finite());
                let lr =
                    lr.ok_or_else(|| Failure::usage(format!("--lrs takes numbers in [0, ∞), got {text:?}")))?;
                let mut plan = plan.clone();
                plan.fill_lr(lr);
                Ok(member(format!("{} {text}", plan.short_name()), plan, common))
            };
            split_list(list).into_iter().map(rate).collect::<Result<Vec<_>, Failure>>()?
        }
        (None, None, Some(list)) => {
            let plan = one()?;
            let size = |text: &str| {
                Ok(member(format!("{}, batch {text}", plan.short_name()), plan.clone(), Some(batch(text)?)))
            };
            split_list(list).into_iter().map(size).collect::<Result<Vec<_>, Failure>>()?
        }
        _ => return Err(Failure::usage("take one of --optimizers, --lrs and --batches")),
    };
    // Two members of one name could not be told apart.
    for i in 1..members.len() {
        let same = (0..i).filter(|&j| members[j].label == members[i].label).count();
        if same > 0 {
            members[i].label = format!("{} ({})", members[i].label, same + 1);
        }
    }
    Ok(members)
}

/// The command that repeats the comparison: every setting that was given, under the name of its flag.
fn command(args: &args::Compare, training: &args::Training) -> Result<String, Failure> {
    let mut command = String::from("thalweg compare");
    let mut say = |flag: &str, value: &str| {
        // The table stands without a flag, a switch without a value.
        let flag = if flag == "data" { String::new() } else { format!(" --{flag}") };
        let joint = match value {
            "" => "",
            v if v.starts_with('-') => "=",
            _ => " ",
        };
        let value = if value.is_empty() { String::new() } else { show::quoted(value) };
        command += &format!("{flag}{joint}{value}");
    };
    let table = toml::Table::try_from(training).map_err(Failure::run)?;
    let (reading, plain): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| value.is_table());
    let reading = reading.into_iter().filter_map(|(_, value)| value.as_table()).flatten();
    for (flag, value) in plain.into_iter().chain(reading) {
        match value {
            toml::Value::Boolean(true) => say(flag, ""),
            toml::Value::Boolean(false) => {}
            toml::Value::Array(list) => list.iter().filter_map(|v| v.as_str()).for_each(|v| say(flag, v)),
            toml::Value::String(text) => say(flag, text),
            other => say(flag, &other.to_string()),
        }
    }
    let own = [("optimizers", &args.optimizers), ("lrs", &args.lrs), ("batches", &args.batches)];
    own.iter()
        .filter_map(|(flag, value)| Some((flag, value.as_ref()?)))
        .for_each(|(flag, value)| say(flag, value));
    if args.seeds > 1 {
        say("seeds", &args.seeds.to_string());
    }
    Ok(command)
}

fn document(prepared: &Prepared, run: &Ran, spread: &Spread, report: &Option<PathBuf>) -> Value {
    let (outcome, fitted) = (&run.outcome, &run.outcome.fitted);
    let task = match prepared.text {
        Some(_) => "text",
        None if prepared.classes().is_empty() => "number",
        None => "classes",
    };
    json!({
        "task": task,
        "model": outcome.model.expression(),
        "member": run.member.label,
        "optimizer": outcome.optimizer,
        "lr": outcome.lr,
        "search": run.search,
        "batch": prepared.batch_of(&run.member).to_string(),
        "metric": prepared.metric.name(),
        "score": outcome.test.as_ref().map(|s| s.score.value),
        "train_score": outcome.train.value,
        "train_loss": fitted.train_loss,
        "valid_loss": fitted.valid_loss,
        "test_loss": outcome.test_loss,
        "epochs": fitted.epochs,
        "steps": fitted.steps,
        "stop": fitted.stop.word(),
        "diverged": run.diverged(),
        "seconds": fitted.seconds,
        "to_common_loss": run.reached,
        "sha256": outcome.model.to_saved().to_bytes().ok().map(|bytes| sha256(&bytes)),
        "seeds": spread,
        "run": report.as_ref().and_then(|r| r.parent()).filter(|p| !p.as_os_str().is_empty()),
        "report": report,
    })
}

fn text(prepared: &Prepared, compared: &Compared, spreads: &[Spread]) -> String {
    let mut chart = Line::new("", Axis::log("step"), Axis::linear("training loss"));
    for run in &compared.runs {
        // Step 0 has no place on a logarithmic axis.
        let probes = run.outcome.history.probes.iter().filter(|p| p.step > 0);
        let (x, y) = probes.map(|p| (p.step as f64, p.loss)).unzip();
        chart.series.push(Series::new(run.member.label.clone(), x, y));
    }
    if compared.first_loss.is_finite() {
        chart.y.max = Some(1.2 * compared.first_loss);
    }
    let mut text = terminal(&chart, show::width(), 18, std::io::stdout().is_terminal());
    text.push('\n');
    let part = if prepared.test.is_some() { "" } else { " (training)" };
    let head = ["member", "rate", "", "loss", "score", "steps", "time", ""];
    let mut rows = vec![head.map(String::from).to_vec()];
    rows[0][4] = format!("{}{part}", prepared.metric.title());
    for run in &compared.runs {
        let reached = |f: &dyn Fn(&thalweg_train::compare::table::Reached) -> String| {
            run.reached.as_ref().map_or("–".into(), f)
        };
        let chosen = match (&run.search, chosen(run)) {
            (None, _) => "",
            (_, text) => text,
        };
        rows.push(vec![
            run.member.label.clone(),
            number(run.outcome.lr, 3),
            chosen.into(),
            number(run.outcome.fitted.train_loss, 5),
            number(run.outcome.shown_score(), 4),
            reached(&|r| r.steps.to_string()),
            reached(&|r| show::seconds(r.seconds)),
            if run.diverged() { "diverged".into() } else { String::new() },
        ]);
    }
    use Align::{Left, Right};
    text.push_str(&show::table(&rows, &[Left, Right, Left, Right, Right, Right, Right, Left]));
    text.push_str("  steps and time: to within 1% of the way from the best loss to the start\n");
    if spreads.iter().any(|s| s.seeds > 1) {
        let head = ["over seeds", "loss", "from, to", prepared.metric.title(), "from, to", "diverged"];
        let mut rows = vec![head.map(String::from).to_vec()];
        for s in spreads {
            let range = |v: [f64; 3]| format!("{}, {}", number(v[0], 4), number(v[2], 4));
            rows.push(vec![
                s.label.clone(),
                number(s.loss[1], 5),
                range(s.loss),
                number(s.score[1], 4),
                range(s.score),
                format!("{} of {}", s.diverged, s.seeds),
            ]);
        }
        text.push('\n');
        text.push_str(&show::table(&rows, &[Left, Right, Left, Right, Left, Right]));
    }
    text
}
