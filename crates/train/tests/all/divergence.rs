//! A rate that is too large: named as such, at its step, with a rate that works; and never a weight that is not finite.

use thalweg_data::{BatchSize, Part};
use thalweg_models::losses::Loss;
use thalweg_train::Stop;
use thalweg_train::job::{Job, Outcome, Prepared};

use crate::common::{Recorder, example, job, plan, prepared, table, told, train};

/// The number behind `after` in a message, as a person would type it back.
fn number(text: &str, after: &str) -> f64 {
    let rest = text.rsplit_once(after).unwrap_or_else(|| panic!("no {after:?} in {text:?}")).1;
    let end = rest.find([' ', ';', ',']).unwrap_or(rest.len());
    rest[..end].parse().unwrap_or_else(|_| panic!("{rest:?} is not a number that a flag takes"))
}

fn assert_finite(outcome: &Outcome) {
    assert!(outcome.model.params.values().all(f64::is_finite));
    assert_eq!(outcome.fitted.params.flat(), outcome.model.params.flat());
}

/// Counts of the diabetes table, times `unit`.
fn counts(unit: f64, asked: Job) -> Prepared {
    let text = example("diabetes");
    let mut lines = text.trim_end().lines();
    let header = lines.next().unwrap();
    let text = lines.fold(format!("{header}\n"), |text, line| {
        let (rest, y) = line.rsplit_once(',').unwrap();
        format!("{text}{rest},{}\n", y.parse::<f64>().unwrap() * unit)
    });
    Prepared::of_table(
        Job { loss: Some(Loss::POISSON), target: "progression".into(), ..asked },
        &table(&text),
    )
    .unwrap()
}

/// Descent on squares converges below 2/L and not above: theory's border, met from both sides.
#[test]
fn two_over_l_is_the_border() {
    let ready = prepared(200, Job { epochs: Some(20_000), tolerance: 1e-9, ..job("y") });
    let l = ready.curvature().unwrap().largest;
    let below = train(&ready, &plan(&format!("gd(lr={})", 1.98 / l)));
    assert_eq!(below.fitted.stop, Stop::Gradient);
    // Away from the minimum along the steepest direction by 1.02 in each step: the loss grows by 1e8 in about ln(1e8)/(2·ln 1.02)
    // = 465 steps, once what rounding leaves there has.
    let above = train(&ready, &plan(&format!("gd(lr={})", 2.02 / l)));
    assert_eq!(above.fitted.stop, Stop::Diverged);
    assert!((200..3000).contains(&above.fitted.steps), "{}", above.fitted.steps);
    assert_finite(&above);
    assert!(!above.usable());
}

/// The step is the first whose loss is beyond all bounds, the columns are those with the largest scale, and the rate that is
/// suggested converges.
#[test]
fn a_diverged_run_says_what_to_do() {
    let l = prepared(200, job("y")).curvature().unwrap().largest;
    // Borders by theory, for curvature L: 2/L, with momentum μ 2(1 + μ)/L, by Nesterov 2(1 + μ)/((1 + 2μ)·L).
    for (optimizer, times, batch) in [
        ("gd", 2.5, BatchSize::Full),
        ("gd", 1e10, BatchSize::Full),
        ("momentum", 4.5, BatchSize::Full),
        ("nesterov", 1.7, BatchSize::Full),
        ("gd", 4.0, BatchSize::Rows(16)),
        ("clip_value(1e300) | gd | ema(0.9)", 2.5, BatchSize::Full),
    ] {
        let lr = times / l;
        let asked = Job {
            epochs: Some(3000),
            tolerance: 1e-5,
            lr: Some(lr),
            plan: Some(plan(optimizer)),
            batch: Some(batch),
            ..job("y")
        };
        let ready = prepared(200, asked);
        let mut recorder = Recorder::new(|_| Ok(()));
        let outcome = told(&ready, &ready.plan().unwrap().0, &mut [&mut recorder]);
        let diverged = outcome.fitted.diverged.expect("diverged");
        assert_eq!((outcome.fitted.stop, diverged.step), (Stop::Diverged, outcome.fitted.steps));
        assert_eq!(recorder.steps.last().unwrap().step, diverged.step);
        let losses: Vec<f64> = recorder.steps.iter().map(|s| s.loss).collect();
        let (last, before) = losses.split_last().unwrap();
        let bound = 1e8 * (1.0 + losses[0]);
        assert!(
            (*last > bound || last.is_nan()) && before.iter().all(|l| *l <= bound),
            "{optimizer} {losses:?}"
        );
        assert_finite(&outcome);
        assert!(!outcome.usable());

        let text = ready.explain_divergence(&outcome);
        assert!(
            text.starts_with(&format!("diverged at step {} with the learning rate", diverged.step)),
            "{text}"
        );
        // b has the standard deviation 100, a has 2, and what has none is not named.
        let columns = text.split("largest scale: ").nth(1).expect(&text);
        assert!(
            columns.starts_with("b (standard deviation ") && columns.contains(", a (standard deviation "),
            "{text}"
        );
        assert!(!text.contains("kind"), "{text}");
        assert!((number(&text, "2/L = ") * l / 2.0 - 1.0).abs() < 0.005, "{text}");
        let calmer = number(&text, "try --lr ");
        assert!(calmer < lr && calmer < 1.005 / l, "{text}");
        if batch == BatchSize::Full {
            assert!((calmer * l - 1.0).abs() < 0.005, "{text}");
        }
        let again = Job { lr: Some(calmer), ..ready.job.clone() };
        let again = prepared(200, Job { learn: job("y").learn, ..again });
        let (calm, start) = (train(&again, &again.plan().unwrap().0), losses[0]);
        match batch {
            BatchSize::Full => assert_eq!(calm.fitted.stop, Stop::Gradient, "{optimizer} with {calmer}"),
            // Batches of a noisy table never come to rest.
            BatchSize::Rows(_) => {
                assert!(calm.fitted.train_loss < 0.5 * start, "{optimizer} with {calmer}")
            }
        }
    }
}

/// Where the rate stands in the optimizer or the schedule, it is said there.
#[test]
fn the_rate_is_suggested_where_it_stands() {
    let asked = Job { epochs: Some(3000), ..job("y") };
    let ready = prepared(200, Job { plan: Some(plan("gd(lr=3)")), ..asked.clone() });
    let text = ready.explain_divergence(&train(&ready, &ready.plan().unwrap().0));
    assert!(text.ends_with(" in --optimizer") && number(&text, "try lr=") < 1.0, "{text}");
    let schedule = Some(thalweg_optim::Schedule::parse("cosine(3)").unwrap());
    let ready = prepared(200, Job { plan: Some(plan("gd")), schedule, ..asked });
    let text = ready.explain_divergence(&train(&ready, &ready.plan().unwrap().0));
    assert!(text.ends_with(" in --schedule") && number(&text, "try lr=") < 1.0, "{text}");
}

/// Counts: exp overflows within a few steps. Small rates are written so that they can be typed.
#[test]
fn counts_diverge_and_recover() {
    for (unit, lr) in [(1.0, 0.01), (1000.0, 1e-5), (1000.0, 10.0)] {
        let asked = Job {
            epochs: Some(60_000),
            tolerance: 1e-6 * unit,
            lr: Some(lr),
            plan: Some(plan("gd")),
            ..job("")
        };
        let ready = counts(unit, asked.clone());
        let outcome = train(&ready, &ready.plan().unwrap().0);
        assert_eq!(outcome.fitted.stop, Stop::Diverged);
        assert_finite(&outcome);
        assert!(!outcome.usable());
        let mut calmer = lr;
        // A tenth each time, until it works.
        let mut runs = 0;
        let calm = loop {
            let text = ready.explain_divergence(&outcome);
            let said = number(&text, "try --lr ");
            assert!(said <= lr / 10.0 * 1.005, "{text}");
            calmer = if runs == 0 { said } else { calmer / 10.0 };
            let again = counts(unit, Job { lr: Some(calmer), ..asked.clone() });
            let calm = train(&again, &again.plan().unwrap().0);
            runs += 1;
            if calm.fitted.stop != Stop::Diverged {
                break calm;
            }
            assert!(runs < 8);
        };
        assert!(lr > 1.0 || runs == 1, "{runs} runs from {lr}");
        assert_eq!(calm.fitted.stop, Stop::Gradient, "{unit} {lr} {calmer}");
    }
}

/// A rate that grows: first the loss falls, then it diverges. The best weights that rows chose come back, and are a model.
#[test]
fn what_was_good_before_is_kept() {
    let growing = plan("gd(lr=constant(4, warmup=400 steps))");
    let asked = Job { epochs: Some(1000), ..job("y") };
    let validated = prepared(200, Job { valid: Part::Fraction(0.3), ..asked.clone() });
    let outcome = train(&validated, &growing);
    assert_eq!(outcome.fitted.stop, Stop::Diverged);
    assert!(outcome.usable() && outcome.fitted.best_epoch < outcome.fitted.epochs);
    assert_finite(&outcome);
    let losses: Vec<f64> = outcome.history.epochs.iter().map(|e| e.valid_loss.unwrap()).collect();
    assert_eq!(outcome.fitted.valid_loss, Some(losses[outcome.fitted.best_epoch as usize - 1]));
    assert!(losses.iter().all(|l| l.is_nan() || *l >= outcome.fitted.valid_loss.unwrap()));
    assert!(outcome.fitted.train_loss < 0.5);

    // With patience alone, the training loss chooses.
    let patient = train(&prepared(200, Job { patience: Some(900), ..asked.clone() }), &growing);
    assert_eq!(patient.fitted.stop, Stop::Diverged);
    assert!(patient.usable() && patient.fitted.train_loss < 0.5);
    // With neither, nothing is kept.
    assert!(!train(&prepared(200, asked.clone()), &growing).usable());

    // The rate 0.1, then 100, then 100,000: the loss that was best is that before the second step, and the weights after it are
    // worse than the start. They are not called a model.
    let jump = plan("gd(lr=exponential(0.1, gamma=1000, every=1 steps))");
    let outcome = train(&prepared(200, Job { patience: Some(900), ..asked }), &jump);
    assert_eq!(outcome.fitted.stop, Stop::Diverged);
    assert_finite(&outcome);
    assert!(outcome.fitted.train_loss > 0.5 && !outcome.usable());
}

/// Rates at the end of what numbers hold: a step that would not be finite is not made.
#[test]
fn no_rate_makes_weights_that_are_not_finite() {
    let mut ended = std::collections::BTreeSet::new();
    for rule in thalweg_optim::rules::ALL {
        for (target, loss) in
            [("y", Loss::SQUARED), ("large", Loss::LOGISTIC), ("kind", Loss::SOFTMAX), ("y", Loss::ABSOLUTE)]
        {
            for lr in [1e10, 1e160, 1e308] {
                for batch in [BatchSize::Full, BatchSize::Rows(16)] {
                    let plan = plan(&format!("{}(lr={lr:e})", rule.name));
                    if batch != BatchSize::Full && plan.needs().full_batch {
                        continue;
                    }
                    let asked = Job {
                        epochs: Some(30),
                        loss: Some(loss),
                        l2: Some(0.1),
                        batch: Some(batch),
                        ..job(target)
                    };
                    let outcome = train(&prepared(60, asked), &plan);
                    assert_finite(&outcome);
                    let stop = outcome.fitted.stop;
                    assert!(matches!(stop, Stop::Diverged | Stop::Epochs), "{} {stop}", rule.name);
                    assert_eq!(stop == Stop::Diverged, outcome.fitted.diverged.is_some());
                    if stop == Stop::Epochs && lr > 1e100 {
                        ended.insert(rule.name);
                    }
                }
            }
        }
    }
    // A step of 1e160 has squares beyond f64; not where the rate is a limit, or the first trial of a search, and not where each
    // step is divided by 1 + η².
    let limited = ["adabound", "adafactor", "amsbound", "armijo", "fromage", "lbfgs", "polyak", "rprop"];
    assert_eq!(ended.into_iter().collect::<Vec<_>>(), limited);
}

/// No 1/L where the gradient jumps: said with what to do; with a rate it runs.
#[test]
fn a_kink_has_no_rate_of_its_own() {
    for loss in [Loss::ABSOLUTE, "quantile(0.9)".parse().unwrap()] {
        for rule in ["gd", "momentum", "nesterov"] {
            let asked = Job { loss: Some(loss), plan: Some(plan(rule)), ..job("y") };
            let error = prepared(60, asked.clone()).plan().unwrap_err().to_string();
            let name = loss.entry().name;
            assert_eq!(
                error,
                format!(
                    "the {name} loss has a kink, so its gradient has no largest slope L and no rate 1/L exists; \
                     give a rate, and let it decay (or take huber)"
                )
            );
            assert!(prepared(60, Job { lr: Some(0.1), ..asked }).plan().is_ok());
        }
        // The others bring a rate of their own.
        let (plan, _) = prepared(60, Job { loss: Some(loss), ..job("y") }).plan().unwrap();
        assert_eq!(plan.short_name(), "adam");
    }
}
