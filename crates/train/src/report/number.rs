//! Numbers into text: for people to read, and short ones for the script.

use std::fmt::Write;

/// The decimal exponent of a finite number other than zero: the n of d.ddd × 10ⁿ.
pub(super) fn exponent(value: f64) -> i32 {
    let mut n = libm::floor(libm::log10(value.abs())) as i32;
    // log10 may round up to the next integer just below a power of ten
    if power(n) > value.abs() {
        n -= 1;
    }
    n
}

/// 10ⁿ, correctly rounded.
pub(super) fn power(n: i32) -> f64 {
    const SMALL: [f64; 16] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    match usize::try_from(n) {
        Ok(n) if n < SMALL.len() => SMALL[n],
        _ => format!("1e{n}").parse().expect("a power of ten parses"),
    }
}

/// Four significant digits, with a true minus sign; thousands in integers are parted; NaN and infinity are a dash.
pub fn human(value: f64) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    let size = value.abs();
    if size == 0.0 {
        return "0".into();
    }
    if value == libm::trunc(value) && size < 1e15 {
        return signed(value, grouped(size as u64));
    }
    if !(1e-4..1e6).contains(&size) {
        let text = format!("{size:.3e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return signed(value, format!("{}e{}", trimmed(mantissa), exponent.replace('-', "−")));
    }
    let decimals = usize::try_from(3 - exponent(size)).unwrap_or(0);
    let text = format!("{size:.decimals$}");
    if size >= 1e4 {
        signed(value, grouped(libm::round(size) as u64))
    } else {
        signed(value, trimmed(&text).into())
    }
}

/// With so many digits after the point, with a true minus sign; NaN and infinity are a dash.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if value.is_finite() { signed(value, format!("{:.decimals$}", value.abs())) } else { "–".into() }
}

fn signed(value: f64, text: String) -> String {
    if value < 0.0 { format!("−{text}") } else { text }
}

/// An integer with a comma between groups of three digits.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Without the zeros that end a decimal fraction.
fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// A share as a percentage: two digits are enough to read, one decimal near the ends.
pub(super) fn percent(share: f64) -> String {
    let value = share * 100.0;
    if !value.is_finite() {
        "–".into()
    } else if value == libm::round(value) || (1.0..99.0).contains(&value) {
        format!("{value:.0}%")
    } else {
        format!("{value:.1}%")
    }
}

/// Appends a number for the script: five significant digits as JavaScript reads them, integers in full.
pub(super) fn short_into(out: &mut String, value: f64) {
    let size = value.abs();
    if !value.is_finite() {
        out.push('-');
    } else if value == libm::trunc(value) && size < 1e15 {
        let _ = write!(out, "{}", value as i64);
    } else if (1e-3..1e5).contains(&size) {
        let decimals = usize::try_from(4 - exponent(size)).unwrap_or(0);
        let start = out.len();
        let _ = write!(out, "{value:.decimals$}");
        trim_end(out, start);
    } else {
        let text = format!("{value:.4e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let _ = write!(out, "{}e{exponent}", trimmed(mantissa));
    }
}

/// Removes the zeros that end the decimal fraction that starts at `start`.
fn trim_end(out: &mut String, start: usize) {
    if out[start..].contains('.') {
        out.truncate(start + trimmed(&out[start..]).len());
    }
}

/// Appends a share of the plot's width or height as a CSS percentage.
pub(super) fn css_percent_into(out: &mut String, share: f64) {
    let start = out.len();
    let _ = write!(out, "{:.3}", share * 100.0);
    trim_end(out, start);
    out.push('%');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-12345.0, "−12,345"),
            (1_234_567.0, "1,234,567"),
            (0.947368, "0.9474"),
            (0.95, "0.95"),
            (2.5678, "2.568"),
            (123.456, "123.5"),
            (12345.678, "12,346"),
            (-1.2346e-7, "−1.235e−7"),
            (2.5e9 + 0.5, "2.5e9"),
            (999_999.6, "1,000,000"),
            (f64::NAN, "–"),
            (f64::INFINITY, "–"),
            (f64::MAX, "1.798e308"),
            (5e-324, "4.941e−324"),
        ];
        for (value, text) in cases {
            assert_eq!(human(value), text, "{value:e}");
        }
    }

    #[test]
    fn numbers_for_the_script_read_back() {
        let mut value = 1.2345678e-30;
        while value < 1e30 {
            for v in [value, -value] {
                let mut out = String::new();
                short_into(&mut out, v);
                let back: f64 = out.parse().expect("a number");
                assert!((back - v).abs() <= 6e-5 * v.abs(), "{v:e} became {out}");
            }
            value *= 3.7;
        }
        let text = |v| {
            let mut out = String::new();
            short_into(&mut out, v);
            out
        };
        assert_eq!(text(0.5), "0.5");
        assert_eq!(text(100_000.0), "100000");
        assert_eq!(text(f64::NAN), "-");
        assert_eq!(text(1.5e-9), "1.5e-9");
    }

    #[test]
    fn exponents_at_powers_of_ten() {
        for n in -300..=300 {
            let p = power(n);
            assert_eq!(exponent(p), n);
            assert_eq!(exponent(p * 9.99), n);
        }
    }

    #[test]
    fn shares() {
        assert_eq!(percent(0.5), "50%");
        assert_eq!(percent(0.004), "0.4%");
        assert_eq!(percent(0.996), "99.6%");
        assert_eq!(percent(1.0), "100%");
        assert_eq!(percent(f64::NAN), "–");
    }
}
