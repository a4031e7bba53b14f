//! [`MetricsFile`]: `metrics.jsonl`, a line of JSON for each step and epoch.

use std::fs::File;
use std::io::{BufWriter, Result, Write};
use std::path::Path;

use serde::Serialize;

use crate::event::{EpochRecord, Event, Observer, StepRecord};

/// Of longer runs, only every k-th step gets a line, so that there are at most about this many.
const LINES: u64 = 10_000;

/// Writes `metrics.jsonl`: `{"event":"step",…}` and `{"event":"epoch",…}`, one to a line.
#[derive(Debug)]
pub struct MetricsFile<W: Write> {
    out: W,
    every: u64,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Step(&'a StepRecord),
    Epoch(&'a EpochRecord),
    End { stop: &'static str, steps: u64 },
}

impl MetricsFile<BufWriter<File>> {
    /// Creates the file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self::new(BufWriter::new(File::create(path)?)))
    }
}

impl<W: Write> MetricsFile<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, every: 1 }
    }

    fn line(&mut self, line: &Line<'_>) -> Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }
}

impl<W: Write> Observer for MetricsFile<W> {
    fn event(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Start { epochs, steps_per_epoch, .. } => {
                self.every = epochs.saturating_mul(*steps_per_epoch).div_ceil(LINES).max(1);
                Ok(())
            }
            Event::Step(step) if step.step == 1 || step.step.is_multiple_of(self.every) => {
                self.line(&Line::Step(step))
            }
            Event::Epoch(epoch) => self.line(&Line::Epoch(epoch)),
            Event::End { stop, steps } => {
                self.line(&Line::End { stop: stop.word(), steps: *steps })?;
                self.out.flush()
            }
            Event::Step(_) | Event::Probe { .. } => Ok(()),
        }
    }
}
