//! Stages around a rule: beside what optax, PyTorch and pytorch-optimizer recorded, beside slow versions from the papers, and what
//! must hold of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use thalweg_core::{At, Grads, Kind, Layout, NoOracle, Params, Penalty, Report, StepError, Threads, Total};
use thalweg_optim::chain::STAGES;
use thalweg_optim::rules::{ALL, Build, Entry};
use thalweg_optim::{Plan, Setup};

use crate::common::{Run, both, kinds, layout, numbers, setup, write};

#[derive(Deserialize)]
struct File {
    gradients: BTreeMap<String, Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    rule: String,
    expression: String,
    #[serde(default)]
    gradients: String,
    #[serde(default)]
    tensors: Vec<String>,
    #[serde(default)]
    shapes: Vec<Vec<usize>>,
    #[serde(default)]
    axes: String,
    theta0: Vec<f64>,
    steps: Vec<usize>,
    theta: Vec<Vec<f64>>,
    #[serde(default)]
    averaged: Vec<Vec<f64>>,
}

/// Gradients of all tensors of a case at step t, from 0.
fn gradient(file: &File, case: &Case, t: usize) -> Vec<f64> {
    let all = &file.gradients[&case.gradients];
    let row = |rows: &Value| serde_json::from_value::<Vec<f64>>(rows[t].clone()).unwrap();
    if case.tensors.is_empty() {
        row(all)
    } else {
        case.tensors.iter().flat_map(|name| row(&all[name])).collect()
    }
}

/// Follows the recorded runs of one stage.
fn follow(source: &str, rule: &str, at_least: usize) {
    let file: File = serde_json::from_str(source).unwrap();
    let mut seen = 0;
    for case in file.cases.iter().filter(|c| c.rule == rule) {
        let layout = if case.shapes.is_empty() {
            layout(&[4, -2, 1])
        } else {
            let mut builder = Layout::builder();
            for (name, shape) in case.tensors.iter().zip(&case.shapes) {
                let axes: &[&str] = match (shape.len(), case.axes.as_str()) {
                    (2, "in,out") => &["in", "out"],
                    (n, _) => &["out", "in", "height"][..n],
                };
                builder = builder.tensor(name, shape, axes, Kind::Weight);
            }
            Arc::new(builder.build())
        };
        let mut run = Run::<f64>::new(&case.expression, &layout, &setup(), &case.theta0);
        for t in 1..=50 {
            run.step(&gradient(&file, case, t - 1));
            let Some(row) = case.steps.iter().position(|&s| s == t) else { continue };
            let top = |x: &[f64]| x.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            let apart = |a: &[f64], b: &[f64]| a.iter().zip(b).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
            let moved = apart(&case.theta[row], &case.theta0);
            // A step has at most 32 roundings, each of at most half an ε of the largest number there is.
            let bound = 16.0 * t as f64 * f64::EPSILON * (top(&case.theta[row]) + top(&case.theta0));
            assert!(bound < 1e-6 * moved, "{}: {bound:e} hides {moved:e}", case.expression);
            let off = apart(&run.values(), &case.theta[row]);
            assert!(off <= bound, "{} on {}, step {t}: {off:e} > {bound:e}", case.expression, case.gradients);
            if !case.averaged.is_empty() {
                let off = apart(&run.evaluated().unwrap(), &case.averaged[row]);
                assert!(off <= bound, "{}, average, step {t}: {off:e} > {bound:e}", case.expression);
            }
        }
        seen += 1;
    }
    assert!(seen >= at_least, "{rule}: {seen} recorded runs");
}

#[test]
fn lookahead_is_that_of_optax_and_pytorch_optimizer() {
    follow(include_str!("../data/whole.json"), "lookahead", 10);
}

#[test]
fn swa_is_pytorchs_averaged_model() {
    follow(include_str!("../data/whole.json"), "swa", 6);
}

#[test]
fn adaptive_clipping_is_that_of_optax_and_pytorch_optimizer() {
    follow(include_str!("../data/shaped.json"), "agc", 12);
}

#[test]
fn centralisation_is_that_of_optax_and_pytorch_optimizer() {
    follow(include_str!("../data/shaped.json"), "centralize", 4);
}

/// Three tensors, one of them a matrix.
fn three() -> Arc<Layout> {
    Arc::new(
        Layout::builder()
            .tensor("a", &[3, 5], &["out", "in"], Kind::Weight)
            .tensor("b", &[3], &["out"], Kind::Bias)
            .tensor("c", &[4], &["out"], Kind::Weight)
            .build(),
    )
}

/// An expression with each stage of the registry, its defaults, and 0.5 or 2 where a value is required.
fn each_stage() -> Vec<String> {
    let all = STAGES.iter().map(|stage| {
        let required = stage.hyper.iter().filter(|h| h.default.is_nan());
        let values: Vec<&str> = required.map(|h| if h.range.is_whole() { "2" } else { "0.5" }).collect();
        let mut call = format!("{}({})", stage.name, values.join(", "));
        if stage.name == "swa" {
            call = "swa(start=2, every=2)".into();
        }
        if stage.before { format!("{call} | adam(lr=0.01)") } else { format!("adam(lr=0.01) | {call}") }
    });
    all.collect()
}

/// Tensors whose outputs lie first, last and between, long and short, above the size that is worth waking threads for.
fn outputs_everywhere() -> [(Vec<usize>, Vec<&'static str>); 7] {
    let of = |shape: &[usize], axes: &[&'static str]| (shape.to_vec(), axes.to_vec());
    [
        of(&[66, 2048], &["out", "in"]),
        of(&[2, 70_001], &["out", "in"]),
        of(&[2048, 66], &["in", "out"]),
        of(&[3, 66_000], &["in", "out"]),
        of(&[20, 30, 230], &["a", "out", "b"]),
        of(&[700, 100, 2], &["a", "out", "b"]),
        of(&[140_003], &["out"]),
    ]
}

both! {
    /// Adaptive clipping and centralisation by the papers' formulas, output by output, one number after the other; and the same bits on
    /// any number of threads.
    fn what_goes_by_output_is_the_slow_sum<F>() {
        for (shape, axes) in outputs_everywhere() {
            let layout = Arc::new(Layout::builder().tensor("w", &shape, &axes, Kind::Weight).build());
            let (n, axis) = (layout.count(), axes.iter().position(|a| *a == "out").unwrap());
            let (theta, g) = (numbers(1, n), numbers(2, n));
            let inner: usize = shape[axis + 1..].iter().product();
            let unit = |i: usize| if shape.len() == 1 { 0 } else { i / inner % shape[axis] };
            let units = if shape.len() == 1 { 1 } else { shape[axis] };
            let per_unit = |of: &dyn Fn(usize) -> f64| {
                let mut sums = vec![0.0; units];
                (0..n).for_each(|i| sums[unit(i)] += of(i));
                sums
            };
            let norms = |x: &[f64]| per_unit(&|i| x[i] * x[i]).iter().map(|s| s.sqrt()).collect::<Vec<_>>();
            let (size, weights) = (norms(&g), norms(&theta));
            let mean: Vec<f64> = per_unit(&|i| g[i]).iter().map(|s| s / (n / units) as f64).collect();
            let clipped = |i: usize| {
                let largest = 0.5 * weights[unit(i)].max(1e-3);
                if size[unit(i)] > largest { g[i] * (largest / size[unit(i)]) } else { g[i] }
            };
            let centred = |i: usize| if shape.len() == 1 { g[i] } else { g[i] - mean[unit(i)] };
            assert!((0..n).any(|i| clipped(i) != g[i]), "something is clipped");
            let stages: [(&str, &dyn Fn(usize) -> f64); 2] = [("agc(0.5)", &clipped), ("centralize", &centred)];
            for (stage, wanted) in stages {
                let go = |threads| {
                    let setup = Setup { threads, ..setup() };
                    let mut run = Run::<F>::new(&format!("{stage} | sgd(lr=1)"), &layout, &setup, &theta);
                    // A sum over rows of weight 4: a power of two.
                    run.step_of_sum(&g.iter().map(|g| 4.0 * g).collect::<Vec<_>>(), 4.0);
                    run.values()
                };
                let ours = go(Threads::serial());
                for threads in [2, 3, 16] {
                    assert!(go(Threads::new(threads)) == ours, "{stage} over {shape:?} on {threads} threads");
                }
                for (i, ours) in ours.iter().enumerate() {
                    // Sums of n/units numbers in two orders, n/units·ε of them at most (they are in f64), a few roundings in F of
                    // what is added up, and of θ.
                    let sum = (n / units) as f64 * f64::EPSILON;
                    let sizes = size[unit(i)] / (n as f64 / units as f64).sqrt() + g[i].abs();
                    let bound = sum * sizes + 4.0 * F::EPSILON.to_f64() * (g[i].abs() + theta[i].abs() + mean[unit(i)].abs());
                    let apart = (ours - (theta[i] - wanted(i))).abs();
                    assert!(apart <= bound, "{stage} over {shape:?}, {i}: {apart:e} > {bound:e}");
                }
            }
        }
    }
}

/// Norms of an output whose squares leave the range of f64 are measured as any other.
#[test]
fn adaptive_clipping_has_no_blind_spots() {
    let layout = Arc::new(Layout::builder().tensor("w", &[3, 4], &["out", "in"], Kind::Weight).build());
    let swapped = Arc::new(Layout::builder().tensor("w", &[4, 3], &["in", "out"], Kind::Weight).build());
    for (exponent, of_theta) in [(-600, -600), (600, 600), (900, -900), (-900, 0), (0, 900)] {
        let (unit, far) = (libm::ldexp(1.0, exponent), libm::ldexp(1.0, of_theta));
        // ‖g‖ = 4u of each output, ‖θ‖ = 2f.
        for layout in [&layout, &swapped] {
            let mut run = Run::<f64>::new("agc(0.5, eps=0) | sgd(lr=1)", layout, &setup(), &[far; 12]);
            run.step(&[2.0 * unit; 12]);
            let cut = (0.5 * 2.0 * far / (4.0 * unit).max(1e-6)).min(1.0);
            let cut = if 4.0 * unit > far { cut } else { 1.0 };
            for x in run.values() {
                let wanted = far - 2.0 * unit * cut;
                assert!(
                    (x - wanted).abs() <= 4.0 * f64::EPSILON * (far + 2.0 * unit * cut),
                    "{exponent}: {x} {wanted}"
                );
            }
        }
    }
}

#[test]
fn clipping_a_tensor_looks_at_no_other() {
    let theta = numbers(1, 22);
    let mut run = Run::<f64>::new("clip_tensor(0.5) | sgd(lr=1)", &three(), &setup(), &theta);
    let g = numbers(2, 22);
    run.step_of_sum(&g.iter().map(|g| 4.0 * g).collect::<Vec<_>>(), 4.0);
    let mut clipped = 0;
    for range in [0..15, 15..18, 18..22] {
        let norm = g[range.clone()].iter().map(|g| g * g).sum::<f64>().sqrt();
        let factor = (0.5 / (norm + 1e-6)).min(1.0);
        clipped += u32::from(factor < 1.0);
        for i in range {
            let expected = theta[i] - factor * g[i];
            assert!(
                (run.values()[i] - expected).abs() <= 32.0 * f64::EPSILON * (theta[i].abs() + g[i].abs()),
                "{i}"
            );
        }
    }
    assert!(clipped > 0);
}

#[test]
fn noise_has_its_variance_and_depends_on_seed_step_and_place_alone() {
    let n = 40_000;
    let zeros = vec![0.0; n];
    let one = |threads: usize, seed: u64, cut: &[isize]| {
        let setup = Setup { threads: Threads::new(threads), seed, ..setup() };
        let mut run = Run::<f64>::new("noise(eta=0.04, gamma=0.5) | sgd(lr=1)", &layout(cut), &setup, &zeros);
        let mut steps = vec![];
        for _ in 0..4 {
            let before = run.values();
            run.step_of_sum(&zeros, 2.0);
            steps.push(run.values().iter().zip(before).map(|(a, b)| a - b).collect::<Vec<f64>>());
        }
        steps
    };
    let whole = one(1, 5, &[n as isize]);
    assert_eq!(whole, one(3, 5, &[n as isize]));
    // Both parts start at multiples of 16: the places are the same.
    assert_eq!(whole, one(2, 5, &[16_000, n as isize - 16_000]));
    assert_ne!(whole, one(1, 6, &[n as isize]));
    for (t, noise) in whole.iter().enumerate() {
        let variance = 0.04 / ((t + 1) as f64).sqrt();
        let found = noise.iter().map(|x| x * x).sum::<f64>() / n as f64;
        // Five standard errors of a variance: 5·√(2/n).
        assert!((found / variance - 1.0).abs() < 5.0 * (2.0 / n as f64).sqrt(), "step {t}: {found}");
        // And of a correlation with the step before.
        if t > 0 {
            let dot: f64 = noise.iter().zip(&whole[t - 1]).map(|(a, b)| a * b).sum();
            let norms: f64 =
                [noise, &whole[t - 1]].iter().map(|x| x.iter().map(|x| x * x).sum::<f64>().sqrt()).product();
            assert!((dot / norms).abs() < 5.0 / (n as f64).sqrt());
        }
    }
}

both! {
    /// `l1`, `l2` and `elastic` are the objective's own penalties, to the bit, biases left alone.
    fn a_chains_penalty_is_the_objectives<F>() {
        for rule in ["sgd(lr=0.1)", "adam(lr=0.05)", "adagrad(lr=0.1)"] {
            for (stages, penalty) in [
                ("l1(0.25)", Penalty { l1: 0.25, l2: 0.0 }),
                ("l2(0.5)", Penalty { l1: 0.0, l2: 0.5 }),
                ("elastic(0.25, 0.5)", Penalty { l1: 0.25, l2: 0.5 }),
                ("l2(0.5) | clip(1) | l1(0.25)", Penalty { l1: 0.25, l2: 0.5 }),
            ] {
                let plain = if stages.contains("clip") { format!("clip(1) | {rule}") } else { rule.into() };
                let mut ours = Run::<F>::new(&format!("{stages} | {rule}"), &three(), &setup(), &numbers(3, 22));
                let mut theirs = Run::<F>::new(&plain, &three(), &setup(), &numbers(3, 22));
                theirs.penalty = penalty;
                for seed in 0..20 {
                    ours.step(&numbers(seed, 22));
                    theirs.step(&numbers(seed, 22));
                }
                assert_eq!(ours.bits(), theirs.bits(), "{stages} | {rule}");
            }
        }
    }

    /// Threads change no bit.
    fn threads_change_no_bit_of_a_stage<F>() {
        let n = 150_000;
        for text in each_stage() {
            let go = |threads| {
                let setup = Setup { threads: Threads::new(threads), ..setup() };
                let mut run = Run::<F>::new(&text, &layout(&[n as isize, -40]), &setup, &numbers(1, n + 40));
                (0..4).for_each(|seed| { run.step(&numbers(seed, n + 40)); });
                run.bits()
            };
            assert_eq!(go(1), go(3), "{text}");
        }
    }

    /// A run that is saved and restored at any step goes on as if it had never stopped, and lr = 0 moves nothing.
    fn a_stage_continues_and_rests<F>() {
        for text in each_stage() {
            for stop in [0, 1, 2, 3, 5, 6] {
                let new = |theta: &[f64]| Run::<F>::new(&text, &three(), &setup(), theta);
                let mut whole = new(&numbers(1, 22));
                let bad = |t: u64, run: &mut Run<F>| {
                    let mut g = numbers(t, 22);
                    if t == 4 && (text.contains("nonfinite") || text.contains("rollback") || text.contains("scale")) {
                        g[3] = f64::INFINITY;
                    }
                    run.step(&g);
                };
                (0..stop).for_each(|t| bad(t, &mut whole));
                let mut second = new(&whole.values());
                second.restore(&whole.memory());
                second.t = whole.t;
                (stop..9).for_each(|t| bad(t, &mut whole));
                (stop..9).for_each(|t| bad(t, &mut second));
                assert_eq!(whole.bits(), second.bits(), "{text} stopped at {stop}");
                assert_eq!(whole.memory(), second.memory(), "{text} stopped at {stop}");
                assert_eq!(whole.evaluated(), second.evaluated(), "{text} stopped at {stop}");
            }
            // α + (α − α)·x and a mean of equal numbers are exact.
            let mut still = Run::<F>::new(&text.replace("0.01", "0"), &three(), &setup(), &numbers(1, 22));
            let start = still.values();
            (0..7).for_each(|t| { still.step(&numbers(t, 22)); });
            assert_eq!(still.values(), start, "{text}");
            assert!(still.evaluated().is_none_or(|w| w == start), "{text}");
        }
    }

    /// Windows of ragged batches are one large batch: the same bits where sums are exact.
    fn accumulation_is_the_large_batch<F>() {
        // Small multiples of 1/8: sums of a dozen of them are exact in f32.
        let dyadic = |seed: u64| numbers(seed, 22).iter().map(|x| (x * 8.0).round().rem_euclid(64.0) / 8.0).collect::<Vec<f64>>();
        let mut settings = kinds();
        settings.extend(ALL.iter().filter(|e| e.kind == thalweg_optim::rules::Kind::Tensor).map(|e| e.name.into()));
        // Of those that look at all parameters, the ones that do not look at their batch again.
        let one_look = |e: &&&Entry| e.kind == thalweg_optim::rules::Kind::Whole && {
            let needs = Plan::parse(e.name).unwrap().needs();
            !(needs.reevaluation || needs.rows || needs.curvature)
        };
        let whole: Vec<&str> = ALL.iter().filter(one_look).map(|e| e.name).collect();
        assert_eq!(whole, ["prodigy", "dadapt_sgd", "dadapt_adam", "dadapt_adagrad", "dog", "dowg", "polyak"]);
        settings.extend(whole.iter().flat_map(|name| [format!("{name}(lr=0.5)"), format!("{name}(lr=0.5, weight_decay=0.1)")]));
        settings.retain(|rule| Plan::parse(rule).is_ok());
        for rule in settings {
            let mut small = Run::<F>::new(&format!("accumulate(3) | clip(1) | {rule}"), &three(), &setup(), &numbers(1, 22));
            let mut large = Run::<F>::new(&format!("clip(1) | {rule}"), &three(), &setup(), &numbers(1, 22));
            for window in 0..4u64 {
                let (mut sum, mut weight) = (vec![0.0; 22], 0.0);
                // The last window is one batch, flushed.
                let batches = if window == 3 { 1 } else { 3 };
                let mut loss = 0.0;
                for k in 0..batches {
                    let (g, w) = (dyadic(10 * window + k), [32.0, 7.0, 0.5][k as usize]);
                    sum.iter_mut().zip(&g).for_each(|(s, g)| *s += g);
                    let total = Total { loss: [8.0, 3.0, 0.25][k as usize], weight: w };
                    weight += w;
                    loss += total.loss;
                    let report = stepped(&mut small, &g, total);
                    assert_eq!(report.waiting, k < 2 , "{rule}");
                }
                if batches < 3 {
                    let at = At { step: small.t, penalty: small.penalty };
                    let report = small.optimizer.flush(at, &mut small.theta, &mut small.grads, &mut NoOracle).unwrap();
                    assert!(!report.unwrap().waiting);
                    let again = small.optimizer.flush(at, &mut small.theta, &mut small.grads, &mut NoOracle).unwrap();
                    assert!(again.is_none(), "nothing waits any more");
                }
                large.t = small.t - 1;
                stepped(&mut large, &sum, Total { loss, weight });
                assert_eq!(small.values(), large.values(), "{rule}, window {window}");
            }
        }
    }
}

/// One step with a gradient that was summed with this total.
fn stepped<F: Build>(run: &mut Run<F>, sum: &[f64], total: Total) -> Report {
    let layout = Arc::clone(run.theta.layout());
    write(&layout, run.grads.flat_mut(), sum);
    run.grads.total = total;
    run.go()
}

/// Each group waits for its own number of gradients.
#[test]
fn groups_accumulate_each_for_itself() {
    let text = "{ a: accumulate(2) | sgd(lr=1); rest: sgd(lr=1) }";
    let mut run = Run::<f64>::new(text, &three(), &setup(), &[0.0; 22]);
    let report = run.step_of_sum(&[1.0; 22], 1.0);
    assert!(!report.waiting);
    assert_eq!((run.values()[0], run.values()[20]), (0.0, -1.0));
    run.step_of_sum(&[9.0; 22], 3.0);
    assert_eq!((run.values()[0], run.values()[20]), (-2.5, -4.0));
}

/// Scaling by powers of two changes no bit; an overflow halves the scale and leaves the step out.
#[test]
fn a_scaled_loss_is_the_plain_one() {
    let text = "loss_scale(init=1024, interval=3) | clip(1) | adam(lr=0.01)";
    let mut scaled = Run::<f64>::new(text, &three(), &setup(), &numbers(1, 22));
    let mut plain = Run::<f64>::new("clip(1) | adam(lr=0.01)", &three(), &setup(), &numbers(1, 22));
    let mut scales = vec![];
    for t in 0..12 {
        let scale = scaled.optimizer.loss_scale();
        scales.push(scale);
        let mut g: Vec<f64> = numbers(t, 22).iter().map(|g| g * scale).collect();
        if t == 4 {
            g[7] = f64::NEG_INFINITY;
        }
        let (was, report) = (scaled.bits(), scaled.step(&g));
        assert_eq!(report.skipped, t == 4);
        if t == 4 {
            assert_eq!(was, scaled.bits());
            assert!(scaled.grads.flat().iter().all(|&g| g == 0.0));
        } else {
            let other = plain.step(&numbers(t, 22));
            assert_eq!(report.grad_norm, other.grad_norm);
        }
        assert_eq!(scaled.values(), plain.values(), "step {t}");
    }
    // Three finite steps, growth, one more, the overflow, three finite steps, growth, three more.
    let expected = [1024, 1024, 1024, 2048, 2048, 1024, 1024, 1024, 2048, 2048, 2048, 4096].map(f64::from);
    assert_eq!(scales, expected);
}

#[test]
fn steps_that_are_not_finite_are_left_out_until_there_are_too_many() {
    let mut run =
        Run::<f64>::new("skip_nonfinite(in_a_row=2) | adam(lr=0.1)", &three(), &setup(), &numbers(1, 22));
    let mut other = Run::<f64>::new("adam(lr=0.1)", &three(), &setup(), &numbers(1, 22));
    let mut bad = numbers(2, 22);
    bad[20] = f64::NAN;
    for round in 0..3u32 {
        for k in 0..=u64::from(round) {
            let report = run.step(&bad);
            assert!(report.non_finite.is_some());
            assert_eq!(report.skipped, k < 2, "{k}");
        }
        run.step(&numbers(9, 22));
        other.step(&numbers(9, 22));
        assert_eq!(run.values(), other.values());
    }
    // A loss that is not finite is enough.
    write(&three(), run.grads.flat_mut(), &numbers(4, 22));
    run.grads.total = Total { loss: f64::INFINITY, weight: 1.0 };
    let report = run.go();
    assert!(report.skipped && report.non_finite.is_none());
    assert_eq!(run.values(), other.values());
}

#[test]
fn a_roll_back_returns_to_the_copy_with_a_smaller_rate() {
    let text = "rollback(every=3, factor=0.25) | adam(lr=0.1)";
    let mut run = Run::<f64>::new(text, &three(), &setup(), &numbers(1, 22));
    let mut states = vec![];
    let own = |run: &mut Run<f64>| {
        let (values, mut memory) = (run.values(), run.memory());
        memory.retain(|(name, _)| !name.contains("rollback") && !name.starts_with("nonfinite"));
        (values, memory)
    };
    for t in 0..5 {
        states.push(own(&mut run));
        assert_eq!(run.step(&numbers(t, 22)).lr, 0.1);
    }
    let mut bad = numbers(2, 22);
    bad[0] = f64::INFINITY;
    let report = run.step(&bad);
    assert!(report.skipped);
    // The copy is the one before the fourth step.
    assert!(own(&mut run) == states[3]);
    assert_eq!(run.step(&numbers(8, 22)).lr, 0.025);
    // A new value that is not finite undoes the step as well.
    let mut run = Run::<f64>::new("rollback | sgd(lr=1e300)", &three(), &setup(), &numbers(1, 22));
    let start = run.values();
    let report = run.step(&[1e20; 22]);
    assert!(report.skipped && report.non_finite.is_some());
    assert_eq!(run.values(), start);
}

/// Masked coordinates are 0 after every step of every rule, whatever its memory held before, and so are the weights to evaluate.
#[test]
fn a_mask_holds_zeros_whatever_the_rule() {
    let mut expressions = kinds();
    expressions
        .extend(ALL.iter().filter(|e| e.kind != thalweg_optim::rules::Kind::Whole).map(|e| e.name.into()));
    expressions.extend(each_stage());
    expressions.push("noise(1) | adam(lr=0.1) | lookahead(2) | ema(0.5)".into());
    for text in expressions {
        let mut run = Run::<f64>::new(&text, &three(), &setup(), &numbers(1, 22));
        (0..3).for_each(|t| {
            run.step(&numbers(t, 22));
        });
        let mut mask = Params::zeros(&three());
        let kept: Vec<f64> = (0..22).map(|i| f64::from(i % 3 != 0)).collect();
        write(&three(), mask.flat_mut(), &kept);
        run.optimizer.set_mask(Some(&mask)).unwrap();
        for t in 3..9 {
            run.step(&numbers(t, 22));
            let evaluated = run.evaluated().unwrap_or_else(|| run.values());
            for (i, &keep) in kept.iter().enumerate() {
                assert!(keep != 0.0 || (run.values()[i] == 0.0 && evaluated[i] == 0.0), "{text}: {i}");
            }
        }
        assert!(run.values().iter().any(|&x| x != 0.0), "{text}");
    }
    // The others move as if the masked ones were not there.
    let (a, b) = (numbers(1, 4), numbers(2, 4));
    let mut run =
        Run::<f64>::new("clip(0.1) | adam(lr=0.1)", &layout(&[5]), &setup(), &[&a[..], &[3.0]].concat());
    let mut mask = Params::zeros(&layout(&[5]));
    mask.flat_mut()[..4].fill(1.0);
    run.optimizer.set_mask(Some(&mask)).unwrap();
    let mut fewer = Run::<f64>::new("clip(0.1) | adam(lr=0.1)", &layout(&[4]), &setup(), &a);
    for _ in 0..5 {
        run.step(&[&b[..], &[100.0]].concat());
        fewer.step(&b);
        assert_eq!(run.values()[..4], fewer.values()[..]);
    }
    let wrong = Params::zeros(&layout(&[40]));
    assert!(matches!(run.optimizer.set_mask(Some(&wrong)), Err(StepError::Length { .. })));
    run.optimizer.set_mask(None).unwrap();
    run.step(&[1.0; 5]);
    assert!(run.values()[4] != 0.0);
}

/// Averages are taken after lookahead has moved the weights.
#[test]
fn an_average_sees_what_lookahead_left() {
    let mut run = Run::<f64>::new("sgd(lr=1) | lookahead(1, 0.5) | ema(0)", &layout(&[1]), &setup(), &[8.0]);
    run.step(&[4.0]);
    assert_eq!((run.values(), run.evaluated().unwrap()), (vec![6.0], vec![6.0]));
}

/// SWA's defaults: from three quarters of the run on, once an epoch; θ before.
#[test]
fn swa_starts_late_and_counts_epochs() {
    let mut run = Run::<f64>::new("sgd(lr=1) | swa", &layout(&[1]), &setup(), &[0.0]);
    for t in 1..=100 {
        run.step(&[-1.0]);
        let expected = (t >= 75).then(|| {
            let taken: Vec<f64> = (75..=t).step_by(10).map(f64::from).collect();
            vec![taken.iter().sum::<f64>() / taken.len() as f64]
        });
        assert_eq!(run.evaluated(), expected, "step {t}");
    }
}

/// Rules that look at their batch again are refused beside accumulation, before anything is written.
#[test]
fn accumulation_refuses_rules_that_evaluate_again() {
    let needs = |name: &str| {
        let plan = Plan::parse(name).ok()?;
        let optimizer = plan.build::<f64>(&three(), &setup()).ok()?;
        let needs = optimizer.needs();
        (needs.reevaluation || needs.rows || needs.curvature).then_some(())
    };
    for entry in ALL.iter().filter(|e| needs(e.name).is_some()) {
        let plan = Plan::parse(&format!("accumulate(2) | {}", entry.name)).unwrap();
        let mut optimizer = plan.build::<f64>(&three(), &setup()).unwrap();
        let (mut theta, mut grads) = (Params::zeros(&three()), Grads::zeros(&three()));
        grads.total = Total { loss: 1.0, weight: 1.0 };
        let at = At { step: 1, penalty: Penalty::default() };
        let error = optimizer.step(at, &mut theta, &mut grads, &mut NoOracle).unwrap_err();
        assert!(error.to_string().starts_with("accumulate takes no rule"), "{error}");
    }
}
