//! [`Hyper`]: one declaration of a hyperparameter, which validates it, documents it and parses it.

use std::fmt;

use crate::expr::{Arg, Call, ExprError, Value};
use crate::suggest::nearest;

/// The values a hyperparameter may take. NaN is in no range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    low: f64,
    low_open: bool,
    high: f64,
    high_open: bool,
    /// Only 0 and 1, written `false` and `true`.
    switch: bool,
    /// Only whole numbers.
    whole: bool,
    /// Only words: the value is the place of one, from 0.
    words: &'static [&'static str],
}

impl Range {
    /// [0, ∞).
    pub const NON_NEGATIVE: Self = Self::new(0.0, false, f64::INFINITY, true);
    /// (0, ∞).
    pub const POSITIVE: Self = Self::new(0.0, true, f64::INFINITY, true);
    /// [0, 1).
    pub const UNIT: Self = Self::new(0.0, false, 1.0, true);
    /// [0, 1].
    pub const FRACTION: Self = Self::new(0.0, false, 1.0, false);
    /// (0, 1).
    pub const INSIDE_UNIT: Self = Self::new(0.0, true, 1.0, true);
    /// `true` or `false`.
    pub const SWITCH: Self = Self { switch: true, ..Self::FRACTION };
    /// 1, 2, 3, …
    pub const COUNT: Self = Self { whole: true, ..Self::new(1.0, false, 1e15, false) };

    /// From `low` to `high`; an open end is not itself in the range.
    pub const fn new(low: f64, low_open: bool, high: f64, high_open: bool) -> Self {
        Self { low, low_open, high, high_open, switch: false, whole: false, words: &[] }
    }
    /// One of these words; the value is its place, from 0.
    pub const fn one_of(words: &'static [&'static str]) -> Self {
        Self { words, ..Self::new(0.0, false, words.len() as f64 - 1.0, false) }
    }
    /// Whether `x` is allowed.
    pub fn contains(&self, x: f64) -> bool {
        let above = if self.low_open { x > self.low } else { x >= self.low };
        let below = if self.high_open { x < self.high } else { x <= self.high };
        let whole = self.whole || !self.words.is_empty();
        above && below && (!self.switch || x == 0.0 || x == 1.0) && (!whole || x.fract() == 0.0)
    }
    /// The words that the value is one of; none where it is a number.
    pub fn words(&self) -> &'static [&'static str] {
        self.words
    }
    /// Whether the value is `true` or `false`.
    pub fn is_switch(&self) -> bool {
        self.switch
    }
    /// Whether only whole numbers are allowed.
    pub fn is_whole(&self) -> bool {
        self.whole
    }
    /// Values outside, near each end and far from it: what a test offers to see them refused.
    pub fn outside(&self) -> Vec<f64> {
        let mut all = vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, self.low - 1.0, self.high + 1.0];
        all.extend([self.low, self.high, self.low + 0.5]);
        all.retain(|&x| !self.contains(x));
        all
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.switch {
            return f.write_str("true or false");
        }
        if let [first @ .., last] = self.words {
            return if first.is_empty() {
                f.write_str(last)
            } else {
                write!(f, "{} or {last}", first.join(", "))
            };
        }
        if self.whole {
            return f.write_str("{1, 2, 3, …}");
        }
        let end = |x: f64| {
            if x.is_infinite() { if x > 0.0 { "∞".into() } else { "−∞".into() } } else { x.to_string() }
        };
        let (open, close) = (if self.low_open { '(' } else { '[' }, if self.high_open { ')' } else { ']' });
        write!(f, "{open}{}, {}{close}", end(self.low), end(self.high))
    }
}

/// A hyperparameter: its name, default, range and meaning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyper {
    /// The name, PyTorch's where there is a choice.
    pub name: &'static str,
    /// The value when nothing is said; NaN when there is none and it must be given.
    pub default: f64,
    /// The allowed values.
    pub range: Range,
    /// What it is, with its unit.
    pub doc: &'static str,
}

impl Hyper {
    /// A hyperparameter with a default.
    pub const fn new(name: &'static str, default: f64, range: Range, doc: &'static str) -> Self {
        Self { name, default, range, doc }
    }
    /// A hyperparameter that must be given.
    pub const fn required(name: &'static str, range: Range, doc: &'static str) -> Self {
        Self { name, default: f64::NAN, range, doc }
    }
    /// Refuses a value outside the range, in words.
    ///
    /// # Errors
    /// A sentence as in `beta1 must be in [0, 1), got 1.2`.
    pub fn check(&self, x: f64) -> Result<f64, String> {
        if self.range.contains(x) {
            return Ok(x);
        }
        let is =
            if self.range.is_switch() || !self.range.words.is_empty() { "must be" } else { "must be in" };
        Err(format!("{} {is} {}, got {x}", self.name, self.range))
    }
    /// The value as it is written in an expression.
    pub fn print(&self, x: f64) -> String {
        match self.range.words.get(x as usize).filter(|_| x >= 0.0) {
            Some(word) => (*word).into(),
            None if self.range.is_switch() => (x != 0.0).to_string(),
            None => crate::expr::number(x),
        }
    }
}

/// The values of `declared` that `call` gives, defaults filled in, each checked against its range. Positional values fill
/// the declarations in order.
///
/// # Errors
/// An unknown name (with the nearest known one), a value twice, of the wrong type or outside its range, or a missing
/// required one: each points at its place in the source.
pub fn resolve(call: &Call, declared: &[Hyper], source: &str) -> Result<Vec<f64>, ExprError> {
    let mut values: Vec<Option<f64>> = vec![None; declared.len()];
    for (nth, arg) in call.args.iter().enumerate() {
        let place = place_of(call, arg, nth, declared.iter().map(|h| h.name), source)?;
        let hyper = &declared[place];
        if values[place].is_some() {
            return Err(ExprError::new(source, arg.span, format!("{} is given twice", hyper.name)));
        }
        let (switch, words) = (hyper.range.is_switch(), hyper.range.words);
        let word = match &arg.value {
            Value::Call(call) if call.args.is_empty() => words.iter().position(|w| *w == call.name),
            _ => None,
        };
        let x = match (&arg.value, word) {
            (_, Some(place)) => place as f64,
            (Value::Number(x), _) if !switch && words.is_empty() => *x,
            (Value::Percent(x), _) if !switch && words.is_empty() => *x / 100.0,
            (Value::Switch(b), _) if switch => f64::from(u8::from(*b)),
            (other, _) => {
                let wanted =
                    if switch || !words.is_empty() { hyper.range.to_string() } else { "a number".into() };
                let message = format!("{} takes {wanted}, got {other}", hyper.name);
                let error = ExprError::new(source, arg.value_span, message);
                return Err(match nearest(&other.to_string(), words.iter().copied()) {
                    Some(near) => error.help(format!("did you mean {near:?}?")),
                    None => error,
                });
            }
        };
        hyper.check(x).map_err(|message| ExprError::new(source, arg.value_span, message))?;
        values[place] = Some(x);
    }
    declared
        .iter()
        .zip(values)
        .map(|(hyper, given)| match given {
            Some(x) => Ok(x),
            None if hyper.default.is_nan() => {
                let message = format!("{} needs {}: {}", call.name, hyper.name, hyper.doc);
                Err(ExprError::new(source, call.span, message))
            }
            None => Ok(hyper.default),
        })
        .collect()
}

/// Which of `names` the `nth` argument is for.
///
/// # Errors
/// An unknown name, or more values than names.
pub fn place_of<'a>(
    call: &Call,
    arg: &Arg,
    nth: usize,
    names: impl Iterator<Item = &'a str> + Clone,
    source: &str,
) -> Result<usize, ExprError> {
    let Some(name) = &arg.name else {
        return if nth < names.clone().count() {
            Ok(nth)
        } else {
            let all = names.collect::<Vec<_>>().join(", ");
            let message = if all.is_empty() {
                format!("{} takes no values", call.name)
            } else {
                format!("{} takes no more values than {all}", call.name)
            };
            Err(ExprError::new(source, arg.span, message))
        };
    };
    names.clone().position(|n| n == name).ok_or_else(|| {
        let message = format!("{} has no hyperparameter {name:?}", call.name);
        let help = match nearest(name, names.clone()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("it has {}", names.collect::<Vec<_>>().join(", ")),
        };
        ExprError::new(source, arg.span, message).help(help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_know_their_ends_and_refuse_nan() {
        assert!(Range::UNIT.contains(0.0) && !Range::UNIT.contains(1.0));
        assert!(!Range::POSITIVE.contains(0.0) && Range::POSITIVE.contains(1e-300));
        assert!(!Range::NON_NEGATIVE.contains(f64::INFINITY));
        for range in [Range::UNIT, Range::POSITIVE, Range::NON_NEGATIVE, Range::SWITCH, Range::FRACTION] {
            assert!(!range.contains(f64::NAN));
            assert!(range.outside().len() >= 3);
        }
        let message = Hyper::new("beta1", 0.9, Range::UNIT, "").check(1.2).unwrap_err();
        assert_eq!(message, "beta1 must be in [0, 1), got 1.2");
    }

    #[test]
    fn a_word_is_its_place() {
        let by = Hyper::new("by", 1.0, Range::one_of(&["hand", "foot", "rail"]), "how");
        assert_eq!((by.print(0.0), by.range.to_string()), ("hand".into(), "hand, foot or rail".into()));
        assert!(by.range.contains(2.0) && !by.range.contains(3.0) && !by.range.contains(0.5));
        assert_eq!(by.check(-1.0).unwrap_err(), "by must be hand, foot or rail, got -1");
        let values = |text: &str| resolve(&crate::expr::parse_call(text).unwrap(), &[by], text);
        assert_eq!(values("go(rail)"), Ok(vec![2.0]));
        assert_eq!(values("go(by=hand)"), Ok(vec![0.0]));
        assert_eq!(values("go"), Ok(vec![1.0]));
        let error = values("go(by=fot)").unwrap_err().to_string();
        assert!(error.starts_with("by takes hand, foot or rail, got fot"), "{error}");
        assert!(error.ends_with("did you mean \"foot\"?"), "{error}");
        for wrong in ["go(2)", "go(by=true)", "go(by=rail(1))"] {
            assert!(
                values(wrong).unwrap_err().to_string().starts_with("by takes hand, foot or rail"),
                "{wrong}"
            );
        }
    }
}
