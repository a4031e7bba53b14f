//! The progress of a run: a live bar on a terminal, plain lines in a pipe.

use std::io::{IsTerminal, Result};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use thalweg_train::{EpochRecord, Event, Observer};

use crate::show::{note, number};

/// The progress observer that fits where stderr goes.
pub fn observer(quiet: bool) -> Box<dyn Observer> {
    match (quiet, std::io::stderr().is_terminal()) {
        (true, _) => Box::new(Silent),
        (_, true) => Box::new(Bar::default()),
        (_, false) => Box::new(Lines::default()),
    }
}

/// Says nothing.
struct Silent;

impl Observer for Silent {
    fn event(&mut self, _: &Event<'_>) -> Result<()> {
        Ok(())
    }
}

fn numbers(record: &EpochRecord) -> String {
    let valid = record.valid_loss.map(|l| format!("  valid {}", number(l, 4))).unwrap_or_default();
    let score = record.valid_score.map(|s| format!("  score {}", number(s, 4))).unwrap_or_default();
    format!("loss {}{valid}{score}", number(record.train_loss, 5))
}

/// A count in three digits: 812, 6.1k, 23.4M.
fn short(x: f64) -> String {
    let (unit, letter) =
        [(1e9, "G"), (1e6, "M"), (1e3, "k")].into_iter().find(|u| x >= u.0).unwrap_or((1.0, ""));
    format!("{}{letter}", number(x / unit, 3))
}

/// A bar with loss, score, rows a second and the time left.
#[derive(Default)]
struct Bar {
    bar: Option<ProgressBar>,
    began: Option<Instant>,
    drawn: Option<Instant>,
    said: Option<Instant>,
}

/// The least time between two drawings.
const REDRAW: Duration = Duration::from_millis(80);
/// Columns that the text beside the bar takes at most.
const TEXT: u16 = 70;

impl Observer for Bar {
    fn event(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Start { epochs, steps_per_epoch, .. } => {
                let bar = ProgressBar::with_draw_target(
                    Some(epochs * steps_per_epoch),
                    ProgressDrawTarget::stderr_with_hz(12),
                );
                // The line must not fill the terminal: the ^C that it echoes would break it.
                let columns = terminal_size::terminal_size_of(std::io::stderr()).map_or(80, |(w, _)| w.0);
                let length = columns.saturating_sub(TEXT).clamp(4, 40);
                let template = format!("{{bar:{length}}} {{percent:>3}}%  {{msg}}  {{eta}} left");
                let style = ProgressStyle::with_template(&template);
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                self.bar = Some(bar);
                self.began = Some(Instant::now());
            }
            Event::Step(record) => {
                let now = Instant::now();
                if self.drawn.is_none_or(|drawn| now - drawn >= REDRAW)
                    && let Some(bar) = &self.bar
                {
                    self.drawn = Some(now);
                    bar.set_position(record.step);
                }
            }
            Event::Epoch(record) => {
                let now = Instant::now();
                if self.said.is_none_or(|said| now - said >= REDRAW)
                    && let (Some(bar), Some(began)) = (&self.bar, self.began)
                {
                    self.said = Some(now);
                    let speed = record.rows as f64 / (now - began).as_secs_f64().max(1e-9);
                    bar.set_message(format!("{}  {} rows/s", numbers(record), short(speed)));
                }
            }
            Event::End { .. } => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
            }
            Event::Probe { .. } => {}
        }
        Ok(())
    }
}

/// A line for about every tenth of the run.
#[derive(Default)]
struct Lines {
    epochs: u64,
    next: u64,
}

impl Observer for Lines {
    fn event(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Start { epochs, .. } => {
                self.epochs = *epochs;
                self.next = 1;
            }
            Event::Epoch(record) if record.epoch >= self.next => {
                self.next = ((record.epoch * 10 / self.epochs + 1) * self.epochs).div_ceil(10);
                let (numbers, lr) = (numbers(record), number(record.lr, 3));
                note(&format!("epoch {:>6}/{}  {numbers}  lr {lr}", record.epoch, self.epochs));
            }
            _ => {}
        }
        Ok(())
    }
}
