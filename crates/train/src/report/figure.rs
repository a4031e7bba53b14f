//! What surrounds every picture: the frame with heading and note, and switches that need no script.

use std::ops::Range;

use super::charts::Size;
use super::text::{escape_into, rich_into};

/// Numbers the switches of a page, so that each has names of its own.
#[derive(Default)]
pub(super) struct Ids(usize);

impl Ids {
    fn next(&mut self) -> usize {
        self.0 += 1;
        self.0
    }
}

/// The class that gives a block its width.
pub(super) fn size_class(size: Size) -> &'static str {
    match size {
        Size::Wide => "wide",
        Size::Half => "half",
        Size::Third => "third",
    }
}

/// About how many ticks the x axis of a plot of this size has room for.
pub(super) fn x_ticks(size: Size) -> usize {
    match size {
        Size::Wide => 10,
        Size::Half => 6,
        Size::Third => 5,
    }
}

/// Opens a figure with its heading and note; [`CLOSE`] ends it, after [`BODY`].
pub(super) fn open_into(out: &mut String, size: Size, kind: &str, title: &str, note: &str) {
    out.push_str(&format!("<figure class=\"fig {} {kind}\">", size_class(size)));
    if !title.is_empty() || !note.is_empty() {
        out.push_str("<figcaption>");
        if !title.is_empty() {
            out.push_str("<h3>");
            escape_into(out, title);
            out.push_str("</h3>");
        }
        if !note.is_empty() {
            out.push_str("<p>");
            rich_into(out, note);
            out.push_str("</p>");
        }
        out.push_str("</figcaption>");
    }
}

/// Opens what stands under heading and legend, which figures side by side begin at the same height.
pub(super) const BODY: &str = "<div class=\"body\">";

/// Closes [`BODY`] and the figure.
pub(super) const CLOSE: &str = "</div></figure>";

/// The most panes that one switch has; the style sheet has a rule for each.
pub(super) const MOST_PANES: usize = 24;

/// One of several panes, chosen by radio buttons; a single pane stands alone.
pub(super) fn panes_into(
    out: &mut String,
    ids: &mut Ids,
    names: &[&str],
    mut pane: impl FnMut(&mut String, usize),
) {
    let shown: Range<usize> = 0..names.len().min(MOST_PANES);
    if shown.len() == 1 {
        return pane(out, 0);
    }
    let id = ids.next();
    out.push_str("<div class=\"tabs\" role=\"group\">");
    for i in shown.clone() {
        let checked = if i == 0 { " checked" } else { "" };
        out.push_str(&format!(
            "<input type=\"radio\" name=\"t{id}\" id=\"t{id}-{i}\"{checked}><label for=\"t{id}-{i}\">"
        ));
        escape_into(out, names[i]);
        out.push_str("</label>");
    }
    for i in shown {
        out.push_str("<div class=\"pane\">");
        pane(out, i);
        out.push_str("</div>");
    }
    if names.len() > MOST_PANES {
        out.push_str(&format!("<p class=\"more\">and {} more</p>", names.len() - MOST_PANES));
    }
    out.push_str("</div>");
}
