//! Training to the end finds the optima that scikit-learn found (`tests/data/linear.json`, made by
//! `scripts/reference/linear.py`), through the job that `fit` runs: the same reader, encoder, loop and rules.
//!
//! Every run starts at zero, so ‖w*‖ is how far it moves, and 1e-4·‖w*‖ a ten-thousandth of that; the two recorded optima that
//! are nearest to each other are 2e-2·‖w*‖ apart. A run that ends with ‖∇‖∞ ≤ τ is within √n·τ/μ of the optimum: with
//! τ = 1e-7, n ≤ 640 and the smallest curvatures of these cases (μ ≥ 1.7e-3, digits apart) that is below 1.5e-3 at the very
//! worst, and what is asserted is what the slowest direction really leaves.

use serde::Deserialize;
use thalweg_data::{ClassWeight, FeatureKind};
use thalweg_models::losses::Loss;
use thalweg_optim::Plan;
use thalweg_train::Stop;
use thalweg_train::job::{Job, Outcome, Prepared};

use crate::common::{example, job, table, train};

/// The relative distance to the recorded coefficients that is allowed.
const NEAR: f64 = 1e-4;
/// The relative distance to the recorded objective that is allowed.
const LEVEL: f64 = 1e-6;
/// How much below the recorded objective ours may lie: the rounding of sums of at most 1,797 terms.
const ROUNDING: f64 = 1e-12;

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    dataset: String,
    target: String,
    #[serde(default)]
    classes: Vec<String>,
    loss: String,
    delta: Option<f64>,
    quantile: Option<f64>,
    l1: f64,
    l2: f64,
    weights: Option<Vec<f64>>,
    standardised_by: Option<String>,
    class_weights: Option<Vec<f64>>,
    coef: Vec<Vec<f64>>,
    intercept: Vec<f64>,
    objective: f64,
    objective_deviance: Option<f64>,
    #[serde(default)]
    zeros: Vec<usize>,
}

fn cases() -> Vec<Case> {
    let file: File = serde_json::from_str(include_str!("../data/linear.json")).unwrap();
    assert_eq!(file.cases.len(), 34);
    file.cases
}

fn case(name: &str) -> Case {
    cases().into_iter().find(|c| c.name == name).unwrap_or_else(|| panic!("no case {name}"))
}

impl Case {
    fn loss(&self) -> Loss {
        let expression = match (self.delta, self.quantile) {
            (Some(delta), _) => format!("huber({delta})"),
            (_, Some(q)) => format!("quantile({q})"),
            _ => self.loss.clone(),
        };
        expression.parse().unwrap()
    }

    fn is_smooth(&self) -> bool {
        self.loss().entry().smooth
    }

    /// All rows, trained for at most `epochs` steps or until no slope is above `tolerance`.
    fn prepare(&self, epochs: u64, tolerance: f64) -> Prepared {
        let mut text = example(&self.dataset);
        let mut job = Job {
            loss: Some(self.loss()),
            l1: self.l1,
            l2: Some(self.l2),
            epochs: Some(epochs),
            tolerance,
            ..job(&self.target)
        };
        if self.class_weights.is_some() {
            job.class_weight = ClassWeight::Balanced;
        }
        // Where standardisation is weighted too, the weights are a column of the table; else they come after the encoder.
        let by_weights = self.standardised_by.as_deref() == Some("weights");
        if let (true, Some(weights)) = (by_weights, &self.weights) {
            text = text.trim_end().lines().enumerate().fold(String::new(), |text, (i, line)| {
                let last = if i == 0 { "rows".to_string() } else { weights[i - 1].to_string() };
                format!("{text}{line},{last}\n")
            });
            job.learn.weight = Some("rows".into());
        }
        let mut prepared = Prepared::of_table(job, &table(&text)).unwrap();
        if let (false, Some(weights)) = (by_weights, &self.weights) {
            prepared.train.weight = Some(weights.clone());
        }
        assert_eq!(prepared.classes(), self.classes, "{}", self.name);
        prepared
    }

    /// The weights as the file has them, one list per class, and the intercepts: columns that the encoder left out are 0, and
    /// what softmax leaves open, a number added to every class, is taken out.
    fn found(&self, outcome: &Outcome) -> (Vec<Vec<f64>>, Vec<f64>) {
        let model = &outcome.model;
        let features = model.encoder.features();
        assert!(features.iter().all(|f| f.kind == FeatureKind::Number));
        let weight = model.params.tensor("weight");
        let at: Vec<Option<usize>> =
            model.encoder.columns.iter().map(|c| features.iter().position(|f| f.column == c.name)).collect();
        let k = self.coef.len();
        let of = |class: usize| {
            at.iter().map(|at| at.map_or(0.0, |j| weight[class * features.len() + j])).collect()
        };
        let mut coef: Vec<Vec<f64>> = (0..k).map(of).collect();
        let mut intercept = model.params.tensor("bias").to_vec();
        if self.loss == "softmax" {
            for j in 0..coef[0].len() {
                let mean = coef.iter().map(|c| c[j]).sum::<f64>() / k as f64;
                coef.iter_mut().for_each(|c| c[j] -= mean);
            }
            let mean = intercept.iter().sum::<f64>() / k as f64;
            intercept.iter_mut().for_each(|b| *b -= mean);
        }
        (coef, intercept)
    }

    /// ‖w − w*‖/‖w*‖ and ‖b − b*‖/‖(w*, b*)‖.
    fn distance(&self, outcome: &Outcome) -> (f64, f64) {
        let (coef, intercept) = self.found(outcome);
        assert_eq!((coef.len(), coef[0].len()), (self.coef.len(), self.coef[0].len()), "{}", self.name);
        let squares = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        let off: f64 = coef.iter().zip(&self.coef).map(|(a, b)| squares(a, b)).sum();
        let size: f64 = self.coef.iter().map(|c| squares(c, &vec![0.0; c.len()])).sum();
        let bias = squares(&self.intercept, &vec![0.0; self.intercept.len()]);
        ((off / size).sqrt(), (squares(&intercept, &self.intercept) / (size + bias)).sqrt())
    }

    /// How far the objective is above the recorded one, as a share of it (of half the deviance for counts, whose objective
    /// carries a large constant).
    fn above(&self, loss: f64) -> f64 {
        (loss - self.objective) / self.objective_deviance.unwrap_or(self.objective)
    }

    /// Asserts that the objective is the recorded one.
    fn assert_level(&self, rule: &str, outcome: &Outcome) {
        let above = self.above(outcome.fitted.train_loss);
        let constant = self.objective.abs() / self.objective_deviance.unwrap_or(self.objective);
        assert!(above >= -ROUNDING * constant, "{} by {rule}: {above:e} below the optimum", self.name);
        assert!(above <= LEVEL, "{} by {rule}: {above:e} above the optimum", self.name);
    }

    /// Asserts that `rule` ends at rest, at the recorded optimum.
    fn assert_found(&self, rule: &str, epochs: u64, tolerance: f64) -> Outcome {
        let outcome = self.solve(rule, epochs, tolerance);
        let (name, steps) = (&self.name, outcome.fitted.steps);
        assert_eq!(outcome.fitted.stop, Stop::Gradient, "{name} by {rule}");
        let (w, b) = self.distance(&outcome);
        assert!(w <= NEAR, "{name} by {rule}: ‖w − w*‖ = {w:e}·‖w*‖ after {steps} steps");
        assert!(b <= NEAR, "{name} by {rule}: the intercept is {b:e} off after {steps} steps");
        self.assert_level(rule, &outcome);
        if self.l1 > 0.0 {
            let (coef, _) = self.found(&outcome);
            let zeros: Vec<usize> = (0..coef[0].len()).filter(|&j| coef[0][j] == 0.0).collect();
            assert_eq!(zeros, self.zeros, "{name} by {rule} after {steps} steps");
        }
        outcome
    }

    /// Runs `rule`; an open rate is filled as the command fills it.
    fn solve(&self, rule: &str, epochs: u64, tolerance: f64) -> Outcome {
        let mut prepared = self.prepare(epochs, tolerance);
        prepared.job.plan = Some(Plan::parse(rule).unwrap());
        let (plan, _) = prepared.plan().unwrap();
        train(&prepared, &plan)
    }
}

/// The cases whose gradient is continuous.
fn smooth() -> impl Iterator<Item = Case> {
    cases().into_iter().filter(Case::is_smooth)
}

/// Every smooth case but digits, whose condition number of 20,000 takes plain descent
/// minutes: see `descent_on_digits_falls_as_theory_says`.
#[test]
fn by_plain_descent() {
    for case in smooth().filter(|c| c.dataset != "digits") {
        case.assert_found("gd", 60_000, 1e-7);
    }
}

#[test]
fn by_adam_with_a_decaying_rate() {
    for case in smooth() {
        case.assert_found("adam(lr=cosine(0.05))", 20_000, 1e-7);
    }
}

/// Momentum needs about √κ steps where plain descent needs κ.
#[test]
fn by_momentum_and_nesterov() {
    for case in smooth().filter(|c| c.dataset != "digits") {
        let plain = case.solve("gd", 60_000, 1e-7).fitted.steps;
        for rule in ["momentum", "nesterov"] {
            let steps = case.assert_found(rule, 20_000, 1e-7).fitted.steps;
            assert!(plain < 2000 || steps < plain / 2, "{}: {rule} took {steps}, gd {plain}", case.name);
        }
    }
    case("softmax digits").assert_found("nesterov(momentum=0.99)", 5_000, 1e-8);
}

/// A quasi-Newton method needs few steps whatever the condition, digits' 20,000 included.
#[test]
fn by_lbfgs() {
    for case in smooth().filter(|c| c.l1 == 0.0) {
        for rule in ["lbfgs", "lbfgs(history_size=10)"] {
            let steps = case.assert_found(rule, 3000, 1e-7).fitted.steps;
            assert!(steps < 700, "{} by {rule}: {steps} steps", case.name);
        }
    }
}

/// A line search finds a rate as good as 1/L, and better ones.
#[test]
fn by_armijo() {
    for case in smooth().filter(|c| c.l1 == 0.0 && c.dataset != "digits") {
        case.assert_found("armijo", 60_000, 1e-7);
    }
}

/// Batches of 16 rows at a constant rate come to rest at the optimum, which those of SGD do not.
#[test]
fn by_small_batches_without_noise_at_the_optimum() {
    for name in [
        "ridge l2=1.0",
        "logistic breast_cancer l2=0.1",
        "ridge l2=0.1, weights, standardised by rows",
        "softmax iris",
    ] {
        let case = case(name);
        let run = |rule: &str| {
            let mut prepared = case.prepare(4000, 1e-6);
            prepared.job.plan = Some(Plan::parse(rule).unwrap());
            prepared.batch = thalweg_data::BatchSize::Rows(16);
            let (plan, notes) = prepared.plan().unwrap();
            assert!(rule.contains("lr=") || notes[0].starts_with("learning rate 1/(3L) = "), "{notes:?}");
            let lr = plan.lr().unwrap().lr.unwrap();
            (train(&prepared, &plan), lr)
        };
        let mut rate = 0.0;
        for rule in ["svrg", "saga"] {
            let (outcome, lr) = run(rule);
            assert_eq!(outcome.fitted.stop, Stop::Gradient, "{name} by {rule}");
            let (w, b) = case.distance(&outcome);
            assert!(w <= NEAR && b <= NEAR, "{name} by {rule}: {w:e}, {b:e}");
            case.assert_level(rule, &outcome);
            rate = lr;
        }
        let (outcome, _) = run(&format!("sgd(lr={rate})"));
        assert_eq!(outcome.fitted.stop, Stop::Epochs, "{name} by sgd");
    }
}

/// Rules that choose their rate, or need no schedule, and SAM with a radius that goes nowhere, end at the optimum too.
#[test]
fn by_rules_without_a_rate_or_a_schedule() {
    for name in ["ridge l2=1.0", "logistic breast_cancer l2=0.1", "softmax iris"] {
        for rule in [
            "prodigy",
            "prodigy(lr=cosine(1))",
            "dadapt_adam(lr=cosine(1))",
            "schedulefree_sgd",
            "schedulefree_adamw",
            "sophia(lr=cosine(0.05))",
            "sam(rho=0) | adam(lr=cosine(0.05))",
        ] {
            let outcome = case(name).solve(rule, 20_000, 1e-6);
            case(name).assert_level(rule, &outcome);
        }
    }
}

/// l1 by every rule of the registry, each with a rate that suits it: the same zeros, exactly.
#[test]
fn lasso_and_elastic_net_by_every_rule() {
    for case in smooth().filter(|c| c.l1 > 0.0) {
        for rule in [
            "gd",
            "momentum",
            "momentum(momentum=0.5, dampening=0.3)",
            "nesterov",
            "adagrad(lr=0.5)",
            "rmsprop(lr=cosine(0.05))",
            "rmsprop(lr=cosine(0.01), momentum=0.9)",
            "adam(lr=cosine(0.05))",
            "adam(lr=polynomial(0.05))",
            "amsgrad(lr=cosine(0.05))",
            "adamw(lr=cosine(0.05), weight_decay=0)",
        ] {
            case.assert_found(rule, 40_000, 1e-7);
        }
    }
}

/// Losses with a kink: no rate makes (sub)gradient descent stop moving, so the rate falls to 0 and the run is judged at its end.
/// The objective is within 1e-6; the coefficients within 1e-3, as the kinks make the objective grow like the distance to the
/// vertex, not like its square: 1e-6 of it is about 1e-3 of ‖w*‖ along the flattest edge.
#[test]
fn losses_with_a_kink_by_a_decaying_rate() {
    for case in cases().into_iter().filter(|c| !c.is_smooth()) {
        for rule in ["gd(lr=cosine(0.2))", "adam(lr=cosine(0.01))"] {
            let outcome = case.solve(rule, 40_000, 0.0);
            assert_eq!(outcome.fitted.stop, Stop::Epochs);
            case.assert_level(rule, &outcome);
            let (w, b) = case.distance(&outcome);
            assert!(w < 1e-3 && b < 1e-3, "{} by {rule}: {w:e}, {b:e}", case.name);
            // A step of a rate below 0.2·(π/2·100/40,000)² = 3e-6, as all of the last hundred are, may leave a zero that the
            // mean of many keeps; the other coefficients are above 1e-3.
            let (coef, _) = case.found(&outcome);
            for (j, w) in coef[0].iter().enumerate() {
                let zero = case.l1 > 0.0 && case.zeros.contains(&j);
                assert_eq!(w.abs() < 1e-5, zero, "{} by {rule}: column {j}", case.name);
            }
        }
    }
}

/// f(θₖ) − f* ≤ (1 − μ/L)ᵏ·(f(θ₀) − f*) for (proximal) gradient descent at 1/L where f is μ-strongly convex: Karimi, Nutini &
/// Schmidt 2016, theorems 1 and 5.
#[test]
fn descent_on_squares_falls_as_theory_says() {
    for case in cases().into_iter().filter(|c| c.loss == "squared") {
        let mut prepared = case.prepare(1001, 0.0);
        prepared.job.plan = Some(Plan::parse("gd").unwrap());
        let (plan, notes) = prepared.plan().unwrap();
        assert!(notes[0].starts_with("learning rate 1/L = "), "{notes:?}");
        let extremes = prepared.curvature().unwrap();
        // 1/L is found to 1e-6, the smallest curvature to 1e-3.
        let factor = 1.0 - 0.998 * extremes.smallest / extremes.largest;
        let outcome = crate::common::probed(&prepared, &plan, &[0, 1, 3, 10, 30, 100, 300, 1000]);
        let probes = &outcome.history.probes;
        assert_eq!(probes.len(), 8);
        let gap = |i: usize| case.above(probes[i].loss);
        for (i, probe) in probes.iter().enumerate() {
            let bound = libm::pow(factor, probe.step as f64) * gap(0);
            assert!(
                gap(i) <= bound + ROUNDING,
                "{}: {:e} after {} steps, not {bound:e}",
                case.name,
                gap(i),
                probe.step
            );
        }
        assert!((1..8).all(|i| gap(i) <= gap(i - 1) + ROUNDING), "{}", case.name);
    }
}

/// f(θₖ) − f* ≤ L·‖θ₀ − θ*‖²/(2k) for gradient descent at 1/L on any convex f: Nesterov 2018, corollary 2.1.2.
#[test]
fn descent_on_digits_falls_as_theory_says() {
    let case = case("softmax digits");
    let mut prepared = case.prepare(1001, 0.0);
    prepared.job.plan = Some(Plan::parse("gd").unwrap());
    let (plan, _) = prepared.plan().unwrap();
    let largest = prepared.curvature().unwrap().largest;
    let outcome = crate::common::probed(&prepared, &plan, &[1, 10, 100, 300, 1000]);
    let squares = case.coef.iter().flatten().chain(&case.intercept).map(|x| x * x).sum::<f64>();
    let mut last = f64::INFINITY;
    for probe in &outcome.history.probes {
        let bound = largest * squares / (2.0 * probe.step as f64);
        assert!(probe.loss - case.objective <= bound, "{} after {} steps", probe.loss, probe.step);
        assert!(probe.loss >= case.objective && probe.loss < last);
        last = probe.loss;
    }
}

/// Two classes by one logit are what two classes by softmax are.
#[test]
fn one_logit_is_softmax_of_two() {
    let case = case("logistic breast_cancer l2=0.1");
    let one = case.assert_found("adam(lr=cosine(0.05))", 20_000, 1e-9);
    // l2/2·(‖w₀‖² + ‖w₁‖²) with w₁ = −w₀ = w/2 is l2/4·‖w‖².
    let mut job = case.prepare(20_000, 1e-9).job;
    (job.loss, job.l2) = (Some(Loss::SOFTMAX), Some(2.0 * case.l2));
    let mut prepared = Prepared::of_table(job, &table(&example(&case.dataset))).unwrap();
    prepared.job.plan = Some(Plan::parse("adam(lr=cosine(0.05))").unwrap());
    let two = train(&prepared, &prepared.plan().unwrap().0);
    assert_eq!(two.fitted.stop, Stop::Gradient);
    let (a, b) = (one.model.respond(&prepared.train), two.model.respond(&prepared.train));
    // Slopes of at most 1e-9 in 31 directions of curvature above 0.06: logits differ by 1e-6 at most, probabilities by a quarter.
    let off = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(off < 1e-6, "{off:e}");
    assert!((one.fitted.train_loss - two.fitted.train_loss).abs() < 1e-12);
}

/// The coefficients that people read: in units of the file, they give the predictions.
#[test]
fn coefficients_in_original_units_predict() {
    let case = case("ols");
    let outcome = case.assert_found("adam(lr=cosine(0.05))", 20_000, 1e-7);
    let read = outcome.model.coefficients();
    let text = example("diabetes");
    let mut lines = text.trim_end().lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let predicted = outcome.model.respond(&case.prepare(1, 0.0).train);
    for (line, predicted) in lines.zip(predicted) {
        let cells: Vec<f64> = line.split(',').map(|c| c.parse().unwrap()).collect();
        let by_hand = header.iter().zip(&cells).fold(read.intercept[0], |sum, (name, x)| {
            sum + read.sorted.iter().find(|c| c.feature == *name).map_or(0.0, |c| c.coefficient * x)
        });
        // Terms of at most 3,000 that cancel to 300: 12·3,000·u.
        assert!((by_hand - predicted).abs() < 1e-10, "{by_hand} {predicted}");
    }
}
