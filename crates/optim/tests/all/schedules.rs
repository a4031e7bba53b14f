//! Rates as pure functions of the step: lengths, warm-up, ends.

use thalweg_optim::schedule::CURVES;
use thalweg_optim::{Horizon, Schedule};

use crate::common::{Run, layout, setup};

const RUN: Horizon = Horizon { steps: 200, per_epoch: 20 };

fn rates(text: &str, steps: u64) -> Vec<f64> {
    let schedule = Schedule::parse(text).unwrap_or_else(|e| panic!("{e}"));
    (1..=steps).map(|step| schedule.rate(step, RUN)).collect()
}

/// Every curve alone, with each of its values and lengths given, and with a warm-up.
fn texts() -> Vec<String> {
    let mut all = vec!["0.1".to_string()];
    for curve in CURVES {
        let numbers: String =
            curve.hyper.iter().map(|h| format!(", {}={}", h.name, h.default * 0.5)).collect();
        for length in ["30 steps", "2 epochs", "25%", "1"] {
            let lengths: String = curve.lengths.iter().map(|l| format!(", {}={length}", l.name)).collect();
            all.push(format!("{}(0.1{numbers}{lengths})", curve.name));
            all.push(format!("{}(0.1{lengths}, warmup=7 steps)", curve.name));
        }
        all.push(format!("{}(0.1)", curve.name));
        all.push(format!("{}(0.1, warmup=5%)", curve.name));
    }
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

/// Over the whole run unless told otherwise: the last step is one before the end of the curve, every later one at it.
#[test]
fn past_its_end_a_curve_holds_its_last_value() {
    for curve in CURVES.iter().filter(|c| c.lengths.iter().any(|l| l.name == "over")) {
        for (text, end) in [
            (format!("{}(0.1)", curve.name), 200),
            (format!("{}(0.1, over=50%)", curve.name), 100),
            (format!("{}(0.1, over=3)", curve.name), 60),
            (format!("{}(0.1, over=30 steps, warmup=10 steps)", curve.name), 30),
            (format!("{}(0.1, end=0.02, over=200%)", curve.name), 400),
        ] {
            let rates = rates(&text, 1000);
            let last = if text.contains("end=") { 0.02 } else { 0.0 };
            // Step end + 1 is k = end.
            assert!(rates[end - 1] > last, "{text}: {} at {end}", rates[end - 1]);
            assert!(rates[end..].iter().all(|&r| r == last), "{text}");
        }
    }
}

#[test]
fn a_warm_up_rises_in_equal_parts_to_the_rate() {
    // 5% of 200 steps, half an epoch of 20, 10 steps: all the same.
    for length in ["5%", "0.5 epochs", "0.5", "10 steps"] {
        for curve in CURVES {
            let rates = rates(&format!("{}(0.5, warmup={length})", curve.name), 30);
            for (k, rate) in rates[..10].iter().enumerate() {
                assert_eq!(*rate, 0.5 * (k + 1) as f64 / 10.0, "{} at {k}", curve.name);
            }
            assert_eq!(rates[10], 0.5, "{}: the curve begins after the warm-up", curve.name);
        }
    }
    // Curves count from the end of the warm-up.
    let plain = rates("step(0.5, every=7 steps)", 40);
    assert_eq!(rates("step(0.5, every=7 steps, warmup=10 steps)", 50)[10..], plain[..]);
}

#[test]
fn a_warm_up_may_be_nothing_or_longer_than_the_run() {
    for curve in CURVES {
        let plain = rates(&format!("{}(0.1)", curve.name), 300);
        for nothing in ["0%", "0 steps", "0", "0.001 epochs", "0.2%"] {
            assert_eq!(rates(&format!("{}(0.1, warmup={nothing})", curve.name), 300), plain);
        }
        let long = rates(&format!("{}(0.1, warmup=150%)", curve.name), 300);
        for (k, rate) in long.iter().enumerate() {
            assert_eq!(*rate, 0.1 * (k + 1) as f64 / 300.0);
        }
        // The curve that begins after its own end is there at once.
        let text = format!("{}(0.1, warmup=200%)", curve.name);
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
                let schedule =
                    Schedule::parse(&format!("{}(0.1{lengths}, warmup={warmup})", curve.name)).unwrap();
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
    assert!(
        error("wibble").ends_with("there are constant, step, exponential, inverse_time, polynomial, cosine")
    );
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
