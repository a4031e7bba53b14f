//! Learning-rate schedules: pure functions of the step, one file for each curve.
//!
//! A schedule is written as a number, or as a curve with the rate it starts from: `cosine(0.1, warmup=5%)`. Lengths
//! are `N steps`, `N epochs` (a bare number means epochs) or a percentage of the run. A curve that takes a length
//! `over` holds its last value past its end; the others go on.
//!
//! Schedules are made of schedules: `sequential(linear(0.1), cosine, at=5 epochs)` runs one after the other, each
//! with the part of the run that is its own, and `chained(cosine(0.1), exponential)` multiplies them. `plateau` alone
//! follows what is observed ([`Schedule::observe`]); its memory is named and can be saved ([`Schedule::state`]).

mod chained;
mod constant;
mod cosine;
mod cosine_restarts;
mod cyclic;
mod exponential;
mod inverse_sqrt;
mod inverse_time;
mod linear;
mod multistep;
mod one_cycle;
mod parse;
mod plateau;
mod polynomial;
mod sequential;
mod step;
mod wsd;

use std::fmt;

use thalweg_core::expr::{Duration, ExprError, Span, Value, number};
use thalweg_core::hyper::{Hyper, Range};

use plateau::Seen;

/// How long a run is; lengths in percent and epochs are resolved with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps of an epoch.
    pub per_epoch: u64,
}

impl Horizon {
    fn resolve(self, length: Duration) -> u64 {
        length.steps(self.steps, self.per_epoch)
    }
}

/// A length that a curve takes.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// Its name.
    pub name: &'static str,
    /// Its value when nothing is said.
    pub default: Duration,
    /// The length whose value it has when nothing is said, before `default`.
    pub like: Option<&'static str>,
    /// What it is.
    pub doc: &'static str,
}

impl Length {
    const fn new(name: &'static str, default: Duration, doc: &'static str) -> Self {
        Self { name, default, like: None, doc }
    }
}

/// A word that a curve takes, one of several.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Its name.
    pub name: &'static str,
    /// What it can be; the first when nothing is said.
    pub words: &'static [&'static str],
    /// What it is.
    pub doc: &'static str,
}

/// Points in time that a curve takes, any number of them.
#[derive(Clone, Copy, Debug)]
pub struct Points {
    /// What they are when nothing is said; empty where the schedules that are joined share the run equally.
    pub default: &'static [Duration],
    /// What they are.
    pub doc: &'static str,
}

/// The shape of a schedule, as the registry describes it.
#[derive(Clone, Copy, Debug)]
pub struct Curve {
    /// The name in expressions.
    pub name: &'static str,
    /// The formula, in a line; k counts steps from 0 after the warm-up, n is the length `over`.
    pub formula: &'static str,
    /// What `lr` is.
    pub lr: &'static str,
    /// Its numbers besides `lr`.
    pub hyper: &'static [Hyper],
    /// Its lengths besides `warmup`.
    pub lengths: &'static [Length],
    /// Its words.
    pub choices: &'static [Choice],
    /// Its points in time, `at`: given with that name once for each, or without.
    pub at: Option<Points>,
    /// Whether it joins other schedules, two or more.
    pub joins: bool,
    /// Whether it follows the scores of [`Schedule::observe`]; the others are functions of the step alone.
    pub follows_scores: bool,
    /// The warm-up when nothing is said.
    pub warmup: Duration,
    /// The rate.
    pub rate: fn(&Moment<'_>) -> f64,
}

impl Curve {
    /// lr at every step: what the other curves differ from.
    const PLAIN: Self = Self {
        name: "",
        formula: "lr",
        lr: "the rate that the curve starts from; parameter units per step",
        hyper: &[],
        lengths: &[],
        choices: &[],
        at: None,
        joins: false,
        follows_scores: false,
        warmup: Duration::Steps(0.0),
        rate: |now| now.lr,
    };
}

/// What a curve makes a rate of.
#[derive(Debug)]
pub struct Moment<'a> {
    /// The rate `lr`.
    pub lr: f64,
    /// Steps since the end of the warm-up.
    pub k: f64,
    /// The numbers, in their order in the registry.
    pub hyper: &'a [f64],
    /// The lengths in steps, at least 1 each; `over` without the warm-up.
    pub lengths: &'a [f64],
    /// The place of each chosen word.
    pub choices: &'a [usize],
    /// The points in time, in steps since the end of the warm-up.
    pub at: &'a [f64],
    /// The schedules that are joined.
    pub parts: &'a [Schedule],
    /// The run without the warm-up.
    pub rest: Horizon,
    /// What the scores have done to the rate: its factor, 1 without any.
    pub scale: f64,
}

/// All curves.
pub static CURVES: [&Curve; 16] = [
    &constant::CONSTANT,
    &step::STEP,
    &multistep::MULTISTEP,
    &exponential::EXPONENTIAL,
    &inverse_time::INVERSE_TIME,
    &inverse_sqrt::INVERSE_SQRT,
    &linear::LINEAR,
    &polynomial::POLYNOMIAL,
    &cosine::COSINE,
    &cosine_restarts::COSINE_RESTARTS,
    &wsd::WSD,
    &one_cycle::ONE_CYCLE,
    &cyclic::CYCLIC,
    &plateau::PLATEAU,
    &sequential::SEQUENTIAL,
    &chained::CHAINED,
];

/// The number that every curve takes first: the rate. Each says in [`Curve::lr`] what it is there.
pub const LR: Hyper = Hyper::new("lr", 1e-3, Range::NON_NEGATIVE, Curve::PLAIN.lr);

/// The length that every curve takes.
pub const WARMUP: Length = Length::new(
    "warmup",
    Duration::Steps(0.0),
    "w steps at 1/w, 2/w, …, all of the curve's first rate before the curve begins",
);
const EVERY: Length = Length::new("every", Duration::Epochs(1.0), "the time between two steps of the curve");
const OVER: Length = Length::new(
    "over",
    Duration::Percent(100.0),
    "the time from the start of the run to the end of the curve, warm-up included",
);
const AT: &str = "at";

/// xⁿ, at most the largest number, so that a rate of 0 stays 0.
fn power(x: f64, n: f64) -> f64 {
    libm::pow(x, n).min(f64::MAX)
}

/// The way from 1 to 0 along half a cosine, at x of [0, 1].
fn half_cosine(x: f64) -> f64 {
    0.5 * (1.0 + libm::cos(std::f64::consts::PI * x))
}

/// A learning rate for each step.
#[derive(Clone, Debug)]
pub struct Schedule {
    curve: &'static Curve,
    /// The rate that the curve starts from; open until someone fills it. Where schedules are joined, the rate of
    /// those that say none of their own.
    pub lr: Option<f64>,
    hyper: Vec<f64>,
    lengths: Vec<Duration>,
    choices: Vec<usize>,
    at: Vec<Duration>,
    parts: Vec<Schedule>,
    warmup: Duration,
    seen: Seen,
}

impl Schedule {
    /// The same rate at every step.
    pub fn constant(lr: f64) -> Self {
        Self {
            curve: &constant::CONSTANT,
            lr: Some(lr),
            hyper: vec![],
            lengths: vec![],
            choices: vec![],
            at: vec![],
            parts: vec![],
            warmup: WARMUP.default,
            seen: Seen::default(),
        }
    }

    /// The same curve from a rate of `factor` times its own.
    pub fn scaled(mut self, factor: f64) -> Self {
        self.lr = self.lr.map(|lr| lr * factor);
        self
    }

    /// Reads a number (a constant rate) or a curve, as in `cosine` or `step(0.1, every=2 epochs)`. A curve without `lr`
    /// leaves it open.
    ///
    /// ```
    /// use thalweg_optim::{Horizon, Schedule};
    /// let schedule = Schedule::parse("sequential(linear(0.1), cosine, at=10 steps)").unwrap();
    /// let run = Horizon { steps: 100, per_epoch: 10 };
    /// assert_eq!(schedule.rate(11, run), 0.1);
    /// assert_eq!(schedule.rate(101, run), 0.0);
    /// ```
    ///
    /// # Errors
    /// What [`Schedule::from_value`] says.
    pub fn parse(source: &str) -> Result<Self, ExprError> {
        let whole = Span { start: 0, end: source.len() };
        Self::from_value(&thalweg_core::expr::parse_value(source)?, whole, source)
    }

    /// The schedule that a value of an expression stands for.
    ///
    /// # Errors
    /// An unknown curve, an unknown or repeated name, a value outside its range, points in time that go back, a second
    /// `plateau`, or one where no score can reach it.
    pub fn from_value(value: &Value, span: Span, source: &str) -> Result<Self, ExprError> {
        match value {
            Value::Number(x) => {
                LR.check(*x).map_err(|message| ExprError::new(source, span, message))?;
                Ok(Self::constant(*x))
            }
            Value::Call(call) => parse::schedule(call, source),
            other => {
                let message = format!("lr takes a number or a schedule, got {other}");
                Err(ExprError::new(source, span, message))
            }
        }
    }

    /// The rate of step `step` = 1, 2, … of a run of this length: finite, at least 0. With an open `lr`, the curve
    /// from 1e-3.
    pub fn rate(&self, step: u64, horizon: Horizon) -> f64 {
        self.rate_at(self.lr.unwrap_or(LR.default), step.saturating_sub(1), horizon)
    }

    /// The rate after `k` steps, from `lr`.
    fn rate_at(&self, lr: f64, k: u64, horizon: Horizon) -> f64 {
        let warmup = horizon.resolve(self.warmup);
        let after = |d: &Duration| horizon.resolve(*d).saturating_sub(warmup);
        let length = |(d, l): (&Duration, &Length)| {
            (if l.name == OVER.name { after(d) } else { horizon.resolve(*d) }).max(1) as f64
        };
        let lengths: Vec<f64> = self.lengths.iter().zip(self.curve.lengths).map(length).collect();
        let at: Vec<f64> = self.at.iter().map(|d| after(d) as f64).collect();
        let rate = (self.curve.rate)(&Moment {
            lr,
            k: k.saturating_sub(warmup) as f64,
            hyper: &self.hyper,
            lengths: &lengths,
            choices: &self.choices,
            at: &at,
            parts: &self.parts,
            rest: Horizon { steps: horizon.steps.saturating_sub(warmup), ..horizon },
            scale: self.seen.scale(),
        })
        .min(f64::MAX);
        if k < warmup { (rate * (k + 1) as f64 / warmup as f64).min(rate) } else { rate }
    }

    /// Whether the rate follows the scores of [`Schedule::observe`].
    pub fn follows_scores(&self) -> bool {
        self.curve.follows_scores || self.parts.iter().any(Self::follows_scores)
    }

    /// Tells the schedule a score, once for each time that the model is validated: a `plateau` lowers the rate of
    /// later steps when the scores have stopped to improve, every other curve leaves them as they are. A NaN is no
    /// improvement.
    pub fn observe(&mut self, score: f64) {
        self.observe_from(self.lr.unwrap_or(LR.default), score);
    }

    fn observe_from(&mut self, lr: f64, score: f64) {
        if self.curve.follows_scores {
            self.seen.observe(lr, &self.hyper, &self.choices, score);
        }
        for (i, part) in self.parts.iter_mut().enumerate() {
            part.observe_from(chained::lr_of(i, part.lr, lr), score);
        }
    }

    /// What the scores have left behind, by name: to be saved with the run. Empty where nothing follows them. Before
    /// the first score the best one is NaN.
    pub fn state(&self) -> Vec<(&'static str, f64)> {
        match self.curve.follows_scores {
            true => self.seen.named(),
            false => self.parts.iter().flat_map(Self::state).collect(),
        }
    }

    /// The same numbers, to be restored.
    pub fn state_mut(&mut self) -> Vec<(&'static str, &mut f64)> {
        match self.curve.follows_scores {
            true => self.seen.named_mut(),
            false => self.parts.iter_mut().flat_map(Self::state_mut).collect(),
        }
    }

    /// The call with every value.
    fn call(&self) -> String {
        let curve = self.curve;
        let mut args: Vec<String> = self.lr.iter().map(|lr| number(*lr)).collect();
        args.extend(self.parts.iter().map(Self::call));
        if !curve.joins {
            args.extend(self.at.iter().map(Duration::to_string));
        }
        args.extend(curve.hyper.iter().zip(&self.hyper).map(|(h, x)| format!("{}={}", h.name, h.print(*x))));
        args.extend(
            curve.choices.iter().zip(&self.choices).map(|(c, i)| format!("{}={}", c.name, c.words[*i])),
        );
        args.extend(curve.lengths.iter().zip(&self.lengths).map(|(l, d)| format!("{}={d}", l.name)));
        if curve.joins {
            args.extend(self.at.iter().map(|d| format!("{AT}={d}")));
        }
        if self.warmup != WARMUP.default || curve.warmup != WARMUP.default {
            args.push(format!("{}={}", WARMUP.name, self.warmup));
        }
        format!("{}({})", curve.name, args.join(", "))
    }
}

impl fmt::Display for Schedule {
    /// A number for a constant rate, else the curve with every value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lr {
            Some(lr) if self.curve.name == constant::CONSTANT.name && self.warmup == WARMUP.default => {
                f.write_str(&number(lr))
            }
            _ => f.write_str(&self.call()),
        }
    }
}
