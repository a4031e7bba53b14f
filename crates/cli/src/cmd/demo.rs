//! `thalweg demo`: the line y = 4 + 3x, on the terminal and in a report.

use std::io::{IsTerminal, Write};
use std::path::Path as FilePath;

use thalweg_models::saved::write_whole;
use thalweg_train::demo::{Demo, Line as Fit, NEAR, POINTS, Path, demo};
use thalweg_train::report::{
    Axis, Cell, Cloud, Column, Line, Pairs, Report, Row, Scatter, Section, Series, Spacing, Style, Table,
    Text, html, terminal,
};

use crate::args;
use crate::failure::Failure;
use crate::show::{self, Align, number};

/// Steps of each path: the textbook's.
const STEPS: usize = 1000;

/// Runs the subcommand.
pub fn run(args: &args::Demo) -> Result<(), Failure> {
    let demo = demo(args.seed, STEPS).map_err(Failure::run)?;
    let mut out = std::io::stdout().lock();
    let report = match (&args.report, args.no_report) {
        (_, true) => None,
        (Some(path), _) => Some(path.as_path()),
        (None, _) => Some(FilePath::new("demo.html")),
    };
    if let Some(path) = report {
        let bytes = html(&page(&demo));
        write_whole(path, |out| out.write_all(bytes.as_bytes()))
            .map_err(|e| Failure::Run(format!("cannot write {}: {e}", path.display())))?;
    }
    if args.json {
        serde_json::to_writer(&mut out, &demo)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", text(&demo, std::io::stdout().is_terminal()))?;
        if let Some(path) = report {
            writeln!(out, "\nThe same with curves to look at closely: {}", path.display())?;
        }
    }
    Ok(())
}

fn line(fit: Fit) -> String {
    let sign = if fit.slope < 0.0 { '−' } else { '+' };
    format!("{:.2} {sign} {:.2}x", fit.intercept, fit.slope.abs())
}

fn arrived(path: &Path) -> String {
    path.arrived.map_or_else(|| format!("not within {STEPS}"), |step| step.to_string())
}

/// The points and the lines.
fn scatter(demo: &Demo) -> Scatter {
    let mut chart = Scatter::new("", Axis::linear("x"), Axis::linear("y"));
    chart.clouds.push(Cloud::new(format!("{POINTS} points"), demo.x.clone(), demo.y.clone()));
    let ends = |fit: Fit| vec![fit.intercept, fit.intercept + 2.0 * fit.slope];
    for (path, colour) in [(&demo.gd, 0), (&demo.adam, 1)] {
        let series = Series::new(path.name.clone(), vec![0.0, 2.0], ends(path.end)).coloured(colour);
        chart.lines.push(series.note(line(path.end)));
    }
    let exact = Series::new("closed form", vec![0.0, 2.0], ends(demo.exact)).style(Style::Reference);
    chart.lines.push(exact.note(line(demo.exact)));
    chart
}

/// How far each loss is above the least one.
fn curves(demo: &Demo, paths: &[(&Path, usize)], steps: usize) -> Line {
    let x: Vec<f64> = (0..=steps).map(|t| t as f64).collect();
    let y = Axis { spacing: Spacing::Log, min: Some(1e-8), ..Axis::new("loss above the least") };
    let mut chart = Line::new("", Axis::linear("step"), y);
    for (path, colour) in paths {
        let above: Vec<f64> = path.losses[..=steps].iter().map(|l| (l - demo.exact_loss).max(0.0)).collect();
        chart.series.push(Series::new(path.name.clone(), x.clone(), above).coloured(*colour));
    }
    chart
}

fn text(demo: &Demo, colour: bool) -> String {
    let width = show::width();
    let mut text = String::new();
    let mut say = |s: &str| {
        text.push_str(s);
        text.push('\n');
    };
    say(&format!("y = 4 + 3x + noise, {POINTS} points; least squares ½·mean (ŷ − y)², from 0 + 0x"));
    say("");
    say(&terminal(&scatter(demo), width, 18, colour));
    say(&terminal(&curves(demo, &[(&demo.gd, 0), (&demo.adam, 1)], 300), width, 14, colour));
    let near = format!("within {NEAR}");
    let mut rows = vec![vec!["".into(), "line".into(), "loss".into(), near, "theory".into()]];
    let mut row = |name: &str, fit: Fit, loss: f64, steps: String, theory: String| {
        rows.push(vec![name.into(), line(fit), number(loss, 7), steps, theory]);
    };
    row("closed form", demo.exact, demo.exact_loss, String::new(), String::new());
    let theory = |n: usize| format!("at most {n}");
    for (path, predicted) in [
        (&demo.gd, theory(demo.predicted_steps)),
        (&demo.adam, String::new()),
        (&demo.slow_gd, theory(demo.slow_predicted_steps)),
        (&demo.slow_adam, String::new()),
    ] {
        row(&path.name, path.end, path.losses[STEPS], arrived(path), predicted);
    }
    use Align::{Left, Right};
    say(&show::table(&rows, &[Left, Right, Right, Right, Right]));
    for paragraph in explain(demo) {
        say(&show::wrap(&paragraph, width));
    }
    text
}

/// What the numbers say, in words.
fn explain(demo: &Demo) -> Vec<String> {
    vec![
        format!(
            "The Hessian's eigenvalues are L = {} and μ = {}: κ = L/μ = {}. Gradient descent converges for rates below \
             2/L = {}; at 1/L = {} each step leaves at most 1 − 1/κ = {} of the error, so {} steps are enough; it took {}.",
            number(demo.l, 4),
            number(demo.mu, 4),
            number(demo.kappa, 4),
            number(2.0 / demo.l, 3),
            number(1.0 / demo.l, 3),
            number(1.0 - 1.0 / demo.kappa, 4),
            demo.predicted_steps,
            arrived(&demo.gd),
        ),
        format!(
            "Too small: here is why. The textbook's rate 0.01 leaves 1 − 0.01·μ = {} of the error a step along the flat \
             direction, so it needs {} steps. After {STEPS} it has come to {}; the answer is {}. Adam at 0.01 moves each \
             number by about 0.01 a step, so it cannot go farther than {} in {STEPS} steps, and it slows down before it is \
             there: {}.",
            number(1.0 - 0.01 * demo.mu, 5),
            demo.slow_predicted_steps,
            line(demo.slow_gd.end),
            line(demo.exact),
            number(0.01 * STEPS as f64, 2),
            line(demo.slow_adam.end),
        ),
    ]
}

fn page(demo: &Demo) -> Report {
    let mut report = Report::new("y = 4 + 3x by gradient descent");
    report.lead = format!(
        "{POINTS} points of y = 4 + 3x + noise, fitted by least squares from zero, in {STEPS} steps. The closed form says {}.",
        line(demo.exact)
    );
    report.fact("closed form", line(demo.exact));
    report.fact("gradient descent, 1/L", line(demo.gd.end));
    report.fact("Adam, 0.1", line(demo.adam.end));
    let mut points = scatter(demo);
    points.title = "Points and lines".into();
    let mut near = curves(demo, &[(&demo.gd, 0), (&demo.adam, 1)], 300);
    near.title = "Loss above the least".into();
    report.section(Section::new("The fit").with(points).with(near));

    let pairs = Pairs::new("Curvature")
        .row("L, the largest eigenvalue of XᵀX/m", number(demo.l, 6))
        .row("μ, the smallest", number(demo.mu, 6))
        .row("κ = L/μ", number(demo.kappa, 5))
        .row("largest rate that converges, 2/L", number(2.0 / demo.l, 5))
        .row("rate taken, 1/L", number(1.0 / demo.l, 5));
    let mut table = Table::new(
        "Steps",
        vec![
            Column::text("optimizer"),
            Column::text("line after 1,000 steps"),
            Column::number("loss"),
            Column::number(format!("steps to within {NEAR}")),
            Column::number("theory: at most"),
        ],
    );
    let mut row = |path: &Path, predicted: Option<usize>, colour: usize| {
        let steps = Cell::shown(path.arrived.map_or(f64::INFINITY, |s| s as f64), arrived(path));
        let theory = predicted.map_or(Cell::default(), |n| Cell::shown(n as f64, n.to_string()));
        let loss = Cell::shown(path.losses[STEPS], number(path.losses[STEPS], 7));
        table.rows.push(
            Row::new(vec![path.name.clone().into(), line(path.end).into(), loss, steps, theory])
                .coloured(colour),
        );
    };
    row(&demo.gd, Some(demo.predicted_steps), 0);
    row(&demo.adam, None, 1);
    row(&demo.slow_gd, Some(demo.slow_predicted_steps), 2);
    row(&demo.slow_adam, None, 3);
    let mut words = explain(demo);
    let slow = words.pop().unwrap_or_default();
    report.section(
        Section::new("What theory says").with(Text::new(words.join("\n\n"))).with(pairs).with(table),
    );
    let all = [(&demo.gd, 0), (&demo.adam, 1), (&demo.slow_gd, 2), (&demo.slow_adam, 3)];
    let mut far = curves(demo, &all, STEPS);
    far.title = "All four, 1,000 steps".into();
    far.size = thalweg_train::report::Size::Wide;
    report.section(Section::new("A rate that is too small").with(Text::new(slow)).with(far));
    report
}
