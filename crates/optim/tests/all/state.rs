//! Saved states: continuing is never having stopped; what does not fit is listed; hostile bytes are refused.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use thalweg_core::{Kind, Layout, Memory, Penalty};
use thalweg_optim::chain::STAGES;
use thalweg_optim::rules::{self, ALL, Build};
use thalweg_optim::state::{self, Difference, StateError, Stateful};
use thalweg_optim::{Setup, Stepper};

use crate::common::{Run, all_settings, both, kinds, layout, numbers, settings, setup};

fn bytes<F: Build>(run: &mut Run<F>) -> Vec<u8> {
    let t = run.t;
    state::save(&mut *run.optimizer, t).unwrap()
}

/// A run of 8 steps, and others that take it up after each of `stops`: the whole of both is compared.
fn continues<F: Build>(text: &str, sizes: &[isize], stops: &[u64]) {
    continues_over::<F>(text, &layout(sizes), stops);
}

fn continues_over<F: Build>(text: &str, layout: &Arc<Layout>, stops: &[u64]) {
    let n = layout.count();
    let start = |theta: &[f64]| {
        let setup = Setup { horizon: thalweg_optim::Horizon { steps: 8, per_epoch: 4 }, ..setup() };
        let mut run = Run::<F>::new(text, layout, &setup, theta);
        run.penalty = Penalty { l1: 0.0, l2: 0.1 };
        run
    };
    let mut run = start(&numbers(1, n));
    let mut saved = vec![];
    for t in 0..8 {
        if stops.contains(&t) {
            saved.push((t, run.theta.clone(), bytes(&mut run)));
        }
        run.step(&numbers(2 + t, n));
    }
    for (stop, theta, saved) in saved {
        // Into an optimizer that has gone its own way, and into a new one.
        for already in [0, 7] {
            let mut other = start(&numbers(99, n));
            (0..already).for_each(|t| {
                other.step(&numbers(50 + t, n));
            });
            let restored =
                state::load(&mut *other.optimizer, &saved).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((restored.step, restored.notes), (stop, vec![]));
            (other.theta, other.t) = (theta.clone(), stop);
            assert!(bytes(&mut other) == saved, "{text}: saved again");
            (stop..8).for_each(|t| {
                other.step(&numbers(2 + t, n));
            });
            assert!(
                other.bits() == run.bits() && other.memory() == run.memory(),
                "{text} stopped after {stop}"
            );
        }
    }
}

both! {
    fn save_load_continue_is_never_stopped<F>() {
        for rule in all_settings() {
            let rule = rule.replace("lr=0.01", "lr=cosine(0.01, warmup=3 steps)");
            continues::<F>(&format!("clip(100) | clip_value(20) | {rule} | ema(0.9)"), &[30, -11], &[0, 1, 5]);
        }
    }

    fn compressed_memory_continues<F>() {
        for rule in kinds() {
            for format in ["bf16", "block8"] {
                let rule = format!("{}, memory={format})", rule.strip_suffix(')').unwrap());
                continues::<F>(&rule, &[5000, -20, 4096], &[0, 3]);
            }
        }
    }

    /// Rules that look at a tensor, at all parameters or at other points: whatever they keep stands in the file.
    fn rules_that_look_at_more_continue<F>() {
        let layout = Layout::builder()
            .tensor("tall", &[5, 3], &["out", "in"], Kind::Weight)
            .tensor("wide", &[4, 8], &["out", "in"], Kind::Weight)
            .tensor("kernel", &[2, 3, 2, 3], &["out", "in", "a", "b"], Kind::Weight)
            .tensor("bias", &[5], &["out"], Kind::Bias);
        let layout = Arc::new(layout.build());
        for rule in ALL.iter().filter(|e| e.kind != rules::Kind::Elementwise).flat_map(|e| settings(e)) {
            let rule = rule.replace("lr=0.01", "lr=cosine(0.01, warmup=3 steps)");
            continues_over::<F>(&format!("{rule} | ema(0.9)"), &layout, &[0, 1, 5]);
        }
        for rule in ["sam(rho=0.1, adaptive=true) | adam(lr=0.01)", "clip(1) | prodigy | lookahead(2)"] {
            continues_over::<F>(rule, &layout, &[0, 1, 5]);
        }
    }

    fn every_stage_continues<F>() {
        for stage in STAGES {
            let required = stage.hyper.iter().filter(|h| h.default.is_nan());
            let values: Vec<&str> = required.map(|h| if h.range.is_whole() { "2" } else { "0.5" }).collect();
            let mut call = format!("{}({})", stage.name, values.join(", "));
            if stage.name == "swa" {
                call = "swa(start=2, every=2)".into();
            }
            let rule = "adam(lr=0.01)";
            let text = if stage.before { format!("{call} | {rule}") } else { format!("{rule} | {call}") };
            continues::<F>(&text, &[30, -11], &[0, 1, 3, 4, 5, 7]);
        }
    }

    /// The chains of another phase are other chains.
    fn phases_and_groups_continue<F>() {
        for text in [
            "adam until 3 steps then momentum(lr=0.1)",
            "clip(1) | adam | ema(0.9) until 25% then sgd(lr=0.1) until 75% then { weights: amsgrad; rest: sgd(lr=0.1) }",
            "{ weights: accumulate(3) | adam; biases: sgd(lr=0.1) } until 5 steps then rollback(2) | adam",
            "loss_scale | adam until 3 steps then loss_scale | sgd",
        ] {
            continues::<F>(text, &[30, -11], &[0, 1, 2, 3, 4, 5, 6, 7]);
        }
    }
}

/// A run after three steps of gradients on a small scale.
fn after_three<F: Build>(text: &str, sizes: &[isize]) -> Run<F> {
    let n = sizes.iter().map(|s| s.unsigned_abs()).sum();
    let mut run = Run::<F>::new(text, &layout(sizes), &setup(), &numbers(1, n));
    (2..5).for_each(|seed| {
        run.step(&numbers(seed, n));
    });
    run
}

/// Refused with these differences, and nothing was written.
fn refused<F: Build>(text: &str, sizes: &[isize], saved: &[u8]) -> Vec<Difference> {
    let mut run = after_three::<F>(text, sizes);
    let before = (run.memory(), run.optimizer.expression());
    let error = state::load(&mut *run.optimizer, saved).unwrap_err();
    assert!((run.memory(), run.optimizer.expression()) == before);
    match error {
        StateError::Mismatch { found } => found,
        other => panic!("{other}"),
    }
}

#[test]
fn all_differences_are_listed_and_nothing_is_written() {
    let saved = bytes(&mut after_three::<f32>("adam | ema(0.9)", &[5, -3]));
    let missing = |name: &str| Difference::Missing { name: name.into() };
    let unexpected = |name: &str| Difference::Unexpected { name: name.into() };
    assert_eq!(
        refused::<f32>("amsgrad", &[5, -3], &saved),
        [missing("t0/max_v"), missing("t1/max_v"), unexpected("t0/average"), unexpected("t1/average")]
    );
    let shape = |name: &str, saved: usize, running: usize| Difference::Shape {
        name: name.into(),
        saved: vec![saved],
        running: vec![running],
    };
    assert_eq!(
        refused::<f32>("adam | ema(0.9)", &[6, -3], &saved),
        ["t0/m", "t0/v", "t0/average"].map(|name| shape(name, 5, 6))
    );
    let found = refused::<f64>("adam | ema(0.9)", &[5, -3], &saved);
    assert_eq!(found.len(), 6, "{found:?}");
    assert_eq!(found[0].to_string(), "\"t0/m\" is F32, not F64");
    // One more tensor, and the message has all of it.
    let mut run = after_three::<f32>("sgd(momentum=0.9)", &[5, -3, 2]);
    let message = state::load(&mut *run.optimizer, &saved).unwrap_err().to_string();
    for part in ["\"t0/momentum", "\"t2/momentum", "is missing", "\"t1/m\" is not expected", "; "] {
        assert!(message.contains(part), "{message}");
    }
    // Compressed memory is another kind of number.
    let found = refused::<f32>("adam(memory=bf16) | ema(0.9)", &[5000, -3], &saved);
    assert!(found.iter().any(|d| d.to_string() == "\"t0/m\" is F32, not BF16"), "{found:?}");
}

/// The optimizer is back in its own phase then.
#[test]
fn a_state_of_another_phase_that_does_not_fit_changes_nothing() {
    let text = "loss_scale | adam until 2 steps then sgd(momentum=0.9)";
    let saved = bytes(&mut after_three::<f32>(text, &[5, -3]));
    for text in [
        "rollback(2) | adam until 9 steps then adam",
        "loss_scale(8) | adam until 9 steps then loss_scale | adam",
        "adam until 9 steps then sgd(momentum=0.9) | ema(0.9)",
    ] {
        assert!(!refused::<f32>(text, &[5, -3], &saved).is_empty());
    }
    // There is no second phase.
    let found = refused::<f32>("adam", &[5, -3], &saved);
    assert!(found.contains(&Difference::Count { name: "phase".into(), saved: 1 }), "{found:?}");
}

#[test]
fn other_hyperparameters_are_noted_and_the_running_ones_hold() {
    let notes = |saved: &str, running: &str| {
        let saved = bytes(&mut after_three::<f64>(saved, &[5, -3]));
        let mut run = after_three::<f64>(running, &[5, -3]);
        let expression = run.optimizer.expression();
        let restored = state::load(&mut *run.optimizer, &saved).unwrap();
        assert_eq!(run.optimizer.expression(), expression);
        assert_eq!(restored.to_string().lines().count(), 1 + restored.notes.len());
        assert!(restored.to_string().starts_with("the optimizer's state after step 3 is restored"));
        restored.notes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(notes("adam(lr=0.1)", "adam(lr=0.1)"), Vec::<String>::new());
    assert_eq!(
        notes("clip(1) | adam(lr=0.1, beta1=0.8)", "clip(2) | adam(lr=cosine(0.2), beta1=0.9)"),
        [
            "clip max_norm was 1 when the state was saved; the running optimizer's 2 holds",
            "adam beta1 was 0.8 when the state was saved; the running optimizer's 0.9 holds",
            "adam lr was 0.1 when the state was saved; the running optimizer's cosine(lr=0.2, final=0, over=100%) holds",
        ]
        .map(|s| s.replace("cosine(lr=0.2, final=0, over=100%)", &cosine()))
    );
    let both = notes("clip(1) | adam", "adamw");
    assert!(
        both[0].starts_with(
            "adamw was not there when the state was saved; the running optimizer's adamw(lr=0.001"
        )
    );
    assert!(
        both[1].starts_with(
            "clip was clip(max_norm=1) when the state was saved; the running optimizer has none"
        )
    );
    assert!(both[2].starts_with("adam was adam(lr=0.001"));
    assert_eq!(
        notes(
            "{ weights: sgd(lr=0.1); rest: sgd(lr=0.2) } until 2 steps then { weights: adam; rest: sgd }",
            "{ weights: sgd(lr=0.1); rest: sgd(lr=0.3) } until 2 steps then { weights: adam(eps=1); rest: sgd }",
        ),
        [
            "rest: sgd lr was 0.2 when the state was saved; the running optimizer's 0.3 holds",
            "phase 2: weights: adam eps was 1e-8 when the state was saved; the running optimizer's 1 holds",
        ]
    );
    assert_eq!(
        notes("sgd until 2 steps then adam", "sgd until 1 steps then adam"),
        ["the end of the phase was 2 steps when the state was saved; the running optimizer's 1 steps holds"]
    );
}

fn cosine() -> String {
    let text =
        Run::<f64>::new("adam(lr=cosine(0.2))", &layout(&[1]), &setup(), &[0.0]).optimizer.expression();
    let from = text.find("cosine").unwrap();
    text[from..from + text[from..].find(')').unwrap() + 1].into()
}

#[test]
fn the_file_is_safetensors_with_one_key_of_canonical_json() {
    let mut run = after_three::<f32>("adam(lr=0.1)", &[5, -3]);
    let saved = bytes(&mut run);
    let (_, header) = SafeTensors::read_metadata(&saved).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    assert_eq!(metadata.len(), 1);
    assert_eq!(
        metadata["thalweg"],
        r#"{"expression":"adam(lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0)","format":1,"kind":"optimizer","step":3}"#
    );
    let tensors = SafeTensors::deserialize(&saved).unwrap();
    let mut names: Vec<String> = tensors.names().iter().map(ToString::to_string).collect();
    names.sort();
    assert_eq!(names, ["phase", "step", "t0/m", "t0/v", "t1/m", "t1/v"]);
    assert_eq!(
        (tensors.tensor("t0/m").unwrap().dtype(), tensors.tensor("t0/m").unwrap().shape()),
        (Dtype::F32, &[5][..])
    );
    assert_eq!(tensors.tensor("step").unwrap().data(), 3u64.to_le_bytes());
    assert_eq!(bytes(&mut run), saved);
}

/// A file of these pieces.
fn file(text: Option<&str>, pieces: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    let views: Vec<(&str, TensorView<'_>)> = pieces
        .iter()
        .map(|(name, dtype, shape, bytes)| (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()))
        .collect();
    let metadata = text.map(|t| HashMap::from([("thalweg".to_string(), t.to_string())]));
    safetensors::serialize(views, metadata).unwrap()
}

#[test]
fn what_is_no_state_is_refused_in_words() {
    let message = |bytes: &[u8]| {
        let mut stepper = Stepper::<f32>::with_len("sgd", 3).unwrap();
        state::load(&mut stepper, bytes).unwrap_err().to_string()
    };
    assert!(message(b"").starts_with("the state is cut short or is no safetensors file"));
    assert!(message(&[0xFF; 100]).starts_with("the state is cut short or is no safetensors file"));
    let mut huge = vec![0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];
    huge.extend([b'{'; 64]);
    assert!(message(&huge).starts_with("the state is cut short or is no safetensors file"));
    assert_eq!(message(&file(None, &[])), "this is no saved optimizer: its metadata has no \"thalweg\"");
    for (text, part) in [
        ("{", "its description is damaged"),
        ("[]", "its description has no format"),
        ("{\"format\":-1}", "its description has no format"),
        ("{\"format\":1,\"kind\":\"model\"}", "that of something else"),
        ("{\"format\":1,\"kind\":\"optimizer\",\"step\":1}", "no expression"),
        ("{\"format\":1,\"kind\":\"optimizer\",\"expression\":\"sgd\",\"step\":NaN}", "damaged"),
        ("{\"format\":1,\"kind\":\"optimizer\",\"expression\":\"sgd\",\"step\":1.5}", "no step"),
        (
            "{\"format\":1,\"kind\":\"optimizer\",\"expression\":\"sgd\",\"step\":18446744073709551615}",
            "\"step\" cannot be",
        ),
        ("{\"format\":2}", "the state has format 2; this version reads up to 1"),
    ] {
        let message = message(&file(Some(text), &[]));
        assert!(message.contains(part), "{text}: {message}");
    }
    // A description that nests deeply, a name that is no piece, a kind of number that no memory has.
    assert!(message(&file(Some(&"[".repeat(100_000)), &[])).contains("damaged"));
    let about = "{\"format\":1,\"kind\":\"optimizer\",\"expression\":\"a(((\",\"step\":1}";
    let piece = |name, dtype, shape: &[usize], n: usize| (name, dtype, shape.to_vec(), vec![0xFF; n]);
    let wrong = file(
        Some(about),
        &[
            piece("phase", Dtype::F64, &[], 8),
            piece("step", Dtype::U64, &[], 8),
            piece("stepper.steps", Dtype::U64, &[1], 8),
            piece("x", Dtype::I64, &[2], 16),
        ],
    );
    assert_eq!(
        message(&wrong),
        "the state does not fit the optimizer: \"phase\" is F64, not U64; \"step\" cannot be 18446744073709551615; \
         \"stepper.steps\" has the sizes [1], not []; \"x\" is not expected"
    );
}

/// Two pieces of one name could not be told apart.
#[test]
fn two_pieces_of_one_name_are_not_saved() {
    struct Double;
    impl Stateful for Double {
        fn expression(&self) -> String {
            String::new()
        }
        fn visit_state(&mut self, visit: &mut dyn FnMut(&str, Memory<'_>)) {
            visit("a", Memory::Count(&mut 1));
            visit("a", Memory::Count(&mut 2));
        }
    }
    assert_eq!(
        state::save(&mut Double, 0).unwrap_err().to_string(),
        "the optimizer has two pieces of memory named \"a\""
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    /// Any byte may be another: an error, and nothing was written; or a state, and the optimizer goes on.
    #[test]
    fn changed_bytes_never_panic(changes in proptest::collection::vec((0.0..1.0f64, any::<u8>()), 1..6), cut in 0.0..1.2f64, which in 0usize..4) {
        let text = [
            "adam(lr=0.01) | ema(0.9)",
            "accumulate(2) | adam(lr=cosine(0.01)) | lookahead(2)",
            "rollback(2) | adam until 2 steps then loss_scale | sgd(momentum=0.9)",
            "{ weights: adam; biases: noise(0.1) | sgd } until 50% then adam | swa(start=2, every=2)",
        ][which];
        let mut saved = bytes(&mut after_three::<f32>(text, &[5, -3]));
        for (at, byte) in changes {
            let at = (at * saved.len() as f64) as usize;
            saved[at] = byte;
        }
        saved.truncate((cut * saved.len() as f64) as usize);
        let mut run = after_three::<f32>(text, &[5, -3]);
        let before = run.memory();
        if state::load(&mut *run.optimizer, &saved).is_err() {
            prop_assert_eq!(run.memory(), before);
        }
        (9..12).for_each(|seed| {
            run.step(&numbers(seed, 8));
        });
    }

    /// The same where only the numbers change, so that more of them are taken.
    #[test]
    fn changed_numbers_never_panic(changes in proptest::collection::vec((0.0..1.0f64, any::<u8>()), 1..20), which in 0usize..3) {
        let text = [
            "accumulate(2) | adam(lr=0.01) | ema(0.9)",
            "rollback(2) | adam until 2 steps then loss_scale | sgd(momentum=0.9)",
            "adam(lr=one_cycle(0.1)) | swa(start=2, every=2)",
        ][which];
        let mut saved = bytes(&mut after_three::<f32>(text, &[5, -3]));
        let start = 8 + u64::from_le_bytes(saved[..8].try_into().unwrap()) as usize;
        for (at, byte) in changes {
            let at = start + (at * (saved.len() - start) as f64) as usize;
            saved[at] = byte;
        }
        let mut run = after_three::<f32>(text, &[5, -3]);
        let before = run.memory();
        if state::load(&mut *run.optimizer, &saved).is_err() {
            prop_assert_eq!(run.memory(), before);
        }
        (9..12).for_each(|seed| {
            run.step(&numbers(seed, 8));
        });
    }
}
