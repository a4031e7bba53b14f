//! What the registry says of rules and stages: documentation whole, formulas of all, memory as it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use thalweg_core::{Kind, Layout};
use thalweg_optim::chain::STAGES;
use thalweg_optim::rules::{ALL, Kind as RuleKind};
use thalweg_optim::{Plan, Setup};

/// What each rule is for, its memory, and where the three libraries differ.
#[test]
fn the_head_of_every_rules_file_is_complete() {
    for entry in ALL {
        let about = entry.about;
        for what in ["emory", "PyTorch", "optax", "Keras", "```text\n", "http"] {
            assert!(about.contains(what), "{}: nothing of {what:?} in\n{about}", entry.name);
        }
        assert!(about.contains("For ") || about.contains(" for "), "{}: what is it for?", entry.name);
        assert!(about.matches("```").count().is_multiple_of(2), "{}", entry.name);
        assert!(!about.contains("use crate"), "{}: code in its documentation", entry.name);
    }
    for stage in STAGES {
        assert!(stage.about.len() > 100, "{}: {}", stage.name, stage.about);
    }
}

/// The memory that a formula names is the memory that is kept.
#[test]
fn formulas_name_the_memory_that_is_kept() {
    let layout = Layout::builder().tensor("w", &[64, 48], &["out", "in"], Kind::Weight).build();
    let layout = Arc::new(layout);
    let mut compared = 0;
    for entry in ALL {
        for setting in crate::common::settings(entry) {
            let plan = Plan::parse(&setting).unwrap();
            let trace = plan.trace();
            assert!(
                !trace.formula.is_empty() && trace.lines().iter().any(|l| l.starts_with("θ ← ")),
                "{setting}"
            );
            assert!(entry.kind != RuleKind::Elementwise || trace.is_whole(), "{setting}: {trace:?}");
            if entry.memory.is_some() {
                assert!(plan.grown_memory().is_some());
                continue;
            }
            let mut kept = BTreeSet::new();
            plan.build::<f64>(&layout, &Setup::default()).unwrap().visit_state(&mut |name, memory| {
                if let Some(slot) = name.strip_prefix("w/").filter(|_| memory.len() == 64 * 48) {
                    kept.insert(slot.to_string());
                }
            });
            let named: BTreeSet<String> = trace.memory.iter().map(|slot| slot.to_string()).collect();
            assert_eq!(named, kept, "{setting}");
            compared += 1;
        }
    }
    assert!(compared > 500, "{compared}");
}

/// Bytes of elementwise rules follow from their memory.
#[test]
fn bytes_are_those_of_the_memory() {
    for entry in crate::common::elementwise() {
        let trace = Plan::parse(entry.name).unwrap().trace();
        assert_eq!(trace.bytes(4, true), 4 * (4 + 2 * trace.memory.len()), "{}", entry.name);
        assert!(trace.simple > 0, "{}", entry.name);
    }
}
