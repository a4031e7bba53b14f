//! What papers and textbooks report of optimizers holds for ours; the pages that say so are those that the program makes.

#[path = "../../examples/behaviour.rs"]
#[allow(missing_docs, reason = "a program, read for its numbers")]
mod made;

use made::{adagrad_regret, contractions, counterexample, finite_sums, worst_for_each, worst_function};

#[test]
fn adam_fails_and_amsgrad_converges_where_the_paper_says() {
    let found = counterexample();
    let [(adam_regret, adam), (amsgrad_regret, amsgrad)] = &found[..] else { panic!("two rules") };
    // The worst point, at an average cost of (C − 2)·2/3 a step; and the best one.
    assert!(adam.end() > 0.99 && (adam_regret.end() - 2.0 / 3.0).abs() < 0.01);
    assert!(amsgrad.end() < -0.99 && amsgrad_regret.end() < 0.01);
    assert!(amsgrad_regret.power(1000.0) < -0.4, "{}", amsgrad_regret.power(1000.0));
}

#[test]
fn adagrads_regret_stays_below_its_bound_and_grows_as_the_root_of_time() {
    let (regret, bound) = adagrad_regret();
    for ((t, r), b) in regret.x.iter().zip(&regret.y).zip(&bound.y) {
        assert!(r <= b, "at {t}: {r} is above {b}");
    }
    // The bound itself is √T here: every subgradient is ±1.
    assert!((bound.power(100.0) - 0.5).abs() < 1e-3, "{}", bound.power(100.0));
    assert!((regret.power(100.0) - 0.5).abs() < 0.1, "{}", regret.power(100.0));
}

/// The rate that theory gives is met, not only kept: on the function that is worst for t the error after t steps is the bound itself.
#[test]
fn gradient_descents_error_falls_as_one_over_t_where_that_is_the_worst() {
    let (worst, bound) = worst_for_each();
    for ((t, f), b) in worst.x.iter().zip(&worst.y).zip(&bound.y) {
        // t roundings of x, which stays near 1.
        assert!((f - b).abs() <= 4.0 * t * f64::EPSILON * b, "at {t}: {f} is not {b}");
    }
    // 1/(4t + 2) falls as t^(−1/(1 + 1/(2t))).
    assert!((worst.power(100.0) + 1.0).abs() < 1.0 / 200.0, "{}", worst.power(100.0));
    assert!(worst.x.len() > 250 && *worst.x.last().unwrap() == 10_000.0);
}

/// A constant factor a pass down to the last digits, below what theory promises SAGA; SGD's noise stays, or goes as 1/t.
#[test]
fn svrg_and_saga_reach_the_optimum_linearly() {
    let (all, _, promised) = finite_sums();
    let of = |rule: &str| all.iter().find(|a| a.rule == rule).unwrap();
    for rule in ["svrg", "saga"] {
        let approach = of(rule);
        let (factor, (first, second)) = (approach.factor.unwrap(), approach.halves.unwrap());
        assert!(factor < promised, "{rule}: {factor} a pass, not below {promised}");
        // Linear: as many passes for the second ten digits as for the first, but for chance.
        let slower = libm::log(first) / libm::log(second);
        assert!((0.7..1.4).contains(&slower), "{rule}: {first} and then {second}");
        assert!(approach.curve.end() < 1e-26, "{rule}: {:e}", approach.curve.end());
    }
    let (noisy, falling) = (of("sgd"), of("sgd, rate as 1/t"));
    assert!(noisy.factor.is_none() && noisy.curve.end() > 1e-4, "{:e}", noisy.curve.end());
    let power = falling.curve.power(100.0);
    assert!(falling.curve.end() < 0.1 * noisy.curve.end() && (-1.5..-0.5).contains(&power), "{power}");
}

#[test]
fn gradient_descent_stays_below_its_bound_on_the_worst_function() {
    let (gd, nesterov, bound) = worst_function();
    for ((t, f), b) in gd.x.iter().zip(&gd.y).zip(&bound.y) {
        assert!(f <= b, "at {t}: {f} is above {b}");
    }
    // Its spectrum thins out towards 0 so that f − f* falls as t^-½ from this start.
    assert!((gd.power(100.0) + 0.5).abs() < 0.05, "{}", gd.power(100.0));
    assert!(nesterov.end() < 1e-6 * gd.end());
}

#[test]
fn quadratics_contract_at_the_textbooks_factors() {
    for kappa in [100.0, 1000.0, 10_000.0] {
        let all = contractions(kappa);
        for c in &all {
            // Half of 1e-9's steps see the slowest eigenvalues alone, but for what is left of the double root's start.
            let slow = (1.0 - c.measured) / (1.0 - c.theory);
            assert!(
                (slow - 1.0).abs() < 0.02,
                "{} at κ = {kappa}: {} is not {}",
                c.method,
                c.measured,
                c.theory
            );
        }
        // Nesterov needs about √κ/2 times fewer steps: log(1 − 1/√κ) against log(1 − 2/κ), less the double root's factor t.
        let faster = all[0].steps as f64 / all[1].steps as f64;
        let root = f64::sqrt(kappa);
        assert!(faster > 0.4 * root && faster < root, "{faster} times at √κ = {root}");
    }
}

#[test]
fn the_pages_are_those_that_the_program_makes() {
    let (html, text) = made::pages();
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    for (name, new) in [("behaviour.html", html), ("behaviour.md", text)] {
        let old = std::fs::read_to_string(docs.join(name)).unwrap();
        assert!(old == new, "docs/{name} is stale: cargo run --release -p thalweg-train --example behaviour");
    }
}
