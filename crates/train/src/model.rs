//! [`Model`]: a trained model with the encoder that feeds it.

use std::path::Path;

use serde::Serialize;
use thalweg_core::{Batch, Objective, Params, Threads};
use thalweg_data::{Dataset, Encoder, Task};
use thalweg_models::linear::{Linear, Shape};
use thalweg_models::losses::Loss;
use thalweg_models::saved::{self, Description, FORMAT, Parameters, Saved, SavedError};

use crate::score::Judged;

/// A trained model: what turns a table into numbers, and what turns those into predictions.
#[derive(Debug)]
pub struct Model {
    /// Tables to numbers.
    pub encoder: Encoder,
    /// Numbers to scores.
    pub linear: Linear<f64>,
    /// The weights.
    pub params: Params<f64>,
    /// How it was trained.
    pub training: saved::Training,
    /// What it scored on rows that were used for nothing else.
    pub score: Option<saved::Score>,
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

impl Model {
    /// The column it predicts.
    pub fn target(&self) -> &str {
        self.encoder.target.as_ref().map_or("", |t| &t.column)
    }

    /// The loss it was trained with.
    pub fn loss(&self) -> Loss {
        self.linear.loss_function()
    }

    /// The names of the classes; empty for numbers.
    pub fn classes(&self) -> &[String] {
        classes_of(&self.encoder)
    }

    /// Predictions: probabilities `[n, classes]`, or numbers `[n]` in the target's own units.
    pub fn respond(&self, data: &Dataset<f64>) -> Vec<f64> {
        let columns = self.loss().responses(self.linear.shape().outputs);
        let mut out = vec![0.0; data.len() * columns];
        // A table without targets has rows all the same.
        let none = if data.target.is_empty() { vec![0.0; data.len()] } else { vec![] };
        let batch =
            if data.target.is_empty() { Batch { target: &none, ..data.batch() } } else { data.batch() };
        self.linear.responses(&self.params, &batch, &mut out);
        let (center, scale) = target_scale(&self.encoder);
        if self.classes().is_empty() {
            out.iter_mut().for_each(|y| *y = center + scale * *y);
        }
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
        let (center, scale) = target_scale(&self.encoder);
        let number = self.classes().is_empty();
        let own = |y: &f64| if number { center + scale * y } else { *y };
        Judged {
            classes: self.classes().len(),
            predicted: self.respond(data),
            truth: data.target.iter().map(own).collect(),
            weight: data.weight.clone(),
        }
    }

    /// The mean loss over rows, without penalty, in the units of training.
    pub fn mean_loss(&self, data: &Dataset<f64>) -> f64 {
        self.linear.loss(&self.params, &data.batch()).mean()
    }

    /// The weights and intercepts per unit of each feature: `[out, in]` and `[out]`.
    fn in_original_units(&self) -> (Vec<f64>, Vec<f64>) {
        let features = self.encoder.features();
        let (center, scale) = target_scale(&self.encoder);
        let outputs = self.linear.shape().outputs;
        let weight = self.params.tensor("weight");
        let bias =
            if self.linear.shape().intercept { self.params.tensor("bias") } else { &vec![0.0; outputs] };
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

    /// The weights as people read them.
    pub fn coefficients(&self) -> Coefficients {
        let features = self.encoder.features();
        let (coefficients, intercept) = self.in_original_units();
        let weight = self.params.tensor("weight");
        let classes = if self.linear.shape().outputs > 1 { self.classes() } else { &[] };
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
        let shape = self.linear.shape();
        let (coefficients, intercept) = self.in_original_units();
        Saved {
            description: Description {
                format: FORMAT,
                model: shape.expression(),
                loss: self.loss().to_string(),
                dense: shape.dense,
                one_hot: shape.one_hot,
                classes: self.classes().to_vec(),
                encoder: serde_json::to_value(&self.encoder).unwrap_or_default(),
                training: self.training.clone(),
                score: self.score.clone(),
            },
            parameters: Parameters::F64(self.params.clone()),
            coefficients,
            intercept,
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
        let shape: Shape = description.shape().map_err(|e| wrong(e.to_string()))?;
        let loss = description.loss().map_err(|e| wrong(e.to_string()))?;
        if encoder.width() != shape.dense || encoder.levels() != shape.one_hot {
            return Err(wrong("the encoder makes other columns than the model takes".into()));
        }
        Ok(Self {
            encoder,
            linear: Linear::new(shape, loss, threads.clone()),
            params: saved.parameters.to_f64(),
            training: description.training.clone(),
            score: description.score.clone(),
        })
    }
}
