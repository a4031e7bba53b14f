//! What the loop does for optimizers that evaluate more than a batch's gradient: all rows, single rows, products with the Hessian,
//! and scores for schedules that wait for them.

use std::sync::atomic::AtomicBool;

use thalweg_core::objective::difference_of_gradients;
use thalweg_core::{Batch, Grads, Objective, Params, Penalty, Threads};
use thalweg_data::{BatchSize, Batches, Part};
use thalweg_models::functions::{ALL, Function};
use thalweg_models::losses::Loss;
use thalweg_models::network::{Input, ModelSpec, Network, Output};
use thalweg_optim::{Plan, Setup};
use thalweg_train::job::{Job, JobError, Prepared, TrainOptions};
use thalweg_train::{Event, FitError, FitOptions, Observer, Stop, Task, fit};

use crate::common::{Recorder, alone, bits, job, noisy, plan, prepared, table, told, train};

/// A job that leaves the batch open.
fn open(expression: &str) -> Job {
    Job { batch: None, plan: Some(plan(expression)), ..job("large") }
}

#[test]
fn rules_on_all_rows_get_them_or_say_why_not() {
    let ready = prepared(5000, open("lbfgs"));
    assert_eq!(ready.batch, BatchSize::Full);
    let note = "batch: all 5000 rows, which lbfgs works on at once";
    assert!(ready.notes.iter().any(|n| n == note), "{:?}", ready.notes);
    assert_eq!(prepared(5000, open("adam")).batch, BatchSize::Rows(1024));
    // Also where it comes second, and where its batch is asked for.
    assert_eq!(prepared(5000, open("adam until 10% then lbfgs")).batch, BatchSize::Full);
    let asked = Job { batch: Some(BatchSize::Rows(300)), ..open("armijo") };
    assert_eq!(prepared(300, asked.clone()).batch, BatchSize::Full);
    let mut asked = Job { learn: thalweg_data::EncoderOptions::default(), ..asked };
    asked.learn.ignore = ["y", "w"].map(String::from).to_vec();
    let error = Prepared::of_table(asked, &table(&noisy(400, 1))).unwrap_err().to_string();
    assert_eq!(
        error,
        "armijo works on all 400 training rows at once, and --batch 300 asks for fewer; leave --batch out, or say --batch full"
    );
    // The loop itself refuses before the first step.
    let ready = prepared(200, job("large"));
    let never = AtomicBool::new(false);
    let error = ready.train(&plan("lbfgs"), BatchSize::Rows(32), &alone(), &mut [], &never).unwrap_err();
    let JobError::Fit(FitError::FullBatch { optimizer }) = &error else { panic!("{error}") };
    assert!(optimizer.starts_with("lbfgs(lr=1"), "{error}");
}

#[test]
fn rules_on_single_rows_get_small_batches() {
    let ready = prepared(500, open("saga"));
    assert_eq!(ready.batch, BatchSize::Rows(32));
    assert!(ready.notes.iter().any(|n| n.starts_with("batch: 32 rows, since saga")), "{:?}", ready.notes);
    assert_eq!(prepared(30, open("svrg")).batch, BatchSize::Full);
    assert_eq!(
        prepared(500, Job { batch: Some(BatchSize::Rows(1)), ..open("svrg") }).batch,
        BatchSize::Rows(1)
    );
}

/// Rates that nobody gives: 1 where the rule finds its own step, 1/(3L) without noise, no schedule for those that need none.
#[test]
fn open_rates_are_filled_as_the_rule_needs_them() {
    let filled = |expression: &str| prepared(200, open(expression)).plan().unwrap().0.to_string();
    for rule in ["prodigy", "dadapt_sgd", "dadapt_adam", "dadapt_adagrad", "lbfgs", "armijo"] {
        assert!(filled(rule).starts_with(&format!("{rule}(lr=1,")), "{}", filled(rule));
    }
    assert!(filled("schedulefree_adamw").starts_with("schedulefree_adamw(lr=0.05,"));
    assert!(filled("sophia").starts_with("sophia(lr=cosine(0.03"));
    let ready = prepared(200, open("schedulefree_sgd"));
    let l = ready.curvature().unwrap().largest;
    assert_eq!(ready.plan().unwrap().0.lr().unwrap().lr, Some(1.0 / l));
    // Between that of all rows and that of the steepest: one row in a batch, then all.
    let rate = |batch: usize| {
        let ready = prepared(200, Job { batch: Some(BatchSize::Rows(batch)), ..open("svrg") });
        ready.plan().unwrap().0.lr().unwrap().lr.unwrap()
    };
    assert!(rate(1) < rate(8) && rate(8) < rate(64));
    assert!((rate(200) - 1.0 / (3.0 * l)).abs() < 1e-12 / l);
}

/// The same weights on any number of threads.
#[test]
fn threads_change_no_bit() {
    for rule in [
        "lbfgs",
        "armijo",
        "prodigy(lr=1)",
        "svrg(lr=0.01)",
        "saga(lr=0.01)",
        "sophia(lr=0.01)",
        "sam | adam(lr=0.1)",
    ] {
        let ready = prepared(3000, Job { epochs: Some(3), ..open(rule) });
        let go = |n: usize| {
            let options = TrainOptions { threads: Threads::new(n), ..alone() };
            bits(&ready.train(&plan(rule), ready.batch, &options, &mut [], &AtomicBool::new(false)).unwrap())
        };
        let one = go(1);
        assert!(go(2) == one && go(3) == one, "{rule}");
    }
}

/// A plateau lowers its rate when the loss stands still: on validation rows where there are any, else on the training rows.
#[test]
fn a_plateau_follows_the_losses_of_epochs() {
    for valid in [Part::None, Part::Fraction(0.25)] {
        let expression = "sgd(lr=plateau(0.2, factor=0.5, patience=3, threshold=0.01))";
        let ready = prepared(300, Job { valid, epochs: Some(120), ..open(expression) });
        let mut recorder = Recorder::new(|_| Ok(()));
        told(&ready, &plan(expression), &mut [&mut recorder]);
        let monitored = |i: usize| recorder.epochs[i].valid_loss.unwrap_or(recorder.epochs[i].train_loss);
        // By hand, as the schedule's words say it.
        let (mut best, mut bad, mut lr) = (f64::NAN, 0, 0.2);
        for i in 0..recorder.epochs.len() {
            assert!((recorder.epochs[i].lr - lr).abs() < 1e-15, "epoch {}: {}", i + 1, recorder.epochs[i].lr);
            if best.is_nan() || monitored(i) < best * 0.99 {
                (best, bad) = (monitored(i), 0);
            } else {
                bad += 1;
            }
            if bad > 3 {
                (lr, bad) = (lr * 0.5, 0);
            }
        }
        assert!(lr < 0.05, "{lr}");
    }
}

/// The product with the Hessian where an objective has none of its own, and where it has.
#[test]
fn products_with_the_hessian_are_those_of_second_derivatives() {
    let function = Function::new(ALL.iter().find(|f| f.name == "rosenbrock").unwrap());
    let layout = Objective::<f64>::layout(&function);
    let (mut v, mut out) = (Params::<f64>::zeros(layout), Grads::zeros(layout));
    for (x, y, a, b) in
        [(-1.2, 1.0, 1.0, 0.0), (0.5, 2.0, -3.0, 4.0), (30.0, -20.0, 1e-3, 1e-3), (1.0, 1.0, 0.0, 0.0)]
    {
        let theta = function.at(x, y);
        v.flat_mut()[..2].copy_from_slice(&[a, b]);
        function.hessian_vector(&theta, &v, &Batch::NONE, &mut out);
        let (xx, xy, yy) = (1200.0 * x * x - 400.0 * y + 2.0, -400.0 * x, 200.0);
        let size = xx.abs().max(xy.abs()) * f64::max(a.abs(), b.abs());
        for (found, exact) in out.flat().iter().zip([xx * a + xy * b, xy * a + yy * b]) {
            assert!((found - exact).abs() <= 1e-8 * size, "{found} is not {exact} at ({x}, {y})");
        }
    }
    // A linear model has its own, exact one.
    for target in ["y", "large"] {
        let ready = prepared(100, job(target));
        let outcome = train(&ready, &plan("gd(lr=0.1)"));
        let (linear, theta) = (outcome.model.linear().unwrap(), &outcome.model.params);
        let (batch, layout) = (ready.train.batch(), theta.layout());
        let mut v = Params::zeros(layout);
        for i in layout.tensors().iter().flat_map(|t| t.range()) {
            v.flat_mut()[i] = 0.5 - (i % 3) as f64;
        }
        let (mut exact, mut between) = (Grads::zeros(layout), Grads::zeros(layout));
        let weight = Objective::hessian_vector(linear, theta, &v, &batch, &mut exact).weight;
        assert_eq!(weight, difference_of_gradients(linear, theta, &v, &batch, &mut between).weight);
        for (a, b) in exact.flat().iter().zip(between.flat()) {
            assert!((a - b).abs() <= 1e-8 * weight, "{target}: {a} is not {b}");
        }
        assert!(exact.flat().iter().any(|x| x.abs() > 1.0));
    }
}

/// From the table to the optimum's neighbourhood, each rule as the command runs it when nothing else is said.
#[test]
fn each_trains_as_it_is() {
    for rule in [
        "lbfgs",
        "armijo",
        "svrg",
        "saga",
        "polyak",
        "sophia",
        "prodigy",
        "dadapt_sgd",
        "dadapt_adam",
        "dadapt_adagrad",
        "schedulefree_sgd",
        "schedulefree_adamw",
        "schedulefree_radam",
        "sam | adam",
    ] {
        let solve = |expression: &str| {
            let ready =
                prepared(300, Job { l2: Some(0.01), epochs: None, tolerance: 1e-4, ..open(expression) });
            train(&ready, &ready.plan().unwrap().0)
        };
        let (ours, best) = (solve(rule).fitted, solve("lbfgs").fitted);
        assert_eq!(best.stop, Stop::Gradient);
        assert!(best.steps < 40, "{}", best.steps);
        assert!(
            ours.train_loss < best.train_loss + 0.005,
            "{rule}: {} and {}",
            ours.train_loss,
            best.train_loss
        );
    }
}

/// A network that draws and keeps statistics, under rules that look at several points: within a step all of them see one function, and
/// the draws and the statistics are those of a run of plain steps.
#[test]
fn rules_that_look_again_see_one_function_of_a_network() {
    let rows = 24usize;
    let dense: Vec<f64> = (0..3 * rows).map(|i| libm::sin((i * i) as f64)).collect();
    let target: Vec<f64> = (0..rows).map(|i| (i % 2) as f64).collect();
    let train = Batch { dense: &dense, width: 3, target: &target, ..Batch::NONE };
    let spec = ModelSpec::parse("dense(8) tanh dropout(0.5) dense(6) batchnorm tanh").unwrap();
    let network =
        || Network::<f64>::new(&spec, Input::numbers(3), Output::Row(1), Loss::LOGISTIC, 5).unwrap();
    let plain = network();
    let start = plain.init();
    let mut grads = Grads::zeros(plain.layout());
    plain.gradient(&start, &train, &mut grads);
    let mean = |grads: &Grads<f64>| grads.flat().iter().map(|g| g / rows as f64).collect::<Vec<f64>>();
    let minus = |from: &Params<f64>, rate: f64, g: &[f64]| {
        let mut to = from.clone();
        to.flat_mut().iter_mut().zip(g).for_each(|(t, g)| *t -= rate * g);
        to
    };
    let norm = |g: &[f64]| g.iter().map(|g| g * g).sum::<f64>().sqrt();
    let g = mean(&grads);
    let loss = grads.total.mean();
    // SVRG: the correction at the older point is that of the same draws, so at the first step nothing is left of it.
    // SAM: the neighbour's gradient with the same draws.
    let worst = minus(&start, -0.1 / norm(&g), &g);
    let mut there = Grads::zeros(plain.layout());
    plain.gradient_again(&worst, &train, &mut there);
    let wanted = [
        ("svrg(lr=0.5)", minus(&start, 0.5, &g)),
        ("sam(rho=0.1) | sgd(lr=0.5)", minus(&start, 0.5, &mean(&there))),
    ];
    let run = |text: &str, epochs: u64| {
        let network = network();
        let interrupt = AtomicBool::new(false);
        let task = Task { objective: &network, train, valid: None, interrupt: &interrupt, kept: None };
        let plan = Plan::parse(text).unwrap();
        let mut optimizer = plan.build(network.layout(), &Setup::default()).unwrap();
        let mut batches = Batches::new(rows, rows, 0, false);
        let options = FitOptions {
            epochs,
            tolerance: 1e-9,
            loss_tolerance: 0.0,
            patience: None,
            penalty: Penalty::default(),
            probes: vec![],
        };
        let mut lrs = Rates(vec![]);
        let fitted =
            fit(&task, optimizer.as_mut(), start.clone(), &mut batches, &options, &mut [&mut lrs]).unwrap();
        (fitted.params, network.steps(), network.statistics(), lrs.0)
    };
    for (text, wanted) in wanted {
        let (theta, steps, statistics, _) = run(text, 1);
        for (a, b) in theta.flat().iter().zip(wanted.flat()) {
            assert!((a - b).abs() <= 1e-14 * (1.0 + b.abs()), "{text}: {a} is not {b}");
        }
        assert_eq!((steps, statistics.flat()), (1, plain.statistics().flat()), "{text}");
    }
    // Armijo compares losses of the same draws: its first step is enough of a decrease, and none of the trials before it was.
    let (theta, steps, statistics, rates) = run("armijo(lr=64)", 1);
    assert_eq!((steps, statistics.flat(), rates.len()), (1, plain.statistics().flat(), 1));
    let decrease = |rate: f64| {
        let found = plain.loss_again(&minus(&start, rate, &g), &train).mean();
        found <= loss - 1e-4 * rate * norm(&g) * norm(&g)
    };
    assert!(rates[0] < 64.0 && decrease(rates[0]) && !decrease(2.0 * rates[0]), "{rates:?}");
    assert!(theta.flat().iter().zip(minus(&start, rates[0], &g).flat()).all(|(a, b)| (a - b).abs() < 1e-14));
    // Each of them counts one step for one step, however often it looks.
    for text in [
        "svrg(lr=0.1)",
        "saga(lr=0.1)",
        "lbfgs",
        "armijo",
        "sam | sgd(lr=0.1)",
        "sophia(every=1)",
        "sgd(lr=0.1)",
    ] {
        let (_, steps, ..) = run(text, 7);
        assert_eq!(steps, 7, "{text}");
    }
}

/// The rate of each step.
struct Rates(Vec<f64>);

impl Observer for Rates {
    fn event(&mut self, event: &Event<'_>) -> std::io::Result<()> {
        if let Event::Step(step) = event {
            self.0.push(step.lr);
        }
        Ok(())
    }
}

/// Averaged weights never saw a batch: batch norm's statistics are worked out for them, or they would be scored with those of others.
#[test]
fn averaged_weights_are_scored_with_statistics_of_their_own() {
    let with_valid = |valid| Job {
        model: Some(ModelSpec::parse("dense(3) batchnorm tanh dense(4) batchnorm relu").unwrap()),
        batch: Some(BatchSize::Rows(16)),
        epochs: Some(4),
        valid,
        learn: thalweg_data::EncoderOptions::default(),
        ..open("sgd(lr=0.05)")
    };
    for valid in [Part::None, Part::Fraction(0.25)] {
        let mut job = with_valid(valid);
        job.learn.ignore = vec!["kind".into()];
        job.learn.ignore.extend(["y", "w"].map(String::from));
        let ready = Prepared::of_table(job, &table(&noisy(320, 1))).unwrap();
        for rule in ["sgd(lr=0.05) | ema(0.98)", "sgd(lr=0.05) | swa(start=20)", "schedulefree_sgd(lr=0.1)"] {
            let mut recorder = Recorder::new(|_| Ok(()));
            let outcome = told(&ready, &plan(rule), &mut [&mut recorder]);
            let network = outcome.model.network().unwrap();
            // The first layer's means over all training rows: batches of 16 make them whole.
            let (weight, bias) =
                (outcome.model.params.tensor("0.weight"), outcome.model.params.tensor("0.bias"));
            let (rows, width) = (ready.train.len(), weight.len() / 3);
            assert_eq!(rows % 16, 0);
            let statistics = network.statistics();
            for (k, &kept) in statistics.tensor("1.running_mean").iter().enumerate() {
                let row = &weight[k * width..][..width];
                let z = |x: &[f64]| bias[k] + row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
                let mean = ready.train.dense.chunks_exact(width).map(z).sum::<f64>() / rows as f64;
                // Sums of 16 in f32.
                assert!(
                    (f64::from(kept) - mean).abs() < 1e-5,
                    "{rule}: channel {k} has {kept}, its rows {mean}"
                );
            }
            // What was validated is what is kept.
            if let Some(best) = outcome.fitted.valid_loss {
                let losses: Vec<f64> = recorder.epochs.iter().filter_map(|e| e.valid_loss).collect();
                assert_eq!(best, losses.iter().copied().fold(f64::INFINITY, f64::min), "{rule}: {losses:?}");
                let again = outcome.model.mean_loss(ready.valid.as_ref().unwrap());
                assert_eq!(again, best, "{rule}");
            }
        }
    }
}
