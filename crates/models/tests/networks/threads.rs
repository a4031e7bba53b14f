//! Whole networks keep their bits on any number of threads, through training and predictions, in f32 and f64.

use thalweg_autodiff::Number;
use thalweg_core::{At, Float, Grads, NoOracle, Objective, Penalty, Threads};
use thalweg_models::losses::Loss;
use thalweg_models::network::{Input, ModelSpec, Network, Output};
use thalweg_optim::rules::Build;
use thalweg_optim::{Plan, Setup};

use crate::common::Rows;

/// Networks of a size that is worth several threads, and rows for them.
fn cases<F: Float>() -> [(&'static str, Rows<F>, Output); 7] {
    let numbers = Rows::numbers(Input::numbers(64), 150, 64);
    let digits = |n| Rows::numbers(Input::Image { channels: 1, height: 20, width: 20 }, n, 400);
    let colours = |n| Rows::numbers(Input::Image { channels: 3, height: 12, width: 12 }, n, 432);
    let signal = |n| Rows::numbers(Input::Sequence { steps: 24, features: 12 }, n, 288);
    let (row, next) = (Output::Row(3), Output::NextToken);
    let lenet = "conv(16, kernel=5) relu pool(2) conv(32, kernel=5) relu pool(2) flatten dense(64) relu";
    let resnet = "conv(16, bias=false) batchnorm relu \
        residual(conv(16, bias=false), batchnorm, relu, conv(16, bias=false), batchnorm) relu \
        residual(conv(32, stride=2, bias=false), batchnorm, relu, conv(32, bias=false), batchnorm) relu globalpool";
    [
        ("mlp(256, 128, dropout=0.2)", numbers, row),
        (lenet, digits(13), row),
        (resnet, colours(9), row),
        ("gru(64)", signal(33), row),
        ("conv(32) batchnorm silu pool(2) lstm(48)", signal(21), row),
        ("transformer(d=48, heads=4, layers=2)", Rows::text(17, 30), next),
        ("transformer(d=48, heads=4, layers=1, dropout=0.1, checkpoint=true)", Rows::text(11, 40), next),
    ]
}

/// The bits of parameters, statistics and predictions after some steps of Adam.
fn bits<F: Build + Number>(model: &str, rows: &Rows<F>, output: Output, threads: usize) -> Vec<u64> {
    let threads = Threads::new(threads);
    let spec = ModelSpec::parse(model).unwrap();
    let network = Network::<F>::new(&spec, rows.input.clone(), output, Loss::SOFTMAX, 3).unwrap();
    let network = network.with_threads(threads.clone());
    let setup = Setup { threads, ..Setup::default() };
    let mut optimizer =
        Plan::parse("clip(1) | adam(lr=0.01)").unwrap().build::<F>(network.layout(), &setup).unwrap();
    let (mut theta, mut grads) = (network.init(), Grads::zeros(network.layout()));
    let mut all = Vec::new();
    for step in 1..=3 {
        all.push(network.gradient(&theta, &rows.batch(), &mut grads).loss.to_bits());
        let at = At { step, penalty: Penalty::default() };
        optimizer.step(at, &mut theta, &mut grads, &mut NoOracle).unwrap();
    }
    let mut out = vec![F::zero(); rows.y.len() * network.places() * network.outputs()];
    network.responses(&theta, &rows.batch(), &mut out);
    let statistics = network.statistics();
    all.extend(theta.flat().iter().chain(statistics.flat()).chain(&out).map(|x| x.bits()));
    all
}

fn keeps_bits<F: Build + Number>() {
    for (model, rows, output) in cases::<F>() {
        let one = bits(model, &rows, output, 1);
        assert!(one.len() > 1000, "{model}");
        for threads in [2, 3] {
            assert!(
                one == bits(model, &rows, output, threads),
                "{model} in {} on {threads} threads",
                F::NAME
            );
        }
    }
}

#[test]
fn training_keeps_its_bits_on_any_number_of_threads_in_f32() {
    keeps_bits::<f32>();
}

#[test]
fn training_keeps_its_bits_on_any_number_of_threads_in_f64() {
    keeps_bits::<f64>();
}
