//! [`History`]: everything a run said, kept for the report.

use serde::Serialize;

use crate::event::{EpochRecord, Event, Observer, StepRecord};

/// Steps that are kept at most; beyond, every second one is forgotten and so on.
const STEPS: usize = 4096;

/// The objective on all training rows at some step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Probe {
    /// The step; 0 is the start.
    pub step: u64,
    /// Training rows seen until then.
    pub rows: u64,
    /// Seconds of training until then.
    pub seconds: f64,
    /// The objective.
    pub loss: f64,
}

/// The records of a run, in order.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Steps, thinned evenly beyond a few thousand.
    pub steps: Vec<StepRecord>,
    /// Epochs.
    pub epochs: Vec<EpochRecord>,
    /// Probes.
    pub probes: Vec<Probe>,
    stride: u64,
}

impl Observer for History {
    fn event(&mut self, event: &Event<'_>) -> std::io::Result<()> {
        match event {
            Event::Step(step) => {
                let stride = self.stride.max(1);
                if step.step == 1 || step.step.is_multiple_of(stride) {
                    self.steps.push(**step);
                }
                if self.steps.len() >= STEPS {
                    self.stride = stride * 2;
                    self.steps.retain(|s| s.step == 1 || s.step.is_multiple_of(stride * 2));
                }
            }
            Event::Epoch(epoch) => self.epochs.push(**epoch),
            Event::Probe { step, rows, seconds, loss } => {
                self.probes.push(Probe { step: *step, rows: *rows, seconds: *seconds, loss: *loss });
            }
            Event::Start { .. } | Event::End { .. } => {}
        }
        Ok(())
    }
}
