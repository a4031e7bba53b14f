//! Frozen layers: no gradient, no memory, no backward pass where nothing below is trained, and not a bit of them moves.

use std::sync::Arc;

use thalweg_core::{At, Batch, Grads, NoOracle, Objective, Oracle, Params, Penalty, Total};
use thalweg_models::losses::Loss;
use thalweg_models::network::{Input, ModelSpec, Network, NetworkError, Output};
use thalweg_optim::{Plan, Setup};

use crate::common::{self, TABLE, numbers};

type Rows = common::Rows<f64>;
type Table = common::Table<f64>;

fn network(model: &str, input: Input, output: Output, loss: Loss) -> Network<f64> {
    Network::new(&ModelSpec::parse(model).unwrap(), input, output, loss, 3).unwrap()
}

/// A network and rows for it, with the pattern of its first layers.
struct Case {
    model: &'static str,
    frozen: &'static str,
    rows: Rows,
    output: Output,
}

impl Case {
    fn network(&self) -> Network<f64> {
        network(self.model, self.rows.input.clone(), self.output, Loss::SOFTMAX)
    }
}

fn cases() -> [Case; 3] {
    [
        Case {
            model: "conv(4) relu conv(3, bias=false) batchnorm silu dense(5) tanh",
            frozen: "0.* 2.*",
            rows: Rows::image(9),
            output: Output::Row(3),
        },
        Case {
            model: "dense(4) gru(5) dense(4) tanh",
            frozen: "0.* 1.*",
            rows: Rows::sequence(8),
            output: Output::Row(3),
        },
        Case {
            model: "transformer(d=4, heads=2, layers=3, hidden=6)",
            frozen: "embeddings 2.* 3.*",
            rows: Rows::tokens(6, 5),
            output: Output::NextToken,
        },
    ]
}

#[test]
fn the_gradient_of_what_is_trained_is_the_same_to_the_bit_and_the_rest_has_none() {
    for case in cases() {
        let (whole, frozen) = (case.network(), case.network().freeze(case.frozen).unwrap());
        let theta = whole.init();
        // The order of tensors changes; where they start does not.
        assert_eq!(frozen.init().flat(), theta.rearranged(frozen.layout()).flat());
        let mut all = Grads::zeros(whole.layout());
        let mut some = Grads::zeros(frozen.layout());
        let total = whole.gradient(&theta, &case.rows.batch(), &mut all);
        assert_eq!(frozen.gradient(&frozen.init(), &case.rows.batch(), &mut some), total);
        let layout = frozen.layout();
        assert!((1..layout.tensors().len()).contains(&layout.trained().len()), "{}", case.model);
        assert!(some.flat().len() == layout.trained_len() && some.flat().len() < all.flat().len());
        for tensor in layout.trained() {
            assert_eq!(some.tensor(&tensor.name), all.tensor(&tensor.name), "{}", tensor.name);
        }
        assert_eq!(frozen.frozen(), case.frozen);
        assert_eq!(frozen.loss(&frozen.init(), &case.rows.batch()), whole.loss(&theta, &case.rows.batch()));
    }
}

/// A rule that evaluates the batch elsewhere asks this.
struct Asked<'a> {
    network: &'a Network<f64>,
    batch: Batch<'a, f64>,
    frozen: Vec<f64>,
}

impl Asked<'_> {
    fn look(&self, theta: &Params<f64>) {
        assert_eq!(theta.flat()[self.network.layout().trained_len()..], self.frozen);
    }
}

impl Oracle<f64> for Asked<'_> {
    fn loss(&mut self, theta: &Params<f64>) -> Total {
        self.look(theta);
        self.network.loss(theta, &self.batch)
    }
    fn gradient(&mut self, theta: &Params<f64>, grads: &mut Grads<f64>) -> Total {
        self.look(theta);
        grads.clear();
        self.network.gradient(theta, &self.batch, grads)
    }
    fn hessian_vector(
        &mut self,
        theta: &Params<f64>,
        v: &Params<f64>,
        out: &mut Grads<f64>,
    ) -> Option<Total> {
        self.look(theta);
        Some(self.network.hessian_vector(theta, v, &self.batch, out))
    }
}

#[test]
fn training_leaves_every_frozen_bit_and_optimizers_keep_no_memory_of_them() {
    let rules =
        ["adam(lr=0.01)", "momentum(lr=0.05) | ema(0.9)", "lbfgs", "sophia(lr=0.01)", "sam | sgd(lr=0.05)"];
    let groups = "{ matrices: muon(lr=0.01); rest: adamw(lr=0.01) }";
    for case in cases() {
        for rule in rules.into_iter().chain([groups]) {
            let network = case.network().freeze(case.frozen).unwrap();
            let (mut theta, mut grads) = (network.init(), Grads::zeros(network.layout()));
            let trained = network.layout().trained_len();
            let start = theta.clone();
            let mut optimizer =
                Plan::parse(rule).unwrap().build::<f64>(network.layout(), &Setup::default()).unwrap();
            let batch = case.rows.batch();
            let mut oracle = Asked { network: &network, batch, frozen: start.flat()[trained..].to_vec() };
            let mut losses = vec![];
            for step in 1..=6 {
                losses.push(network.gradient(&theta, &batch, &mut grads).mean());
                let at = At { step, penalty: Penalty { l1: 0.0, l2: 0.01 } };
                let report = optimizer.step(at, &mut theta, &mut grads, &mut oracle).unwrap();
                assert_eq!((report.non_finite, report.skipped), (None, false), "{rule}");
            }
            assert!(losses[5] < losses[0], "{rule} on {}: {losses:?}", case.model);
            assert_eq!(theta.flat()[trained..], start.flat()[trained..], "{rule}");
            if let Some(weights) = optimizer.evaluation_weights(&theta) {
                assert_eq!(weights[trained..], start.flat()[trained..], "{rule}");
            }
        }
        // Two numbers of Adam for each that is trained.
        let network = case.network().freeze(case.frozen).unwrap();
        let own: usize = network.layout().trained().iter().map(|t| t.len()).sum();
        let adam = Plan::parse("adam").unwrap().memory::<f64>(network.layout()).unwrap();
        let sgd = Plan::parse("sgd").unwrap().memory::<f64>(network.layout()).unwrap();
        assert_eq!(adam - sgd, 2 * 8 * own, "{}", case.model);
    }
}

#[test]
fn a_frozen_layer_costs_no_multiply_adds_and_nothing_runs_back_below_the_first_that_is_trained() {
    const SIZES: [usize; 5] = [6, 5, 7, 4, 3];
    let n = 11;
    let x = numbers::<f64>(n * SIZES[0], 1);
    let y: Vec<f64> = (0..n).map(|i| (i % 3) as f64).collect();
    let batch = Batch { dense: &x, width: SIZES[0], target: &y, ..Batch::NONE };
    let model = "dense(5) tanh dense(7) relu dense(4) gelu";
    let layers: Vec<u64> = SIZES.windows(2).map(|s| (n * s[0] * s[1]) as u64).collect();
    let cost = |frozen: &[&str]| {
        let mut network = network(model, Input::numbers(SIZES[0]), Output::Row(3), Loss::SOFTMAX);
        for pattern in frozen {
            network = network.freeze(pattern).unwrap();
        }
        let mut grads = Grads::zeros(network.layout());
        network.gradient(&network.init(), &batch, &mut grads);
        network.multiply_adds()
    };
    let sum = |layers: &[u64]| layers.iter().sum::<u64>();
    let forward = sum(&layers);
    // The weights' gradients of all layers, the inputs' of all but the first.
    assert_eq!(cost(&[]), forward + sum(&layers) + sum(&layers[1..]));
    assert_eq!(cost(&["0.*"]), forward + sum(&layers[1..]) + sum(&layers[2..]));
    assert_eq!(cost(&["0.*", "2.*"]), forward + sum(&layers[2..]) + sum(&layers[3..]));
    assert_eq!(cost(&["0.* 2.* 4.*"]), forward + layers[3]);
    // One in the middle: its input's gradient alone.
    assert_eq!(cost(&["2.*"]), forward + sum(&layers) - layers[1] + sum(&layers[1..]));
    // A bias below is enough to run back to it.
    assert_eq!(cost(&["0.weight 2.*"]), forward + sum(&layers[2..]) + sum(&layers[1..]));
}

#[test]
fn products_with_the_hessian_are_those_of_the_trained_block() {
    let data = Table::new(9, |i| (i % 3) as f64);
    let make = || network("dense(5) tanh dense(4) silu", TABLE(), Output::Row(3), Loss::SOFTMAX);
    let (whole, frozen) = (make(), make().freeze("embeddings 0.*").unwrap());
    let mut v = Params::zeros(frozen.layout());
    let trained = frozen.layout().trained_len();
    for tensor in frozen.layout().tensors() {
        v.tensor_mut(&tensor.name).copy_from_slice(&numbers(tensor.len(), 4));
    }
    let mut own = v.clone();
    own.flat_mut()[trained..].fill(0.0);
    let mut all = Grads::zeros(whole.layout());
    whole.hessian_vector(&whole.init(), &own.rearranged(whole.layout()), &data.batch(), &mut all);
    let mut some = Grads::zeros(frozen.layout());
    // What v says of the frozen is nothing.
    frozen.hessian_vector(&frozen.init(), &v, &data.batch(), &mut some);
    assert_eq!(some.flat().len(), trained);
    for tensor in frozen.layout().trained() {
        assert_eq!(some.tensor(&tensor.name), all.tensor(&tensor.name), "{}", tensor.name);
    }
}

#[test]
fn state_goes_by_name_whatever_is_frozen_and_steps_and_statistics_stay() {
    let rows = Rows::image(7);
    let make = || {
        let model = "conv(3) batchnorm relu dense(4) tanh";
        network(model, rows.input.clone(), Output::Row(3), Loss::SOFTMAX)
    };
    let whole = make();
    let theta = whole.init();
    whole.gradient(&theta, &rows.batch(), &mut Grads::zeros(whole.layout()));
    let bytes = whole.state_to_bytes(&theta).unwrap();
    let (steps, statistics) = (whole.steps(), whole.statistics());
    let frozen = whole.freeze("0.*").unwrap();
    assert_eq!((frozen.steps(), frozen.statistics().flat()), (steps, statistics.flat()));
    let read = frozen.state_from_bytes(&bytes).unwrap();
    assert_eq!(read.flat(), theta.rearranged(frozen.layout()).flat());
    assert_eq!(frozen.state_to_bytes(&read).unwrap(), bytes);
    let freed = make();
    assert_eq!(read.rearranged(freed.layout()).flat(), theta.flat());
    assert!(Arc::ptr_eq(read.layout(), frozen.layout()));
}

#[test]
fn patterns_that_freeze_nothing_or_everything_are_refused() {
    let make = || network("dense(4) relu", Input::numbers(3), Output::Row(3), Loss::SOFTMAX);
    let refused = |pattern: &str| match make().freeze(pattern) {
        Err(NetworkError::Misfit(message)) => message,
        other => panic!("{pattern} was not refused: {other:?}"),
    };
    assert_eq!(
        refused("1.*"),
        "\"1.*\" names no tensor to freeze; there are 0.weight, 0.bias, 2.weight, 2.bias"
    );
    assert_eq!(refused("*"), "with \"*\" frozen nothing is left to be trained");
    let twice = make().freeze("0.*").unwrap().freeze("2.*").unwrap_err().to_string();
    assert_eq!(twice, "with \"0.* 2.*\" frozen nothing is left to be trained");
}

/// A gradient of the whole network does not fit an optimizer of its trained part.
#[test]
fn another_networks_gradient_is_refused() {
    let make = || network("dense(4) relu", Input::numbers(3), Output::Row(3), Loss::SOFTMAX);
    let (whole, frozen) = (make(), make().freeze("0.*").unwrap());
    let mut optimizer =
        Plan::parse("sgd(lr=0.1)").unwrap().build::<f64>(frozen.layout(), &Setup::default()).unwrap();
    let (mut theta, mut grads) = (frozen.init(), Grads::zeros(whole.layout()));
    grads.total.weight = 1.0;
    let at = At { step: 1, penalty: Penalty::default() };
    let error = optimizer.step(at, &mut theta, &mut grads, &mut NoOracle).unwrap_err().to_string();
    assert!(error.starts_with("the gradient has "), "{error}");
}
