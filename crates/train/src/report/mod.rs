//! The report of a run: one HTML file that opens anywhere, and pictures for the terminal.
//!
//! A [`Report`] says *what* there is to see, as plain data without any other type of Thalweg; [`html`] writes
//! it as one self-contained document, [`terminal`] draws one chart of it in text. The same report gives the
//! same bytes: there is no time, path or hash order in it.
//!
//! ```
//! use thalweg_train::report::{Axis, Line, Report, Section, Series, html, terminal};
//!
//! let mut loss = Line::new("Loss", Axis::new("step"), Axis::new("loss"));
//! loss.series.push(Series::new("gd", vec![0.0, 1.0, 2.0], vec![9.0, 3.0, 1.0]));
//! println!("{}", terminal(&loss, 80, 16, false));
//!
//! let mut report = Report::new("Three steps");
//! report.section(Section::new("Curves").with(loss));
//! assert!(html(&report).starts_with("<!doctype html>"));
//! ```
//!
//! **How it is drawn.** The page is laid out by its style sheet alone: light and dark, wide, narrow and on
//! paper. In a plot, lines and dots are an SVG that stretches to the width it gets while strokes keep
//! theirs, and all text is HTML placed by percentages, so that labels are as legible on a phone as on a wide
//! screen. Switches between x axes are radio buttons. A script of under five kilobytes adds what a page
//! without it can do without: values under the pointer, sorting, copy buttons.
//!
//! **Why no plotting library.** `kuva` 0.6 was tried for both outputs. Its SVG takes CSS variables as colours,
//! but its text is part of a picture of fixed size, which shrinks to half on a phone; it draws NaN as a fall
//! to the axis, not as a gap; and it does not thin long series. In the terminal it draws grid lines over the
//! data, flat curves as stairs of box characters, a legend beside the plot that takes a quarter of 80 columns,
//! and always in fixed 24-bit colours, which suit a light or a dark terminal but not both. What a report needs
//! of scales, ticks and paths is a few hundred lines.

mod bars;
mod braille;
mod charts;
mod confusion;
mod contour;
mod curves;
mod figure;
mod isolines;
mod line;
mod model;
mod number;
mod page;
mod plot;
mod scale;
mod scatter;
mod svg;
mod table;
mod terminal;
mod text;
mod thin;

pub use charts::{
    Axis, Bar, BarGroup, Bars, Calibration, CalibrationBin, Cloud, Confusion, Contour, Line, Marker, Path,
    Roc, Scatter, Series, Size, Spacing, Style,
};
pub use model::{
    Block, Cell, Code, Column, Fact, Mark, Pairs, Report, Row, Score, Section, Table, Text, Tone,
};
pub use number::human;
pub use page::html;
pub use terminal::{Picture, terminal};
