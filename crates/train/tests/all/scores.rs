//! Scores: scikit-learn's values (`tests/data/metrics.json`, made by `scripts/reference/metrics.py`), and intervals that hold what
//! they promise.

use std::collections::BTreeMap;

use serde::Deserialize;
use thalweg_core::random::{Purpose, Stream};
use thalweg_train::metrics::{Metric, Predicted, Score, score};

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    proba: Option<Vec<Vec<f64>>>,
    predicted: Option<Vec<f64>>,
    truth: Vec<f64>,
    weights: Option<Vec<f64>>,
    scores: BTreeMap<String, f64>,
}

impl Case {
    fn score(&self, metric: Metric, rows: &[usize], weights: Option<&[f64]>) -> Score {
        let truth: Vec<f64> = rows.iter().map(|&i| self.truth[i]).collect();
        match (&self.proba, &self.predicted) {
            (Some(proba), _) => {
                let k = proba[0].len();
                let proba: Vec<f64> = rows.iter().flat_map(|&i| proba[i].clone()).collect();
                let truth: Vec<usize> = truth.iter().map(|&t| t as usize).collect();
                score(metric, Predicted::Classes { k, proba: &proba, truth: &truth }, weights)
            }
            (_, Some(predicted)) => {
                let predicted: Vec<f64> = rows.iter().map(|&i| predicted[i]).collect();
                score(metric, Predicted::Numbers { predicted: &predicted, truth: &truth }, weights)
            }
            _ => unreachable!(),
        }
    }
}

/// 40 terms of like size, added in another order: far below 1e-12 of the value (of 1, where it is small).
#[test]
fn values_are_scikit_learns() {
    let file: File = serde_json::from_str(include_str!("../data/metrics.json")).unwrap();
    let mut compared = 0;
    for case in &file.cases {
        let all: Vec<usize> = (0..case.truth.len()).collect();
        for (name, &expected) in &case.scores {
            let metric = Metric::parse(name).unwrap();
            let found = case.score(metric, &all, case.weights.as_deref());
            let off = (found.value - expected).abs();
            assert!(
                off <= 1e-12 * expected.abs().max(1.0),
                "{}: {name} {} {expected}",
                case.name,
                found.value
            );
            if let Some((low, high)) = found.interval {
                assert!(low <= found.value && found.value <= high, "{}: {name} {found:?}", case.name);
                assert!(low < high, "{}: {name} {found:?}", case.name);
            }
            compared += 1;

            // A weight of 0 is no row, and one of 3 the row three times.
            let times: Vec<usize> = all.iter().map(|i| [1, 0, 3][i % 3]).collect();
            let rows: Vec<usize> = all.iter().flat_map(|&i| vec![i; times[i]]).collect();
            let weights: Vec<f64> = times.iter().map(|&t| t as f64).collect();
            let (weighted, repeated) =
                (case.score(metric, &all, Some(&weights)), case.score(metric, &rows, None));
            let off = (weighted.value - repeated.value).abs();
            assert!(off <= 1e-12 * repeated.value.abs().max(1.0), "{}: {name}", case.name);
            let kept: Vec<usize> = all.iter().copied().filter(|&i| times[i] > 0).collect();
            let threes: Vec<f64> = kept.iter().map(|&i| weights[i]).collect();
            assert_eq!(case.score(metric, &kept, Some(&threes)), weighted, "{}: {name}", case.name);
            // A factor on all weights says nothing.
            let scaled: Vec<f64> = weights.iter().map(|w| w * 0.125).collect();
            assert_eq!(case.score(metric, &all, Some(&scaled)), weighted, "{}: {name}", case.name);
        }
    }
    assert_eq!((file.cases.len(), compared), (13, 54));
}

/// How often of `RUNS` samples the interval of `sample`'s score holds `truth`.
fn coverage(truth: f64, mut sample: impl FnMut(&mut Stream) -> Score) -> f64 {
    let mut stream = Stream::new(11, Purpose::Data, 0);
    let mut hits = 0;
    for _ in 0..RUNS {
        let (low, high) = sample(&mut stream).interval.unwrap();
        hits += u32::from(low <= truth && truth <= high);
    }
    f64::from(hits) / f64::from(RUNS)
}

const RUNS: u32 = 4000;
/// Four standard errors of a share of 0.95 in `RUNS`.
const NOISE: f64 = 0.0138;

/// Weights that say nothing of the rows, between 0.1 and 1.9.
fn weights(stream: &mut Stream, n: usize) -> Vec<f64> {
    (0..n).map(|_| 0.1 + 1.8 * stream.uniform()).collect()
}

/// Φ.
fn normal_below(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

/// Of n rows, each right with probability p, Wilson's interval covers p as often as the binomial distribution says: exactly known.
#[test]
fn intervals_of_accuracy() {
    let one = |hits: usize, n: usize| {
        let proba: Vec<f64> = (0..n).flat_map(|i| if i < hits { [0.2, 0.8] } else { [0.8, 0.2] }).collect();
        score(Metric::Accuracy, Predicted::Classes { k: 2, proba: &proba, truth: &vec![1; n] }, None)
    };
    for (n, p) in [(30, 0.5), (30, 0.8), (114, 0.9), (114, 0.97), (250, 0.9)] {
        let mut chance = libm::pow(1.0 - p, n as f64);
        let mut exact = 0.0;
        for hits in 0..=n {
            let (low, high) = one(hits, n).interval.unwrap();
            exact += if low <= p && p <= high { chance } else { 0.0 };
            chance *= (n - hits) as f64 / (hits + 1) as f64 * p / (1.0 - p);
        }
        // Steps of the binomial: Wilson's coverage swings about 0.95.
        assert!((0.93..0.98).contains(&exact), "{n} {p}: {exact}");
        let by_draws = coverage(p, |s| one((0..n).filter(|_| s.uniform() < p).count(), n));
        assert!((by_draws - exact).abs() < NOISE, "{n} {p}: {by_draws} {exact}");
    }
    // With weights, n is what is left of it: Kish's effective number.
    let weighted = coverage(0.8, |s| {
        let proba: Vec<f64> =
            (0..200).flat_map(|_| if s.uniform() < 0.8 { [0.0, 1.0] } else { [1.0, 0.0] }).collect();
        let weights = weights(s, 200);
        score(Metric::Accuracy, Predicted::Classes { k: 2, proba: &proba, truth: &[1; 200] }, Some(&weights))
    });
    assert!((weighted - 0.95).abs() < NOISE, "{weighted}");
    // All right is not certain: n/(n + z²).
    let (low, high) = one(30, 30).interval.unwrap();
    assert!((low - 30.0 / (30.0 + 3.841458820694124)).abs() < 1e-12 && high == 1.0, "{low} {high}");
}

/// Errors of a normal distribution. From 200 rows on the intervals cover 95% to the noise of the simulation; of few rows the mean
/// of squares is skewed, and the shortfall is stated: at most 3 points with 20 rows, 2 with 50.
#[test]
fn intervals_of_r2_rmse_and_mae() {
    for (n, shortfall) in [(20, 0.03), (50, 0.02), (200, 0.0), (1000, 0.0)] {
        for noise in [0.2, 1.0] {
            for weighted in [false, true] {
                for (metric, truth) in [
                    (Metric::R2, 1.0 / (1.0 + noise * noise)),
                    (Metric::Rmse, noise),
                    (Metric::Mae, noise * std::f64::consts::FRAC_2_PI.sqrt()),
                ] {
                    if weighted && n < 200 || n == 1000 && noise == 0.2 {
                        continue;
                    }
                    let found = coverage(truth, |s| {
                        let predicted: Vec<f64> = (0..n).map(|_| s.normal()).collect();
                        let y: Vec<f64> = predicted.iter().map(|p| p + noise * s.normal()).collect();
                        let weights = weighted.then(|| weights(s, n));
                        score(
                            metric,
                            Predicted::Numbers { predicted: &predicted, truth: &y },
                            weights.as_deref(),
                        )
                    });
                    let fits = (0.95 - shortfall - NOISE..=0.95 + NOISE).contains(&found);
                    assert!(fits, "{metric:?} of {n} rows, noise {noise}, weighted {weighted}: {found}");
                }
            }
        }
    }
}

/// Scores of two normal distributions, d apart: the area is Φ(d/√2). Newcombe's interval is made for any distributions, and here
/// covers what it promises or a little more, also where few rows are nearly all in order.
#[test]
fn intervals_of_the_area() {
    for (n0, n1, d) in [(20, 20, 0.0), (20, 20, 3.0), (100, 100, 1.0), (300, 30, 2.0)] {
        for weighted in [false, true] {
            if weighted && n0 < 100 {
                continue;
            }
            let found = coverage(normal_below(d / std::f64::consts::SQRT_2), |s| {
                let truth: Vec<usize> = (0..n0 + n1).map(|i| usize::from(i < n1)).collect();
                let of = |t: &usize| {
                    let p = normal_below(s.normal() + d * (*t as f64 - 0.5));
                    [1.0 - p, p]
                };
                let proba: Vec<f64> = truth.iter().flat_map(of).collect();
                let weights = weighted.then(|| weights(s, n0 + n1));
                score(
                    Metric::RocAuc,
                    Predicted::Classes { k: 2, proba: &proba, truth: &truth },
                    weights.as_deref(),
                )
            });
            assert!((0.95 - NOISE..0.99).contains(&found), "{n0} {n1} {d} {weighted}: {found}");
        }
    }
    // All in order is not certain, and less uncertain with more rows.
    let perfect = |n: usize| {
        let proba: Vec<f64> = (0..2 * n).flat_map(|i| if i < n { [0.9, 0.1] } else { [0.1, 0.9] }).collect();
        let truth: Vec<usize> = (0..2 * n).map(|i| usize::from(i >= n)).collect();
        score(Metric::RocAuc, Predicted::Classes { k: 2, proba: &proba, truth: &truth }, None)
            .interval
            .unwrap()
    };
    let ((few, top), (many, _)) = (perfect(10), perfect(100));
    assert!(top == 1.0 && 0.7 < few && few < many && many < 0.99, "{few} {many}");
}

/// Probabilities that are true: the expected loss is the mean entropy, here over p uniform on (0.1, 0.9).
#[test]
fn intervals_of_the_log_loss() {
    let entropy = |p: f64| -p * libm::log(p) - (1.0 - p) * libm::log(1.0 - p);
    // The midpoint rule with 10,000 points: to 1e-8.
    let expected = (0..10_000).map(|i| entropy(0.1 + 0.8 * (f64::from(i) + 0.5) / 1e4)).sum::<f64>() / 1e4;
    let found = coverage(expected, |s| {
        let (mut proba, mut truth) = (vec![], vec![]);
        for _ in 0..200 {
            let p = 0.1 + 0.8 * s.uniform();
            proba.extend([1.0 - p, p]);
            truth.push(usize::from(s.uniform() < p));
        }
        score(Metric::LogLoss, Predicted::Classes { k: 2, proba: &proba, truth: &truth }, None)
    });
    assert!((found - 0.95).abs() < NOISE, "{found}");
}

/// Where there is nothing to measure there is no number, and no interval around it.
#[test]
fn what_has_no_score() {
    let numbers = |metric, predicted: &[f64], truth: &[f64]| {
        score(metric, Predicted::Numbers { predicted, truth }, None)
    };
    for metric in [Metric::R2, Metric::Rmse, Metric::Mae] {
        let none = numbers(metric, &[], &[]);
        assert!(none.value.is_nan() && none.interval.is_none(), "{none:?}");
        let one = numbers(metric, &[1.0], &[3.0]);
        assert!(one.interval.is_none() && (metric == Metric::R2) == one.value.is_nan(), "{one:?}");
        let exact = numbers(metric, &[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]);
        assert_eq!(exact.value, if metric == Metric::R2 { 1.0 } else { 0.0 });
    }
    let proba = [0.2, 0.8, 0.6, 0.4];
    for metric in Metric::ALL.into_iter().filter(|m| m.is_for_classes()) {
        let none = score(metric, Predicted::Classes { k: 2, proba: &[], truth: &[] }, None);
        assert!(none.interval.is_none() && (none.value.is_nan() || metric == Metric::F1), "{none:?}");
        let one_class = score(metric, Predicted::Classes { k: 2, proba: &proba, truth: &[1, 1] }, None);
        assert_eq!(one_class.value.is_nan(), metric == Metric::RocAuc, "{one_class:?}");
        let weightless =
            score(metric, Predicted::Classes { k: 2, proba: &proba, truth: &[0, 1] }, Some(&[0.0, 0.0]));
        assert!(
            weightless.interval.is_none() && (weightless.value.is_nan() || metric == Metric::F1),
            "{weightless:?}"
        );
    }
}
