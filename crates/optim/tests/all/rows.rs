//! Row-sparse gradients: exact is the dense run to the bit, lazy is PyTorch's.

use proptest::prelude::*;
use serde::Deserialize;
use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Float, Memory, Penalty, StepError, Threads, Total};
use thalweg_optim::rules::Build;
use thalweg_optim::{Horizon, RowError, RowGrad, RowMode, RowOptimizer, Setup, state};

use crate::common::{Run, all_settings, both, kinds, layout, numbers, penalty, setup};

/// What a step lists: row 0 nearly always, the last ones seldom, the very last never; some twice, now and then none at all.
fn pattern(stream: &mut Stream, rows: usize) -> Vec<usize> {
    let count = [0, 1, 2, 3, 5, 9][stream.below(6) as usize];
    let one = |s: &mut Stream| {
        let most = 1 + s.below(rows as u32 - 1);
        s.below(most) as usize
    };
    (0..count).map(|_| one(stream)).collect()
}

/// The dense gradient, duplicates added up in the order in which they are listed.
fn dense<F: Float>(rows: &[usize], values: &[F], width: usize, out: &mut [F]) {
    out.fill(F::zero());
    let mut met = vec![];
    for (row, values) in rows.iter().zip(values.chunks(width)) {
        for (o, &v) in out[row * width..][..width].iter_mut().zip(values) {
            *o = if met.contains(row) { *o + v } else { v };
        }
        met.push(*row);
    }
}

fn memory<F: Build>(optimizer: &mut RowOptimizer<F>) -> Vec<Vec<u8>> {
    let mut all = vec![];
    optimizer.visit_state(&mut |name, memory| {
        if name.contains('/') {
            all.push(memory.to_bytes());
        }
    });
    all
}

/// Exact rows beside the dense run: what is read on the way, and everything at the end.
fn side_by_side<F: Build>(
    text: &str,
    (rows, width): (usize, usize),
    history: usize,
    steps: u64,
    restore: Option<u64>,
) {
    let n = rows * width;
    let setup = Setup { horizon: Horizon { steps, per_epoch: 5 }, ..setup() };
    let mut run = Run::<F>::new(text, &layout(&[n as isize]), &setup, &numbers(1, n));
    run.penalty = penalty(text);
    let make = || {
        RowOptimizer::<F>::with_setup(text, rows, width, RowMode::Exact, &setup)
            .unwrap_or_else(|e| panic!("{e}"))
            .penalty(penalty(text))
            .history(history)
    };
    let mut ours = make();
    let mut theta: Vec<F> = run.theta.values().collect();
    let mut stream = Stream::new(3, Purpose::Data, 7);
    let bits = |x: &[F]| x.iter().map(|x| x.bits()).collect::<Vec<_>>();
    for t in 1..=steps {
        let listed = pattern(&mut stream, rows);
        let values: Vec<F> = numbers(t + 1, listed.len() * width).into_iter().map(F::from_f64).collect();
        dense(&listed, &values, width, &mut run.grads.flat_mut()[..n]);
        run.grads.total = Total { loss: 0.5, weight: 2.0 };
        let expected = run.go();
        let report = ours.step_sum(&mut theta, &RowGrad { rows: &listed, values: &values }, 2.0).unwrap();
        assert_eq!((report.lr, report.clipped), (expected.lr, expected.clipped), "{text}");
        assert_eq!(report.grad_norm, expected.grad_norm, "{text}");
        let read = pattern(&mut stream, rows);
        ours.read(&mut theta, &read).unwrap();
        for row in listed.into_iter().chain(read) {
            let range = row * width..(row + 1) * width;
            let dense = bits(&run.theta.flat()[range.clone()]);
            assert_eq!(bits(&theta[range]), dense, "{text}: row {row} after step {t}");
        }
        if restore == Some(t) {
            // Rows are behind: that is part of what is saved.
            let saved = state::save(&mut ours, t).unwrap();
            let mut other = make();
            let mut spoilt = theta.clone();
            other.step(&mut spoilt, &RowGrad { rows: &[0], values: &vec![F::one(); width] }).unwrap();
            assert_eq!(state::load(&mut other, &saved).unwrap().step, t);
            assert!(state::save(&mut other, t).unwrap() == saved, "{text}");
            ours = other;
        }
    }
    ours.catch_up(&mut theta).unwrap();
    assert_eq!(bits(&theta), bits(&run.theta.flat()[..n]), "{text}");
    let evaluated = ours.evaluation_weights(&theta).unwrap();
    let evaluated: Option<Vec<f64>> = evaluated.map(|e| e.iter().map(|x| x.to_f64()).collect());
    assert_eq!(evaluated, run.evaluated(), "{text}");
    let dense: Vec<Vec<u8>> =
        run.memory().into_iter().filter(|(name, _)| name.contains('/')).map(|(_, bytes)| bytes).collect();
    assert!(memory(&mut ours) == dense, "{text}: memory");
    assert_eq!(ours.expression(), run.optimizer.expression());
}

both! {
    fn exact_rows_are_the_dense_run<F>() {
        for rule in all_settings() {
            let rule = rule.replace("lr=0.01", "lr=cosine(0.01, warmup=3 steps)");
            side_by_side::<F>(&format!("clip_value(20) | {rule} | ema(0.9)"), (13, 3), 4096, 25, None);
            side_by_side::<F>(&rule, (9, 1), 4, 14, Some(7));
        }
    }

    fn rows_that_are_far_behind_catch_up<F>() {
        for rule in kinds() {
            for history in [1, 7, 64, 4096] {
                side_by_side::<F>(&rule, (40, 2), history, 90, Some(50));
            }
        }
    }

    /// The same rows at each step, all of them: there is nothing to be lazy about.
    fn all_rows_are_the_dense_run_in_lazy_mode<F>() {
        let (rows, width) = (11, 4);
        let n = rows * width;
        for rule in all_settings() {
            let text = format!("clip_value(20) | {rule} | ema(0.9)");
            let mut run = Run::<F>::new(&text, &layout(&[n as isize]), &setup(), &numbers(1, n));
            run.penalty = penalty(&rule);
            let mut lazy = RowOptimizer::<F>::new(&text, rows, width, RowMode::Lazy).unwrap().penalty(penalty(&rule));
            let mut theta: Vec<F> = run.theta.values().collect();
            for seed in 2..6 {
                let values: Vec<F> = numbers(seed, n).into_iter().map(F::from_f64).collect();
                run.step(&numbers(seed, n));
                let all: Vec<usize> = (0..rows).collect();
                lazy.step(&mut theta, &RowGrad { rows: &all, values: &values }).unwrap();
            }
            assert_eq!(theta, run.theta.values().collect::<Vec<F>>(), "{rule}");
            let average = lazy.evaluation_weights(&theta).unwrap().unwrap();
            assert_eq!(average.iter().map(|x| x.to_f64()).collect::<Vec<_>>(), run.evaluated().unwrap(), "{rule}");
        }
    }

    /// Rows that do not occur keep every bit, of parameters and memory; those that do move as if they were alone.
    fn lazy_rows_move_alone<F>() {
        let (rows, width) = (9, 3);
        for rule in all_settings() {
            let mut whole = RowOptimizer::<F>::new(&rule, rows, width, RowMode::Lazy).unwrap();
            let mut alone = RowOptimizer::<F>::new(&rule, 1, width, RowMode::Lazy).unwrap();
            let mut theta: Vec<F> = numbers(1, rows * width).into_iter().map(F::from_f64).collect();
            let before = theta.clone();
            let mut row: Vec<F> = theta[4 * width..5 * width].to_vec();
            let mut stream = Stream::new(5, Purpose::Data, 7);
            for t in 1..=12 {
                let mut listed = vec![4; usize::from(stream.below(3) > 0)];
                listed.extend((stream.below(2) == 0).then_some(7));
                let values: Vec<F> = numbers(t, listed.len() * width).into_iter().map(F::from_f64).collect();
                whole.step(&mut theta, &RowGrad { rows: &listed, values: &values }).unwrap();
                let mine = if listed.contains(&4) { &values[..width] } else { &[] };
                alone.step(&mut row, &RowGrad { rows: &[0][..mine.len() / width], values: mine }).unwrap();
                if t == 6 {
                    let saved = state::save(&mut whole, t).unwrap();
                    whole = RowOptimizer::<F>::new(&rule, rows, width, RowMode::Lazy).unwrap();
                    state::load(&mut whole, &saved).unwrap();
                }
            }
            assert_eq!(theta[4 * width..5 * width], row, "{rule}");
            for other in [0, 1, 2, 3, 5, 6, 8] {
                assert_eq!(theta[other * width..][..width], before[other * width..][..width], "{rule}");
            }
        }
    }
}

#[test]
fn compressed_memory_is_that_of_the_dense_run() {
    for rule in kinds() {
        for format in ["bf16", "block8"] {
            let rule = format!("{}, memory={format})", rule.strip_suffix(')').unwrap());
            side_by_side::<f32>(&rule, (20, 256), 5, 12, Some(6));
        }
        let rule = format!("{}, memory=bf16)", rule.strip_suffix(')').unwrap());
        side_by_side::<f32>(&rule, (1000, 5), 5, 12, None);
    }
}

#[test]
fn threads_change_no_bit() {
    let (rows, width) = (3000, 100);
    let listed: Vec<usize> = (0..rows).filter(|r| r % 3 > 0).collect();
    let go = |threads: Threads| {
        let setup = Setup { threads, ..setup() };
        let mut adam = RowOptimizer::<f32>::with_setup("adam", rows, width, RowMode::Exact, &setup).unwrap();
        let mut theta: Vec<f32> = numbers(1, rows * width).into_iter().map(|x| x as f32).collect();
        for seed in 2..4 {
            let values: Vec<f32> =
                numbers(seed, listed.len() * width).into_iter().map(|x| x as f32).collect();
            adam.step(&mut theta, &RowGrad { rows: &listed, values: &values }).unwrap();
        }
        adam.catch_up(&mut theta).unwrap();
        theta
    };
    let alone = go(Threads::serial());
    assert!(go(Threads::new(2)) == alone && go(Threads::new(3)) == alone);
}

/// The norm over the rows is that of the dense gradient to the bit, and so is what is clipped by it: here over several blocks and tasks.
#[test]
fn clipping_goes_by_the_dense_norm() {
    fn go<F: Build>() {
        let (rows, width) = (3000, 50);
        let n = rows * width;
        for around in ["clip(0.5)", "clip_value(20) | clip(5)", "clip(50) | clip_value(0.01)"] {
            let text = format!("{around} | adam(lr=0.1) | ema(0.9)");
            let mut run = Run::<F>::new(&text, &layout(&[n as isize]), &setup(), &numbers(1, n));
            let mut ours = RowOptimizer::<F>::new(&text, rows, width, RowMode::Exact).unwrap();
            let mut theta: Vec<F> = run.theta.values().collect();
            let mut stream = Stream::new(5, Purpose::Data, 7);
            for seed in 2..9 {
                let listed: Vec<usize> = (0..40).map(|_| stream.below(rows as u32) as usize).collect();
                let values: Vec<F> =
                    numbers(seed, listed.len() * width).into_iter().map(F::from_f64).collect();
                dense(&listed, &values, width, &mut run.grads.flat_mut()[..n]);
                run.grads.total = Total { loss: 0.5, weight: 2.0 };
                let (a, b) = (
                    run.go(),
                    ours.step_sum(&mut theta, &RowGrad { rows: &listed, values: &values }, 2.0).unwrap(),
                );
                assert_eq!(a, b, "{text}");
                assert!(a.clipped);
            }
            ours.catch_up(&mut theta).unwrap();
            assert_eq!(theta, run.theta.values().collect::<Vec<F>>(), "{text}");
        }
    }
    go::<f32>();
    go::<f64>();
}

#[derive(Deserialize)]
struct File {
    rows: usize,
    width: usize,
    theta0: Vec<f64>,
    steps: Vec<Listed>,
    listed: Vec<usize>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Listed {
    rows: Vec<usize>,
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct Case {
    expression: String,
    theta: Vec<Vec<f64>>,
}

#[test]
fn lazy_is_pytorchs_sparse_adam_adagrad_and_sgd() {
    let file: File = serde_json::from_str(include_str!("../data/sparse.json")).unwrap();
    let top = |x: &[f64]| x.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let apart = |a: &[f64], b: &[f64]| a.iter().zip(b).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
    for case in &file.cases {
        let mut lazy =
            RowOptimizer::<f64>::new(&case.expression, file.rows, file.width, RowMode::Lazy).unwrap();
        let mut theta = file.theta0.clone();
        for (t, step) in file.steps.iter().enumerate() {
            lazy.step(&mut theta, &RowGrad { rows: &step.rows, values: &step.values }).unwrap();
            let Some(nth) = file.listed.iter().position(|&listed| listed == t + 1) else { continue };
            let recorded = &case.theta[nth];
            // As for stages: at most 32 roundings a step, each of at most half an ε of the largest number there is.
            let bound = 16.0 * (t + 1) as f64 * f64::EPSILON * (top(recorded) + top(&file.theta0));
            let (off, moved) = (apart(&theta, recorded), apart(recorded, &file.theta0));
            assert!(bound < 1e-6 * moved || moved == 0.0, "{}: {bound:e} hides {moved:e}", case.expression);
            assert!(off <= bound, "{}, step {}: {off:e} > {bound:e}", case.expression, t + 1);
        }
        let never = &theta[(file.rows - 1) * file.width..];
        assert_eq!(never, &file.theta0[(file.rows - 1) * file.width..], "the last row never occurs");
    }
    assert_eq!(file.cases.len(), 6);
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    for mode in [RowMode::Lazy, RowMode::Exact] {
        let mut adam = RowOptimizer::<f32>::new("adam", 4, 2, mode).unwrap();
        let mut theta = [1.0f32; 8];
        let before = state::save(&mut adam, 0).unwrap();
        let mut go = |theta: &mut [f32], rows: &[usize], n: usize, weight: f64| {
            adam.step_sum(theta, &RowGrad { rows, values: &vec![1.0; n] }, weight).unwrap_err()
        };
        let length = |what, expected, found| RowError::Step(StepError::Length { what, expected, found });
        assert_eq!(go(&mut [1.0; 7], &[1], 2, 1.0), length("the tensor", 8, 7));
        assert_eq!(go(&mut theta, &[1, 2], 3, 1.0), length("the gradient of the rows", 4, 3));
        assert_eq!(go(&mut theta, &[], 1, 1.0), length("the gradient of the rows", 0, 1));
        let error = go(&mut theta, &[3, 4, 0], 6, 1.0);
        assert_eq!(error, RowError::NoRow { place: 1, row: 4, rows: 4 });
        assert_eq!(error.to_string(), "row 4 stands at place 1 of the list, and there are 4 rows");
        go(&mut theta, &[usize::MAX], 2, 1.0);
        for weight in [0.0, -1.0, f64::NAN] {
            assert_eq!(go(&mut theta, &[1], 2, weight), RowError::Step(StepError::NoWeight));
        }
        assert!(adam.read(&mut theta, &[9]).is_err() && adam.read(&mut [0.0; 3], &[]).is_err());
        assert!(adam.catch_up(&mut [0.0; 9]).is_err() && adam.evaluation_weights(&[0.0; 9]).is_err());
        assert_eq!((theta, state::save(&mut adam, 0).unwrap()), ([1.0; 8], before));
    }
    let l1 = Penalty { l1: 0.1, l2: 0.0 };
    let mut lion = RowOptimizer::<f32>::new("lion", 1, 1, RowMode::Lazy).unwrap().penalty(l1);
    let error = lion.step(&mut [1.0], &RowGrad { rows: &[0], values: &[1.0] }).unwrap_err();
    assert_eq!(error, RowError::Step(StepError::NoProximal { rule: "lion" }));
    let refused = |text: &str, rows, width, part: &str| {
        let error = RowOptimizer::<f32>::new(text, rows, width, RowMode::Lazy).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    };
    refused("adma", 1, 1, "did you mean");
    refused("adam until 3 steps then sgd", 1, 1, "without groups and phases");
    refused("adam | lookahead(2)", 1, 1, "of the stages around a rule only");
    refused("accumulate(2) | adam", 1, 1, "of the stages around a rule only");
    refused("agc | adam", 1, 1, "of the stages around a rule only");
    refused("rollback(2) | adam", 1, 1, "the whole gradient");
    refused("adam(lr=cosine(0.1))", 1, 1, "the length of the run");
    refused("adam(memory=block8)", 100, 100, "whole blocks of 256");
    refused("adam", usize::MAX, 2, "more than memory holds");
    for entry in
        thalweg_optim::rules::ALL.iter().filter(|e| e.kind != thalweg_optim::rules::Kind::Elementwise)
    {
        assert!(RowOptimizer::<f32>::new(entry.name, 4, 4, RowMode::Lazy).is_err(), "{}", entry.name);
    }
    // Nothing at all is a table too.
    for (rows, width) in [(0, 3), (3, 0), (0, 0)] {
        for mode in [RowMode::Lazy, RowMode::Exact] {
            let mut none = RowOptimizer::<f64>::new("adam | ema(0.9)", rows, width, mode).unwrap();
            let listed: Vec<usize> = (0..rows).collect();
            none.step(&mut [], &RowGrad { rows: &listed, values: &[] }).unwrap();
            none.catch_up(&mut []).unwrap();
        }
    }
}

#[test]
fn a_gradient_that_is_not_finite_writes_nothing() {
    for mode in [RowMode::Lazy, RowMode::Exact] {
        let mut adam = RowOptimizer::<f64>::new("adam", 4, 2, mode).unwrap();
        let mut theta = numbers(1, 8);
        adam.step(&mut theta, &RowGrad { rows: &[1], values: &[1.0, 2.0] }).unwrap();
        let before = (theta.clone(), memory(&mut adam));
        let grad = RowGrad { rows: &[3, 2], values: &[1.0, f64::INFINITY, f64::NAN, 1.0] };
        let report = adam.step(&mut theta, &grad).unwrap();
        // Of row 2, which comes first.
        assert_eq!(report.non_finite, Some(4));
        assert_eq!((theta, memory(&mut adam), adam.steps()), (before.0, before.1, 1));
    }
}

/// Lazy steps go over the rows that occur and no others. Exact ones make up for what was missed as well, each step of each row once at
/// most: only what is met or read, and everything where the history is full.
#[test]
fn a_step_costs_as_much_as_its_rows() {
    let (rows, width, steps) = (1 << 16, 4, 2000u64);
    let listed = [5, 40_000, 40_001, 60_000];
    let each = (listed.len() * width) as u64;
    let go = |mode, history: usize| {
        let mut theta = vec![1.0f32; rows * width];
        let table = RowOptimizer::<f32>::new("momentum(lr=0.1)", rows, width, mode).unwrap();
        let mut table = table.history(history);
        for t in 0..steps {
            table.step(&mut theta, &RowGrad { rows: &listed, values: &[0.1; 16] }).unwrap();
            assert!(table.swept() <= each * (t + 1) || t >= history as u64, "step {t}: {}", table.swept());
        }
        let stepped = table.swept();
        // One more row, which has missed what the history still has.
        table.read(&mut theta, &[7]).unwrap();
        let read = table.swept() - stepped;
        table.catch_up(&mut theta).unwrap();
        (stepped, read, table.swept())
    };
    assert_eq!(go(RowMode::Lazy, 1), (each * steps, 0, each * steps));
    let all = (rows * width) as u64 * steps;
    assert_eq!(go(RowMode::Exact, 4096), (each * steps, width as u64 * steps, all));
    // All rows catch up before step 1501, and are behind by the 500 steps since then.
    let others = (rows - listed.len()) as u64 * width as u64;
    assert_eq!(go(RowMode::Exact, 1500), (each * steps + others * 1500, width as u64 * 500, all));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn changed_states_never_panic(changes in proptest::collection::vec((0.0..1.0f64, any::<u8>()), 1..20), exact: bool) {
        let mode = if exact { RowMode::Exact } else { RowMode::Lazy };
        let make = || RowOptimizer::<f32>::new("adam | ema(0.9)", 5, 2, mode).unwrap().history(3);
        let mut theta = [0.5f32; 10];
        let mut adam = make();
        for row in [1, 3] {
            adam.step(&mut theta, &RowGrad { rows: &[row], values: &[1.0; 2] }).unwrap();
        }
        let mut saved = state::save(&mut adam, 2).unwrap();
        let start = 8 + u64::from_le_bytes(saved[..8].try_into().unwrap()) as usize;
        for (at, byte) in changes {
            let at = start + (at * (saved.len() - start) as f64) as usize;
            saved[at] = byte;
        }
        let mut other = make();
        let _ = state::load(&mut other, &saved);
        for row in [0, 4, 2, 1, 3] {
            other.step(&mut theta, &RowGrad { rows: &[row], values: &[1.0; 2] }).unwrap();
        }
        other.catch_up(&mut theta).unwrap();
        other.visit_state(&mut |_, memory| assert!(!matches!(memory, Memory::Bf16(_))));
    }
}
