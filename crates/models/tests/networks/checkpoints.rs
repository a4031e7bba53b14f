//! Checkpoints in models: the same bits in less memory.

use thalweg_core::{Grads, Objective, Params, Threads};
use thalweg_models::losses::Loss;
use thalweg_models::network::{Input, ModelSpec, Network, Output};

use crate::common;

type Rows = common::Rows<f64>;

/// What a step gives: the gradient, the total, the statistics after it, the loss of the evaluation that follows; and the peak of memory.
type Step = ((Vec<f64>, thalweg_core::Total, Vec<f64>, f64), usize);

fn step(model: &str, rows: &Rows, output: Output, threads: usize) -> (Network<f64>, Params<f64>, Step) {
    let spec = ModelSpec::parse(model).unwrap();
    let network = Network::<f64>::new(&spec, rows.input.clone(), output, Loss::SOFTMAX, 3).unwrap();
    let network = network.with_threads(Threads::new(threads));
    let theta = network.init();
    let mut grads = Grads::zeros(network.layout());
    let total = network.gradient(&theta, &rows.batch(), &mut grads);
    let peak = network.peak();
    let after = network.loss(&theta, &rows.batch()).loss;
    let values = (grads.flat().to_vec(), total, network.statistics().flat().to_vec(), after);
    (network, theta, (values, peak))
}

/// The same network with and without checkpoints: names, bits on 1 and 3 threads, a product with the Hessian; how much memory each took.
fn check(plain: &str, checkpointed: &str, rows: &Rows, output: Output) -> [usize; 2] {
    let (network, theta, (values, peak)) = step(plain, rows, output, 1);
    let names = |network: &Network<f64>| network.layout().clone();
    let mut least = usize::MAX;
    for threads in [1, 3] {
        let (other, other_theta, (other_values, other_peak)) = step(checkpointed, rows, output, threads);
        assert_eq!(names(&other), names(&network), "{checkpointed}");
        assert_eq!(other_theta.flat(), theta.flat(), "{checkpointed}");
        assert_eq!(other_values, values, "{checkpointed} on {threads} threads");
        least = least.min(other_peak);
        let mut products = [Grads::zeros(network.layout()), Grads::zeros(network.layout())];
        for (network, out) in [&network, &other].into_iter().zip(&mut products) {
            network.hessian_vector(&theta, &theta, &rows.batch(), out);
        }
        assert_eq!(products[0].flat(), products[1].flat(), "{checkpointed}");
        assert_eq!(other.statistics().flat(), values.2, "a product moves no statistics");
    }
    [peak, least]
}

#[test]
fn checkpoints_give_the_same_bits_in_less_memory() {
    let rows = Rows::tokens(40, 5);
    let [whole, less] = check(
        "transformer(d=16, heads=2, layers=6)",
        "transformer(d=16, heads=2, layers=6, checkpoint=true)",
        &rows,
        Output::NextToken,
    );
    // Six blocks' numbers against six results and one block's.
    assert!(2 * less < whole, "{less} numbers at the most, {whole} without");

    // Batch norm moves its statistics once, dropout draws the same, residuals nest.
    let rows = Rows::image(40);
    let body = "residual(conv(8, bias=false), batchnorm, relu, conv(8, bias=false), batchnorm)";
    let plain = format!("conv(8, bias=false) batchnorm relu {body} relu dropout(0.3) {body} globalpool");
    let checkpointed = format!(
        "checkpoint(conv(8, bias=false), batchnorm, relu) checkpoint({body}, relu, dropout(0.3)) \
         checkpoint({body}) globalpool"
    );
    let [whole, less] = check(&plain, &checkpointed, &rows, Output::Row(3));
    assert!(3 * less < 2 * whole, "{less} numbers at the most, {whole} without");

    // One inside the other, at the front with tokens, and inside a residual.
    let rows = Rows::tokens(9, 4);
    let plain = "embedding(6) residual(dense(6), tanh) gru(5) dense(4) gelu";
    let nested =
        "checkpoint(embedding(6), checkpoint(residual(checkpoint(dense(6)), tanh), gru(5))) dense(4) gelu";
    check(plain, nested, &rows, Output::Row(3));
    check("gru(5) dense(4) gelu", "checkpoint(gru(5)) checkpoint(dense(4), gelu)", &rows, Output::Row(3));
}

#[test]
fn what_is_not_recorded_needs_no_second_pass() {
    let rows = Rows::image(6);
    let make = |model: &str| {
        let spec = ModelSpec::parse(model).unwrap();
        Network::<f64>::new(&spec, rows.input.clone(), Output::Row(3), Loss::SOFTMAX, 3).unwrap()
    };
    let forward = |network: &Network<f64>| {
        network.loss(&network.init(), &rows.batch());
        network.multiply_adds()
    };
    let (plain, checked) =
        (make("conv(4) relu conv(4) dense(5)"), make("checkpoint(conv(4), relu, conv(4)) dense(5)"));
    assert_eq!(forward(&plain), forward(&checked));
    // Nor does a part that is frozen with all below it.
    let count = |network: Network<f64>| {
        let network = network.freeze("0.* 2.*").unwrap();
        network.gradient(&network.init(), &rows.batch(), &mut Grads::zeros(network.layout()));
        network.multiply_adds()
    };
    assert_eq!(count(plain.freeze("0.*").unwrap()), count(checked.freeze("0.*").unwrap()));
}

#[test]
fn layers_of_a_checkpoint_are_described_as_if_they_stood_alone() {
    let rows = |model: &str| {
        let spec = ModelSpec::parse(model).unwrap();
        let network =
            Network::<f64>::new(&spec, Input::numbers(4), Output::Row(3), Loss::SOFTMAX, 3).unwrap();
        network.describe().to_vec()
    };
    assert_eq!(rows("dense(8) checkpoint(relu, mlp(6)) dense(5)"), rows("dense(8) relu mlp(6) dense(5)"));
    let wrong = |text| ModelSpec::parse(text).unwrap_err().to_string();
    assert!(wrong("checkpoint(3)").starts_with("checkpoint takes layers, got 3"));
    assert!(
        wrong("dense(2) checkpoint").starts_with("checkpoint needs layers, as in checkpoint(block, block)")
    );
}
