//! Dates: `2024-12-31`, with or without a time, as numbers.

use jiff::civil::{DateTime, date};
use serde::{Deserialize, Serialize};

/// A number that is read off a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatePart {
    /// The year.
    Year,
    /// The month, 1 to 12.
    Month,
    /// The day of the week, 1 (Monday) to 7.
    Weekday,
    /// Days since the first date of the training rows, with the time of day as a fraction.
    Days,
}

impl DatePart {
    /// All parts, in the order of the features.
    pub const ALL: [DatePart; 4] = [DatePart::Year, DatePart::Month, DatePart::Weekday, DatePart::Days];

    /// Its name: `year`, `month`, `weekday`, `days`.
    pub fn name(self) -> &'static str {
        match self {
            DatePart::Year => "year",
            DatePart::Month => "month",
            DatePart::Weekday => "weekday",
            DatePart::Days => "days",
        }
    }

    /// This part of `at`; days are counted from `first`.
    pub(crate) fn of(self, at: DateTime, first: DateTime) -> f64 {
        match self {
            DatePart::Year => at.year().into(),
            DatePart::Month => at.month().into(),
            DatePart::Weekday => at.weekday().to_monday_one_offset().into(),
            DatePart::Days => days(at) - days(first),
        }
    }
}

/// Days since 1970-01-01.
fn days(at: DateTime) -> f64 {
    let since = at.duration_since(date(1970, 1, 1).to_datetime(Default::default()));
    (since.as_secs() as f64 + f64::from(since.subsec_nanos()) * 1e-9) / 86_400.0
}

/// Days since 1970-01-01 of a date, with the time of day as a fraction: `1.5` for `1970-01-02T12:00`. Dates are what a cell of a table can have;
/// for other texts there is none.
pub fn days_since_1970(date: &str) -> Option<f64> {
    parse(date).map(days)
}

/// The date that a text is: ISO 8601, `YYYY-MM-DD`, then perhaps `T` or a space and a time; one with an offset is put in UTC.
pub(crate) fn parse(text: &str) -> Option<DateTime> {
    let digits = |range: std::ops::Range<usize>| text.as_bytes()[range].iter().all(u8::is_ascii_digit);
    let bytes = text.as_bytes();
    if bytes.len() < 10
        || !digits(0..4)
        || bytes[4] != b'-'
        || !digits(5..7)
        || bytes[7] != b'-'
        || !digits(8..10)
    {
        return None;
    }
    // First with an offset: a civil date and time would drop it.
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => Some(jiff::tz::Offset::UTC.to_datetime(at)),
        Err(_) => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_from_1970() {
        let texts = ["1970-01-02T12:00", "2000-03-01", "1969-12-31T18:00", "0000-01-01", "soon"];
        let days = texts.map(days_since_1970);
        assert_eq!(days, [Some(1.5), Some(11_017.0), Some(-0.25), Some(-719_528.0), None]);
    }

    #[test]
    fn iso_dates_are_dates_and_nothing_else_is() {
        let first = parse("2023-12-31").unwrap();
        let parts = |text| DatePart::ALL.map(|p| p.of(parse(text).unwrap(), first));
        assert_eq!(parts("2024-02-29"), [2024.0, 2.0, 4.0, 60.0]);
        assert_eq!(parts("2024-01-01 12:00"), [2024.0, 1.0, 1.0, 1.5]);
        assert_eq!(parts("2024-01-01T06:00:00Z"), [2024.0, 1.0, 1.0, 1.25]);
        assert_eq!(parts("2024-01-01T06:00:00+06:00"), [2024.0, 1.0, 1.0, 1.0]);
        for text in
            ["", "2024", "20240101", "2023-02-29", "2024-1-1", "2024-13-01", "01/02/2024", "2024-01-01x"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
