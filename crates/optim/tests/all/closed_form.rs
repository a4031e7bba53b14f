//! Runs whose course is known: quadratics, first steps, constant gradients.

use thalweg_optim::rules::Adam;
use thalweg_optim::{Rule, When};

use crate::common::{Run, Visit, both, every_rule, layout, numbers, setup};

/// A run on ½Σ λᵢθᵢ² from 1.
fn quadratic(rule: &str, lambda: &[f64], steps: usize) -> Vec<Vec<f64>> {
    let n = lambda.len();
    let mut run = Run::<f64>::new(rule, &layout(&[n as isize]), &setup(), &vec![1.0; n]);
    let mut path = vec![run.values()];
    for _ in 0..steps {
        let gradient: Vec<f64> = run.values().iter().zip(lambda).map(|(x, l)| l * x).collect();
        run.step(&gradient);
        path.push(run.values());
    }
    path
}

/// xᵏ, without rounding where every power up to it is a number of f64.
fn power(x: f64, k: usize) -> f64 {
    (0..k).fold(1.0, |p, _| p * x)
}

/// θₖ = (1 − ηλ)ᵏ. With η = ¼ and these λ every number is a small multiple of a power of two: no rounding, no tolerance.
#[test]
fn gradient_descent_contracts_by_1_minus_rate_times_curvature() {
    let lambda = [0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 9.0];
    for (k, theta) in quadratic("gd(lr=0.25)", &lambda, 16).iter().enumerate() {
        for (x, l) in theta.iter().zip(&lambda) {
            assert_eq!(*x, power(1.0 - 0.25 * l, k), "λ = {l}, step {k}");
        }
    }
}

/// Polyak's rates for 1 ≤ λ ≤ 9: η = 4/(√L + √m)² = ¼, μ = ((√L − √m)/(√L + √m))² = ¼. At both ends the characteristic
/// polynomial r² − (1 + μ − ηλ)r + μ has a double root, ±√μ: θₖ = (1 + ck)·rᵏ, with c from θ₁ = 1 − ηλ. Exact again.
#[test]
fn the_heavy_ball_contracts_by_the_root_of_its_momentum() {
    let path = quadratic("sgd(lr=0.25, momentum=0.25)", &[1.0, 9.0], 20);
    for (k, theta) in path.iter().enumerate() {
        for (x, (l, r)) in theta.iter().zip([(1.0, 0.5f64), (9.0, -0.5)]) {
            let c = (1.0 - 0.25 * l) / r - 1.0;
            assert_eq!(*x, (1.0 + c * k as f64) * power(r, k), "λ = {l}, step {k}");
        }
    }
    // The factor of the distance per step tends to √μ = ½, as (1 + 1/k).
    let far = |k: usize| libm::hypot(path[k][0], path[k][1]);
    assert!((far(20) / far(19) / 0.5 - 1.0).abs() < 1.0 / 15.0);
}

/// Nesterov's rates for strong convexity: η = 1/L, μ = (√κ − 1)/(√κ + 1). At λ = m the polynomial
/// r² − (1 + μ)(1 − ηm)r + μ(1 − ηm) has the double root 1 − 1/√κ; at λ = L one step is enough.
#[test]
fn nesterov_contracts_by_1_minus_the_root_of_the_condition() {
    let kappa: f64 = 16.0;
    let mu = (kappa.sqrt() - 1.0) / (kappa.sqrt() + 1.0);
    let steps = 60;
    let path = quadratic(&format!("nesterov(lr=0.0625, momentum={mu})"), &[1.0, 16.0], steps);
    let r = 1.0 - 1.0 / kappa.sqrt();
    // The first step is not the recursion's: θ₁ = 1 − η(1 + μ)λ.
    let c = (1.0 - (1.0 + mu) / kappa) / r - 1.0;
    for (k, theta) in path.iter().enumerate() {
        let wanted = (1.0 + c * k as f64) * power(r, k);
        // Four roundings a step, each of which grows as k·rᵏ like the solution itself: 8k²u.
        let bound = 8.0 * f64::EPSILON * (k * k + 1) as f64 * wanted.abs();
        assert!((theta[0] - wanted).abs() <= bound, "step {k}: {} is not {wanted}", theta[0]);
    }
    assert!(path[2][1].abs() < 1e-15, "λ = L is done after a step, but for μ's rounding");
    let factor = (path[steps][0] / path[steps - 1][0]).abs();
    assert!((factor / r - 1.0).abs() < 1.0 / 50.0, "{factor} is not near {r}");
}

both! {
    /// m̂ = g and v̂ = g² then: θ₁ − θ₀ = −α·g/(|g| + ε), whatever the size of g.
    fn adams_first_step_is_the_rate_times_the_sign<F>() {
        let gradient = [3.0, -3.0, 1e-3, -1e3, 0.0, 1e-6];
        for rule in ["adam(lr=0.125)", "amsgrad(lr=0.125)", "adamw(lr=0.125)", "adam(lr=0.125, beta1=0.5, beta2=0.75)"] {
            let mut run = Run::<F>::new(rule, &layout(&[6]), &setup(), &[0.0; 6]);
            run.step(&gradient);
            for (x, g) in run.values().iter().zip(gradient) {
                let wanted = -0.125 * g / (g.abs() + 1e-8);
                // A dozen roundings; 1 − β₂ in F against 1/(1 − β₂) in f64 is one of them.
                assert!((x - wanted).abs() <= 12.0 * F::EPSILON.to_f64() * wanted.abs(), "{rule}: {x} for {g}");
            }
        }
    }

    /// v − ḡ² is rounding alone then, and below 0 at times, where PyTorch gives NaN.
    fn a_constant_gradient_keeps_centred_rmsprop_finite<F>() {
        let mut below = 0;
        for alpha in [0.5, 0.9, 0.99] {
            for momentum in [0.0, 0.9] {
                let rule = format!("rmsprop(lr=1e-3, alpha={alpha}, momentum={momentum}, centered=true)");
                let gradient = numbers(1, 50);
                let mut run = Run::<F>::new(&rule, &layout(&[50]), &setup(), &[0.0; 50]);
                for _ in 0..3000 {
                    let before = run.values();
                    assert_eq!(run.step(&gradient).non_finite, None);
                    let after = run.values();
                    let [square, mean] = ["square", "mean"].map(|n| run.slot(n));
                    for (i, g) in gradient.iter().enumerate() {
                        assert!((after[i] - before[i]) * g <= 0.0, "{rule} climbs");
                        if square[i] < mean[i] * mean[i] {
                            // The divisor is ε alone.
                            below += 1;
                            assert_ne!(after[i], before[i], "{rule} stands still");
                        }
                    }
                }
            }
        }
        assert!(below > 100, "the corner was met {below} times");
    }
}

/// A corrected mean of equal gradients is that gradient from the first step on, and so is the metric's.
#[test]
fn adams_metric_is_right_from_the_first_step() {
    let rule = Adam::default();
    let mut state = [0.0; 2];
    for t in 1..=100 {
        let coef = crate::common::coef(&rule, f64::from(t), 0.01);
        let (u, new) = Adam::element(&coef, 1.0, 2.0, state);
        state = new;
        // At most t roundings of each moment, and the 1000 ε by which 1 − β₂ᵗ cancels.
        let bound = (1000.0 + 4.0 * t as f64) * f64::EPSILON * u.abs();
        assert!((u + Adam::metric(&coef, state) * 2.0).abs() <= bound, "step {t}");
    }
}

/// The metric is what the proximal step goes by: the factor between a gradient that has stayed the same and the update.
#[test]
fn a_constant_gradient_ends_in_the_metric() {
    struct Ends;
    impl Visit for Ends {
        fn visit<R: Rule<S> + Default, const S: usize>(&mut self) {
            let rule = R::default();
            if !R::PROXIMAL {
                return;
            }
            for g in [2.0, -0.3] {
                let mut scalars: Vec<f64> = R::SCALARS.iter().map(|s| s.1).collect();
                let mut state: [f64; S] = std::array::from_fn(|k| rule.initial(k));
                let mut last = (0.0, 0.0);
                for t in 1..=20_000 {
                    let when = When { t: f64::from(t), lr: 0.01 };
                    let coef = R::coef(&R::with(&rule.values()), when, &mut scalars);
                    let (u, new) = R::element(&coef, 1.0, g, state);
                    state = new;
                    last = (u, -R::metric(&coef, state) * g);
                }
                let (u, wanted) = last;
                // Moments settle within a rounding of each β-th part of themselves: ε/(1 − β₂) = 1000 ε.
                assert!(
                    (u - wanted).abs() <= 1000.0 * f64::EPSILON * wanted.abs(),
                    "{}: {u} is not {wanted}",
                    R::NAME
                );
            }
        }
    }
    every_rule(&mut Ends);
}
