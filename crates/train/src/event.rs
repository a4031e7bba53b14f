//! [`Event`]: what the loop tells its observers.

use serde::Serialize;

use crate::Stop;

/// Something listens to a run: a progress bar, a file of metrics, a history for the report.
pub trait Observer {
    /// Called as things happen, in order.
    ///
    /// # Errors
    /// What the observer could not do (a full disk); the run ends with it.
    fn event(&mut self, event: &Event<'_>) -> std::io::Result<()>;
}

/// What happens in a run.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Before the first step.
    Start {
        /// Epochs at most.
        epochs: u64,
        /// Steps in an epoch.
        steps_per_epoch: u64,
        /// Training rows.
        rows: u64,
    },
    /// After a step.
    Step(&'a StepRecord),
    /// After an epoch.
    Epoch(&'a EpochRecord),
    /// After a step that was asked for in [`crate::FitOptions::probes`].
    Probe {
        /// The step; 0 is the start.
        step: u64,
        /// Training rows seen so far.
        rows: u64,
        /// Seconds of training so far.
        seconds: f64,
        /// Mean loss on all training rows at the evaluation weights, penalty included.
        loss: f64,
    },
    /// After the last step.
    End {
        /// Why.
        stop: Stop,
        /// How many steps there were.
        steps: u64,
    },
}

/// A step in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepRecord {
    /// 1, 2, …
    pub step: u64,
    /// The epoch it belongs to: 1, 2, …
    pub epoch: u64,
    /// Mean loss of the batch before the step, penalty included.
    pub loss: f64,
    /// The learning rate.
    pub lr: f64,
    /// ‖g‖₂ of the mean loss before clipping.
    pub grad_norm: f64,
    /// Whether the gradient was clipped.
    pub clipped: bool,
}

/// An epoch in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EpochRecord {
    /// 1, 2, …
    pub epoch: u64,
    /// Steps so far.
    pub step: u64,
    /// Training rows seen so far.
    pub rows: u64,
    /// Seconds of training so far, evaluation and observers not counted.
    pub seconds: f64,
    /// The learning rate of the last step.
    pub lr: f64,
    /// The mean loss over the epoch's batches, each at the weights it was seen with, plus the penalty at the last of them.
    pub train_loss: f64,
    /// ‖g‖₂ at the last step.
    pub grad_norm: f64,
    /// The share of this epoch's steps whose gradient was clipped.
    pub clipped: f64,
    /// The mean loss on the validation rows, without penalty.
    pub valid_loss: Option<f64>,
    /// The score on the validation rows.
    pub valid_score: Option<f64>,
}
