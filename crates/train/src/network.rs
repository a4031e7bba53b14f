//! Training networks: the job's way with `--model`.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Batch, Layout, Objective, Params, Threads};
use thalweg_data::{BatchSize, Batches, Code, DataError, Dataset, Encoder, ImageEncoder};
use thalweg_models::losses;
use thalweg_models::network::{Input, Network, NetworkError, Output};
use thalweg_models::saved::{self, Parameters};
use thalweg_optim::{Horizon, Plan, Setup};

use crate::event::Observer;
use crate::fit::{Fitted, Kept, Task, Valid, fit};
use crate::job::{JobError, Outcome, Prepared, TrainOptions};
use crate::model::{Form, Model, network_responses};
use crate::observers::History;
use crate::text::Stretch;

/// Parameters of a network at most: 8 GiB, of which training takes several times as much.
const MOST_PARAMETERS: usize = 1 << 31;

/// What a network takes of the rows of an encoder: numbers, and columns of categories.
pub(crate) fn table_input(encoder: &Encoder) -> Input {
    let categories = encoder.columns.iter().filter(|c| matches!(c.code, Code::Category { .. }));
    Input::Table { numbers: encoder.width(), levels: categories.map(|c| c.code.levels()).collect() }
}

/// What a network takes of images.
pub(crate) fn image_input(images: &ImageEncoder) -> Input {
    Input::Image { channels: images.channels, height: images.height, width: images.width }
}

/// The network's own statistics: as they were when its weights were best, and those of averaged weights.
struct Statistics<'a> {
    network: &'a Network<f32>,
    best: RefCell<Params<f32>>,
    train: Batch<'a, f32>,
    /// The training rows once, in an order of no meaning, and how many make a batch.
    order: Vec<u32>,
    batch: usize,
    /// Those of the trained weights, while those of averages stand in for them.
    running: RefCell<Option<Params<f32>>>,
}

impl<'a> Statistics<'a> {
    fn new(network: &'a Network<f32>, train: Batch<'a, f32>, batch: usize, seed: u64) -> Self {
        let mut order = train.index.map_or_else(|| (0..train.len() as u32).collect(), <[u32]>::to_vec);
        Stream::new(seed, Purpose::Shuffle, u64::MAX).shuffle(&mut order);
        // Batches of about one size: each counts the same.
        let batch = train.len().div_ceil(train.len().div_ceil(batch.max(1)).max(1)).max(1);
        let best = RefCell::new(network.statistics());
        Self { network, best, train, order, batch, running: RefCell::new(None) }
    }
}

impl Kept<f32> for Statistics<'_> {
    fn keep(&self) {
        *self.best.borrow_mut() = self.network.statistics();
    }
    fn restore(&self) {
        self.network.set_statistics(&self.best.borrow());
    }
    fn become_those_of(&self, weights: &Params<f32>) {
        if self.best.borrow().flat().is_empty() {
            return;
        }
        *self.running.borrow_mut() = Some(self.network.statistics());
        let batches = self.order.chunks(self.batch).map(|rows| self.train.rows(rows));
        self.network.set_statistics(&self.network.statistics_of(weights, batches));
    }
    fn resume(&self) {
        if let Some(running) = self.running.take() {
            self.network.set_statistics(&running);
        }
    }
}

/// The same numbers in f64.
fn widened(params: Params<f32>) -> Params<f64> {
    Parameters::F32(params).to_f64()
}

impl Prepared {
    /// The network that the job asks for, if it asks for one.
    ///
    /// # Errors
    /// Layers that do not fit the data, or a size that no memory holds.
    pub fn network(&self, threads: &Threads) -> Result<Option<Network<f32>>, JobError> {
        let Some(spec) = &self.job.model else {
            return match &self.job.freeze {
                None => Ok(None),
                Some(pattern) => Err(JobError::Setting(format!(
                    "--freeze {pattern:?} is for a network, and the model is linear"
                ))),
            };
        };
        let input = match (&self.images, &self.text) {
            (Some(images), _) => image_input(images),
            (None, Some(text)) => text.input(),
            (None, None) => table_input(&self.encoder),
        };
        let output = match &self.text {
            Some(_) => Output::NextToken,
            None => Output::Row(self.loss.outputs(self.classes().len())),
        };
        let mut network = Network::new(spec, input, output, self.loss, self.job.seed).map_err(at_data)?;
        if let Some(pattern) = &self.job.freeze {
            network = network.freeze(pattern).map_err(at_data)?;
        }
        let parameters = parameters(network.layout());
        if parameters > MOST_PARAMETERS {
            return Err(JobError::Setting(format!(
                "{spec} has {parameters} parameters here; at most {MOST_PARAMETERS} can be trained"
            )));
        }
        Ok(Some(network.with_threads(threads.clone())))
    }

    /// Where a network starts: its own start, but for counts with the last bias that gives their mean.
    fn network_start(&self, network: &Network<f32>) -> Params<f32> {
        let mut theta = network.init();
        if self.loss.task() == losses::Task::Count
            && self.answer[0] > 0.0
            && let Some(last) = network.output_bias()
        {
            theta.flat_mut()[last.range()].fill(libm::log(self.answer[0]) as f32);
        }
        theta
    }

    /// Trains a network: [`Prepared::train`] in f32, with what batch norm keeps.
    pub(crate) fn train_network(
        &self,
        network: Network<f32>,
        plan: &Plan,
        batch: BatchSize,
        options: &TrainOptions,
        observers: &mut [&mut dyn Observer],
        interrupt: &AtomicBool,
    ) -> Result<Outcome, JobError> {
        let train: Dataset<f32> = self.train.cast();
        let valid: Option<Dataset<f32>> = self.valid.as_ref().map(Dataset::cast);
        let (rows, text) = (self.rows(), self.text.as_ref());
        let mut batches = match text {
            Some(text) => text.batches(batch.of(rows), self.job.seed).map_err(DataError::from)?,
            None => Batches::new(rows, batch.of(rows), self.job.seed, true),
        };
        let horizon = Horizon { steps: self.steps(batch), per_epoch: batches.per_epoch() as u64 };
        let setup =
            Setup { horizon, threads: options.threads.clone(), decay_biases: false, ..Setup::default() };
        let mut optimizer =
            plan.build::<f32>(network.layout(), &setup).map_err(|e| JobError::Setting(e.to_string()))?;
        let expression = optimizer.expression();
        let foreseen = text.and_then(|text| text.valid.as_ref());
        let score = |theta: &Params<f32>| match (&self.valid, &valid) {
            _ if foreseen.is_some() => foreseen.map_or(f64::NAN, |valid| valid.score(&network, theta).value),
            (Some(own), Some(single)) => {
                let responses = network_responses(&network, theta, single, &self.encoder);
                crate::model::judged(&self.encoder, responses, own).score(self.metric).value
            }
            _ => f64::NAN,
        };
        let all = text.map_or_else(|| train.batch(), |text| text.train.batch());
        let kept = Statistics::new(&network, all, batch.of(rows), self.job.seed);
        let task = Task {
            objective: &network,
            train: all,
            valid: (foreseen.map(Stretch::batch))
                .or_else(|| valid.as_ref().map(Dataset::batch))
                .map(|batch| Valid { batch, score: &score }),
            interrupt,
            kept: Some(&kept),
        };
        let mut history = History::default();
        let mut listeners: Vec<&mut dyn Observer> = vec![&mut history];
        listeners.extend(observers.iter_mut().map(|o| &mut **o as &mut dyn Observer));
        let start = self.network_start(&network);
        let options = self.fit_options(options);
        let fitted = fit(&task, optimizer.as_mut(), start, &mut batches, &options, &mut listeners)?;
        drop(listeners);
        let fitted = Fitted {
            params: widened(fitted.params),
            stop: fitted.stop,
            epochs: fitted.epochs,
            steps: fitted.steps,
            skipped: fitted.skipped,
            seconds: fitted.seconds,
            best_epoch: fitted.best_epoch,
            train_loss: fitted.train_loss,
            valid_loss: fitted.valid_loss,
            diverged: fitted.diverged,
        };
        let model = Model {
            encoder: self.encoder.clone(),
            images: self.images.clone(),
            text: text.map(|text| text.vocabulary.clone()),
            form: Form::Network(Box::new(network)),
            params: fitted.params.clone(),
            training: saved::Training::default(),
            score: None,
        };
        Ok(self.outcome(model, fitted, history, expression))
    }
}

/// How many numbers a layout has, padding left out.
pub(crate) fn parameters(layout: &Arc<Layout>) -> usize {
    layout.tensors().iter().map(|t| t.range().len()).sum()
}

/// A network's refusal, as one of the settings.
fn at_data(error: NetworkError) -> JobError {
    JobError::Setting(error.to_string())
}
