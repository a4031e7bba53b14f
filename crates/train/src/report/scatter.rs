//! Points and the lines through them: data and fitted line, predicted against true.

use super::charts::{Scatter, Series, Style};
use super::figure;
use super::number::human;
use super::plot::{Hover, Key, Look, Plot, legend_into};
use super::scale::{Margin, Scale};
use super::{svg, thin};

/// The most points that a chart draws.
const MOST: usize = 4000;

/// The scales of both axes.
pub(super) fn scales(scatter: &Scatter) -> (Scale, Scale) {
    let x = || {
        let lines = scatter.lines.iter().filter_map(|s| s.x.first()).flatten();
        scatter.clouds.iter().flat_map(|c| &c.x).chain(lines).copied()
    };
    let y = || {
        let lines = scatter.lines.iter().flat_map(|s| &s.y);
        scatter.clouds.iter().flat_map(|c| &c.y).chain(lines).copied()
    };
    if scatter.diagonal.is_some() {
        let both = Scale::fit(&scatter.x, x().chain(y()), Margin::Points);
        (both, both)
    } else {
        (Scale::fit(&scatter.x, x(), Margin::Points), Scale::fit(&scatter.y, y(), Margin::Points))
    }
}

pub(super) fn html_into(out: &mut String, scatter: &Scatter) {
    let (x, y) = scales(scatter);
    let ticks = (figure::x_ticks(scatter.size), 6);
    let mut plot = Plot::new(x, y, (&scatter.x.name, &scatter.y.name), Hover::Nearest, ticks);
    let mut keys = Vec::new();
    let share = MOST / scatter.clouds.len().max(1);
    let (mut drawn, mut total) = (0, 0);
    for (place, cloud) in scatter.clouds.iter().enumerate() {
        let look = Look { place, colour: cloud.colour };
        let all: Vec<(f64, f64)> = cloud.x.iter().zip(&cloud.y).map(|(x, y)| plot.at(*x, *y)).collect();
        let kept = thin::cloud(&all, share);
        drawn += kept.len();
        total += all.iter().filter(|p| !p.0.is_nan()).count();
        let values = Plot::values(&cloud.name, kept.iter().map(|&i| (cloud.x[i], cloud.y[i])), None);
        let many = if kept.len() > 400 { " many" } else { "" };
        let class = format!("o{many} {}", look.class());
        plot.path(&class, &svg::dots(kept.iter().map(|&i| all[i])), &values);
        keys.push(Key { look, name: cloud.name.clone(), note: String::new(), shape: 'o' });
    }
    let place = scatter.clouds.len();
    if let Some(name) = &scatter.diagonal {
        let look = Look { place: place + scatter.lines.len(), colour: None };
        let (low, high) = (x.low.max(y.low), x.high.min(y.high));
        plot.path(
            &format!("r {}", look.class()),
            &svg::polyline(&[plot.at(low, low), plot.at(high, high)]),
            "",
        );
        keys.push(Key { look, name: name.clone(), note: String::new(), shape: 'r' });
    }
    // the first line is drawn last, on top, but what is only known or expected lies above all
    let known = |line: &Series| line.style == Style::Reference;
    let order = (0..scatter.lines.len()).rev();
    for i in order
        .clone()
        .filter(|&i| !known(&scatter.lines[i]))
        .chain(order.filter(|&i| known(&scatter.lines[i])))
    {
        let line = &scatter.lines[i];
        let covered =
            scatter.lines[..i].iter().filter(|above| !known(above) && coincide(line, above, y)).count();
        let look = Look { place: place + i, colour: Some(line.colour.unwrap_or(i)) };
        draw(&mut plot, line, look, covered.min(2));
    }
    for (i, line) in scatter.lines.iter().enumerate() {
        let look = Look { place: place + i, colour: Some(line.colour.unwrap_or(i)) };
        let shape = if line.style == Style::Reference { 'r' } else { 'l' };
        keys.push(Key { look, name: line.name.clone(), note: line.note.clone(), shape });
    }
    let shown = format!("{} of {} points are drawn.", human(drawn as f64), human(total as f64));
    let note = match (drawn < total, scatter.note.is_empty()) {
        (false, _) => scatter.note.clone(),
        (true, true) => shown,
        (true, false) => format!("{} {shown}", scatter.note),
    };
    figure::open_into(out, scatter.size, "scatter", &scatter.title, &note);
    legend_into(out, &keys);
    out.push_str(figure::BODY);
    let label = format!("{}: {} against {}, {total} points", scatter.title, scatter.y.name, scatter.x.name);
    out.push_str(&plot.finish(&label, if scatter.diagonal.is_some() { "square" } else { "tall" }));
    out.push_str(figure::CLOSE);
}

/// Whether two lines over the same points look like one.
fn coincide(a: &Series, b: &Series, y: Scale) -> bool {
    let apart = |(a, b): (&f64, &f64)| (y.at(*a) - y.at(*b)).abs() > 0.006;
    a.x == b.x && a.y.len() == b.y.len() && !a.y.iter().zip(&b.y).any(apart)
}

/// A line; one that others cover is wider, so that its edges show.
fn draw(plot: &mut Plot<'_>, line: &Series, look: Look, covered: usize) {
    let Some(x) = line.x.first() else { return };
    let all: Vec<(f64, f64)> = x.iter().zip(&line.y).map(|(x, y)| plot.at(*x, *y)).collect();
    let kept = thin::curve(&all, 300);
    let points: Vec<(f64, f64)> = kept.iter().map(|&i| all[i]).collect();
    let kind = match (line.style, covered) {
        (Style::Reference, _) => "r",
        (_, 0) => "l",
        (_, 1) => "l u1",
        _ => "l u2",
    };
    plot.path(&format!("{kind} {}", look.class()), &svg::polyline(&points), "");
}
