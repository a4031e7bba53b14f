//! A plot: axes, what is drawn between them, a legend.
//!
//! Only lines and dots are SVG, in a picture that stretches with the page while strokes keep their width
//! (`vector-effect: non-scaling-stroke`). All text is HTML that is placed by percentages, so a label is as
//! legible on a phone as on a wide screen, without a script.

use super::number::{css_percent_into, short_into};
use super::scale::{Scale, Tick};
use super::svg::{self, HEIGHT, WIDTH};
use super::text::{escape, escape_into};

/// Whose value the script shows at the pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hover {
    /// Every series' at this x.
    Column,
    /// The nearest point's.
    Nearest,
}

/// How one series looks: its place in the chart, and its colour.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub place: usize,
    /// `None` is the neutral grey.
    pub colour: Option<usize>,
}

impl Look {
    /// The classes that give the colour and the dashes: `s3 k3 d0`.
    pub fn class(self) -> String {
        match self.colour {
            Some(n) => format!("s{} k{} d{}", self.place + 1, n % 8 + 1, n / 8 % 3),
            None => format!("s{} k0 d0", self.place + 1),
        }
    }
}

/// An entry of the legend.
pub(super) struct Key {
    pub look: Look,
    pub name: String,
    pub note: String,
    /// `l` line, `p` line and points, `o` points, `r` reference line.
    pub shape: char,
}

/// The legend; nothing if there is nothing to tell apart.
pub(super) fn legend_into(out: &mut String, keys: &[Key]) {
    if keys.is_empty() || (keys.len() == 1 && keys[0].note.is_empty() && keys[0].name.is_empty()) {
        return;
    }
    out.push_str("<ul class=\"key\">");
    for key in keys {
        out.push_str(&format!("<li class=\"{}\"><i class=\"{}\"></i>", key.look.class(), key.shape));
        escape_into(out, &key.name);
        if !key.note.is_empty() {
            out.push_str(" <em>");
            escape_into(out, &key.note);
            out.push_str("</em>");
        }
        out.push_str("</li>");
    }
    out.push_str("</ul>");
}

/// A plot in the making.
pub(super) struct Plot<'a> {
    x: Scale,
    y: Scale,
    names: (&'a str, &'a str),
    hover: Hover,
    /// Ticks wanted on the x and y axis.
    ticks: (usize, usize),
    /// SVG elements.
    marks: String,
    /// HTML elements over the picture.
    over: String,
    markers: usize,
    /// Whether there is anything but axes and markers.
    drawn: bool,
}

impl<'a> Plot<'a> {
    pub fn new(x: Scale, y: Scale, names: (&'a str, &'a str), hover: Hover, ticks: (usize, usize)) -> Self {
        Plot {
            x,
            y,
            names,
            hover,
            ticks,
            marks: String::new(),
            over: String::new(),
            markers: 0,
            drawn: false,
        }
    }

    /// The position of a point as shares of the plot, NaN if it has none.
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let (x, y) = (self.x.at(x), self.y.at(y));
        if x.is_nan() || y.is_nan() { (f64::NAN, f64::NAN) } else { (x, y) }
    }

    /// A path with a class, and optional further attributes.
    pub fn path(&mut self, class: &str, data: &str, attributes: &str) {
        if !data.is_empty() {
            self.drawn = true;
            self.marks.push_str(&format!("<path class=\"{class}\" d=\"{data}\"{attributes}/>"));
        }
    }

    /// The attributes that tell the script a series' name and values: `data-k`, if given, numbers the points.
    pub fn values(
        name: &str,
        points: impl Iterator<Item = (f64, f64)> + Clone,
        numbers: Option<&[usize]>,
    ) -> String {
        let mut out = format!(" data-n=\"{}\" data-x=\"", escape(name));
        let join = |out: &mut String, i: usize, v: f64| {
            if i > 0 {
                out.push(' ');
            }
            short_into(out, v);
        };
        points.clone().enumerate().for_each(|(i, (x, _))| join(&mut out, i, x));
        out.push_str("\" data-y=\"");
        points.enumerate().for_each(|(i, (_, y))| join(&mut out, i, y));
        out.push('"');
        if let Some(numbers) = numbers {
            out.push_str(" data-k=\"");
            numbers.iter().enumerate().for_each(|(i, k)| join(&mut out, i, *k as f64));
            out.push('"');
        }
        out
    }

    /// A small HTML mark (`ring`, `cross`, `plus`, …) at a position.
    pub fn mark(&mut self, class: &str, at: (f64, f64), title: &str) {
        let inside = |v: f64| (-0.001..=1.001).contains(&v);
        if !inside(at.0) || !inside(at.1) {
            return;
        }
        self.over.push_str(&format!("<i class=\"{class}\" style=\"left:"));
        css_percent_into(&mut self.over, at.0);
        self.over.push_str(";top:");
        css_percent_into(&mut self.over, 1.0 - at.1);
        self.over.push_str("\" title=\"");
        escape_into(&mut self.over, title);
        self.over.push_str("\"></i>");
    }

    /// A vertical line at x, with a label at its upper end.
    pub fn vertical(&mut self, x: f64, label: &str) {
        let at = self.x.at(x);
        if !(0.0..=1.0).contains(&at) {
            return;
        }
        let path = svg::grid([at].into_iter(), std::iter::empty());
        self.marks.push_str(&format!("<path class=\"m\" d=\"{path}\"/>"));
        let side = if at > 0.6 { "mx e" } else { "mx" };
        self.over
            .push_str(&format!("<b class=\"{side}\" style=\"top:{:.1}em;left:", self.markers as f64 * 1.5));
        css_percent_into(&mut self.over, at);
        self.label_end(label);
    }

    /// A horizontal line at y, with a label above its right end, or its left.
    pub fn horizontal(&mut self, y: f64, label: &str, left: bool) {
        let at = self.y.at(y);
        if !(0.0..=1.0).contains(&at) {
            return;
        }
        let path = svg::grid(std::iter::empty(), [at].into_iter());
        self.marks.push_str(&format!("<path class=\"m\" d=\"{path}\"/>"));
        let under = if at > 0.88 { " u" } else { "" };
        let side = if left { " w" } else { "" };
        self.over.push_str(&format!("<b class=\"my{under}{side}\" style=\"top:"));
        css_percent_into(&mut self.over, 1.0 - at);
        self.label_end(label);
    }

    fn label_end(&mut self, label: &str) {
        self.over.push_str("\">");
        escape_into(&mut self.over, label);
        self.over.push_str("</b>");
        self.markers += 1;
    }

    /// The whole: y name, axes, picture, x name. `label` describes the picture to those who do not see it;
    /// `class` may change its shape.
    pub fn finish(self, label: &str, class: &str) -> String {
        let (x, y) = (self.x.ticks(self.ticks.0), self.y.ticks(self.ticks.1));
        let gutter = y.iter().map(|t| t.label.chars().count()).max().unwrap_or(1);
        let mut out = String::with_capacity(self.marks.len() + self.over.len() + 2048);
        let hover = if self.hover == Hover::Column { 'x' } else { 'p' };
        out.push_str(&format!("<div class=\"chart {class}\" style=\"--g:{gutter}ch\" data-h=\"{hover}\""));
        for (attribute, scale, name) in [("x", &self.x, self.names.0), ("y", &self.y, self.names.1)] {
            let log = u8::from(scale.log);
            out.push_str(&format!(
                " data-{attribute}=\"{:e} {:e} {log}\" data-{attribute}n=\"",
                scale.low, scale.high
            ));
            escape_into(&mut out, name);
            out.push('"');
        }
        out.push_str("><div class=\"yn\">");
        escape_into(&mut out, self.names.1);
        out.push_str("</div><div class=\"box\"><svg role=\"img\" aria-label=\"");
        escape_into(&mut out, label);
        out.push_str(&format!("\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\">"));
        let lines = svg::grid(x.iter().map(|t| t.at), y.iter().map(|t| t.at));
        out.push_str(&format!("<path class=\"g\" d=\"{lines}\"/>"));
        out.push_str(&self.marks);
        out.push_str("</svg>");
        ticks_into(&mut out, "ty", "top", y.iter().map(|t| Tick { at: 1.0 - t.at, label: t.label.clone() }));
        // on a narrow plot every other label goes
        let crowded = x.len() > 4;
        for (i, tick) in x.into_iter().enumerate() {
            let class = if crowded && i % 2 == 1 { "tx alt" } else { "tx" };
            ticks_into(&mut out, class, "left", std::iter::once(tick));
        }
        out.push_str(&self.over);
        if !self.drawn {
            out.push_str("<b class=\"nothing\">no finite values</b>");
        }
        out.push_str("</div><div class=\"xn\">");
        escape_into(&mut out, self.names.0);
        out.push_str("</div></div>");
        out
    }
}

fn ticks_into(out: &mut String, class: &str, side: &str, ticks: impl Iterator<Item = Tick>) {
    for tick in ticks {
        out.push_str(&format!("<b class=\"{class}\" style=\"{side}:"));
        css_percent_into(out, tick.at);
        out.push_str("\">");
        escape_into(out, &tick.label);
        out.push_str("</b>");
    }
}
