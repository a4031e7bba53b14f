//! Text into HTML: every character that has a meaning there is written as data.

/// Appends `text` such that it is text in an element and in a quoted attribute.
///
/// Control characters, which HTML forbids, become U+FFFD, and so do the marks that turn the direction of the
/// text around them.
pub(super) fn escape_into(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            '\r' => {}
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

/// [`escape_into`] as a new string.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    escape_into(&mut out, text);
    out
}

/// [`escape_into`] for names: a line may break after `_`, `.`, `/` and `:`.
pub(super) fn breakable_into(out: &mut String, name: &str) {
    for part in name.split_inclusive(['_', '.', '/', ':']) {
        escape_into(out, part);
        out.push_str("<wbr>");
    }
}

/// One line of text in which `` `code` `` is set as code; an odd back-tick is a back-tick.
pub(super) fn rich_into(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('`') {
        let Some((code, after)) = after.split_once('`') else { break };
        escape_into(out, before);
        out.push_str("<code>");
        escape_into(out, code);
        out.push_str("</code>");
        rest = after;
    }
    escape_into(out, rest);
}

/// Paragraphs: an empty line ends one.
pub(super) fn paragraphs_into(out: &mut String, text: &str) {
    for paragraph in text.split("\n\n").map(str::trim).filter(|p| !p.is_empty()) {
        out.push_str("<p>");
        rich_into(out, paragraph);
        out.push_str("</p>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let name = "</script><script>alert('1')</script>&\"\u{1b}[31m\u{202e}";
        let escaped = escape(name);
        assert!(!escaped.contains(['<', '>', '"', '\'', '\u{1b}', '\u{202e}']));
        assert!(escaped.starts_with("&lt;/script&gt;&lt;script&gt;alert(&#39;1&#39;)"));
        assert!(escaped.contains("&amp;&quot;"));
    }

    #[test]
    fn back_ticks_make_code() {
        let rich = |text| {
            let mut out = String::new();
            rich_into(&mut out, text);
            out
        };
        assert_eq!(rich("run `a < b` now"), "run <code>a &lt; b</code> now");
        assert_eq!(rich("an odd ` stays"), "an odd ` stays");
        assert_eq!(rich("`a` and `"), "<code>a</code> and `");
    }

    #[test]
    fn empty_lines_part_paragraphs() {
        let mut out = String::new();
        paragraphs_into(&mut out, "one\ntwo\n\n\n\nthree ");
        assert_eq!(out, "<p>one\ntwo</p><p>three</p>");
    }
}
