//! What a job leaves open, decided by its data: batch, loss, metric, what the target is; and what it asks for that cannot be.

use std::path::PathBuf;

use thalweg_data::input;
use thalweg_data::{
    BatchSize, ClassWeight, DataError, Dataset, Encoder, Part, Target, TargetError, Task, TaskKind,
};
use thalweg_models::losses::{self, Loss};
use thalweg_optim::Plan;
use thalweg_optim::rules::Rate;

use crate::job::{Job, JobError};
use crate::metrics::Metric;

/// Rows up to which a batch is the whole training part.
const FULL_UP_TO: usize = 4096;
/// Rows of a batch beyond that.
const BATCH: usize = 1024;
/// Rows of a batch for rules that look at single rows.
pub(crate) const BATCH_OF_ROWS: usize = 32;
/// The rate of plain descent on a network, whose curvature nobody measures.
const NETWORK_DESCENT: f64 = 0.05;

/// A learning rate for networks: the library's default of the rule, and for plain descent one that most networks learn with.
pub(crate) fn network_rate(plan: &Plan) -> f64 {
    if plan.entry().rate == Rate::Curvature { NETWORK_DESCENT } else { plan.entry().lr }
}

/// Rows in a batch: what was asked for, or what suits the optimizer and the number of rows.
pub(crate) fn batch_of(job: &Job, rows: usize, notes: &mut Vec<String>) -> Result<BatchSize, JobError> {
    let needs = job.plan.as_ref().map(Plan::needs).unwrap_or_default();
    // A batch of all rows is the full batch.
    let asked = job.batch.map(|batch| if batch.of(rows) == rows { BatchSize::Full } else { batch });
    let name = job.plan.as_ref().map_or("", Plan::short_name);
    match asked {
        Some(BatchSize::Rows(n)) if needs.full_batch => Err(JobError::Setting(format!(
            "{name} works on all {rows} training rows at once, and --batch {n} asks for fewer; leave --batch out, or say --batch full"
        ))),
        Some(batch) => Ok(batch),
        None if needs.full_batch => {
            if rows > FULL_UP_TO {
                notes.push(format!("batch: all {rows} rows, which {name} works on at once"));
            }
            Ok(BatchSize::Full)
        }
        None if needs.rows && rows > BATCH_OF_ROWS => {
            notes.push(format!(
                "batch: {BATCH_OF_ROWS} rows, since {name} corrects the noise of small batches"
            ));
            Ok(BatchSize::Rows(BATCH_OF_ROWS))
        }
        None if job.model.is_some() => Ok(match BATCH_OF_ROWS {
            n if rows > n => BatchSize::Rows(n),
            _ => BatchSize::Full,
        }),
        None if rows <= FULL_UP_TO => Ok(BatchSize::Full),
        None => Ok(BatchSize::Rows(BATCH)),
    }
}

/// Rows that give the score are used for nothing else: nothing may be two parts, nor lie in another.
pub(crate) fn check_files(job: &Job) -> Result<(), JobError> {
    let file = |part: &Part| if let Part::File(file) = part { Some(file.clone()) } else { None };
    let parts =
        [("DATA", Some(job.data.clone())), ("--valid", file(&job.valid)), ("--test", file(&job.test))];
    // An array of an archive is a file in a folder.
    let real = |path: &PathBuf| match input::archive(path) {
        Some((file, member)) => file.canonicalize().ok().map(|f| member.map_or(f.clone(), |m| f.join(m))),
        None => path.canonicalize().ok(),
    };
    for (i, (b, second)) in parts.iter().enumerate() {
        for (a, first) in &parts[..i] {
            let (Some(first), Some(second)) = (first, second) else { continue };
            let (Some(one), Some(other)) = (real(first), real(second)) else { continue };
            let what = if one.is_dir() { "folder" } else { "file" };
            if one == other {
                let message =
                    format!("{a} and {b} are one {what}, {}: its rows cannot be both", second.display());
                return Err(JobError::Setting(message));
            }
            if one.starts_with(&other) || other.starts_with(&one) {
                let (first, second) = (first.display(), second.display());
                let message = format!(
                    "of {a} {first} and {b} {second}, one lies in the other: its rows cannot be both"
                );
                return Err(JobError::Setting(message));
            }
        }
    }
    Ok(())
}

/// The loss of a target of so many classes, or of a number (0 classes): the one that was asked for, or the one that suits.
pub(crate) fn loss_of(job: &Job, classes: usize, target: &str) -> Result<Loss, JobError> {
    let smooth = job.label_smoothing > 0.0;
    let loss = job.loss.unwrap_or(match classes {
        0 => Loss::SQUARED,
        2 if !smooth => Loss::LOGISTIC,
        _ => Loss::SOFTMAX,
    });
    if loss.task() == losses::Task::TwoClasses && classes > 2 {
        let message = format!("{loss} is for two classes, and {target:?} has {classes}; take softmax");
        return Err(JobError::Setting(message));
    }
    if smooth && job.model.is_none() {
        return Err(JobError::Setting("--label-smoothing is for networks, and the model is linear".into()));
    }
    if smooth && loss != Loss::SOFTMAX {
        return Err(JobError::Setting(format!(
            "--label-smoothing goes with softmax, and the loss is {loss}"
        )));
    }
    Ok(loss)
}

/// The kind of target that was asked for, by `--task` or by a loss that is made for one kind.
pub(crate) fn task_asked(job: &Job) -> Result<Option<TaskKind>, JobError> {
    let by_loss = job.loss.map(|l| if l.task().is_classes() { TaskKind::Classes } else { TaskKind::Number });
    match (job.task, by_loss, job.loss) {
        (Some(a), Some(b), Some(loss)) if a != b => {
            let what = if b == TaskKind::Classes { "classes" } else { "a number" };
            Err(JobError::Setting(format!("the loss {loss} is for {what}, and --task says otherwise")))
        }
        (task, by_loss, _) => Ok(task.or(by_loss)),
    }
}

/// What [`Target::infer`] says, and the loss if that is why a number is expected.
pub(crate) fn target_error(job: &Job, error: TargetError) -> JobError {
    match (error, job.task, job.loss) {
        (TargetError::NotANumber { file, line, target, found }, None, Some(loss)) => {
            let what = format!(
                "the loss {loss} is for numbers, found {found:?}; say --missing {found:?} if it stands for a missing value, \
                 or leave --loss out"
            );
            JobError::Target { file, line, target, what }
        }
        (error, ..) => DataError::from(error).into(),
    }
}

pub(crate) fn target_note(job: &Job, target: &Target) -> String {
    let (what, other) = match &target.task {
        Task::Classes(classes) => {
            let shown: Vec<&str> = classes.iter().take(6).map(String::as_str).collect();
            let more = if classes.len() > 6 { ", …" } else { "" };
            (format!("{} classes ({}{more})", classes.len(), shown.join(", ")), "number")
        }
        Task::Number => ("a number".into(), "classes"),
    };
    // Classes that are words cannot be taken for numbers.
    let open = match &target.task {
        Task::Classes(classes) => classes.iter().all(|c| c.parse::<f64>().is_ok()),
        Task::Number => true,
    };
    let asked = job.task.is_some() || job.loss.is_some();
    let how = if open && !asked { format!(" (--task {other} to change that)") } else { String::new() };
    let mut note = format!("target {:?}: {what}{how}; {} rows", job.target, target.rows.len());
    for (n, why) in [(target.missing, "without a target"), (target.weightless, "of weight 0")] {
        if n > 0 {
            note += &format!(", {n} more {why} left out");
        }
    }
    note
}

pub(crate) fn metric(job: &Job, classes: &[String], target: &str) -> Result<Metric, JobError> {
    let metric = job.metric.unwrap_or(if classes.is_empty() { Metric::R2 } else { Metric::Accuracy });
    if metric.is_for_text() {
        let message = format!("the metric {} is for text, and {:?} is a column", metric.name(), job.target);
        return Err(JobError::Setting(message));
    }
    if metric.is_for_classes() == classes.is_empty() {
        let (is, has) = if classes.is_empty() { ("classes", "a number") } else { ("numbers", "classes") };
        let message = format!("the metric {} is for {is}, and {target:?} is {has}", metric.name());
        return Err(JobError::Setting(message));
    }
    if metric == Metric::RocAuc && classes.len() > 2 {
        return Err(JobError::Setting(format!(
            "roc_auc is for two classes, and {target:?} has {}",
            classes.len()
        )));
    }
    Ok(metric)
}

/// The shares of the classes, or the mean in the target's own units.
pub(crate) fn answer(train: &Dataset<f64>, encoder: &Encoder, classes: usize) -> Vec<f64> {
    let weight = |i: usize| train.weight.as_ref().map_or(1.0, |w| w[i]);
    let total: f64 = (0..train.len()).map(weight).sum();
    if classes == 0 {
        let mean = (0..train.len()).map(|i| weight(i) * train.target[i]).sum::<f64>() / total;
        let (center, scale) = crate::model::target_scale(encoder);
        return vec![center + scale * mean];
    }
    // Divided once: classes of equal weight have equal shares, to the bit.
    let mut of = vec![0.0; classes];
    (0..train.len()).for_each(|i| of[train.target[i] as usize] += weight(i));
    of.into_iter().map(|w| w / total).collect()
}

/// The weight of each class, if they differ.
pub(crate) fn class_weights(
    train: &Dataset<f64>,
    classes: &[String],
    weight: &ClassWeight,
) -> Result<Option<Vec<f64>>, JobError> {
    if *weight == ClassWeight::None {
        return Ok(None);
    }
    if classes.is_empty() {
        return Err(JobError::Setting("--class-weight is for classes, and the target is a number".into()));
    }
    let factors = weight.factors(classes, train).map_err(DataError::from)?;
    if train.target.iter().all(|&class| factors[class as usize] == 0.0) {
        return Err(JobError::Setting("--class-weight leaves no row with a weight above 0".into()));
    }
    Ok(factors.iter().any(|&f| f != 1.0).then_some(factors))
}
