//! What the tests share: a job with nothing decided, tables of the examples and from text.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Grads, Objective, Threads};
use thalweg_data::{BatchSize, ClassWeight, EncoderOptions, Part, ReadOptions, SplitBy, Table, read_bytes};
use thalweg_optim::Plan;
use thalweg_train::job::{Job, Outcome, Prepared, TrainOptions};
use thalweg_train::model::Model;
use thalweg_train::{EpochRecord, Event, Observer, StepRecord, Stop};

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
        model: None,
        freeze: None,
        context: None,
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

/// A table of `rows` rows: numbers `a` and `b`, a category `kind`, a number `y` that depends on them with some noise, the
/// same as two classes `large`, and weights `w` of 0, ½, 1, 1½.
pub fn noisy(rows: usize, seed: u64) -> String {
    let mut stream = Stream::new(seed, Purpose::Data, 0);
    let mut text = String::from("a,b,kind,y,large,w\n");
    for i in 0..rows {
        let (a, b) = (3.0 + 2.0 * stream.normal(), 100.0 * stream.normal());
        let kind = stream.below(3);
        let y = 1.0 + 0.5 * a - 0.01 * b + f64::from(kind) + stream.normal();
        let large = if y + stream.normal() > 3.0 { "yes" } else { "no" };
        let (kind, w) = (["red", "green", "blue"][kind as usize], (i % 4) as f64 * 0.5);
        text += &format!("{a},{b},{kind},{y},{large},{w}\n");
    }
    text
}

/// [`noisy`] ready to predict `target` from `a`, `b` and `kind`.
pub fn prepared(rows: usize, job: Job) -> Prepared {
    let mut job = job;
    job.learn.ignore =
        ["y", "large", "w"].map(String::from).into_iter().filter(|c| *c != job.target).collect();
    Prepared::of_table(job, &table(&noisy(rows, 1))).unwrap()
}

/// The optimizer of an expression.
pub fn plan(expression: &str) -> Plan {
    Plan::parse(expression).unwrap()
}

/// The bits of all parameters.
pub fn bits(outcome: &Outcome) -> Vec<u64> {
    outcome.model.params.values().map(f64::to_bits).collect()
}

/// The objective on all training rows, penalty included, and its largest slope.
pub fn objective(prepared: &Prepared, outcome: &Outcome) -> (f64, f64) {
    let Model { params, .. } = &outcome.model;
    let linear = outcome.model.linear().unwrap();
    let mut grads = Grads::zeros(params.layout());
    let total = linear.gradient(params, &prepared.train.batch(), &mut grads);
    (total.mean() + prepared.penalty.value(params), prepared.penalty.stationarity(params, &grads))
}

/// Remembers what it is told, and calls `then` after each step.
pub struct Recorder<'a> {
    pub steps: Vec<StepRecord>,
    pub epochs: Vec<EpochRecord>,
    pub stop: Option<Stop>,
    pub then: Box<dyn FnMut(u64) -> std::io::Result<()> + 'a>,
}

impl<'a> Recorder<'a> {
    pub fn new(then: impl FnMut(u64) -> std::io::Result<()> + 'a) -> Self {
        Self { steps: vec![], epochs: vec![], stop: None, then: Box::new(then) }
    }
}

impl Observer for Recorder<'_> {
    fn event(&mut self, event: &Event<'_>) -> std::io::Result<()> {
        match event {
            Event::Step(step) => {
                self.steps.push(**step);
                (self.then)(step.step)?;
            }
            Event::Epoch(epoch) => self.epochs.push(**epoch),
            Event::End { stop, .. } => self.stop = Some(*stop),
            Event::Start { .. } | Event::Probe { .. } => {}
        }
        Ok(())
    }
}
