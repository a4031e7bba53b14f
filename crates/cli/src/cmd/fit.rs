//! `thalweg fit`: from a table to a trained, scored, saved model.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use thalweg_data::BatchSize;
use thalweg_models::saved::sha256;
use thalweg_train::job::{Outcome, Prepared, TrainOptions, advice};
use thalweg_train::observers::MetricsFile;
use thalweg_train::pages::{FitPage, fit_page};
use thalweg_train::report::html;
use thalweg_train::run::RunFolder;
use thalweg_train::text::{ORDER, Stretch, title, unit};
use thalweg_train::{Observer, Stop};

use crate::args;
use crate::failure::Failure;
use crate::progress;
use crate::settings::{self, Resolved};
use crate::show::{self, Align, count, counted, number, seconds};

/// Set by Ctrl-C: the loop ends, and the model so far is saved.
pub static INTERRUPT: AtomicBool = AtomicBool::new(false);

/// Coefficients that are printed.
const SHOWN: usize = 8;

/// Runs the subcommand.
pub fn run(args: &args::Fit) -> Result<(), Failure> {
    let training = settings::merge(&args.training, &args.output)?;
    let job = settings::job(&training, args.output.threads)?;
    let quiet = args.output.quiet;
    let say = |text: &str| {
        if !quiet {
            show::note(text);
        }
    };
    if let Some(out) = &args.output.out {
        // Said now rather than after a long file was read.
        RunFolder::check(out, args.output.force).map_err(Failure::run)?;
    }
    catch_interrupt();
    let prepared = Prepared::new(job).map_err(settings::failure)?;
    for note in prepared.decisions() {
        say(note);
    }
    let (plan, rate) = prepared.plan().map_err(settings::failure)?;
    rate.iter().for_each(|note| say(note));

    let folder = RunFolder::create(args.output.out.as_deref(), &prepared.job.data, args.output.force)
        .map_err(Failure::run)?;
    let done = train(args, &training, &prepared, &plan, &folder);
    if done.is_err() {
        folder.remove_if_empty();
    }
    done
}

/// The first Ctrl-C asks the loop to end; the second ends the process.
pub fn catch_interrupt() {
    let _ = ctrlc::set_handler(|| {
        if INTERRUPT.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
}

fn train(
    args: &args::Fit,
    training: &args::Training,
    prepared: &Prepared,
    plan: &thalweg_optim::Plan,
    folder: &RunFolder,
) -> Result<(), Failure> {
    // Dropped on every way out but the last, it takes the metrics of a run without a model with it.
    let live = folder.live("metrics.jsonl").map_err(Failure::run)?;
    let mut metrics = MetricsFile::create(live.path())
        .map_err(|e| Failure::Run(format!("cannot write {}: {e}", live.path().display())))?;
    let mut bar = progress::observer(args.output.quiet);
    let options = TrainOptions { probes: vec![], threads: prepared.job.threads.clone(), epochs: None };
    let mut observers: [&mut dyn Observer; 2] = [&mut metrics, bar.as_mut()];
    let trained = prepared.train(plan, prepared.batch, &options, &mut observers, &INTERRUPT);
    drop(metrics);
    let outcome = trained.map_err(settings::failure)?;
    if !outcome.usable() {
        return Err(Failure::Run(prepared.explain_divergence(&outcome)));
    }
    if outcome.fitted.stop == Stop::Interrupted && outcome.fitted.steps == 0 {
        show::note("interrupted before the first step; nothing is saved");
        return Err(Failure::Interrupted);
    }
    if let Some(c) = outcome.model.coefficients().sorted.iter().find(|c| !c.coefficient.is_finite()) {
        return Err(Failure::Run(format!(
            "column {:?} has values so small that its coefficient is infinite; scale it, or say --ignore {0}",
            c.feature
        )));
    }
    let resolved = settings::resolved(training, prepared, &outcome, folder.path());
    let Resolved { toml, command } = &resolved;
    let model = outcome.model.to_saved().to_bytes().map_err(Failure::run)?;
    let sha256 = sha256(&model);
    let mut files = folder.stage().map_err(Failure::run)?;
    files.write("config.toml", |out| out.write_all(toml.as_bytes())).map_err(Failure::run)?;
    files
        .write("split.csv", |out| match &prepared.text {
            Some(text) => text.write_parts(out),
            None => prepared.split.write(out),
        })
        .map_err(Failure::run)?;
    files.write("model.safetensors", |out| out.write_all(&model)).map_err(Failure::run)?;
    if !args.output.no_report {
        let page = FitPage {
            prepared,
            outcome: &outcome,
            config: toml,
            command,
            versions: &versions(),
            sha256: &sha256,
        };
        let page = html(&fit_page(&page));
        files.write("report.html", |out| out.write_all(page.as_bytes())).map_err(Failure::run)?;
    }
    files.commit(&["report.html"]).map_err(Failure::run)?;
    live.keep();
    let mut out = std::io::stdout().lock();
    if args.output.json {
        serde_json::to_writer(&mut out, &document(prepared, &outcome, folder, &sha256))?;
        writeln!(out)?;
    } else if !args.output.quiet {
        write!(out, "{}", text(args, prepared, &outcome, folder, command, &sha256))?;
    }
    match outcome.fitted.stop {
        Stop::Interrupted => Err(Failure::Interrupted),
        Stop::Diverged => Err(Failure::Run(prepared.explain_divergence(&outcome))),
        _ => Ok(()),
    }
}

/// Names and versions of what computes.
pub fn versions() -> Vec<(String, String)> {
    vec![
        ("thalweg".into(), env!("CARGO_PKG_VERSION").into()),
        ("target".into(), format!("{} {}", std::env::consts::ARCH, std::env::consts::OS)),
        ("instruction set".into(), thalweg_core::isa::current().name().into()),
    ]
}

/// The document of `--json`.
pub fn document(prepared: &Prepared, outcome: &Outcome, folder: &RunFolder, sha256: &str) -> Value {
    let score = outcome.test.as_ref();
    let mut document = json!({
        "task": if prepared.classes().is_empty() { "number" } else { "classes" },
        "target": prepared.target(),
        "classes": prepared.classes(),
        "model": outcome.model.expression(),
        "loss": prepared.loss.to_string(),
        "label_smoothing": prepared.job.label_smoothing,
        "optimizer": outcome.optimizer,
        "lr": outcome.lr,
        "batch": prepared.batch.to_string(),
        "metric": prepared.metric.name(),
        "score": score.map(|s| s.score.value),
        "score_interval": score.and_then(|s| s.score.interval),
        "baseline": score.map(|s| s.baseline),
        "scores": score.map(|s| s.all.iter().map(|s| (s.metric.name().to_string(), json!(s.value))).collect::<serde_json::Map<_, _>>()),
        "train_score": outcome.train.value,
        "valid_score": outcome.valid.as_ref().map(|s| s.score.value),
        "train_loss": outcome.fitted.train_loss,
        "valid_loss": outcome.fitted.valid_loss,
        "test_loss": outcome.test_loss,
        "rows": { "train": prepared.train.len(), "valid": prepared.valid.as_ref().map(|d| d.len()), "test": prepared.test.as_ref().map(|d| d.len()) },
        "epochs": outcome.fitted.epochs,
        "steps": outcome.fitted.steps,
        "stop": outcome.fitted.stop.word(),
        "best_epoch": outcome.fitted.best_epoch,
        "seconds": outcome.fitted.seconds,
        "sha256": sha256,
        "run": folder.path(),
    });
    if let Some(text) = &prepared.text {
        let symbols = |part: &Option<Stretch>| part.as_ref().map(|part| part.symbols().len());
        document["task"] = json!("text");
        document["target"] = Value::Null;
        document["unit"] = json!(unit(&text.vocabulary));
        document["vocabulary"] = json!(text.vocabulary.len());
        document["context"] = json!(text.context);
        document["rows"] = json!({
            "train": text.train.symbols().len(), "valid": symbols(&text.valid), "test": symbols(&text.test)
        });
    }
    document
}

fn text(
    args: &args::Fit,
    prepared: &Prepared,
    outcome: &Outcome,
    folder: &RunFolder,
    command: &str,
    sha256: &str,
) -> String {
    let mut text = String::new();
    let mut say = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    // A program that reads lines wants them whole.
    let width = if std::io::stdout().is_terminal() { show::width() } else { usize::MAX };
    let wrapped = |line: String| show::wrap(&line, width).trim_end().to_string();
    let fitted = &outcome.fitted;
    let of =
        |best: u64| if best < fitted.epochs { format!(", weights of epoch {best}") } else { String::new() };
    say(wrapped(format!(
        "{}: {} in {}, {}{}",
        fitted.stop,
        counted(fitted.steps, "step"),
        counted(fitted.epochs, "epoch"),
        seconds(fitted.seconds),
        of(fitted.best_epoch)
    )));
    if prepared.batch == BatchSize::Full
        && let Some(advice) = advice(fitted.stop, prepared.job.tolerance)
    {
        say(wrapped(advice));
    }
    if fitted.skipped > 0 {
        say(format!("left out: {} steps whose gradient or loss was not finite", count(fitted.skipped)));
    }
    let valid = fitted.valid_loss.map(|l| format!(", validation {}", number(l, 5))).unwrap_or_default();
    say(format!("loss: training {}{valid}", number(fitted.train_loss, 5)));
    let metric = match &prepared.text {
        Some(text) => title(&text.vocabulary),
        None => prepared.metric.title().into(),
    };
    let (rows, part) = match &prepared.text {
        Some(text) => (format!("{}s", unit(&text.vocabulary)), "part"),
        None => ("rows".into(), "rows"),
    };
    match &outcome.test {
        Some(scored) => {
            let interval =
                scored.score.interval.map(|(a, b)| format!(" (95%: {} to {})", number(a, 4), number(b, 4)));
            let who = match &prepared.text {
                Some(_) => format!("a {ORDER}-gram"),
                None if prepared.classes().is_empty() => "the mean".into(),
                None => "the majority class".into(),
            };
            let beside = if scored.baseline.is_finite() {
                format!("; {who} gets {}", number(scored.baseline, 4))
            } else {
                String::new()
            };
            say(wrapped(format!(
                "{metric} {}{} on {} test {rows}{beside}",
                number(scored.score.value, 4),
                interval.unwrap_or_default(),
                count(scored.rows as u64)
            )));
        }
        None => say(format!(
            "{metric} {} on the training {part}; no test {part}, so no honest score",
            number(outcome.train.value, 4)
        )),
    }
    say(String::new());
    if outcome.model.network().is_some() {
        say(format!(
            "{}, {} parameters",
            outcome.model.expression(),
            count(outcome.model.parameters() as u64)
        ));
        say(super::inspect::layers(&outcome.model));
        said_files(args, folder, command, sha256, &mut say);
        return text;
    }
    say("Largest weights (per standard deviation) and coefficients (in original units)".into());
    let coefficients = outcome.model.coefficients();
    let table = super::inspect::table(&coefficients, outcome.model.classes(), SHOWN, Align::Right);
    say(table.trim_end().into());
    match coefficients.sorted.len().saturating_sub(SHOWN) {
        0 => say(String::new()),
        left => {
            let folder = show::quoted(&folder.path().display().to_string());
            say(format!("  and {} more: thalweg inspect {folder} --all\n", count(left as u64)));
        }
    }
    said_files(args, folder, command, sha256, &mut say);
    text
}

/// Where everything lies.
fn said_files(
    args: &args::Fit,
    folder: &RunFolder,
    command: &str,
    sha256: &str,
    say: &mut impl FnMut(String),
) {
    let file = |name: &str| folder.file(name).display().to_string();
    if !args.output.no_report {
        say(format!("report   {}", file("report.html")));
    }
    say(format!("model    {}", file("model.safetensors")));
    say(format!("sha-256  {sha256}"));
    say(format!("repeat   {command}"));
}
