//! A function of two variables as a valley seen from above, with the paths of optimizers through it.

use super::charts::{Axis, Contour, Path};
use super::figure;
use super::number::{human, power};
use super::plot::{Hover, Key, Look, Plot, legend_into};
use super::scale::{Margin, Scale, drawable};
use super::{isolines, svg, thin};

/// The most points that one path has.
const MOST: usize = 3000;

pub(super) fn html_into(out: &mut String, contour: &Contour) {
    let axis = |a| Scale::fit(a, std::iter::empty(), Margin::None);
    let (x, y) = (axis(&contour.x), axis(&contour.y));
    let ticks = (figure::x_ticks(contour.size), 6);
    let mut plot = Plot::new(x, y, (&contour.x.name, &contour.y.name), Hover::Nearest, ticks);
    let note = levels(&mut plot, contour);
    let note = if contour.note.is_empty() { note } else { format!("{} {note}", contour.note) };
    figure::open_into(out, contour.size, "contour", &contour.title, note.trim());
    let look = |i: usize, p: &Path| Look { place: i, colour: Some(p.colour.unwrap_or(i)) };
    let keys: Vec<Key> = contour
        .paths
        .iter()
        .enumerate()
        .map(|(i, p)| Key { look: look(i, p), name: p.name.clone(), note: p.note.clone(), shape: 'p' })
        .collect();
    legend_into(out, &keys);
    out.push_str(figure::BODY);
    for (i, path) in contour.paths.iter().enumerate().rev() {
        draw(&mut plot, path, look(i, path));
    }
    for (x, y) in &contour.minima {
        let (x, y) = (*x, *y);
        plot.mark("plus", plot.at(x, y), &format!("minimum at ({}, {})", human(x), human(y)));
    }
    if let Some((x, y)) = contour.start {
        plot.mark("start", plot.at(x, y), &format!("start at ({}, {})", human(x), human(y)));
    }
    let names: Vec<&str> = contour.paths.iter().map(|p| p.name.as_str()).collect();
    let label = format!("{}: level lines, with the paths of {}", contour.title, names.join(", "));
    out.push_str(&plot.finish(&label, "map"));
    let marks = match (contour.start.is_some(), contour.minima.len()) {
        (true, 0) => "○ start",
        (true, 1) => "○ start, + minimum",
        (true, _) => "○ start, + minima",
        (false, 0) => "",
        (false, _) => "+ minima",
    };
    if !marks.is_empty() {
        out.push_str(&format!("<p class=\"more\">{marks}</p>"));
    }
    out.push_str(figure::CLOSE);
}

fn draw(plot: &mut Plot<'_>, path: &Path, look: Look) {
    let all: Vec<(f64, f64)> = path.points.iter().map(|(x, y)| plot.at(*x, *y)).collect();
    let mut kept = thin::path(&all, MOST);
    // a path that has left the plot for good is of no more interest
    let outside = |i: &usize| svg::clip(all[*i], all[*i]).is_none();
    if let Some(last) = kept.iter().rposition(|i| !outside(i)) {
        kept.truncate(last + 2);
    }
    let points: Vec<(f64, f64)> = kept.iter().map(|&i| all[i]).collect();
    let values = Plot::values(&path.name, kept.iter().map(|&i| path.points[i]), Some(&kept));
    let class = look.class();
    let line = svg::polyline(&points);
    plot.path("halo", &line, "");
    plot.path(&format!("l {class}"), &line, &values);
    if points.len() <= 120 {
        plot.path(&format!("o small {class}"), &svg::dots(points.iter().copied()), "");
    }
    if let Some(end) = points.last() {
        plot.mark(&format!("end {class}"), *end, &format!("{}: last step", path.name));
    }
}

/// Draws the level lines and says in a sentence what they are.
fn levels(plot: &mut Plot<'_>, contour: &Contour) -> String {
    let finite: Vec<f64> = contour.values.iter().copied().filter(|v| drawable(*v)).collect();
    let (low, high) =
        finite.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    if low >= high {
        return String::new();
    }
    let least = contour.least.filter(|v| drawable(*v) && *v <= low);
    let mut heights: Vec<f64> =
        finite.iter().map(|v| v - least.unwrap_or(low)).filter(|v| *v > 0.0).collect();
    heights.sort_by(f64::total_cmp);
    let quantile = |q: f64| heights[((heights.len() - 1) as f64 * q) as usize];
    let ratios = least.is_some() && quantile(0.9) > 20.0 * quantile(0.02);
    let (levels, sentence) = match (ratios, least) {
        (true, Some(least)) => ratio_levels(least, quantile(0.015), quantile(1.0)),
        _ => even_levels(low, high),
    };
    // between lines, values are interpolated as the levels are spaced
    let shape = |v: f64| match least {
        Some(least) if ratios => libm::log10((v - least).max(1e-300)),
        _ => v,
    };
    let grid: Vec<f64> = contour.values.iter().map(|v| shape(*v)).collect();
    for level in levels.iter().rev() {
        let mut data = String::new();
        for ring in isolines::below(&grid, contour.columns, shape(*level)) {
            svg::outline(&mut data, &ring);
        }
        plot.path("lv", &data, "");
    }
    sentence
}

/// Levels at least + 10^(k·step) with about a dozen steps.
fn ratio_levels(least: f64, low: f64, high: f64) -> (Vec<f64>, String) {
    let (start, end) = (libm::log10(low), libm::log10(high));
    let (per_decade, name) = match end - start {
        d if d < 2.5 => (4, "four to a power of ten"),
        d if d < 7.0 => (2, "two to a power of ten"),
        _ => (1, "one to a power of ten"),
    };
    let stride = (libm::ceil((end - start) * f64::from(per_decade) / 16.0) as i32).max(1);
    let range =
        libm::ceil(start * f64::from(per_decade)) as i32..=libm::floor(end * f64::from(per_decade)) as i32;
    let root = [1.0, 1.778_279_410_038_922_8, 3.162_277_660_168_379_5, 5.623_413_251_903_491];
    let height =
        |k: i32| power(k.div_euclid(per_decade)) * root[(k.rem_euclid(per_decade) * 4 / per_decade) as usize];
    let heights: Vec<f64> = range.filter(|k| k.rem_euclid(stride) == 0).map(height).collect();
    let sentence = match (heights.first(), heights.last()) {
        (Some(first), Some(last)) if stride == 1 => {
            format!("Level lines from {} to {} above the minimum, {name}.", human(*first), human(*last))
        }
        (Some(first), Some(last)) => {
            format!("Level lines from {} to {} above the minimum.", human(*first), human(*last))
        }
        _ => String::new(),
    };
    (heights.iter().map(|h| least + h).collect(), sentence)
}

/// About a dozen levels at round values.
fn even_levels(low: f64, high: f64) -> (Vec<f64>, String) {
    let scale = Scale::fit(&Axis::linear("").range(low, high), std::iter::empty(), Margin::None);
    let at: Vec<f64> = scale.ticks(12).iter().map(|t| low + t.at * (high - low)).collect();
    let levels: Vec<f64> = at.into_iter().filter(|v| *v > low && *v < high).collect();
    let sentence = match (levels.first(), levels.get(1), levels.last()) {
        (Some(first), Some(second), Some(last)) => {
            let round = |v: f64| human(libm::round(v * 1e9) / 1e9);
            format!(
                "Level lines from {} to {}, {} apart.",
                round(*first),
                round(*last),
                round(second - first)
            )
        }
        _ => String::new(),
    };
    (levels, sentence)
}
