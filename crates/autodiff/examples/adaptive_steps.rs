//! A model whose control flow depends on the data: it refines its state until that rests, however many steps this takes.
//!
//!     cargo run -p thalweg-autodiff --example adaptive_steps
//!
//! ```text
//! z ← tanh(W z + U x + b)   until no number of z moves by more than 1e-3        ŷ = V z + c
//! ```
//! Control flow is plain Rust: the loop reads [`Tape::value`], and what is recorded in a step is what ran in that step. The gradient
//! goes back through as many refinements as there were, and memory is that of the step at hand.

use thalweg_autodiff::{Activation, Number, Tape, Var, Workspace};
use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Kind, Layout, Threads};

const WIDTH: usize = 12;
/// A state moves by less than this when it rests.
const REST: f64 = 1e-3;
/// Refinements at most.
const MOST: usize = 60;

/// ŷ `[n, 1]` for x `[n, 1]`, and how many refinements it took.
fn model<N: Number>(tape: &mut Tape<'_, N>, x: Var) -> (Var, usize) {
    let [w, u, b, v, c] = ["w", "u", "b", "v", "c"].map(|name| tape.param(name));
    let pull = tape.dense(x, u, Some(b), Activation::Identity);
    let mut z = tape.tanh(pull);
    let mut count = 0;
    loop {
        let own = tape.dense(z, w, None, Activation::Identity);
        let sum = tape.add(own, pull);
        let next = tape.tanh(sum);
        count += 1;
        let moved = |(a, b): (&N, &N)| (a.to_f64() - b.to_f64()).abs() > REST;
        let moves = tape.value(z).iter().zip(tape.value(next)).any(moved);
        z = next;
        if !moves || count == MOST {
            break;
        }
    }
    (tape.dense(z, v, Some(c), Activation::Identity), count)
}

/// Fits one period of a sine, and says how many refinements it took on the way.
pub fn main() {
    let layout = Layout::builder()
        .tensor("w", &[WIDTH, WIDTH], &["out", "in"], Kind::Weight)
        .tensor("u", &[WIDTH, 1], &["out", "in"], Kind::Weight)
        .tensor("b", &[WIDTH], &["out"], Kind::Bias)
        .tensor("v", &[1, WIDTH], &["out", "in"], Kind::Weight)
        .tensor("c", &[1], &["out"], Kind::Bias)
        .build();
    let mut theta = vec![0.0; layout.buffer_len()];
    let mut stream = Stream::new(0, Purpose::Init, 0);
    for (name, size) in [("w", 0.15), ("u", 1.0), ("b", 1.0), ("v", 0.3)] {
        let range = layout.get(name).map(|t| t.range()).unwrap_or_default();
        theta[range].iter_mut().for_each(|x| *x = size * stream.normal());
    }
    let n = 32;
    let x: Vec<f64> = (0..n).map(|i| 2.0 * i as f64 / (n - 1) as f64 - 1.0).collect();
    let y: Vec<f64> = x.iter().map(|x| libm::sin(3.0 * x)).collect();

    let mut workspace = Workspace::new(Threads::serial());
    let (mut grads, mut velocity) = (vec![0.0; theta.len()], vec![0.0; theta.len()]);
    let (mut counts, mut losses) = (vec![], vec![]);
    for step in 0..1500 {
        grads.fill(0.0);
        let mut tape = workspace.tape(&layout, &theta);
        let (input, target) = (tape.input(&x, [n, 1]), tape.input(&y, [n, 1]));
        let (prediction, count) = model(&mut tape, input);
        let loss = tape.mse(prediction, target, None);
        tape.backward(loss, &mut grads);
        let loss = tape.value(loss)[0] / n as f64;
        drop(tape);
        if step % 300 == 0 {
            println!("step {step:4}: loss {loss:.6}, {count} refinements");
        }
        if step == 0 {
            check_gradient(&mut workspace, &layout, &theta, (&x, &y), &grads, count);
        }
        counts.push(count);
        losses.push(loss);
        for ((w, v), g) in theta.iter_mut().zip(&mut velocity).zip(&grads) {
            *v = 0.9 * *v - 0.02 * g / n as f64;
            *w += *v;
        }
    }
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    let (fewest, most) = (counts.iter().min(), counts.iter().max());
    println!("loss {first:.4} at first, {last:.6} at last; {fewest:?} to {most:?} refinements");
    assert!(last < 1e-3 && last < first / 100.0, "{first} became {last}");
    assert!(
        fewest < most && most < Some(&MOST),
        "the data decide how many refinements there are: {counts:?}"
    );
}

/// The gradient along its own direction against a central difference: the number of refinements is the same on both sides, and
/// h = ε^⅓ leaves an error of the order ε^⅔.
fn check_gradient(
    workspace: &mut Workspace<f64>,
    layout: &Layout,
    theta: &[f64],
    (x, y): (&[f64], &[f64]),
    grads: &[f64],
    count: usize,
) {
    let norm = grads.iter().map(|g| g * g).sum::<f64>().sqrt();
    let h = 6e-6;
    let mut side = |h: f64| {
        let theta: Vec<f64> = theta.iter().zip(grads).map(|(w, g)| w + h * g / norm).collect();
        let mut tape = workspace.evaluation(layout, &theta);
        let (input, target) = (tape.input(x, [x.len(), 1]), tape.input(y, [y.len(), 1]));
        let (prediction, refinements) = model(&mut tape, input);
        assert_eq!(refinements, count);
        let loss = tape.mse(prediction, target, None);
        tape.value(loss)[0]
    };
    let slope = (side(h) - side(-h)) / (2.0 * h);
    assert!((slope - norm).abs() < 1e-7 * norm, "the slope is {slope}, the gradient says {norm}");
}
