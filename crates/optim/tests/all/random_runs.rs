//! The optimizer beside our slow reference, over random settings, stages, penalties and gradients.

use proptest::prelude::*;
use thalweg_core::Penalty;
use thalweg_optim::rules::{ALL, Build};

use crate::common::{Run, both, inside, layout, numbers, setup};
use crate::reference::{F32, F64, RULES, Reference};

/// A chain of a random rule: each value is a draw from those inside its range, or a number between two of them.
fn chain() -> impl Strategy<Value = String> {
    let rule = (0..RULES.len(), proptest::collection::vec((0usize..100, 0.0..1.0f64), 8)).prop_map(
        |(nth, draws)| {
            let entry = *ALL.iter().find(|e| e.name == RULES[nth]).expect("a rule of the registry");
            let values = entry.hyper.iter().zip(&draws).map(|(h, &(i, between))| {
                let values = inside(&h.range);
                let x = values[i % values.len()];
                let next = values[(i + 1) % values.len()];
                let mixed = if h.range.is_switch() || i < 50 { x } else { x + (next - x) * between };
                format!(", {}={}", h.name, h.print(mixed))
            });
            let rest: String = values.collect();
            format!("{}(lr={}{rest})", entry.name, libm::pow(10.0, -4.0 * draws[7].1))
        },
    );
    let before = prop_oneof![
        Just(""),
        Just("clip(1) | "),
        Just("clip_value(0.5) | "),
        Just("clip(3) | clip_value(0.5) | "),
        Just("clip_value(0.5) | clip(1) | ")
    ];
    let after = prop_oneof![Just(""), Just(" | ema(0.9)"), Just(" | ema(0)")];
    (before, rule, after).prop_map(|(b, r, a)| format!("{b}{r}{a}"))
}

/// Both after each of `steps` steps; false where the bound says nothing (ε is 0 under a square that underflows, v − ḡ² is all
/// rounding, numbers overflow).
fn agree<F: Build>(expression: &str, l2: f64, n: usize, seed: u64, scale: f64, steps: u64) -> bool {
    let theta = numbers(seed, n);
    let layout = layout(&[n as isize / 2, -(n as isize - n as isize / 2)]);
    // The objective's l2 reaches weights only; one layout of weights would do, but for the biases' sake it is 0 half of the time.
    let mut run = Run::<F>::new(expression, &layout, &setup(), &theta);
    run.penalty = Penalty { l1: 0.0, l2 };
    let unit = if F::BYTES == 4 { F32 } else { F64 };
    let mut reference = Reference::new(expression, &theta, unit);
    reference.l2 = (0..n).map(|i| if i < n / 2 { l2 } else { 0.0 }).collect();
    let mut compared = true;
    for step in 0..steps {
        let gradient: Vec<f64> = numbers(seed + 1 + step, n).iter().map(|g| g * scale).collect();
        let report = run.step(&gradient);
        reference.step(&gradient);
        if report.non_finite.is_some() {
            assert!(reference.beyond(F::MAX.to_f64()), "{expression}: nothing overflows at step {step}");
            return false;
        }
        let averages = run.evaluated();
        for (i, ours) in run.values().into_iter().enumerate() {
            let mut close = |what: &str, ours: f64, (value, bound): (f64, f64)| {
                assert!(ours.is_finite());
                compared &= bound.is_finite();
                let apart = (ours - value).abs();
                assert!(
                    apart <= bound || !bound.is_finite(),
                    "{expression}, l2 {l2}: {what} {i} after step {step} is {ours}, not {value} ± {bound:e}"
                );
            };
            close("θ", ours, reference.theta(i));
            if let Some(averages) = &averages {
                close("average", averages[i], reference.average(i));
            }
        }
    }
    compared
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn the_optimizer_is_its_formulas(
        expression in chain(), l2 in prop_oneof![Just(0.0), 0.0..1.0f64], n in 1usize..20, seed: u32,
        steps in 1u64..12,
    ) {
        if thalweg_optim::Plan::parse(&expression).is_ok() {
            agree::<f64>(&expression, l2, n, u64::from(seed), 1.0, steps);
            agree::<f32>(&expression, l2, n, u64::from(seed), 1.0, steps);
        }
    }
}

both! {
    /// Zero, subnormal, tiny (its square underflows) and large (its square does not overflow) gradients follow the formulas.
    fn gradients_of_any_size_follow_the_formulas<F>() {
        let scales = if F::BYTES == 4 {
            [0.0, 1e-43, 1e-25, 1e15]
        } else {
            [0.0, 1e-320, 1e-170, 1e148]
        };
        let (mut compared, mut all) = (0, 0);
        let known = |rule: &String| RULES.contains(&rule.split('(').next().unwrap_or(""));
        for expression in crate::common::all_settings().into_iter().filter(known) {
            for scale in scales {
                compared += usize::from(agree::<F>(&expression, 0.0, 9, 3, scale, 4));
                all += 1;
            }
        }
        assert!(10 * compared > 9 * all, "the bound says nothing in {} of {all} runs", all - compared);
    }
}
