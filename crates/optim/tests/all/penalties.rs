//! Penalties of a chain by each of their ways: beside the plain rule with the step done by hand, beside closed forms, and at the
//! minimum of the penalised objective.

use std::sync::Arc;

use thalweg_core::{Float, Grads, Kind, Layout, Oracle, Params, Penalty, StepError, Total};
use thalweg_optim::rules::{ALL, Build, Entry};
use thalweg_optim::{Gradient, Plan, RowMode, RowOptimizer, Stepper, TensorMut, View};

use crate::common::{Run, both, kinds, layout, numbers, settings, setup, write};

/// A matrix, its bias, a gain and a table.
fn four() -> Arc<Layout> {
    Arc::new(
        Layout::builder()
            .tensor("a", &[3, 5], &["out", "in"], Kind::Weight)
            .tensor("b", &[3], &["out"], Kind::Bias)
            .tensor("c", &[2], &["channel"], Kind::Gain)
            .tensor("d", &[2, 2], &["row", "out"], Kind::Embedding)
            .build(),
    )
}

const N: usize = 24;

/// Whether a penalty reaches coordinate i of [`four`].
fn reached(i: usize) -> bool {
    !(15..20).contains(&i)
}

fn stage(name: &str, penalty: Penalty, by: &str) -> String {
    match name {
        "l1" => format!("l1({}, by={by})", penalty.l1),
        "l2" => format!("l2({}, by={by})", penalty.l2),
        _ => format!("elastic({}, {}, by={by})", penalty.l1, penalty.l2),
    }
}

/// What each stage's penalty is made of.
const STAGES: [(&str, Penalty); 3] = [
    ("l1", Penalty { l1: 0.25, l2: 0.0 }),
    ("l2", Penalty { l1: 0.0, l2: 0.5 }),
    ("elastic", Penalty { l1: 0.25, l2: 0.5 }),
];

fn f<F: Float>(x: f64) -> F {
    F::from_f64(x)
}

fn sign<F: Float>(x: F) -> F {
    if x > F::zero() {
        F::one()
    } else if x < F::zero() {
        -F::one()
    } else {
        F::zero()
    }
}

fn soft<F: Float>(x: F, by: F) -> F {
    let size = if x.abs() > by { x.abs() - by } else { F::zero() };
    if x < F::zero() { -size } else { size }
}

/// Settings of every rule that take a stage: two for each kind of memory, and the rules that are not elementwise.
fn takers(stage: &str) -> Vec<String> {
    let mut all = kinds();
    all.extend(ALL.iter().filter(|e| !kinds_have(e)).map(|e| format!("{}(lr=0.01)", e.name)));
    all.retain(|rule| Plan::parse(&format!("{stage} | {rule}")).is_ok());
    all
}

fn kinds_have(entry: &Entry) -> bool {
    entry.kind == thalweg_optim::rules::Kind::Elementwise
}

both! {
    /// Coupled: the rule on g + l1·sign(θ), to the bit, behind whatever clips.
    fn coupled_l1_is_a_part_of_the_gradient<F>() {
        let takers = takers("l1(0.25, by=coupled)");
        assert!(takers.len() > 60, "{}", takers.len());
        for rule in takers {
            for clip in ["", "clip_value(0.5) | "] {
                let new = |text: String| Run::<F>::new(&text, &four(), &setup(), &numbers(1, N));
                let mut ours = new(format!("{clip}l1(0.25, by=coupled) | {rule}"));
                let mut plain = new(rule.clone());
                for seed in 2..8 {
                    let g = numbers(seed, N);
                    let limit = if clip.is_empty() { f64::INFINITY } else { 0.5 };
                    let with: Vec<f64> = plain.theta.values().zip(&g).enumerate().map(|(i, (theta, &g))| {
                        let l1 = if reached(i) { f::<F>(0.25) * sign(theta) } else { F::zero() };
                        (f::<F>(g.clamp(-limit, limit)) + l1).to_f64()
                    }).collect();
                    ours.step(&g);
                    plain.step(&with);
                    assert_eq!(ours.bits(), plain.bits(), "{clip}{rule}");
                }
            }
        }
    }

    /// Decoupled: the plain rule's update from the same θ, and θ shrunk beside it.
    fn a_decoupled_penalty_stands_beside_the_rule<F>() {
        for (name, penalty) in STAGES {
            let takers = takers(&stage(name, penalty, "decoupled"));
            assert!(takers.len() > 50, "{name}: {}", takers.len());
            for rule in takers {
                let lr = if rule.contains("lr=0.01") { 0.01 } else { panic!("{rule} has another rate") };
                let new = |text: String| Run::<F>::new(&text, &four(), &setup(), &numbers(1, N));
                let mut ours = new(format!("{} | {rule}", stage(name, penalty, "decoupled")));
                let mut plain = new(rule.clone());
                let elementwise = kinds_have(Plan::parse(&rule).unwrap().entry());
                // Muon leaves all but the matrix to AdamW.
                let by_sweep = |i: usize| elementwise || rule.starts_with("muon") && i >= 15;
                // Adan's own proximal decay acts on what is left.
                let left = match rule.split_once("no_prox=false") {
                    Some((values, _)) => {
                        let decay = values.rsplit("weight_decay=").next().unwrap();
                        1.0 / (1.0 + lr * decay.trim_end_matches(", ").parse::<f64>().unwrap())
                    }
                    None => 1.0,
                };
                for seed in 2..8 {
                    let g = numbers(seed, N);
                    let before: Vec<F> = ours.theta.values().collect();
                    // The plain rule starts from our θ at each step; its memory is its own.
                    let wide: Vec<f64> = before.iter().map(|x| x.to_f64()).collect();
                    write(&four(), plain.theta.flat_mut(), &wide);
                    let used = ours.step(&g).lr;
                    let found = Plan::parse(&rule).unwrap().finds_rate();
                    let rate = if found { used } else { lr };
                    plain.step(&g);
                    let (l1, l2) = (f::<F>(rate * penalty.l1), rate * penalty.l2);
                    for (i, (ours, plain)) in ours.theta.values().zip(plain.theta.values()).enumerate() {
                        if !reached(i) {
                            assert_eq!(ours.bits(), plain.bits(), "{name}, {rule}: no penalty reaches {i}");
                            continue;
                        }
                        let shrunk = if by_sweep(i) { before[i] } else { plain };
                        let next = plain.to_f64() - l2 * left * shrunk.to_f64();
                        let expected = soft(next, l1.to_f64());
                        // Four roundings of numbers of these sizes; the rule's own shrinking (a factor below 1) is one of them.
                        let size = before[i].abs().to_f64() + plain.abs().to_f64() + next.abs();
                        let bound = 4.0 * F::EPSILON.to_f64() * size;
                        assert!(
                            (ours.to_f64() - expected).abs() <= bound,
                            "{name}, {rule}: θ{i} is {ours}, not {expected} ± {bound:e}"
                        );
                    }
                }
            }
        }
    }

    /// AdamW is Adam with decoupled l2, and NAdamW NAdam, to the bit.
    fn adamw_is_adam_with_decoupled_l2<F>() {
        for (plain, with) in [("adam", "adamw"), ("nadam", "nadamw")] {
            let new = |text: String| Run::<F>::new(&text, &layout(&[20, 4]), &setup(), &numbers(1, N));
            let mut ours = new(format!("l2(0.3, by=decoupled) | {plain}(lr=0.05)"));
            let mut theirs = new(format!("{with}(lr=0.05, weight_decay=0.3)"));
            for seed in 2..12 {
                ours.step(&numbers(seed, N));
                theirs.step(&numbers(seed, N));
                assert_eq!(ours.bits(), theirs.bits());
            }
        }
    }

    /// Proximal for SGD: θ ← soft(θ − η g, η l1)/(1 + η l2); for Adam the same with its own step size, here from the formula.
    fn proximal_steps_are_their_closed_forms<F>() {
        let penalty = Penalty { l1: 0.25, l2: 0.5 };
        for (name, penalty) in STAGES.iter().map(|&(name, p)| (name, p)).chain([("elastic", penalty)]) {
            let text = stage(name, penalty, "proximal");
            let new = |rule: &str| Run::<F>::new(&format!("{text} | {rule}"), &four(), &setup(), &numbers(1, N));
            let (mut sgd, mut adam) = (new("sgd(lr=0.1)"), new("adam(lr=0.1)"));
            let mut slow: Vec<[f64; 4]> = numbers(1, N).iter().map(|&x| [x, x, 0.0, 0.0]).collect();
            let (mut bound, unit) = (0.0, F::EPSILON.to_f64());
            let mut zeros = 0;
            for t in 1..=6 {
                let g = numbers(t as u64 + 1, N);
                sgd.step(&g);
                adam.step(&g);
                for (i, ([plain, adapted, m, v], g)) in slow.iter_mut().zip(&g).enumerate() {
                    let on = if reached(i) { penalty } else { Penalty::default() };
                    let step = |x: f64, s: f64| soft(x, s * on.l1) / (1.0 + s * on.l2);
                    *plain = step(*plain - 0.1 * g, 0.1);
                    *m = 0.9 * *m + 0.1 * g;
                    *v = 0.999 * *v + 0.001 * g * g;
                    let root = (*v / (1.0 - libm::pow(0.999, f64::from(t)))).sqrt() + 1e-8;
                    *adapted = step(*adapted - 0.1 * *m / (1.0 - libm::pow(0.9, f64::from(t))) / root, 0.1 / root);
                }
                // Sixteen roundings a step of numbers as large as the largest; Adam's with ε = 10⁻⁸ under gradients of 10⁻³.
                bound += 16.0 * unit * slow.iter().flatten().fold(1.0f64, |top, x| top.max(x.abs()));
                for (ours, which) in [(&sgd, 0), (&adam, 1)] {
                    for (i, x) in ours.values().into_iter().enumerate() {
                        let expected = slow[i][which];
                        assert!((x - expected).abs() <= bound, "{name}: θ{i} is {x}, not {expected} ± {bound:e}");
                        zeros += usize::from(reached(i) && expected == 0.0 && x == 0.0);
                    }
                }
            }
            assert_eq!(zeros > 0, penalty.l1 > 0.0, "{name}");
        }
    }

    /// A lasso (no features in common, so that its solution is known) by rules whose rate is their step size: by the proximal step
    /// and by the decoupled one, which is the same for them; exactly the right zeros.
    fn the_minimum_of_a_lasso_has_its_zeros<F>() {
        for rule in ["gd(lr=0.3)", "momentum(lr=0.1)", "svrg(lr=0.2, every=3)", "saga(lr=0.2)"] {
            for by in ["proximal", "decoupled"] {
                let momentum = rule.starts_with("momentum");
                if momentum && by == "decoupled" {
                    continue;
                }
                let penalty = Penalty { l1: 0.4, l2: if by == "proximal" { 0.2 } else { 0.0 } };
                let text = format!("{} | {rule}", stage("elastic", penalty, by));
                let mut run = Run::<F>::new(&text, &layout(&[6, -2]), &setup(), &numbers(1, 8));
                for step in 0..3000 {
                    let mut rows = Rows { row: step % Rows::CENTRES.len() };
                    let batch = if rule.starts_with('s') { rows.row..rows.row + 1 } else { 0..Rows::CENTRES.len() };
                    run.grads.total = Rows::sum(batch, &run.theta, &mut run.grads);
                    let at = thalweg_core::At { step: step as u64 + 1, penalty: Penalty::default() };
                    run.optimizer.step(at, &mut run.theta, &mut run.grads, &mut rows).unwrap();
                }
                for (i, x) in run.values().into_iter().enumerate() {
                    let mean = Rows::CENTRES.iter().map(|c| c[i]).sum::<f64>() / Rows::CENTRES.len() as f64;
                    let on = if i < 6 { penalty } else { Penalty::default() };
                    let expected = soft(mean, on.l1) / (1.0 + on.l2);
                    // Steps end where 0.1 of a slope is lost in θ's rounding: slopes of 10 ε. SAGA's sum of gradients takes a
                    // rounding at each step, a third of which counts.
                    let bound = if rule.starts_with("saga") { 1000.0 } else { 20.0 } * F::EPSILON.to_f64();
                    assert!((x - expected).abs() <= bound, "{text}: θ{i} is {x}, not {expected}");
                    assert_eq!(x == 0.0, expected == 0.0, "{text}: θ{i}");
                }
            }
        }
    }
}

/// ½‖θ − c‖² over three rows.
struct Rows {
    row: usize,
}

impl Rows {
    /// Means of 1, 0.2, −0.3, −2, 0.4 (on the edge, but for rounding: 0.3), 0, and two biases.
    const CENTRES: [[f64; 8]; 3] = [
        [2.0, 0.5, -0.5, -3.0, 0.5, 1.0, 0.25, -0.5],
        [0.5, -0.25, 0.25, -2.0, 0.25, -2.0, 0.25, -0.75],
        [0.5, 0.35, -0.65, -1.0, 0.15, 1.0, 0.5, 1.0],
    ];

    fn sum<F: Float>(rows: std::ops::Range<usize>, theta: &Params<F>, grads: &mut Grads<F>) -> Total {
        let mut total = Total { loss: 0.0, weight: rows.len() as f64 };
        let layout = Arc::clone(theta.layout());
        let at: Vec<f64> = theta.values().map(Float::to_f64).collect();
        let mut sum = vec![0.0; 8];
        for row in &Self::CENTRES[rows] {
            for (i, (x, c)) in at.iter().zip(row).enumerate() {
                total.loss += 0.5 * (x - c) * (x - c);
                sum[i] += x - c;
            }
        }
        grads.clear();
        write(&layout, grads.flat_mut(), &sum);
        total
    }
}

impl<F: Float> Oracle<F> for Rows {
    fn loss(&mut self, theta: &Params<F>) -> Total {
        let mut grads = Grads::zeros(theta.layout());
        Self::sum(self.row..self.row + 1, theta, &mut grads)
    }
    fn gradient(&mut self, theta: &Params<F>, grads: &mut Grads<F>) -> Total {
        Self::sum(self.row..self.row + 1, theta, grads)
    }
    fn rows(&self) -> Option<Vec<usize>> {
        Some(vec![self.row])
    }
    fn count(&self) -> Option<usize> {
        Some(Self::CENTRES.len())
    }
    fn row_gradient(&mut self, row: usize, theta: &Params<F>, grads: &mut Grads<F>) -> Option<Total> {
        Some(Self::sum(row..row + 1, theta, grads))
    }
    fn full_gradient(&mut self, theta: &Params<F>, grads: &mut Grads<F>) -> Option<Total> {
        Some(Self::sum(0..Self::CENTRES.len(), theta, grads))
    }
}

/// Each stage, in each way, before each rule in each setting, either steps or is refused where it stands, with the reason and, where
/// there is one, the way that the rule takes.
#[test]
fn every_rule_takes_each_penalty_or_says_why_not() {
    let (mut taken, mut refused) = (0, 0);
    for entry in ALL {
        let all = settings(entry);
        for rule in [&all[0], &all[all.len() - 1]] {
            for (name, penalty) in STAGES {
                for by in ["coupled", "decoupled", "proximal"] {
                    let text = format!("{} | {rule}", stage(name, penalty, by));
                    match Plan::parse(&text) {
                        Ok(_) => {
                            let mut run = Run::<f64>::new(&text, &four(), &setup(), &[1.0; N]);
                            run.step(&numbers(2, N));
                            assert!(run.values().iter().all(|x| x.is_finite()), "{text}");
                            taken += 1;
                        }
                        Err(error) => {
                            let error = error.to_string();
                            assert!(error.starts_with(&format!("{} ", entry.name)), "{error}");
                            assert!(error.lines().nth(2).unwrap().contains('^'), "{error}");
                            for way in error.split("by=").skip(3) {
                                let way = way.split_whitespace().next().unwrap();
                                let other = text.replace(&format!("by={by}"), &format!("by={way}"));
                                assert!(Plan::parse(&other).is_ok(), "{error}");
                            }
                            refused += 1;
                        }
                    }
                }
            }
        }
        // Every rule takes l2 through the gradient.
        Plan::parse(&format!("l2(0.1) | {}", entry.name)).unwrap();
    }
    assert!(taken > 2 * refused, "{taken} and {refused}");
    let error = |text: &str| Plan::parse(text).unwrap_err().to_string();
    assert_eq!(
        error("l1(0.1) | lion"),
        "lion has no proximal step, which takes a rule whose step size each coordinate knows, as sgd or adam\n  \
         l1(0.1) | lion\n  ^^ it takes by=coupled or by=decoupled"
    );
    assert!(
        error("l1(0.1, by=coupled) | lbfgs")
            .starts_with("lbfgs needs a smooth objective, and |θ| has a kink")
    );
    assert!(error("l2(0.1, by=decoupled) | armijo").ends_with("it takes by=coupled"));
    assert!(error("l2(0.1, by=decopuled) | adam").ends_with("did you mean \"decoupled\"?"));
}

/// Rules in an expression with l2 through the gradient and l1 beside it; a learning rate of 0 moves nothing.
#[test]
fn a_rate_of_zero_moves_nothing() {
    for (name, penalty) in STAGES {
        for by in ["coupled", "decoupled", "proximal"] {
            for rule in takers(&stage(name, penalty, by)) {
                let still = rule.replace("lr=0.01", "lr=0");
                let text = format!("{} | {still}", stage(name, penalty, by));
                let mut run = Run::<f64>::new(&text, &four(), &setup(), &numbers(1, N));
                let before = run.values();
                (2..5).for_each(|seed| {
                    run.step(&numbers(seed, N));
                });
                assert_eq!(run.values(), before, "{text}");
            }
        }
    }
}

/// The averaged copy sees what the penalty left.
#[test]
fn averages_are_taken_after_the_penalty() {
    for by in ["coupled", "decoupled", "proximal"] {
        let text = format!("elastic(0.5, 0.25, by={by}) | sgd(lr=1) | ema(0)");
        let mut run = Run::<f64>::new(&text, &layout(&[2]), &setup(), &[4.0, 1.0]);
        run.step(&[1.0, 0.75]);
        assert_eq!(run.evaluated().unwrap(), run.values(), "{by}");
        let expected = match by {
            "coupled" => [4.0 - (1.0 + 0.5 + 1.0), 1.0 - (0.75 + 0.5 + 0.25)],
            "decoupled" => [4.0 * 0.75 - 1.0 - 0.5, 0.0],
            _ => [(3.0 - 0.5) / 1.25, 0.0],
        };
        assert_eq!(run.values(), expected, "{by}");
    }
}

/// What the driver does in its sweep works on compressed parameters and on rows; what takes passes of its own is refused there.
#[test]
fn formats_and_rows_take_what_the_sweep_does() {
    for (text, works) in [
        ("l2(0.1, by=decoupled) | adam", true),
        ("elastic(0.1, 0.1, by=proximal) | adam", true),
        ("l1(0.1, by=coupled) | adam", false),
        ("l1(0.1, by=decoupled) | adam", false),
    ] {
        let mut stepper = Stepper::<f32>::new(text).unwrap();
        let mut theta = [0x3f80u16; 8];
        let grad = [0.5f32; 8];
        let tensor = TensorMut::new(View::Bf16(&mut theta), Gradient::Keep(&grad));
        let stepped = stepper.step_tensors([tensor], Total { loss: 0.0, weight: 1.0 });
        assert_eq!(stepped.is_ok(), works, "{text}");
        if !works {
            assert!(matches!(stepped, Err(StepError::Unsupported { .. })));
        }
        let rows = RowOptimizer::<f32>::new(text, 4, 2, RowMode::Exact);
        assert_eq!(rows.is_ok(), works, "{text}");
    }
    // Catching up is the dense run.
    let text = "l2(0.5, by=decoupled) | elastic(0.1, 0.25, by=proximal) | adam(lr=0.1)";
    let theta: Vec<f64> = numbers(1, 8);
    let (mut sparse, mut dense) = (theta.clone(), Run::<f64>::new(text, &layout(&[8]), &setup(), &theta));
    let mut rows = RowOptimizer::<f64>::new(text, 4, 2, RowMode::Exact).unwrap();
    for step in 0..6 {
        let row = step % 3;
        let g = numbers(step as u64 + 2, 2);
        let mut whole = vec![0.0; 8];
        whole[2 * row..2 * row + 2].copy_from_slice(&g);
        rows.step(&mut sparse, &thalweg_optim::RowGrad { rows: &[row], values: &g }).unwrap();
        dense.step(&whole);
    }
    rows.catch_up(&mut sparse).unwrap();
    assert_eq!(sparse, dense.values());
}

/// Saved in one piece: passes keep no memory of their own.
#[test]
fn penalties_keep_no_memory() {
    fn names<F: Build>(text: &str) -> Vec<String> {
        Run::<F>::new(text, &four(), &setup(), &[0.0; N]).names()
    }
    for (name, penalty) in STAGES {
        for by in ["coupled", "decoupled", "proximal"] {
            let text = format!("{} | adam", stage(name, penalty, by));
            assert_eq!(names::<f64>(&text), names::<f64>("adam"));
        }
    }
}
