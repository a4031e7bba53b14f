//! The progress of a run: a live bar on a terminal, plain lines in a pipe.

use std::io::{IsTerminal, Result, Write};
use std::time::{Duration, Instant};

use thalweg_train::{EpochRecord, Event, Observer};

use crate::show::{cut, note, number};

/// The progress observer that fits where stderr goes.
pub fn observer(quiet: bool) -> Box<dyn Observer> {
    match (quiet, std::io::stderr().is_terminal()) {
        (true, _) => Box::new(Silent),
        (_, true) => Box::new(Bar { steps: 0, began: Instant::now(), drawn: None, epoch: None }),
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
    let units = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (unit, letter) = units.into_iter().find(|u| x >= u.0).unwrap_or((1.0, ""));
    format!("{}{letter}", number(x / unit, 3))
}

/// A length of time: 12s, 3m 05s, 2h 40m.
fn duration(seconds: f64) -> String {
    match seconds.round() as u64 {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m {:02}s", s / 60, s % 60),
        s => format!("{}h {:02}m", s / 3600, s / 60 % 60),
    }
}

/// A bar with loss, score, rows a second and the time left.
struct Bar {
    /// Steps of the whole run.
    steps: u64,
    began: Instant,
    drawn: Option<Instant>,
    /// The last epoch that ended.
    epoch: Option<EpochRecord>,
}

/// The least time between two drawings.
const REDRAW: Duration = Duration::from_millis(80);
/// Columns of the text beside the bar, and two more: the ^C that a terminal echoes must not begin a new line.
const TEXT: usize = 70;

impl Bar {
    fn draw(&mut self, step: u64) {
        let now = Instant::now();
        // A run that is over before that has no bar.
        if now - self.drawn.unwrap_or(self.began) < REDRAW {
            return;
        }
        self.drawn = Some(now);
        let share = step as f64 / self.steps.max(1) as f64;
        let columns =
            terminal_size::terminal_size_of(std::io::stderr()).map_or(80, |(w, _)| usize::from(w.0));
        let length = columns.saturating_sub(TEXT).clamp(4, 40);
        let full = ((share * length as f64) as usize).min(length);
        let left = duration((now - self.began).as_secs_f64() * (1.0 - share) / share.max(1e-9));
        let bar = format!("{}{}", "█".repeat(full), "░".repeat(length - full));
        let epoch = self.epoch.map(|record| {
            let score = record.valid_score.map(|s| format!("  score {}", number(s, 4))).unwrap_or_default();
            let speed = short(record.rows as f64 / self.began.elapsed().as_secs_f64().max(1e-9));
            format!("loss {}{score}  {speed} rows/s  ", number(record.train_loss, 4))
        });
        let percent = (share * 100.0).floor();
        let line = format!("{bar} {percent:>3.0}%  {}{left} left", epoch.unwrap_or_default());
        // Nobody may be looking.
        let _ = write!(std::io::stderr(), "\r{}\x1b[K", cut(&line, columns.max(8) - 3));
    }

    fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// A run that fails has no end.
impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Observer for Bar {
    fn event(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Start { epochs, steps_per_epoch, .. } => {
                self.steps = epochs * steps_per_epoch;
                self.began = Instant::now();
            }
            Event::Step(record) => self.draw(record.step),
            Event::Epoch(record) => self.epoch = Some(**record),
            Event::End { .. } => self.clear(),
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
