//! Networks learn real data.

use thalweg_core::Batch;
use thalweg_core::random::{Purpose, Stream};
use thalweg_models::losses::Loss;
use thalweg_models::network::{Input, ModelSpec, Network, Output};

use crate::common::{digits, run};

/// Trains on four fifths of the digits; the share of the others that it gets right.
fn score(model: &str, input: Input, epochs: u64, optimizer: &str) -> f64 {
    let (x, y) = digits();
    let all = Batch { dense: &x, width: 64, target: &y, ..Batch::NONE };
    let spec = ModelSpec::parse(model).unwrap();
    let network = Network::<f32>::new(&spec, input, Output::Row(10), Loss::SOFTMAX, 1).unwrap();
    let mut order: Vec<u32> = Vec::new();
    for epoch in 0..epochs {
        let mut rows: Vec<u32> = (0..y.len() as u32).filter(|i| i % 5 != 0).collect();
        Stream::new(1, Purpose::Shuffle, epoch).shuffle(&mut rows);
        order.extend(rows);
    }
    let batches: Vec<Batch<'_, f32>> = order.chunks(32).map(|rows| all.rows(rows)).collect();
    let mut theta = network.init();
    let losses = run(&network, &mut theta, optimizer, &batches);
    assert!(losses.iter().all(|l| l.is_finite()));
    let rest: Vec<u32> = (0..y.len() as u32).step_by(5).collect();
    let mut classes = vec![0; rest.len()];
    network.classes(&theta, &all.rows(&rest), &mut classes);
    let right = classes.iter().zip(&rest).filter(|&(&class, &row)| class == y[row as usize] as u32).count();
    right as f64 / rest.len() as f64
}

#[test]
fn a_perceptron_reads_digits() {
    let score = score("mlp(32)", Input::numbers(64), 30, "adam(lr=0.005)");
    assert!(score > 0.95, "{score}");
}

#[test]
fn a_convolutional_network_reads_digits() {
    let image = Input::Image { channels: 1, height: 8, width: 8 };
    let model = "conv(8, bias=false) batchnorm relu pool(2) residual(conv(16), relu, conv(16)) relu pool(2) dropout(0.1)";
    let score = score(model, image, 6, "adam(lr=0.01)");
    assert!(score > 0.96, "{score}");
}

/// Tokens of which each is the sum of the two before it, modulo 5: what attention to two places learns.
#[test]
fn a_transformer_learns_a_rule_of_two_places() {
    let (n, width, mut stream) = (128, 10, Stream::new(1, Purpose::Data, 0));
    let mut codes = Vec::new();
    for _ in 0..n {
        let mut row = vec![stream.below(5), stream.below(5)];
        while row.len() < width {
            row.push((row[row.len() - 1] + row[row.len() - 2]) % 5);
        }
        codes.extend(row);
    }
    let target = vec![0.0; n];
    let all = Batch { codes: &codes, code_width: width, target: &target, ..Batch::NONE };
    let spec = ModelSpec::parse("transformer(d=16, heads=2, layers=1)").unwrap();
    let input = Input::Tokens { vocabulary: 5, context: width - 1 };
    let network = Network::<f32>::new(&spec, input, Output::NextToken, Loss::SOFTMAX, 1).unwrap();
    let order: Vec<u32> = (0..300).flat_map(|t| (0..32).map(move |i| (t * 32 + i) % 128)).collect();
    let batches: Vec<Batch<'_, f32>> = order.chunks(32).map(|rows| all.rows(rows)).collect();
    let mut theta = network.init();
    run(&network, &mut theta, "adam(lr=0.01)", &batches);
    let mut classes = vec![0; n * (width - 1)];
    network.classes(&theta, &all, &mut classes);
    let right = classes.chunks(width - 1).zip(codes.chunks(width));
    let right: usize =
        right.map(|(said, row)| said[1..].iter().zip(&row[2..]).filter(|(a, b)| a == b).count()).sum();
    let share = right as f64 / (n * (width - 2)) as f64;
    assert!(share > 0.95, "{share}");
}
