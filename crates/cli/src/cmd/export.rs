//! `thalweg export`: a saved model as a file for other programs.

use std::io::Write;

use serde_json::{Value, json};
use thalweg_core::Threads;
use thalweg_models::onnx::{Exported, OPSET, Port};
use thalweg_models::saved::{sha256, write_whole};
use thalweg_train::model::Model;

use crate::args;
use crate::failure::Failure;
use crate::show::{self, Align, count};

/// Runs the subcommand.
pub fn run(args: &args::Export) -> Result<(), Failure> {
    let file = &args.onnx;
    if file.is_dir() {
        return Err(Failure::usage(format!("{} is a folder; name a file, as in model.onnx", file.display())));
    }
    if file.is_file() && !args.force {
        return Err(Failure::Run(format!(
            "{} is there already; say --force to replace it, or name another file",
            file.display()
        )));
    }
    let model = Model::load(&args.model, &Threads::serial()).map_err(Failure::run)?;
    let exported = model.to_onnx().map_err(Failure::run)?;
    write_whole(file, |out| out.write_all(&exported.bytes))
        .map_err(|e| Failure::Run(format!("cannot write {}: {e}", file.display())))?;
    let mut out = std::io::stdout().lock();
    if args.json {
        let document = json!({
            "model": model.expression(),
            "loss": model.loss().to_string(),
            "target": model.target(),
            "classes": model.classes(),
            "run": args.model,
            "onnx": file,
            "opset": OPSET,
            "inputs": exported.inputs.iter().map(port).collect::<Vec<_>>(),
            "outputs": exported.outputs.iter().map(port).collect::<Vec<_>>(),
            "bytes": exported.bytes.len(),
            "sha256": sha256(&exported.bytes),
        });
        serde_json::to_writer(&mut out, &document)?;
        writeln!(out)?;
        return Ok(());
    }
    write!(out, "{}", table(&exported))?;
    writeln!(
        out,
        "\n{}: {} bytes, operator set {OPSET}",
        file.display(),
        count(exported.bytes.len() as u64)
    )?;
    Ok(())
}

/// The sizes of an input or a result; an axis of any length is called rows.
fn sizes(port: &Port) -> impl Iterator<Item = String> + '_ {
    port.shape.iter().map(|size| size.map_or("rows".into(), |size| size.to_string()))
}

fn port(port: &Port) -> Value {
    let size = |size: &Option<usize>| size.map_or(json!("rows"), |size| json!(size));
    json!({
        "name": port.name,
        "type": port.kind.name(),
        "shape": port.shape.iter().map(size).collect::<Vec<Value>>(),
        "doc": port.doc,
    })
}

/// What goes in, and what comes out.
fn table(exported: &Exported) -> String {
    let mut rows = vec![["", "name", "type", "shape", ""].map(String::from).to_vec()];
    for (what, ports) in [("in", &exported.inputs), ("out", &exported.outputs)] {
        for port in ports {
            let shape = sizes(port).collect::<Vec<_>>().join(" × ");
            rows.push(vec![what.into(), port.name.clone(), port.kind.name().into(), shape, port.doc.clone()]);
        }
    }
    let width = show::width();
    let table = show::table(&rows, &[Align::Left; 5]);
    table.lines().map(|line| show::cut(line, width) + "\n").collect()
}
