//! Learning-rate schedules: pure functions of the step, one file for each curve.
//!
//! A schedule is written as a number, or as a curve with the rate it starts from: `cosine(0.1, warmup=5%)`. Lengths are
//! `N steps`, `N epochs` (a bare number means epochs) or a percentage of the run. A curve that takes a length `over` holds
//! its last value past its end; the others go on.

mod constant;
mod cosine;
mod exponential;
mod inverse_time;
mod polynomial;
mod step;

use std::fmt;

use thalweg_core::expr::{Arg, Call, Duration, ExprError, Span, Value};
use thalweg_core::hyper::{self, Hyper, Range};
use thalweg_core::suggest::nearest;

/// How long a run is; lengths in percent and epochs are resolved with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps of an epoch.
    pub per_epoch: u64,
}

/// A length that a curve takes.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// Its name.
    pub name: &'static str,
    /// Its value when nothing is said.
    pub default: Duration,
    /// What it is.
    pub doc: &'static str,
}

/// The shape of a schedule, as the registry describes it.
#[derive(Clone, Copy, Debug)]
pub struct Curve {
    /// The name in expressions.
    pub name: &'static str,
    /// The formula, in a line; k counts steps from 0 after the warm-up, n is the length `over`.
    pub formula: &'static str,
    /// Its numbers besides `lr`.
    pub hyper: &'static [Hyper],
    /// Its lengths besides `warmup`.
    pub lengths: &'static [Length],
    /// The rate from `lr`, the numbers, the lengths in steps (at least 1) and k.
    pub rate: fn(lr: f64, hyper: &[f64], lengths: &[f64], k: f64) -> f64,
}

/// All curves.
pub static CURVES: [&Curve; 6] = [
    &constant::CONSTANT,
    &step::STEP,
    &exponential::EXPONENTIAL,
    &inverse_time::INVERSE_TIME,
    &polynomial::POLYNOMIAL,
    &cosine::COSINE,
];

const LR: Hyper =
    Hyper::new("lr", 1e-3, Range::NON_NEGATIVE, "the rate after the warm-up; parameter units per step");
const WARMUP: Length = Length {
    name: "warmup",
    default: Duration::Steps(0.0),
    doc: "w steps at lr/w, 2·lr/w, …, lr before the curve begins",
};
const EVERY: Length =
    Length { name: "every", default: Duration::Epochs(1.0), doc: "the time between two steps of the curve" };
const OVER: Length = Length {
    name: "over",
    default: Duration::Percent(100.0),
    doc: "the time from the start of the run to the end of the curve, warm-up included",
};

/// A learning rate for each step.
#[derive(Clone, Debug)]
pub struct Schedule {
    curve: &'static Curve,
    /// The rate that the curve starts from; open until someone fills it.
    pub lr: Option<f64>,
    hyper: Vec<f64>,
    lengths: Vec<Duration>,
    warmup: Duration,
}

impl Schedule {
    /// The same rate at every step.
    pub fn constant(lr: f64) -> Self {
        let curve = &constant::CONSTANT;
        Self { curve, lr: Some(lr), hyper: vec![], lengths: vec![], warmup: WARMUP.default }
    }

    /// The same curve from a rate of `factor` times its own.
    pub fn scaled(mut self, factor: f64) -> Self {
        self.lr = self.lr.map(|lr| lr * factor);
        self
    }

    /// Reads a number (a constant rate) or a curve, as in `cosine` or `step(0.1, every=2 epochs)`. A curve without `lr`
    /// leaves it open.
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
    /// An unknown curve, an unknown or repeated name, a value outside its range.
    pub fn from_value(value: &Value, span: Span, source: &str) -> Result<Self, ExprError> {
        let call = match value {
            Value::Number(x) => {
                LR.check(*x).map_err(|message| ExprError::new(source, span, message))?;
                return Ok(Self::constant(*x));
            }
            Value::Call(call) => call,
            other => {
                return Err(ExprError::new(
                    source,
                    span,
                    format!("lr takes a number or a schedule, got {other}"),
                ));
            }
        };
        let Some(curve) = CURVES.iter().find(|c| c.name == call.name) else {
            let names = || CURVES.iter().map(|c| c.name);
            let help = match nearest(&call.name, names()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
            };
            let message = format!("there is no schedule {:?}", call.name);
            return Err(ExprError::new(source, call.span, message).help(help));
        };
        Self::from_call(curve, call, source)
    }

    fn from_call(curve: &'static Curve, call: &Call, source: &str) -> Result<Self, ExprError> {
        let hypers: Vec<Hyper> = [LR].into_iter().chain(curve.hyper.iter().copied()).collect();
        let lengths: Vec<&Length> = curve.lengths.iter().chain([&WARMUP]).collect();
        let is_length = |arg: &Arg| arg.name.as_deref().is_some_and(|n| lengths.iter().any(|l| l.name == n));
        let (timed, plain): (Vec<Arg>, Vec<Arg>) = call.args.iter().cloned().partition(is_length);
        let names = hypers.iter().map(|h| h.name).chain(lengths.iter().map(|l| l.name));
        let mut lr_given = false;
        for (nth, arg) in plain.iter().enumerate() {
            lr_given |= hyper::place_of(call, arg, nth, names.clone(), source)? == 0;
        }
        let numbers = hyper::resolve(&Call { args: plain, ..call.clone() }, &hypers, source)?;
        let mut durations: Vec<Option<Duration>> = vec![None; lengths.len()];
        for arg in &timed {
            let place = lengths.iter().position(|l| arg.name.as_deref() == Some(l.name)).unwrap_or_default();
            let wrong = |message: String| ExprError::new(source, arg.value_span, message);
            let name = lengths[place].name;
            let duration = match &arg.value {
                Value::Number(x) => Duration::Epochs(*x),
                Value::Percent(x) => Duration::Percent(*x),
                Value::Duration(d) => *d,
                other => {
                    return Err(wrong(format!(
                        "{name} takes a length as in 100 steps, 2 epochs or 5%, got {other}"
                    )));
                }
            };
            let (Duration::Steps(x) | Duration::Epochs(x) | Duration::Percent(x)) = duration;
            if !(x >= 0.0 && x.is_finite()) {
                return Err(wrong(format!("{name} must be in [0, ∞), got {duration}")));
            }
            if durations[place].replace(duration).is_some() {
                return Err(wrong(format!("{name} is given twice")));
            }
        }
        let mut filled =
            durations.into_iter().zip(&lengths).map(|(d, l)| d.unwrap_or(l.default)).collect::<Vec<_>>();
        let warmup = filled.pop().unwrap_or(WARMUP.default);
        Ok(Self {
            curve,
            lr: lr_given.then_some(numbers[0]),
            hyper: numbers[1..].to_vec(),
            lengths: filled,
            warmup,
        })
    }

    /// The rate of step `step` = 1, 2, … of a run of this length. With an open `lr`, the curve from 1e-3.
    pub fn rate(&self, step: u64, horizon: Horizon) -> f64 {
        let lr = self.lr.unwrap_or(LR.default);
        let resolve = |d: Duration| d.steps(horizon.steps, horizon.per_epoch);
        let warmup = resolve(self.warmup);
        let k = step.saturating_sub(1);
        if k < warmup {
            return lr * (k + 1) as f64 / warmup as f64;
        }
        let length = |(d, l): (&Duration, &Length)| {
            let steps = resolve(*d);
            (if l.name == OVER.name { steps.saturating_sub(warmup) } else { steps }).max(1) as f64
        };
        let lengths: Vec<f64> = self.lengths.iter().zip(self.curve.lengths).map(length).collect();
        (self.curve.rate)(lr, &self.hyper, &lengths, (k - warmup) as f64)
    }
}

impl fmt::Display for Schedule {
    /// A number for a constant rate, else the curve with every value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warm = self.warmup != WARMUP.default;
        let mut parts: Vec<String> = self.lr.iter().map(|lr| thalweg_core::expr::number(*lr)).collect();
        if self.curve.name == constant::CONSTANT.name && !warm && parts.len() == 1 {
            return f.write_str(&parts[0]);
        }
        parts.extend(
            self.curve.hyper.iter().zip(&self.hyper).map(|(h, x)| format!("{}={}", h.name, h.print(*x))),
        );
        parts.extend(self.curve.lengths.iter().zip(&self.lengths).map(|(l, d)| format!("{}={d}", l.name)));
        if warm {
            parts.push(format!("warmup={}", self.warmup));
        }
        write!(f, "{}({})", self.curve.name, parts.join(", "))
    }
}
