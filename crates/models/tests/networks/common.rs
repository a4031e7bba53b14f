//! Small data, and short runs.

use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{At, Batch, Float, Grads, NoOracle, Objective, Params, Penalty};
use thalweg_models::network::{Input, Network};
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

/// A table: 3 numbers and 2 columns of 4 and 7 levels; some codes unseen.
pub struct Table<F> {
    pub x: Vec<F>,
    pub codes: Vec<u32>,
    pub y: Vec<F>,
    pub weight: Vec<F>,
}

impl<F: Float> Table<F> {
    pub fn new(n: usize, y: impl Fn(usize) -> f64) -> Self {
        let mut codes: Vec<u32> =
            codes(n, 4, 1).into_iter().zip(codes(n, 7, 2)).flat_map(|(a, b)| [a, 4 + b]).collect();
        codes.iter_mut().step_by(5).for_each(|code| *code = Batch::<F>::UNSEEN);
        let weight = (0..n).map(|i| F::from_f64([1.0, 0.0, 2.0][i % 3])).collect();
        Self { x: numbers(3 * n, 3), codes, y: (0..n).map(|i| F::from_f64(y(i))).collect(), weight }
    }
    pub fn batch(&self) -> Batch<'_, F> {
        Batch {
            dense: &self.x,
            width: 3,
            codes: &self.codes,
            code_width: 2,
            target: &self.y,
            weight: Some(&self.weight),
            index: None,
        }
    }
}

pub const TABLE: fn() -> Input = || Input::Table { numbers: 3, levels: vec![4, 7] };

/// Rows for each form of input, with classes below 3.
pub struct Rows<F> {
    pub input: Input,
    pub x: Vec<F>,
    pub codes: Vec<u32>,
    pub code_width: usize,
    pub y: Vec<F>,
}

impl<F: Float> Rows<F> {
    pub fn numbers(input: Input, n: usize, width: usize) -> Self {
        let y = (0..n).map(|i| F::from_f64((i % 3) as f64)).collect();
        Self { input, x: numbers(n * width, 5), codes: vec![], code_width: 0, y }
    }
    pub fn image(n: usize) -> Self {
        Self::numbers(Input::Image { channels: 2, height: 6, width: 5 }, n, 60)
    }
    pub fn sequence(n: usize) -> Self {
        Self::numbers(Input::Sequence { steps: 5, features: 3 }, n, 15)
    }
    pub fn tokens(n: usize, code_width: usize) -> Self {
        let input = Input::Tokens { vocabulary: 6, context: 4 };
        let mut codes = codes(n * code_width, 6, 4);
        codes.iter_mut().step_by(7).for_each(|code| *code = Batch::<F>::UNSEEN);
        Self { codes, code_width, ..Self::numbers(input, n, 0) }
    }
    /// `n` rows of `context` tokens of 20, and the token behind them.
    pub fn text(n: usize, context: usize) -> Self {
        let input = Input::Tokens { vocabulary: 20, context };
        let (codes, code_width) = (codes(n * (context + 1), 20, 4), context + 1);
        Self { codes, code_width, ..Self::numbers(input, n, 0) }
    }
    pub fn batch(&self) -> Batch<'_, F> {
        Batch {
            dense: &self.x,
            width: self.x.len() / self.y.len(),
            codes: &self.codes,
            code_width: self.code_width,
            target: &self.y,
            weight: None,
            index: None,
        }
    }
}

pub const IMAGES: [&str; 5] = [
    "conv(3) tanh pool(2) conv(4, kernel=2, padding=1, stride=2, dilation=2, groups=1, bias=false) gelu",
    "conv(4, groups=2) groupnorm(2) silu avgpool(2, stride=1, padding=1) dense(4) rmsnorm softplus",
    "residual(conv(4, stride=2), tanh, conv(4)) elu globalpool layernorm",
    "residual(conv(2), gelu) flatten residual(dense(7), sigmoid)",
    "conv(3, kernel=size(3, 1), stride=size(1, 2), padding=size(1, 0)) silu pool(size(2, 3), stride=1) dense(4) tanh",
];
pub const SEQUENCES: [&str; 6] = [
    "gru(4)",
    "lstm(4) dense(3) tanh last layernorm",
    "conv(4, kernel=2, padding=1) layernorm gru(3) globalpool",
    "dense(4) position block(heads=2, hidden=5, causal=false) rmsnorm",
    "conv(4) pool(2, stride=1) gelu avgpool(2, padding=1) gru(3)",
    "residual(conv(4, stride=2), tanh) residual(dense(3), silu) last",
];
pub const TOKENS: [&str; 3] =
    ["gru(4)", "embedding(3) lstm(3)", "transformer(d=4, heads=2, layers=2, hidden=6, context=4)"];
