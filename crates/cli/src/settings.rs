//! From flags and a configuration file to a [`Job`], and back to the resolved file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use thalweg_core::Threads;
use thalweg_core::expr::{ExprError, Span, split_list};
use thalweg_core::suggest::nearest;
use thalweg_data::{ColumnType, DataError, EncodeError, EncoderOptions, Part, ReadOptions, SplitBy};
use thalweg_models::linear::LinearError;
use thalweg_models::losses::Loss;
use thalweg_models::network::ModelSpec;
use thalweg_optim::{Plan, Schedule};
use thalweg_train::job::{Job, JobError, Outcome, Prepared};
use thalweg_train::metrics::Metric;
use thalweg_train::text;

use crate::args::{Output, Reading, Training};
use crate::failure::Failure;

/// More epochs than anybody waits for; with it, no count of steps overflows.
const MOST_EPOCHS: u64 = 1_000_000_000;

/// The share of rows that stops a network early, and how many epochs it waits, when nothing is said.
const NETWORK_VALID: f64 = 0.1;
const NETWORK_PATIENCE: u64 = 10;

/// The settings of `--config`, with the flags over them.
///
/// # Errors
/// A file that cannot be read (status 1) or has an unknown key or a value of the wrong type (status 2).
pub fn merge(flags: &Training, output: &Output) -> Result<Training, Failure> {
    let Some(path) = &output.config else { return Ok(flags.clone()) };
    let text =
        fs::read_to_string(path).map_err(|e| Failure::Run(format!("cannot read {}: {e}", path.display())))?;
    let file: Training = toml::from_str(&text).map_err(|e| wrong_toml(path, &text, &e))?;
    let mut flags = flags.clone();
    let file = rates_of(&mut flags, file);
    Ok(over(flags, file))
}

/// What is wrong in a configuration file, with its line and a caret.
fn wrong_toml(path: &Path, text: &str, error: &toml::de::Error) -> Failure {
    let span = error.span().unwrap_or_default();
    let start = text[..span.start.min(text.len())].rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let at = Span { start: span.start - start, end: (span.end - start).min(line.len()) };
    let number = text[..start].lines().count() + 1;
    let mut message = error.message().trim_end().to_string();
    let mut help = None;
    if message.starts_with("unknown field") {
        // "unknown field `x`, expected one of `a`, `b`, …"
        let mut names = error.message().split('`').skip(1).step_by(2);
        let found = names.next().unwrap_or_default();
        let known: Vec<&str> = names.collect();
        message = format!("there is no setting {found:?}");
        help = Some(match nearest(found, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there are {}", known.join(", ")),
        });
    }
    let mut error = ExprError::new(line, at, format!("{}:{number}: {message}", path.display()));
    if let Some(help) = help {
        error = error.help(help);
    }
    Failure::usage(error)
}

/// Flags win over the file where both give the learning rate: in `--optimizer`, `--lr` or `--schedule`.
///
/// `--lr` replaces the rate and keeps the file's curve, `--schedule` replaces the curve and keeps the file's rate.
fn rates_of(flags: &mut Training, mut file: Training) -> Training {
    let parsed = |text: &Option<String>| text.as_deref().and_then(|t| Plan::parse(t).ok());
    if parsed(&flags.optimizer).is_some_and(|plan| plan.lr().is_some()) {
        (file.lr, file.schedule) = (None, None);
    }
    if flags.optimizer.is_none()
        && let Some(mut plan) = parsed(&file.optimizer)
        && let Some(schedule) = plan.lr_mut()
    {
        match (flags.lr, &flags.schedule) {
            (None, None) => return file,
            (Some(_), None) => schedule.lr = None,
            (lr, Some(curve)) => {
                let open = Schedule::parse(curve).is_ok_and(|s| s.lr.is_none());
                flags.lr = lr.or(schedule.lr.filter(|_| open));
                *plan.lr_mut() = None;
            }
        }
        file.optimizer = Some(plan.to_string());
    }
    file
}

/// `a` where it says something, else `b`.
fn over(a: Training, b: Training) -> Training {
    fn list(a: Vec<String>, b: Vec<String>) -> Vec<String> {
        if a.is_empty() { b } else { a }
    }
    Training {
        data: a.data.or(b.data),
        target: a.target.or(b.target),
        test: a.test.or(b.test),
        valid: a.valid.or(b.valid),
        split: a.split.or(b.split),
        weight: a.weight.or(b.weight),
        class_weight: a.class_weight.or(b.class_weight),
        seed: a.seed.or(b.seed),
        task: a.task.or(b.task),
        types: list(a.types, b.types),
        keep: list(a.keep, b.keep),
        ignore: list(a.ignore, b.ignore),
        model: a.model.or(b.model),
        freeze: a.freeze.or(b.freeze),
        context: a.context.or(b.context),
        loss: a.loss.or(b.loss),
        no_intercept: a.no_intercept || b.no_intercept,
        l1: a.l1.or(b.l1),
        l2: a.l2.or(b.l2),
        optimizer: a.optimizer.or(b.optimizer),
        lr: a.lr.or(b.lr),
        schedule: a.schedule.or(b.schedule),
        batch: a.batch.or(b.batch),
        epochs: a.epochs.or(b.epochs),
        tolerance: a.tolerance.or(b.tolerance),
        loss_tolerance: a.loss_tolerance.or(b.loss_tolerance),
        patience: a.patience.or(b.patience),
        metric: a.metric.or(b.metric),
        reading: Reading {
            delimiter: a.reading.delimiter.or(b.reading.delimiter),
            header: a.reading.header.or(b.reading.header),
            missing: list(a.reading.missing, b.reading.missing),
        },
    }
}

/// A number that a flag takes, refused in words outside `[0, ∞)`.
fn non_negative(flag: &str, x: Option<f64>) -> Result<Option<f64>, Failure> {
    match x {
        Some(x) if !(x >= 0.0 && x.is_finite()) => {
            Err(Failure::usage(format!("--{flag} must be in [0, ∞), got {x}")))
        }
        _ => Ok(x),
    }
}

/// Reads a value with its own parser; what it says is wrong usage of the flag.
fn parsed<T: std::str::FromStr>(flag: &str, text: Option<&String>) -> Result<Option<T>, Failure>
where
    T::Err: std::fmt::Display,
{
    text.map(|t| t.parse::<T>().map_err(|e| Failure::usage(format!("--{flag}: {e}")))).transpose()
}

/// How a file is read; `text` are columns whose cells keep their text.
///
/// # Errors
/// A delimiter that is not one character, a header that is not yes or no.
pub fn read_options(reading: &Reading, text: Vec<String>) -> Result<ReadOptions, Failure> {
    let delimiter = match reading.delimiter.as_deref() {
        None => None,
        Some("tab" | "\\t" | "\t") => Some(b'\t'),
        Some(c) => match c.as_bytes() {
            [c] if c.is_ascii() && !b"\"\r\n".contains(c) => Some(*c),
            _ => {
                return Err(Failure::usage(format!(
                    "--delimiter takes one ASCII character or tab, got {c:?}"
                )));
            }
        },
    };
    let header = match reading.header.as_deref() {
        None => None,
        Some("yes" | "true") => Some(true),
        Some("no" | "false") => Some(false),
        Some(other) => return Err(Failure::usage(format!("--header takes yes or no, got {other:?}"))),
    };
    Ok(ReadOptions { delimiter, header, missing: reading.missing.clone(), text })
}

/// The job that the settings ask for.
///
/// # Errors
/// Wrong usage: what is missing, unknown, out of range or said twice.
pub fn job(t: &Training, threads: usize) -> Result<Job, Failure> {
    let needed = |what: &str| Failure::usage(format!("{what}; see thalweg fit --help"));
    let data = t.data.clone().ok_or_else(|| needed("name the table: thalweg fit DATA --target COL"))?;
    let is_text = t.target.is_none() && text::is_text(&data);
    let target = match &t.target {
        Some(target) => target.clone(),
        None if is_text => String::new(),
        None => return Err(needed("name the column to predict: --target COL")),
    };
    let model = if is_text { text_model(t)? } else { model(t)? };
    let network = model.is_some();
    let mut types = BTreeMap::new();
    for pair in t.types.iter().flat_map(|list| split_list(list)) {
        let Some((column, kind)) = pair.rsplit_once('=') else {
            return Err(Failure::usage(format!("--types takes COL=TYPE as in zip=category, got {pair:?}")));
        };
        let kind: ColumnType =
            kind.trim().parse().map_err(|e| Failure::usage(format!("--types {column}: {e}")))?;
        types.insert(column.trim().to_string(), kind);
    }
    let text = types.iter().filter(|(_, k)| **k == ColumnType::Category).map(|(c, _)| c.clone()).collect();
    let plan = t.optimizer.as_deref().map(Plan::parse).transpose().map_err(Failure::usage)?;
    let schedule = t.schedule.as_deref().map(Schedule::parse).transpose().map_err(Failure::usage)?;
    let in_plan = plan.as_ref().and_then(|p| p.lr());
    let twice = match (in_plan, &schedule, t.lr) {
        (Some(lr), None, Some(_)) if lr.lr.is_none() => None,
        (Some(_), Some(_), _) => Some("--optimizer and --schedule"),
        (Some(_), None, Some(_)) => Some("--optimizer and --lr"),
        (None, Some(schedule), Some(_)) if schedule.lr.is_some() => Some("--schedule and --lr"),
        _ => None,
    };
    if let Some(who) = twice {
        return Err(Failure::usage(format!("{who} both give the learning rate; leave one out")));
    }
    if t.patience == Some(0) {
        return Err(Failure::usage("--patience must be at least 1"));
    }
    if let Some(epochs) = t.epochs.filter(|n| !(1..=MOST_EPOCHS).contains(n)) {
        return Err(Failure::usage(format!("--epochs must be in [1, {MOST_EPOCHS}], got {epochs}")));
    }
    Ok(Job {
        read: read_options(&t.reading, text)?,
        learn: EncoderOptions {
            weight: t.weight.clone(),
            types,
            keep: t.keep.clone(),
            ignore: t.ignore.clone(),
        },
        task: parsed("task", t.task.as_ref())?,
        class_weight: parsed("class-weight", t.class_weight.as_ref())?.unwrap_or_default(),
        test: parsed("test", t.test.as_ref())?.unwrap_or(Part::Fraction(0.2)),
        valid: parsed("valid", t.valid.as_ref())?.unwrap_or(if network {
            Part::Fraction(NETWORK_VALID)
        } else {
            Part::None
        }),
        split: parsed("split", t.split.as_ref())?.unwrap_or(SplitBy::Shuffled),
        seed: t.seed.unwrap_or(0),
        loss: t.loss.as_deref().map(str::parse::<Loss>).transpose().map_err(Failure::usage)?,
        model,
        freeze: t.freeze.clone(),
        context: t.context,
        intercept: !t.no_intercept,
        l1: non_negative("l1", t.l1)?.unwrap_or(0.0),
        l2: non_negative("l2", t.l2)?,
        plan,
        lr: non_negative("lr", t.lr)?,
        schedule,
        batch: parsed("batch", t.batch.as_ref())?,
        epochs: t.epochs,
        tolerance: non_negative("tolerance", t.tolerance)?.unwrap_or(if network { 0.0 } else { 1e-4 }),
        loss_tolerance: non_negative("loss-tolerance", t.loss_tolerance)?.unwrap_or(0.0),
        patience: t.patience.or(network.then_some(NETWORK_PATIENCE)),
        metric: t.metric.as_deref().map(Metric::parse).transpose().map_err(Failure::usage)?,
        threads: threads_of(threads),
        data,
        target,
    })
}

/// The layers of a network; none for a linear model.
fn model(t: &Training) -> Result<Option<ModelSpec>, Failure> {
    let Some(text) = t.model.as_deref().filter(|m| *m != "linear") else { return Ok(None) };
    let spec = ModelSpec::parse(text).map_err(Failure::usage)?;
    if t.no_intercept {
        return Err(Failure::usage("--no-intercept is for linear; in a network say bias=false in a layer"));
    }
    Ok(Some(spec))
}

/// The layers of a network of text.
fn text_model(t: &Training) -> Result<Option<ModelSpec>, Failure> {
    if t.model.as_deref() == Some("linear") {
        let message = format!("linear is for tables: text needs a network, such as {}", text::DEFAULT_MODEL);
        return Err(Failure::usage(format!("{message}; for a table say --target COL")));
    }
    let asked = Some(t.model.clone().unwrap_or_else(|| text::DEFAULT_MODEL.into()));
    model(&Training { model: asked, ..t.clone() })
}

/// The threads of a run; reading and searching use as many.
pub fn threads_of(n: usize) -> Threads {
    let threads = Threads::new(n);
    // Fails only where a pool runs already, which then stays as it is.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.count()).build_global();
    threads
}

/// A job's error: settings that do not fit are wrong usage, all else is a failed run.
pub fn failure(error: JobError) -> Failure {
    match error {
        JobError::Setting(message) => Failure::Usage(message),
        JobError::Data(DataError::Encode(error @ EncodeError::TwoRoles { .. })) => Failure::usage(error),
        JobError::Linear(LinearError::NotSmooth { .. }) => {
            Failure::Usage(format!("{error}; as in --lr 0.1 --schedule inverse_time"))
        }
        other => Failure::run(other),
    }
}

/// The resolved configuration of a run, and the command that repeats it.
pub struct Resolved {
    /// `config.toml`.
    pub toml: String,
    /// One line for a shell.
    pub command: String,
}

/// Fills every setting in with what was decided.
pub fn resolved(t: &Training, prepared: &Prepared, outcome: &Outcome, folder: &Path) -> Resolved {
    let job = &prepared.job;
    let classes = !prepared.classes().is_empty();
    let text = |x: &dyn ToString| Some(x.to_string());
    // Text has no target, and is cut in its own order.
    let rows = prepared.text.is_none();
    let full = Training {
        data: Some(job.data.clone()),
        target: rows.then(|| job.target.clone()),
        test: t.test.clone().or(text(&0.2)),
        valid: t.valid.clone().or(if job.model.is_some() { text(&NETWORK_VALID) } else { text(&"none") }),
        split: if rows { t.split.clone().or(text(&"shuffled")) } else { text(&"ordered") },
        seed: Some(job.seed),
        task: rows.then(|| if classes { "classes".into() } else { "number".into() }),
        context: job.context,
        model: job.model.as_ref().map_or_else(|| text(&"linear"), |model| text(model)),
        loss: text(&prepared.loss),
        l1: Some(prepared.penalty.l1),
        l2: Some(prepared.penalty.l2),
        optimizer: Some(outcome.optimizer.clone()),
        lr: None,
        schedule: None,
        batch: text(&prepared.batch),
        epochs: Some(prepared.epochs),
        tolerance: Some(job.tolerance),
        loss_tolerance: Some(job.loss_tolerance),
        patience: job.patience,
        metric: text(&prepared.metric.name()),
        ..t.clone()
    };
    let toml = toml::to_string(&full).unwrap_or_default();
    let command = format!(
        "thalweg fit --config {}",
        crate::show::quoted(&folder.join("config.toml").display().to_string())
    );
    Resolved { toml, command }
}
