//! The pictures of a report, as plain data. NaN and infinity are gaps everywhere.

use serde::{Deserialize, Serialize};

/// How much of the page a block takes; on a narrow screen each takes all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Size {
    /// The whole width.
    #[default]
    Wide,
    /// Half of it.
    Half,
    /// A third of it.
    Third,
}

/// How values become positions on an axis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spacing {
    /// Logarithmic if all values are positive and the largest is over 50 times the smallest, else linear.
    #[default]
    Auto,
    /// Equal steps are equally long.
    Linear,
    /// Equal ratios are equally long; zero and negative values are gaps.
    Log,
}

/// An axis: what it shows, in which unit, from where to where.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// What is shown; the unit belongs in it, as in `time, s`.
    pub name: String,
    /// How values become positions.
    pub spacing: Spacing,
    /// Where the axis starts; taken from the data if absent.
    pub min: Option<f64>,
    /// Where the axis ends; taken from the data if absent. What lies beyond is cut off at the edge.
    pub max: Option<f64>,
}

impl Axis {
    /// An axis whose spacing and range come from the data.
    pub fn new(name: impl Into<String>) -> Self {
        Axis { name: name.into(), ..Axis::default() }
    }

    /// An axis with equal steps.
    pub fn linear(name: impl Into<String>) -> Self {
        Axis { spacing: Spacing::Linear, ..Axis::new(name) }
    }

    /// An axis with equal ratios.
    pub fn log(name: impl Into<String>) -> Self {
        Axis { spacing: Spacing::Log, ..Axis::new(name) }
    }

    /// The same axis from `min` to `max`.
    pub fn range(mut self, min: f64, max: f64) -> Self {
        (self.min, self.max) = (Some(min), Some(max));
        self
    }
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Style {
    /// A line.
    #[default]
    Line,
    /// A line and its points; an infinite value is drawn as a cross at the upper edge.
    Points,
    /// A thin broken line, for what is known or expected.
    Reference,
}

/// One curve.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The name in the legend.
    pub name: String,
    /// A few characters after the name in the legend, as in a last value; may be empty.
    pub note: String,
    /// One list of x values for each x axis of the chart.
    pub x: Vec<Vec<f64>>,
    /// The y values.
    pub y: Vec<f64>,
    /// Lower and upper edge of a band around the curve, as long as `y` or empty.
    pub band: (Vec<f64>, Vec<f64>),
    /// How it is drawn.
    pub style: Style,
    /// The point that gets a ring, as in the chosen rate.
    pub chosen: Option<usize>,
    /// Its colour, 0 to 7; further numbers repeat the colours with broken lines. Its place if absent.
    pub colour: Option<usize>,
}

impl Series {
    /// A line through (x, y).
    pub fn new(name: impl Into<String>, x: Vec<f64>, y: Vec<f64>) -> Self {
        Series { name: name.into(), x: vec![x], y, ..Series::default() }
    }

    /// The same series with x values for one more axis.
    pub fn also(mut self, x: Vec<f64>) -> Self {
        self.x.push(x);
        self
    }

    /// The same series with a band around it.
    pub fn band(mut self, low: Vec<f64>, high: Vec<f64>) -> Self {
        self.band = (low, high);
        self
    }

    /// The same series in another style.
    pub fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// The same series with a ring around point number `index`.
    pub fn chosen(mut self, index: usize) -> Self {
        self.chosen = Some(index);
        self
    }

    /// The same series in colour number `index`.
    pub fn coloured(mut self, index: usize) -> Self {
        self.colour = Some(index);
        self
    }

    /// The same series with a few characters after its name in the legend.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// A straight line across a chart, with a label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Marker {
    /// A vertical line, as at the best epoch: one position for each x axis of the chart.
    X {
        /// The positions.
        at: Vec<f64>,
        /// What it marks.
        label: String,
    },
    /// A horizontal line, as at the baseline.
    Y {
        /// The position.
        at: f64,
        /// What it marks.
        label: String,
    },
}

/// Curves over a common axis, or over one of several that the reader switches between.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The heading.
    pub title: String,
    /// A sentence under the heading; may be empty.
    pub note: String,
    /// The x axis; several make a switch.
    pub x: Vec<Axis>,
    /// The y axis.
    pub y: Axis,
    /// The curves.
    pub series: Vec<Series>,
    /// Lines across the chart.
    pub markers: Vec<Marker>,
    /// How wide.
    pub size: Size,
}

impl Line {
    /// A chart without curves, half as wide as the page.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Line { title: title.into(), x: vec![x], y, size: Size::Half, ..Line::default() }
    }

    /// Ends the y axis at `factor` times the largest value that a curve starts from, if a curve goes above
    /// that: one that diverges then leaves the picture instead of flattening the others.
    pub fn cap(&mut self, factor: f64) {
        let finite = |s: &Series| s.y.iter().copied().find(|v| v.is_finite());
        let start = self.series.iter().filter_map(finite).fold(0.0_f64, f64::max) * factor;
        let over = |v: &f64| v.is_finite() && *v > start;
        if start > 0.0 && self.series.iter().any(|s| s.y.iter().any(over)) {
            self.y.max = Some(start);
        }
    }
}

/// Points with a name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cloud {
    /// The name in the legend.
    pub name: String,
    /// The x values.
    pub x: Vec<f64>,
    /// The y values.
    pub y: Vec<f64>,
    /// Its colour, as in [`Series::colour`]; a neutral grey if absent.
    pub colour: Option<usize>,
}

impl Cloud {
    /// Grey points.
    pub fn new(name: impl Into<String>, x: Vec<f64>, y: Vec<f64>) -> Self {
        Cloud { name: name.into(), x, y, colour: None }
    }

    /// The same points in colour number `index`.
    pub fn coloured(mut self, index: usize) -> Self {
        self.colour = Some(index);
        self
    }
}

/// Points, and lines through them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scatter {
    /// The heading.
    pub title: String,
    /// A sentence under the heading; may be empty.
    pub note: String,
    /// The x axis.
    pub x: Axis,
    /// The y axis.
    pub y: Axis,
    /// The points.
    pub clouds: Vec<Cloud>,
    /// The lines; only the first list of x values of each is used.
    pub lines: Vec<Series>,
    /// The name of the line y = x; if present, both axes have one range and the chart is square.
    pub diagonal: Option<String>,
    /// How wide.
    pub size: Size,
}

impl Scatter {
    /// A chart without points, half as wide as the page.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Scatter { title: title.into(), x, y, size: Size::Half, ..Scatter::default() }
    }
}

/// How often class i was taken for class j.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// The heading.
    pub title: String,
    /// A sentence under the heading; may be empty.
    pub note: String,
    /// The classes, in the order of rows and columns.
    pub classes: Vec<String>,
    /// One row for each true class, one number for each predicted class: counts, or sums of weights.
    pub counts: Vec<Vec<f64>>,
    /// How wide.
    pub size: Size,
}

/// The true positive rate against the false positive rate, over all thresholds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Roc {
    /// The heading.
    pub title: String,
    /// A sentence under the heading; may be empty.
    pub note: String,
    /// The class that counts as positive.
    pub positive: String,
    /// (false positive rate, true positive rate) from (0, 0) to (1, 1).
    pub curve: Vec<(f64, f64)>,
    /// The area under the curve.
    pub auc: f64,
    /// The point that the threshold ½ gives.
    pub half: Option<(f64, f64)>,
    /// How wide.
    pub size: Size,
}

/// Rows grouped by the probability that was predicted, and the share of positives in each group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The heading.
    pub title: String,
    /// A sentence under the heading; may be empty.
    pub note: String,
    /// The class that counts as positive.
    pub positive: String,
    /// The groups, by rising probability.
    pub bins: Vec<CalibrationBin>,
    /// How wide.
    pub size: Size,
}

/// One group of a [`Calibration`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Mean of the probabilities that were predicted.
    pub predicted: f64,
    /// Share of positives.
    pub observed: f64,
    /// The 95% interval of that share.
    pub interval: (f64, f64),
    /// Rows, or their weight.
    pub weight: f64,
}

/// Signed bars: the coefficients of a model, in one or several groups that the reader switches between.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Bars {
    /// The heading.
    pub title: String,
    /// A sentence under the heading, as in what one unit means; may be empty.
    pub note: String,
    /// The groups: one without a name, or one for each class.
    pub groups: Vec<BarGroup>,
    /// How wide.
    pub size: Size,
}

/// The bars of one class.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BarGroup {
    /// The name on the switch.
    pub name: String,
    /// The bars; drawn from the largest magnitude to the smallest, the first 20 openly.
    pub bars: Vec<Bar>,
}

/// One bar.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// The feature.
    pub name: String,
    /// The category of that feature that it belongs to, if any.
    pub level: Option<String>,
    /// The value.
    pub value: f64,
}

/// A function of two variables as level lines, with the paths of optimizers over it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Contour {
    /// The heading.
    pub title: String,
    /// A sentence under the heading; may be empty.
    pub note: String,
    /// Name and range of the first variable; the range must be given.
    pub x: Axis,
    /// Name and range of the second variable; the range must be given.
    pub y: Axis,
    /// Values in one row: the number of columns of the grid.
    pub columns: usize,
    /// The function on an even grid over the ranges, edges included, row by row from `y.min` up.
    pub values: Vec<f64>,
    /// The least value, if known: levels are spaced by ratios of the distance to it.
    pub least: Option<f64>,
    /// Where the paths start.
    pub start: Option<(f64, f64)>,
    /// Where the minima are.
    pub minima: Vec<(f64, f64)>,
    /// The paths.
    pub paths: Vec<Path>,
    /// How wide.
    pub size: Size,
}

impl Contour {
    /// The values of `f` on an even grid of `n` by `n` points over the ranges of `x` and `y`.
    pub fn sample(title: impl Into<String>, x: Axis, y: Axis, n: usize, f: impl Fn(f64, f64) -> f64) -> Self {
        let n = n.max(2);
        let at = |a: &Axis, i: usize| {
            let (low, high) = (a.min.unwrap_or(-1.0), a.max.unwrap_or(1.0));
            low + (high - low) * i as f64 / (n - 1) as f64
        };
        let mut values = Vec::with_capacity(n * n);
        for row in 0..n {
            values.extend((0..n).map(|column| f(at(&x, column), at(&y, row))));
        }
        Contour { title: title.into(), x, y, columns: n, values, size: Size::Wide, ..Contour::default() }
    }
}

/// The way of one optimizer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Path {
    /// The name in the legend.
    pub name: String,
    /// A few characters after the name in the legend, as in the last value; may be empty.
    pub note: String,
    /// The points, one for each step, from the start.
    pub points: Vec<(f64, f64)>,
    /// Its colour, as in [`Series::colour`]; its place if absent.
    pub colour: Option<usize>,
}

impl Path {
    /// A path.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Path { name: name.into(), points, ..Path::default() }
    }
}
