//! The documentation of a rule or a stage, which is Markdown for rustdoc, on a terminal and on a page.

use crate::show;

/// For a terminal: paragraphs wrapped, formulas indented, no marks.
pub fn text(about: &str, width: usize) -> String {
    let mut out = String::new();
    let mut paragraph = String::new();
    let mut formula = false;
    for line in plain(about).lines().chain([""]) {
        let fence = line.starts_with("```");
        if fence || line.is_empty() || formula {
            if !paragraph.is_empty() {
                out.push_str(&show::wrap(&paragraph.replace('`', ""), width));
                paragraph.clear();
            }
            match (fence, formula) {
                (true, _) => {
                    out.push_str(if formula { "" } else { "\n" });
                    formula = !formula;
                    out.push_str(if formula { "" } else { "\n" });
                }
                (false, true) => out.push_str(&format!("  {line}\n")),
                (false, false) => out.push('\n'),
            }
        } else {
            paragraph.push_str(line);
            paragraph.push(' ');
        }
    }
    let end = out.trim_end().len();
    out.truncate(end);
    out.push('\n');
    // Never two empty lines.
    while out.contains("\n\n\n") {
        out = out.replace("\n\n\n", "\n\n");
    }
    out.trim_start_matches('\n').into()
}

/// For a page: links into rustdoc, which lead nowhere there, become their text.
pub fn plain(about: &str) -> String {
    let mut out = String::new();
    let mut rest = about;
    while let Some(at) = rest.find('[') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let linked = from.find(']').map(|end| (&from[1..end], &from[end + 1..]));
        match linked {
            Some((text, after)) if text.starts_with('`') && text.ends_with('`') => {
                out.push_str(text);
                rest = match after.strip_prefix('(').and_then(|a| a.split_once(')')) {
                    Some((_, after)) => after,
                    None => after,
                };
            }
            _ => {
                out.push('[');
                rest = &from[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: &str = "Adam. Paper, <https://a.b>.\n```text\nm ← [a, b]\n```\nFor [`Sgd`] and [`adamw`](super::adam), `eps`\nand more.\n\nMemory: [2].\n";

    #[test]
    fn a_terminal_has_no_marks() {
        assert_eq!(
            text(ABOUT, 30),
            "Adam. Paper, <https://a.b>.\n\n  m ← [a, b]\n\nFor Sgd and adamw, eps and\nmore.\n\nMemory: [2].\n"
        );
        assert_eq!(text("One\nline.\n", 80), "One line.\n");
    }

    #[test]
    fn a_page_keeps_all_but_the_links_into_the_code() {
        assert_eq!(
            plain(ABOUT),
            ABOUT.replace("[`Sgd`]", "`Sgd`").replace("[`adamw`](super::adam)", "`adamw`")
        );
    }
}
