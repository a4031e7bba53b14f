//! Parts of a date from its days since 1970-01-01, by whole-number operators.
//!
//! The calendar is Gregorian, also before 1582. Days become years of 400-year cycles that start in March, so that the leap day is
//! the last of a year: H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`,
//! <https://howardhinnant.github.io/date_algorithms.html>.
//! ```text
//! z = days + 719468           era = z/146097        d = z mod 146097                        day of the cycle
//! y = (d − d/1460 + d/36524 − d/146096)/365         p = d − (365y + y/4 − y/100)            year and day of it
//! m = (5p + 2)/153            month = m + 3, from m = 10 on m − 9                          year = 400·era + y + [month ≤ 2]
//! weekday = (z + 2) mod 7 + 1                                                               1 is Monday
//! ```
//! Here z has [`CYCLES`] cycles more, so that the first days of year 0 are not negative: quotients are rounded down.

use thalweg_data::{DatePart, days_since_1970};
use thalweg_models::onnx::{Edge, Graph, Type};

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;
/// Days of 400 years, a multiple of 7.
const CYCLE: i64 = 146_097;
/// Cycles that are added.
const CYCLES: i64 = 1;

/// Whole numbers that are worked on.
struct Whole<'g> {
    graph: &'g mut Graph,
}

impl Whole<'_> {
    fn with(&mut self, op: &str, x: &Edge, y: i64) -> Edge {
        let y = self.graph.scalar(y);
        self.graph.node(op, &[x, &y], [])
    }
    fn plus(&mut self, x: &Edge, y: i64) -> Edge {
        self.with("Add", x, y)
    }
    fn times(&mut self, x: &Edge, y: i64) -> Edge {
        self.with("Mul", x, y)
    }
    /// Rounded down, as x is never negative.
    fn over(&mut self, x: &Edge, y: i64) -> Edge {
        self.with("Div", x, y)
    }
    fn add(&mut self, x: &Edge, y: &Edge) -> Edge {
        self.graph.node("Add", &[x, y], [])
    }
    fn sub(&mut self, x: &Edge, y: &Edge) -> Edge {
        self.graph.node("Sub", &[x, y], [])
    }
    /// `a` where x < y, else `b`.
    fn below(&mut self, x: &Edge, y: i64, a: &Edge, b: &Edge) -> Edge {
        let below = self.with("Less", x, y);
        self.graph.node("Where", &[&below, a, b], [])
    }
    /// The remainder of a division by y.
    fn rest(&mut self, x: &Edge, y: i64) -> Edge {
        let whole = self.over(x, y);
        let whole = self.times(&whole, y);
        self.sub(x, &whole)
    }

    /// The year and the month of z.
    fn year_and_month(&mut self, z: &Edge) -> [Edge; 2] {
        let era = self.over(z, CYCLE);
        let d = self.rest(z, CYCLE);
        let mut y = d.clone();
        for (sign, days) in [("Sub", 1_460), ("Add", 36_524), ("Sub", 146_096)] {
            let leaps = self.over(&d, days);
            y = self.graph.node(sign, &[&y, &leaps], []);
        }
        let y = self.over(&y, 365);
        // p = d − (365y + y/4 − y/100)
        let (days, fours, hundreds) = (self.times(&y, 365), self.over(&y, 4), self.over(&y, 100));
        let past = self.add(&days, &fours);
        let past = self.sub(&past, &hundreds);
        let p = self.sub(&d, &past);
        let m = self.times(&p, 5);
        let m = self.plus(&m, 2);
        let m = self.over(&m, 153);
        let (spring, winter) = (self.plus(&m, 3), self.plus(&m, -9));
        let month = self.below(&m, 10, &spring, &winter);
        let era = self.plus(&era, -CYCLES);
        let eras = self.times(&era, 400);
        let year = self.add(&eras, &y);
        let next = self.plus(&year, 1);
        [self.below(&month, 3, &next, &year), month]
    }
}

/// Those parts of a date, each `[n, 1]` in double; NaN where `days` is. Days are counted from the date `first`.
pub(super) fn parts(graph: &mut Graph, days: &Edge, first: &str, parts: &[DatePart]) -> Vec<Edge> {
    let missing = graph.node("IsNaN", &[days], []);
    // Whatever NaN would become as a whole number.
    let zero = graph.scalar(0.0f64);
    let present = graph.node("Where", &[&missing, &zero, days], []);
    let offset = graph.scalar((EPOCH + CYCLES * CYCLE) as f64);
    let z = graph.node("Add", &[&present, &offset], []);
    let z = graph.cast(&z, Type::Whole);
    let mut whole = Whole { graph };
    let [year, month] = whole.year_and_month(&z);
    let weekday = whole.plus(&z, 2);
    let weekday = whole.rest(&weekday, 7);
    let weekday = whole.plus(&weekday, 1);
    let part = |part: &DatePart| {
        let whole = match part {
            DatePart::Year => &year,
            DatePart::Month => &month,
            DatePart::Weekday => &weekday,
            DatePart::Days => {
                let first = graph.scalar(days_since_1970(first).unwrap_or_default());
                return graph.node("Sub", &[days, &first], []);
            }
        };
        let x = graph.cast(whole, Type::Double);
        graph.node("Where", &[&missing, days, &x], [])
    };
    parts.iter().map(part).collect()
}
