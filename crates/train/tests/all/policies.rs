//! What the loop does for optimizers that wait for gradients, scale the loss, or go on after numbers that are not finite.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use thalweg_core::{Batch, Grads, Kind, Layout, Objective, Params, Penalty, Total};
use thalweg_data::Batches;
use thalweg_optim::{Plan, Setup};
use thalweg_train::{FitOptions, Fitted, Stop, Task, fit};

/// Squared error of y = θ·x on small whole numbers; some evaluations of the gradient come out as `wrong`.
struct Line {
    layout: Arc<Layout>,
    calls: AtomicU64,
    broken: Vec<u64>,
    wrong: Total,
}

impl Objective<f64> for Line {
    fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }
    fn loss(&self, theta: &Params<f64>, batch: &Batch<'_, f64>) -> Total {
        self.sum(theta, batch, &mut |_, _| {})
    }
    fn gradient(&self, theta: &Params<f64>, batch: &Batch<'_, f64>, grads: &mut Grads<f64>) -> Total {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let mut total = self.sum(theta, batch, &mut |error, x| {
            grads.flat_mut().iter_mut().zip(x).for_each(|(g, x)| *g += error * x);
        });
        if self.broken.contains(&call) {
            grads.flat_mut()[1] = f64::NAN;
            total.loss = self.wrong.loss;
        }
        grads.total += total;
        total
    }
}

impl Line {
    fn sum(&self, theta: &Params<f64>, batch: &Batch<'_, f64>, each: &mut dyn FnMut(f64, &[f64])) -> Total {
        let mut total = Total::default();
        for i in 0..batch.len() {
            let at = batch.at(i);
            let x = batch.dense_row(at);
            let error = x.iter().zip(theta.flat()).map(|(x, t)| x * t).sum::<f64>() - batch.target[at];
            each(error, x);
            total += Total { loss: error * error / 2.0, weight: 1.0 };
        }
        total
    }
}

/// A run on 22 rows in the order of their numbers.
fn run(expression: &str, batch: usize, epochs: u64, broken: &[u64]) -> Fitted<f64> {
    let rows = 22;
    let dense: Vec<f64> = (0..2 * rows).map(|i| ((i * 7) % 5) as f64 - 2.0).collect();
    let target: Vec<f64> = (0..rows).map(|i| ((i * 3) % 7) as f64 - 3.0).collect();
    let layout = Arc::new(Layout::builder().tensor("w", &[2], &["in"], Kind::Weight).build());
    let wrong = Total { loss: f64::NAN, weight: 0.0 };
    let objective =
        Line { layout: Arc::clone(&layout), calls: AtomicU64::new(0), broken: broken.to_vec(), wrong };
    let train = Batch {
        dense: &dense,
        width: 2,
        codes: &[],
        code_width: 0,
        target: &target,
        weight: None,
        index: None,
    };
    let interrupt = AtomicBool::new(false);
    let task = Task { objective: &objective, train, valid: None, interrupt: &interrupt, kept: None };
    let mut optimizer = Plan::parse(expression).unwrap().build(&layout, &Setup::default()).unwrap();
    let mut batches = Batches::new(rows, batch, 0, false);
    let options = FitOptions {
        epochs,
        tolerance: 0.0,
        loss_tolerance: 0.0,
        patience: None,
        penalty: Penalty::default(),
        probes: vec![],
    };
    fit(&task, optimizer.as_mut(), Params::zeros(&layout), &mut batches, &options, &mut []).unwrap()
}

/// Three batches of 4 are one of 12, and what is left at the end of an epoch is a step: 22 = 12 + 10 = 4 + 4 + 4, 4 + 4 + 2.
/// The last windows of 22 = 5·4 + 2 with n = 4 are ragged: 16 + 6.
#[test]
fn accumulated_batches_are_larger_batches() {
    // A rate that is a power of two: gradients of small whole numbers and their sums are exact at first, and later orders of
    // summation differ by rounding alone.
    for (n, large) in [(3, 12), (4, 16), (2, 8), (100, 22)] {
        let small = run(&format!("accumulate({n}) | sgd(lr=0.0625, momentum=0.9)"), 4, 3, &[]);
        let whole = run("sgd(lr=0.0625, momentum=0.9)", large, 3, &[]);
        assert_eq!((small.stop, small.steps), (Stop::Epochs, 18));
        let moved = whole.params.flat()[..2].iter().fold(0.0f64, |m, x| m.max(x.abs()));
        assert!(moved > 0.01);
        for (a, b) in small.params.flat().iter().zip(whole.params.flat()) {
            // Some 50 roundings a step of numbers of the size of what moved, in at most 9 steps.
            assert!((a - b).abs() <= 500.0 * f64::EPSILON * moved, "n = {n}: {a} is not {b}");
        }
    }
}

/// The loop multiplies by the scale that the optimizer divides by.
#[test]
fn the_loop_scales_the_loss() {
    let scaled = run("loss_scale(init=4096, interval=2) | adam(lr=0.1)", 4, 3, &[]);
    let plain = run("adam(lr=0.1)", 4, 3, &[]);
    assert_eq!(scaled.params.flat(), plain.params.flat());
}

/// Without a policy the run stops where a number is not finite; with one it goes on, counts, and gives up after too many.
#[test]
fn a_run_goes_on_after_numbers_that_are_not_finite() {
    let stopped = run("sgd(lr=0.05)", 4, 3, &[8]);
    assert_eq!((stopped.stop, stopped.steps, stopped.skipped), (Stop::Diverged, 8, 0));
    for policy in ["skip_nonfinite", "rollback(every=2)", "loss_scale"] {
        let went_on = run(&format!("{policy} | sgd(lr=0.05)"), 4, 3, &[1, 8, 9]);
        assert_eq!((went_on.stop, went_on.steps, went_on.skipped), (Stop::Epochs, 18, 3), "{policy}");
        assert!(went_on.train_loss.is_finite() && went_on.diverged.is_none(), "{policy}");
    }
    let gave_up = run("skip_nonfinite(2) | sgd(lr=0.05)", 4, 3, &[5, 6, 7]);
    assert_eq!((gave_up.stop, gave_up.steps, gave_up.skipped), (Stop::Diverged, 7, 2));
    // With the first batch left out of a window, the window has the others.
    let waits = run("skip_nonfinite | accumulate(5) | sgd(lr=0.05)", 4, 1, &[1]);
    let all = run("accumulate(5) | sgd(lr=0.05)", 4, 1, &[]);
    assert!(waits.skipped == 1 && waits.params.flat() != all.params.flat());
}
