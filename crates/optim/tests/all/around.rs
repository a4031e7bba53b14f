//! Clipping, averages and schedules beside PyTorch's.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use thalweg_core::{Float, Layout};
use thalweg_optim::rules::Build;
use thalweg_optim::{Horizon, Schedule};

use crate::common::{Run, both, layout, setup};
use crate::reference::{F32, F64, Reference, Unit};
use crate::trajectories::Case;

#[derive(Deserialize)]
struct File {
    tensors: Vec<Vec<usize>>,
    gradients: BTreeMap<String, Vec<Vec<f64>>>,
    clip: Vec<Around>,
    ema: Vec<Around>,
    schedules: Vec<Rates>,
}

#[derive(Deserialize)]
struct Around {
    #[serde(flatten)]
    case: Case,
    #[serde(default)]
    theta_exact: Vec<Vec<f64>>,
    #[serde(default)]
    norms: Vec<f64>,
    #[serde(default)]
    averaged: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Rates {
    torch: String,
    args: Value,
    lr: f64,
    rates: Vec<f64>,
}

fn file() -> File {
    serde_json::from_str(include_str!("../data/pytorch_around.json")).unwrap()
}

/// The unit of `F`, and the largest share of a coordinate's movement that its tolerance may be. In f32 a first step that moves
/// a θ of 0.25 by 6e-6 is blind to the 4u·0.25 of one addition, 2% of it, so no less than 5% can be asked of every coordinate.
fn unit<F: Float>() -> (Unit, f64) {
    if F::BYTES == 4 { (F32, 0.05) } else { (F64, 1e-6) }
}

/// Runs a case beside the reference, and compares θ and the average at the listed steps with PyTorch's.
fn follow<F: Build>(
    file: &File,
    around: &Around,
    each: &mut dyn FnMut(usize, &mut Run<F>, &thalweg_core::Report),
) {
    let case = &around.case;
    let sizes: Vec<isize> =
        file.tensors.iter().map(|shape| shape.iter().product::<usize>() as isize).collect();
    let layout = layout(&sizes);
    let mut run = Run::<F>::new(&case.expression, &layout, &setup(), &case.theta0);
    let (unit, blind) = unit::<F>();
    let mut reference = Reference::new(&case.expression, &case.theta0, unit);
    let movement = case.movement();
    for (t, gradient) in file.gradients[&case.gradients].iter().enumerate() {
        let report = run.step(gradient);
        reference.step(gradient);
        each(t, &mut run, &report);
        let Some(row) = case.steps.iter().position(|&s| s == t + 1) else { continue };
        let near = |what: &str, ours: f64, recorded: f64, bound: f64, i: usize| {
            let place = format!("{} on {}, {what} {i}, step {}", case.expression, case.gradients, t + 1);
            let moved = movement[row][i];
            assert!(bound < blind * moved || moved == 0.0, "{place}: {bound:e} hides {moved:e}");
            let apart = (ours - recorded).abs();
            assert!(apart <= bound, "{place}: {ours} is not PyTorch's {recorded} ± {bound:e}");
        };
        for (i, &ours) in run.values().iter().enumerate() {
            near("θ", ours, case.theta[row][i], reference.theta(i).1, i);
        }
        if !around.averaged.is_empty() {
            for (i, ours) in run.evaluated().unwrap().into_iter().enumerate() {
                near("average", ours, around.averaged[row][i], reference.average(i).1, i);
            }
        }
    }
}

both! {
    fn clipping_is_pytorchs<F>() {
        let file = file();
        let (mut clipped, mut passed) = (0, 0);
        for around in &file.clip {
            let limit = around.case.expression.split(['(', ')']).nth(1).unwrap().parse::<f64>().unwrap();
            follow::<F>(&file, around, &mut |t, _, report| {
                let Some(norm) = around.norms.get(t) else {
                    assert!(!report.clipped, "only clipping by norm is reported");
                    return;
                };
                // Seven numbers rounded to F, seven squares, six sums, a root, half of the error under it.
                let bound = 16.0 * F::EPSILON.to_f64() * norm;
                assert!((report.grad_norm - norm).abs() <= bound, "{} is not {norm}", report.grad_norm);
                assert_eq!(report.clipped, norm + 1e-6 > limit);
                *if report.clipped { &mut clipped } else { &mut passed } += 1;
            });
        }
        assert!(clipped > 50 && passed > 50, "{clipped} steps were clipped and {passed} were not");
    }

    fn averages_are_pytorchs<F>() {
        let file = file();
        for around in &file.ema {
            assert_eq!(around.averaged[0], around.case.theta[0], "the average starts at the first step's weights");
            follow::<F>(&file, around, &mut |_, run, _| {
                assert!(run.evaluated().is_some());
            });
        }
    }
}

/// The 10⁻⁶ in PyTorch's divisor is in ours: the recorded run without it is further away than rounding explains.
#[test]
fn the_divisor_of_clipping_is_pytorchs() {
    let file = file();
    let mut told_apart = 0;
    for around in file.clip.iter().filter(|a| !a.theta_exact.is_empty()) {
        let mut ours = vec![];
        follow::<f64>(&file, around, &mut |_, run, _| ours = run.values());
        let (theta, exact) = (around.case.theta.last().unwrap(), around.theta_exact.last().unwrap());
        for i in 0..theta.len() {
            let (with, without) = ((ours[i] - theta[i]).abs(), (ours[i] - exact[i]).abs());
            assert!(with <= without);
            told_apart += usize::from(1e3 * with < without);
        }
    }
    assert!(told_apart >= 20, "{told_apart}");
}

/// The expression of what PyTorch calls `torch(args)`, and the curve's name; `warm` steps of warm-up come before it.
fn expression(torch: &str, args: &Value, lr: f64, warm: u64) -> String {
    let number = |name: &str| args[name].as_f64().unwrap_or_else(|| panic!("{torch} has no {name}"));
    let warmup = if warm > 0 { format!(", warmup={warm} steps") } else { String::new() };
    match torch {
        "StepLR" => {
            format!("step({lr}, gamma={}, every={} steps{warmup})", number("gamma"), number("step_size"))
        }
        "ExponentialLR" => format!("exponential({lr}, gamma={}, every=1 steps{warmup})", number("gamma")),
        "LambdaLR" => {
            assert_eq!(args["form"], "1 / (1 + decay * k)");
            format!("inverse_time({lr}, decay={}, every=1 steps{warmup})", number("decay"))
        }
        "PolynomialLR" => {
            let over = number("total_iters") as u64 + warm;
            format!("polynomial({lr}, power={}, over={over} steps{warmup})", number("power"))
        }
        "CosineAnnealingLR" => {
            let over = number("T_max") as u64 + warm;
            let end = args["eta_min"].as_f64().unwrap_or(0.0);
            format!("cosine({lr}, end={end}, over={over} steps{warmup})")
        }
        "LinearLR" => {
            let steps = number("total_iters") + 1.0;
            assert_eq!((number("start_factor"), number("end_factor")), (1.0 / steps, 1.0));
            format!("constant({lr}, warmup={steps} steps)")
        }
        "SequentialLR" => {
            let (warm, then) = (args["milestones"][0].as_u64().unwrap(), &args["schedulers"][1]);
            let rise = &args["schedulers"][0];
            assert_eq!(rise["args"]["total_iters"].as_u64(), Some(warm - 1));
            expression(then["torch"].as_str().unwrap(), &then["args"], lr, warm)
        }
        other => panic!("what is {other}?"),
    }
}

#[test]
fn schedules_are_pytorchs() {
    for case in file().schedules {
        let text = expression(&case.torch, &case.args, case.lr, 0);
        let schedule = Schedule::parse(&text).unwrap();
        assert_eq!(case.rates.len(), 60);
        for (k, &recorded) in case.rates.iter().enumerate() {
            let ours = schedule.rate(k as u64 + 1, Horizon { steps: 60, per_epoch: 6 });
            // PyTorch multiplies rate by rate; at the end of a curve that leaves 1e-15 of what it started from.
            let bound = 1e-12 * recorded + 1e-14 * case.lr;
            assert!((ours - recorded).abs() <= bound, "{text}: {ours} is not {recorded} at {k}");
        }
    }
}

/// One case in `Layout`: the three tensors are those of the recording.
#[test]
fn the_recorded_tensors_have_padding_between_them() {
    let sizes: Vec<isize> = file().tensors.iter().map(|s| s.iter().product::<usize>() as isize).collect();
    let layout: &Layout = &layout(&sizes);
    assert_eq!(layout.count(), 7);
    assert!(layout.buffer_len() > 40);
}
