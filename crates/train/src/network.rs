//! Training networks: the job's way with `--model`.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use thalweg_core::{Batch, Layout, Objective, Params, Threads};
use thalweg_data::{BatchSize, Batches, Code, Dataset, Encoder, ImageEncoder};
use thalweg_models::losses;
use thalweg_models::network::{Criterion, Input, Network, NetworkError, Output, StateError};
use thalweg_models::saved::{self, Parameters};
use thalweg_optim::{Horizon, Plan, Setup};

use crate::event::Observer;
use crate::fit::{Fitted, Kept, Task, Valid, fit};
use crate::job::{JobError, Outcome, Prepared, TrainOptions};
use crate::model::{Form, Model, network_responses};
use crate::observers::History;

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

/// Weights to start from, and what is kept beside them.
#[derive(Clone, Debug)]
pub(crate) struct Init {
    params: Params<f32>,
    statistics: Params<f32>,
}

impl Init {
    /// Reads them from a safetensors file with PyTorch's names: a `state_dict`, or a model that was saved (or its run's folder).
    pub fn read(network: &Network<f32>, path: &Path) -> Result<Self, JobError> {
        let wrong = |file: &Path, what: String| JobError::Init { file: file.into(), what };
        let file = saved::model_file(path).map_err(|error| wrong(path, error.to_string()))?;
        let params = network.load_state(&file).map_err(|error| {
            let what = match error {
                StateError::Io { source, .. } => format!("it cannot be read: {source}"),
                StateError::Broken(source) => format!(
                    "it is no whole safetensors file ({source}); in PyTorch, safetensors.torch.save_file(model.state_dict(), FILE) \
                     writes one"
                ),
                other => other.to_string(),
            };
            wrong(&file, what)
        })?;
        let statistics = network.statistics();
        for numbers in [&params, &statistics] {
            for tensor in numbers.layout().tensors() {
                let of = numbers.tensor(&tensor.name);
                if let Some(place) = of.iter().position(|x| !x.is_finite()) {
                    return Err(wrong(&file, format!("{}[{place}] is {}", tensor.name, of[place])));
                }
            }
        }
        Ok(Self { params, statistics })
    }
}

/// The network's own statistics, as they were when its weights were best.
struct BestStatistics<'a> {
    network: &'a Network<f32>,
    best: RefCell<Params<f32>>,
}

impl Kept for BestStatistics<'_> {
    fn keep(&self) {
        *self.best.borrow_mut() = self.network.statistics();
    }
    fn restore(&self) {
        self.network.set_statistics(&self.best.borrow());
    }
}

/// Rows as a network reads them: small things in f32, the numbers of a row when it is read.
pub(crate) struct Rows<'a> {
    /// The rows.
    pub data: &'a Dataset<f64>,
    target: Vec<f32>,
    weight: Option<Vec<f32>>,
}

impl<'a> Rows<'a> {
    /// Rows without a target are rows all the same.
    pub fn of(data: &'a Dataset<f64>) -> Self {
        let single = |x: &Vec<f64>| x.iter().map(|&x| x as f32).collect();
        let target = if data.target.is_empty() { vec![0.0; data.len()] } else { single(&data.target) };
        Self { data, target, weight: data.weight.as_ref().map(single) }
    }

    /// All of them, without their numbers.
    pub fn batch(&self) -> Batch<'_, f32> {
        Batch {
            dense: &[],
            width: self.data.width,
            codes: &self.data.codes,
            code_width: self.data.code_width,
            target: &self.target,
            weight: self.weight.as_deref(),
            index: None,
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
        self.network_under(None, threads)
    }

    /// The same, with weights of the classes in its loss.
    pub(crate) fn network_under(
        &self,
        class_weights: Option<Vec<f64>>,
        threads: &Threads,
    ) -> Result<Option<Network<f32>>, JobError> {
        let Some(spec) = &self.job.model else { return Ok(None) };
        let input = match &self.images {
            Some(images) => image_input(images),
            None => table_input(&self.encoder),
        };
        let output = Output::Row(self.loss.outputs(self.classes().len()));
        let criterion = Criterion { loss: self.loss, class_weights, smoothing: self.job.label_smoothing };
        let network = Network::new(spec, input, output, criterion, self.job.seed).map_err(at_data)?;
        let parameters = parameters(network.layout());
        if parameters > MOST_PARAMETERS {
            return Err(JobError::Setting(format!(
                "{spec} has {parameters} parameters here; at most {MOST_PARAMETERS} can be trained"
            )));
        }
        Ok(Some(network.with_threads(threads.clone())))
    }

    /// Where a network starts: where it was told to, else its own start, but for counts with the last bias that gives their mean.
    fn network_start(&self, network: &Network<f32>) -> Params<f32> {
        if let Some(Init { params, statistics }) = &self.init {
            network.set_statistics(statistics);
            return params.clone();
        }
        let mut theta = network.init();
        if self.loss.task() == losses::Task::Count
            && self.answer[0] > 0.0
            && let Some(last) = network.layout().tensors().last()
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
        let rows = self.train.len();
        let train = Rows::of(&self.train);
        let valid = self.valid.as_ref().map(Rows::of);
        let mut batches = Batches::new(rows, batch.of(rows), self.job.seed, true);
        let fit_options = self.fit_options(options);
        let steps = self.steps_of(fit_options.epochs, batch);
        let horizon = Horizon { steps, per_epoch: batches.per_epoch() as u64 };
        let setup =
            Setup { horizon, threads: options.threads.clone(), decay_biases: false, ..Setup::default() };
        let mut optimizer =
            plan.build::<f32>(network.layout(), &setup).map_err(|e| JobError::Setting(e.to_string()))?;
        let expression = optimizer.expression();
        let score = |theta: &Params<f32>| match &valid {
            Some(valid) => {
                let responses = network_responses(&network, theta, valid, &self.encoder);
                crate::model::judged(&self.encoder, responses, valid.data).score(self.metric).value
            }
            None => f64::NAN,
        };
        let start = self.network_start(&network);
        let kept = BestStatistics { network: &network, best: RefCell::new(network.statistics()) };
        let numbers = |at: usize, to: &mut Vec<f32>| train.data.append_row(at, to);
        let valid_numbers = |at: usize, to: &mut Vec<f32>| match &valid {
            Some(valid) => valid.data.append_row(at, to),
            None => unreachable!("without validation rows, none is read"),
        };
        let (objective, valid_objective) = (network.over(&numbers), network.over(&valid_numbers));
        let task = Task {
            objective: &objective,
            train: train.batch(),
            valid: valid.as_ref().map(|valid| Valid {
                objective: &valid_objective,
                batch: valid.batch(),
                score: &score,
            }),
            interrupt,
            kept: Some(&kept),
        };
        let mut history = History::default();
        let mut listeners: Vec<&mut dyn Observer> = vec![&mut history];
        listeners.extend(observers.iter_mut().map(|o| &mut **o as &mut dyn Observer));
        let fitted = fit(&task, optimizer.as_mut(), start, &mut batches, &fit_options, &mut listeners)?;
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
        // The weights of classes belong to training: the model's loss is that of rows.
        let plain = if self.class_weights.is_some() { self.network(network.threads())? } else { None };
        let network = match plain {
            Some(plain) => {
                plain.set_statistics(&network.statistics());
                plain
            }
            None => network,
        };
        let model = Model {
            encoder: self.encoder.clone(),
            images: self.images.clone(),
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
