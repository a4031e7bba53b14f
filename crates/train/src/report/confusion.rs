//! The confusion matrix, as a table: true classes down, predicted classes across.

use super::charts::Confusion;
use super::figure;
use super::number::{human, percent};
use super::text::escape;

pub(super) fn html_into(out: &mut String, confusion: &Confusion) {
    let classes = &confusion.classes;
    let kind = match classes.len() {
        0..=4 => "cm big",
        5..=10 => "cm mid",
        _ => "cm small",
    };
    figure::open_into(out, confusion.size, kind, &confusion.title, &confusion.note);
    let count = |i: usize, j: usize| {
        let cell = confusion.counts.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0.0);
        if cell.is_finite() { cell } else { 0.0 }
    };
    let all = 0..classes.len();
    out.push_str(figure::BODY);
    out.push_str("<div class=\"scroll\"><table><thead><tr><td></td><th class=\"axis\" colspan=\"");
    out.push_str(&format!("{}\" scope=\"colgroup\">predicted</th>", classes.len().max(1)));
    out.push_str("<th class=\"total\" rowspan=\"2\" scope=\"col\">rows</th>");
    out.push_str(
        "<th class=\"total\" rowspan=\"2\" scope=\"col\">recall</th></tr><tr><th class=\"axis\">true</th>",
    );
    for class in classes {
        let class = escape(class);
        out.push_str(&format!("<th scope=\"col\" title=\"{class}\"><span>{class}</span></th>"));
    }
    out.push_str("</tr></thead><tbody>");
    for i in all.clone() {
        let total: f64 = all.clone().map(|j| count(i, j)).sum();
        let class = escape(&classes[i]);
        out.push_str(&format!("<tr><th scope=\"row\" title=\"{class}\">{class}</th>"));
        for j in all.clone() {
            cell_into(out, count(i, j), total, i == j, &format!("{} taken for {}", classes[i], classes[j]));
        }
        out.push_str(&format!(
            "<td class=\"total\">{}</td><td class=\"total\">{}</td></tr>",
            human(total),
            percent(count(i, i) / total)
        ));
    }
    out.push_str("</tbody><tfoot><tr><th scope=\"row\">precision</th>");
    for j in all.clone() {
        let total: f64 = all.clone().map(|i| count(i, j)).sum();
        out.push_str(&format!("<td class=\"total\">{}</td>", percent(count(j, j) / total)));
    }
    out.push_str("<td></td><td></td></tr></tfoot></table></div>");
    out.push_str(figure::CLOSE);
}

/// A count, its share of the row, and a background as strong as the share: blue where right, orange where wrong.
fn cell_into(out: &mut String, count: f64, total: f64, right: bool, what: &str) {
    let share = if total > 0.0 { count / total } else { 0.0 };
    let class = match (right, share) {
        _ if count == 0.0 => "none",
        (true, s) if s > 0.72 => "yes full",
        (true, _) => "yes",
        (false, s) if s > 0.72 => "no full",
        (false, _) => "no",
    };
    // the least share that can be seen at all is a tint of 6%
    let tint = if count == 0.0 { 0.0 } else { 6.0 + 94.0 * share };
    out.push_str(&format!(
        "<td class=\"{class}\" style=\"--t:{tint:.0}%\" title=\"{}: {}, {} of the row\">{}<small>{}</small></td>",
        escape(what),
        human(count),
        percent(share),
        human(count),
        if count == 0.0 { String::new() } else { percent(share) }
    ));
}
