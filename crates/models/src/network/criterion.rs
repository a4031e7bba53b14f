//! [`Criterion`]: a loss, as networks minimise it.

use crate::losses::Loss;

/// A loss, with what belongs to classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Criterion {
    /// The loss.
    pub loss: Loss,
    /// A weight for each class, for softmax alone: a row weighs its own weight times that of its class.
    pub class_weights: Option<Vec<f64>>,
    /// The share of a target that is spread over all classes, in [0, 1), for softmax alone.
    pub smoothing: f64,
}

impl From<Loss> for Criterion {
    fn from(loss: Loss) -> Self {
        Self { loss, class_weights: None, smoothing: 0.0 }
    }
}

impl Criterion {
    /// Why it cannot be the loss of so many outputs.
    pub(super) fn misfit(&self, outputs: usize) -> Option<String> {
        let loss = self.loss;
        let suits = if loss == Loss::SOFTMAX { outputs >= 2 } else { outputs == 1 };
        if !suits {
            return Some(format!("a network under the {loss} loss cannot have {outputs} outputs"));
        }
        if loss != Loss::SOFTMAX && (self.class_weights.is_some() || self.smoothing != 0.0) {
            return Some(format!("class weights and smoothing belong to softmax, not to {loss}"));
        }
        if !(0.0..1.0).contains(&self.smoothing) {
            return Some(format!("smoothing must be in [0, 1), got {}", self.smoothing));
        }
        let weights = self.class_weights.as_ref()?;
        if weights.len() != outputs {
            return Some(format!(
                "{} class weights are not one for each of {outputs} classes",
                weights.len()
            ));
        }
        let wrong = weights.iter().find(|w| !(w.is_finite() && **w >= 0.0))?;
        Some(format!("a class weight must be finite and not negative, got {wrong}"))
    }
}
