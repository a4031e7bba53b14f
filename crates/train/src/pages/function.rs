//! The report of a comparison on a function of the plane.

use thalweg_models::functions::Entry;

use crate::compare::function::Path;
use crate::compare::search::Search;
use crate::report::{
    self, Axis, Cell, Column, Contour, Line, Mark, Report, Row, Section, Series, Size, Spacing, Style, Table,
    human,
};

/// Points of the grid that level lines are drawn from, in each direction.
const GRID: usize = 160;

/// The paths over the level lines, the value against steps, the search for each rate, the table.
pub fn function_page(entry: &Entry, start: (f64, f64), steps: usize, paths: &[Path]) -> Report {
    let mut page = Report::new(format!("Optimizers on {}", entry.name));
    page.lead = format!(
        "f(x, y) = {}, from ({}, {}), {steps} steps each. An optimizer without a rate got the best of nine.",
        entry.formula, start.0, start.1
    );
    if let Some(best) = lowest(paths) {
        page.fact("lowest value", human(paths[best].value)).fact("by", paths[best].optimizer.clone());
    }
    let [x0, x1, y0, y1] = entry.window;
    let (x, y) = (Axis::linear("x").range(x0, x1), Axis::linear("y").range(y0, y1));
    let mut contour = Contour::sample("Paths", x, y, GRID, entry.value);
    contour.start = Some(start);
    contour.minima = entry.minima.to_vec();
    contour.least = entry.minima.first().map(|&(x, y)| (entry.value)(x, y));
    contour.paths = paths.iter().map(way).collect();

    let least = contour.least.unwrap_or(0.0);
    let mut values = Line::new("Value above the least", Axis::linear("step"), Axis::new("f − least"));
    values.y.spacing = Spacing::Log;
    values.size = Size::Wide;
    for path in paths {
        let above = path.values.iter().map(|v| (v - least).max(0.0)).collect();
        let t = (0..path.values.len()).map(|t| t as f64).collect();
        values.series.push(Series::new(path.label.clone(), t, above));
    }
    values.cap(10.0);
    page.section(Section::new("Where each one goes").with(contour).with(values));
    page.section(Section::new("In numbers").with(table(paths)));
    let searched =
        paths.iter().enumerate().filter_map(|(i, p)| Some((i, p.label.as_str(), p.search.as_ref()?)));
    if let Some(strip) = search_strip(searched) {
        page.section(
            Section::new("Learning rates")
                .intro("Nine rates each with the same number of steps; the ring marks the one taken, a cross one that diverged.")
                .with(strip),
        );
    }
    page
}

fn lowest(paths: &[Path]) -> Option<usize> {
    let finite = |&i: &usize| !paths[i].diverged;
    (0..paths.len()).filter(finite).min_by(|&a, &b| paths[a].value.total_cmp(&paths[b].value))
}

fn way(path: &Path) -> report::Path {
    report::Path {
        name: path.label.clone(),
        note: human(path.value),
        points: path.points.clone(),
        ..Default::default()
    }
}

fn table(paths: &[Path]) -> Table {
    let mut table = Table::new(
        "",
        vec![
            Column::text("optimizer"),
            Column::number("rate"),
            Column::number("value"),
            Column::number("steps to common value"),
            Column::number("distance to the nearest minimum"),
            Column::text("ends at"),
        ],
    );
    let best = lowest(paths);
    for (i, path) in paths.iter().enumerate() {
        let steps = path.steps_to_common.map_or("–".into(), |s| Cell::shown(s as f64, s.to_string()));
        let end = format!("({}, {})", human(path.end.0), human(path.end.1));
        let cells = vec![
            path.label.clone().into(),
            path.lr.into(),
            path.value.into(),
            steps,
            path.distance.into(),
            end.into(),
        ];
        let mut row = Row::new(cells).coloured(i);
        row.mark = match (path.diverged, best == Some(i)) {
            (true, _) => Some(Mark::Bad("diverged".into())),
            (_, true) => Some(Mark::Good("lowest".into())),
            _ => None,
        };
        table.rows.push(row);
    }
    table
}

/// A strip of loss against rate for each member that searched; its place gives the colour.
pub(super) fn search_strip<'a>(members: impl Iterator<Item = (usize, &'a str, &'a Search)>) -> Option<Line> {
    let mut chart = Line::new("Loss against learning rate", Axis::log("learning rate"), Axis::new("loss"));
    chart.size = Size::Wide;
    for (place, label, search) in members {
        let losses = search.losses.iter().map(|l| l.unwrap_or(f64::INFINITY)).collect();
        let series = Series::new(label, search.rates.clone(), losses).style(Style::Points).coloured(place);
        chart.series.push(match search.best {
            Some(best) => series.chosen(best),
            None => series,
        });
    }
    (!chart.series.is_empty()).then_some(chart)
}
