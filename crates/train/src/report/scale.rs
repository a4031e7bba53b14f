//! From values to positions: ranges that always have a width, and ticks at round numbers.

use super::charts::{Axis, Spacing};
use super::number::{exponent, power};

/// The mapping of one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub low: f64,
    pub high: f64,
    pub log: bool,
    /// Curves over integers, as steps are: no tick between two of them.
    whole: bool,
}

/// A tick: where, as a share of the axis, and its label.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub at: f64,
    pub label: String,
}

/// How much room to leave between the data and the ends of the axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Margin {
    /// None: curves that run from edge to edge.
    None,
    /// A little on both sides, and down to zero if that is near.
    Some,
    /// A little on both sides.
    Points,
}

/// Magnitudes below this are as good as zero: their quotients overflow.
const LEAST: f64 = 1e-290;

/// Whether a value can be drawn at all. Beyond 1e300 differences overflow.
pub(super) fn drawable(value: f64) -> bool {
    value.abs() <= 1e300
}

impl Scale {
    /// The scale of an axis over these values, of which NaN and infinity are ignored.
    pub fn fit(axis: &Axis, values: impl Iterator<Item = f64>, margin: Margin) -> Scale {
        let mut range = Range::EMPTY;
        values.for_each(|v| range.add(v));
        let log = match axis.spacing {
            Spacing::Linear => false,
            Spacing::Log => range.least_positive.is_finite() || axis.min.is_some_and(|v| v > 0.0),
            Spacing::Auto => range.low > 0.0 && range.high.is_finite() && range.high / range.low > 50.0,
        };
        if log { Self::logarithmic(axis, range, margin) } else { Self::linear(axis, range, margin) }
    }

    fn linear(axis: &Axis, range: Range, margin: Margin) -> Scale {
        let (mut low, mut high) = range.or((0.0, 1.0));
        let given = |v: Option<f64>| v.filter(|v| drawable(*v));
        (low, high) = (given(axis.min).unwrap_or(low), given(axis.max).unwrap_or(high));
        let size = low.abs().max(high.abs());
        let narrow = high - low <= 1e-9 * size;
        if narrow || size < LEAST {
            // one value, or as good as one, or a range that the caller gave in the wrong order
            let reach = if size < LEAST { 1.0 } else { size * 0.1 };
            (low, high) = (low.min(high) - reach, high.max(low) + reach);
        } else if margin != Margin::None {
            let room = (high - low) * 0.04;
            let near_zero = margin == Margin::Some && low >= 0.0 && low < 0.3 * high;
            let (bottom, top) = (low, high);
            if given(axis.min).is_none() {
                low = if near_zero || (bottom >= 0.0 && bottom < room) { 0.0 } else { bottom - room };
            }
            if given(axis.max).is_none() {
                high = if margin == Margin::Some && top <= 0.0 && top > -room { 0.0 } else { top + room };
            }
        }
        let whole = range.whole
            && range.low <= range.high
            && margin == Margin::None
            && high - low >= 1.0
            && low == libm::trunc(low);
        Scale { low, high, log: false, whole }
    }

    fn logarithmic(axis: &Axis, range: Range, margin: Margin) -> Scale {
        let given = |v: Option<f64>| v.filter(|v| drawable(*v) && *v >= LEAST);
        let (low, high) = match range.least_positive.is_finite() {
            true => (range.least_positive.max(LEAST), range.high.max(LEAST)),
            false => (1.0, 10.0),
        };
        let (low, high) = (given(axis.min).unwrap_or(low), given(axis.max).unwrap_or(high));
        let (mut start, mut end) = (libm::log10(low.min(high)), libm::log10(high.max(low)));
        if end - start < 1e-9 {
            (start, end) = (start - 0.5, end + 0.5);
        } else if margin != Margin::None {
            let room = (end - start) * 0.04;
            start -= if given(axis.min).is_none() { room } else { 0.0 };
            end += if given(axis.max).is_none() { room } else { 0.0 };
        }
        Scale {
            low: libm::pow(10.0, start.max(-305.0)),
            high: libm::pow(10.0, end.min(305.0)),
            log: true,
            whole: false,
        }
    }

    /// Where a value lies, 0 at the start and 1 at the end; NaN for a value that has no place.
    pub fn at(&self, value: f64) -> f64 {
        // a value far outside stays a number that can be computed with
        self.place(value).clamp(-1e12, 1e12)
    }

    fn place(&self, value: f64) -> f64 {
        match (self.log, value) {
            (_, v) if !drawable(v) => f64::NAN,
            (false, v) => (v - self.low) / (self.high - self.low),
            (true, v) if v >= LEAST => {
                let start = libm::log10(self.low);
                (libm::log10(v) - start) / (libm::log10(self.high) - start)
            }
            (true, _) => f64::NAN,
        }
    }

    /// At most about `most` ticks at round values.
    pub fn ticks(&self, most: usize) -> Vec<Tick> {
        let decades = libm::log10(self.high) - libm::log10(self.low);
        let values = match self.log {
            true if decades >= 1.0 => self.log_ticks(most),
            _ => return self.linear_ticks(most),
        };
        values
            .into_iter()
            .map(|(mantissa, n)| Tick {
                at: self.at(f64::from(mantissa) * power(n)),
                label: log_label(mantissa, n),
            })
            .filter(|tick| (-1e-9..=1.0 + 1e-9).contains(&tick.at))
            .collect()
    }

    /// Powers of ten, every k-th if there are many, with 2 and 5 between them if there are few.
    fn log_ticks(&self, most: usize) -> Vec<(u8, i32)> {
        let (start, end) = (libm::log10(self.low), libm::log10(self.high));
        let decades = (libm::ceil(start - 1e-9) as i32)..=(libm::floor(end + 1e-9) as i32);
        let count = (end - start) as usize + 1;
        if 3 * count <= most + 3 {
            let below = *decades.start() - 1;
            return (below..=*decades.end()).flat_map(|n| [(1, n), (2, n), (5, n)]).collect();
        }
        let stride = count.div_ceil(most.max(2)) as i32;
        decades.filter(|n| n.rem_euclid(stride) == 0).map(|n| (1, n)).collect()
    }

    fn linear_ticks(&self, most: usize) -> Vec<Tick> {
        let mut step = nice_step((self.high - self.low) / most.max(2) as f64);
        if self.whole {
            step = step.max(1.0);
        }
        let labels = Labels::of(step, self.low.abs().max(self.high.abs()));
        let first = libm::ceil(self.low / step - 1e-9);
        (0..)
            .map(|i| (first + f64::from(i)) * step)
            .take_while(|v| *v <= self.high + step * 1e-9)
            .map(|v| Tick { at: self.at(v), label: labels.label(v) })
            .filter(|tick| tick.at.is_finite())
            .collect()
    }
}

/// What the data spans.
#[derive(Clone, Copy)]
struct Range {
    low: f64,
    high: f64,
    least_positive: f64,
    whole: bool,
}

impl Range {
    const EMPTY: Range =
        Range { low: f64::INFINITY, high: f64::NEG_INFINITY, least_positive: f64::INFINITY, whole: true };

    fn add(&mut self, v: f64) {
        if !drawable(v) {
            return;
        }
        self.low = self.low.min(v);
        self.high = self.high.max(v);
        if v > 0.0 {
            self.least_positive = self.least_positive.min(v);
        }
        self.whole &= v == libm::trunc(v);
    }

    fn or(self, default: (f64, f64)) -> (f64, f64) {
        if self.low <= self.high { (self.low, self.high) } else { default }
    }
}

/// 1, 2 or 5 times a power of ten, at least `rough`.
fn nice_step(rough: f64) -> f64 {
    let rough = rough.max(1e-306);
    let n = exponent(rough);
    // below 1e-22 the quotient is more exact than the product
    let times = |m: f64| if n < 0 { m / power(-n) } else { m * power(n) };
    [1.0, 2.0, 5.0].map(times).into_iter().find(|step| *step >= rough * (1.0 - 1e-9)).unwrap_or(times(10.0))
}

/// One form for all labels of an axis.
enum Labels {
    /// Divided by a thousand or a million, with that letter after it.
    Suffix { divisor: f64, letter: &'static str, decimals: usize },
    /// With a common power of ten after it.
    Scientific { n: i32, decimals: usize },
}

impl Labels {
    fn of(step: f64, size: f64) -> Labels {
        let decimals = |divisor: f64| usize::try_from(-exponent(step / divisor)).unwrap_or(0).min(17);
        let plain = Labels::Suffix { divisor: 1.0, letter: "", decimals: decimals(1.0) };
        if size == 0.0 {
            return plain;
        }
        let suffix = |divisor, letter| Labels::Suffix { divisor, letter, decimals: decimals(divisor) };
        match size {
            s if (1e4..1e6).contains(&s) && decimals(1e3) <= 1 => suffix(1e3, "k"),
            s if (1e6..1e9).contains(&s) && decimals(1e6) <= 2 => suffix(1e6, "M"),
            s if (2e-3..1e9).contains(&s) => plain,
            s => {
                let n = exponent(s);
                let digits = (n - exponent(step)).clamp(0, 17);
                Labels::Scientific { n, decimals: digits as usize }
            }
        }
    }

    fn label(&self, value: f64) -> String {
        let text = match self {
            _ if value == 0.0 => "0".into(),
            Labels::Suffix { divisor, letter, decimals } => {
                format!("{:.decimals$}{letter}", value / divisor)
            }
            Labels::Scientific { n, decimals } => {
                let mantissa = if *n > -300 { value / power(*n) } else { value * 1e300 / power(n + 300) };
                format!("{mantissa:.decimals$}e{n}")
            }
        };
        text.replace('-', "−")
    }
}

/// The label of m·10ⁿ on a logarithmic axis.
fn log_label(mantissa: u8, n: i32) -> String {
    match n {
        0..=3 => format!("{mantissa}{}", "0".repeat(n as usize)),
        4..=5 => format!("{mantissa}{}k", "0".repeat(n as usize - 3)),
        6..=8 => format!("{mantissa}{}M", "0".repeat(n as usize - 6)),
        -3..=-1 => format!("0.{}{mantissa}", "0".repeat((-n - 1) as usize)),
        _ => format!("{mantissa}e{n}").replace('-', "−"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, values: &[f64], margin: Margin) -> Vec<String> {
        let scale = Scale::fit(axis, values.iter().copied(), margin);
        scale.ticks(6).into_iter().map(|t| t.label).collect()
    }

    fn auto(values: &[f64]) -> Vec<String> {
        labels(&Axis::new(""), values, Margin::None)
    }

    #[test]
    fn round_ticks() {
        assert_eq!(auto(&[0.0, 0.5, 1.0]), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(auto(&[0.0, 100_000.0]), ["0", "20k", "40k", "60k", "80k", "100k"]);
        assert_eq!(auto(&[-3.0, 3.0]), ["−3", "−2", "−1", "0", "1", "2", "3"]);
        assert_eq!(auto(&[0.0, 3.0]), ["0", "1", "2", "3"]);
        assert_eq!(auto(&[0.0, 4e-5]), ["0", "1e−5", "2e−5", "3e−5", "4e−5"]);
        assert_eq!(auto(&[0.0, 2.5e12]).last().map(String::as_str), Some("2.5e12"));
    }

    #[test]
    fn whole_numbers_have_no_ticks_between() {
        assert_eq!(auto(&[1.0, 2.0, 3.0]), ["1", "2", "3"]);
        assert_eq!(auto(&[1.0, 2.0]), ["1", "2"]);
    }

    #[test]
    fn decades() {
        let log = |values: &[f64]| labels(&Axis::log(""), values, Margin::None);
        assert_eq!(log(&[1.0, 1000.0]), ["1", "10", "100", "1000"]);
        assert_eq!(log(&[1e-12, 1.0]), ["1e−12", "1e−9", "1e−6", "0.001", "1"]);
        assert_eq!(log(&[0.1, 3.0]), ["0.1", "0.2", "0.5", "1", "2"]);
        assert_eq!(log(&[1e-280, 1e300]).len(), 6);
        assert_eq!(log(&[2.0, 3.0]).first().map(String::as_str), Some("2.0"));
    }

    #[test]
    fn automatic_spacing() {
        let log = |values: &[f64]| Scale::fit(&Axis::new(""), values.iter().copied(), Margin::Some).log;
        assert!(log(&[0.01, 12.0]));
        assert!(!log(&[0.5, 12.0]));
        assert!(!log(&[0.0, 12.0]));
        assert!(!log(&[-1.0, 12.0]));
        assert!(!log(&[]));
    }

    #[test]
    fn every_range_has_a_width_and_a_few_ticks_inside() {
        let hard: &[&[f64]] = &[
            &[],
            &[f64::NAN, f64::INFINITY],
            &[0.0],
            &[5.0, 5.0],
            &[-5.0],
            &[1e300, -1e300],
            &[f64::MAX, f64::MIN, 1.0],
            &[1e-310, 2e-310],
            &[5e-324],
            &[1.0, 1.0 + 1e-15],
            &[1.0, 1.0 + 1e-6],
            &[1e15, 1e15 + 1.0],
            &[123_456.0, 123_456.5],
            &[0.0, 1e-300],
            &[1e-300, 1e300],
            &[-1e-7, 1e7],
            &[999.999, 1000.001],
        ];
        for values in hard {
            for axis in [Axis::new("x"), Axis::linear("x"), Axis::log("x")] {
                for margin in [Margin::None, Margin::Some, Margin::Points] {
                    let scale = Scale::fit(&axis, values.iter().copied(), margin);
                    let ticks = scale.ticks(6);
                    let what = format!("{values:?} {axis:?} {scale:?} {ticks:?}");
                    assert!(scale.low < scale.high, "{what}");
                    assert!((2..=13).contains(&ticks.len()), "{what}");
                    assert!(ticks.iter().all(|t| (-1e-6..=1.0 + 1e-6).contains(&t.at)), "{what}");
                    assert!(ticks.windows(2).all(|t| t[0].at < t[1].at), "{what}");
                    assert!(ticks.windows(2).all(|t| t[0].label != t[1].label), "{what}");
                    assert!(ticks.iter().all(|t| t.label.chars().count() <= 20), "{what}");
                    let places = values.iter().map(|v| scale.at(*v)).filter(|v| v.is_finite());
                    assert!(places.into_iter().all(|p| (-1e-6..=1.0 + 1e-6).contains(&p)), "{what}");
                }
            }
        }
    }

    #[test]
    fn given_ends_hold() {
        let scale = Scale::fit(&Axis::new("").range(0.0, 1.0), [3.0, 7.0].into_iter(), Margin::Some);
        assert_eq!((scale.low, scale.high), (0.0, 1.0));
        let scale = Scale::fit(&Axis::new("").range(1.0, -1.0), [0.0].into_iter(), Margin::None);
        assert!(scale.low < scale.high);
    }
}
