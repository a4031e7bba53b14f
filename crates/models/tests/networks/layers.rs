//! What single layers promise beyond their slopes: dropout and batch norm in training, sizes of two sides, bags of tokens.

use thalweg_core::{Batch, Grads, Objective, Params};
use thalweg_models::losses::Loss;
use thalweg_models::network::{Input, ModelSpec, Network, Output};

use crate::common;

type Rows = common::Rows<f64>;

fn network(model: &str, rows: &Rows, output: Output) -> Network<f64> {
    Network::new(&ModelSpec::parse(model).unwrap(), rows.input.clone(), output, Loss::SOFTMAX, 3).unwrap()
}

/// The gradient of a training step against central differences of that step's own loss: the same numbers left out, the batch's own
/// moments. h = ε^⅓, so the error is of the order of ε^⅔ times third derivatives.
fn assert_training_slopes(model: &str, rows: &Rows, output: Output) {
    let network = network(model, rows, output);
    let theta = network.init();
    let step = |theta: &Params<f64>, grads: &mut Grads<f64>| {
        network.set_steps(5);
        network.gradient(theta, &rows.batch(), grads)
    };
    let mut grads = Grads::zeros(network.layout());
    step(&theta, &mut grads);
    let h = libm::cbrt(f64::EPSILON);
    for tensor in network.layout().tensors() {
        for i in tensor.range() {
            let at = |h: f64| {
                let mut theta = theta.clone();
                theta.flat_mut()[i] += h;
                step(&theta, &mut Grads::zeros(network.layout())).loss
            };
            let (slope, found) = ((at(h) - at(-h)) / (2.0 * h), grads.flat()[i]);
            let near = (slope - found).abs() < 2e-7 * (1.0 + slope.abs());
            assert!(near, "{model}: {} at {i}: {slope} {found}", tensor.name);
        }
    }
}

#[test]
fn training_has_the_slopes_of_its_own_loss_with_dropout_and_batch_norm() {
    assert_training_slopes(
        "dense(6) batchnorm tanh dropout(0.4)",
        &Rows::numbers(Input::numbers(4), 9, 4),
        Output::Row(3),
    );
    let image = "conv(3, kernel=size(3, 1), bias=false) batchnorm silu dropout(0.3) residual(conv(4, stride=size(1, 2)), batchnorm)";
    assert_training_slopes(image, &Rows::image(4), Output::Row(3));
    let sequence = "conv(4) batchnorm gelu pool(2, stride=1) block(heads=2, hidden=5, dropout=0.3)";
    assert_training_slopes(sequence, &Rows::sequence(5), Output::Row(3));
    let blocks = "transformer(d=4, heads=2, layers=2, hidden=6, dropout=0.4)";
    assert_training_slopes(blocks, &Rows::tokens(5, 5), Output::NextToken);
    let blind = "embedding(4) block(heads=1, causal=false, dropout=0.2)";
    assert_training_slopes(blind, &Rows::tokens(5, 4), Output::Row(3));
}

/// With dropout the shares of attention are worked out whole: almost none left out gives the gradient of the fused kernel, but for the
/// order of sums of at most 40 terms.
#[test]
fn blocks_with_dropout_are_those_without_it_but_for_what_is_left_out() {
    let rows = Rows::text(6, 40);
    let gradient = |model: &str| {
        let network = network(model, &rows, Output::NextToken);
        let mut grads = Grads::zeros(network.layout());
        let total = network.gradient(&network.init(), &rows.batch(), &mut grads);
        (grads, total.loss, network.loss(&network.init(), &rows.batch()).loss)
    };
    for causal in ["true", "false"] {
        let model =
            |p: &str| format!("embedding(8) position block(heads=2, causal={causal}, dropout={p}) layernorm");
        let (plain, almost) = (gradient(&model("0")), gradient(&model("1e-300")));
        let top = plain.0.flat().iter().fold(0.0f64, |top, g| top.max(g.abs()));
        assert!(plain.0.flat().iter().zip(almost.0.flat()).all(|(a, b)| (a - b).abs() < 1e-12 * top));
        assert!((plain.1 - almost.1).abs() < 1e-12 * plain.1);
        // What is left out in training is there in evaluation.
        let half = gradient(&model("0.5"));
        assert_eq!(half.2, plain.2);
        assert!((half.1 - plain.1).abs() > 1e-3);
    }
}

/// The shares of attention, the sums behind both maps and the hidden numbers: four draws in each block, so a stack of blocks draws
/// other numbers in each.
#[test]
fn every_block_draws_for_itself() {
    let rows = Rows::text(4, 6);
    let losses = |model: &str| {
        let network = network(model, &rows, Output::NextToken);
        (0..2)
            .map(|_| {
                network.gradient(&network.init(), &rows.batch(), &mut Grads::zeros(network.layout())).loss
            })
            .collect::<Vec<_>>()
    };
    let model = "transformer(d=8, heads=2, layers=2, dropout=0.5)";
    let (first, again) = (losses(model), losses(model));
    assert_eq!(first, again);
    assert_ne!(first[0], first[1]);
}

#[test]
fn sizes_may_have_two_sides() {
    let rows = Rows::image(3);
    let shapes = |model: &str| {
        let network = network(model, &rows, Output::Row(3));
        let described = network.describe().iter().map(|r| format!("{} {:?}", r.layer, r.output));
        described.collect::<Vec<_>>()
    };
    // Rows of 2 × 6 × 5.
    assert_eq!(
        shapes(
            "conv(4, kernel=size(3, 1), stride=size(2, 1), padding=size(1, 0)) pool(size(3, 2), stride=size(1, 2)) conv(2, size(1, 3))"
        ),
        [
            "conv(4, kernel=size(3, 1), stride=size(2, 1), padding=size(1, 0)) [4, 3, 5]",
            "pool(size(3, 2), stride=size(1, 2)) [4, 1, 2]",
            "conv(2, kernel=size(1, 3)) [2, 1, 2]",
            "flatten [4]",
            "dense(3) [3]",
        ]
    );
    let square = shapes("conv(4, kernel=size(3, 3), dilation=size(2, 2)) avgpool(size(2, 2))");
    assert_eq!(square, shapes("conv(4, kernel=3, dilation=2) avgpool(2)"));
    let names = |model: &str| network(model, &rows, Output::Row(3)).layout().tensors()[0].shape.clone();
    assert_eq!(names("conv(4, kernel=size(3, 5))"), [4, 2, 3, 5]);

    let wrong = |text| ModelSpec::parse(text).unwrap_err().to_string();
    assert!(
        wrong("conv(4, kernel=size(3))")
            .starts_with("size has the rows and the columns of kernel, as in kernel=size(3, 5)")
    );
    assert!(wrong("conv(size(3, 5))").starts_with("out takes a number, got size(3, 5)"));
    assert!(wrong("conv(4, kernel=size(3, 0))").starts_with("kernel must be in [1, 10000], got 0"));
    assert!(
        wrong("conv(4, padding=size(same, 1))").starts_with("padding is `same` on both sides or on none")
    );
    assert!(wrong("pool(size(2, 2.5))").starts_with("size must be a whole number, got 2.5"));
    let sequence = Rows::sequence(2);
    let refused = |model: &str| {
        let spec = ModelSpec::parse(model).unwrap();
        let network = Network::<f64>::new(&spec, sequence.input.clone(), Output::Row(3), Loss::SOFTMAX, 0);
        network.err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert!(
        refused("conv(4, kernel=size(3, 1))").starts_with("a sequence has one side: kernel takes one number")
    );
    assert!(
        refused("conv(4) pool(size(2, 1))").starts_with("a sequence has one side: size takes one number")
    );
    assert!(refused("pool(7)").starts_with("a window of 7 does not fit into [5, 3]"));
}

/// A bag's numbers are the mean or the sum of its tokens' rows in the table, tokens that nobody knows left out.
#[test]
fn bags_of_tokens_are_means_or_sums_of_known_rows() {
    let unseen = Batch::<f64>::UNSEEN;
    let codes = [0, 2, 2, 5, unseen, 1, unseen, 1, unseen, unseen, unseen, unseen];
    let batch = Batch { codes: &codes, code_width: 4, target: &[0.0; 3], ..Batch::NONE };
    let rows = Rows::tokens(3, 4);
    for (model, mean) in [("embeddingbag(3)", true), ("embeddingbag(3, mean=false)", false)] {
        let network = network(model, &rows, Output::Row(3));
        assert_eq!(network.spec().to_string(), model);
        let mut theta = network.init();
        // The output layer passes the three numbers on.
        theta.tensor_mut("1.weight").copy_from_slice(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        theta.tensor_mut("1.bias").fill(0.0);
        let mut z = [0.0; 9];
        network.scores(&theta, &batch, &mut z);
        let table = theta.tensor("0.weight");
        for (bag, z) in codes.chunks(4).zip(z.chunks(3)) {
            let known: Vec<usize> = bag.iter().filter(|&&c| c != unseen).map(|&c| c as usize).collect();
            let share = if mean { 1.0 / known.len().max(1) as f64 } else { 1.0 };
            for (k, z) in z.iter().enumerate() {
                let sum: f64 = known.iter().map(|&row| table[3 * row + k]).sum();
                assert!((z - share * sum).abs() < 1e-15, "{model}: {z}");
            }
        }
    }
    let refused = |model: &str, rows: &Rows, output| {
        let spec = ModelSpec::parse(model).unwrap();
        let network = Network::<f64>::new(&spec, rows.input.clone(), output, Loss::SOFTMAX, 0);
        network.err().map(|e| e.to_string()).unwrap_or_default()
    };
    let numbers = Rows::sequence(2);
    assert!(refused("embeddingbag(3)", &numbers, Output::Row(3)).starts_with("embeddingbag takes tokens"));
    let next = refused("embeddingbag(3)", &rows, Output::NextToken);
    assert!(next.starts_with("the layers end with [6] for a row, not with [4, 6]"), "{next}");
}
