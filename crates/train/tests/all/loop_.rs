//! The loop: why a run ends, which weights it gives back, what it says on the way, and what must not change a bit.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use thalweg_core::Threads;
use thalweg_data::{BatchSize, Batches, Part};
use thalweg_train::job::{Job, JobError, Outcome, Prepared, TrainOptions};
use thalweg_train::{EpochRecord, FitError, Observer, Stop};

use crate::common::{Recorder, alone, bits, job, objective, plan, prepared, probed, told, train};

/// The records without the seconds, which no two runs share.
fn without_clock(epochs: &[EpochRecord]) -> Vec<EpochRecord> {
    epochs.iter().map(|e| EpochRecord { seconds: 0.0, ..*e }).collect()
}

/// Trains with `batch`, and gives what was recorded too.
fn recorded<'a>(prepared: &Prepared, expression: &str, batch: BatchSize) -> (Outcome, Recorder<'a>) {
    let mut recorder = Recorder::new(|_| Ok(()));
    let never = AtomicBool::new(false);
    let outcome = prepared.train(&plan(expression), batch, &alone(), &mut [&mut recorder], &never).unwrap();
    assert_eq!(recorder.stop, Some(outcome.fitted.stop));
    (outcome, recorder)
}

/// A slow loop of plain descent or heavy-ball momentum on the squared loss, from its formulas: the weights (numbers, levels,
/// intercept last), the mean loss of each epoch and the number of steps.
fn by_hand(prepared: &Prepared, lr: f64, mu: f64, rows: usize) -> (Vec<f64>, Vec<f64>, u64) {
    let data = &prepared.train;
    let inputs = prepared.encoder.width() + prepared.encoder.levels();
    let features = |i: usize| {
        let mut x = vec![0.0; inputs + 1];
        x[..data.width].copy_from_slice(&data.dense[i * data.width..(i + 1) * data.width]);
        data.codes[i * data.code_width..(i + 1) * data.code_width]
            .iter()
            .for_each(|&c| x[data.width + c as usize] = 1.0);
        x[inputs] = 1.0;
        x
    };
    let (mut theta, mut memory, mut steps) = (vec![0.0; inputs + 1], vec![0.0; inputs + 1], 0);
    let mut losses = vec![];
    let mut batches = Batches::new(data.len(), rows, prepared.job.seed, true);
    for _ in 0..prepared.epochs {
        let (mut sum, mut all, mut penalty) = (0.0, 0.0, 0.0);
        loop {
            let next = batches.next();
            let (last, index) = (next.last, next.index.unwrap().to_vec());
            let (mut gradient, mut loss, mut weight) = (vec![0.0; inputs + 1], 0.0, 0.0);
            for i in index.into_iter().map(|i| i as usize) {
                let (x, w) = (features(i), data.weight.as_ref().map_or(1.0, |w| w[i]));
                let off = x.iter().zip(&theta).map(|(x, t)| x * t).sum::<f64>() - data.target[i];
                loss += w * off * off / 2.0;
                weight += w;
                gradient.iter_mut().zip(&x).for_each(|(g, x)| *g += w * off * x);
            }
            if weight > 0.0 {
                let l2 = prepared.penalty.l2;
                penalty = l2 / 2.0 * theta[..inputs].iter().map(|w| w * w).sum::<f64>();
                for j in 0..=inputs {
                    let g = gradient[j] / weight + if j < inputs { l2 * theta[j] } else { 0.0 };
                    memory[j] = mu * memory[j] + g;
                    theta[j] -= lr * memory[j];
                }
                steps += 1;
                sum += loss;
                all += weight;
            }
            if last {
                break;
            }
        }
        losses.push(sum / all + penalty);
    }
    (theta, losses, steps)
}

fn flat(outcome: &Outcome) -> Vec<f64> {
    outcome.model.params.values().collect()
}

/// Sums of at most 50 terms of order 1, in another order, over at most 500 steps that contract: some hundred rounding errors.
const ROUNDING: f64 = 1e-13;

fn assert_near(a: &[f64], b: &[f64], scale: f64) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= ROUNDING * scale, "{a} {b}");
    }
}

// --- why a run ends ------------------------------------------------------------------------------------------------

#[test]
fn ends_after_its_epochs() {
    let prepared = prepared(40, Job { epochs: Some(7), ..job("y") });
    let (outcome, recorder) = recorded(&prepared, "gd(lr=0.1)", BatchSize::Rows(16));
    assert_eq!((outcome.fitted.stop, outcome.fitted.epochs, outcome.fitted.steps), (Stop::Epochs, 7, 21));
    assert_eq!((recorder.steps.len(), recorder.epochs.len()), (21, 7));
    assert!(
        recorder.steps.iter().enumerate().all(|(i, s)| s.step == i as u64 + 1 && s.epoch == i as u64 / 3 + 1)
    );
    assert!(
        recorder
            .epochs
            .iter()
            .enumerate()
            .all(|(i, e)| e.step == 3 * (i as u64 + 1) && e.rows == 40 * (i as u64 + 1))
    );
}

/// The weights that come back have no slope above the tolerance; those of the step before had.
#[test]
fn ends_when_the_gradient_is_small() {
    for (l1, tolerance) in [(0.0, 1e-3), (0.0, 1e-6), (0.1, 1e-6)] {
        let asked = Job { epochs: Some(10_000), l1, tolerance, ..job("y") };
        let ready = prepared(60, asked.clone());
        let outcome = train(&ready, &plan("gd(lr=0.3)"));
        assert_eq!(outcome.fitted.stop, Stop::Gradient);
        assert!(objective(&ready, &outcome).1 <= tolerance);
        let before = prepared(60, Job { epochs: Some(outcome.fitted.steps - 1), tolerance: 0.0, ..asked });
        assert!(objective(&before, &train(&before, &plan("gd(lr=0.3)"))).1 > tolerance);
    }
}

/// Mini-batches stop by the gradient over all rows. (A line without noise: there descent by batches converges too.)
#[test]
fn ends_when_the_gradient_over_all_rows_is_small() {
    let text = (0..50).fold(String::from("x,y\n"), |text, i| format!("{text}{i},{}\n", 4 + 3 * i));
    let asked = Job { epochs: Some(10_000), tolerance: 1e-7, ..job("y") };
    let ready = Prepared::of_table(asked, &crate::common::table(&text)).unwrap();
    for expression in ["gd(lr=0.05)", "gd(lr=0.05) | ema(0.9)"] {
        let (outcome, recorder) = recorded(&ready, expression, BatchSize::Rows(8));
        assert_eq!(outcome.fitted.stop, Stop::Gradient, "{expression}");
        assert!(objective(&ready, &outcome).1 <= 1e-7, "{expression}");
        assert!(outcome.fitted.epochs > 10 && outcome.fitted.epochs < 1000);
        assert_eq!(outcome.fitted.steps, 7 * outcome.fitted.epochs);
        assert_eq!(recorder.epochs.len() as u64, outcome.fitted.epochs);
    }
}

/// With an average it is the averaged weights that come back, so it is their gradient that must be small.
#[test]
fn ends_when_the_gradient_at_the_averaged_weights_is_small() {
    let ready = prepared(60, Job { epochs: Some(100_000), tolerance: 1e-6, ..job("y") });
    let plain = train(&ready, &plan("gd(lr=0.3)"));
    let outcome = train(&ready, &plan("gd(lr=0.3) | ema(0.999)"));
    assert_eq!(outcome.fitted.stop, Stop::Gradient);
    let (_, slope) = objective(&ready, &outcome);
    assert!(slope <= 1e-6, "{slope:e}");
    assert!(outcome.fitted.steps > plain.fitted.steps);
}

/// Ten epochs in a row changed the loss by less than the tolerance; the one before them did not.
#[test]
fn ends_when_the_loss_no_longer_changes() {
    for batch in [BatchSize::Full, BatchSize::Rows(60)] {
        let ready = prepared(60, Job { epochs: Some(10_000), loss_tolerance: 1e-5, ..job("y") });
        let (outcome, recorder) = recorded(&ready, "gd(lr=0.1)", batch);
        assert_eq!(outcome.fitted.stop, Stop::Loss);
        let losses: Vec<f64> = recorder.epochs.iter().map(|e| e.train_loss).collect();
        let still: Vec<bool> = losses.windows(2).map(|l| (l[1] - l[0]).abs() <= 1e-5 * l[1]).collect();
        assert!(still.len() > 12 && still[still.len() - 10..].iter().all(|&s| s));
        assert!(still[..still.len() - 10].iter().all(|&s| !s), "the loss falls ever more slowly");
    }
}

#[test]
fn ends_when_patience_does() {
    // A rate of 0: nothing gets better after the first epoch.
    let ready = prepared(40, Job { epochs: Some(100), patience: Some(4), ..job("y") });
    let outcome = train(&ready, &plan("gd(lr=0)"));
    assert_eq!((outcome.fitted.stop, outcome.fitted.epochs), (Stop::Patience, 5));
    let asked = Job { epochs: Some(1000), patience: Some(3), valid: Part::Fraction(0.3), ..job("y") };
    let ready = prepared(60, asked);
    let (outcome, recorder) = recorded(&ready, "adam(lr=0.1)", BatchSize::Rows(8));
    assert_eq!(outcome.fitted.stop, Stop::Patience);
    assert_eq!(outcome.fitted.epochs, outcome.fitted.best_epoch + 3);
    let losses: Vec<f64> = recorder.epochs.iter().map(|e| e.valid_loss.unwrap()).collect();
    let best = losses[outcome.fitted.best_epoch as usize - 1];
    assert!(losses.iter().all(|&l| l >= best));
}

/// The step that is under way is finished, no other begins, and the weights are those of a run of so many steps.
#[test]
fn ends_when_it_is_interrupted() {
    for batch in [BatchSize::Full, BatchSize::Rows(16)] {
        let ready = prepared(60, Job { epochs: Some(1000), ..job("y") });
        let interrupt = AtomicBool::new(false);
        let mut recorder = Recorder::new(|step| {
            interrupt.store(step == 9, Ordering::Relaxed);
            Ok(())
        });
        let momentum = plan("momentum(lr=0.05)");
        let outcome = ready.train(&momentum, batch, &alone(), &mut [&mut recorder], &interrupt).unwrap();
        assert_eq!((outcome.fitted.stop, outcome.fitted.steps), (Stop::Interrupted, 9));
        assert_eq!(recorder.stop, Some(Stop::Interrupted));
        assert_eq!(outcome.fitted.epochs, if batch == BatchSize::Full { 9 } else { 3 });
        assert!(outcome.usable());
        if batch == BatchSize::Full {
            let same = train(&prepared(60, Job { epochs: Some(9), ..job("y") }), &momentum);
            assert_eq!(bits(&outcome), bits(&same));
        }
    }
    // Before the first step: the start.
    let ready = prepared(60, job("y"));
    let outcome =
        ready.train(&plan("adam"), BatchSize::Full, &alone(), &mut [], &AtomicBool::new(true)).unwrap();
    assert_eq!((outcome.fitted.stop, outcome.fitted.steps, outcome.fitted.epochs), (Stop::Interrupted, 0, 0));
    assert!(outcome.model.params.values().all(|w| w == 0.0));
}

/// A run that is interrupted in an epoch keeps the weights of the best epoch, unless those of now are better.
#[test]
fn an_interrupted_run_keeps_its_best_weights() {
    // Slow descent is interrupted in its fourth epoch of three steps; Adam at a high rate is past its best by then.
    for (expression, at, best) in [("gd(lr=0.01)", 10, Some(4)), ("adam(lr=0.3)", 60, None)] {
        let ready = prepared(60, Job { epochs: Some(1000), valid: Part::Fraction(0.3), ..job("y") });
        let interrupt = AtomicBool::new(false);
        let mut recorder = Recorder::new(|step| {
            interrupt.store(step == at, Ordering::Relaxed);
            Ok(())
        });
        let outcome = ready
            .train(&plan(expression), BatchSize::Rows(16), &alone(), &mut [&mut recorder], &interrupt)
            .unwrap();
        assert_eq!((outcome.fitted.stop, outcome.fitted.steps), (Stop::Interrupted, at));
        let valid_loss = outcome.fitted.valid_loss.unwrap();
        assert_eq!(valid_loss, outcome.model.mean_loss(ready.valid.as_ref().unwrap()));
        assert!(recorder.epochs.iter().all(|e| e.valid_loss.unwrap() >= valid_loss));
        match best {
            Some(now) => {
                assert_eq!(outcome.fitted.best_epoch, now);
                assert!(recorder.epochs.iter().all(|e| e.valid_loss.unwrap() > valid_loss));
            }
            None => assert!(outcome.fitted.best_epoch < outcome.fitted.epochs),
        }
    }
}

#[test]
fn ends_with_an_observers_error() {
    let ready = prepared(40, job("y"));
    let mut full = Recorder::new(|step| if step == 3 { Err(io::Error::other("disk full")) } else { Ok(()) });
    let mut after = Recorder::new(|_| Ok(()));
    let mut observers: [&mut dyn Observer; 2] = [&mut full, &mut after];
    let error = ready
        .train(&plan("gd(lr=0.1)"), BatchSize::Full, &alone(), &mut observers, &AtomicBool::new(false))
        .unwrap_err();
    assert!(
        matches!(&error, JobError::Fit(FitError::Observer(e)) if e.to_string() == "disk full"),
        "{error:?}"
    );
    assert_eq!((full.steps.len(), after.steps.len()), (3, 2));
}

// --- which weights come back ---------------------------------------------------------------------------------------

/// Validation chooses the epoch: the run gives back what a run of just so many epochs gives, bit for bit. With an average, it
/// is the averaged weights that are validated and given back.
#[test]
fn the_best_epochs_weights_come_back() {
    for expression in ["adam(lr=0.3)", "adam(lr=0.3) | ema(0.8)", "momentum(lr=0.1) | ema(0.5)"] {
        let asked = Job { epochs: Some(40), valid: Part::Fraction(0.4), ..job("y") };
        let ready = prepared(50, asked.clone());
        let (outcome, recorder) = recorded(&ready, expression, BatchSize::Rows(8));
        let best = outcome.fitted.best_epoch;
        assert!(best < 40, "{expression}");
        let losses: Vec<f64> = recorder.epochs.iter().map(|e| e.valid_loss.unwrap()).collect();
        assert_eq!(
            losses.iter().position(|l| losses.iter().all(|m| l <= m)),
            Some(best as usize - 1),
            "{expression}"
        );
        let valid = ready.valid.as_ref().unwrap();
        assert_eq!(outcome.fitted.valid_loss, Some(losses[best as usize - 1]), "{expression}");
        assert_eq!(outcome.model.mean_loss(valid), losses[best as usize - 1], "{expression}");
        let scores: Vec<f64> = recorder.epochs.iter().map(|e| e.valid_score.unwrap()).collect();
        assert_eq!(
            outcome.model.judge(valid).score(ready.metric).value,
            scores[best as usize - 1],
            "{expression}"
        );

        // So many epochs on the same training rows, with nothing that chooses.
        let mut short = prepared(50, asked);
        (short.epochs, short.valid) = (best, None);
        let (same, _) = recorded(&short, expression, BatchSize::Rows(8));
        assert_eq!(bits(&outcome), bits(&same), "{expression}");
        assert_eq!(outcome.fitted.train_loss, objective(&ready, &outcome).0, "{expression}");
        if let Some((rule, _)) = expression.split_once(" |") {
            let (raw, _) = recorded(&short, rule, BatchSize::Rows(8));
            assert_ne!(bits(&raw), bits(&same), "{expression} gives the averaged weights");
        }
    }
}

/// The averaged copy by hand: e ← d·e + (1 − d)·θ after each step, from the first step's θ.
#[test]
fn the_averaged_weights_are_the_average() {
    let weights = |epochs: u64, expression: &str| {
        flat(&train(&prepared(40, Job { epochs: Some(epochs), ..job("y") }), &plan(expression)))
    };
    let mut average = weights(1, "gd(lr=0.2)");
    for k in 2..=6 {
        average.iter_mut().zip(weights(k, "gd(lr=0.2)")).for_each(|(e, t)| *e = 0.7 * *e + 0.3 * t);
        assert_near(&weights(k, "gd(lr=0.2) | ema(0.7)"), &average, 1.0);
    }
}

// --- what an epoch says, and mini-batches by hand ------------------------------------------------------------------

/// 43 rows in batches of 8: the last has 3, and counts 3/43. With weights, each batch counts by what its rows weigh.
#[test]
fn an_epochs_loss_and_steps_by_hand() {
    for (weight, l2, lr, mu) in [
        (false, 0.0, 0.05, 0.0),
        (false, 0.1, 0.05, 0.9),
        (true, 0.0, 0.05, 0.0),
        (true, 0.1, 0.02, 0.5),
        (true, 0.1, 0.0, 0.0),
    ] {
        let mut asked = Job { epochs: Some(12), l2: Some(l2), ..job("y") };
        asked.learn.weight = weight.then(|| "w".into());
        let ready = prepared(43, asked);
        // Of 43 rows a quarter weigh 0 and are not there.
        let rows = ready.train.len();
        assert_eq!(rows, if weight { 32 } else { 43 });
        let expression =
            if mu > 0.0 { format!("momentum(lr={lr}, momentum={mu})") } else { format!("gd(lr={lr})") };
        let (outcome, recorder) = recorded(&ready, &expression, BatchSize::Rows(7));
        let (theta, losses, steps) = by_hand(&ready, lr, mu, 7);
        assert_eq!(outcome.fitted.steps, steps);
        assert_near(&flat(&outcome), &theta, 10.0);
        let said: Vec<f64> = recorder.epochs.iter().map(|e| e.train_loss).collect();
        assert_near(&said, &losses, 10.0);
        if lr == 0.0 {
            // The weights never move: every epoch's loss is the loss over all rows.
            let (whole, _) = objective(&ready, &outcome);
            assert!(said.iter().all(|l| (l - whole).abs() < ROUNDING), "{said:?} {whole}");
        } else {
            assert!(losses[11] < 0.8 * losses[0]);
        }
    }
}

/// A batch of rows that all weigh 0 makes no step: with momentum, one with a gradient of 0 would move on.
#[test]
fn a_batch_without_weight_is_absent() {
    for mu in [0.0, 0.9] {
        let mut ready = prepared(20, Job { epochs: Some(9), ..job("y") });
        // Most batches of two weigh nothing; which ones, and whether the last of an epoch does, the shuffle says.
        let weights: Vec<f64> = (0..20).map(|i| if i % 5 == 0 { 2.0 } else { 0.0 }).collect();
        ready.train.weight = Some(weights);
        let (outcome, recorder) =
            recorded(&ready, &format!("momentum(lr=0.02, momentum={mu})"), BatchSize::Rows(2));
        let (theta, losses, steps) = by_hand(&ready, 0.02, mu, 2);
        assert!((18..36).contains(&steps), "two to four of the ten batches of an epoch");
        assert_eq!((outcome.fitted.steps, recorder.steps.len() as u64), (steps, steps));
        assert_near(&flat(&outcome), &theta, 10.0);
        let said: Vec<f64> = recorder.epochs.iter().map(|e| e.train_loss).collect();
        assert_near(&said, &losses, 10.0);
        assert!(recorder.steps.iter().all(|s| s.loss.is_finite() && s.grad_norm.is_finite()));
    }
}

// --- what must not change a bit ------------------------------------------------------------------------------------

/// 30,000 rows are many blocks: on 1, 2 and 3 threads, the same weights, losses and scores.
#[test]
fn threads_change_no_bit() {
    for (target, l1, batch) in [
        ("y", 0.0, BatchSize::Full),
        ("large", 0.01, BatchSize::Full),
        ("kind", 0.0, BatchSize::Full),
        ("large", 0.0, BatchSize::Rows(5000)),
    ] {
        let run = |n: usize| {
            let threads = Threads::new(n);
            let asked = Job {
                epochs: Some(4),
                l1,
                valid: Part::Fraction(0.2),
                test: Part::Fraction(0.2),
                threads: threads.clone(),
                ..job(target)
            };
            let ready = prepared(30_000, asked);
            let mut recorder = Recorder::new(|_| Ok(()));
            let options = TrainOptions { probes: vec![0, 2], threads, epochs: None };
            let adam = plan("clip(1) | adam(lr=0.05) | ema(0.5)");
            let outcome =
                ready.train(&adam, batch, &options, &mut [&mut recorder], &AtomicBool::new(false)).unwrap();
            let probes: Vec<f64> = outcome.history.probes.iter().map(|p| p.loss).collect();
            let numbers = (outcome.fitted.train_loss, outcome.fitted.valid_loss, outcome.test_loss);
            let curvature = ready.curvature().unwrap().largest;
            (bits(&outcome), numbers, curvature, without_clock(&recorder.epochs), recorder.steps, probes)
        };
        let one = run(1);
        assert_eq!(one, run(2), "{target}");
        assert_eq!(one, run(3), "{target}");
    }
}

/// All rows by name or by number are the same batch; one fewer is another.
#[test]
fn a_batch_of_all_rows_is_the_full_batch() {
    let ready = prepared(50, Job { epochs: Some(20), ..job("y") });
    let (full, _) = recorded(&ready, "adam(lr=0.1)", BatchSize::Full);
    for n in [50, 51, 5000] {
        let (same, _) = recorded(&ready, "adam(lr=0.1)", BatchSize::Rows(n));
        assert_eq!((bits(&full), 20), (bits(&same), same.fitted.steps));
    }
    let (other, _) = recorded(&ready, "adam(lr=0.1)", BatchSize::Rows(49));
    assert_eq!(other.fitted.steps, 40);
    // What the preparation decides, too: at most 4,096 rows are one batch.
    let batch = |rows, batch| prepared(rows, Job { batch, ..job("y") }).batch;
    assert_eq!((batch(50, None), batch(5000, None)), (BatchSize::Full, BatchSize::Rows(1024)));
    assert_eq!(
        (batch(50, Some(BatchSize::Rows(50))), batch(50, Some(BatchSize::Rows(49)))),
        (BatchSize::Full, BatchSize::Rows(49))
    );
}

/// The same twice, and another seed is another order of rows.
#[test]
fn a_run_is_its_seed() {
    let run = |seed| {
        let ready = prepared(50, Job { epochs: Some(5), seed, ..job("y") });
        bits(&recorded(&ready, "gd(lr=0.1)", BatchSize::Rows(8)).0)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

/// Probes and observers look and touch nothing; what a probe says is the objective at that step's evaluation weights.
#[test]
fn probes_change_no_bit() {
    for expression in ["adam(lr=0.1)", "momentum(lr=0.05) | ema(0.9)"] {
        for batch in [BatchSize::Full, BatchSize::Rows(10)] {
            let asked = Job { epochs: Some(6), l2: Some(0.1), l1: 0.01, ..job("y") };
            let ready = prepared(50, Job { batch: Some(batch), ..asked });
            let last = ready.steps(batch);
            let plain = train(&ready, &plan(expression));
            let outcome = probed(&ready, &plan(expression), &[0, 1, 3, last, last + 5]);
            assert_eq!(bits(&plain), bits(&outcome), "{expression}");
            let mut recorder = Recorder::new(|_| Ok(()));
            assert_eq!(
                bits(&plain),
                bits(&told(&ready, &plan(expression), &mut [&mut recorder])),
                "{expression}"
            );
            let probes = &outcome.history.probes;
            assert_eq!(probes.iter().map(|p| p.step).collect::<Vec<_>>(), [0, 1, 3, last]);
            let size = batch.of(50) as u64;
            assert!(probes.iter().all(|p| p.rows == p.step * size));
            // The start: weights and intercept 0, a target of mean 0 and variance 1.
            assert!((probes[0].loss - 0.5).abs() < 1e-14, "{}", probes[0].loss);
            assert_eq!(probes[3].loss, outcome.fitted.train_loss, "{expression}");
            assert!(probes[3].loss < probes[0].loss);
        }
    }
}
