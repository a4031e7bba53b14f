//! A schedule from its call.

use thalweg_core::expr::{Arg, Call, Duration, ExprError, Span, Value};
use thalweg_core::hyper::{self, Hyper};
use thalweg_core::suggest::nearest;

use super::plateau::Seen;
use super::{AT, CURVES, Choice, Curve, LR, Length, Schedule, WARMUP};

/// The schedule that a call stands for.
///
/// Numbers fill `lr` and the curve's numbers in order; lengths and words have names; schedules stand without. Where a
/// curve takes points in time, `at` is given once for each, and every length without a name, and every number after
/// the first place, is one of them.
pub(super) fn schedule(call: &Call, source: &str) -> Result<Schedule, ExprError> {
    let Some(curve) = CURVES.iter().find(|c| c.name == call.name) else {
        let names = || CURVES.iter().map(|c| c.name);
        let help = match nearest(&call.name, names()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
        };
        let message = format!("there is no schedule {:?}", call.name);
        return Err(ExprError::new(source, call.span, message).help(help));
    };
    let timed = || curve.lengths.iter().chain([&WARMUP]);
    let (mut numbers, mut lengths, mut words, mut points, mut parts) =
        (vec![], vec![], vec![], vec![], vec![]);
    for (nth, arg) in call.args.iter().enumerate() {
        let named = |name: &str| arg.name.as_deref() == Some(name);
        let point = match &arg.value {
            Value::Duration(_) | Value::Percent(_) => true,
            Value::Number(_) => nth > 0,
            _ => false,
        };
        if timed().any(|l| named(l.name)) {
            lengths.push(arg);
        } else if curve.choices.iter().any(|c| named(c.name)) {
            words.push(arg);
        } else if curve.at.is_some() && (named(AT) || arg.name.is_none() && point) {
            points.push(arg);
        } else if let (true, None, Value::Call(part)) = (curve.joins, &arg.name, &arg.value) {
            parts.push(part);
        } else {
            numbers.push(arg.clone());
        }
    }

    let (given, hyper) = values(curve, Call { args: numbers, ..call.clone() }, source)?;
    let mut durations: Vec<(&Length, Option<Duration>)> = timed().map(|l| (l, None)).collect();
    for arg in lengths {
        let duration = duration(arg, source)?;
        let (length, place) = &mut durations[position(timed().map(|l| l.name), arg)];
        if place.replace(duration).is_some() {
            return Err(twice(length.name, arg, source));
        }
    }
    let of = |name: &str| durations.iter().find(|(l, _)| l.name == name).and_then(|(_, d)| *d);
    let filled = |l: &Length| of(l.name).or_else(|| of(l.like?)).unwrap_or(l.default);
    let mut choices = vec![None; curve.choices.len()];
    for arg in words {
        let place = position(curve.choices.iter().map(|c| c.name), arg);
        if choices[place].replace(word(&curve.choices[place], arg, source)?).is_some() {
            return Err(twice(curve.choices[place].name, arg, source));
        }
    }
    let mut schedule = Schedule {
        curve,
        lr: given,
        hyper,
        lengths: curve.lengths.iter().map(filled).collect(),
        choices: choices.into_iter().map(|c| c.unwrap_or(0)).collect(),
        at: times(&points, source)?,
        parts: vec![],
        warmup: of(WARMUP.name).unwrap_or(curve.warmup),
        seen: Seen::default(),
    };
    if let (true, Some(at)) = (schedule.at.is_empty(), curve.at) {
        schedule.at = at.default.to_vec();
    }
    if curve.joins {
        join(&mut schedule, call, &parts, &points, source)?;
    }
    Ok(schedule)
}

/// `lr` if it is given, and the curve's numbers.
fn values(curve: &Curve, call: Call, source: &str) -> Result<(Option<f64>, Vec<f64>), ExprError> {
    let declared: Vec<Hyper> = [LR].into_iter().chain(curve.hyper.iter().copied()).collect();
    let others = curve.lengths.iter().map(|l| l.name).chain(curve.choices.iter().map(|c| c.name));
    let others = others.chain(curve.at.map(|_| AT)).chain([WARMUP.name]);
    let names = declared.iter().map(|h| h.name).chain(others);
    let mut given = false;
    for (nth, arg) in call.args.iter().enumerate() {
        given |= hyper::place_of(&call, arg, nth, names.clone(), source)? == 0;
    }
    let mut values = hyper::resolve(&call, &declared, source)?;
    let rest = values.split_off(1);
    Ok((given.then_some(values[0]), rest))
}

fn position<'a>(mut names: impl Iterator<Item = &'a str>, arg: &Arg) -> usize {
    names.position(|n| arg.name.as_deref() == Some(n)).unwrap_or_default()
}

fn twice(name: &str, arg: &Arg, source: &str) -> ExprError {
    ExprError::new(source, arg.span, format!("{name} is given twice"))
}

/// The length that an argument says; a bare number means epochs.
fn duration(arg: &Arg, source: &str) -> Result<Duration, ExprError> {
    let name = arg.name.as_deref().unwrap_or(AT);
    let wrong = |message: String| ExprError::new(source, arg.value_span, message);
    let duration = match &arg.value {
        Value::Number(x) => Duration::Epochs(*x),
        Value::Percent(x) => Duration::Percent(*x),
        Value::Duration(d) => *d,
        other => {
            return Err(wrong(format!("{name} takes a length as in 100 steps, 2 epochs or 5%, got {other}")));
        }
    };
    let (Duration::Steps(x) | Duration::Epochs(x) | Duration::Percent(x)) = duration;
    if !(x >= 0.0 && x.is_finite()) {
        return Err(wrong(format!("{name} must be in [0, ∞), got {duration}")));
    }
    Ok(duration)
}

/// The place of the word that an argument says.
fn word(choice: &Choice, arg: &Arg, source: &str) -> Result<usize, ExprError> {
    let found = match &arg.value {
        Value::Call(call) if call.args.is_empty() => choice.words.iter().position(|w| *w == call.name),
        _ => None,
    };
    found.ok_or_else(|| {
        let message = format!("{} takes {}, got {}", choice.name, choice.words.join(" or "), arg.value);
        let error = ExprError::new(source, arg.value_span, message);
        match nearest(&arg.value.to_string(), choice.words.iter().copied()) {
            Some(near) => error.help(format!("did you mean {near:?}?")),
            None => error,
        }
    })
}

/// Points in time, none before the one that it follows; those of other units are compared when the run's length is
/// known.
fn times(args: &[&Arg], source: &str) -> Result<Vec<Duration>, ExprError> {
    let mut all: Vec<Duration> = Vec::with_capacity(args.len());
    for arg in args {
        let next = duration(arg, source)?;
        let back = all.iter().find(|past| match (past, next) {
            (Duration::Steps(a), Duration::Steps(b))
            | (Duration::Epochs(a), Duration::Epochs(b))
            | (Duration::Percent(a), Duration::Percent(b)) => *a > b,
            _ => false,
        });
        if let Some(past) = back {
            return Err(ExprError::new(source, arg.span, format!("{AT} goes back from {past} to {next}")));
        }
        all.push(next);
    }
    Ok(all)
}

/// Fills in the schedules that are joined. The first one's rate is the whole's.
fn join(
    whole: &mut Schedule,
    call: &Call,
    calls: &[&Call],
    at: &[&Arg],
    source: &str,
) -> Result<(), ExprError> {
    let error = |span: Span, message: String| Err(ExprError::new(source, span, message));
    let sequential = whole.curve.at.is_some();
    if calls.len() < 2 {
        let message = format!("{} joins two schedules or more, got {}", call.name, calls.len());
        let at = calls.first().map_or(call.span, |c| c.span);
        let help = "as in sequential(linear(0.1), cosine, at=5 epochs)";
        let help = if sequential { help } else { "as in chained(cosine(0.1), exponential)" };
        return Err(ExprError::new(source, at, message).help(help));
    }
    let mut followed = false;
    for part in calls {
        let schedule = schedule(part, source)?;
        if schedule.follows_scores() && sequential {
            let help = "a rise before it is its warmup";
            let message = "plateau counts scores from the start of the run: it stands alone or in chained";
            return Err(ExprError::new(source, part.span, message).help(help));
        }
        if schedule.follows_scores() && std::mem::replace(&mut followed, true) {
            return error(part.span, "a schedule follows scores in one place".into());
        }
        whole.parts.push(schedule);
    }
    let first = &mut whole.parts[0].lr;
    if whole.lr.is_some() && first.is_some() {
        return error(
            calls[0].span,
            format!("lr is given twice: for {} and for its first schedule", call.name),
        );
    }
    whole.lr = whole.lr.or(first.take());
    if !sequential {
        return Ok(());
    }
    let n = calls.len();
    if at.is_empty() {
        whole.at = (1..n).map(|i| Duration::Percent(100.0 * i as f64 / n as f64)).collect();
    }
    if whole.at.len() != n - 1 {
        let (is, got) = (if n == 2 { "is one change" } else { "are changes" }, whole.at.len());
        let message =
            format!("between {n} schedules there {is}, {} in all: {AT} is given {got} times", n - 1);
        return error(at.last().map_or(call.span, |a| a.span), message);
    }
    Ok(())
}
