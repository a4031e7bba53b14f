//! The main job: from a table to a trained, scored model.
//!
//! [`Prepared::new`] reads, cuts and encodes the data and decides whatever was left open; [`Prepared::train`] runs one
//! optimizer on it. A comparison trains several on one preparation.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use thalweg_core::{Layout, Objective, Params, Penalty, Threads};
use thalweg_data::input::{self, Kind};
use thalweg_data::{
    BatchSize, Batches, ClassWeight, DataError, Dataset, Encoder, EncoderOptions, ImageEncoder, Part,
    ReadOptions, Split, SplitBy, SplitOptions, Table, Target, TargetError, Task, TaskKind,
};
use thalweg_models::linear::{Extremes, Linear, LinearError, Shape};
use thalweg_models::losses::{self, Loss};
use thalweg_models::network::ModelSpec;
use thalweg_models::saved;
use thalweg_optim::rules::Rate;
use thalweg_optim::{Horizon, Plan, Schedule, Setup};

use crate::decide::{
    BATCH_OF_ROWS, answer, batch_of, check_files, class_weights, loss_of, metric, network_rate, target_error,
    target_note, task_asked,
};
use crate::event::Observer;
use crate::fit::{FitError, FitOptions, Fitted, Task as FitTask, Valid, fit};
use crate::metrics::{Metric, Score};
use crate::model::{Form, Model};
use crate::network::Init;
use crate::observers::History;
use crate::score::Scored;
use crate::source::{self, ImageOptions, Source, Targets};
use crate::stop::Stop;
use crate::text::{self, Corpus, Scores};

/// Steps and passes that a run makes at least when nothing is said.
const LEAST_STEPS: u64 = 1000;
const LEAST_PASSES: u64 = 5;
/// Passes of a network at most when nothing is said.
const NETWORK_EPOCHS: u64 = 100;

/// What is asked for. `None` leaves a decision to [`Prepared::new`].
#[derive(Clone, Debug)]
pub struct Job {
    /// The table, a folder of images, or a file of images, of numbers or of text.
    pub data: PathBuf,
    /// The column to predict; for arrays, the file of their classes or numbers. Empty where nobody needs to say it: a folder of
    /// images has its classes' names, an array may have a file beside it, and a text has none.
    pub target: String,
    /// How the file is read.
    pub read: ReadOptions,
    /// How images are read.
    pub images: ImageOptions,
    /// What columns are used as.
    pub learn: EncoderOptions,
    /// Whether the target is classes or a number.
    pub task: Option<TaskKind>,
    /// How much each class weighs in training.
    pub class_weight: ClassWeight,
    /// Rows for the score.
    pub test: Part,
    /// Rows for early stopping and the best weights.
    pub valid: Part,
    /// How rows are cut.
    pub split: SplitBy,
    /// The seed of all random choices.
    pub seed: u64,
    /// The loss.
    pub loss: Option<Loss>,
    /// The share of a class that the loss spreads over all classes, in [0, 1).
    pub label_smoothing: f64,
    /// The layers of a network; none for a linear model.
    pub model: Option<ModelSpec>,
    /// The weights that a network starts from: a safetensors file with PyTorch's names, or a model that was saved.
    pub init: Option<PathBuf>,
    /// A pattern of a network's tensors that are not trained.
    pub freeze: Option<String>,
    /// Symbols of a sequence of text.
    pub context: Option<usize>,
    /// Whether a linear model has an intercept.
    pub intercept: bool,
    /// Strength of the l1 penalty.
    pub l1: f64,
    /// Strength of the l2 penalty.
    pub l2: Option<f64>,
    /// The optimizer; its rate may be open.
    pub plan: Option<Plan>,
    /// The learning rate, where the optimizer leaves it open.
    pub lr: Option<f64>,
    /// The schedule, where the optimizer leaves it open.
    pub schedule: Option<Schedule>,
    /// Rows in a batch.
    pub batch: Option<BatchSize>,
    /// Passes at most.
    pub epochs: Option<u64>,
    /// See [`FitOptions::tolerance`].
    pub tolerance: f64,
    /// See [`FitOptions::loss_tolerance`].
    pub loss_tolerance: f64,
    /// See [`FitOptions::patience`].
    pub patience: Option<u64>,
    /// The score.
    pub metric: Option<Metric>,
    /// Who works.
    pub threads: Threads,
}

/// Why a job could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The target of the training rows, where it differs from that of all rows.
    #[error("in the training rows: {0}")]
    Training(#[source] TargetError),
    /// The settings do not fit the data or each other.
    #[error("{0}")]
    Setting(String),
    /// A target that the loss is not made for.
    #[error("{}:{line}: target {target:?}: {what}", .file.display())]
    Target {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column.
        target: String,
        /// What is wrong.
        what: String,
    },
    /// Weights to start from that are another network's, or none.
    #[error("cannot start from {}: {what}", .file.display())]
    Init {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The model.
    #[error(transparent)]
    Linear(#[from] LinearError),
    /// The loop.
    #[error(transparent)]
    Fit(#[from] FitError),
}

/// Rows in their parts, and what made them.
pub(crate) struct Parts {
    pub encoder: Encoder,
    pub images: Option<ImageEncoder>,
    pub split: Split,
    pub train: Dataset<f64>,
    pub valid: Option<Dataset<f64>>,
    pub test: Option<Dataset<f64>>,
    pub loss: Loss,
}

/// Data and decisions, ready to train.
#[derive(Debug)]
pub struct Prepared {
    /// What was asked for, every decision filled in (the optimizer's rate excepted).
    pub job: Job,
    /// Tables to numbers, learnt on the training rows.
    pub encoder: Encoder,
    /// Images to numbers, where the rows are images; the encoder then has no columns.
    pub images: Option<ImageEncoder>,
    /// The text, where it is one; there are no columns and no rows then.
    pub text: Option<Corpus>,
    /// Which row is in which part.
    pub split: Split,
    /// The training rows.
    pub train: Dataset<f64>,
    /// The validation rows.
    pub valid: Option<Dataset<f64>>,
    /// The rows that give the score.
    pub test: Option<Dataset<f64>>,
    /// The loss.
    pub loss: Loss,
    /// The score.
    pub metric: Metric,
    /// The penalty.
    pub penalty: Penalty,
    /// Rows in a batch.
    pub batch: BatchSize,
    /// Passes at most.
    pub epochs: u64,
    /// What was inferred, decided and left out, for people to read.
    pub notes: Vec<String>,
    /// The answer that needs no features: shares of the classes, or the mean.
    pub answer: Vec<f64>,
    /// How much each class weighs in training, where rows do not weigh that much already: label smoothing gives each class its
    /// share of a row, with the class's own weight.
    pub class_weights: Option<Vec<f64>>,
    /// What a network starts from, where it is not its own start.
    pub(crate) init: Option<Init>,
}

/// A run on prepared data.
#[derive(Debug)]
pub struct Outcome {
    /// The model: the one that was scored.
    pub model: Model,
    /// How the loop ended.
    pub fitted: Fitted<f64>,
    /// What it said on the way.
    pub history: History,
    /// The optimizer, every value filled in.
    pub optimizer: String,
    /// The learning rate of the first step.
    pub lr: f64,
    /// The score on the test rows.
    pub test: Option<Scored>,
    /// The mean loss on the test rows.
    pub test_loss: Option<f64>,
    /// The score on the validation rows.
    pub valid: Option<Scored>,
    /// The score on the training rows.
    pub train: Score,
}

/// How one run is made.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// See [`FitOptions::probes`].
    pub probes: Vec<u64>,
    /// Who works on it.
    pub threads: Threads,
    /// Passes at most, where they are not those of the preparation.
    pub epochs: Option<u64>,
}

impl Outcome {
    /// The score on the test rows, or on the training rows where there are none.
    pub fn shown_score(&self) -> f64 {
        self.test.as_ref().map_or(self.train.value, |s| s.score.value)
    }

    /// Whether there is a model to keep: a diverged run has one only if it was better than the start at some time.
    pub fn usable(&self) -> bool {
        self.fitted.diverged.is_none_or(|d| d.has_best)
    }
}

impl Prepared {
    /// Reads, cuts and encodes the data, and decides what was left open.
    ///
    /// # Errors
    /// [`JobError`]: the data, or settings that do not fit it.
    pub fn new(job: Job) -> Result<Self, JobError> {
        if text::is_asked(&job) {
            return text::prepare(job);
        }
        if job.context.is_some() {
            return Err(JobError::Setting("--context is for text".into()));
        }
        check_files(&job)?;
        let targets = if job.target.is_empty() { Targets::Beside } else { Targets::In(&job.target) };
        let (source, notes) = source::read(&job.data, targets, &job.read, &job.images, None)?;
        match source {
            Source::Images(images) => crate::images::prepare(job, images, notes),
            Source::Table(table) if input::kind(&job.data) == Kind::Array => {
                let mut prepared = Self::of_table(Job { target: Table::TARGET.into(), ..job }, &table)?;
                prepared.notes.splice(1..1, notes);
                Ok(prepared)
            }
            Source::Table(table) => Self::of_table(job, &table),
        }
    }

    /// [`Prepared::new`] on a table that has been read.
    ///
    /// # Errors
    /// As there.
    pub fn of_table(job: Job, table: &Table) -> Result<Self, JobError> {
        check_files(&job)?;
        let mut notes = Vec::new();
        let weights = job.learn.weight.as_deref().map(|w| thalweg_data::weights(table, w)).transpose();
        let weights = weights.map_err(DataError::from)?;
        let asked = task_asked(&job)?;
        let target = Target::infer(table, &job.target, asked, weights.as_deref());
        let target = target.map_err(|error| target_error(&job, error))?;
        let options = SplitOptions {
            test: job.test.fraction(),
            valid: job.valid.fraction(),
            by: job.split.clone(),
            seed: job.seed,
        };
        let classes = (!target.classes.is_empty()).then_some(&target.classes[..]);
        let mut split = Split::new(table, &target.rows, classes, &options).map_err(DataError::from)?;
        if job.test == Part::None {
            // A split column may name test rows all the same: they are used for nothing then.
            split.test.clear();
        }
        // Rows that are drawn class by class give each class to training. Of others, only those that train may say what the
        // target is.
        let target = match &job.split {
            SplitBy::Shuffled => target,
            SplitBy::Ordered | SplitBy::Column(_) => {
                let mut heavy = vec![0.0; table.rows()];
                split.train.iter().for_each(|&row| heavy[row as usize] = 1.0);
                let seen =
                    Target::infer(table, &job.target, asked, Some(&heavy)).map_err(JobError::Training)?;
                Target { rows: target.rows, missing: target.missing, weightless: target.weightless, ..seen }
            }
        };
        notes.push(target_note(&job, &target));

        let mut learn = job.learn.clone();
        if let SplitBy::Column(column) = &job.split {
            learn.ignore.push(column.clone());
        }
        let (mut encoder, said) =
            Encoder::learn(table, &split.train, Some(&target), &learn).map_err(DataError::from)?;
        notes.extend(said.iter().map(ToString::to_string));
        let classes = match &target.task {
            Task::Classes(classes) => classes.clone(),
            Task::Number => vec![],
        };
        let loss = loss_of(&job, classes.len(), &job.target)?;
        if let (losses::Task::Count, Some(code)) = (loss.task(), &mut encoder.target) {
            // A count keeps its own units: its log is what is linear.
            (code.center, code.scale) = (0.0, 1.0);
        }
        let encode = |table: &Table, rows: &[u32]| -> Result<Dataset<f64>, JobError> {
            let mut data: Dataset<f64> = encoder.encode(table, rows, true).map_err(DataError::from)?;
            if let Err(error) = loss.check_targets(loss.outputs(classes.len()), &data.target) {
                return Err(JobError::Target {
                    file: table.source().into(),
                    line: table.line(data.rows[error.row]),
                    target: job.target.clone(),
                    what: error.to_string(),
                });
            }
            if let (Task::Number, Some(code)) = (&target.task, &encoder.target) {
                data.standardise_target(code);
            }
            Ok(data)
        };
        let part = |part: &Part, rows: &[u32]| -> Result<Option<Dataset<f64>>, JobError> {
            match part {
                Part::File(file) => {
                    let options = ReadOptions { text: encoder.text_columns(), ..job.read.clone() };
                    let other = match source::read(file, Targets::Beside, &options, &job.images, None)?.0 {
                        Source::Table(other) => other,
                        Source::Images(_) => {
                            let (file, data) = (file.display(), job.data.display());
                            let message = format!("{file} holds images, and {data} is a table");
                            return Err(JobError::Setting(message));
                        }
                    };
                    let (rows, _) = encoder.rows_with_target(&other).map_err(DataError::from)?;
                    encode(&other, &rows).map(Some)
                }
                _ if rows.is_empty() => Ok(None),
                _ => encode(table, rows).map(Some),
            }
        };
        let train = encode(table, &split.train)?;
        let valid = part(&job.valid, &split.valid)?;
        let test = part(&job.test, &split.test)?;
        let parts = Parts { encoder, images: None, split, train, valid, test, loss };
        Self::of_parts(job, parts, notes)
    }

    /// Decides the rest.
    pub(crate) fn of_parts(job: Job, parts: Parts, mut notes: Vec<String>) -> Result<Self, JobError> {
        let Parts { encoder, images, split, mut train, valid, test, loss } = parts;
        let classes = crate::model::classes_of(&encoder).to_vec();
        let answer = answer(&train, &encoder, classes.len());
        // How many rows there are when weight w is the row w times; weights that are only relative do not make them few.
        let size = train.weight.as_ref().map_or(0.0, |w| w.iter().sum::<f64>()).max(train.len() as f64);
        let target = encoder.target.as_ref().map_or("", |t| &t.column).to_string();
        let mut class_weights = class_weights(&train, &classes, &job.class_weight)?;
        if job.label_smoothing == 0.0
            && let Some(factors) = class_weights.take()
        {
            train.weigh_classes(&factors);
        }
        let metric = metric(&job, &classes, &target)?;
        let default_l2 = if classes.is_empty() || job.model.is_some() { 0.0 } else { 1.0 / size };
        let penalty = Penalty { l1: job.l1, l2: job.l2.unwrap_or(default_l2) };
        let rows = train.len();
        let batch = batch_of(&job, rows, &mut notes)?;
        let per_epoch = rows.div_ceil(batch.of(rows)) as u64;
        let epochs = job.epochs.unwrap_or_else(|| match &job.model {
            Some(_) => NETWORK_EPOCHS,
            None => LEAST_PASSES.max(LEAST_STEPS.div_ceil(per_epoch)),
        });
        let mut prepared = Self {
            encoder,
            images,
            text: None,
            split,
            train,
            valid,
            test,
            loss,
            metric,
            penalty,
            batch,
            epochs,
            notes,
            answer,
            class_weights,
            init: None,
            job,
        };
        // A layer that does not fit, or weights that do not, are told before anything is written.
        let network = prepared.network(&Threads::serial())?;
        prepared.init = match (&prepared.job.init, &network) {
            (Some(file), Some(network)) => Some(Init::read(network, file)?),
            (Some(_), None) => {
                return Err(JobError::Setting("--init is for networks, and the model is linear".into()));
            }
            (None, _) => None,
        };
        Ok(prepared)
    }

    /// The column that is predicted, or what the classes of images are called.
    pub fn target(&self) -> &str {
        self.encoder.target.as_ref().map_or("", |t| &t.column)
    }

    /// The names of the classes; empty for numbers.
    pub fn classes(&self) -> &[String] {
        crate::model::classes_of(&self.encoder)
    }

    /// The first lines that a person should see.
    pub fn decisions(&self) -> &[String] {
        &self.notes
    }

    /// The rows of an epoch: of text, its sequences.
    pub fn rows(&self) -> usize {
        self.text.as_ref().map_or(self.train.len(), |text| text.sequences)
    }

    /// The steps of a whole run at a batch size.
    pub fn steps(&self, batch: BatchSize) -> u64 {
        self.steps_of(self.epochs, batch)
    }

    /// The steps of so many passes.
    pub(crate) fn steps_of(&self, epochs: u64, batch: BatchSize) -> u64 {
        epochs * self.rows().div_ceil(batch.of(self.rows())) as u64
    }

    /// The batch size of a member of a comparison.
    pub fn batch_of(&self, member: &crate::compare::table::Member) -> BatchSize {
        let needs = member.plan.needs();
        match member.batch {
            Some(BatchSize::Rows(n)) if n >= self.rows() => BatchSize::Full,
            Some(batch) => batch,
            None if needs.full_batch => BatchSize::Full,
            None if needs.rows && self.job.batch.is_none() && self.rows() > BATCH_OF_ROWS => {
                BatchSize::Rows(BATCH_OF_ROWS)
            }
            None => self.batch,
        }
    }

    /// The model without training.
    fn linear(&self, threads: &Threads) -> Linear<f64> {
        let shape = Shape {
            dense: self.encoder.width(),
            one_hot: self.encoder.levels(),
            outputs: self.loss.outputs(self.classes().len()),
            intercept: self.job.intercept,
        };
        Linear::new(shape, self.loss, threads.clone())
    }

    /// Where a run starts: zero, but for counts the intercept that gives their mean.
    fn start(&self, linear: &Linear<f64>) -> Params<f64> {
        let mut theta = Params::zeros(Objective::<f64>::layout(linear));
        if self.loss.task() == losses::Task::Count && self.job.intercept && self.answer[0] > 0.0 {
            theta.tensor_mut("bias")[0] = libm::log(self.answer[0]);
        }
        theta
    }

    /// The largest and smallest curvature of the objective: over all θ, but for counts at the start.
    ///
    /// # Errors
    /// [`LinearError::NotSmooth`] for losses with a kink.
    pub fn curvature(&self) -> Result<Extremes, LinearError> {
        let linear = self.linear(&self.job.threads);
        linear.extremes(&self.start(&linear), &self.train.batch(), self.penalty, self.job.seed)
    }

    /// What takes L's place in rates for rules without noise at the optimum: the expected smoothness of a batch of b of the N rows,
    /// `N(b−1)/(b(N−1))·L + (N−b)/(b(N−1))·max Lᵢ` with Lᵢ the bound of a row's curvature (Gower et al. 2019, proposition 3.8,
    /// <https://arxiv.org/abs/1901.09401>).
    fn noisy_curvature(&self) -> Result<f64, JobError> {
        let largest = self.curvature()?.largest;
        let data = self.train.batch();
        let (n, b) = (data.len() as f64, self.batch.of(data.len()) as f64);
        if n <= 1.0 {
            return Ok(largest);
        }
        let total: f64 = (0..data.len()).map(|i| data.weight_at(i)).sum();
        // Counts have no bound: the curvature at the start is their mean.
        let bound = self.loss.entry().bound.unwrap_or(self.answer[0]);
        let one = f64::from(u8::from(self.job.intercept)) + data.code_width as f64;
        let of = |i: usize| {
            let squares: f64 = data.dense_row(i).iter().map(|x| x * x).sum();
            n * data.weight_at(i) / total * bound * (squares + one)
        };
        let row = (0..data.len()).map(of).fold(0.0, f64::max) + self.penalty.l2;
        Ok((n * (b - 1.0) * largest + (n - b) * row) / (b * (n - 1.0)))
    }

    /// The optimizer with its rate and schedule filled in, and what to say about them. What nobody gives is 1/L for gradient
    /// descent and its forms (1/(2L) for counts, whose curvature grows), 1/(3L) of a batch for SVRG and SAGA, 0.5 for AdaGrad and its
    /// kin, the library's default where the rule finds its step itself; for the others 50 times that default, which is made for
    /// networks (0.05 for Adam), with a cosine to 0 unless they need no schedule. Networks get the library's defaults, and 0.05
    /// for plain descent; those of text `clip(1) | adamw`, up to 0.003 and down to 0 by a cosine, where no optimizer is named.
    ///
    /// # Errors
    /// A loss with a kink has no 1/L.
    pub fn plan(&self) -> Result<(Plan, Vec<String>), JobError> {
        let network = self.job.model.is_some();
        let curve = |curve: &str| Schedule::parse(curve).map_err(|e| JobError::Setting(e.to_string()));
        let cosine = || curve("cosine");
        let by_text = self.text.is_some() && self.job.plan.is_none();
        let default = match (by_text, network) {
            (true, _) => text::OPTIMIZER,
            (false, true) => "adamw",
            (false, false) => "adam",
        };
        let mut plan = match &self.job.plan {
            Some(plan) => plan.clone(),
            None => Plan::parse(default).map_err(|e| JobError::Setting(e.to_string()))?,
        };
        let mut notes = Vec::new();
        if let Some(schedule) = &self.job.schedule {
            *plan.lr_mut() = Some(schedule.clone());
        } else if by_text {
            plan.fill_schedule(&curve(text::SCHEDULE)?);
        } else if !network
            && plan.lr().is_none()
            && plan.is_single()
            && (self.job.plan.is_none() || self.job.lr.is_none())
            && !plan.finds_rate()
            && plan.entry().falls
        {
            plan.fill_schedule(&cosine()?);
        }
        if let Some(lr) = self.job.lr {
            plan.fill_lr(lr);
        }
        if plan.lr_is_open() && plan.is_single() {
            let lr = match plan.entry().rate {
                _ if by_text => text::RATE,
                _ if network => network_rate(&plan),
                _ if plan.finds_rate() => plan.entry().lr,
                Rate::RowCurvature => {
                    let l = self.noisy_curvature()?;
                    notes.push(format!(
                        "learning rate 1/(3L) = {}: L = {} bounds the curvature of batches of {} rows",
                        short(1.0 / (3.0 * l)),
                        short(l),
                        self.batch.of(self.train.len())
                    ));
                    1.0 / (3.0 * l)
                }
                Rate::Curvature => {
                    let l = self.curvature()?.largest;
                    let count = self.loss.task() == losses::Task::Count;
                    let lr = if count { 0.5 / l } else { 1.0 / l };
                    let (what, share) = if count { ("at the start, ", "1/(2L)") } else { ("", "1/L") };
                    notes.push(format!(
                        "learning rate {share} = {}: {what}the largest curvature of the objective is L = {}",
                        short(lr),
                        short(l)
                    ));
                    lr
                }
                Rate::Number(lr) => lr,
                Rate::Scaled if plan.entry().lr < 5e-3 => 50.0 * plan.entry().lr,
                Rate::Scaled => plan.entry().lr,
            };
            plan.fill_lr(lr);
        }
        if plan.is_plain_descent()
            && let BatchSize::Rows(n) = self.batch
        {
            notes.push(format!("gd with batches of {n} rows is stochastic gradient descent"));
        }
        let layout = match self.network(&Threads::serial())? {
            Some(network) => std::sync::Arc::clone(Objective::layout(&network)),
            None => std::sync::Arc::clone(Objective::<f64>::layout(&self.linear(&Threads::serial()))),
        };
        let frozen = &layout.tensors()[layout.trained().len()..];
        if !frozen.is_empty() {
            let names: Vec<&str> = frozen.iter().map(|t| t.name.as_str()).collect();
            let count: usize = frozen.iter().map(|t| t.len()).sum();
            notes.push(format!("frozen: {} ({count} parameters)", names.join(", ")));
        }
        let groups = plan.groups(&layout).map_err(|e| JobError::Setting(e.to_string()))?;
        let told = groups.len() > 1 || groups.iter().any(|group| group.name != "all");
        for group in groups.iter().filter(|_| told) {
            let until = group.until.map(|until| format!(", until {until}")).unwrap_or_default();
            notes.push(format!(
                "group {}{until}: {} ({} parameters) by {}",
                group.name,
                group.tensors.join(", "),
                group.parameters,
                group.chain
            ));
        }
        Ok((plan, notes))
    }

    /// Trains one optimizer from the common start, and scores it.
    ///
    /// # Errors
    /// A step or an observer that fails; divergence and interruption are results.
    pub fn train(
        &self,
        plan: &Plan,
        batch: BatchSize,
        options: &TrainOptions,
        observers: &mut [&mut dyn Observer],
        interrupt: &AtomicBool,
    ) -> Result<Outcome, JobError> {
        if let Some(network) = self.network_under(self.class_weights.clone(), &options.threads)? {
            return self.train_network(network, plan, batch, options, observers, interrupt);
        }
        let linear = self.linear(&options.threads);
        let layout: &std::sync::Arc<Layout> = Objective::<f64>::layout(&linear);
        let rows = self.train.len();
        let mut batches = Batches::new(rows, batch.of(rows), self.job.seed, true);
        let fit_options = self.fit_options(options);
        let steps = self.steps_of(fit_options.epochs, batch);
        let horizon = Horizon { steps, per_epoch: batches.per_epoch() as u64 };
        let setup =
            Setup { horizon, threads: options.threads.clone(), decay_biases: false, ..Setup::default() };
        let mut optimizer =
            plan.build::<f64>(layout, &setup).map_err(|e| JobError::Setting(e.to_string()))?;
        let expression = optimizer.expression();
        let as_model = |params: Params<f64>| Model {
            encoder: self.encoder.clone(),
            images: None,
            text: None,
            form: Form::Linear(self.linear(&options.threads)),
            params,
            training: saved::Training::default(),
            score: None,
        };
        let judge = std::cell::RefCell::new(as_model(self.start(&linear)));
        let score = |theta: &Params<f64>| {
            let mut model = judge.borrow_mut();
            model.params.copy_from(theta);
            self.valid.as_ref().map_or(f64::NAN, |valid| model.judge(valid).score(self.metric).value)
        };
        let task = FitTask {
            objective: &linear,
            train: self.train.batch(),
            valid: self.valid.as_ref().map(|valid| Valid {
                objective: &linear,
                batch: valid.batch(),
                score: &score,
            }),
            interrupt,
            kept: None,
        };
        let mut history = History::default();
        let mut listeners: Vec<&mut dyn Observer> = vec![&mut history];
        listeners.extend(observers.iter_mut().map(|o| &mut **o as &mut dyn Observer));
        let start = self.start(&linear);
        let fitted = fit(&task, optimizer.as_mut(), start, &mut batches, &fit_options, &mut listeners)?;
        drop(listeners);

        let model = as_model(fitted.params.clone());
        Ok(self.outcome(model, fitted, history, expression))
    }

    /// How long and how a run goes.
    pub(crate) fn fit_options(&self, options: &TrainOptions) -> FitOptions {
        FitOptions {
            epochs: options.epochs.unwrap_or(self.epochs),
            tolerance: self.job.tolerance,
            loss_tolerance: self.job.loss_tolerance,
            patience: self.job.patience,
            penalty: self.penalty,
            probes: options.probes.clone(),
        }
    }

    /// A trained model, described and scored.
    pub(crate) fn outcome(
        &self,
        mut model: Model,
        fitted: Fitted<f64>,
        history: History,
        expression: String,
    ) -> Outcome {
        model.training = saved::Training {
            rows: self.text.as_ref().map_or(self.train.len(), |text| text.train.symbols().len()) as u64,
            l1: self.penalty.l1,
            l2: self.penalty.l2,
            seed: self.job.seed,
            optimizer: expression.clone(),
            epochs: fitted.epochs,
            steps: fitted.steps,
            stop: fitted.stop.word().into(),
            train_loss: Some(fitted.train_loss).filter(|x| x.is_finite()),
            valid_loss: fitted.valid_loss.filter(|x| x.is_finite()),
        };
        let scored = |data: &Dataset<f64>| Scored::new(self.metric, model.judge(data), &self.answer);
        let of_rows = || Scores {
            train: model.judge(&self.train).score(self.metric),
            valid: self.valid.as_ref().map(scored),
            test: self.test.as_ref().map(scored),
            test_loss: self.test.as_ref().map(|data| model.mean_loss(data)),
        };
        let of_text = self.text.as_ref().and_then(|text| text.scores(&model));
        let Scores { train, valid, test, test_loss } = of_text.unwrap_or_else(of_rows);
        model.score = test.as_ref().map(|s| saved::Score {
            metric: self.metric.name().into(),
            value: s.score.value,
            interval: s.score.interval.map(|(a, b)| [a, b]),
            baseline: s.baseline.is_finite().then_some(s.baseline),
            rows: s.rows as u64,
        });
        model.score = model.score.filter(|s| s.value.is_finite());
        let lr = history.steps.first().map_or(f64::NAN, |s| s.lr);
        Outcome { model, fitted, history, optimizer: expression, lr, test, test_loss, valid, train }
    }

    /// What a diverged run says: the step, the columns with the largest scale, a rate that converges.
    pub fn explain_divergence(&self, outcome: &Outcome) -> String {
        let step = outcome.fitted.diverged.map_or(outcome.fitted.steps, |d| d.step);
        let lr = outcome.history.steps.last().map_or(outcome.lr, |s| s.lr);
        let mut text = format!("diverged at step {step} with the learning rate {}", short(lr));
        let mut features = self.encoder.features();
        features.sort_by(|a, b| b.scale.total_cmp(&a.scale));
        let scale = |f: &thalweg_data::Feature| format!("{} (standard deviation {})", f.name, short(f.scale));
        let largest: Vec<String> = features.iter().filter(|f| f.scale != 1.0).take(3).map(scale).collect();
        if !largest.is_empty() {
            text += &format!("; columns with the largest scale: {}", largest.join(", "));
        }
        let plan = self.job.plan.as_ref();
        let descent =
            plan.is_some_and(|p| p.entry().name == "sgd") && self.loss.task() != losses::Task::Count;
        let linear = self.job.model.is_none();
        let calmer = match linear.then(|| self.curvature()) {
            Some(Ok(e)) if descent => {
                text += &format!("; gradient descent converges below 2/L = {}", short(2.0 / e.largest));
                let safe = 1.0 / e.largest;
                // A mini-batch may be steeper than all rows together.
                if self.batch == BatchSize::Full && safe < lr { safe } else { safe.min(lr / 10.0) }
            }
            _ => (lr / 10.0).min(if linear { 0.05 } else { 1e-3 }),
        };
        let calmer = typed(calmer);
        // Where the rate stands already, a second one would be refused.
        let in_plan = plan.and_then(|p| p.lr()).is_some_and(|s| s.lr.is_some());
        let in_schedule = self.job.schedule.as_ref().is_some_and(|s| s.lr.is_some());
        text += &match (in_plan, in_schedule) {
            (true, _) => format!("; try lr={calmer} in --optimizer"),
            (_, true) => format!("; try lr={calmer} in --schedule"),
            _ => format!("; try --lr {calmer}"),
        };
        text
    }
}

/// Three significant digits.
fn short(x: f64) -> String {
    crate::report::human(x)
}

/// The same, as it is typed: without the signs that make numbers pleasant to read.
fn typed(x: f64) -> String {
    thalweg_core::expr::number(format!("{x:.2e}").parse().unwrap_or(x))
}

/// The reason of a stop that a person may want to act on.
pub fn advice(stop: Stop, tolerance: f64) -> Option<String> {
    (stop == Stop::Epochs && tolerance > 0.0).then(|| {
        format!("the gradient is still above the tolerance {tolerance}: more --epochs bring the loss lower")
    })
}
