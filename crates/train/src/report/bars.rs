//! Signed bars: the coefficients of a model, largest first, to the left and right of one zero line.

use super::charts::{Bar, BarGroup, Bars};
use super::figure::{self, Ids};
use super::number::{css_percent_into, human};
use super::scale::drawable;
use super::text::breakable_into;

/// Bars that are shown openly; the others fold away.
const OPEN: usize = 20;

pub(super) fn html_into(out: &mut String, ids: &mut Ids, bars: &Bars) {
    figure::open_into(out, bars.size, "bars", &bars.title, &bars.note);
    let names: Vec<&str> = bars.groups.iter().map(|g| g.name.as_str()).collect();
    // one scale for all groups, so that switching compares them
    let scale = bars.groups.iter().flat_map(|g| &g.bars).map(|b| b.value).filter(|v| drawable(*v));
    let (low, high) = scale.fold((0.0_f64, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
    out.push_str(figure::BODY);
    // names take the room that the longest needs, within bounds
    let length = |b: &Bar| b.name.chars().count() + b.level.as_ref().map_or(0, |l| l.chars().count() + 3);
    let longest = bars.groups.iter().flat_map(|g| &g.bars).map(length).max().unwrap_or(0);
    out.push_str(&format!("<div style=\"--n:{}ch\">", longest.clamp(4, 26) + 1));
    if !names.is_empty() {
        figure::panes_into(out, ids, &names, |out, i| group_into(out, &bars.groups[i], low, high));
    }
    out.push_str("</div>");
    out.push_str(figure::CLOSE);
}

fn group_into(out: &mut String, group: &BarGroup, low: f64, high: f64) {
    let mut order: Vec<&Bar> = group.bars.iter().collect();
    // a value that is not a number goes last
    let size = |b: &Bar| if b.value.is_nan() { -1.0 } else { b.value.abs() };
    order.sort_by(|a, b| size(b).total_cmp(&size(a)));
    let (open, folded) = order.split_at(order.len().min(OPEN));
    rows_into(out, open, low, high);
    if !folded.is_empty() {
        out.push_str(&format!("<details><summary>{} smaller ones</summary>", folded.len()));
        rows_into(out, folded, low, high);
        out.push_str("</details>");
    }
}

fn rows_into(out: &mut String, bars: &[&Bar], low: f64, high: f64) {
    let width = if high > low { high - low } else { 1.0 };
    out.push_str("<table class=\"bt\"><tbody>");
    for bar in bars {
        out.push_str("<tr><th scope=\"row\">");
        breakable_into(out, &bar.name);
        if let Some(level) = &bar.level {
            out.push_str(" <span class=\"lv\">= ");
            breakable_into(out, level);
            out.push_str("</span>");
        }
        out.push_str("</th><td class=\"tr\"><i style=\"left:");
        let value = if drawable(bar.value) { bar.value } else { 0.0 };
        css_percent_into(out, (value.min(0.0) - low) / width);
        out.push_str(";width:");
        css_percent_into(out, value.abs() / width);
        out.push_str(&format!(
            "\" class=\"{}\"></i><s style=\"left:",
            if value < 0.0 { "neg" } else { "pos" }
        ));
        css_percent_into(out, -low / width);
        out.push_str(&format!("\"></s></td><td class=\"v\">{}</td></tr>", human(bar.value)));
    }
    out.push_str("</tbody></table>");
}
