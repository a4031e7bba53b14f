//! `thalweg inspect`: what a saved model is.

use std::io::Write;

use serde_json::{Value, json};
use thalweg_core::Threads;
use thalweg_data::text::Unit;
use thalweg_data::{Code, Encoder};
use thalweg_models::layers::{Row, default_width};
use thalweg_models::linear::Linear;
use thalweg_models::network::Network;
use thalweg_train::model::{Coefficients, Model};
use thalweg_train::text::{self, ORDER};

use crate::args;
use crate::failure::Failure;
use crate::show::{self, Align, count, number};

/// Coefficients that are shown unless all are asked for.
const SHOWN: usize = 30;
/// Letters that are shown of a name.
const NAME: usize = 32;

/// Runs the subcommand.
pub fn run(args: &args::Inspect) -> Result<(), Failure> {
    let model = Model::load(&args.model, &Threads::serial()).map_err(Failure::run)?;
    let coefficients = model.coefficients();
    let mut out = std::io::stdout().lock();
    if args.json {
        let mut document = json!({
            "model": model.expression(),
            "loss": model.loss().to_string(),
            "target": model.target(),
            "classes": model.classes(),
            "parameters": model.parameters(),
            "training": model.training,
            "score": model.score,
        });
        if let Some(vocabulary) = &model.text {
            document["target"] = Value::Null;
            document["unit"] = json!(text::unit(vocabulary));
            document["vocabulary"] = json!(vocabulary.len());
            document["characters"] = json!(vocabulary.characters().iter().collect::<String>());
            document["context"] = json!(model.context());
        }
        match model.network() {
            Some(network) => document["layers"] = network.describe().iter().map(layer).collect(),
            None => {
                document["intercept"] = json!(coefficients.intercept);
                document["coefficients"] = json!(coefficients.sorted);
            }
        }
        serde_json::to_writer(&mut out, &document)?;
        writeln!(out)?;
        return Ok(());
    }
    let classes = model.classes();
    let what = if classes.is_empty() { "a number".into() } else { format!("classes {}", classes.join(", ")) };
    match model.linear().map(Linear::shape) {
        Some(shape) => writeln!(
            out,
            "model      {}, {} features, {} outputs",
            shape.expression(),
            shape.inputs(),
            shape.outputs
        )?,
        None => {
            writeln!(
                out,
                "model      {}, {} parameters",
                model.expression(),
                count(model.parameters() as u64)
            )?;
        }
    }
    match &model.text {
        Some(vocabulary) => {
            let unit = text::unit(vocabulary);
            let known = match vocabulary.unit() {
                Unit::Character => format!("{} of its own and \"other\"", vocabulary.characters().len()),
                Unit::Byte => "256".into(),
            };
            let context = model.context().unwrap_or_default();
            writeln!(out, "text       the next {unit} of {known}, from up to {context} before it")?;
        }
        None => writeln!(out, "target     {}: {what}", model.target())?,
    }
    writeln!(
        out,
        "loss       {}, l1 {}, l2 {}",
        model.loss(),
        number(model.training.l1, 4),
        number(model.training.l2, 4)
    )?;
    let rows = model.text.as_ref().map_or("row", text::unit);
    writeln!(out, "trained    {} {rows}s, seed {}", count(model.training.rows), model.training.seed)?;
    writeln!(out, "optimizer  {}", model.training.optimizer)?;
    if let Some(score) = &model.score {
        let interval = score.interval.map(|[a, b]| format!(" (95%: {} to {})", number(a, 4), number(b, 4)));
        let interval = interval.unwrap_or_default();
        writeln!(
            out,
            "score      {} {}{interval} on {} {rows}s",
            score.metric,
            number(score.value, 4),
            count(score.rows)
        )?;
        if let (Some(baseline), Some(_)) = (score.baseline, &model.text) {
            writeln!(out, "baseline   {} by a {ORDER}-gram", number(baseline, 4))?;
        }
    }
    writeln!(out)?;
    if let Some(network) = model.network() {
        write!(out, "{}", layers(network, &model.encoder))?;
        return Ok(());
    }
    let most = if args.all { usize::MAX } else { SHOWN };
    write!(out, "{}", table(&coefficients, classes, most, Align::Right))?;
    let left = coefficients.sorted.len().saturating_sub(most);
    if left > 0 {
        writeln!(out, "  and {left} more: --all")?;
    }
    Ok(())
}

/// A layer as JSON.
fn layer(row: &Row) -> Value {
    json!({
        "place": row.place,
        "layer": row.layer,
        "output": row.output,
        "parameters": row.parameters,
        "multiply_adds": row.multiply_adds,
    })
}

/// The layers of a network as a table, the embeddings of categories above them.
pub fn layers(network: &Network<f32>, encoder: &Encoder) -> String {
    let mut rows = vec![["", "layer", "output", "parameters", "multiply-adds"].map(String::from).to_vec()];
    let categories = encoder.columns.iter().filter(|c| matches!(c.code, Code::Category { .. }));
    for (place, column) in categories.enumerate() {
        let levels = column.code.levels();
        let width = default_width(levels);
        let layer = format!("{}, {} levels", show::cut(&column.name, NAME), count(levels as u64));
        let parameters = count((levels * width) as u64);
        rows.push(vec![format!("embeddings.{place}"), layer, width.to_string(), parameters, "0".into()]);
    }
    for row in network.describe() {
        let output: Vec<String> = row.output.iter().map(ToString::to_string).collect();
        rows.push(vec![
            row.place.clone(),
            row.layer.clone(),
            output.join(" × "),
            count(row.parameters as u64),
            count(row.multiply_adds),
        ]);
    }
    show::table(&rows, &[Align::Left, Align::Left, Align::Right, Align::Right, Align::Right])
}

/// Intercepts and the largest weights as a table.
pub fn table(coefficients: &Coefficients, classes: &[String], most: usize, numbers: Align) -> String {
    let by_class = coefficients.sorted.iter().any(|c| c.class.is_some());
    let mut rows = vec![vec![
        "feature".to_string(),
        "category".into(),
        "class".into(),
        "coefficient".into(),
        "weight".into(),
    ]];
    for c in coefficients.sorted.iter().take(most) {
        rows.push(vec![
            show::cut(&c.feature, NAME),
            show::cut(c.level.as_deref().unwrap_or_default(), NAME),
            show::cut(c.class.as_deref().unwrap_or_default(), NAME),
            number(c.coefficient, 4),
            number(c.weight, 4),
        ]);
    }
    for (k, intercept) in coefficients.intercept.iter().enumerate().take(most) {
        let class = classes.get(k).filter(|_| by_class).map_or("", String::as_str);
        let class = show::cut(class, NAME);
        rows.push(vec!["(intercept)".into(), String::new(), class, number(*intercept, 4), String::new()]);
    }
    // Columns that are empty throughout are left out.
    let used: Vec<usize> = (0..5).filter(|&c| rows.iter().skip(1).any(|r| !r[c].is_empty())).collect();
    let align = [Align::Left, Align::Left, Align::Left, numbers, numbers];
    let rows: Vec<Vec<String>> = rows.iter().map(|r| used.iter().map(|&c| r[c].clone()).collect()).collect();
    let align: Vec<Align> = used.iter().map(|&c| align[c]).collect();
    let text = show::table(&rows, &align);
    match classes {
        [_, positive] if !by_class => format!("{text}  What is above 0 speaks for {positive:?}.\n"),
        _ => text,
    }
}
