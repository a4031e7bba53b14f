//! Networks learn real data.

use thalweg_core::Batch;
use thalweg_core::random::{Purpose, Stream};
use thalweg_models::losses::Loss;
use thalweg_models::network::{Input, ModelSpec, Network, Output};

use crate::common::{digits, run};

/// Trains on the first 1,400 digits; the share of the other 397 that it gets right.
fn score(model: &str, input: Input, epochs: u64, optimizer: &str) -> f64 {
    let (x, y) = digits();
    let all = Batch { dense: &x, width: 64, target: &y, ..Batch::NONE };
    let spec = ModelSpec::parse(model).unwrap();
    let network = Network::<f32>::new(&spec, input, Output::Row(10), Loss::SOFTMAX, 1).unwrap();
    let mut order: Vec<u32> = Vec::new();
    for epoch in 0..epochs {
        let mut rows: Vec<u32> = (0..1400).collect();
        Stream::new(1, Purpose::Shuffle, epoch).shuffle(&mut rows);
        order.extend(rows);
    }
    let batches: Vec<Batch<'_, f32>> = order.chunks(32).map(|rows| all.rows(rows)).collect();
    let mut theta = network.init();
    let losses = run(&network, &mut theta, optimizer, &batches);
    assert!(losses.iter().all(|l| l.is_finite()));
    let rest: Vec<u32> = (1400..y.len() as u32).collect();
    let mut classes = vec![0; rest.len()];
    network.classes(&theta, &all.rows(&rest), &mut classes);
    let right = classes.iter().zip(&rest).filter(|&(&class, &row)| class == y[row as usize] as u32).count();
    right as f64 / rest.len() as f64
}

#[test]
fn a_perceptron_reads_digits() {
    let score = score("mlp(32)", Input::numbers(64), 30, "adam(lr=0.005)");
    assert!(score > 0.9, "{score}");
}
