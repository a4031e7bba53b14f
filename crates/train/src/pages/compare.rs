//! The report of a comparison on a table.

use super::function::search_strip;
use crate::compare::table::{Compared, Ran, Spread};
use crate::job::Prepared;
use crate::report::{
    Axis, Cell, Code, Column, Line, Mark, Report, Row, Section, Series, Size, Spacing, Table, Text, human,
};

/// Curves, the table, the searches.
pub fn compare_page(prepared: &Prepared, compared: &Compared, spreads: &[Spread], command: &str) -> Report {
    let file = prepared.job.data.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let what = if prepared.text.is_some() { "the text" } else { &prepared.job.target };
    let mut page = Report::new(format!("Side by side: {what} from {file}"));
    page.lead = "The same data, the same start, the same batches. A member without a rate got the best of nine, each with the \
                 same budget, chosen without the test rows."
        .into();
    if let Some(best) = compared.lowest() {
        let run = &compared.runs[best];
        page.fact("lowest loss", human(run.outcome.fitted.train_loss)).fact("by", run.member.label.clone());
    }
    page.fact("loss", prepared.loss.to_string())
        .fact("training rows", prepared.rows().to_string())
        .fact("passes", prepared.epochs.to_string());

    let mut above = Line::new("Loss above the best", Axis::log("step"), Axis::log("loss − best"));
    above.x = vec![Axis::log("step"), Axis::log("rows seen"), Axis::log("time, s")];
    above.size = Size::Wide;
    above.note = "The objective on all training rows; its evaluation is outside the clock.".into();
    let mut plain = Line::new("Loss", Axis::linear("step"), Axis::linear("loss"));
    plain.x = vec![Axis::linear("step"), Axis::linear("rows seen"), Axis::linear("time, s")];
    plain.y.spacing = Spacing::Linear;
    plain.size = Size::Wide;
    for run in &compared.runs {
        let probes = &run.outcome.history.probes;
        let of = |f: &dyn Fn(&crate::observers::Probe) -> f64| probes.iter().map(f).collect::<Vec<f64>>();
        let series = |y: Vec<f64>| {
            Series::new(run.member.label.clone(), of(&|p| p.step as f64), y)
                .also(of(&|p| p.rows as f64))
                .also(of(&|p| p.seconds))
        };
        plain.series.push(series(of(&|p| p.loss)));
        above.series.push(series(of(&|p| (p.loss - compared.best_loss).max(1e-12))));
    }
    if compared.first_loss.is_finite() {
        plain.y.max = Some(1.5 * compared.first_loss);
    }
    above.cap(10.0);
    page.section(Section::new("How they go").with(plain).with(above));
    page.section(
        Section::new("In numbers")
            .intro("“To common loss”: what it took to come within 1% of the way from the best loss that any reached to the start.")
            .with(table(prepared, compared)),
    );
    if spreads.iter().any(|s| s.seeds > 1) {
        page.section(
            Section::new("Over seeds")
                .intro("Median, and from lowest to highest.")
                .with(seeds(prepared, spreads)),
        );
    }
    let searched = compared.runs.iter().enumerate();
    let searched = searched.filter_map(|(i, r)| Some((i, r.member.label.as_str(), r.search.as_ref()?)));
    if let Some(strip) = search_strip(searched) {
        let by = if prepared.valid.is_some() { "validation loss" } else { "training loss, penalty included" };
        page.section(
            Section::new("Learning rates")
                .intro(format!("Nine rates each, judged by the {by}; the ring marks the one taken, a cross one that diverged."))
                .with(strip),
        );
    }
    let mut last = Section::new("How to repeat it").with(Code::new("Command", command));
    if !prepared.notes.is_empty() {
        last = last.with(Text::note(prepared.notes.join("\n\n")));
    }
    page.section(last);
    page
}

fn table(prepared: &Prepared, compared: &Compared) -> Table {
    let part = if prepared.test.is_some() { "test" } else { "training" };
    let mut table = Table::new(
        "",
        vec![
            Column::text("member"),
            Column::number("rate"),
            Column::text("chosen"),
            Column::number("loss"),
            Column::number(format!("{} ({part})", prepared.metric.title())),
            Column::number("steps to common loss"),
            Column::number("rows"),
            Column::number("seconds"),
            Column::text("stopped"),
        ],
    );
    let best = compared.lowest();
    for (i, run) in compared.runs.iter().enumerate() {
        let reached = |f: &dyn Fn(&crate::compare::table::Reached) -> f64| {
            run.reached.as_ref().map_or(Cell::from("–"), |r| Cell::number(f(r)))
        };
        let cells = vec![
            run.member.label.clone().into(),
            run.outcome.lr.into(),
            chosen(run).into(),
            run.outcome.fitted.train_loss.into(),
            run.outcome.shown_score().into(),
            reached(&|r| r.steps as f64),
            reached(&|r| r.rows as f64),
            reached(&|r| r.seconds),
            run.outcome.fitted.stop.word().into(),
        ];
        let mut row = Row::new(cells).coloured(i);
        row.mark = match (run.diverged(), best == Some(i)) {
            (true, _) => Some(Mark::Bad("diverged".into())),
            (_, true) => Some(Mark::Good("lowest".into())),
            _ => None,
        };
        table.rows.push(row);
    }
    table
}

/// How the rate came about.
pub fn chosen(run: &Ran) -> &'static str {
    match &run.search {
        None => "given",
        Some(search) if search.best.is_none() => "all nine diverged",
        Some(search) if search.at_the_edge() => "best of nine, at the edge",
        Some(_) => "best of nine",
    }
}

fn seeds(prepared: &Prepared, spreads: &[Spread]) -> Table {
    let mut table = Table::new(
        "",
        vec![
            Column::text("member"),
            Column::number("loss"),
            Column::text("from, to"),
            Column::number(prepared.metric.title()),
            Column::text("from, to"),
            Column::number("diverged"),
        ],
    );
    for (i, s) in spreads.iter().enumerate() {
        let range = |[low, _, high]: [f64; 3]| format!("{}, {}", human(low), human(high));
        let cells = vec![
            s.label.clone().into(),
            s.loss[1].into(),
            range(s.loss).into(),
            s.score[1].into(),
            range(s.score).into(),
            Cell::shown(s.diverged as f64, format!("{} of {}", s.diverged, s.seeds)),
        ];
        table.rows.push(Row::new(cells).coloured(i));
    }
    table
}
