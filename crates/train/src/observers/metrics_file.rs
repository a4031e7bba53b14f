//! [`MetricsFile`]: `metrics.jsonl`, a line of JSON for each step and epoch.

use std::fs::File;
use std::io::{BufWriter, Result, Write};
use std::path::Path;

use serde::Serialize;

use crate::event::{EpochRecord, Event, Observer, StepRecord};

/// Steps, and epochs, of which each gets a line; of twice as many then every second one, of twice as many again every fourth.
const LINES: u64 = 10_000;

/// Whether the n-th of something (from 1) gets a line.
fn is_told(n: u64) -> bool {
    let doublings = (n / LINES).checked_ilog2().map_or(0, |k| k + 1);
    n.is_multiple_of(1 << doublings)
}

/// Writes `metrics.jsonl`: `{"event":"step",…}` and `{"event":"epoch",…}`, one to a line.
#[derive(Debug)]
pub struct MetricsFile<W: Write> {
    out: W,
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
        Self { out }
    }

    fn line(&mut self, line: &Line<'_>) -> Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }
}

impl<W: Write> Observer for MetricsFile<W> {
    fn event(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Step(step) if is_told(step.step) => self.line(&Line::Step(step)),
            Event::Epoch(epoch) if is_told(epoch.epoch) => self.line(&Line::Epoch(epoch)),
            Event::End { stop, steps } => {
                self.line(&Line::End { stop: stop.word(), steps: *steps })?;
                self.out.flush()
            }
            Event::Start { .. } | Event::Step(_) | Event::Epoch(_) | Event::Probe { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_are_told_ever_more_sparsely() {
        let told = |to: u64| (1..=to).filter(|&n| is_told(n)).count() as u64;
        assert_eq!(told(LINES - 1), LINES - 1);
        assert_eq!(told(2 * LINES) - told(LINES), LINES / 2);
        assert_eq!(told(8 * LINES) - told(4 * LINES), LINES / 2);
        assert!(is_told(1 << 40));
    }
}
