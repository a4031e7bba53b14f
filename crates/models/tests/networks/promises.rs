//! What networks promise about rows, weights, threads, seeds and files.

use thalweg_core::{Batch, Grads, Objective, Params, Threads};
use thalweg_models::losses::Loss;
use thalweg_models::network::{Criterion, Input, ModelSpec, Network, NetworkError, Output, StateError};

use crate::common::{codes, numbers};

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

/// A table: 3 numbers and 2 columns of 4 and 7 levels; some codes unseen.
struct Table {
    x: Vec<f64>,
    codes: Vec<u32>,
    y: Vec<f64>,
    weight: Vec<f64>,
}

impl Table {
    fn new(n: usize, y: impl Fn(usize) -> f64) -> Self {
        let mut codes: Vec<u32> =
            codes(n, 4, 1).into_iter().zip(codes(n, 7, 2)).flat_map(|(a, b)| [a, 4 + b]).collect();
        codes.iter_mut().step_by(5).for_each(|code| *code = Batch::<f64>::UNSEEN);
        let weight = (0..n).map(|i| [1.0, 0.0, 2.0][i % 3]).collect();
        Self { x: numbers(3 * n, 3), codes, y: (0..n).map(y).collect(), weight }
    }
    fn batch(&self) -> Batch<'_, f64> {
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

const TABLE: fn() -> Input = || Input::Table { numbers: 3, levels: vec![4, 7] };

/// The loss's slope along each coordinate by central differences: h = ε^(1/3), so the error is of the order of ε^(2/3).
fn assert_slopes(network: &Network<f64>, theta: &Params<f64>, batch: &Batch<'_, f64>) {
    let grads = gradient(network, theta, batch);
    let h = f64::EPSILON.cbrt();
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
    let losses = ["squared", "huber(0.7)", "absolute", "quantile(0.8)", "poisson", "logistic", "softmax"];
    for loss in losses {
        let loss: Loss = loss.parse().unwrap();
        let outputs = loss.outputs(3);
        let data = Table::new(9, |i| if loss == Loss::LOGISTIC { (i % 2) as f64 } else { third(i) });
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
