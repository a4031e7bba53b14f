//! The report of a run: how it went, how good it is, what the model says.

use thalweg_models::network::Network;

use crate::job::{Outcome, Prepared};
use crate::model::Coefficients;
use crate::report::{
    self, Axis, Bar, BarGroup, Bars, Calibration, Cell, Cloud, Code, Column, Confusion, Line, Marker, Pairs,
    Report, Roc, Row, Scatter, Section, Series, Size, Table, Text, human,
};
use crate::score::{Judged, Scored};

/// What a fit's report is told besides the run itself.
#[derive(Clone, Debug)]
pub struct FitPage<'a> {
    /// Data and decisions.
    pub prepared: &'a Prepared,
    /// The run.
    pub outcome: &'a Outcome,
    /// The resolved configuration.
    pub config: &'a str,
    /// The command that repeats the run.
    pub command: &'a str,
    /// Names and versions of what computed it.
    pub versions: &'a [(String, String)],
    /// The SHA-256 of the model file.
    pub sha256: &'a str,
}

/// Points of a scatter at most: more would be one blot.
const POINTS: usize = 5000;

/// The whole report.
pub fn fit_page(page: &FitPage<'_>) -> Report {
    let FitPage { prepared, outcome, .. } = *page;
    let file = prepared.job.data.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    if let Some(text) = &prepared.text {
        return super::text::text_page(page, text, &file);
    }
    let mut report = Report::new(format!("{} from {file}", prepared.job.target));
    let shown = outcome.test.as_ref().or(outcome.valid.as_ref());
    report.score = shown.map(|scored| headline(prepared, scored, outcome.test.is_some()));
    let classes = outcome.model.classes();
    let kind = if outcome.model.network().is_some() { "network for" } else { "linear model of" };
    report.lead = match classes.len() {
        0 => format!("A {kind} the number `{}`, trained by gradient descent.", prepared.job.target),
        k => format!("A {kind} `{}` ({k} classes), trained by gradient descent.", prepared.job.target),
    };
    report
        .fact("loss", prepared.loss.to_string())
        .fact("optimizer", outcome.optimizer.clone())
        .fact("stopped", outcome.fitted.stop.to_string())
        .fact("epochs, steps", format!("{}, {}", outcome.fitted.epochs, outcome.fitted.steps))
        .fact("training rows", prepared.train.len().to_string());

    report.section(curves(prepared, outcome));
    if let Some(scored) = shown {
        report.section(predictions(prepared, outcome, scored));
    }
    report.section(match outcome.model.network() {
        Some(network) => layers(network),
        None => coefficients(outcome),
    });
    report.section(repeat(page));
    report
}

fn headline(prepared: &Prepared, scored: &Scored, test: bool) -> report::Score {
    let baseline = if prepared.classes().is_empty() { "mean" } else { "majority class" };
    let part =
        if test { "test rows, used for nothing else" } else { "validation rows, which chose the weights" };
    report::Score {
        metric: scored.score.metric.title().into(),
        value: scored.score.value,
        interval: scored.score.interval,
        baseline: scored.baseline.is_finite().then(|| (baseline.into(), scored.baseline)),
        measured_on: format!("{} {part}", scored.rows),
    }
}

pub(super) fn curves(prepared: &Prepared, outcome: &Outcome) -> Section {
    let validates = outcome.fitted.valid_loss.is_some();
    let epochs = &outcome.history.epochs;
    let steps = &outcome.history.steps;
    let of = |f: &dyn Fn(&crate::EpochRecord) -> f64| epochs.iter().map(f).collect::<Vec<f64>>();
    let x = of(&|e| e.epoch as f64);
    let seconds = of(&|e| e.seconds);
    let epoch_axes = || vec![Axis::linear("epoch"), Axis::linear("time, s")];
    let curve = |name: &str, y: Vec<f64>| Series::new(name, x.clone(), y).also(seconds.clone());

    let mut loss = Line::new("Loss", Axis::linear("epoch"), Axis::new("mean loss"));
    loss.x = epoch_axes();
    loss.size = Size::Wide;
    loss.series.push(curve("training, penalty included", of(&|e| e.train_loss)));
    if validates {
        loss.series.push(curve("validation", of(&|e| e.valid_loss.unwrap_or(f64::NAN))));
        if let Some(best) = epochs.iter().find(|e| e.epoch == outcome.fitted.best_epoch) {
            let label = format!("best epoch, {}", best.epoch);
            loss.markers.push(Marker::X { at: vec![best.epoch as f64, best.seconds], label });
        }
    }
    loss.cap(10.0);
    let mut section = Section::new("How it went").with(loss);
    if validates {
        let title = match &prepared.text {
            Some(text) => crate::text::title(&text.vocabulary),
            None => prepared.metric.title().into(),
        };
        let mut score =
            Line::new(format!("Validation {title}"), Axis::linear("epoch"), Axis::linear(title.as_str()));
        score.x = epoch_axes();
        score.series.push(curve("validation", of(&|e| e.valid_score.unwrap_or(f64::NAN))));
        section = section.with(score);
    }
    let t: Vec<f64> = steps.iter().map(|s| s.step as f64).collect();
    let mut lr = Line::new("Learning rate", Axis::linear("step"), Axis::linear("learning rate"));
    lr.series.push(Series::new("learning rate", t.clone(), steps.iter().map(|s| s.lr).collect()));
    let mut norm = Line::new("Gradient norm", Axis::linear("step"), Axis::log("‖∇ loss‖₂"));
    norm.series.push(Series::new("gradient norm", t, steps.iter().map(|s| s.grad_norm).collect()));
    section.with(lr).with(norm)
}

fn predictions(prepared: &Prepared, outcome: &Outcome, scored: &Scored) -> Section {
    let judged = &scored.judged;
    let part = if outcome.test.is_some() { "test rows" } else { "validation rows" };
    let mut section = Section::new(format!("Predictions on the {part}"));
    let mut table = Table::new(
        "Scores",
        vec![Column::text("score"), Column::number("value"), Column::text("95% interval")],
    );
    table.size = Size::Half;
    for score in &scored.all {
        let interval = score.interval.map_or("–".into(), |(a, b)| format!("{} to {}", human(a), human(b)));
        table.rows.push(Row::new(vec![score.metric.title().into(), score.value.into(), interval.into()]));
    }
    let classes = outcome.model.classes();
    if classes.is_empty() {
        section = section.with(predicted_against_true(prepared, judged));
        if let Some(line) = fitted_line(prepared, outcome) {
            section = section.with(line);
        }
        return section.with(table);
    }
    if classes.len() <= 30 {
        section = section.with(confusion(classes, judged));
    }
    section = section.with(table);
    if classes.len() == 2 {
        let (p, positive) = of_second(judged);
        let weight = judged.weight.as_deref();
        section = section.with(Roc::of(classes[1].as_str(), &p, &positive, weight)).with(Calibration::of(
            classes[1].as_str(),
            &p,
            &positive,
            weight,
        ));
    }
    section
}

/// At most [`POINTS`] rows, evenly spread.
fn some(n: usize) -> impl Iterator<Item = usize> {
    (0..n).step_by(n.div_ceil(POINTS).max(1))
}

fn predicted_against_true(prepared: &Prepared, judged: &Judged) -> Scatter {
    let name = &prepared.job.target;
    let mut chart = Scatter::new(
        "Predicted against true",
        Axis::linear(format!("true {name}")),
        Axis::linear(format!("predicted {name}")),
    );
    chart.diagonal = Some("predicted = true".into());
    let rows = || some(judged.truth.len());
    let (x, y) = (rows().map(|i| judged.truth[i]).collect(), rows().map(|i| judged.predicted[i]).collect());
    chart.clouds.push(Cloud::new("rows", x, y).coloured(0));
    chart
}

/// The data and the line, where there is one numeric feature and nothing else.
fn fitted_line(prepared: &Prepared, outcome: &Outcome) -> Option<Scatter> {
    if outcome.model.network().is_some() {
        return None;
    }
    let features = prepared.encoder.features();
    let [feature] = &features[..] else { return None };
    if feature.level.is_some() {
        return None;
    }
    let coefficients = outcome.model.coefficients();
    let (intercept, slope) = (coefficients.intercept[0], coefficients.sorted[0].coefficient);
    let mut chart = Scatter::new(
        "The data and the line",
        Axis::linear(feature.name.clone()),
        Axis::linear(prepared.job.target.clone()),
    );
    let (center, scale) = crate::model::target_scale(&prepared.encoder);
    for (name, data, colour) in
        [("training rows", Some(&prepared.train), 7), ("test rows", prepared.test.as_ref(), 1)]
    {
        let Some(data) = data else { continue };
        let rows = || some(data.len());
        let x = rows().map(|i| data.dense[i] * feature.scale + feature.center).collect();
        let y = rows().map(|i| center + scale * data.target[i]).collect();
        chart.clouds.push(Cloud::new(name, x, y).coloured(colour));
    }
    let all = chart.clouds.iter().flat_map(|c| c.x.iter().copied());
    let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
    let exponent =
        |z: f64| if prepared.loss.task() == thalweg_models::losses::Task::Count { libm::exp(z) } else { z };
    let x: Vec<f64> = (0..=100).map(|i| low + (high - low) * f64::from(i) / 100.0).collect();
    let y = x.iter().map(|x| exponent(intercept + slope * x)).collect();
    let sign = if slope < 0.0 { '−' } else { '+' };
    let note = format!("{} {sign} {}·x", human(intercept), human(slope.abs()));
    chart.lines.push(Series::new("fitted", x, y).coloured(0).note(note));
    Some(chart)
}

fn confusion(classes: &[String], judged: &Judged) -> Confusion {
    let mut counts = vec![vec![0.0; classes.len()]; classes.len()];
    for (i, (t, p)) in judged.labels().into_iter().zip(judged.predicted_labels()).enumerate() {
        counts[t][p] += judged.weight(i);
    }
    Confusion {
        title: "Confusion matrix".into(),
        note: "Each row is a true class, each column a predicted one.".into(),
        classes: classes.to_vec(),
        counts,
        size: if classes.len() > 5 { Size::Wide } else { Size::Half },
    }
}

/// The probability of the second class for each row, and whether the row is of it.
fn of_second(judged: &Judged) -> (Vec<f64>, Vec<bool>) {
    let probability = judged.predicted.chunks_exact(2).map(|p| p[1]).collect();
    (probability, judged.labels().into_iter().map(|t| t == 1).collect())
}

pub(super) fn layers(network: &Network<f32>) -> Section {
    let columns = vec![
        Column::text("place"),
        Column::text("layer"),
        Column::text("output"),
        Column::number("parameters"),
        Column::number("multiply-adds"),
    ];
    let mut table = Table::new(format!("`{}`", network.spec()), columns);
    for row in network.describe() {
        let output: Vec<String> = row.output.iter().map(ToString::to_string).collect();
        table.rows.push(Row::new(vec![
            row.place.clone().into(),
            row.layer.clone().into(),
            output.join(" × ").into(),
            Cell::shown(row.parameters as f64, row.parameters.to_string()),
            Cell::shown(row.multiply_adds as f64, row.multiply_adds.to_string()),
        ]));
    }
    Section::new("The layers").intro("Multiply-adds are those of one row, forward.").with(table)
}

fn coefficients(outcome: &Outcome) -> Section {
    let Coefficients { intercept, sorted } = outcome.model.coefficients();
    let mut groups: Vec<BarGroup> = Vec::new();
    for c in &sorted {
        let name = c.class.clone().unwrap_or_default();
        let bar = Bar { name: c.feature.clone(), level: c.level.clone(), value: c.weight };
        match groups.iter_mut().find(|g| g.name == name) {
            Some(group) => group.bars.push(bar),
            None => groups.push(BarGroup { name, bars: vec![bar] }),
        }
    }
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    let bars = Bars {
        title: "Weights".into(),
        note: "For a change of one standard deviation of a number, or the presence of a category; what the penalty sees.".into(),
        groups,
        size: Size::Wide,
    };
    let mut table = Table::new(
        "Coefficients in original units",
        vec![
            Column::text("feature"),
            Column::text("category"),
            Column::text("class"),
            Column::number("coefficient"),
            Column::number("standardised"),
        ],
    );
    let classes = outcome.model.classes();
    for (k, value) in intercept.iter().enumerate() {
        let class =
            if intercept.len() > 1 { classes.get(k).cloned().unwrap_or_default() } else { String::new() };
        table.rows.push(Row::new(vec!["(intercept)".into(), "".into(), class.into(), (*value).into()]));
    }
    for c in sorted.iter().take(1000) {
        let text = |t: &Option<String>| Cell::from(t.clone().unwrap_or_default());
        let cells = vec![
            c.feature.clone().into(),
            text(&c.level),
            text(&c.class),
            c.coefficient.into(),
            c.weight.into(),
        ];
        table.rows.push(Row::new(cells));
    }
    let mut section = Section::new("What the model says").with(bars).with(table);
    let zeros = sorted.iter().filter(|c| c.weight == 0.0).count();
    if zeros > 0 {
        section = section.with(Text::note(format!("{zeros} of {} weights are exactly zero.", sorted.len())));
    }
    section
}

pub(super) fn repeat(page: &FitPage<'_>) -> Section {
    let mut versions = Pairs::new("Versions");
    for (name, version) in page.versions {
        versions = versions.row(name.clone(), version.clone());
    }
    versions = versions.row("SHA-256 of the model", page.sha256);
    let mut section = Section::new("How to repeat it")
        .with(Code::new("Command", page.command))
        .with(Code::new("config.toml", page.config))
        .with(versions);
    if !page.prepared.notes.is_empty() {
        section = section.with(Text::note(page.prepared.notes.join("\n\n")));
    }
    section
}
