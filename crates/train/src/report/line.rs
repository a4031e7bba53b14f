//! Curves: of a run over its steps, of several runs side by side, of the loss over rates.

use super::charts::{Axis, Line, Marker, Series, Style};
use super::figure::{self, Ids};
use super::plot::{Hover, Key, Look, Plot, legend_into};
use super::scale::{Margin, Scale};
use super::{svg, thin};

/// Points that the curves of one plot have in all, about: a plot is no wider than a thousand pixels, and a
/// page is to stay below a megabyte.
const BUDGET: usize = 6000;

pub(super) fn html_into(out: &mut String, ids: &mut Ids, line: &Line) {
    figure::open_into(out, line.size, "line", &line.title, &line.note);
    let keys: Vec<Key> = line
        .series
        .iter()
        .enumerate()
        .map(|(place, s)| Key {
            look: look(place, s),
            name: s.name.clone(),
            note: s.note.clone(),
            shape: match s.style {
                Style::Line => 'l',
                Style::Points => 'p',
                Style::Reference => 'r',
            },
        })
        .collect();
    legend_into(out, &keys);
    out.push_str(figure::BODY);
    let missing = [Axis::default()];
    let axes = if line.x.is_empty() { &missing[..] } else { &line.x };
    let names: Vec<&str> = axes.iter().map(|a| a.name.as_str()).collect();
    figure::panes_into(out, ids, &names, |out, i| out.push_str(&plot(line, &axes[i], i)));
    out.push_str(figure::CLOSE);
}

fn look(place: usize, series: &Series) -> Look {
    Look { place, colour: Some(series.colour.unwrap_or(place)) }
}

/// The scales of the chart over x axis number `i`.
pub(super) fn scales(line: &Line, axis: &Axis, i: usize) -> (Scale, Scale) {
    let x = line.series.iter().filter_map(|s| s.x.get(i)).flatten().copied();
    let marked = line.markers.iter().filter_map(|m| match m {
        Marker::X { at, .. } => at.get(i).copied(),
        Marker::Y { .. } => None,
    });
    let crowded = line.series.iter().all(|s| s.style != Style::Points);
    let margin = if crowded { Margin::None } else { Margin::Points };
    let x = Scale::fit(axis, x.chain(marked), margin);
    let drawn = |s: &Series| s.x.get(i).map_or(0, Vec::len);
    let y = line.series.iter().flat_map(|s| {
        s.y.iter().chain(&s.band.0).chain(&s.band.1).take(if drawn(s) == 0 { 0 } else { usize::MAX }).copied()
    });
    let marked = line.markers.iter().filter_map(|m| match m {
        Marker::Y { at, .. } => Some(*at),
        Marker::X { .. } => None,
    });
    (x, Scale::fit(&line.y, y.chain(marked), Margin::Some))
}

fn plot(line: &Line, axis: &Axis, i: usize) -> String {
    let (x, y) = scales(line, axis, i);
    let ticks = (figure::x_ticks(line.size), 6);
    let mut plot = Plot::new(x, y, (&axis.name, &line.y.name), Hover::Column, ticks);
    for marker in &line.markers {
        match marker {
            Marker::X { at, label } => {
                if let Some(at) = at.get(i) {
                    plot.vertical(*at, label);
                }
            }
            Marker::Y { at, label } => {
                plot.horizontal(*at, label, crowded_right(line, i, (x, y), y.at(*at)));
            }
        }
    }
    let buckets = (BUDGET / 4 / line.series.len().max(1)).clamp(40, 300);
    // the first series is drawn last, on top, but what is only known or expected lies above all
    let known = |place: &usize| line.series[*place].style == Style::Reference;
    let order = (0..line.series.len()).rev();
    for place in order.clone().filter(|p| !known(p)).chain(order.filter(known)) {
        let series = &line.series[place];
        draw(&mut plot, series, look(place, series), i, (x, y), buckets);
    }
    let names: Vec<&str> = line.series.iter().map(|s| s.name.as_str()).collect();
    let label = format!("{}: {} against {}; {}", line.title, line.y.name, axis.name, names.join(", "));
    plot.finish(&label, "")
}

/// Whether curves leave more room for a label at the left end of a horizontal line than at the right.
fn crowded_right(line: &Line, i: usize, (x, y): (Scale, Scale), at: f64) -> bool {
    let (mut left, mut right) = (1.0_f64, 1.0_f64);
    for series in &line.series {
        for (px, py) in series.x.get(i).into_iter().flatten().zip(&series.y) {
            let (px, gap) = (x.at(*px), (y.at(*py) - at - 0.04).abs());
            if px < 0.25 {
                left = left.min(gap);
            } else if px > 0.75 {
                right = right.min(gap);
            }
        }
    }
    left > right
}

/// One series: band, line, points, crosses where it is infinite, the ring.
fn draw(plot: &mut Plot<'_>, series: &Series, look: Look, i: usize, scales: (Scale, Scale), buckets: usize) {
    let Some(x) = series.x.get(i) else { return };
    let y = &series.y;
    let all: Vec<(f64, f64)> = x.iter().zip(y).map(|(x, y)| plot.at(*x, *y)).collect();
    let kept = thin::curve(&all, buckets);
    let points: Vec<(f64, f64)> = kept.iter().map(|&j| all[j]).collect();
    let class = look.class();
    if !series.band.0.is_empty() {
        let edge = |values: &[f64]| -> Vec<f64> {
            kept.iter().map(|&j| values.get(j).map_or(f64::NAN, |v| edge_at(scales.1, *v))).collect()
        };
        let across: Vec<f64> = points.iter().map(|p| p.0).collect();
        let data = svg::band(&across, &edge(&series.band.0), &edge(&series.band.1));
        plot.path(&format!("b {class}"), &data, "");
    }
    let values = Plot::values(&series.name, kept.iter().map(|&j| (x[j], y[j])), None);
    let kind = if series.style == Style::Reference { "r" } else { "l" };
    plot.path(&format!("{kind} {class}"), &svg::polyline(&points), &values);
    if series.style == Style::Points || points.iter().filter(|p| !p.0.is_nan()).count() == 1 {
        plot.path(&format!("o {class}"), &svg::dots(points.iter().copied()), "");
        for j in kept.iter().filter(|&&j| y[j].is_infinite()) {
            let at = (scales.0.at(x[*j]), 1.0);
            plot.mark(&format!("cross {class}"), at, &format!("{}: diverged", series.name));
        }
    }
    if let Some(at) = series.chosen.and_then(|j| all.get(j)) {
        plot.mark(&format!("ring {class}"), *at, &format!("{}: chosen", series.name));
    }
}

/// The edge of a band: on a logarithmic axis a value of zero or less lies below the plot, not nowhere.
fn edge_at(y: Scale, value: f64) -> f64 {
    if y.log && value <= 0.0 { -1.0 } else { y.at(value) }
}
