//! l1 by the proximal step: the minimum of ½Σ hᵢ(θᵢ − aᵢ)² + l2/2·‖θ‖² + l1·‖θ‖₁ is known, zeros included.

use thalweg_core::{At, NoOracle, Penalty};
use thalweg_optim::rules::Entry;
use thalweg_optim::{Horizon, Plan, Setup};

use crate::common::{Run, both, layout, setup};

const STEPS: u64 = 20_000;

/// Rules that get there, each with a rate that suits it. Those that divide by the size of the gradient need one that falls,
/// and have it here. Centred RMSProp is not among them: at a minimum with θ ≠ 0 the gradient of the smooth part is a
/// constant, ∓l1; its variance is 0, and the step lr/ε.
const RULES: [&str; 22] = [
    "gd(lr=0.2)",
    "gd(lr=cosine(0.2))",
    "momentum(lr=0.1)",
    "momentum(lr=0.2, dampening=0.5)",
    "nesterov(lr=0.05)",
    "adagrad(lr=0.5)",
    "adagrad(lr=0.5, initial_accumulator_value=0.1, lr_decay=1e-4)",
    "rmsprop(lr=cosine(0.05))",
    "rmsprop(lr=cosine(0.01), momentum=0.9)",
    "adam(lr=cosine(0.05))",
    "amsgrad(lr=cosine(0.05))",
    "adamw(lr=cosine(0.05), weight_decay=0)",
    "adamax(lr=cosine(0.05))",
    "adamaxw(lr=cosine(0.05), weight_decay=0)",
    "optimistic_sgd(lr=0.1)",
    "nadam(lr=cosine(0.05))",
    "nadamw(lr=cosine(0.05), weight_decay=0)",
    "radam(lr=cosine(0.05))",
    "adabelief(lr=cosine(0.05), eps=1e-8)",
    "adabound(lr=cosine(0.05))",
    "amsbound(lr=cosine(0.05))",
    "yogi(lr=cosine(0.05))",
];

const CURVATURE: [f64; 8] = [1.0, 0.5, 4.0, 2.0, 1.0, 0.25, 3.0, 1.0];
const CENTRE: [f64; 8] = [2.0, -3.0, 0.07, -0.1, 0.0, 1.0, -1.5, 0.25];

/// soft(h·a, l1)/(h + l2).
fn minimum(i: usize, penalty: Penalty) -> f64 {
    let pull = CURVATURE[i] * CENTRE[i];
    pull.signum() * (pull.abs() - penalty.l1).max(0.0) / (CURVATURE[i] + penalty.l2)
}

both! {
    fn the_fixed_point_is_the_soft_threshold<F>() {
        let setup = Setup { horizon: Horizon { steps: STEPS, per_epoch: 100 }, ..setup() };
        for rule in RULES {
            for penalty in [Penalty { l1: 0.3, l2: 0.0 }, Penalty { l1: 0.3, l2: 0.5 }, Penalty { l1: 5.0, l2: 0.0 }] {
                // The last two coordinates are biases: no penalty reaches them.
                let start = [0.0, 1.0, -1.0, 0.5, 1.0, 0.0, 4.0, 0.0];
                let mut run = Run::<F>::new(rule, &layout(&[6, -2]), &setup, &start);
                run.penalty = penalty;
                let gradient = |run: &Run<F>| -> Vec<f64> {
                    run.values().iter().enumerate().map(|(i, x)| CURVATURE[i] * (x - CENTRE[i])).collect()
                };
                for _ in 0..STEPS {
                    let g = gradient(&run);
                    run.step(&g);
                }
                for (i, x) in run.values().into_iter().enumerate() {
                    let wanted = minimum(i, if i < 6 { penalty } else { Penalty::default() });
                    // Steps are lost to rounding once metric·|slope| < u·|θ|, with a metric of at least 0.01 while a rate that
                    // falls is still worth something, and h ≥ ¼: 400 u·|θ|.
                    let bound = 400.0 * F::EPSILON.to_f64() * wanted.abs().max(0.1);
                    assert!((x - wanted).abs() <= bound, "{rule} with {penalty:?}: θ{i} is {x}, not {wanted}");
                    assert_eq!(x == 0.0, wanted == 0.0, "{rule} with {penalty:?}: θ{i} is {x}, not {wanted}");
                }
                let g = gradient(&run);
                crate::common::write(run.theta.layout(), run.grads.flat_mut(), &g);
                run.grads.total.weight = 1.0;
                let slope = penalty.stationarity(&run.theta, &run.grads);
                assert!(slope < 4000.0 * F::EPSILON.to_f64(), "{rule}: {slope:e}");
            }
        }
    }
}

/// Rules without a proximal step refuse an l1 penalty by name, and nothing is written.
#[test]
fn rules_without_a_proximal_step_refuse_l1() {
    let mut refused = 0;
    for rule in crate::common::all_settings() {
        if Plan::parse(&rule).unwrap().is_proximal() {
            continue;
        }
        let mut run = Run::<f64>::new(&rule, &layout(&[6, -2]), &setup(), &[1.0; 8]);
        let before = run.bits();
        let at = At { step: 1, penalty: Penalty { l1: 0.1, l2: 0.0 } };
        run.grads.total.weight = 1.0;
        let error = run.optimizer.step(at, &mut run.theta, &mut run.grads, &mut NoOracle).unwrap_err();
        assert!(error.to_string().contains("has no proximal step"), "{error}");
        assert_eq!(run.bits(), before);
        refused += 1;
    }
    assert!(refused > 20);
}

#[test]
fn every_rule_is_among_them() {
    let proximal = |entry: &Entry| Plan::parse(entry.name).unwrap().is_proximal();
    for entry in crate::common::elementwise().filter(|e| proximal(e)) {
        assert!(
            RULES.iter().any(|rule| Plan::parse(rule).unwrap().entry().name == entry.name),
            "{}",
            entry.name
        );
    }
}
