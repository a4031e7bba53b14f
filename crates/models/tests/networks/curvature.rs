//! Products with the Hessian of whole networks.

use thalweg_autodiff::Number;
use thalweg_core::objective::difference_of_gradients;
use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Batch, Float, Grads, Objective, Params, Threads};
use thalweg_models::losses::{Loss, Task};
use thalweg_models::network::{Criterion, Input, ModelSpec, Network, Output};

use crate::common::{Rows, TABLE, Table};

/// Networks of each kind, without kinks: near one, differences of gradients say nothing.
const IMAGE: &str = "conv(3, bias=false) batchnorm silu residual(conv(4, stride=2), batchnorm, tanh) avgpool(2) dense(5) gelu";
const NORMS: &str = "conv(4, groups=2) groupnorm(2) elu globalpool layernorm";
const SEQUENCE: &str = "conv(4, kernel=2, padding=1) rmsnorm lstm(3) dense(3) softplus";
const TRANSFORMER: &str = "transformer(d=4, heads=2, layers=2, hidden=6)";

fn network<F: Float + Number>(
    model: &str,
    input: Input,
    output: Output,
    loss: impl Into<Criterion>,
) -> Network<F> {
    Network::new(&ModelSpec::parse(model).unwrap(), input, output, loss, 3).unwrap()
}

/// A direction of ones and smaller numbers of both signs; 0 in the padding.
fn direction<F: Float + Number>(network: &Network<F>, seed: u64) -> Params<F> {
    let mut v = Params::zeros(network.layout());
    let mut stream = Stream::new(seed, Purpose::Probe, 0);
    for tensor in network.layout().tensors() {
        for v in &mut v.flat_mut()[tensor.range()] {
            *v = F::from_f64(2.0 * stream.uniform() - 1.0);
        }
    }
    v
}

fn product<F: Float + Number>(
    network: &Network<F>,
    theta: &Params<F>,
    v: &Params<F>,
    batch: &Batch<'_, F>,
) -> Grads<F> {
    // What is there before is no part of the answer.
    let mut out = Grads::zeros(network.layout());
    out.flat_mut().fill(F::from_f64(7.0));
    let total = network.hessian_vector(theta, v, batch, &mut out);
    assert_eq!(total.weight, out.total.weight);
    out
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn top(x: &[f64]) -> f64 {
    x.iter().fold(0.0f64, |top, x| top.max(x.abs()))
}

/// H v against the difference of two gradients, `uᵀHv = vᵀHu`, the same bits on 1, 2 and 3 threads, the weight of the rows; nothing is
/// kept of a product.
fn check(make: impl Fn() -> Network<f64>, batch: &Batch<'_, f64>) {
    let (network, what) = (make(), make().spec().to_string());
    let theta = network.init();
    let (u, v) = (direction(&network, 1), direction(&network, 2));
    let (steps, kept) = (network.steps(), network.statistics());
    let (hu, hv) = (product(&network, &theta, &u, batch), product(&network, &theta, &v, batch));
    assert_eq!((network.steps(), network.statistics().flat()), (steps, kept.flat()), "{what}");
    assert!(top(hv.flat()) > 1e-3, "{what}: nothing was checked");
    assert_eq!(hv.total.weight, network.loss(&theta, batch).weight, "{what}");

    // h = ε^⅓ leaves an error of the order ε^⅔ = 4e-11 times third derivatives, which are below 1e3 of the product here.
    let mut near = Grads::zeros(network.layout());
    difference_of_gradients(&network, &theta, &v, batch, &mut near);
    for (i, (exact, near)) in hv.flat().iter().zip(near.flat()).enumerate() {
        assert!((exact - near).abs() < 4e-8 * top(hv.flat()), "{what}, at {i}: {exact} {near}");
    }
    // Sums of n terms, each with a rounding of a few ε of the largest.
    let (a, b) = (dot(u.flat(), hv.flat()), dot(v.flat(), hu.flat()));
    let bound = 100.0 * f64::EPSILON * theta.flat().len() as f64 * top(hv.flat()).max(top(hu.flat()));
    assert!((a - b).abs() < bound && bound < 1e-6 * a.abs().max(top(hv.flat())), "{what}: {a} {b}");
    for threads in [2, 3] {
        let other = make().with_threads(Threads::new(threads));
        assert_eq!(product(&other, &theta, &v, batch).flat(), hv.flat(), "{what}, {threads} threads");
    }
}

#[test]
fn products_equal_differences_of_gradients_and_are_symmetric() {
    let third = |i: usize| (i % 3) as f64;
    for loss in ["squared", "poisson", "logistic", "softmax"] {
        let loss: Loss = loss.parse().unwrap();
        let data = Table::new(9, |i| if loss.task() == Task::TwoClasses { (i % 2) as f64 } else { third(i) });
        let output = Output::Row(loss.outputs(3));
        check(|| network("mlp(6, 5, activation=tanh)", TABLE(), output, loss), &data.batch());
    }
    let criterion =
        Criterion { loss: Loss::SOFTMAX, class_weights: Some(vec![1.0, 0.5, 3.0]), smoothing: 0.1 };
    let data = Table::new(9, third);
    check(|| network("dense(5) silu", TABLE(), Output::Row(3), criterion.clone()), &data.batch());
    // More rows than one tape takes.
    let data = Table::new(2500, third);
    check(|| network("dense(4) gelu", TABLE(), Output::Row(3), Loss::SOFTMAX), &data.batch());
    let rows = Rows::image(7);
    for model in [IMAGE, NORMS] {
        check(|| network(model, rows.input.clone(), Output::Row(3), Loss::SOFTMAX), &rows.batch());
    }
    let rows = Rows::sequence(5);
    check(|| network(SEQUENCE, rows.input.clone(), Output::Row(3), Loss::SOFTMAX), &rows.batch());
    let rows = Rows::tokens(5, 4);
    check(|| network("gru(4)", rows.input.clone(), Output::Row(3), Loss::SOFTMAX), &rows.batch());
    let rows = Rows::tokens(5, 5);
    check(|| network(TRANSFORMER, rows.input.clone(), Output::NextToken, Loss::SOFTMAX), &rows.batch());
}

/// Through two layers of squared loss without activations, `f = Σ ½(a·W x + b − y)²`: the Hessian is known in closed form along the
/// outer bias, `∂²f/∂b² = Σ w`.
#[test]
fn the_outer_bias_of_a_squared_loss_has_the_weight_as_its_curvature() {
    let data = Table::new(9, |i| i as f64);
    let network: Network<f64> = network("dense(4)", TABLE(), Output::Row(1), Loss::SQUARED);
    let theta = network.init();
    let mut v = Params::zeros(network.layout());
    v.tensor_mut("1.bias")[0] = 1.0;
    let out = product(&network, &theta, &v, &data.batch());
    assert_eq!(out.tensor("1.bias"), [data.weight.iter().sum::<f64>()]);
}

/// The numbers that dropout leaves out are those of the gradient before.
#[test]
fn dropout_leaves_out_what_the_last_gradient_left_out() {
    let data = Table::new(60, |i| (i % 3) as f64);
    let network: Network<f64> =
        network("mlp(12, activation=tanh, dropout=0.5)", TABLE(), Output::Row(3), Loss::SOFTMAX);
    let (theta, v) = (network.init(), direction(&network, 2));
    let h = 6e-6;
    let mut last = vec![];
    for step in [0, 5] {
        let side = |h: f64| {
            network.set_steps(step);
            let mut theta = theta.clone();
            theta.flat_mut().iter_mut().zip(v.flat()).for_each(|(x, v)| *x += h * v);
            let mut grads = Grads::zeros(network.layout());
            network.gradient(&theta, &data.batch(), &mut grads);
            grads
        };
        let (up, down) = (side(h), side(-h));
        let hv = product(&network, &theta, &v, &data.batch());
        let bound = 4e-8 * top(hv.flat());
        for (hv, (up, down)) in hv.flat().iter().zip(up.flat().iter().zip(down.flat())) {
            assert!((hv - (up - down) / (2.0 * h)).abs() < bound, "step {step}");
        }
        assert_ne!(hv.flat(), last, "each step leaves out other numbers");
        last = hv.flat().to_vec();
    }
}

/// In f32 the product is that of f64 but for its rounding: some hundred operations of ε/2 = 6e-8 each on the way to a number.
#[test]
fn single_precision_is_as_good_as_its_numbers() {
    let (rows, single) = (Rows::<f64>::tokens(5, 5), Rows::<f32>::tokens(5, 5));
    let double: Network<f64> = network(TRANSFORMER, rows.input.clone(), Output::NextToken, Loss::SOFTMAX);
    let network: Network<f32> = network(TRANSFORMER, rows.input.clone(), Output::NextToken, Loss::SOFTMAX);
    let (theta, v) = (network.init(), direction(&network, 2));
    let widened = |x: &Params<f32>| {
        let mut wide = Params::zeros(double.layout());
        wide.flat_mut().iter_mut().zip(x.flat()).for_each(|(to, &x)| *to = f64::from(x));
        wide
    };
    let found = product(&network, &theta, &v, &single.batch());
    let exact = product(&double, &widened(&theta), &widened(&v), &rows.batch());
    let bound = 400.0 * f64::from(f32::EPSILON / 2.0) * top(exact.flat());
    for (found, exact) in found.flat().iter().zip(exact.flat()) {
        assert!((f64::from(*found) - exact).abs() < bound, "{found} {exact}");
    }
}
