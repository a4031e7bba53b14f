//! Networks that say the next token of a text: rows that overlap, and sequences that go on.

use std::path::Path;

use thalweg_core::{Batch, Grads, Objective, Params};
use thalweg_models::losses::Loss;
use thalweg_models::network::{Input, ModelSpec, Network, Output};
use thalweg_models::saved::{Description, FORMAT, Saved, Training};

use crate::common::codes;

const VOCABULARY: u32 = 7;
const UNSEEN: u32 = Batch::<f64>::UNSEEN;

fn network(model: &str, context: usize) -> Network<f64> {
    let spec = ModelSpec::parse(model).unwrap();
    let input = Input::Tokens { vocabulary: VOCABULARY as usize, context };
    Network::new(&spec, input, Output::NextToken, Loss::SOFTMAX, 3).unwrap()
}

/// A text of which every token is a row gives what its sequences, written out, give.
#[test]
fn rows_of_a_text_overlap() {
    let context = 6;
    let mut text = codes(40, VOCABULARY, 5);
    text.extend([UNSEEN; 6]);
    // Also one whose end is padding: it has 3 targets.
    let starts = [17, 0, 16, 33, 36];
    let written: Vec<u32> = starts.iter().flat_map(|&s| text[s..=s + context].to_vec()).collect();
    let target = [0.0; 5];
    let rows = Batch { codes: &written, code_width: context + 1, target: &target, ..Batch::NONE };
    let index = starts.map(|s| s as u32);
    let overlapping = Batch { codes: &text, code_width: 1, index: Some(&index), ..Batch::NONE };
    for model in ["gru(5)", "transformer(d=8, heads=2, layers=1)"] {
        let network = network(model, context);
        let theta = network.init();
        let loss = network.loss(&theta, &overlapping);
        assert_eq!(loss, network.loss(&theta, &rows), "{model}");
        assert_eq!(loss.weight, 4.0 * 6.0 + 3.0, "{model}");
        let [mut a, mut b] = [Grads::zeros(network.layout()), Grads::zeros(network.layout())];
        network.gradient(&theta, &overlapping, &mut a);
        network.gradient(&theta, &rows, &mut b);
        assert_eq!(a.flat(), b.flat(), "{model}");
        let scores = |batch: &Batch<'_, f64>| {
            let mut z = vec![0.0; 5 * context * VOCABULARY as usize];
            network.scores(&theta, batch, &mut z);
            z
        };
        assert_eq!(scores(&overlapping), scores(&rows), "{model}");
    }
}

/// What recurrent layers carry: stretches, one after the other, say what the sequence says as one row. Products of other sizes add
/// in another order: some dozens of additions of numbers below 4, each rounded at 2⁻⁵³.
#[test]
fn a_sequence_goes_on_where_a_stretch_left_it() {
    let text = codes(24, VOCABULARY, 6);
    for (model, carried) in [
        ("gru(5)", 5),
        ("embedding(3) lstm(4) tanh", 8),
        ("gru(6) layernorm residual(lstm(3), dense(6)) dropout(0.5) gru(2)", 14),
        ("mlp(5) rmsnorm", 0),
    ] {
        let whole = network(model, 24);
        assert_eq!(whole.state(), Some(carried), "{model}");
        let theta = whole.init();
        let mut expected = vec![0.0; 24 * VOCABULARY as usize];
        let batch = Batch { codes: &text, code_width: 24, target: &[0.0], ..Batch::NONE };
        whole.scores(&theta, &batch, &mut expected);
        for step in [1, 4, 24] {
            let part = network(model, step);
            let mut here = Params::zeros(part.layout());
            here.flat_mut().copy_from_slice(theta.flat());
            let (mut state, mut found) = (vec![0.0; carried], vec![]);
            for codes in text.chunks(step) {
                let mut z = vec![0.0; step * VOCABULARY as usize];
                part.advance(&here, codes, &mut state, &mut z);
                found.extend(z);
            }
            let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-13, "{model}, {step} at once: {worst}");
            // Without what was carried it would be another text.
            let from_zero = expected[(24 - step) * VOCABULARY as usize..].iter().zip(fresh(
                &part,
                &here,
                &text[24 - step..],
            ));
            let moved = from_zero.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(carried == 0 || step == 24 || moved > 1e-3, "{model}: {moved}");
        }
    }
    for model in
        ["transformer(d=4, heads=2, layers=1)", "gru(4) position", "conv(4, kernel=3, padding=1) gru(4)"]
    {
        let sequence = ModelSpec::parse(model).unwrap();
        assert_eq!(sequence.layers().state(), None, "{model}");
    }
}

/// The outputs of a stretch that begins a text.
fn fresh(network: &Network<f64>, theta: &Params<f64>, codes: &[u32]) -> Vec<f64> {
    let mut z = vec![0.0; codes.len() * VOCABULARY as usize];
    network.advance(theta, codes, &mut vec![0.0; network.state().unwrap()], &mut z);
    z
}

#[test]
fn an_expression_says_its_context() {
    let context = |model| ModelSpec::parse(model).unwrap().context();
    assert_eq!(context("transformer(context=48)"), Some(48));
    assert_eq!(context("transformer(d=8, heads=2)"), None);
    assert_eq!(context("gru(8)"), None);
}

/// Saved without classes, what takes tokens says the next one.
#[test]
fn a_network_of_text_is_read_back() {
    let spec = ModelSpec::parse("gru(4)").unwrap();
    let input = Input::Tokens { vocabulary: 7, context: 5 };
    let network = Network::<f32>::new(&spec, input.clone(), Output::NextToken, Loss::SOFTMAX, 3).unwrap();
    let description = Description {
        format: FORMAT,
        model: spec.to_string(),
        loss: "softmax".into(),
        dense: 0,
        one_hot: 0,
        classes: vec![],
        encoder: serde_json::Value::Null,
        input: Some(input),
        training: Training { seed: 3, ..Training::default() },
        score: None,
    };
    let saved = Saved {
        description,
        parameters: network.init().into(),
        coefficients: vec![],
        intercept: vec![],
        statistics: Some(network.statistics()),
    };
    let bytes = saved.to_bytes().unwrap();
    let back = Saved::from_bytes(&bytes, Path::new("m")).unwrap();
    let again = back.description.network().unwrap().unwrap();
    assert_eq!((again.output(), again.outputs(), again.places()), (Output::NextToken, 7, 5));
    assert_eq!(again.layout(), network.layout());
    // With classes, it says one of them for a whole row.
    let classes = Description { classes: ["a", "b", "c"].map(String::from).to_vec(), ..back.description };
    assert_eq!(classes.network().unwrap().unwrap().output(), Output::Row(3));
}
