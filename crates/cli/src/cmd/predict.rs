//! `thalweg predict`: a saved model's predictions for a table, as CSV.

use std::io::{self, Write};

use thalweg_core::Threads;
use thalweg_data::Dataset;
use thalweg_models::saved::write_whole;
use thalweg_train::images::rows_for;
use thalweg_train::metrics::argmax;
use thalweg_train::model::Model;
use thalweg_train::source::{Source, Targets};

use crate::args;
use crate::failure::Failure;
use crate::settings;
use crate::show;

/// Runs the subcommand.
pub fn run(args: &args::Predict) -> Result<(), Failure> {
    let model = Model::load(&args.model, &Threads::new(0)).map_err(Failure::run)?;
    if model.text.is_some() {
        return Err(Failure::usage(
            "predict writes a line for each row, and a model of text has no rows: thalweg generate goes on with a text, \
             thalweg evaluate scores one",
        ));
    }
    if args.proba && model.classes().is_empty() {
        return Err(Failure::usage("--proba is for classes; this model predicts a number"));
    }
    let (data, names) = rows(&model, args)?;
    let responses = model.respond(&data);
    let write =
        |out: &mut dyn Write| write(&model, &responses, &names, args.proba, &mut io::BufWriter::new(out));
    match &args.out {
        Some(path) => write_whole(path, |out| write(out))
            .map_err(|e| Failure::Run(format!("cannot write {}: {e}", path.display()))),
        None => Ok(write(&mut io::stdout().lock())?),
    }
}

/// Reads and encodes all rows; images of a folder have names.
fn rows(model: &Model, args: &args::Predict) -> Result<(Dataset<f64>, Vec<String>), Failure> {
    let table = match settings::rows_for(model, &args.data, Targets::Unasked, &args.reading)? {
        Source::Table(table) => table,
        Source::Images(mut images) => {
            let coder = model.images.as_ref().ok_or_else(|| settings::no_images(&args.data))?;
            let names = std::mem::take(&mut images.names);
            return Ok((rows_for(coder, images, false).map_err(settings::failure)?, names));
        }
    };
    if let Some(note) = model.encoder.extra_columns(&table) {
        show::note(&note.to_string());
    }
    let data = model.encoder.encode(&table, &table.all_rows(), false).map_err(Failure::run)?;
    Ok((data, vec![]))
}

/// One line for each row: `prediction`, or `proba_<class>` for each class, behind `file` where rows have names. Numbers read back
/// as the same number.
fn write(
    model: &Model,
    responses: &[f64],
    names: &[String],
    proba: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let classes = model.classes();
    if classes.is_empty() {
        writeln!(out, "prediction")?;
        responses.iter().try_for_each(|y| writeln!(out, "{y}"))?;
        return out.flush();
    }
    let mut columns: Vec<String> = if names.is_empty() { vec![] } else { vec!["file".into()] };
    match proba {
        true => columns.extend(classes.iter().map(|c| field(&format!("proba_{c}")))),
        false => columns.push("prediction".into()),
    }
    writeln!(out, "{}", columns.join(","))?;
    let labels: Vec<String> = classes.iter().map(|c| field(c)).collect();
    for (i, row) in responses.chunks_exact(classes.len()).enumerate() {
        if let Some(name) = names.get(i) {
            write!(out, "{},", field(name))?;
        }
        if proba {
            for (k, p) in row.iter().enumerate() {
                write!(out, "{}{p}", if k == 0 { "" } else { "," })?;
            }
            writeln!(out)?;
        } else {
            writeln!(out, "{}", labels[argmax(row)])?;
        }
    }
    out.flush()
}

/// A field of CSV: in quotes if it needs them.
fn field(text: &str) -> String {
    let blank = text.starts_with(' ') || text.ends_with(' ') || text.is_empty();
    if blank || text.contains(['"', ',', '\n', '\r', ';', '\t', '|']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into()
    }
}
