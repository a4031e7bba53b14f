//! Networks as ONNX: every layer can be exported, always to the same bytes. What ONNX Runtime makes of them is checked in
//! `tests/python/test_onnx_layers.py`, from what `examples/onnx_cases.rs` writes.

mod cases;

use thalweg_core::{Objective, Params};
use thalweg_models::layers::ALL;
use thalweg_models::losses::Loss;
use thalweg_models::network::{Input, ModelSpec, Network, Output};
use thalweg_models::onnx::{Port, Type};

use crate::cases::{Case, cases};

#[test]
fn the_cases_have_every_layer() {
    let models: Vec<&str> = cases().iter().map(|case| case.model).collect();
    let words = |model: &&'static str| model.split(|c: char| !c.is_alphanumeric() && c != '_');
    for entry in ALL {
        let used = models.iter().flat_map(words).any(|word| word == entry.name);
        assert!(used, "no case has the layer {}: add one to cases.rs, for ONNX Runtime to check", entry.name);
    }
}

#[test]
fn the_same_network_gives_the_same_bytes() {
    for case in cases() {
        let (network, theta) = case.build();
        let once = network.to_onnx(&theta, &[]).unwrap();
        // Another instance of the same network.
        let (again, _) = case.build();
        assert_eq!(once, again.to_onnx(&theta, &[]).unwrap(), "{}", case.name);
        // In f64, of the same numbers.
        let wide =
            Network::<f64>::new(network.spec(), case.input.clone(), case.output, case.loss, 5).unwrap();
        let wide_params = |params: &Params<f32>, mut to: Params<f64>| {
            to.flat_mut().iter_mut().zip(params.flat()).for_each(|(to, &x)| *to = f64::from(x));
            to
        };
        wide.set_statistics(&wide_params(&network.statistics(), wide.statistics()));
        let wide = wide.to_onnx(&wide_params(&theta, Params::zeros(wide.layout())), &[]).unwrap();
        assert_eq!(once, wide, "{}", case.name);
        // Another number gives another file.
        let mut other = theta.clone();
        other.flat_mut()[0] += 1.0;
        assert_ne!(once.bytes, network.to_onnx(&other, &[]).unwrap().bytes, "{}", case.name);
    }
}

#[test]
fn a_file_says_what_goes_in_and_comes_out() {
    let rows =
        |sizes: &[usize]| [None].into_iter().chain(sizes.iter().copied().map(Some)).collect::<Vec<_>>();
    for case in cases() {
        let Case { name, ref input, output, loss, .. } = case;
        let (network, theta) = case.build();
        let file = network.to_onnx(&theta, &[]).unwrap();
        let (float, whole) = (Type::Float, Type::Whole);
        let inputs = match *input {
            Input::Table { numbers, ref levels } => {
                vec![("numbers", float, rows(&[numbers])), ("codes", whole, rows(&[levels.len()]))]
            }
            Input::Image { channels, height, width } => {
                vec![("images", float, rows(&[channels, height, width]))]
            }
            Input::Sequence { steps, features } => vec![("sequences", float, rows(&[steps, features]))],
            Input::Tokens { context, .. } => vec![("tokens", whole, rows(&[context]))],
        };
        // What a table has none of is not asked for.
        let inputs: Vec<_> = inputs.into_iter().filter(|(_, _, shape)| shape[1] != Some(0)).collect();
        let ports = |ports: &[Port]| -> Vec<(String, Type, Vec<Option<usize>>)> {
            ports.iter().map(|p| (p.name.clone(), p.kind, p.shape.clone())).collect()
        };
        let named = |(name, kind, shape): (&str, Type, _)| (name.to_string(), kind, shape);
        assert_eq!(ports(&file.inputs), inputs.into_iter().map(named).collect::<Vec<_>>(), "{name}");
        let each = |last: &[usize]| match (output, input) {
            (Output::NextToken, &Input::Tokens { context, .. }) => rows(&[&[context], last].concat()),
            _ => rows(last),
        };
        let answer = match loss.task().is_classes() {
            true => ("probabilities", float, each(&[loss.responses(network.outputs())])),
            false => ("prediction", float, each(&[])),
        };
        let outputs = [("scores", float, each(&[network.outputs()])), answer];
        assert_eq!(ports(&file.outputs), outputs.into_iter().map(named).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
#[should_panic(expected = "another network's")]
fn parameters_of_another_network_are_refused() {
    let network = |model| {
        let spec = ModelSpec::parse(model).unwrap();
        Network::<f32>::new(&spec, Input::numbers(2), Output::Row(1), Loss::SQUARED, 0).unwrap()
    };
    let _ = network("dense(3)").to_onnx(&network("dense(4)").init(), &[]);
}
