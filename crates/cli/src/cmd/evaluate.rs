//! `thalweg evaluate`: scores a saved model on a table.

use std::io::Write;
use std::time::Instant;

use serde_json::{Value, json};
use thalweg_core::Threads;
use thalweg_data::Dataset;
use thalweg_data::text::Vocabulary;
use thalweg_train::images::read_labelled;
use thalweg_train::metrics::Metric;
use thalweg_train::model::Model;
use thalweg_train::text::{self, Foreseen};

use crate::args::{self, Reading};
use crate::failure::Failure;
use crate::settings;
use crate::show::{self, Align, count, number};

/// Runs the subcommand.
pub fn run(args: &args::Evaluate) -> Result<(), Failure> {
    let began = Instant::now();
    let threads = Threads::new(0);
    let model = Model::load(&args.model, &threads).map_err(Failure::run)?;
    if let Some(vocabulary) = &model.text {
        return text(&model, vocabulary, args, began);
    }
    let classes = model.classes().len();
    let stored = model.score.as_ref().and_then(|s| Metric::parse(&s.metric).ok());
    let metric = match args.metric.as_deref().map(Metric::parse).transpose().map_err(Failure::usage)? {
        Some(metric) if metric.is_for_text() || metric.is_for_classes() != (classes > 0) => {
            let is = if classes > 0 { "classes" } else { "a number" };
            return Err(Failure::usage(format!(
                "the metric {} does not fit: the model predicts {is}",
                metric.name()
            )));
        }
        Some(Metric::RocAuc) if classes > 2 => {
            return Err(Failure::usage(format!("roc_auc is for two classes, and the model has {classes}")));
        }
        Some(metric) => metric,
        None => stored.unwrap_or(if classes > 0 { Metric::Accuracy } else { Metric::R2 }),
    };
    let Rows { data, missing, note } = rows(&model, args)?;
    let judged = model.judge(&data);
    let score = judged.score(metric);
    let all = judged.scores();
    let loss = model.mean_loss(&data);
    let mut out = std::io::stdout().lock();
    if args.json {
        let scores: serde_json::Map<_, _> =
            all.iter().map(|s| (s.metric.name().to_string(), json!(s.value))).collect();
        let document = json!({
            "task": if classes > 0 { "classes" } else { "number" },
            "target": model.target(),
            "model": model.expression(),
            "optimizer": model.training.optimizer,
            "metric": metric.name(),
            "score": score.value,
            "score_interval": score.interval,
            "scores": scores,
            "loss": loss,
            "train_loss": model.training.train_loss,
            "valid_loss": model.training.valid_loss,
            "epochs": model.training.epochs,
            "steps": model.training.steps,
            "stop": model.training.stop,
            "seconds": began.elapsed().as_secs_f64(),
            "rows": data.len(),
            "rows_without_target": missing,
            "run": args.model,
        });
        serde_json::to_writer(&mut out, &document)?;
        writeln!(out)?;
        return Ok(());
    }
    note.iter().for_each(|note| show::note(note));
    let left = if missing > 0 {
        format!(" ({} without a target left out)", count(missing as u64))
    } else {
        String::new()
    };
    writeln!(
        out,
        "{} on {} rows of {}{left}",
        model.target(),
        count(data.len() as u64),
        args.data.display()
    )?;
    let mut table = vec![vec!["score".to_string(), "value".into(), "95% interval".into()]];
    for s in &all {
        let interval =
            s.interval.map_or(String::new(), |(a, b)| format!("{} to {}", number(a, 4), number(b, 4)));
        table.push(vec![s.metric.title().into(), number(s.value, 5), interval]);
    }
    table.push(vec![format!("loss ({})", model.loss()), number(loss, 5), String::new()]);
    write!(out, "{}", show::table(&table, &[Align::Left, Align::Right, Align::Left]))?;
    Ok(())
}

/// Scores a model of text.
fn text(
    model: &Model,
    vocabulary: &Vocabulary,
    args: &args::Evaluate,
    began: Instant,
) -> Result<(), Failure> {
    let Reading { delimiter, header, missing } = &args.reading;
    let wrong = [
        ("--target", args.target.is_some()),
        ("--delimiter", delimiter.is_some()),
        ("--header", header.is_some()),
        ("--missing", !missing.is_empty()),
    ];
    if let Some((flag, _)) = wrong.iter().find(|(_, given)| *given) {
        return Err(Failure::usage(format!("{flag} does not fit: the model is one of text")));
    }
    let metric = Metric::BitsPerCharacter;
    if args
        .metric
        .as_deref()
        .map(Metric::parse)
        .transpose()
        .map_err(Failure::usage)?
        .is_some_and(|m| m != metric)
    {
        return Err(Failure::usage(format!("the metric of a model of text is {}", metric.name())));
    }
    let (text, notes) = text::read_for(vocabulary, &args.data).map_err(Failure::run)?;
    notes.iter().for_each(|note| show::note(note));
    let foreseen = text::evaluate(model, &text).transpose().map_err(Failure::run)?;
    let Some(Foreseen { score, loss, symbols, others }) = foreseen else { return Ok(()) };
    if others > 0 {
        show::note(&format!(
            "{} characters that the model does not tell apart count as \"other\"",
            count(others as u64)
        ));
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        let document = json!({
            "task": "text",
            "target": Value::Null,
            "unit": text::unit(vocabulary),
            "model": model.expression(),
            "optimizer": model.training.optimizer,
            "metric": metric.name(),
            "score": score.value,
            "score_interval": score.interval,
            "scores": { metric.name(): score.value },
            "loss": loss,
            "train_loss": model.training.train_loss,
            "valid_loss": model.training.valid_loss,
            "epochs": model.training.epochs,
            "steps": model.training.steps,
            "stop": model.training.stop,
            "seconds": began.elapsed().as_secs_f64(),
            "rows": symbols,
            "others": others,
            "run": args.model,
        });
        serde_json::to_writer(&mut out, &document)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "{} {}s of {}", count(symbols as u64), text::unit(vocabulary), args.data.display())?;
    let interval =
        score.interval.map_or(String::new(), |(a, b)| format!("{} to {}", number(a, 4), number(b, 4)));
    let table = [
        ["score".to_string(), "value".into(), "95% interval".into()].to_vec(),
        vec![text::title(vocabulary), number(score.value, 5), interval],
        vec![format!("loss ({})", model.loss()), number(loss, 5), String::new()],
    ];
    write!(out, "{}", show::table(&table, &[Align::Left, Align::Right, Align::Left]))?;
    Ok(())
}

/// What is scored.
struct Rows {
    /// In the units of training.
    data: Dataset<f64>,
    /// Rows without a target.
    missing: usize,
    /// What is to be said of columns that the model does not take.
    note: Option<String>,
}

/// Reads and encodes rows that have a target.
fn rows(model: &Model, args: &args::Evaluate) -> Result<Rows, Failure> {
    if let Some(coder) = &model.images {
        let images = read_labelled(&args.data, args.target.as_deref()).map_err(Failure::run)?;
        let all: Vec<u32> = (0..images.count as u32).collect();
        let data = coder.encode(&images, &all, true).map_err(Failure::run)?;
        return Ok(Rows { data, missing: 0, note: None });
    }
    if args.target.is_some() {
        return Err(Failure::usage("--target is for images: a table has its target in a column"));
    }
    let read = settings::read_options(&args.reading, model.encoder.text_columns())?;
    let table = thalweg_data::read(&args.data, &read).map_err(Failure::run)?;
    let (rows, missing) = model.encoder.rows_with_target(&table).map_err(Failure::run)?;
    if rows.is_empty() {
        return Err(Failure::Run(format!("{}: no row has a target", args.data.display())));
    }
    let mut data: Dataset<f64> = model.encoder.encode(&table, &rows, true).map_err(Failure::run)?;
    model.standardise(&mut data);
    Ok(Rows { data, missing, note: model.encoder.extra_columns(&table).map(|note| note.to_string()) })
}
