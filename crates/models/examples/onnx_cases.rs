//! Writes networks as ONNX, with rows and what we make of them, for another program to compare.
//!
//! ```text
//! cargo run -p thalweg-models --example onnx_cases FOLDER
//! ```
//!
//! For each case `FOLDER/<case>.onnx`, and `FOLDER/<case>.json` with `inputs` and `outputs`: name → `shape` and `values`, row by row; and `tensors`,
//! the names of the parameters. `tests/python/test_onnx_layers.py` is that program.

#[path = "../tests/onnx/cases.rs"]
mod cases;

use std::path::Path;

use serde_json::{Map, Value, json};
use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Batch, Objective};
use thalweg_models::network::Input;
use thalweg_models::onnx::{Port, Type};

use crate::cases::{Case, cases};

/// Rows of each case.
const ROWS: usize = 7;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("name a folder to write to")?;
    std::fs::create_dir_all(&folder)?;
    for case in cases() {
        write(&case, Path::new(&folder))?;
    }
    Ok(())
}

fn write(case: &Case, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let (network, theta) = case.build();
    let exported = network.to_onnx(&theta, &[])?;
    let (rows, none) = (rows(case), [0.0f32; ROWS]);
    let places = ROWS * network.places();
    let mut scores = vec![0.0f32; places * network.outputs()];
    network.scores(&theta, &rows.batch(&none), &mut scores);
    let mut responses = vec![0.0f32; places * case.loss.responses(network.outputs())];
    network.responses(&theta, &rows.batch(&none), &mut responses);
    let tensor = |port: &Port, values: Value| {
        let shape: Vec<usize> = port.shape.iter().map(|size| size.unwrap_or(ROWS)).collect();
        (port.name.clone(), json!({ "shape": shape, "values": values }))
    };
    let fed = exported.inputs.iter().map(|port| match port.kind {
        Type::Float => tensor(port, json!(rows.dense)),
        _ => tensor(port, json!(rows.own_codes)),
    });
    let made = exported.outputs.iter().zip([&scores, &responses]);
    let made = made.map(|(port, values)| tensor(port, json!(values)));
    let tensors: Vec<&str> = network.layout().tensors().iter().map(|t| t.name.as_str()).collect();
    let document = json!({
        "inputs": fed.collect::<Map<_, _>>(),
        "outputs": made.collect::<Map<_, _>>(),
        "tensors": tensors,
    });
    std::fs::write(folder.join(format!("{}.json", case.name)), document.to_string())?;
    std::fs::write(folder.join(format!("{}.onnx", case.name)), &exported.bytes)?;
    Ok(())
}

/// Rows for a network.
struct Rows {
    dense: Vec<f32>,
    /// As in a batch: counted over all columns.
    codes: Vec<u32>,
    /// Codes of a row.
    code_width: usize,
    /// Each counted from 0 in its own column, −1 unseen.
    own_codes: Vec<i64>,
}

impl Rows {
    /// As a batch, without targets: `none` is as long as there are rows.
    fn batch<'a>(&'a self, none: &'a [f32]) -> Batch<'a, f32> {
        Batch {
            dense: &self.dense,
            width: self.dense.len() / ROWS,
            codes: &self.codes,
            code_width: self.code_width,
            target: none,
            ..Batch::NONE
        }
    }
}

/// Rows in which some codes are unseen.
fn rows(case: &Case) -> Rows {
    let mut stream = Stream::new(12, Purpose::Data, 0);
    let (width, levels) = match case.input {
        Input::Table { numbers, ref levels } => (numbers, levels.clone()),
        Input::Image { channels, height, width } => (channels * height * width, vec![]),
        Input::Sequence { steps, features } => (steps * features, vec![]),
        Input::Tokens { vocabulary, context } => (0, vec![vocabulary; context]),
    };
    let dense = (0..ROWS * width).map(|_| stream.normal() as f32).collect();
    let (mut codes, mut own_codes) = (vec![], vec![]);
    for row in 0..ROWS {
        let mut first = 0;
        for (j, &size) in levels.iter().enumerate() {
            let own = stream.below(size as u32);
            let unseen = (row + 2 * j) % 6 == 5;
            codes.push(if unseen { Batch::<f32>::UNSEEN } else { first + own });
            own_codes.push(if unseen { -1 } else { i64::from(own) });
            if !matches!(case.input, Input::Tokens { .. }) {
                first += size as u32;
            }
        }
    }
    Rows { dense, codes, code_width: levels.len(), own_codes }
}
