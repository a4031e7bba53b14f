//! `thalweg predict`: a saved model's predictions for a table, as CSV.

use std::io::{self, Write};

use thalweg_core::Threads;
use thalweg_data::{Dataset, Images};
use thalweg_models::saved::write_whole;
use thalweg_train::metrics::argmax;
use thalweg_train::model::Model;

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
    let data = rows(&model, args)?;
    let responses = model.respond(&data);
    match &args.out {
        Some(path) => {
            write_whole(path, |out| write(&model, &responses, args.proba, &mut io::BufWriter::new(out)))
                .map_err(|e| Failure::Run(format!("cannot write {}: {e}", path.display())))
        }
        None => Ok(write(&model, &responses, args.proba, &mut io::BufWriter::new(io::stdout().lock()))?),
    }
}

/// Reads and encodes all rows.
fn rows(model: &Model, args: &args::Predict) -> Result<Dataset<f64>, Failure> {
    if let Some(coder) = &model.images {
        let images = Images::from_idx(&args.data, None).map_err(Failure::run)?;
        let all: Vec<u32> = (0..images.count as u32).collect();
        return coder.encode(&images, &all, false).map_err(Failure::run);
    }
    let read = settings::read_options(&args.reading, model.encoder.text_columns())?;
    let table = thalweg_data::read(&args.data, &read).map_err(Failure::run)?;
    if let Some(note) = model.encoder.extra_columns(&table) {
        show::note(&note.to_string());
    }
    model.encoder.encode(&table, &table.all_rows(), false).map_err(Failure::run)
}

/// One line for each row: `prediction`, or `proba_<class>` for each class. Numbers read back as the same number.
fn write(model: &Model, responses: &[f64], proba: bool, out: &mut impl Write) -> io::Result<()> {
    let classes = model.classes();
    if classes.is_empty() {
        writeln!(out, "prediction")?;
        responses.iter().try_for_each(|y| writeln!(out, "{y}"))?;
        return out.flush();
    }
    let names: Vec<String> = if proba {
        classes.iter().map(|c| field(&format!("proba_{c}"))).collect()
    } else {
        vec!["prediction".into()]
    };
    writeln!(out, "{}", names.join(","))?;
    let labels: Vec<String> = classes.iter().map(|c| field(c)).collect();
    for row in responses.chunks_exact(classes.len()) {
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
