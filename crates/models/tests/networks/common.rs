//! Small data, and short runs.

use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{At, Batch, Float, Grads, NoOracle, Objective, Params, Penalty};
use thalweg_models::network::Network;
use thalweg_optim::{Plan, Setup};

/// `n` numbers that f32 holds too.
pub fn numbers<F: Float>(n: usize, seed: u64) -> Vec<F> {
    let mut s = Stream::new(seed, Purpose::Data, 0);
    (0..n).map(|_| F::from_f64(f64::from(s.normal() as f32))).collect()
}

/// `n` codes below `k`.
pub fn codes(n: usize, k: u32, seed: u64) -> Vec<u32> {
    let mut s = Stream::new(seed, Purpose::Data, 1);
    (0..n).map(|_| s.below(k)).collect()
}

/// Takes a step for each of `batches` and returns the mean loss that each began with.
pub fn run<F>(
    network: &Network<F>,
    theta: &mut Params<F>,
    optimizer: &str,
    batches: &[Batch<'_, F>],
) -> Vec<f64>
where
    F: thalweg_optim::rules::Build + thalweg_autodiff::Number,
{
    let plan = Plan::parse(optimizer).unwrap();
    let mut optimizer = plan.build::<F>(network.layout(), &Setup::default()).unwrap();
    let mut grads = Grads::zeros(network.layout());
    let mut losses = Vec::new();
    for (t, batch) in batches.iter().enumerate() {
        grads.clear();
        losses.push(network.gradient(theta, batch, &mut grads).mean());
        let at = At { step: t as u64 + 1, penalty: Penalty::default() };
        optimizer.step(at, theta, &mut grads, &mut NoOracle).unwrap();
    }
    losses
}

/// The handwritten digits: 64 numbers in [0, 1] each, and the digit.
pub fn digits() -> (Vec<f32>, Vec<f32>) {
    let text = include_str!("../../../../examples/data/digits.csv");
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for line in text.lines().skip(1) {
        let cells: Vec<f32> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        x.extend(cells[..64].iter().map(|c| c / 16.0));
        y.push(cells[64]);
    }
    (x, y)
}
