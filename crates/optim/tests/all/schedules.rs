//! Rates as pure functions of the step: lengths, warm-up, ends.

use proptest::prelude::*;
use serde::Deserialize;
use thalweg_core::random::{Purpose, Stream};
use thalweg_optim::schedule::{CURVES, Curve};
use thalweg_optim::{Horizon, Schedule};

use crate::common::{Run, layout, setup};

const RUN: Horizon = Horizon { steps: 200, per_epoch: 20 };

const JOINED: [&str; 8] = [
    "sequential(linear(0.1), cosine, at=5 epochs)",
    "sequential(linear, cosine(0.1), step(0.01, every=1), at=10%, at=50%, warmup=3 steps)",
    "sequential(0.1, constant, constant(0.05), exponential)",
    "sequential(sequential(0.1, linear, constant), chained(cosine, cyclic(mode=triangular2)), at=60 steps)",
    "chained(cosine(0.1), exponential)",
    "chained(0.1, step, multistep(0.5, 20 steps, 20 steps, 50%), linear(warmup=5 steps), warmup=2 steps)",
    "chained(plateau(0.1, patience=2), cosine(end=0.5))",
    "chained(sequential(constant(0.05), constant(0.1), at=4 steps), one_cycle)",
];

fn rates(text: &str, steps: u64) -> Vec<f64> {
    let schedule = Schedule::parse(text).unwrap_or_else(|e| panic!("{e}"));
    (1..=steps).map(|step| schedule.rate(step, RUN)).collect()
}

/// The curve's call with these arguments; what joins schedules gets two that leave the rate alone.
fn call(curve: &Curve, args: &str) -> String {
    let args = args.trim_start_matches(", ");
    match (curve.joins, args.is_empty()) {
        (true, true) => format!("{}(constant, constant)", curve.name),
        (true, false) => format!("{}({args}, constant, constant)", curve.name),
        (false, _) => format!("{}({args})", curve.name),
    }
}

/// The number between the default and the nearer end of its range.
fn other(hyper: &thalweg_core::hyper::Hyper) -> String {
    let tried = [hyper.default * 0.5, 1.0 - hyper.default, hyper.default * 2.0];
    hyper.print(tried.into_iter().find(|x| hyper.range.contains(*x)).unwrap())
}

/// Every curve alone, with each of its values and lengths given, and with a warm-up.
fn texts() -> Vec<String> {
    let mut all = vec!["0.1".to_string()];
    for curve in CURVES {
        let numbers: String = curve.hyper.iter().map(|h| format!(", {}={}", h.name, other(h))).collect();
        for choice in curve.choices {
            all.extend(choice.words.iter().map(|w| format!("{}(0.1, {}={w})", curve.name, choice.name)));
        }
        for length in ["30 steps", "2 epochs", "25%", "1"] {
            let lengths: String = curve.lengths.iter().map(|l| format!(", {}={length}", l.name)).collect();
            all.push(call(curve, &format!("0.1{numbers}{lengths}")));
            all.push(call(curve, &format!("0.1{lengths}, warmup=7 steps")));
            if curve.at.is_some() {
                all.push(call(curve, &format!("0.1{lengths}, at={length}")));
            }
        }
        all.push(call(curve, "0.1"));
        all.push(call(curve, "0.1, warmup=5%"));
    }
    all.extend(JOINED.map(String::from));
    all
}

#[test]
fn a_rate_depends_on_the_step_alone() {
    for text in texts() {
        let forward = rates(&text, 300);
        let schedule = Schedule::parse(&text).unwrap();
        for step in (1..=300).rev() {
            assert_eq!(
                schedule.rate(step, RUN).to_bits(),
                forward[step as usize - 1].to_bits(),
                "{text} at {step}"
            );
        }
        assert!(forward.iter().all(|r| r.is_finite() && *r >= 0.0), "{text}");
        // The rule's report names the rate that the schedule gives.
        let rule = format!("sgd(lr={text})");
        let mut run =
            Run::<f64>::new(&rule, &layout(&[1]), &thalweg_optim::Setup { horizon: RUN, ..setup() }, &[0.0]);
        for (step, rate) in forward.iter().enumerate().take(20) {
            let before = run.values()[0];
            assert_eq!(run.step(&[-1.0]).lr, *rate, "{text} at {step}");
            assert_eq!(run.values()[0], before + rate, "{text} at {step}");
        }
    }
}

#[test]
fn what_prints_gives_the_same_rates() {
    for text in texts() {
        let printed = Schedule::parse(&text).unwrap().to_string();
        assert_eq!(Schedule::parse(&printed).unwrap().to_string(), printed);
        assert_eq!(rates(&printed, 250), rates(&text, 250), "{text} prints as {printed}");
    }
}

/// Formulas at places where their value is plain: k counts from 0.
#[test]
fn curves_are_their_formulas() {
    assert_eq!(rates("0.1", 3), [0.1; 3]);
    assert_eq!(rates("constant(0.1)", 3), [0.1; 3]);
    assert_eq!(rates("step(0.5, gamma=0.5, every=2 steps)", 6), [0.5, 0.5, 0.25, 0.25, 0.125, 0.125]);
    assert_eq!(rates("exponential(0.5, gamma=0.25, every=2 steps)", 5), [0.5, 0.25, 0.125, 0.0625, 0.03125]);
    assert_eq!(rates("inverse_time(0.5, decay=1, every=1 steps)", 4), [0.5, 0.25, 0.5 / 3.0, 0.125]);
    assert_eq!(rates("inverse_time(0.5, decay=1, every=2 steps)", 4), [0.5, 0.5 / 1.5, 0.25, 0.5 / 2.5]);
    assert_eq!(rates("polynomial(0.5, over=4 steps)", 6), [0.5, 0.375, 0.25, 0.125, 0.0, 0.0]);
    assert_eq!(rates("polynomial(1, power=2, end=0.5, over=2 steps)", 4), [1.0, 0.625, 0.5, 0.5]);
    let cosine = rates("cosine(0.5, end=0.25, over=2 steps)", 5);
    // cos(π/2) is 6e-17.
    assert!((cosine[1] - 0.375).abs() < 1e-16);
    assert_eq!([cosine[0], cosine[2], cosine[3], cosine[4]], [0.5, 0.25, 0.25, 0.25]);
}

/// Over the whole run unless told otherwise: the last step is one before the end of the curve, every later one at it;
/// that of `one_cycle` is the end.
#[test]
fn past_its_end_a_curve_holds_its_last_value() {
    for curve in CURVES.iter().filter(|c| c.lengths.iter().any(|l| l.name == "over")) {
        let with_end = curve.hyper.iter().any(|h| h.name == "end");
        let early = usize::from(curve.name == "one_cycle");
        for (args, end) in [
            ("0.1", 200),
            ("0.1, over=50%", 100),
            ("0.1, over=3", 60),
            ("0.1, over=30 steps, warmup=10 steps", 30),
            ("0.1, over=200%", 400),
            ("0.1, end=0.02, over=200%", 400),
        ] {
            if args.contains("end=") && !with_end {
                continue;
            }
            let text = call(curve, args);
            let rates = rates(&text, 1000);
            let last = match curve.name {
                "linear" => 0.1,
                "one_cycle" => 0.1 / 25.0 / 1e4,
                _ if args.contains("end=") => 0.02,
                _ => 0.0,
            };
            // Step end + 1 is k = end.
            let before = rates[end - 1 - early];
            assert!((before - last).abs() > 1e-6, "{text}: {before} at {end}");
            assert!(rates[end - early..].iter().all(|&r| r == last), "{text}: {}", rates[end]);
        }
    }
    for (text, last) in [
        ("multistep(0.5, 3, 50%, gamma=0.5)", 0.125),
        ("sequential(0.5, constant, constant(0.25), at=50%)", 0.25),
        ("sequential(cosine(0.5), linear(start_factor=1, end_factor=0.5))", 0.25),
        ("chained(linear(0.5, start_factor=1, end_factor=0.5), constant(0.5))", 0.125),
        ("wsd(0.5, over=50%)", 0.0),
    ] {
        assert!(rates(text, 1000)[200..].iter().all(|r| *r == last), "{text}");
        assert!(rates(text, 1000)[..50].iter().any(|r| *r != last), "{text}");
    }
}

/// What has no end goes on as it is.
#[test]
fn restarts_and_cycles_go_on() {
    for text in ["cosine_restarts(0.1, every=25 steps)", "cyclic(0.1, up=10 steps, down=15 steps)"] {
        let rates = rates(text, 1000);
        for (k, rate) in rates.iter().enumerate() {
            assert_eq!(*rate, rates[k % 25], "{text} at {k}");
        }
    }
    let longer = rates("cosine_restarts(0.1, every=10 steps, mult=3)", 2000);
    let restarts: Vec<usize> = (0..2000).filter(|k| longer[*k] == 0.1).collect();
    assert_eq!(restarts, [0, 10, 40, 130, 400, 1210]);
    assert_eq!(rates("cosine_restarts(0.1, every=10 steps, mult=1.5)", 30)[25], 0.1);
}

#[test]
fn a_warm_up_rises_in_equal_parts_to_the_rate() {
    // 5% of 200 steps, half an epoch of 20, 10 steps: all the same.
    for length in ["5%", "0.5 epochs", "0.5", "10 steps"] {
        for curve in CURVES {
            let warm = rates(&call(curve, &format!("0.5, warmup={length}")), 30);
            let first = rates(&call(curve, "0.5, warmup=0"), 1)[0];
            for (k, rate) in warm[..10].iter().enumerate() {
                assert_eq!(*rate, first * (k + 1) as f64 / 10.0, "{} at {k}", curve.name);
            }
            assert_eq!(warm[10], first, "{}: the curve begins after the warm-up", curve.name);
            let at_once = !["linear", "one_cycle", "cyclic"].contains(&curve.name);
            assert_eq!(first == 0.5, at_once, "{}: it begins with lr", curve.name);
        }
    }
    // Curves count from the end of the warm-up.
    for text in ["step(0.5, every=7 steps", "cyclic(0.5", "cosine_restarts(0.5, every=3 steps"] {
        let plain = rates(&format!("{text})"), 40);
        assert_eq!(rates(&format!("{text}, warmup=10 steps)"), 50)[10..], plain[..]);
    }
    // Points in time count from the start of the run.
    let steps = rates("multistep(0.5, 20 steps, warmup=10 steps)", 30);
    assert_eq!((steps[10], steps[19], steps[20]), (0.5, 0.5, 0.05));
}

#[test]
fn a_warm_up_may_be_nothing_or_longer_than_the_run() {
    for curve in CURVES {
        let plain = rates(&call(curve, "0.1, warmup=0%"), 300);
        for nothing in ["0 steps", "0", "0.001 epochs", "0.2%"] {
            assert_eq!(rates(&call(curve, &format!("0.1, warmup={nothing}")), 300), plain);
        }
        let text = call(curve, "0.1, warmup=150%");
        let long = rates(&text, 301);
        for (k, rate) in long[..300].iter().enumerate() {
            assert_eq!(*rate, long[300] * (k + 1) as f64 / 300.0, "{text} at {k}");
        }
        // The curve that begins after its own end is there at once.
        let text = call(curve, "0.1, warmup=200%");
        assert!(rates(&text, 500).iter().all(|r| (0.0..=0.1).contains(r)), "{text}");
    }
}

/// Lengths of 0, runs of no steps, the largest numbers: a rate all the same.
#[test]
fn extreme_lengths_give_rates() {
    for curve in CURVES {
        for length in ["0 steps", "0", "0%", "1e300 steps", "1e-300 epochs", "1e308%"] {
            let lengths: String = curve.lengths.iter().map(|l| format!(", {}={length}", l.name)).collect();
            for warmup in ["0 steps", "1e300 steps", "1 steps"] {
                let at = if curve.at.is_some() { format!(", at={length}") } else { String::new() };
                let text = call(curve, &format!("0.1{lengths}{at}, warmup={warmup}"));
                let schedule = Schedule::parse(&text).unwrap();
                for steps in [0, 1, u64::MAX] {
                    for per_epoch in [0, 1, u64::MAX] {
                        for step in [0, 1, 2, 1_000_000, u64::MAX] {
                            let rate = schedule.rate(step, Horizon { steps, per_epoch });
                            assert!((0.0..=0.1).contains(&rate), "{schedule} is {rate} at {step}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn an_open_rate_is_the_declarations_default() {
    assert_eq!(Schedule::parse("constant").unwrap().lr, None);
    assert_eq!(rates("constant", 2), [1e-3; 2]);
    assert_eq!(rates("cosine", 1), [1e-3]);
}

#[test]
fn errors_point_at_their_place() {
    let error = |text: &str| Schedule::parse(text).unwrap_err().to_string();
    assert_eq!(error("-0.1"), "lr must be in [0, ∞), got -0.1\n  -0.1\n  ^^^^");
    assert_eq!(
        error("cosin(0.1)"),
        "there is no schedule \"cosin\"\n  cosin(0.1)\n  ^^^^^ did you mean \"cosine\"?"
    );
    let names: Vec<&str> = CURVES.iter().map(|c| c.name).collect();
    assert!(error("wibble").ends_with(&format!("there are {}", names.join(", "))));
    assert_eq!(
        error("cosine(0.1, warmup=-1%)"),
        "warmup must be in [0, ∞), got -1%\n  cosine(0.1, warmup=-1%)\n                     ^^^"
    );
    assert_eq!(
        error("cosine(0.1, warmup=true)"),
        "warmup takes a length as in 100 steps, 2 epochs or 5%, got true\n  cosine(0.1, warmup=true)\n                     ^^^^"
    );
    assert!(error("cosine(0.1, warmup=1, warmup=2)").starts_with("warmup is given twice"));
    assert!(error("cosine(0.1, lr=0.2)").starts_with("lr is given twice"));
    assert!(error("cosine(0.1, wramup=1)").ends_with("did you mean \"warmup\"?"));
    assert!(error("cosine(0.1, gamma=1)").starts_with("cosine has no hyperparameter \"gamma\""));
    assert!(error("step(0.1, gamma=0)").starts_with("gamma must be in (0, ∞), got 0"));
    assert!(error("cosine(lr=2 epochs)").starts_with("lr takes a number, got 2 epochs"));
    assert!(error("true").starts_with("lr takes a number or a schedule, got true"));
    assert!(error("5%").starts_with("lr takes a number or a schedule, got 5%"));
}

/// What is asked of the parts, and of points in time.
#[test]
fn joined_schedules_are_checked() {
    let error = |text: &str| Schedule::parse(text).unwrap_err().to_string();
    assert_eq!(
        error("sequential(linear(0.1), cosin, at=5)"),
        "there is no schedule \"cosin\"\n  sequential(linear(0.1), cosin, at=5)\n                          ^^^^^ did you mean \"cosine\"?"
    );
    assert_eq!(
        error("sequential(cosine(0.1))"),
        "sequential joins two schedules or more, got 1\n  sequential(cosine(0.1))\n             ^^^^^^ as in sequential(linear(0.1), cosine, at=5 epochs)"
    );
    assert!(error("chained").starts_with("chained joins two schedules or more, got 0"));
    assert_eq!(
        error("sequential(cosine(0.1), linear, at=5, at=6)"),
        "between 2 schedules there is one change, 1 in all: at is given 2 times\n  sequential(cosine(0.1), linear, at=5, at=6)\n                                        ^^^^"
    );
    assert!(
        error("sequential(cosine(0.1), linear, linear, at=5)")
            .starts_with("between 3 schedules there are changes, 2 in all")
    );
    assert_eq!(
        error("multistep(0.1, 30, 20 epochs)"),
        "at goes back from 30 epochs to 20 epochs\n  multistep(0.1, 30, 20 epochs)\n                     ^^^^^^^^^"
    );
    assert!(error("multistep(0.1, -5 steps)").starts_with("at must be in [0, ∞), got -5 steps"));
    assert!(
        error("multistep(0.1, at=cosine)")
            .starts_with("at takes a length as in 100 steps, 2 epochs or 5%, got cosine")
    );
    assert!(error("multistep(0.1, cosine)").starts_with("gamma takes a number, got cosine"));
    assert!(error("cosine(0.1, at=5)").starts_with("cosine has no hyperparameter \"at\""));
    assert!(error("cosine(linear(0.1))").starts_with("lr takes a number, got linear(0.1)"));
    assert!(error("chained(0.1, cosine(0.2), step)").starts_with("lr is given twice"));
    assert!(error("chained(cosine(0.2), step, lr=true)").starts_with("lr takes a number, got true"));
    assert!(error("chained(plateau(0.1), plateau)").starts_with("a schedule follows scores in one place"));
    assert!(
        error("sequential(linear(0.1), plateau)")
            .starts_with("plateau counts scores from the start of the run")
    );
    assert!(error("sequential(linear(0.1), chained(step, plateau))").starts_with("plateau counts scores"));
    assert_eq!(
        error("cyclic(0.1, mode=triangula)"),
        "mode takes triangular or triangular2 or exp_range, got triangula\n  cyclic(0.1, mode=triangula)\n                   ^^^^^^^^^ did you mean \"triangular\"?"
    );
    assert!(error("cyclic(0.1, mode=1)").starts_with("mode takes triangular or"));
    assert!(error("plateau(0.1, mode=min, mode=max)").starts_with("mode is given twice"));
    assert!(error("cyclic(0.1, gamma=1.5)").starts_with("gamma must be in (0, 1], got 1.5"));
    assert!(error("one_cycle(0.1, three_phase=1)").starts_with("three_phase takes true or false, got 1"));
    assert!(error("plateau(0.1, factor=1)").starts_with("factor must be in (0, 1), got 1"));
}

/// The first schedule's rate is the whole's, and that of the parts of a sequence that say none.
#[test]
fn joined_schedules_share_their_rate() {
    for (text, printed, lr) in [
        ("sequential(linear(0.1), cosine, at=5)", "sequential(0.1, linear(start_factor=", Some(0.1)),
        ("sequential(constant, constant(0.2))", "sequential(constant(), constant(0.2), at=50%)", None),
        ("chained(constant(0.1), constant(0.2))", "chained(0.1, constant(), constant(0.2))", Some(0.1)),
        ("multistep(0.1, 30, 60, gamma=0.5)", "multistep(0.1, 30 epochs, 60 epochs, gamma=0.5)", Some(0.1)),
        ("multistep", "multistep(50%, 75%, gamma=0.1)", None),
        ("wsd(0.1)", "wsd(0.1, end=0, shape=linear, decay=20%, over=100%, warmup=5%)", Some(0.1)),
        (
            "wsd(0.1, warmup=0)",
            "wsd(0.1, end=0, shape=linear, decay=20%, over=100%, warmup=0 epochs)",
            Some(0.1),
        ),
        (
            "cyclic(0.1, up=3)",
            "cyclic(0.1, base_lr=0, gamma=1, mode=triangular, up=3 epochs, down=3 epochs)",
            Some(0.1),
        ),
    ] {
        let schedule = Schedule::parse(text).unwrap();
        assert!(schedule.to_string().starts_with(printed), "{schedule}");
        assert_eq!(schedule.lr, lr, "{text}");
    }
    assert_eq!(
        rates("sequential(constant(0.25), constant, constant(1), at=2 steps, at=3 steps)", 4),
        [0.25, 0.25, 0.25, 1.0]
    );
    assert_eq!(rates("chained(constant(0.25), constant, constant(0.5))", 2), [0.125; 2]);
    // Filled later, it goes to all of them that are open.
    let mut open = Schedule::parse("sequential(constant, constant(0.5), at=1 steps)").unwrap();
    open.lr = Some(0.25);
    assert_eq!((open.rate(1, RUN), open.rate(2, RUN)), (0.25, 0.5));
    // Percentages are of a schedule's own time, and a point that comes before the one before it comes with it.
    let own = rates("sequential(polynomial(1), polynomial, at=50%)", 201);
    assert_eq!((own[0], own[50], own[100], own[150], own[200]), (1.0, 0.5, 1.0, 0.5, 0.0));
    let mixed = rates("sequential(constant(1), constant(2), constant(4), at=30 steps, at=10%)", 40);
    assert_eq!((mixed[29], mixed[30]), (1.0, 4.0));
}

#[derive(Deserialize)]
struct Recorded {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    ours: String,
    rates: Vec<f64>,
    #[serde(default)]
    scores: Vec<f64>,
}

fn recorded() -> Vec<Case> {
    serde_json::from_str::<Recorded>(include_str!("../data/schedules.json")).unwrap().cases
}

const SIXTY: Horizon = Horizon { steps: 60, per_epoch: 6 };

/// PyTorch's and optax's rates, step by step; where their recursions leave a rounding of what they started from,
/// 1e-14 of it.
#[test]
fn rates_are_pytorchs_and_optaxs() {
    let cases = recorded();
    for case in &cases {
        let mut schedule = Schedule::parse(&case.ours).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(case.rates.len(), 60);
        for (k, &theirs) in case.rates.iter().enumerate() {
            let ours = schedule.rate(k as u64 + 1, SIXTY);
            let bound = 1e-12 * theirs + 1e-14 * case.rates[0].max(0.1);
            assert!((ours - theirs).abs() <= bound, "{}: {ours} is not {theirs} at {k}", case.ours);
            if let Some(score) = case.scores.get(k) {
                schedule.observe(*score);
            }
        }
    }
    for curve in CURVES {
        assert!(
            cases.iter().any(|c| c.ours.starts_with(&format!("{}(", curve.name))),
            "{} is not recorded",
            curve.name
        );
    }
}

/// A run that is saved and continued after any score takes the rates of the run that was not.
#[test]
fn what_scores_leave_behind_can_be_restored() {
    for case in recorded().iter().filter(|c| !c.scores.is_empty()) {
        let wrapped = format!("chained({}, constant)", case.ours);
        for text in [&case.ours, &wrapped] {
            let mut whole = Schedule::parse(text).unwrap();
            let mut changes = 0;
            for (k, score) in case.scores.iter().enumerate() {
                let mut restored = Schedule::parse(text).unwrap();
                for ((to, x), (from, y)) in restored.state_mut().into_iter().zip(whole.state()) {
                    assert_eq!(to, from);
                    *x = y;
                }
                let rate = whole.rate(1, RUN);
                assert_eq!(restored.rate(1, RUN), rate);
                whole.observe(*score);
                restored.observe(*score);
                assert_eq!(restored.rate(k as u64, RUN).to_bits(), whole.rate(k as u64, RUN).to_bits());
                changes += usize::from(whole.rate(1, RUN) != rate);
            }
            assert!(changes > 0 || case.ours.contains("min_lr=0.004"), "{text}");
            assert!(whole.follows_scores());
            assert_eq!(whole.state().len(), 4);
        }
    }
}

#[test]
fn only_a_plateau_follows_scores() {
    for text in texts() {
        let mut schedule = Schedule::parse(&text).unwrap();
        let before: Vec<f64> = (1..=200).map(|k| schedule.rate(k, RUN)).collect();
        (0..40).for_each(|_| schedule.observe(1.0));
        let same = (1..=200).all(|k| schedule.rate(k, RUN) == before[k as usize - 1]);
        assert_eq!(same, !text.contains("plateau"), "{text}");
        assert_eq!(schedule.state().is_empty(), same);
        assert_eq!(schedule.follows_scores(), !same);
    }
}

/// Scores and memory that are no numbers: a rate all the same, and NaN is no improvement.
#[test]
fn a_plateau_bears_anything() {
    let mut schedule = Schedule::parse("plateau(0.1, patience=1, factor=0.5, eps=0)").unwrap();
    for score in [f64::NAN, f64::NAN, f64::INFINITY, 1.0] {
        schedule.observe(score);
    }
    assert_eq!(schedule.rate(1, RUN), 0.05, "three scores, none better than none");
    for wrong in [f64::NAN, f64::INFINITY, -f64::INFINITY, -1.0, 1e300] {
        for (_, x) in schedule.state_mut() {
            *x = wrong;
        }
        schedule.observe(0.5);
        assert!((0.0..=0.1).contains(&schedule.rate(1, RUN)), "{wrong}");
    }
}

/// A schedule from the declarations: every number, word and length given or not, schedules inside schedules.
fn drawn(stream: &mut Stream, depth: u32) -> String {
    let mut next = |n: usize| (stream.uniform() * n as f64) as usize;
    let mut curve = CURVES[next(CURVES.len())];
    while depth == 0 && curve.joins {
        curve = CURVES[next(CURVES.len())];
    }
    let length = |next: &mut dyn FnMut(usize) -> usize| {
        format!("{}{}", next(40), [" steps", " epochs", "%", ".5%", ""][next(5)])
    };
    let mut args: Vec<String> = vec![];
    if next(2) == 0 {
        args.push(["0.1", "lr=0", "lr=1e300", "lr=1e-300", "3"][next(5)].into());
    }
    for hyper in curve.hyper {
        let values: Vec<f64> = [0.0, 1e-300, 1e-3, 0.3, 0.5, 1.0, 1.0 + 1e-15, 1.7, 7.0, 1e300]
            .into_iter()
            .filter(|x| hyper.range.contains(*x))
            .collect();
        if next(2) == 0 {
            args.push(format!("{}={}", hyper.name, hyper.print(values[next(values.len())])));
        }
    }
    for choice in curve.choices {
        if next(2) == 0 {
            args.push(format!("{}={}", choice.name, choice.words[next(choice.words.len())]));
        }
    }
    for name in curve.lengths.iter().map(|l| l.name).chain(["warmup"]) {
        if next(2) == 0 {
            args.push(format!("{name}={}", length(&mut next)));
        }
    }
    if curve.at.is_some() && !curve.joins && next(2) == 0 {
        args.push(format!("at={}", length(&mut next)));
    }
    if curve.joins {
        let n = 2 + next(3);
        args.extend((0..n).map(|_| drawn(stream, depth - 1)));
    }
    format!("{}({})", curve.name, args.join(", "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn every_schedule_prints_as_itself_and_gives_rates(seed: u64) {
        let text = drawn(&mut Stream::new(seed, Purpose::Data, 0), 3);
        let Ok(schedule) = Schedule::parse(&text) else {
            let error = Schedule::parse(&text).unwrap_err().to_string();
            let known = ["lr is given twice", "plateau counts scores", "a schedule follows scores in one place"];
            prop_assert!(known.iter().any(|k| error.starts_with(k)), "{}", error);
            return Ok(());
        };
        let printed = schedule.to_string();
        let again = Schedule::parse(&printed).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(again.to_string(), &printed[..], "{}", text);
        prop_assert_eq!(again.lr, schedule.lr);
        for horizon in [RUN, Horizon { steps: 0, per_epoch: 0 }, Horizon { steps: u64::MAX, per_epoch: 1 << 40 }] {
            for step in (0..300).chain([1 << 20, 1 << 53, u64::MAX]) {
                let rate = schedule.rate(step, horizon);
                prop_assert!(rate.is_finite() && rate >= 0.0, "{} is {} at {}", text, rate, step);
                prop_assert_eq!(rate.to_bits(), again.rate(step, horizon).to_bits());
            }
        }
    }
}
