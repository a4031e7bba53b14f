//! [`Model`]: a trained model with the encoder that feeds it.

use std::path::Path;

use serde::{Deserialize, Serialize};
use thalweg_core::{Batch, Objective, Params, Threads};
use thalweg_data::text::Vocabulary;
use thalweg_data::{Dataset, Encoder, ImageEncoder, Task};
use thalweg_models::linear::{Linear, Shape};
use thalweg_models::losses::Loss;
use thalweg_models::network::{Input, Network};
use thalweg_models::saved::{self, Description, FORMAT, Parameters, Saved, SavedError};

use crate::network::image_input;
use crate::score::Judged;

/// Where the description's encoder says how images become numbers.
const IMAGES: &str = "images";
/// Where it says how text becomes numbers.
const TEXT: &str = "text";

/// A trained model: what turns a table into numbers, and what turns those into predictions.
#[derive(Debug)]
pub struct Model {
    /// Tables to numbers.
    pub encoder: Encoder,
    /// Images to numbers, where the rows are images; the encoder then has no columns.
    pub images: Option<ImageEncoder>,
    /// Symbols of text to numbers, where the model says the next one; such a model has no rows, and neither responds nor judges:
    /// see [`crate::text`] and [`crate::generate`].
    pub text: Option<Vocabulary>,
    /// Numbers to scores.
    pub form: Form,
    /// The weights; a network's are numbers of f32.
    pub params: Params<f64>,
    /// How it was trained.
    pub training: saved::Training,
    /// What it scored on rows that were used for nothing else.
    pub score: Option<saved::Score>,
}

/// What makes scores of numbers.
#[derive(Debug)]
pub enum Form {
    /// A linear map.
    Linear(Linear<f64>),
    /// Layers.
    Network(Box<Network<f32>>),
}

/// One weight of a model, as people read it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Coefficient {
    /// The feature: the column's name, with what was made of it.
    pub feature: String,
    /// The category it belongs to.
    pub level: Option<String>,
    /// The class it speaks for, when there are more than two.
    pub class: Option<String>,
    /// The weight per standard deviation of the feature (per presence, of a category), in the model's own units: what the
    /// penalty sees, and what coefficients are sorted by.
    pub weight: f64,
    /// The change of the prediction (of the log-odds, of the log of the count) per unit of the feature.
    pub coefficient: f64,
}

/// The weights of a model in original units.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Coefficients {
    /// The predictions of a row of zeros, one for each output.
    pub intercept: Vec<f64>,
    /// All weights, the largest first.
    pub sorted: Vec<Coefficient>,
}

/// The names of the classes that an encoder knows; empty for numbers.
pub(crate) fn classes_of(encoder: &Encoder) -> &[String] {
    match encoder.target.as_ref().map(|t| &t.task) {
        Some(Task::Classes(classes)) => classes,
        _ => &[],
    }
}

/// Center and scale of a numeric target.
pub(crate) fn target_scale(encoder: &Encoder) -> (f64, f64) {
    encoder.target.as_ref().map_or((0.0, 1.0), |t| (t.center, t.scale))
}

/// Predictions beside the truth, for rows in the units of training.
pub(crate) fn judged(encoder: &Encoder, predicted: Vec<f64>, data: &Dataset<f64>) -> Judged {
    let (center, scale) = target_scale(encoder);
    let classes = classes_of(encoder).len();
    let own = |y: &f64| if classes == 0 { center + scale * y } else { *y };
    Judged { classes, predicted, truth: data.target.iter().map(own).collect(), weight: data.weight.clone() }
}

/// What a network answers: probabilities, or numbers in the target's own units.
pub(crate) fn network_responses(
    network: &Network<f32>,
    theta: &Params<f32>,
    data: &Dataset<f32>,
    encoder: &Encoder,
) -> Vec<f64> {
    let mut out = vec![0.0; data.len() * network.criterion().loss.responses(network.outputs())];
    let none = if data.target.is_empty() { vec![0.0; data.len()] } else { vec![] };
    let batch = if data.target.is_empty() { Batch { target: &none, ..data.batch() } } else { data.batch() };
    network.responses(theta, &batch, &mut out);
    let mut out: Vec<f64> = out.into_iter().map(f64::from).collect();
    in_own_units(encoder, &mut out);
    out
}

/// Brings predicted numbers from the units of training to the target's own.
fn in_own_units(encoder: &Encoder, out: &mut [f64]) {
    let (center, scale) = target_scale(encoder);
    if classes_of(encoder).is_empty() {
        out.iter_mut().for_each(|y| *y = center + scale * *y);
    }
}

/// What a network of text takes: its own context, if that is one that can be trained.
fn text_input(vocabulary: &Vocabulary, found: &Input) -> Input {
    let context = match *found {
        Input::Tokens { context, .. } if context <= crate::text::MOST_CONTEXT => context,
        _ => 0,
    };
    Input::Tokens { vocabulary: vocabulary.len(), context }
}

/// Parameters in the f32 that they were trained in.
pub(crate) fn narrowed(params: &Params<f64>) -> Params<f32> {
    let mut single = Params::zeros(params.layout());
    single.flat_mut().iter_mut().zip(params.flat()).for_each(|(to, &x)| *to = x as f32);
    single
}

impl Model {
    /// The linear map, unless it is a network.
    pub fn linear(&self) -> Option<&Linear<f64>> {
        match &self.form {
            Form::Linear(linear) => Some(linear),
            Form::Network(_) => None,
        }
    }

    /// The network, if it is one.
    pub fn network(&self) -> Option<&Network<f32>> {
        match &self.form {
            Form::Linear(_) => None,
            Form::Network(network) => Some(network),
        }
    }

    /// The parameters in the f32 that a network's are trained in.
    pub fn narrowed(&self) -> Params<f32> {
        narrowed(&self.params)
    }

    /// The model expression.
    pub fn expression(&self) -> String {
        match &self.form {
            Form::Linear(linear) => linear.shape().expression(),
            Form::Network(network) => network.spec().to_string(),
        }
    }

    /// The symbols of a sequence of text.
    pub fn context(&self) -> Option<usize> {
        match self.network().map(Network::input) {
            Some(&Input::Tokens { context, .. }) => Some(context),
            _ => None,
        }
    }

    /// How many parameters it has.
    pub fn parameters(&self) -> usize {
        crate::network::parameters(self.params.layout())
    }

    /// The column it predicts.
    pub fn target(&self) -> &str {
        self.encoder.target.as_ref().map_or("", |t| &t.column)
    }

    /// The loss it was trained with.
    pub fn loss(&self) -> Loss {
        match &self.form {
            Form::Linear(linear) => linear.loss_function(),
            Form::Network(network) => network.criterion().loss,
        }
    }

    /// The names of the classes; empty for numbers.
    pub fn classes(&self) -> &[String] {
        classes_of(&self.encoder)
    }

    /// Predictions: probabilities `[n, classes]`, or numbers `[n]` in the target's own units.
    pub fn respond(&self, data: &Dataset<f64>) -> Vec<f64> {
        let linear = match &self.form {
            Form::Linear(linear) => linear,
            Form::Network(n) => {
                return network_responses(n, &narrowed(&self.params), &data.cast(), &self.encoder);
            }
        };
        let columns = self.loss().responses(linear.shape().outputs);
        let mut out = vec![0.0; data.len() * columns];
        // A table without targets has rows all the same.
        let none = if data.target.is_empty() { vec![0.0; data.len()] } else { vec![] };
        let batch =
            if data.target.is_empty() { Batch { target: &none, ..data.batch() } } else { data.batch() };
        linear.responses(&self.params, &batch, &mut out);
        in_own_units(&self.encoder, &mut out);
        out
    }

    /// Brings freshly encoded rows to the units of training: a numeric target is standardised.
    pub fn standardise(&self, data: &mut Dataset<f64>) {
        if let (true, Some(code)) = (self.classes().is_empty(), &self.encoder.target) {
            data.standardise_target(code);
        }
    }

    /// Predictions beside the truth, for rows in the units of training.
    pub fn judge(&self, data: &Dataset<f64>) -> Judged {
        judged(&self.encoder, self.respond(data), data)
    }

    /// The mean loss over rows, without penalty, in the units of training.
    pub fn mean_loss(&self, data: &Dataset<f64>) -> f64 {
        match &self.form {
            Form::Linear(linear) => linear.loss(&self.params, &data.batch()).mean(),
            Form::Network(n) => n.loss(&narrowed(&self.params), &data.cast().batch()).mean(),
        }
    }

    /// The weights and intercepts per unit of each feature: `[out, in]` and `[out]`.
    fn in_original_units(&self, shape: &Shape) -> (Vec<f64>, Vec<f64>) {
        let features = self.encoder.features();
        let (center, scale) = target_scale(&self.encoder);
        let outputs = shape.outputs;
        let weight = self.params.tensor("weight");
        let bias = if shape.intercept { self.params.tensor("bias") } else { &vec![0.0; outputs] };
        let coefficients: Vec<f64> =
            weight.iter().enumerate().map(|(i, w)| scale * w / features[i % features.len()].scale).collect();
        let intercept = (0..outputs).map(|k| {
            let row = &weight[k * features.len()..(k + 1) * features.len()];
            let shift: f64 = row.iter().zip(&features).map(|(w, f)| w * f.center / f.scale).sum();
            center + scale * (bias[k] - shift)
        });
        let intercept = intercept.collect();
        (coefficients, intercept)
    }

    /// The weights of a linear model as people read them; a network has none of that kind.
    pub fn coefficients(&self) -> Coefficients {
        let Some(shape) = self.linear().map(Linear::shape) else {
            return Coefficients { intercept: vec![], sorted: vec![] };
        };
        let features = self.encoder.features();
        let (coefficients, intercept) = self.in_original_units(&shape);
        let weight = self.params.tensor("weight");
        let classes = if shape.outputs > 1 { self.classes() } else { &[] };
        let mut sorted: Vec<Coefficient> = weight
            .iter()
            .zip(coefficients)
            .enumerate()
            .map(|(i, (&weight, coefficient))| {
                let feature = &features[i % features.len()];
                let name = if feature.level.is_some() { &feature.column } else { &feature.name };
                Coefficient {
                    feature: name.clone(),
                    level: feature.level.clone(),
                    class: classes.get(i / features.len()).cloned(),
                    weight,
                    coefficient,
                }
            })
            .collect();
        sorted.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
        Coefficients { intercept, sorted }
    }

    /// The model as it is saved.
    pub fn to_saved(&self) -> Saved {
        let mut encoder = serde_json::to_value(&self.encoder).unwrap_or_default();
        if let (Some(images), Some(object)) = (&self.images, encoder.as_object_mut()) {
            object.insert(IMAGES.into(), serde_json::to_value(images).unwrap_or_default());
        }
        if let (Some(vocabulary), Some(object)) = (&self.text, encoder.as_object_mut()) {
            object.insert(TEXT.into(), serde_json::to_value(vocabulary).unwrap_or_default());
        }
        let description = Description {
            format: FORMAT,
            model: self.expression(),
            loss: self.loss().to_string(),
            dense: self.images.as_ref().map_or(self.encoder.width(), ImageEncoder::width),
            one_hot: self.encoder.levels(),
            classes: self.classes().to_vec(),
            encoder,
            input: self.network().map(|n| n.input().clone()),
            training: self.training.clone(),
            score: self.score.clone(),
        };
        match &self.form {
            Form::Linear(linear) => {
                let (coefficients, intercept) = self.in_original_units(&linear.shape());
                let parameters = Parameters::F64(self.params.clone());
                Saved { description, parameters, coefficients, intercept, statistics: None }
            }
            Form::Network(network) => Saved {
                description,
                parameters: Parameters::F32(narrowed(&self.params)),
                coefficients: vec![],
                intercept: vec![],
                statistics: Some(network.statistics()),
            },
        }
    }

    /// Reads a model: a file, or a run's folder.
    ///
    /// # Errors
    /// [`SavedError`] names the file and what to do.
    pub fn load(path: &Path, threads: &Threads) -> Result<Self, SavedError> {
        let file = saved::model_file(path)?;
        let wrong = |what: String| SavedError::Description { file: file.clone(), what };
        let saved = Saved::load(path)?;
        let description = &saved.description;
        let encoder: Encoder = description.encoder().map_err(|e| wrong(e.to_string()))?;
        let images = description.encoder.get(IMAGES).map(ImageEncoder::deserialize).transpose();
        let images = images.map_err(|e| wrong(e.to_string()))?;
        let text = description.encoder.get(TEXT).map(Vocabulary::deserialize).transpose();
        let text = text.map_err(|e| wrong(e.to_string()))?;
        if let Some(network) = description.network().map_err(|e| wrong(e.to_string()))? {
            let expected = match (&images, &text) {
                (Some(images), _) => image_input(images),
                (None, Some(vocabulary)) => text_input(vocabulary, network.input()),
                (None, None) => crate::network::table_input(&encoder),
            };
            if *network.input() != expected || classes_of(&encoder) != description.classes {
                return Err(wrong("the encoder makes other rows than the model takes".into()));
            }
            if let Some(statistics) = &saved.statistics {
                network.set_statistics(statistics);
            }
            return Ok(Self {
                encoder,
                images,
                text,
                form: Form::Network(Box::new(network.with_threads(threads.clone()))),
                params: saved.parameters.to_f64(),
                training: description.training.clone(),
                score: description.score.clone(),
            });
        }
        let shape: Shape = description.shape().map_err(|e| wrong(e.to_string()))?;
        let loss = description.loss().map_err(|e| wrong(e.to_string()))?;
        if encoder.width() != shape.dense || encoder.levels() != shape.one_hot {
            return Err(wrong("the encoder makes other columns than the model takes".into()));
        }
        Ok(Self {
            encoder,
            images: None,
            text: None,
            form: Form::Linear(Linear::new(shape, loss, threads.clone())),
            params: saved.parameters.to_f64(),
            training: description.training.clone(),
            score: description.score.clone(),
        })
    }
}
