//! Charts for a terminal: curves, and points with lines through them, in the space that is asked for.

use super::braille::{Canvas, Ink};
use super::charts::{Axis, Cloud, Line, Marker, Scatter, Series, Style};
use super::number::human;
use super::scale::Scale;
use super::{line, scatter, thin};

/// A chart that a terminal can show.
#[derive(Debug, Clone, Copy)]
pub enum Picture<'a> {
    /// Curves over the first x axis.
    Line(&'a Line),
    /// Points, and lines through them.
    Scatter(&'a Scatter),
}

impl<'a> From<&'a Line> for Picture<'a> {
    fn from(line: &'a Line) -> Self {
        Picture::Line(line)
    }
}

impl<'a> From<&'a Scatter> for Picture<'a> {
    fn from(scatter: &'a Scatter) -> Self {
        Picture::Scatter(scatter)
    }
}

/// A chart of `height` lines, none wider than `width` columns, each ended by a newline: title, legend, plot,
/// axis, axis name. Without `colour` there are no escape sequences, and letters tell the lines apart.
pub fn terminal<'a>(picture: impl Into<Picture<'a>>, width: usize, height: usize, colour: bool) -> String {
    let chart = Chart::of(picture.into());
    let mut text = Text { out: String::new(), width, colour };
    let letters = !colour && chart.lines.len() > 1;
    if !chart.title.is_empty() {
        text.line(&[(plain(chart.title), Ink::Plain)]);
    }
    let legend = legend_rows(&chart, width, letters);
    legend.iter().for_each(|row| text.line(row));
    let used = legend.len() + usize::from(!chart.title.is_empty());
    let rows = height.saturating_sub(used + 2 + usize::from(!chart.names.0.is_empty())).max(2);
    plot(&mut text, &chart, rows, letters);
    text.out
}

/// What both kinds of picture are made of.
struct Chart<'a> {
    title: &'a str,
    names: (&'a str, &'a str),
    scales: (Scale, Scale),
    clouds: &'a [Cloud],
    lines: &'a [Series],
    markers: &'a [Marker],
    diagonal: Option<&'a str>,
}

impl<'a> Chart<'a> {
    fn of(picture: Picture<'a>) -> Chart<'a> {
        match picture {
            Picture::Line(chart) => {
                let missing = Axis::default();
                let axis = chart.x.first().unwrap_or(&missing);
                Chart {
                    title: &chart.title,
                    names: (chart.x.first().map_or("", |a| &a.name), &chart.y.name),
                    scales: line::scales(chart, axis, 0),
                    clouds: &[],
                    lines: &chart.series,
                    markers: &chart.markers,
                    diagonal: None,
                }
            }
            Picture::Scatter(chart) => Chart {
                title: &chart.title,
                names: (&chart.x.name, &chart.y.name),
                scales: scatter::scales(chart),
                clouds: &chart.clouds,
                lines: &chart.lines,
                markers: &[],
                diagonal: chart.diagonal.as_deref(),
            },
        }
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let (x, y) = (self.scales.0.at(x), self.scales.1.at(y));
        if x.is_nan() || y.is_nan() { (f64::NAN, f64::NAN) } else { (x, y) }
    }
}

type Piece = (String, Ink);

/// The legend, in as many rows as it needs, after the name of the y axis.
fn legend_rows(chart: &Chart<'_>, width: usize, letters: bool) -> Vec<Vec<Piece>> {
    let mut entries: Vec<(String, Ink, String)> = Vec::new();
    for (i, cloud) in chart.clouds.iter().enumerate() {
        entries.push((POINTS[i % POINTS.len()].into(), cloud_ink(cloud), plain(&cloud.name)));
    }
    for (i, series) in chart.lines.iter().enumerate() {
        let sign = match (letters, series.style) {
            (true, _) => letter(i).into(),
            (false, Style::Reference) => "··".to_string(),
            (false, _) => "━━".to_string(),
        };
        let note = if series.note.is_empty() { String::new() } else { format!(" {}", plain(&series.note)) };
        entries.push((sign, line_ink(i, series), plain(&series.name) + &note));
    }
    if let Some(name) = chart.diagonal {
        entries.push(("··".into(), Ink::Dim, plain(name)));
    }
    for marker in chart.markers {
        let (sign, label) = match marker {
            Marker::X { label, .. } => ("┊", label),
            Marker::Y { at, label } => ("┄", &format!("{label} {}", human(*at))),
        };
        entries.push((sign.into(), Ink::Dim, plain(label)));
    }
    let mut rows: Vec<Vec<Piece>> = vec![Vec::new()];
    let mut used = 0;
    if !chart.names.1.is_empty() {
        let name = plain(chart.names.1);
        used = columns(&name);
        rows[0].push((name, Ink::Dim));
    }
    for (sign, ink, name) in entries {
        let needs = columns(&sign) + 1 + columns(&name);
        let gap = if used == 0 { 0 } else { 3 };
        if used > 0 && used + gap + needs > width {
            rows.push(Vec::new());
            used = 0;
        }
        let gap = if used == 0 { 0 } else { 3 };
        used += gap + needs;
        if let Some(row) = rows.last_mut() {
            row.push((" ".repeat(gap), Ink::Plain));
            row.push((sign, ink));
            row.push((format!(" {name}"), Ink::Plain));
        }
    }
    rows.retain(|row| !row.is_empty());
    rows
}

const POINTS: [char; 4] = ['•', '×', '+', 'o'];

fn cloud_ink(cloud: &Cloud) -> Ink {
    cloud.colour.map_or(Ink::Plain, Ink::Series)
}

fn line_ink(i: usize, series: &Series) -> Ink {
    Ink::Series(series.colour.unwrap_or(i))
}

fn letter(i: usize) -> char {
    char::from(b'A' + (i % 26) as u8)
}

fn plot(text: &mut Text, chart: &Chart<'_>, rows: usize, letters: bool) {
    let labels = chart.scales.1.ticks((rows / 2).clamp(2, 6));
    let gutter = labels.iter().map(|t| t.label.chars().count()).max().unwrap_or(0);
    let Some(room) = text.width.checked_sub(gutter + 2).filter(|room| *room >= 4) else { return };
    let canvas = drawn(chart, room, rows, letters);
    let mut at_row = vec![""; rows];
    for tick in &labels {
        if let Some((_, row)) = canvas.cell_at((0.0, tick.at)) {
            at_row[row] = &tick.label;
        }
    }
    for (row, label) in at_row.iter().enumerate() {
        let axis = if label.is_empty() { '│' } else { '┤' };
        let mut pieces = vec![(format!("{label:>gutter$} {axis}"), Ink::Dim)];
        pieces.extend(canvas.row(row).map(|(c, ink)| (c.to_string(), ink)));
        text.line(&pieces);
    }
    // the axis and its labels: a label that would touch the one before it is left out, with its tick
    let ticks = chart.scales.0.ticks((room / 12).clamp(2, 8));
    let mut axis = vec!['─'; room];
    let mut below = vec![' '; gutter + 2 + room];
    let mut free = 0;
    for tick in ticks {
        let Some((column, _)) = canvas.cell_at((tick.at, 0.0)) else { continue };
        let size = tick.label.chars().count();
        let start = (gutter + 2 + column).saturating_sub(size / 2).min(below.len().saturating_sub(size));
        if start < free || size > below.len() {
            continue;
        }
        axis[column] = '┬';
        tick.label.chars().enumerate().for_each(|(i, c)| below[start + i] = c);
        free = start + size + 1;
    }
    text.line(&[(format!("{:gutter$} └{}", "", axis.into_iter().collect::<String>()), Ink::Dim)]);
    text.line(&[(below.into_iter().collect(), Ink::Dim)]);
    if !chart.names.0.is_empty() {
        let name = plain(chart.names.0);
        let indent = gutter + 2 + room.saturating_sub(columns(&name)) / 2;
        text.line(&[(" ".repeat(indent) + &name, Ink::Dim)]);
    }
}

fn drawn(chart: &Chart<'_>, room: usize, rows: usize, letters: bool) -> Canvas {
    let inks = chart.lines.iter().enumerate().map(|(i, s)| line_ink(i, s)).chain([Ink::Dim]);
    let mut canvas = Canvas::new(room, rows, inks.collect());
    for (i, cloud) in chart.clouds.iter().enumerate() {
        for (x, y) in cloud.x.iter().zip(&cloud.y) {
            if let Some((column, row)) = canvas.cell_at(chart.at(*x, *y)) {
                canvas.under(column, row, POINTS[i % POINTS.len()], cloud_ink(cloud));
            }
        }
    }
    for marker in chart.markers {
        let (at, sign) = match marker {
            Marker::X { at, .. } => ((chart.scales.0.at(at.first().copied().unwrap_or(f64::NAN)), 0.0), '┊'),
            Marker::Y { at, .. } => ((0.0, chart.scales.1.at(*at)), '┄'),
        };
        let Some((column, row)) = canvas.cell_at(at) else { continue };
        match marker {
            Marker::X { .. } => (0..rows).for_each(|row| canvas.under(column, row, sign, Ink::Dim)),
            Marker::Y { .. } => (0..room).for_each(|column| canvas.under(column, row, sign, Ink::Dim)),
        }
    }
    if chart.diagonal.is_some() {
        let (low, high) = (chart.scales.0.low, chart.scales.0.high);
        canvas.line(chart.lines.len(), &[chart.at(low, low), chart.at(high, high)], true);
    }
    for (i, series) in chart.lines.iter().enumerate() {
        let Some(x) = series.x.first() else { continue };
        let all: Vec<(f64, f64)> = x.iter().zip(&series.y).map(|(x, y)| chart.at(*x, *y)).collect();
        let points: Vec<(f64, f64)> = thin::curve(&all, 2 * room).into_iter().map(|i| all[i]).collect();
        canvas.line(i, &points, series.style == Style::Reference);
    }
    if letters {
        let n = chart.lines.len();
        for i in 0..n {
            canvas.letter(i, (i + 1) as f64 / (n + 1) as f64, letter(i));
        }
    }
    canvas
}

/// Lines of text that keep to a width.
struct Text {
    out: String,
    width: usize,
    colour: bool,
}

impl Text {
    fn line(&mut self, pieces: &[Piece]) {
        let filled = |(text, _): &Piece| text.chars().any(|c| c != ' ');
        let Some(last) = pieces.iter().rposition(filled) else {
            self.out.push('\n');
            return;
        };
        let mut room = self.width;
        let mut current = Ink::Plain;
        for (i, (text, ink)) in pieces[..=last].iter().enumerate() {
            let text = if i == last { text.trim_end() } else { text };
            if self.colour && *ink != current && filled(&pieces[i]) {
                self.switch(current, *ink);
                current = *ink;
            }
            for c in text.chars() {
                let Some(left) = room.checked_sub(char_columns(c)) else { break };
                room = left;
                self.out.push(c);
            }
        }
        if self.colour {
            self.switch(current, Ink::Plain);
        }
        self.out.push('\n');
    }

    fn switch(&mut self, from: Ink, to: Ink) {
        if from != Ink::Plain {
            self.out.push_str("\x1b[0m");
        }
        self.out.push_str(to.code());
    }
}

/// Text without control characters and marks that turn its direction: data cannot steer the terminal.
fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().map(|c| if steers(c) { ' ' } else { c }).collect()
}

fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

/// Columns of a character: two for East Asian wide ones and pictographs, none for combining marks.
fn char_columns(c: char) -> usize {
    match c as u32 {
        0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5bd | 0x610..=0x61a | 0x64b..=0x65f | 0x1ab0..=0x1aff => 0,
        0x20d0..=0x20f0 | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f => 0,
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0xa4cf | 0xa960..=0xa97c | 0xac00..=0xd7a3 => 2,
        0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 => 2,
        0x1f300..=0x1f64f | 0x1f680..=0x1f6ff | 0x1f900..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curves() -> Line {
        let x: Vec<f64> = (0..1000).map(f64::from).collect();
        let decay = |rate: f64| x.iter().map(|t| 12.0 * libm::exp(-rate * t) + 0.5).collect::<Vec<_>>();
        let mut chart = Line::new("Loss", Axis::new("step"), Axis::new("loss"));
        chart.series.push(Series::new("gd", x.clone(), decay(0.01)));
        chart.series.push(Series::new("adam", x.clone(), decay(0.003)));
        chart
    }

    fn visible(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("\x1b[") {
            out.push_str(before);
            rest = after.split_once('m').expect("an escape ends").1;
        }
        out + rest
    }

    #[test]
    fn it_fits_and_has_axes_and_a_legend() {
        for colour in [false, true] {
            let text = terminal(&curves(), 80, 18, colour);
            assert_eq!(text.contains('\x1b'), colour);
            let shown = visible(&text);
            assert_eq!(shown.lines().count(), 18, "{shown}");
            assert!(shown.lines().all(|l| columns(l) <= 80 && l.trim_end() == l), "{shown}");
            for word in ["Loss", "gd", "adam", "step", "800", "10", "┤", "└"] {
                assert!(shown.contains(word), "{word} is missing in\n{shown}");
            }
            assert!(text.ends_with('\n'));
        }
    }

    #[test]
    fn letters_replace_colours() {
        let text = terminal(&curves(), 80, 18, false);
        assert!(text.contains("A gd") && text.contains("B adam"));
        assert_eq!(text.matches('A').count(), 2, "{text}");
    }

    #[test]
    fn no_size_is_too_small_and_no_data_too_strange() {
        let mut hard = curves();
        hard.series.push(Series::new("名前\x1b[31m\u{202e}x", vec![0.0, 1e9], vec![f64::NAN, f64::INFINITY]));
        hard.series.push(Series::new("", vec![], vec![]));
        hard.markers.push(Marker::X { at: vec![500.0], label: "best".into() });
        hard.markers.push(Marker::Y { at: 0.6, label: "floor".into() });
        let empty = Line::default();
        let points = Scatter::default();
        for width in [0, 1, 5, 10, 20, 33, 80, 200] {
            for height in [0, 1, 5, 12, 40] {
                for text in [
                    terminal(&hard, width, height, true),
                    terminal(&empty, width, height, false),
                    terminal(&points, width, height, true),
                ] {
                    let shown = visible(&text);
                    assert!(shown.lines().all(|l| columns(l) <= width), "{width}: {shown}");
                    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'));
                }
            }
        }
    }

    #[test]
    fn points_and_lines() {
        let mut chart = Scatter::new("", Axis::new("x"), Axis::new("y"));
        let x: Vec<f64> = (0..100).map(|i| f64::from(i) / 50.0).collect();
        let y = x.iter().map(|x| 4.0 + 3.0 * x + libm::sin(40.0 * x)).collect();
        chart.clouds.push(Cloud::new("data", x, y));
        chart.lines.push(Series::new("fit", vec![0.0, 2.0], vec![4.0, 10.0]));
        let text = terminal(&chart, 60, 16, false);
        assert!(text.contains("• data") && text.matches('•').count() > 30, "{text}");
        assert!(text.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)));
    }
}
