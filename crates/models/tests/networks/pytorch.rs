//! Networks follow PyTorch: the losses of 20 steps of SGD with momentum and of Adam from the same weights on the same batches.
//!
//! Recorded by `scripts/reference/networks.py`; the file's notes give the formulas of weights and data.

use serde_json::Value;
use thalweg_autodiff::Number;
use thalweg_core::{Batch, Float, Kind, Objective, Params};
use thalweg_models::losses::Loss;
use thalweg_models::network::{Criterion, Input, ModelSpec, Network, Output};
use thalweg_optim::rules::Build;

use crate::common::run;

const ROWS: usize = 8;
const BATCHES: usize = 4;
const STEPS: usize = 20;

fn splitmix(seed: u64, i: usize) -> u64 {
    let mut z = ((seed << 32) + i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn number(seed: u64, i: usize) -> f64 {
    (splitmix(seed, i) >> 48) as f64 / 32768.0 - 1.0
}

fn code(seed: u64, i: usize, k: u64) -> u32 {
    ((splitmix(seed, i) >> 40) % k) as u32
}

fn fnv(name: &str) -> u64 {
    name.bytes().fold(0x811c_9dc5, |h, byte| ((h ^ u64::from(byte)) * 0x0100_0193) & 0xffff_ffff)
}

fn start<F: Float + Number>(network: &Network<F>) -> Params<F> {
    let mut theta = Params::zeros(network.layout());
    for tensor in network.layout().tensors() {
        let fan_in: usize = tensor.shape[1..].iter().product();
        let e = (0..).find(|&e| 1 << (2 * e) >= fan_in).unwrap();
        for (i, w) in theta.tensor_mut(&tensor.name).iter_mut().enumerate() {
            let x = number(fnv(&tensor.name), i);
            *w = F::from_f64(match tensor.kind {
                Kind::Gain => 1.0 + x / 4.0,
                _ if tensor.shape.len() == 1 => x / 16.0,
                _ => x / f64::from(1u32 << e),
            });
        }
    }
    theta
}

fn sizes(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect()
}

/// Rows as the script makes them.
struct Data<F> {
    dense: Vec<F>,
    width: usize,
    codes: Vec<u32>,
    code_width: usize,
    target: Vec<F>,
}

impl<F: Float> Data<F> {
    fn new(case: &Value, b: u64) -> Self {
        let input = &case["input"];
        let width = input.get("shape").map_or(0, |shape| sizes(shape).iter().product());
        let dense = (0..ROWS * width).map(|i| F::from_f64(number(1000 + b, i))).collect();
        let (mut codes, mut code_width) = (Vec::new(), 0);
        if let Some(levels) = input.get("levels").map(sizes) {
            code_width = levels.len();
            for row in 0..ROWS {
                let mut first = 0;
                for (j, &k) in levels.iter().enumerate() {
                    codes.push(first + code(2000 + 100 * j as u64 + b, row, k as u64));
                    first += k as u32;
                }
            }
        }
        if let Some(k) = input.get("vocabulary").and_then(Value::as_u64) {
            let next = case["target"] == "next";
            code_width = input["context"].as_u64().unwrap() as usize + usize::from(next);
            codes = (0..ROWS * code_width).map(|i| code(2000 + b, i, k)).collect();
        }
        let target = (0..ROWS).map(|i| match &case["target"] {
            Value::Number(k) => f64::from(code(3000 + b, i, k.as_u64().unwrap())),
            Value::String(s) if s == "count" => f64::from(code(3000 + b, i, 4)),
            Value::String(s) if s == "two" => f64::from(code(3000 + b, i, 2)),
            _ => number(3000 + b, i),
        });
        Self { dense, width, codes, code_width, target: target.map(F::from_f64).collect() }
    }
    fn batch(&self) -> Batch<'_, F> {
        Batch {
            dense: &self.dense,
            width: self.width,
            codes: &self.codes,
            code_width: self.code_width,
            target: &self.target,
            weight: None,
            index: None,
        }
    }
}

fn network<F: Float + Number>(case: &Value) -> Network<F> {
    let spec = ModelSpec::parse(case["model"].as_str().unwrap()).unwrap();
    let given = &case["input"];
    let shape = given.get("shape").map_or(vec![], sizes);
    let input = match (given.get("vocabulary").and_then(Value::as_u64), &shape[..]) {
        (Some(vocabulary), _) => {
            let context = given["context"].as_u64().unwrap() as usize;
            Input::Tokens { vocabulary: vocabulary as usize, context }
        }
        (None, &[channels, height, width]) => Input::Image { channels, height, width },
        (None, &[steps, features]) => Input::Sequence { steps, features },
        _ => Input::Table { numbers: shape[0], levels: given.get("levels").map_or(vec![], sizes) },
    };
    let output = match &case["target"] {
        Value::String(s) if s == "next" => Output::NextToken,
        Value::Number(k) => Output::Row(k.as_u64().unwrap() as usize),
        _ => Output::Row(1),
    };
    let mut criterion = Criterion::from(case["loss"].as_str().unwrap().parse::<Loss>().unwrap());
    if case["name"] == "table" {
        criterion.class_weights = Some(vec![1.0, 0.5, 2.0]);
        criterion.smoothing = 0.1;
    }
    Network::new(&spec, input, output, criterion, 0).unwrap()
}

fn follows<F: Build + Number>(case: &Value, label: &str, tolerance: f64) {
    let name = case["name"].as_str().unwrap();
    let data: Vec<Data<F>> = (0..BATCHES as u64).map(|b| Data::new(case, b)).collect();
    let batches: Vec<Batch<'_, F>> = (0..STEPS).map(|t| data[t % BATCHES].batch()).collect();
    for (rule, optimizer) in [("sgd", "sgd(lr=0.02, momentum=0.9)"), ("adam", "adam(lr=0.005, eps=1e-4)")] {
        let network = network::<F>(case);
        let expected = &case["runs"][format!("{rule} {label}")];
        let mut theta = start(&network);
        let mut found = run(&network, &mut theta, optimizer, &batches);
        found.push(network.loss(&theta, &batches[0]).mean());
        let updated = expected.get("updated").map(|x| x.as_f64().unwrap());
        if updated.is_some() {
            network.set_statistics(&network.statistics_of(&theta, batches[..BATCHES].iter().copied()));
            found.push(network.loss(&theta, &batches[0]).mean());
        }
        let mut wanted: Vec<f64> =
            expected["losses"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        wanted.push(expected["evaluated"].as_f64().unwrap());
        wanted.extend(updated);
        // A wrong rule cannot hide below the tolerance: training moves the loss of a batch by far more.
        assert!(
            (wanted[0] - wanted[STEPS - 4]).abs() > 10.0 * tolerance * wanted[0],
            "{name} {rule} stands still"
        );
        for (t, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            let apart = (found - wanted).abs() / wanted.abs();
            assert!(
                apart <= tolerance,
                "{name} {rule} {label}, step {t}: {found} is not {wanted}, {apart:e} apart"
            );
        }
    }
}

#[test]
fn losses_follow_pytorch() {
    let document: Value = serde_json::from_str(include_str!("../data/networks.json")).unwrap();
    let cases = document["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 13);
    for case in cases {
        let network = network::<f64>(case);
        let tensors = network.layout().tensors();
        let mut names: Vec<String> = tensors.iter().map(|t| format!("{} {:?}", t.name, t.shape)).collect();
        names.sort();
        let wanted: Vec<&str> =
            case["tensors"].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
        assert_eq!(names, wanted, "{}", case["name"]);
        // Sums in another order: 20 steps carry a rounding of ε = 1e-16 (6e-8 in f32) to less than this.
        follows::<f64>(case, "f64", 1e-9);
        follows::<f32>(case, "f32", 1e-4);
    }
}
