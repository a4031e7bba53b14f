//! What networks promise about rows, weights, threads, seeds and files.

use proptest::prelude::*;
use thalweg_core::{Batch, Grads, Kind, Objective, Params, Threads};
use thalweg_models::losses::{Loss, Task};
use thalweg_models::network::{Criterion, Input, ModelSpec, Network, NetworkError, Output, StateError};

use crate::common::{self, IMAGES, SEQUENCES, TABLE, TOKENS, numbers};

type Rows = common::Rows<f64>;
type Table = common::Table<f64>;

fn network(model: &str, input: Input, output: Output, loss: impl Into<Criterion>) -> Network<f64> {
    Network::new(&ModelSpec::parse(model).unwrap(), input, output, loss, 3).unwrap()
}

fn refusal(model: &str, input: Input, output: Output, loss: impl Into<Criterion>) -> String {
    let spec = ModelSpec::parse(model).unwrap();
    match Network::<f64>::new(&spec, input, output, loss, 3) {
        Err(error @ (NetworkError::Layer(_) | NetworkError::Misfit(_))) => error.to_string(),
        other => panic!("{model} was not refused: {other:?}"),
    }
}

fn gradient(network: &Network<f64>, theta: &Params<f64>, batch: &Batch<'_, f64>) -> Grads<f64> {
    let mut grads = Grads::zeros(network.layout());
    network.gradient(theta, batch, &mut grads);
    grads
}

/// The loss's slope along each coordinate by central differences: h = ε^(1/3), so the error is of the order of ε^(2/3).
fn assert_slopes(network: &Network<f64>, theta: &Params<f64>, batch: &Batch<'_, f64>) {
    let grads = gradient(network, theta, batch);
    let h = libm::cbrt(f64::EPSILON);
    for tensor in network.layout().tensors() {
        for i in tensor.range() {
            let at = |h: f64| {
                let mut theta = theta.clone();
                theta.flat_mut()[i] += h;
                network.loss(&theta, batch).loss
            };
            let (slope, found) = ((at(h) - at(-h)) / (2.0 * h), grads.flat()[i]);
            assert!(
                (slope - found).abs() < 1e-7 * (1.0 + slope.abs()),
                "{} at {i}: {slope} {found}",
                tensor.name
            );
        }
    }
}

#[test]
fn gradients_are_the_slopes_of_every_loss() {
    let third = |i: usize| (i % 3) as f64;
    let losses =
        ["squared", "huber(0.7)", "absolute", "quantile(0.8)", "poisson", "logistic", "softmax", "hinge"];
    for loss in losses {
        let loss: Loss = loss.parse().unwrap();
        let outputs = loss.outputs(3);
        let data = Table::new(9, |i| if loss.task() == Task::TwoClasses { (i % 2) as f64 } else { third(i) });
        let network = network("mlp(5, activation=tanh) dense(4) silu", TABLE(), Output::Row(outputs), loss);
        let theta = network.init();
        assert_slopes(&network, &theta, &data.batch());
        let total = network.loss(&theta, &data.batch());
        assert_eq!(total.weight, data.weight.iter().sum::<f64>());
    }
    let criterion =
        Criterion { loss: Loss::SOFTMAX, class_weights: Some(vec![1.0, 0.5, 3.0]), smoothing: 0.1 };
    let data = Table::new(9, third);
    let network = network("mlp(5, activation=gelu)", TABLE(), Output::Row(3), criterion);
    assert_slopes(&network, &network.init(), &data.batch());
    let weights = data.weight.iter().zip(&data.y).map(|(w, &y)| w * [1.0, 0.5, 3.0][y as usize]);
    assert_eq!(network.loss(&network.init(), &data.batch()).weight, weights.sum::<f64>());
}

#[test]
fn gradients_are_the_slopes_of_every_layer() {
    let (images, sequences) = (Rows::image(4), Rows::sequence(5));
    let (tokens, next) = (Rows::tokens(5, 4), Rows::tokens(5, 5));
    let all = IMAGES.map(|model| (model, &images, Output::Row(3))).into_iter();
    let all = all.chain(SEQUENCES.map(|model| (model, &sequences, Output::Row(3))));
    let all = all.chain(TOKENS.map(|model| (model, &tokens, Output::Row(3))));
    let bags = ["embeddingbag(4) dense(3) tanh", "embeddingbag(4, mean=false) silu"];
    let all = all.chain(bags.map(|model| (model, &tokens, Output::Row(3))));
    let all = all.chain(TOKENS.map(|model| (model, &next, Output::NextToken)));
    for (model, rows, output) in all {
        let network = network(model, rows.input.clone(), output, Loss::SOFTMAX);
        assert_eq!(network.spec().to_string(), model);
        assert_slopes(&network, &network.init(), &rows.batch());
    }
    let network = network("gru(4)", next.input.clone(), Output::NextToken, Loss::SOFTMAX);
    let targets = next.codes.chunks(5).flat_map(|row| &row[1..]);
    let seen = targets.filter(|&&code| code != Batch::<f64>::UNSEEN).count();
    assert_eq!(network.loss(&network.init(), &next.batch()).weight, seen as f64);
}

#[test]
fn every_layer_keeps_its_bits_on_any_number_of_threads() {
    let (images, sequences, tokens) = (Rows::image(70), Rows::sequence(90), Rows::tokens(80, 5));
    let batchnorm = "conv(12, bias=false) batchnorm relu residual(conv(12), batchnorm, relu) globalpool";
    let cases =
        [(batchnorm, &images), (IMAGES[0], &images), (IMAGES[1], &images), (SEQUENCES[2], &sequences)];
    for (model, rows) in cases.into_iter().chain([("transformer(d=16, heads=2, layers=1)", &tokens)]) {
        let output = if rows.code_width == 5 { Output::NextToken } else { Output::Row(3) };
        let run = |threads| {
            let network =
                network(model, rows.input.clone(), output, Loss::SOFTMAX).with_threads(Threads::new(threads));
            let theta = network.init();
            let grads = gradient(&network, &theta, &rows.batch());
            let loss = network.loss(&theta, &rows.batch());
            (grads.flat().to_vec(), grads.total, loss, network.statistics().flat().to_vec())
        };
        assert_eq!(run(1), run(3), "{model}");
    }
}

#[test]
fn batch_norm_keeps_statistics_in_training_alone_and_saves_them() {
    let rows = Rows::image(7);
    let network = network("conv(3) batchnorm relu", rows.input.clone(), Output::Row(3), Loss::SOFTMAX);
    let theta = network.init();
    let fresh = network.statistics();
    assert_eq!(
        (fresh.tensor("1.running_mean"), fresh.tensor("1.running_var")),
        (&[0.0; 3][..], &[1.0; 3][..])
    );
    let before = network.loss(&theta, &rows.batch());
    assert_eq!(network.statistics().flat(), fresh.flat());
    gradient(&network, &theta, &rows.batch());
    let moved = network.statistics();
    assert_ne!(moved.flat(), fresh.flat());
    assert_ne!(network.loss(&theta, &rows.batch()), before);
    let bytes = network.state_to_bytes(&theta).unwrap();
    network.set_statistics(&fresh);
    assert_eq!(network.loss(&theta, &rows.batch()), before);
    network.state_from_bytes(&bytes).unwrap();
    assert_eq!(network.statistics().flat(), moved.flat());
}

#[test]
fn rows_describe_each_layer() {
    let input = Input::Image { channels: 1, height: 8, width: 8 };
    let model = "conv(32) relu pool(2) residual(conv(64, stride=2), relu) dense(10)";
    let network = network(model, input, Output::Row(3), Loss::SOFTMAX);
    let rows = network
        .describe()
        .iter()
        .map(|r| format!("{} {} {:?} {} {}", r.place, r.layer, r.output, r.parameters, r.multiply_adds));
    assert_eq!(
        rows.collect::<Vec<_>>(),
        [
            "0 conv(32, kernel=3) [32, 8, 8] 320 18432",
            "1 relu [32, 8, 8] 0 0",
            "2 pool(2) [32, 4, 4] 0 0",
            "3 residual(conv(64, kernel=3, stride=2), relu) [64, 2, 2] 20544 81920",
            "4 flatten [256] 0 0",
            "5 dense(10) [10] 2570 2560",
            "6 dense(3) [3] 33 30",
        ]
    );
    assert_eq!(network.describe().iter().map(|r| r.parameters).sum::<usize>(), network.layout().count());
}

#[test]
fn gains_shifts_and_embeddings_are_no_matrices() {
    let rows = Rows::tokens(1, 5);
    let model = "transformer(d=4, heads=1, layers=1)";
    let network = network(model, rows.input.clone(), Output::NextToken, Loss::SOFTMAX);
    for tensor in network.layout().tensors() {
        let kind = match tensor.name.as_str() {
            "0.weight" | "1.weight" => Kind::Embedding,
            name if name.contains("norm") || name == "3.weight" => {
                if name.ends_with("weight") {
                    Kind::Gain
                } else {
                    Kind::Bias
                }
            }
            name if name.ends_with("bias") => Kind::Bias,
            _ => Kind::Weight,
        };
        // The norms' shifts are biases.
        let kind = if tensor.name.ends_with("bias") { Kind::Bias } else { kind };
        assert_eq!(tensor.kind, kind, "{}", tensor.name);
    }
}

#[test]
fn slices_add_up_and_rows_of_weight_0_are_absent_to_the_bit() {
    let data = Table::new(50, |i| (i % 3) as f64);
    let network = network("mlp(6) dense(5) tanh", TABLE(), Output::Row(3), Loss::SOFTMAX);
    let theta = network.init();
    let whole = gradient(&network, &theta, &data.batch());
    let present: Vec<u32> = (0..50).filter(|i| data.weight[*i as usize] != 0.0).collect();
    let chosen = gradient(&network, &theta, &data.batch().rows(&present));
    assert_eq!((whole.flat(), whole.total), (chosen.flat(), chosen.total));
    let mut sum = Grads::zeros(network.layout());
    let order: Vec<u32> = (0..50).collect();
    for part in order.chunks(17) {
        network.gradient(&theta, &data.batch().rows(part), &mut sum);
    }
    assert_eq!(sum.total.weight, whole.total.weight);
    // The order of summation differs: a rounding of ε for each of 50 terms of the size of the largest gradient.
    let bound = 50.0 * f64::EPSILON * whole.flat().iter().fold(1.0f64, |m, g| m.max(g.abs()));
    assert!(sum.flat().iter().zip(whole.flat()).all(|(a, b)| (a - b).abs() <= bound));
    // More rows than a tape takes at once.
    let many: Vec<u32> = (0..3000).map(|i| i % 50).collect();
    let many = gradient(&network, &theta, &data.batch().rows(&many));
    assert_eq!(many.total.weight, 60.0 * whole.total.weight);
    assert!(many.flat().iter().zip(whole.flat()).all(|(a, b)| (a / 60.0 - b).abs() <= 60.0 * bound));
}

#[test]
fn threads_change_no_bit() {
    let data = Table::new(700, |i| (i % 3) as f64);
    let run = |threads| {
        let network = network("mlp(40, 30, dropout=0.2)", TABLE(), Output::Row(3), Loss::SOFTMAX)
            .with_threads(Threads::new(threads));
        let theta = network.init();
        let (loss, grads) = (network.loss(&theta, &data.batch()), gradient(&network, &theta, &data.batch()));
        let mut responses = vec![0.0; 700 * 3];
        network.responses(&theta, &data.batch(), &mut responses);
        (loss, grads.total, grads.flat().to_vec(), responses)
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn dropout_is_keyed_by_seed_and_step_and_predictions_leave_nothing_out() {
    let data = Table::new(60, |i| (i % 3) as f64);
    let network = network("mlp(20, dropout=0.5)", TABLE(), Output::Row(3), Loss::SOFTMAX);
    let theta = network.init();
    let (a, b) = (gradient(&network, &theta, &data.batch()), gradient(&network, &theta, &data.batch()));
    assert_ne!(a.flat(), b.flat());
    network.set_steps(0);
    assert_eq!(a.flat(), gradient(&network, &theta, &data.batch()).flat());
    assert_eq!(network.steps(), 1);
    assert_eq!(network.loss(&theta, &data.batch()), network.loss(&theta, &data.batch()));
}

/// Dropout and batch norm, looked at again within a step: one smooth function of the parameters. Its gradient is its slope, its Hessian
/// is symmetric, nothing counts or moves; the next step draws anew.
#[test]
fn a_step_looked_at_again_is_one_function() {
    let rows = Rows::image(7);
    let images = "conv(3) batchnorm tanh dropout(0.4) flatten dense(6) tanh dropout(0.3)";
    let image = || network(images, rows.input.clone(), Output::Row(3), Loss::SOFTMAX);
    let data = Table::new(1500, |i| (i % 3) as f64);
    let table = || network("mlp(9, activation=tanh, dropout=0.5)", TABLE(), Output::Row(3), Loss::SOFTMAX);
    // The table has more rows than a part of them that runs at once.
    for (network, other, batch) in [(image(), image(), rows.batch()), (table(), table(), data.batch())] {
        let again = |theta: &Params<f64>| {
            let mut grads = Grads::zeros(network.layout());
            let total = network.gradient_again(theta, &batch, &mut grads);
            assert_eq!(grads.total, total);
            grads
        };
        let theta = network.init();
        let first = again(&theta);
        let taken = gradient(&network, &theta, &batch);
        assert_eq!(first.flat(), taken.flat(), "before the first step: its draws");
        gradient(&network, &theta, &batch);
        let taken = gradient(&network, &theta, &batch);
        assert_ne!(first.flat(), taken.flat());
        let kept = network.statistics();
        for _ in 0..3 {
            let grads = again(&theta);
            assert_eq!((grads.flat(), grads.total), (taken.flat(), taken.total));
            assert_eq!(network.loss_again(&theta, &batch), taken.total);
        }
        // Another network that steps as often sees the same: nothing was counted, nothing moved.
        (0..3).for_each(|_| drop(gradient(&other, &theta, &batch)));
        assert_eq!((network.steps(), network.statistics().flat()), (3, other.statistics().flat()));
        // Central differences of the loss along two directions, h = ε^⅓: errors of the order of ε^⅔.
        let h = libm::cbrt(f64::EPSILON);
        let direction = |seed| {
            let mut v = Params::zeros(network.layout());
            let drawn = numbers(v.flat().len(), seed);
            let layout = network.layout().clone();
            for range in layout.tensors().iter().map(|t| t.range()) {
                v.flat_mut()[range.clone()].copy_from_slice(&drawn[range]);
            }
            v
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (u, v) = (direction(5), direction(6));
        for v in [&u, &v] {
            let at = |h: f64| {
                let mut point = theta.clone();
                point.flat_mut().iter_mut().zip(v.flat()).for_each(|(p, v)| *p += h * v);
                network.loss_again(&point, &batch).loss
            };
            let (slope, exact) = ((at(h) - at(-h)) / (2.0 * h), dot(taken.flat(), v.flat()));
            assert!(
                (slope - exact).abs() <= 1e-6 * (1.0 + exact.abs()) * batch.len() as f64,
                "{slope} is not {exact}"
            );
        }
        let product = |v: &Params<f64>| {
            let mut out = Grads::zeros(network.layout());
            network.hessian_vector(&theta, v, &batch, &mut out);
            out
        };
        let (hu, hv) = (product(&u), product(&v));
        let (a, b) = (dot(v.flat(), hu.flat()), dot(u.flat(), hv.flat()));
        let size = dot(hu.flat(), hu.flat()).sqrt() * dot(v.flat(), v.flat()).sqrt();
        assert!((a - b).abs() <= 1e-6 * size, "{a} and {b} of {size}");
        assert_eq!((network.steps(), network.statistics().flat()), (3, kept.flat()));
        assert_ne!(gradient(&network, &theta, &batch).flat(), taken.flat(), "the next step draws anew");
        assert_ne!(network.loss(&theta, &batch), network.loss_again(&theta, &batch));
    }
}

#[test]
fn responses_are_probabilities_or_numbers_in_their_units() {
    let data = Table::new(300, |i| (i % 2) as f64);
    let batch = data.batch();
    let softmax = network("mlp(4)", TABLE(), Output::Row(3), Loss::SOFTMAX);
    let theta = softmax.init();
    let (mut z, mut p, mut classes) = (vec![0.0; 900], vec![0.0; 900], vec![0; 300]);
    softmax.scores(&theta, &batch, &mut z);
    softmax.responses(&theta, &batch, &mut p);
    softmax.classes(&theta, &batch, &mut classes);
    for ((z, p), &class) in z.chunks(3).zip(p.chunks(3)).zip(&classes) {
        let sum: f64 = z.iter().map(|&z| libm::exp(z)).sum();
        assert!(z.iter().zip(p).all(|(&z, p)| (libm::exp(z) / sum - p).abs() < 1e-14));
        assert!(p.iter().all(|&other| other <= p[class as usize]));
    }
    let logistic = network("mlp(4)", TABLE(), Output::Row(1), Loss::LOGISTIC);
    let theta = logistic.init();
    let (mut z, mut p) = (vec![0.0; 300], vec![0.0; 600]);
    logistic.scores(&theta, &batch, &mut z);
    logistic.responses(&theta, &batch, &mut p);
    for (z, p) in z.iter().zip(p.chunks(2)) {
        let one = 1.0 / (1.0 + libm::exp(-z));
        assert!((p[1] - one).abs() < 1e-14 && (p[0] - (1.0 - one)).abs() < 1e-14);
    }
}

#[test]
fn expressions_print_back_as_themselves() {
    for text in [
        "mlp(128, 64, dropout=0.1, activation=gelu)",
        "dense(8, bias=false) leaky_relu(slope=0.2) dense(4) elu",
    ] {
        let spec = ModelSpec::parse(text).unwrap();
        assert_eq!(spec.to_string(), text);
        assert_eq!(ModelSpec::parse(&format!(" {} ", text.replace(", ", " ,"))).unwrap(), spec);
    }
}

#[test]
fn errors_point_at_their_place() {
    let wrong = |text| ModelSpec::parse(text).unwrap_err().to_string();
    assert_eq!(
        wrong("mlp(12, 0.5)"),
        "width must be in {1, 2, 3, …}, got 0.5\n  mlp(12, 0.5)\n          ^^^"
    );
    assert_eq!(
        wrong("mlp(12, activation=rleu)"),
        "there is no layer \"rleu\"\n  mlp(12, activation=rleu)\n                     ^^^^ did you mean \"relu\"?"
    );
    assert!(wrong("mlp(12, activation=flatten)").starts_with("flatten is no activation"));
    assert!(wrong("mlp").starts_with("mlp needs at least one width"));
    assert!(wrong("dense(4, dropout=1)").starts_with("dense has no hyperparameter \"dropout\""));
    assert!(wrong("dropout(1)").starts_with("p must be in [0, 1), got 1"));
    assert_eq!(
        refusal("dense(4) embedding(8)", Input::numbers(3), Output::Row(2), Loss::SOFTMAX),
        "embedding takes tokens, and stands at the front\n  dense(4) embedding(8)\n           ^^^^^^^^^"
    );
    assert_eq!(
        refusal("conv(4) residual(conv(4), pool(9))", Rows::image(1).input, Output::Row(2), Loss::SOFTMAX),
        "a window of 9 does not fit into [4, 6, 5]\n  conv(4) residual(conv(4), pool(9))\n                            ^^^^"
    );
    let refused = |model| refusal(model, Rows::image(1).input, Output::Row(2), Loss::SOFTMAX);
    assert!(refused("gru(4)").starts_with("gru takes a sequence, not [2, 6, 5]"));
    assert!(refused("conv(4, kernel=2)").starts_with("a kernel of 2 cannot keep the size"));
    assert!(refused("conv(4, groups=3)").starts_with("3 groups do not divide 2 channels in and 4 out"));
    assert!(wrong("conv(4, padding=sam)").starts_with("padding is `same` or a number, got sam"));
    assert!(wrong("pool(2.5)").starts_with("size must be a whole number, got 2.5"));
    assert!(wrong("residual(3)").starts_with("residual takes layers, got 3"));
    let error = refusal("transformer(context=9)", Rows::tokens(1, 5).input, Output::NextToken, Loss::SOFTMAX);
    assert!(error.starts_with("a context of 9 does not suit rows of 4 steps"), "{error}");
    let error = refusal("dense(1e9) dense(1e9)", Input::numbers(3), Output::Row(2), Loss::SOFTMAX);
    assert!(error.starts_with("weight [1000000000, 1000000000] is too large"), "{error}");
    let error = refusal("mlp(4)", Input::numbers(3), Output::Row(2), Loss::SQUARED);
    assert_eq!(error, "a network under the squared loss cannot have 2 outputs");
    let error = refusal("mlp(4)", Input::numbers(3), Output::NextToken, Loss::SOFTMAX);
    assert!(error.starts_with("only a network that takes tokens"), "{error}");
}

#[test]
fn parameters_are_saved_under_pytorchs_names_and_read_back() {
    let network = network("mlp(5, 4, dropout=0.1)", TABLE(), Output::Row(3), Loss::SOFTMAX);
    let names: Vec<&str> = network.layout().tensors().iter().map(|t| t.name.as_str()).collect();
    let tables = ["embeddings.0.weight", "embeddings.1.weight"];
    let layers = ["0.weight", "0.bias", "3.weight", "3.bias", "6.weight", "6.bias"];
    assert_eq!(names, [&tables[..], &layers].concat());
    let theta = network.init();
    let bytes = network.state_to_bytes(&theta).unwrap();
    assert_eq!(network.state_from_bytes(&bytes).unwrap().flat(), theta.flat());
    let other = Network::<f64>::new(
        &ModelSpec::parse("mlp(6, 4)").unwrap(),
        TABLE(),
        Output::Row(3),
        Loss::SOFTMAX,
        0,
    );
    let Err(StateError::Mismatch { found }) = other.unwrap().state_from_bytes(&bytes) else {
        panic!("another network's parameters were read")
    };
    let text = found.join("; ");
    assert!(text.contains("0.weight has shape [5, 9], expected [6, 9]"), "{text}");
    assert!(text.contains("2.weight [4, 6] is missing") && text.contains("6.bias is unknown"), "{text}");
}

proptest! {
    /// Whatever is written, there is a network or an error.
    #[test]
    fn no_expression_makes_the_builder_panic(
        calls in prop::collection::vec((0usize..30, prop::collection::vec(0usize..14, 0..3)), 1..6),
        form in 0usize..4,
    ) {
        let values = ["1", "2", "3", "4", "7", "0", "-1", "0.5", "1e4", "1e15", "relu", "conv(2)", "kernel=2", "stride=3"];
        let calls = calls.iter().map(|(layer, args)| {
            let name = thalweg_models::layers::ALL[layer % thalweg_models::layers::ALL.len()].name;
            let args: Vec<&str> = args.iter().map(|&a| values[a]).collect();
            if args.is_empty() { name.to_string() } else { format!("{name}({})", args.join(", ")) }
        });
        let text = calls.collect::<Vec<_>>().join(" ");
        if let Ok(spec) = ModelSpec::parse(&text) {
            prop_assert_eq!(spec.to_string(), text);
            let rows = [Rows::numbers(Input::numbers(3), 2, 3), Rows::image(2), Rows::sequence(2), Rows::tokens(2, 4)];
            let rows = &rows[form];
            let built = Network::<f64>::new(&spec, rows.input.clone(), Output::Row(3), Loss::SOFTMAX, 0);
            if let Some(network) = built.ok().filter(|n| n.describe().iter().all(|r| r.multiply_adds < 1_000_000)) {
                let numbers: usize = network.describe().iter().map(|r| r.output.iter().product::<usize>()).sum();
                if network.layout().count() + numbers < 1_000_000 {
                    prop_assert!(network.loss(&network.init(), &rows.batch()).loss.is_finite());
                    gradient(&network, &network.init(), &rows.batch());
                }
            }
        }
    }
}

/// Rows that are made as they are read have the bits of those that lie in the batch, whatever is asked of them.
#[test]
fn rows_made_as_they_are_read() {
    let n = 700;
    let table = Table::new(n, |i| (i % 3) as f64);
    let index: Vec<u32> = (0..n as u32).rev().step_by(2).collect();
    let given = |at: usize, to: &mut Vec<f64>| to.extend_from_slice(&table.x[3 * at..3 * (at + 1)]);
    for model in ["mlp(6, dropout=0.2)", "dense(5) batchnorm relu"] {
        let input = || Input::Table { numbers: 3, levels: vec![4, 7] };
        let (a, b) = (
            network(model, input(), Output::Row(3), Loss::SOFTMAX),
            network(model, input(), Output::Row(3), Loss::SOFTMAX),
        );
        let (theta, over) = (a.init(), b.over(&given));
        for batch in [table.batch(), table.batch().rows(&index)] {
            let bare = Batch { dense: &[], ..batch };
            assert_eq!(a.loss(&theta, &batch), over.loss(&theta, &bare));
            let (one, mut other) = (gradient(&a, &theta, &batch), Grads::zeros(b.layout()));
            over.gradient(&theta, &bare, &mut other);
            assert_eq!((one.flat(), one.total), (other.flat(), other.total), "{model}");
            let (mut one, mut other) = (Grads::zeros(a.layout()), Grads::zeros(b.layout()));
            a.hessian_vector(&theta, &theta, &batch, &mut one);
            over.hessian_vector(&theta, &theta, &bare, &mut other);
            assert_eq!((one.flat(), one.total), (other.flat(), other.total), "{model}");
            let of = |batch| a.statistics_of(&theta, [batch]);
            assert_eq!(of(batch).flat(), over.statistics_of(&theta, [bare]).flat(), "{model}");
            let (mut p, mut q) = (vec![0.0; 3 * batch.len()], vec![0.0; 3 * batch.len()]);
            a.responses(&theta, &batch, &mut p);
            over.responses(&theta, &bare, &mut q);
            assert_eq!(p, q);
        }
        assert_eq!(a.statistics().flat(), b.statistics().flat());
    }
}
