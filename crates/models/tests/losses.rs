//! What every loss in `ALL` must have: a right derivative and curvature, finite values far out, the same bits on every
//! instruction set, an expression that prints back as itself.

use thalweg_core::{Float, isa};
use thalweg_models::losses::{ALL, Loss, Task};

/// Every loss, with two values of each hyperparameter, and the number of outputs to try it with.
fn losses() -> Vec<(Loss, usize)> {
    let mut all = Vec::new();
    for entry in ALL {
        for share in [0.3, 0.7] {
            let values: Vec<f64> = entry.hyper.iter().map(|_| share).collect();
            let loss = (entry.make)(&values);
            all.push((loss, loss.outputs(4)));
        }
    }
    all
}

/// Targets that the loss takes.
fn targets(loss: Loss, outputs: usize) -> Vec<f64> {
    match loss.task() {
        Task::Number => vec![-1.5, 0.0, 2.25],
        Task::Count => vec![0.0, 1.0, 7.0],
        Task::TwoClasses => vec![0.0, 1.0],
        Task::Classes => (0..outputs).map(|c| c as f64).collect(),
    }
}

/// Loss, derivatives and curvature times `v` of one row.
fn at(loss: Loss, z: &[f64], y: f64, v: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
    let (mut d, mut out) = (z.to_vec(), [0.0]);
    loss.tile(&mut d, &[y], &mut out);
    let mut hv = v.to_vec();
    loss.tile_product(&mut z.to_vec(), &mut hv, &[y]);
    (out[0], d, hv)
}

/// Outputs away from every corner at z − y ∈ {0, ±0.3, ±0.7}.
fn points(outputs: usize) -> Vec<Vec<f64>> {
    (0..40).map(|i| (0..outputs).map(|o| -2.93 + 0.147 * f64::from(i) + 0.37 * o as f64).collect()).collect()
}

// Central differences: truncation h²/6·|f‴| and rounding ε·|f|/h. With |z| ≤ 4.1, f and f‴ of the steepest loss (Poisson)
// are below e^4.1 + 7·4.1 < 90: h²/6·90 + 4·ε·90/h with h = 4.1·ε^⅓ stays below 4e-8.
const H: f64 = 6.055e-6 * 4.1;
const DIFFERENCE: f64 = 4e-8;

#[test]
fn derivatives_equal_central_differences() {
    for (loss, outputs) in losses() {
        for y in targets(loss, outputs) {
            for z in points(outputs) {
                if loss.task() == Task::Number
                    && [0.0, 0.3, 0.7].iter().any(|c| ((z[0] - y).abs() - c).abs() < 1e-3)
                {
                    continue;
                }
                let v: Vec<f64> = (0..outputs).map(|o| 1.0 - 0.6 * o as f64).collect();
                let (_, d, hv) = at(loss, &z, y, &v);
                for o in 0..outputs {
                    let moved = |by: f64| {
                        let mut z = z.clone();
                        z[o] += by;
                        at(loss, &z, y, &v)
                    };
                    let slope = (moved(H).0 - moved(-H).0) / (2.0 * H);
                    assert!((slope - d[o]).abs() <= DIFFERENCE, "{loss} z {z:?} y {y}: {slope} {}", d[o]);
                }
                if loss.entry().smooth {
                    let along = |by: f64| -> Vec<f64> { z.iter().zip(&v).map(|(z, v)| z + by * v).collect() };
                    let (_, up, _) = at(loss, &along(H), y, &v);
                    let (_, down, _) = at(loss, &along(-H), y, &v);
                    for o in 0..outputs {
                        let slope = (up[o] - down[o]) / (2.0 * H);
                        assert!(
                            (slope - hv[o]).abs() <= DIFFERENCE,
                            "{loss} z {z:?} y {y}: {slope} {}",
                            hv[o]
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn curvature_stays_below_its_bound() {
    for (loss, outputs) in losses() {
        let Some(bound) = loss.entry().bound else { continue };
        for y in targets(loss, outputs) {
            for z in points(outputs) {
                let v: Vec<f64> = (0..outputs).map(|o| if o % 2 == 0 { 1.0 } else { -1.0 }).collect();
                let (_, _, hv) = at(loss, &z, y, &v);
                let along: f64 = v.iter().zip(&hv).map(|(v, h)| v * h).sum();
                let squares: f64 = v.iter().map(|v| v * v).sum();
                assert!((0.0..=bound * squares * (1.0 + 1e-12)).contains(&along), "{loss} {along}");
            }
        }
    }
}

#[test]
fn a_corner_has_a_derivative_between_its_sides() {
    for text in ["absolute", "quantile(0.3)"] {
        let (value, d, _) = at(text.parse().unwrap(), &[1.5], 1.5, &[1.0]);
        assert_eq!((value, d[0]), (0.0, 0.0), "{text}");
    }
    let (value, d, _) = at(Loss::HINGE, &[-1.0], 0.0, &[1.0]);
    assert_eq!((value, d[0]), (0.0, 0.0));
}

#[test]
fn values_known_by_heart() {
    let value = |text: &str, z: f64, y: f64| at(text.parse().unwrap(), &[z], y, &[1.0]).0;
    assert_eq!(value("squared", 3.0, 1.0), 2.0);
    assert_eq!(value("absolute", 3.0, 1.0), 2.0);
    assert_eq!(value("huber(0.5)", 3.0, 1.0), 0.5 * (2.0 - 0.25));
    assert_eq!(value("huber(5)", 3.0, 1.0), 2.0);
    assert!((value("quantile(0.9)", 3.0, 1.0) - 0.2).abs() < 1e-15);
    assert!((value("quantile(0.9)", 1.0, 3.0) - 1.8).abs() < 1e-15);
    assert_eq!(value("poisson", 0.0, 5.0), 1.0);
    assert!((value("logistic", 0.0, 1.0) - std::f64::consts::LN_2).abs() < 1e-15);
    assert_eq!(
        (value("hinge", 0.25, 1.0), value("hinge", 2.0, 1.0), value("hinge", 0.5, 0.0)),
        (0.75, 0.0, 1.5)
    );
    let (loss, d, _) = at(Loss::SOFTMAX, &[0.0; 4], 2.0, &[0.0; 4]);
    assert!((loss - 2.0 * std::f64::consts::LN_2).abs() < 1e-15);
    assert_eq!(d, [0.25, 0.25, -0.75, 0.25]);
}

fn far<F: Float>() {
    for (loss, outputs) in losses() {
        for y in targets(loss, outputs) {
            for far in [1e4, -1e4] {
                if loss == Loss::POISSON && far > 0.0 {
                    continue; // e^10000 is no number: the run diverged, and must say so.
                }
                let mut z: Vec<F> =
                    (0..outputs).map(|o| F::from_f64(if o == 1 { -far } else { far })).collect();
                let (mut hz, mut hv, mut mean) = (z.clone(), vec![F::one(); outputs], z.clone());
                let mut value = [F::zero()];
                let y = [F::from_f64(y)];
                loss.tile(&mut z, &y, &mut value);
                loss.tile_product(&mut hz, &mut hv, &y);
                loss.tile_mean(&mut mean, 1);
                let all = z.iter().chain(&hv).chain(&mean).chain(&value);
                assert!(all.clone().all(|x| x.is_finite()), "{loss} at {far}: {:?}", all.collect::<Vec<_>>());
                assert!(value[0] >= F::zero() || loss == Loss::POISSON);
            }
        }
    }
}

#[test]
fn extreme_outputs_stay_finite() {
    far::<f32>();
    far::<f64>();
}

#[test]
fn small_logistic_losses_keep_their_digits() {
    // ln(1 + e^−50) = e^−50·(1 − …): the form ln(1 + eᶻ) − z would give 0.
    let (loss, d, _) = at(Loss::LOGISTIC, &[50.0], 1.0, &[1.0]);
    let exact = libm::exp(-50.0);
    assert!((loss / exact - 1.0).abs() < 1e-14 && (d[0] / -exact - 1.0).abs() < 1e-14, "{loss} {}", d[0]);
}

#[test]
fn nan_outputs_are_never_hidden() {
    for (loss, outputs) in losses() {
        let y = targets(loss, outputs)[0];
        let (value, d, _) = at(loss, &vec![f64::NAN; outputs], y, &vec![1.0; outputs]);
        assert!(value.is_nan() && d.iter().all(|d| d.is_nan()), "{loss}: {value} {d:?}");
    }
}

fn bits<F: Float>(loss: Loss, outputs: usize) -> Vec<u64> {
    let n = 131;
    let y: Vec<F> = targets(loss, outputs).into_iter().cycle().take(n).map(F::from_f64).collect();
    let z: Vec<F> = (0..n * outputs).map(|i| F::from_f64(9.0 * libm::sin(i as f64 * 1.37))).collect();
    let v: Vec<F> = (0..n * outputs).map(|i| F::from_f64(libm::cos(i as f64))).collect();
    let (mut d, mut hz, mut hv, mut mean) = (z.clone(), z.clone(), v, z);
    let mut value = vec![F::zero(); n];
    loss.tile(&mut d, &y, &mut value);
    loss.tile_product(&mut hz, &mut hv, &y);
    loss.tile_mean(&mut mean, n);
    [d, hv, mean, value].concat().into_iter().map(|x| x.bits()).collect()
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    for (loss, outputs) in losses() {
        let all: Vec<_> = isa::available()
            .into_iter()
            .map(|set| {
                isa::limit(Some(set));
                let bits = (bits::<f32>(loss, outputs), bits::<f64>(loss, outputs));
                isa::limit(None);
                bits
            })
            .collect();
        assert!(all.iter().all(|b| *b == all[0]), "{loss}");
    }
}

#[test]
fn expressions_print_back_as_themselves() {
    for (loss, _) in losses() {
        assert_eq!(loss.to_string().parse::<Loss>().unwrap(), loss);
        assert!(loss.to_string().starts_with(loss.entry().name));
    }
    for text in ["squared", "huber(delta=1.35)", "quantile(q=0.9)"] {
        assert_eq!(text.parse::<Loss>().unwrap().to_string(), text);
    }
    assert_eq!("huber".parse::<Loss>().unwrap().to_string(), "huber(delta=1)");
    assert_eq!("quantile(90%)".parse::<Loss>().unwrap().to_string(), "quantile(q=0.9)");
}

#[test]
fn wrong_expressions_point_at_their_place() {
    let error = |text: &str| text.parse::<Loss>().unwrap_err().to_string();
    assert_eq!(error("hubber"), "there is no loss \"hubber\"\n  hubber\n  ^^^^^^ did you mean \"huber\"?");
    assert_eq!(error("huber(delta=0)"), "delta must be in (0, ∞), got 0\n  huber(delta=0)\n              ^");
    let error = error("quantile");
    assert!(error.starts_with("quantile needs q: the share of targets below the prediction"), "{error}");
    for entry in ALL {
        for (i, hyper) in entry.hyper.iter().enumerate() {
            for wrong in hyper.range.outside().into_iter().filter(|x| x.is_finite()) {
                assert!(i == 0 && format!("{}({wrong})", entry.name).parse::<Loss>().is_err());
            }
        }
    }
    assert!("squared(1)".parse::<Loss>().is_err() && "squared extra".parse::<Loss>().is_err());
}

#[test]
fn targets_that_do_not_fit_are_named() {
    let check = |text: &str, targets: &[f64]| {
        text.parse::<Loss>().unwrap().check_targets(3, targets).map_err(|e| e.to_string())
    };
    assert_eq!(check("squared", &[1.0, -2.0]), Ok(()));
    assert_eq!(
        check("poisson", &[1.0, -2.0]).unwrap_err(),
        "row 1: the poisson loss takes a finite number, 0 or more as target, found -2"
    );
    assert_eq!(
        check("softmax", &[0.0, 2.0, 3.0]).unwrap_err(),
        "row 2: the softmax loss takes a class index from 0 to 2 as target, found 3"
    );
    for (text, wrong) in
        [("squared", f64::NAN), ("logistic", 0.5), ("softmax", 1.5), ("poisson", f64::INFINITY)]
    {
        assert!(check(text, &[wrong]).is_err(), "{text}");
    }
}
