//! Tables, pairs and code: what is read rather than looked at.

use super::figure::{BODY, CLOSE, open_into};
use super::model::{Code, Mark, Pairs, Row, Table};
use super::text::{escape_into, rich_into};

pub(super) fn table_into(out: &mut String, table: &Table) {
    open_into(out, table.size, "tab", &table.title, &table.note);
    out.push_str(BODY);
    out.push_str("<div class=\"scroll\"><table class=\"sort\"><thead><tr>");
    for column in &table.columns {
        out.push_str(if column.number { "<th scope=\"col\" class=\"n\">" } else { "<th scope=\"col\">" });
        escape_into(out, &column.name);
        out.push_str("</th>");
    }
    out.push_str("</tr></thead><tbody>");
    let decimals: Vec<usize> = (0..table.columns.len())
        .map(|i| {
            let cells = table.rows.iter().filter_map(|row| row.cells.get(i));
            cells.filter(|c| c.value.is_some()).filter_map(|c| decimals(&c.text)).max().unwrap_or(0)
        })
        .collect();
    for row in &table.rows {
        row_into(out, table, row, &decimals);
    }
    out.push_str("</tbody></table></div>");
    out.push_str(CLOSE);
}

fn row_into(out: &mut String, table: &Table, row: &Row, most: &[usize]) {
    out.push_str(match row.mark {
        Some(Mark::Good(_)) => "<tr class=\"good\">",
        Some(Mark::Bad(_)) => "<tr class=\"bad\">",
        _ => "<tr>",
    });
    for (i, column) in table.columns.iter().enumerate() {
        out.push_str(if column.number { "<td class=\"n\"" } else { "<td" });
        let cell = row.cells.get(i);
        if let Some(value) = cell.and_then(|c| c.value) {
            out.push_str(&format!(" data-v=\"{value:e}\""));
        }
        out.push('>');
        if let (0, Some(colour)) = (i, row.colour) {
            out.push_str(&format!("<i class=\"chip k{} d{}\"></i>", colour % 8 + 1, colour / 8 % 3));
        }
        if let Some(cell) = cell {
            rich_into(out, &cell.text);
            if column.number && cell.value.is_some() {
                pad_into(out, &cell.text, most[i]);
            }
        }
        if let (0, Some(mark)) = (i, &row.mark) {
            let (class, text) = match mark {
                Mark::Good(text) => ("good", text),
                Mark::Bad(text) => ("bad", text),
                Mark::Plain(text) => ("plain", text),
            };
            out.push_str(&format!(" <span class=\"mark {class}\">"));
            escape_into(out, text);
            out.push_str("</span>");
        }
        out.push_str("</td>");
    }
    out.push_str("</tr>");
}

/// Digits after the point of a plain number.
fn decimals(text: &str) -> Option<usize> {
    let digits = text.strip_prefix('−').unwrap_or(text);
    let plain = digits.starts_with(|c: char| c.is_ascii_digit());
    let rest = digits.trim_start_matches(|c: char| c.is_ascii_digit() || c == ',');
    match rest.strip_prefix('.') {
        Some(fraction) if plain && fraction.chars().all(|c| c.is_ascii_digit()) => Some(fraction.len()),
        None if plain && rest.is_empty() => Some(0),
        _ => None,
    }
}

/// Invisible digits after a number, such that the points of a column stand under each other.
fn pad_into(out: &mut String, text: &str, most: usize) {
    if let Some(own) = decimals(text).filter(|own| *own < most) {
        let point = if own == 0 { "." } else { "" };
        out.push_str(&format!("<s>{point}{}</s>", "0".repeat((most - own).min(8))));
    }
}

pub(super) fn pairs_into(out: &mut String, pairs: &Pairs) {
    open_into(out, pairs.size, "pairs", &pairs.title, "");
    out.push_str(BODY);
    out.push_str("<dl>");
    for (name, value) in &pairs.rows {
        out.push_str("<div><dt>");
        rich_into(out, name);
        out.push_str("</dt><dd>");
        rich_into(out, value);
        out.push_str("</dd></div>");
    }
    out.push_str("</dl>");
    out.push_str(CLOSE);
}

pub(super) fn code_into(out: &mut String, code: &Code) {
    open_into(out, code.size, "code", &code.title, "");
    out.push_str(BODY);
    let fold = !code.open && code.text.lines().count() > 24;
    if fold {
        out.push_str(&format!("<details><summary>{} lines</summary>", code.text.lines().count()));
    }
    out.push_str("<div class=\"copy\"><pre tabindex=\"0\"><code>");
    escape_into(out, code.text.trim_end_matches('\n'));
    out.push_str("</code></pre></div>");
    out.push_str(if fold { "</details>" } else { "" });
    out.push_str(CLOSE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stand_under_each_other() {
        assert_eq!(decimals("−1,234.50"), Some(2));
        assert_eq!(decimals("12"), Some(0));
        assert!(decimals("1.5e−7").is_none() && decimals("–").is_none() && decimals("12 s").is_none());
        let mut out = String::new();
        pad_into(&mut out, "12", 3);
        pad_into(&mut out, "0.5", 3);
        pad_into(&mut out, "0.125", 3);
        pad_into(&mut out, "–", 3);
        assert_eq!(out, "<s>.000</s><s>00</s>");
    }
}
