//! What the tests share: a job with nothing decided, tables of the examples and from text.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use thalweg_core::Threads;
use thalweg_data::{BatchSize, ClassWeight, EncoderOptions, Part, ReadOptions, SplitBy, Table, read_bytes};
use thalweg_optim::Plan;
use thalweg_train::Observer;
use thalweg_train::job::{Job, Outcome, Prepared, TrainOptions};

/// Every row trains; nothing is penalised; only the number of epochs ends the run.
pub fn job(target: &str) -> Job {
    Job {
        data: PathBuf::from("memory.csv"),
        target: target.into(),
        read: ReadOptions::default(),
        learn: EncoderOptions::default(),
        task: None,
        class_weight: ClassWeight::None,
        test: Part::None,
        valid: Part::None,
        split: SplitBy::Shuffled,
        seed: 0,
        loss: None,
        intercept: true,
        l1: 0.0,
        l2: Some(0.0),
        plan: None,
        lr: None,
        schedule: None,
        batch: Some(BatchSize::Full),
        epochs: Some(10),
        tolerance: 0.0,
        loss_tolerance: 0.0,
        patience: None,
        metric: None,
        threads: Threads::serial(),
    }
}

/// A table from the text of a CSV file.
pub fn table(text: &str) -> Table {
    read_bytes("memory.csv", text.as_bytes(), &ReadOptions::default()).unwrap()
}

/// The text of `examples/data/<name>.csv`.
pub fn example(name: &str) -> String {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../examples/data/{name}.csv"));
    std::fs::read_to_string(file).unwrap()
}

/// One thread, no probes.
pub fn alone() -> TrainOptions {
    TrainOptions { probes: vec![], threads: Threads::serial() }
}

/// Trains on what was prepared, told to nobody.
pub fn train(prepared: &Prepared, plan: &Plan) -> Outcome {
    told(prepared, plan, &mut [])
}

/// The same, told to `observers`.
pub fn told(prepared: &Prepared, plan: &Plan, observers: &mut [&mut dyn Observer]) -> Outcome {
    prepared.train(plan, prepared.batch, &alone(), observers, &AtomicBool::new(false)).unwrap()
}

/// The same, with the objective evaluated after some steps.
pub fn probed(prepared: &Prepared, plan: &Plan, probes: &[u64]) -> Outcome {
    let options = TrainOptions { probes: probes.to_vec(), ..alone() };
    prepared.train(plan, prepared.batch, &options, &mut [], &AtomicBool::new(false)).unwrap()
}
