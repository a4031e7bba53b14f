//! Draws every kind of section that a report has, with data as real runs give it and with the edge cases.
//!
//! `cargo run -p thalweg-train --example report_gallery -- gallery.html` writes the file, prints the charts
//! that a terminal can show, and says how long both took.

use std::time::Instant;

use thalweg_train::report::*;

fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "gallery.html".into());
    let report = gallery();
    let start = Instant::now();
    let page = html(&report);
    let took = start.elapsed();
    std::fs::write(&path, &page)?;
    let colour = std::env::args().nth(2).as_deref() != Some("--plain");
    let start = Instant::now();
    let pictures = [
        terminal(&demo_scatter(), 80, 18, colour),
        terminal(&demo_loss(), 80, 16, colour),
        terminal(&compare_loss(), 80, 16, colour),
    ];
    let drawn = start.elapsed();
    pictures.iter().for_each(|p| println!("{p}"));
    println!("{path}: {} kB in {took:?}; three terminal charts in {drawn:?}", page.len() / 1000);
    Ok(())
}

/// The whole page.
pub fn gallery() -> Report {
    let mut report = Report::new("breast_cancer: diagnosis by logistic regression");
    report.lead =
        "`thalweg fit breast_cancer.csv --target diagnosis` trained on 455 rows and scored 114 others."
            .into();
    report.score = Some(Score {
        metric: "accuracy".into(),
        value: 0.973_684,
        interval: Some((0.9255, 0.9910)),
        baseline: Some(("majority class".into(), 0.631_579)),
        measured_on: "on 114 test rows, used for nothing else".into(),
    });
    report.fact("task", "two classes: benign, malignant").fact("model", "`linear`, 31 parameters");
    report.fact("optimizer", "`adam(lr=cosine(0.05))`").fact("stopped", "converged: gradient below 1e−4");
    report.fact("rows", "455 train, 114 test").fact("steps", "1,000 in 40 ms");
    report.section(curves()).section(classes()).section(numbers()).section(coefficients());
    report.section(demo()).section(compare()).section(functions()).section(edges()).section(repeat());
    report
}

/// Numbers between 0 and 1 that look random and are the same everywhere.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }
}

fn steps(n: usize) -> Vec<f64> {
    (0..n).map(|i| i as f64).collect()
}

fn curves() -> Section {
    let n = 1000;
    let mut noise = Noise(1);
    let decay = |t: f64, floor: f64| floor + (0.693 - floor) * libm::exp(-libm::pow(t * 0.02, 0.7));
    let train: Vec<f64> = steps(n).iter().map(|t| decay(*t, 0.048)).collect();
    let valid: Vec<f64> =
        steps(n).iter().map(|t| decay(*t, 0.07) + t * 1.5e-5 + 0.002 * noise.normal()).collect();
    let mut loss = Line::new("Loss", Axis::new("step"), Axis::new("mean log-loss"));
    loss.series.push(Series::new("train", steps(n), train.clone()).note("0.0481"));
    loss.series.push(Series::new("valid", steps(n), valid).note("0.0812"));
    loss.markers.push(Marker::X { at: vec![412.0], label: "best, step 412".into() });
    let accuracy = |t: &f64| 1.0 - 0.37 * libm::exp(-t * 0.015) - 0.02;
    let mut score = Line::new("Accuracy", Axis::new("step"), Axis::linear("accuracy"));
    score.series.push(Series::new("valid", steps(n), steps(n).iter().map(accuracy).collect()).coloured(1));
    score.markers.push(Marker::Y { at: 0.6316, label: "majority class".into() });
    let cosine = |t: &f64| 0.025 * (1.0 + libm::cos(std::f64::consts::PI * t / 1000.0));
    let mut rate = Line::new("Learning rate", Axis::new("step"), Axis::linear("rate"));
    rate.series.push(Series::new("", steps(n), steps(n).iter().map(cosine).collect()));
    let mut norm = Line::new("Gradient norm", Axis::new("step"), Axis::log("largest |gradient|"));
    let fall = |t: &f64| 0.4 * libm::exp(-t * 0.0085) * (1.0 + 0.3 * libm::sin(t * 0.7));
    norm.series.push(Series::new("", steps(n), steps(n).iter().map(fall).collect()));
    norm.markers.push(Marker::Y { at: 1e-4, label: "tolerance".into() });
    Section::new("How it went").with(loss).with(score).with(rate).with(norm)
}

fn classes() -> Section {
    let names = |list: &[&str]| list.iter().map(|s| s.to_string()).collect();
    let two = Confusion {
        title: "Confusion".into(),
        note: "Counts on the test rows; the shares are of the true class.".into(),
        classes: names(&["benign", "malignant"]),
        counts: vec![vec![71.0, 1.0], vec![2.0, 40.0]],
        size: Size::Half,
    };
    let mut noise = Noise(7);
    let mut probability = Vec::new();
    let mut positive = Vec::new();
    for _ in 0..400 {
        let z = 2.2 * noise.normal() - 0.6;
        probability.push(1.0 / (1.0 + libm::exp(-1.3 * z)));
        positive.push(noise.next() < 1.0 / (1.0 + libm::exp(-z)));
    }
    let three = Confusion {
        title: "Three classes".into(),
        classes: names(&["Adelie", "Chinstrap", "Gentoo"]),
        counts: vec![vec![28.0, 3.0, 0.0], vec![5.0, 9.0, 0.0], vec![0.0, 0.0, 24.0]],
        size: Size::Half,
        ..Confusion::default()
    };
    let digits: Vec<String> = (0..10).map(|i| i.to_string()).collect();
    let ten = Confusion {
        title: "Ten classes".into(),
        counts: matrix(10, &mut noise),
        classes: digits,
        size: Size::Wide,
        ..Confusion::default()
    };
    let twenty = Confusion {
        title: "Twenty classes".into(),
        counts: matrix(20, &mut noise),
        classes: (0..20)
            .map(|i| format!("newsgroup.{}", ["autos", "space", "med", "crypt"][i % 4]))
            .collect(),
        size: Size::Wide,
        ..Confusion::default()
    };
    Section::new("Where it is right and wrong")
        .with(two)
        .with(three)
        .with(Roc::of("malignant", &probability, &positive, None))
        .with(Calibration::of("malignant", &probability, &positive, None))
        .with(ten)
        .with(twenty)
}

fn matrix(n: usize, noise: &mut Noise) -> Vec<Vec<f64>> {
    let cell = |i: usize, j: usize, noise: &mut Noise| match (i == j, noise.next()) {
        (true, v) => 25.0 + libm::floor(v * 14.0),
        (false, v) if v > 0.86 => libm::floor((v - 0.86) * 50.0),
        _ => 0.0,
    };
    (0..n).map(|i| (0..n).map(|j| cell(i, j, noise)).collect()).collect()
}

fn numbers() -> Section {
    let mut noise = Noise(3);
    let mut chart =
        Scatter::new("Predicted against true", Axis::new("true body mass, g"), Axis::new("predicted, g"));
    let truth: Vec<f64> = (0..160).map(|_| 2800.0 + 3300.0 * noise.next()).collect();
    let predicted = truth.iter().map(|t| 650.0 + 0.85 * t + 230.0 * noise.normal()).collect();
    chart.clouds.push(Cloud::new("test rows", truth.clone(), predicted).coloured(0));
    chart.diagonal = Some("exact".into());
    let mut many = Scatter::new("100,000 points", Axis::new("x"), Axis::new("y"));
    let x: Vec<f64> = (0..100_000).map(|_| noise.normal()).collect();
    let y = x.iter().map(|x| 0.6 * x + 0.8 * noise.normal()).collect();
    many.clouds.push(Cloud::new("rows", x, y));
    many.lines.push(Series::new("fit", vec![-6.0, 6.0], vec![-3.6, 3.6]));
    Section::new("Predicted numbers").with(chart).with(many)
}

fn coefficients() -> Section {
    let bar = |name: &str, level: Option<&str>, value: f64| Bar {
        name: name.into(),
        level: level.map(Into::into),
        value,
    };
    let mass = Bars {
        title: "Coefficients".into(),
        note: "Change of `body_mass_g` for one standard deviation, or for the category.".into(),
        groups: vec![BarGroup {
            name: String::new(),
            bars: vec![
                bar("flipper_length_mm", None, 243.6),
                bar("species", Some("Gentoo"), 512.25),
                bar("species", Some("Chinstrap"), -251.4),
                bar("sex", Some("male"), 381.0),
                bar("bill_length_mm", None, 96.2),
                bar("island", Some("Dream"), -13.3),
                bar("year", None, -41.9),
                bar("bill_depth_mm", None, 130.0),
                bar("island", Some("Torgersen"), -0.4),
                bar("a_feature_with_a_name_that_is_far_too_long_for_a_phone", None, f64::NAN),
            ],
        }],
        size: Size::Half,
    };
    let mut noise = Noise(5);
    let group = |class: &str, noise: &mut Noise| BarGroup {
        name: class.into(),
        bars: (0..40).map(|i| bar(&format!("pixel_{}_{}", i / 8, i % 8), None, noise.normal())).collect(),
    };
    let digits = Bars {
        title: "Coefficients by class".into(),
        note: "Change of the log-odds for one standard deviation.".into(),
        groups: (0..10).map(|d| group(&format!("{d}"), &mut noise)).collect(),
        size: Size::Half,
    };
    Section::new("What the model has learnt").with(mass).with(digits)
}

fn demo_points() -> (Vec<f64>, Vec<f64>) {
    let mut noise = Noise(42);
    let x: Vec<f64> = (0..100).map(|_| 2.0 * noise.next()).collect();
    let y = x.iter().map(|x| 4.0 + 3.0 * x + noise.normal()).collect();
    (x, y)
}

fn demo_scatter() -> Scatter {
    let (x, y) = demo_points();
    let line = |a: f64, b: f64| (vec![0.0, 2.0], vec![a, a + 2.0 * b]);
    let mut chart = Scatter::new("The data and the lines", Axis::new("x"), Axis::new("y"));
    chart.clouds.push(Cloud::new("data", x, y));
    for (name, note, (x, y)) in [
        ("gradient descent", "4.215 + 2.770x", line(4.215, 2.77)),
        ("Adam", "4.222 + 2.768x", line(4.222, 2.768)),
        ("rate 0.01, stopped early", "3.74 + 3.38x", line(3.74, 3.38)),
    ] {
        chart.lines.push(Series::new(name, x, y).note(note));
    }
    chart
}

fn demo_loss() -> Line {
    let mut chart = Line::new("Loss above its minimum", Axis::new("step"), Axis::log("f − f*"));
    let curve = |rate: f64, wave: f64| -> Vec<f64> {
        steps(120)
            .iter()
            .map(|t| 25.0 * libm::exp(-rate * t) * (1.0 + 0.8 * wave * libm::sin(t * 0.3)))
            .collect()
    };
    chart.series.push(Series::new("gradient descent", steps(120), curve(0.18, 0.0)).note("1/L"));
    chart.series.push(Series::new("Adam", steps(120), curve(0.1, 1.0)).note("0.1"));
    chart.series.push(Series::new("theory", steps(120), curve(0.15, 0.0)).style(Style::Reference));
    chart
}

fn demo() -> Section {
    let facts = Pairs::new("What theory says")
        .row("L, the largest curvature", "2.31")
        .row("μ, the smallest", "0.142")
        .row("κ = L/μ", "16.3")
        .row("steps that 1/L needs for 1e−6", "113")
        .row("steps taken", "108");
    let answer = Table {
        size: Size::Half,
        ..Table::new(
            "The answer",
            vec![Column::text("method"), Column::number("intercept"), Column::number("slope")],
        )
    };
    let row = |name: &str, a: f64, b: f64| Row::new(vec![name.into(), a.into(), b.into()]);
    let answer = Table {
        rows: vec![
            row("closed form", 4.2151, 2.7701),
            row("gradient descent", 4.2151, 2.7701).coloured(0),
            row("Adam", 4.2224, 2.7684).coloured(1),
            row("rate 0.01", 3.74, 3.38).coloured(2).marked(Mark::Bad("too small".into())),
        ],
        ..answer
    };
    Section::new("A line through points")
        .intro("y = 4 + 3x plus noise, 100 points, from zero.")
        .with(demo_scatter())
        .with(demo_loss())
        .with(facts)
        .with(answer)
        .with(Text::note(
            "A rate of 0.01 is a 43rd of 1/L: after 1,000 steps the slow direction is not done.",
        ))
}

const NAMES: [&str; 5] = ["gd", "momentum", "adagrad", "rmsprop", "adam"];

fn compare_loss() -> Line {
    let n = 2000;
    let mut noise = Noise(9);
    let mut chart = Line::new("Training loss", Axis::new("steps"), Axis::new("mean log-loss"));
    chart.x.push(Axis::new("rows seen"));
    chart.x.push(Axis::new("seconds"));
    for (i, name) in NAMES.iter().enumerate() {
        let rate = [0.35, 0.6, 0.45, 0.8, 1.0][i];
        let curve: Vec<f64> = steps(n)
            .iter()
            .map(|t| {
                let base = 0.02 + 0.67 * libm::exp(-libm::pow(rate * t * 0.02, 0.6));
                base * (1.0 + 0.04 * noise.normal())
            })
            .collect();
        let low = curve.iter().map(|v| v * 0.9).collect();
        let high = curve.iter().map(|v| v * 1.1).collect();
        let second = [0.9e-5, 1.0e-5, 1.2e-5, 1.3e-5, 1.5e-5][i];
        let series = Series::new(*name, steps(n), curve)
            .also(steps(n).iter().map(|t| t * 32.0).collect())
            .also(steps(n).iter().map(|t| t * second).collect());
        chart.series.push(if i == 4 { series.band(low, high) } else { series });
    }
    let mut wild: Vec<f64> = steps(40).iter().map(|t| 0.69 * libm::exp(t * 0.9)).collect();
    wild.push(f64::INFINITY);
    let x = steps(41);
    let series = Series::new("gd(lr=10)", x.clone(), wild).note("diverged");
    let rows = x.iter().map(|t| t * 32.0).collect();
    chart.series.push(series.also(rows).also(x.iter().map(|t| t * 1e-5).collect()));
    chart.cap(3.0);
    chart.size = Size::Wide;
    chart
}

fn compare() -> Section {
    let columns = ["optimizer", "rate", "loss", "accuracy", "steps to f* + 1%", "seconds"];
    let columns = columns.iter().enumerate().map(|(i, c)| match i {
        0 => Column::text(*c),
        _ => Column::number(*c),
    });
    let mut table = Table::new("Results", columns.collect());
    for (i, name) in NAMES.iter().enumerate() {
        let v = i as f64;
        let row = Row::new(vec![
            (*name).into(),
            [0.3, 0.1, 0.1, 0.01, 0.03][i].into(),
            (0.061 - 0.003 * v).into(),
            Cell::shown(0.965 + 0.002 * v, format!("{:.4}", 0.965 + 0.002 * v)),
            (1890.0 - 333.0 * v).into(),
            (0.0189 + 0.0007 * v).into(),
        ])
        .coloured(i);
        table.rows.push(if i == 4 { row.marked(Mark::Good("best".into())) } else { row });
    }
    let nan = f64::NAN;
    let diverged =
        vec!["gd(lr=10)".into(), 10.0.into(), f64::INFINITY.into(), 0.63.into(), nan.into(), nan.into()];
    table.rows.push(Row::new(diverged).coloured(5).marked(Mark::Bad("diverged at step 41".into())));
    let rates: Vec<f64> = (0..9).map(|i| libm::pow(10.0, -4.0 + 0.5 * f64::from(i))).collect();
    let mut section = Section::new("Five optimizers side by side")
        .intro(
            "Same data, same start, same batches. The rate of each is the best of nine on validation rows.",
        )
        .with(table)
        .with(compare_loss());
    for (i, name) in NAMES.iter().enumerate().take(3) {
        let mut strip = Line::new(*name, Axis::log("learning rate"), Axis::new("validation loss"));
        strip.size = Size::Third;
        let best = [6.6, 5.5, 5.8][i];
        let losses = (0..9).map(|k| {
            let d = f64::from(k) - best;
            if d > 1.4 { f64::INFINITY } else { 0.06 + 0.03 * d * d }
        });
        let series = Series::new("", rates.clone(), losses.collect()).style(Style::Points).coloured(i);
        strip.series.push(series.chosen([7, 5, 6][i]));
        section = section.with(strip);
    }
    section
}

fn functions() -> Section {
    let rosenbrock = |x: f64, y: f64| (1.0 - x) * (1.0 - x) + 100.0 * (y - x * x) * (y - x * x);
    let (x, y) = (Axis::linear("x").range(-2.0, 2.0), Axis::linear("y").range(-1.0, 3.0));
    let mut valley = Contour::sample("Rosenbrock", x, y, 121, rosenbrock);
    (valley.least, valley.start, valley.minima) = (Some(0.0), Some((-1.5, 2.0)), vec![(1.0, 1.0)]);
    for (name, rate, momentum) in [("gd(lr=1e-3)", 1e-3, 0.0), ("momentum(lr=5e-4)", 5e-4, 0.9)] {
        let (mut p, mut v) = ((-1.5, 2.0), (0.0, 0.0));
        let mut points = vec![p];
        for _ in 0..4000 {
            let r = p.1 - p.0 * p.0;
            let g = (-2.0 * (1.0 - p.0) - 400.0 * p.0 * r, 200.0 * r);
            v = (momentum * v.0 + g.0, momentum * v.1 + g.1);
            p = (p.0 - rate * v.0, p.1 - rate * v.1);
            points.push(p);
        }
        valley
            .paths
            .push(Path { note: format!("f = {}", human(rosenbrock(p.0, p.1))), ..Path::new(name, points) });
    }
    let side = |name: &str| Axis::linear(name).range(-5.0, 5.0);
    let himmelblau = |x: f64, y: f64| {
        let (a, b) = (x * x + y - 11.0, x + y * y - 7.0);
        a * a + b * b
    };
    let mut four = Contour::sample("Himmelblau", side("x"), side("y"), 101, himmelblau);
    four.least = Some(0.0);
    four.minima = vec![(3.0, 2.0), (-2.805, 3.131), (-3.779, -3.283), (3.584, -1.848)];
    four.size = Size::Half;
    let mut saddle = Contour::sample("Saddle", side("x"), side("y"), 61, |x, y| x * x - y * y);
    saddle.size = Size::Half;
    saddle.start = Some((4.0, 0.001));
    let fall = (0..60).map(|t| (4.0 * libm::pow(0.9, f64::from(t)), 0.001 * libm::pow(1.2, f64::from(t))));
    saddle.paths.push(Path::new("gd", fall.collect()));
    Section::new("Paths over a function").with(valley).with(four).with(saddle)
}

fn edges() -> Section {
    let chart = |title: &str, x: Vec<f64>, y: Vec<f64>| {
        let mut line = Line::new(title, Axis::new("x"), Axis::new("y"));
        line.size = Size::Third;
        line.series.push(Series::new("", x, y));
        line
    };
    let mut noise = Noise(11);
    let long: Vec<f64> =
        (0..100_000).map(|i| noise.normal() + libm::sin(f64::from(i) * 1e-4) * 5.0).collect();
    let gaps = (0..50).map(|i| if i % 13 == 5 { f64::NAN } else { libm::sin(f64::from(i) * 0.2) });
    let mut hostile = chart("<script>alert(1)</script> & \"quotes\"", steps(3), vec![1.0, 3.0, 2.0]);
    hostile.series[0].name = "</title><img src=x onerror=alert(1)>".into();
    hostile.series.push(Series::new("'; DROP TABLE", steps(3), vec![2.0, 2.0, 2.0]));
    let mut crowd = chart("Twenty series", vec![], vec![]);
    crowd.size = Size::Wide;
    crowd.series = (0..20)
        .map(|k| {
            let y =
                (0..200).map(|t| 1.0 + f64::from(k) + libm::sin(f64::from(t) * 0.05 + f64::from(k)) * 0.4);
            Series::new(format!("series {k}"), steps(200), y.collect())
        })
        .collect();
    Section::new("Edge cases")
        .intro("Nothing, one point, one value, gaps, tiny and huge ranges, hostile names.")
        .with(chart("Empty", vec![], vec![]))
        .with(chart("One point", vec![3.0], vec![0.5]))
        .with(chart("Constant", steps(10), vec![0.25; 10]))
        .with(chart("Gaps", steps(50), gaps.collect()))
        .with(chart("Tiny range", steps(3), vec![1.0, 1.0 + 2e-8, 1.0 + 1e-8]))
        .with(chart("Huge range", steps(4), vec![1e-200, 1.0, 1e100, 1e200]))
        .with(chart("100,000 points", steps(100_000), long))
        .with(chart("All infinite", steps(4), vec![f64::INFINITY; 4]))
        .with(hostile)
        .with(crowd)
        .with(Text::warning("A column named `<b>` was left out: more than half of its values are distinct."))
}

fn repeat() -> Section {
    let config = "[data]\npath = \"breast_cancer.csv\"\ntarget = \"diagnosis\"\ntest = 0.2\nseed = 0\n\n[model]\nname = \"linear\"\nl2 = 0.0021978\n\n[optimizer]\nexpression = \"adam(lr=cosine(0.05))\"\nbatch = \"full\"\nsteps = 1000\n";
    Section::new("Repeat it")
        .with(Code::new("Command", "thalweg fit breast_cancer.csv --target diagnosis --seed 0"))
        .with(Code { size: Size::Half, ..Code::new("config.toml", config) })
        .with(
            Pairs::new("Versions")
                .row("thalweg", "0.1.0")
                .row("model file", "`sha256:4be1f0…9c`")
                .row("target", "x86_64, avx2"),
        )
}
