//! The page: head, headline, sections, and what makes it safe to open anywhere.
//!
//! The content security policy forbids every request, and every script but the one whose hash it names; so
//! even text that slipped through unescaped could neither run nor call home.

use super::figure::Ids;
use super::model::{Block, Report, Score, Section, Text, Tone};
use super::number::{css_percent_into, fixed, human};
use super::text::{escape_into, paragraphs_into, rich_into};
use super::{bars, confusion, contour, curves, line, scatter, table};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// `openssl dgst -sha256 -binary script.js | base64`; the browser test fails when it is out of date.
const SCRIPT_HASH: &str = "sha256-QoeH2VXroBWMaNFvPY0Tfsi68w9BE4ZM9o54IYDbtlc=";

/// The report as one HTML document that needs nothing else.
pub fn html(report: &Report) -> String {
    let mut out = String::with_capacity(64 * 1024);
    out.push_str("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    out.push_str("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ");
    out.push_str(&format!("style-src 'unsafe-inline'; script-src '{SCRIPT_HASH}'\">"));
    out.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
    out.push_str("<meta name=\"color-scheme\" content=\"light dark\"><title>");
    escape_into(&mut out, &report.title);
    out.push_str("</title>\n<style>");
    out.push_str(STYLE);
    out.push_str("</style></head>\n<body><main>");
    head_into(&mut out, report);
    let mut ids = Ids::default();
    for (i, section) in report.sections.iter().enumerate() {
        section_into(&mut out, &mut ids, i, section);
    }
    out.push_str("</main>\n<script>");
    out.push_str(SCRIPT);
    out.push_str("</script></body></html>\n");
    out
}

fn head_into(out: &mut String, report: &Report) {
    out.push_str("<header><h1>");
    escape_into(out, &report.title);
    out.push_str("</h1>");
    if !report.lead.is_empty() {
        out.push_str("<p class=\"lead\">");
        rich_into(out, &report.lead);
        out.push_str("</p>");
    }
    if report.score.is_some() || !report.facts.is_empty() {
        out.push_str("<div class=\"head\">");
        if let Some(score) = &report.score {
            score_into(out, score);
        }
        if !report.facts.is_empty() {
            out.push_str("<dl class=\"facts\">");
            for fact in &report.facts {
                out.push_str("<div><dt>");
                escape_into(out, &fact.name);
                out.push_str("</dt><dd>");
                rich_into(out, &fact.value);
                out.push_str("</dd></div>");
            }
            out.push_str("</dl>");
        }
        out.push_str("</div>");
    }
    if report.sections.len() > 2 {
        out.push_str("<nav aria-label=\"contents\">");
        for (i, section) in report.sections.iter().enumerate() {
            out.push_str(&format!("<a href=\"#s{i}\">"));
            escape_into(out, &section.title);
            out.push_str("</a>");
        }
        out.push_str("</nav>");
    }
    out.push_str("</header>");
}

/// The number, its interval in words and as a bar, and the baseline on the same bar.
fn score_into(out: &mut String, score: &Score) {
    out.push_str("<div class=\"score\"><div class=\"metric\">");
    escape_into(out, &score.metric);
    out.push_str("</div><div class=\"value\">");
    let shown = |v: f64| if v.abs() < 10.0 { fixed(v, 4) } else { human(v) };
    escape_into(out, &shown(score.value));
    out.push_str("</div>");
    if let Some((low, high)) = score.interval {
        out.push_str(&format!("<div class=\"ci\">95% interval {} to {}</div>", shown(low), shown(high)));
    }
    bar_into(out, score);
    if let Some((name, value)) = &score.baseline {
        out.push_str("<div class=\"base\"><i></i>");
        escape_into(out, name);
        out.push_str(&format!(" <b>{}</b></div>", shown(*value)));
    }
    if !score.measured_on.is_empty() {
        out.push_str("<p>");
        rich_into(out, &score.measured_on);
        out.push_str("</p>");
    }
    out.push_str("</div>");
}

fn bar_into(out: &mut String, score: &Score) {
    let baseline = score.baseline.as_ref().map(|b| b.1);
    let (from, to) = score.interval.unwrap_or((score.value, score.value));
    let points = [Some(score.value), Some(from), Some(to), baseline];
    let known = || points.into_iter().flatten().filter(|v| super::scale::drawable(*v));
    let (low, high) = known().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    if low >= high || !score.value.is_finite() {
        return;
    }
    // scores between 0 and 1 stand on that whole range
    let (low, high) = if low >= 0.0 && high <= 1.0 { (0.0, 1.0) } else { (low, high) };
    let room = if (low, high) == (0.0, 1.0) { 0.0 } else { (high - low) * 0.06 };
    let at = |v: f64| (v - low + room) / (high - low + 2.0 * room);
    out.push_str("<div class=\"scale\" aria-hidden=\"true\"><i class=\"ci\" style=\"left:");
    css_percent_into(out, at(from));
    out.push_str(";width:");
    css_percent_into(out, at(to) - at(from));
    out.push_str("\"></i>");
    for (class, value) in [("bl", baseline), ("sv", Some(score.value))] {
        if let Some(value) = value.filter(|v| super::scale::drawable(*v)) {
            out.push_str(&format!("<i class=\"{class}\" style=\"left:"));
            css_percent_into(out, at(value));
            out.push_str("\"></i>");
        }
    }
    out.push_str("</div>");
}

fn section_into(out: &mut String, ids: &mut Ids, number: usize, section: &Section) {
    out.push_str(&format!("<section id=\"s{number}\"><h2>"));
    escape_into(out, &section.title);
    out.push_str("</h2>");
    if !section.intro.is_empty() {
        out.push_str("<div class=\"intro\">");
        paragraphs_into(out, &section.intro);
        out.push_str("</div>");
    }
    out.push_str("<div class=\"blocks\">");
    for block in &section.blocks {
        match block {
            Block::Text(text) => text_into(out, text),
            Block::Pairs(pairs) => table::pairs_into(out, pairs),
            Block::Table(rows) => table::table_into(out, rows),
            Block::Code(code) => table::code_into(out, code),
            Block::Line(chart) => line::html_into(out, ids, chart),
            Block::Scatter(chart) => scatter::html_into(out, chart),
            Block::Confusion(matrix) => confusion::html_into(out, matrix),
            Block::Roc(roc) => curves::roc_into(out, roc),
            Block::Calibration(calibration) => curves::calibration_into(out, calibration),
            Block::Bars(chart) => bars::html_into(out, ids, chart),
            Block::Contour(chart) => contour::html_into(out, chart),
        }
    }
    out.push_str("</div></section>");
}

fn text_into(out: &mut String, text: &Text) {
    out.push_str(match text.tone {
        Tone::Plain => "<div class=\"wide text\">",
        Tone::Note => "<div class=\"wide text note\">",
        Tone::Warning => "<div class=\"wide text note warn\">",
    });
    paragraphs_into(out, &text.text);
    out.push_str("</div>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_small_and_cannot_end_its_element() {
        assert!(SCRIPT.len() < 5000, "{} bytes", SCRIPT.len());
        assert!(!SCRIPT.contains("</") && !STYLE.contains("</"));
    }
}
