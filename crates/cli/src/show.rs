//! How numbers and tables look on a terminal.

use std::io::{IsTerminal, Write};

/// The width to lay text out for: the terminal's, at most 100, and 80 where there is none.
pub fn width() -> usize {
    let terminal = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
    if std::io::stdout().is_terminal() { terminal.clamp(40, 100) } else { 80 }
}

/// Where a column's text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// Lays rows out in columns; the first row is the heading.
pub fn table(rows: &[Vec<String>], align: &[Align]) -> String {
    let columns = align.len();
    let cell_width = |s: &String| s.chars().count();
    let widths: Vec<usize> = (0..columns)
        .map(|c| rows.iter().filter_map(|r| r.get(c)).map(cell_width).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from(" ");
        for ((cell, width), align) in row.iter().zip(&widths).zip(align) {
            let pad = " ".repeat(width - cell_width(cell));
            line.push(' ');
            match align {
                Align::Left => line.extend([cell.as_str(), &pad]),
                Align::Right => line.extend([pad.as_str(), cell]),
            }
            line.push(' ');
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A number with `digits` significant digits, in plain or scientific notation, whichever reads better.
pub fn number(x: f64, digits: usize) -> String {
    if x == 0.0 || !x.is_finite() {
        return if x.is_nan() { "–".into() } else { x.to_string() };
    }
    let exponent = libm::floor(libm::log10(x.abs())) as i32;
    if !(-4..7).contains(&exponent) {
        let text = format!("{:.*e}", digits.saturating_sub(1), x);
        return text;
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    let text = format!("{x:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

/// The line, cut with … if it is longer than `width`.
pub fn cut(line: &str, width: usize) -> String {
    match line.char_indices().nth(width) {
        None => line.into(),
        Some(_) => line.chars().take(width - 1).chain(['…']).collect(),
    }
}

/// Breaks a paragraph into lines of at most `width` characters.
pub fn wrap(text: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let len = word.chars().count();
        if used > 0 && used + 1 + len > width {
            lines.push('\n');
            used = 0;
        } else if used > 0 {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += len;
    }
    lines.push('\n');
    lines
}

/// Says something to a person, on stderr: at the width of a terminal, unless it has lines of its own. Nobody may be listening.
pub fn note(text: &str) {
    let mut stderr = std::io::stderr();
    let width = terminal_size::terminal_size_of(&stderr).map(|(width, _)| usize::from(width.0));
    let _ = match width {
        Some(width) if !text.contains('\n') => write!(stderr, "{}", wrap(text, width.clamp(40, 100))),
        _ => writeln!(stderr, "{text}"),
    };
}

/// A word for a shell.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A count of things: `1 step`, `1,234 steps`.
pub fn counted(n: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(n), if n == 1 { "" } else { "s" })
}

/// A whole number with commas between thousands.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text
}

/// Seconds, or milliseconds below one.
pub fn seconds(s: f64) -> String {
    if s < 1.0 { format!("{} ms", number(s * 1e3, 3)) } else { format!("{} s", number(s, 3)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let shown = [1234.5678, 0.012345, 1e-7, -3.0, 1e9, 0.1].map(|x| number(x, 4));
        assert_eq!(shown, ["1235", "0.01235", "1.000e-7", "-3", "1.000e9", "0.1"]);
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(12), "12");
        assert_eq!(seconds(0.01234), "12.3 ms");
    }

    #[test]
    fn tables_align() {
        let rows = [vec!["name".into(), "n".into()], vec!["x".into(), "10".into()]];
        assert_eq!(table(&rows, &[Align::Left, Align::Right]), "  name   n\n  x     10\n");
    }
}
