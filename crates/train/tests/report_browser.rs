//! Opens reports in headless Chromium and asserts on what is drawn.
//!
//! A report is put into a frame of a page that asks questions of it when it has loaded; the answers come back
//! through `--dump-dom`. The frame decides width and colour scheme, which the window cannot do narrowly
//! enough, and whether scripts run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use thalweg_train::report::*;

#[path = "../examples/report_gallery.rs"]
#[allow(dead_code)]
mod gallery;

/// How a report is shown.
#[derive(Clone, Copy)]
struct View {
    width: u32,
    dark: bool,
    scripts: bool,
}

const WIDE: View = View { width: 1280, dark: false, scripts: true };
const PHONE: View = View { width: 390, dark: true, scripts: true };

/// The answers to questions: JavaScript expressions over `d`, the report's document, and `w`, its window.
fn ask(report: &Report, view: View, questions: &[&str]) -> Vec<Value> {
    let page = html(report).replace('&', "&amp;").replace('"', "&quot;");
    let sandbox = if view.scripts { "" } else { " sandbox=\"allow-same-origin\"" };
    let scheme = if view.dark { "dark" } else { "light" };
    let asked = questions.iter().map(|q| format!("() => {{ {q} }}")).collect::<Vec<_>>().join(",\n");
    let wrapper = format!(
        "<!doctype html><meta charset=utf-8><pre id=answers></pre>
<iframe id=frame{sandbox} style=\"color-scheme:{scheme};border:0;width:{}px;height:900px\" srcdoc=\"{page}\"></iframe>
<script>
frame.onload = () => {{
  const w = frame.contentWindow, d = w.document;
  const all = (q, e = d) => [...e.querySelectorAll(q)];
  const point = (e, x, y) => {{
    e.scrollIntoView();
    const r = e.getBoundingClientRect();
    e.dispatchEvent(new w.PointerEvent('pointermove',
      {{ clientX: r.left + r.width * x, clientY: r.top + r.height * y, bubbles: true }}));
  }};
  const ask = q => {{ try {{ return q() ?? null; }} catch (e) {{ return 'error: ' + e; }} }};
  answers.textContent = encodeURIComponent(JSON.stringify([\n{asked}\n].map(ask)));
}};
</script>",
        view.width
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("page.html");
    std::fs::write(&file, wrapper).expect("the page is written");
    let dom = dump(&file, folder.path());
    let start = dom.find("<pre id=\"answers\">").expect("the page ran") + "<pre id=\"answers\">".len();
    let end = start + dom[start..].find("</pre>").expect("the answers end");
    let answers: Vec<Value> = serde_json::from_str(&decoded(&dom[start..end])).expect("answers in JSON");
    for (question, answer) in questions.iter().zip(&answers) {
        assert!(!answer.as_str().is_some_and(|a| a.starts_with("error: ")), "{question}\n{answer}");
    }
    answers
}

/// The page as Chromium has it after loading.
fn dump(page: &Path, folder: &Path) -> String {
    let out = folder.join("dom.html");
    let stdout = File::create(&out).expect("a file for the output");
    let mut child = Command::new(browser())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1400,1000"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", page.display()))
        .stdout(stdout)
        .stderr(Stdio::null())
        .spawn()
        .expect("the browser starts");
    let start = Instant::now();
    while child.try_wait().expect("the browser can be waited for").is_none() {
        if start.elapsed() > Duration::from_secs(120) {
            let _ = child.kill();
            panic!("the browser did not finish in two minutes");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    std::fs::read_to_string(out).expect("the output is UTF-8")
}

fn browser() -> PathBuf {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).flat_map(|p| names.map(|n| p.join(n))).find(|p| p.is_file());
    found.unwrap_or_else(|| {
        panic!("no browser found: install chromium (./test does) or put one of {names:?} on PATH")
    })
}

/// The inverse of JavaScript's `encodeURIComponent`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.trim().bytes();
    while let Some(b) = rest.next() {
        let mut hex = || rest.next().and_then(|b| char::from(b).to_digit(16)).unwrap_or(0) as u8;
        bytes.push(if b == b'%' { hex() * 16 + hex() } else { b });
    }
    String::from_utf8(bytes).expect("UTF-8")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|v| v.as_str().expect("a text")).collect()
}

/// Two curves over steps and seconds, with a marker; a table; two classes; bars; code.
fn small() -> Report {
    let mut report = Report::new("Small");
    let mut loss = Line::new("Loss", Axis::new("step"), Axis::linear("loss"));
    loss.x.push(Axis::new("seconds"));
    let x = vec![0.0, 10.0, 20.0, 30.0, 40.0];
    let seconds = vec![0.0, 0.5, 1.0, 1.5, 2.0];
    loss.series.push(Series::new("train", x.clone(), vec![10.0, 5.0, 2.0, 1.0, 0.5]).also(seconds.clone()));
    loss.series.push(Series::new("valid", x, vec![9.0, f64::NAN, 4.0, 3.0, 3.5]).also(seconds));
    loss.markers.push(Marker::X { at: vec![30.0, 1.5], label: "best, step 30".into() });
    let confusion = Confusion {
        title: "Confusion".into(),
        classes: vec!["no".into(), "yes".into(), "maybe".into()],
        counts: vec![vec![8.0, 2.0, 0.0], vec![1.0, 9.0, 0.0], vec![0.0, 0.0, 5.0]],
        size: Size::Half,
        ..Confusion::default()
    };
    let columns = vec![Column::text("optimizer"), Column::number("loss")];
    let mut table = Table::new("Results", columns);
    for (name, loss) in [("gd", 0.5), ("adam", 0.25), ("momentum", f64::NAN), ("rmsprop", 10.0)] {
        table.rows.push(Row::new(vec![name.into(), loss.into()]));
    }
    table.rows[1].mark = Some(Mark::Good("best".into()));
    table.rows[2].mark = Some(Mark::Bad("diverged".into()));
    let bar = |name: &str, value| Bar { name: name.into(), level: None, value };
    let bars = Bars {
        title: "Coefficients".into(),
        groups: vec![BarGroup {
            name: String::new(),
            bars: vec![bar("a", 1.0), bar("b", -3.0), bar("c", 2.0)],
        }],
        ..Bars::default()
    };
    report.section(Section::new("Curves").with(loss).with(confusion));
    report.section(Section::new("Rows").with(table).with(bars).with(Code::new("Command", "thalweg demo")));
    report
}

#[test]
fn curves_axes_and_marks_are_where_the_data_is() {
    let answers = ask(
        &small(),
        WIDE,
        &[
            "return d.documentElement.dataset.live",
            "return all('.line .pane').map(p => all('path.l', p).length).join()",
            // first pane, upper series: where the curve starts and ends, in shares of the plot
            "const b = all('.line .pane')[0].querySelector('path.l.s1').getBBox(); \
             return [b.x, b.y, b.width, b.height]",
            "return all('.line .pane')[0].querySelector('path.l.s2').getAttribute('d').split('M').length - 1",
            "return all('.line .pane:nth-of-type(1) .tx').map(t => t.textContent + ' ' + t.style.left)",
            "return all('.line .pane:nth-of-type(1) .ty').map(t => t.textContent + ' ' + t.style.top)",
            "return all('.line .pane')[0].querySelector('.chart').dataset.y",
            "return all('.line .mx').map(t => t.textContent + ' ' + t.style.left)",
            "return all('.line .key li').map(t => t.textContent)",
            // the switch
            "return all('.line .pane').map(p => w.getComputedStyle(p).display)",
            "all('.line .tabs label')[1].click(); return all('.line .pane').map(p => w.getComputedStyle(p).display)",
            "return all('.line .xn').filter(e => e.getBoundingClientRect().height).map(e => e.textContent)",
        ],
    );
    assert_eq!(answers[0], "1", "the script did not run: is SCRIPT_HASH in report/page.rs up to date?");
    assert_eq!(answers[1], "2,2");
    let high: f64 = answers[6].as_str().and_then(|t| t.split(' ').nth(1)?.parse().ok()).expect("a range");
    let bounds: Vec<f64> = answers[2].as_array().expect("a box").iter().map(number).collect();
    assert_eq!((bounds[0], bounds[2]), (0.0, 4000.0));
    let top = 2000.0 * (1.0 - 10.0 / high);
    assert!((bounds[1] - top).abs() <= 1.0 && (bounds[3] - 2000.0 * 9.5 / high).abs() <= 1.5, "{bounds:?}");
    assert_eq!(answers[3], 2, "a gap parts the curve");
    let ticks = texts(&answers[4]);
    assert_eq!(ticks, ["0 0%", "10 25%", "20 50%", "30 75%", "40 100%"]);
    for tick in texts(&answers[5]) {
        let (label, top) = tick.split_once(' ').expect("label and place");
        let value: f64 = label.parse().expect("a number");
        let place: f64 = top.trim_end_matches('%').parse().expect("a percentage");
        assert!((0.0..=high).contains(&value));
        assert!((place - 100.0 * (1.0 - value / high)).abs() < 0.01, "{tick}");
    }
    assert_eq!(texts(&answers[7]), ["best, step 30 75%", "best, step 30 75%"]);
    assert_eq!(texts(&answers[8]), ["train", "valid"]);
    assert_eq!(texts(&answers[9]), ["block", "none"]);
    assert_eq!(texts(&answers[10]), ["none", "block"]);
    assert_eq!(texts(&answers[11]), ["seconds"]);
}

#[test]
fn tables_bars_and_the_pointer() {
    let sort = "all('table.sort th button')[1].click(); \
                return all('table.sort tbody tr').map(r => r.cells[0].firstChild.textContent.trim())";
    let answers = ask(
        &small(),
        WIDE,
        &[
            "return all('.cm tbody tr').map(r => [...r.cells].map(c => c.firstChild.textContent).join(' '))",
            "return all('.cm tfoot td').map(c => c.textContent).join(' ')",
            "return all('.cm tbody td.yes').length + ' ' + all('.cm tbody td.no').length + ' ' + all('.cm td.none').length",
            "return all('.mark').map(m => m.className + ' ' + m.textContent)",
            sort,
            sort,
            "return all('.bt tr').map(r => r.textContent)",
            // the zero line stands at the same place in each row, and the bars start or end there
            "return all('.bt tr').map(r => { const i = r.querySelector('i').getBoundingClientRect(), \
             z = r.querySelector('s').getBoundingClientRect().left; \
             return Math.min(Math.abs(i.left - z), Math.abs(i.right - z)) < 1.5; }).join()",
            "return all('.bt tr').map(r => Math.round(r.querySelector('i').getBoundingClientRect().width))",
            "const b = all('.line .box')[0]; point(b, 0.52, 0.5); return b.querySelector('.tip').innerText",
            "const b = all('.line .box')[0]; b.dispatchEvent(new w.PointerEvent('pointerleave')); \
             return b.querySelector('.tip').hidden",
            "return all('.copy button').length + ' ' + all('.copy code')[0].textContent",
            "return w.performance.getEntriesByType('resource').length",
        ],
    );
    assert_eq!(texts(&answers[0]), ["no 8 2 0 10 80%", "yes 1 9 0 10 90%", "maybe 0 0 5 5 100%"]);
    assert_eq!(answers[1].as_str().map(str::trim), Some("89% 82% 100%"));
    assert_eq!(answers[2], "3 2 4");
    assert_eq!(texts(&answers[3]), ["mark good best", "mark bad diverged"]);
    assert_eq!(texts(&answers[4]), ["adam", "gd", "rmsprop", "momentum"]);
    assert_eq!(texts(&answers[5]), ["rmsprop", "gd", "adam", "momentum"]);
    assert_eq!(texts(&answers[6]), ["b−3", "c2", "a1"]);
    assert_eq!(answers[7], "true,true,true");
    let widths: Vec<f64> = answers[8].as_array().expect("a list").iter().map(number).collect();
    assert!((widths[0] / widths[2] - 3.0).abs() < 0.05 && (widths[1] / widths[2] - 2.0).abs() < 0.05);
    let tip: Vec<&str> = answers[9].as_str().expect("a text").split_whitespace().collect();
    assert_eq!(tip, ["step", "20", "train", "2", "valid", "4"]);
    assert_eq!(answers[10], true);
    assert_eq!(answers[11], "1 thalweg demo");
    assert_eq!(answers[12], 0, "the page loaded something");
}

/// Everything that a report can show, on a phone in the dark and on a wide screen.
#[test]
fn every_section_fits_its_page() {
    let questions = [
        "return d.documentElement.scrollWidth - w.innerWidth",
        "const c = w.getComputedStyle(d.body).backgroundColor.match(/\\d+/g).map(Number); return c[0] + c[1] + c[2]",
        // labels of one axis that touch each other
        "return all('.box').filter(b => b.offsetParent).flatMap(b => ['.tx', '.ty'].map(k => {
            const r = all(k, b).map(e => e.getBoundingClientRect()).filter(r => r.width);
            return r.filter((a, i) => r.slice(i + 1).some(b => a.left < b.right && b.left < a.right
              && a.top < b.bottom - 1 && b.top < a.bottom - 1)).length;
          })).reduce((a, b) => a + b, 0)",
        "return Math.min(...all('.tx, .ty, .key, td, th, dd').map(e => parseFloat(w.getComputedStyle(e).fontSize)))",
        // labels that stick out of the page
        "return all('.tx, .ty, .xn, .yn, .mx, .my').map(e => e.getBoundingClientRect())
          .filter(r => r.width && (r.left < 0 || r.right > w.innerWidth)).length",
        "return all('.chart').length + ' ' + all('.chart svg path.g').length",
        "return all('.contour path.lv').length > 15 && all('.contour .plus').length",
        "return all('.nothing').filter(e => e.offsetParent).length",
    ];
    for (view, dark) in [(PHONE, true), (View { width: 360, dark: false, ..PHONE }, false), (WIDE, false)] {
        let answers = ask(&gallery::gallery(), view, &questions);
        let width = view.width;
        assert!(number(&answers[0]) <= 0.0, "{width}: the page is {} pixels too wide", answers[0]);
        assert_eq!(number(&answers[1]) < 150.0, dark, "{width}: the background is {}", answers[1]);
        assert_eq!(answers[2], 0, "{width}: tick labels touch");
        assert!(number(&answers[3]) >= 11.5, "{width}: text of {} pixels", answers[3]);
        assert_eq!(answers[4], 0, "{width}: labels stick out");
        let counts = answers[5].as_str().and_then(|t| t.split_once(' ')).expect("two counts");
        assert_eq!(counts.0, counts.1);
        assert_eq!(answers[6], 5, "{width}: one minimum of Rosenbrock, four of Himmelblau");
        assert_eq!(answers[7], 2, "{width}: empty and all infinite say so");
    }
}

#[test]
fn hostile_names_are_only_text() {
    let evil =
        "</title></script></style><script>parent.owned=1</script><img src=x onerror=\"parent.owned=1\">'\"`&";
    let mut report = Report::new(evil);
    report.lead = evil.into();
    report.fact(evil, evil);
    report.score = Some(Score {
        metric: evil.into(),
        value: 0.5,
        interval: None,
        baseline: Some((evil.into(), 0.1)),
        measured_on: evil.into(),
    });
    let axis = || Axis::new(evil);
    let mut line = Line::new(evil, axis(), axis());
    line.x.push(axis());
    line.note = evil.into();
    line.series
        .push(Series::new(evil, vec![0.0, 1.0], vec![1.0, 2.0]).also(vec![0.0, 1.0]).note(evil).chosen(0));
    line.series.push(Series::new(evil, vec![0.0], vec![f64::INFINITY]).style(Style::Points));
    line.markers.push(Marker::X { at: vec![0.5, 0.5], label: evil.into() });
    line.markers.push(Marker::Y { at: 1.5, label: evil.into() });
    let mut scatter = Scatter::new(evil, axis(), axis());
    scatter.clouds.push(Cloud::new(evil, vec![1.0], vec![2.0]));
    scatter.diagonal = Some(evil.into());
    let classes = vec![evil.to_string(), evil.to_string()];
    let counts = vec![vec![1.0, 2.0], vec![3.0, 4.0]];
    let confusion = Confusion { title: evil.into(), note: evil.into(), classes, counts, size: Size::Half };
    let bar = Bar { name: evil.into(), level: Some(evil.into()), value: 1.0 };
    let group = || BarGroup { name: evil.into(), bars: vec![bar.clone()] };
    let bars =
        Bars { title: evil.into(), note: evil.into(), groups: vec![group(), group()], size: Size::Half };
    let range = |a: Axis| a.range(0.0, 1.0);
    let mut contour = Contour::sample(evil, range(axis()), range(axis()), 5, |x, y| x + y);
    contour.paths.push(thalweg_train::report::Path::new(evil, vec![(0.5, 0.5)]));
    let mut table = Table::new(evil, vec![Column::text(evil)]);
    table.rows.push(Row::new(vec![evil.into()]).marked(Mark::Bad(evil.into())));
    let section = Section::new(evil).intro(evil).with(line).with(scatter).with(confusion).with(bars);
    let section = section.with(Roc::of(evil, &[0.1, 0.9], &[false, true], None)).with(contour);
    let section = section.with(Calibration::of(evil, &[0.1, 0.9], &[false, true], None)).with(table);
    report.section(
        section.with(Pairs::new(evil).row(evil, evil)).with(Code::new(evil, evil)).with(Text::note(evil)),
    );

    let answers = ask(
        &report,
        WIDE,
        &[
            "point(all('.line .box')[0], 0.5, 0.5); return w.parent.owned ?? 0",
            "return all('img').length + all('script').length",
            "return d.title",
            "return d.querySelector('h1').textContent === d.title && d.querySelector('.copy code').textContent === d.title",
            "return d.documentElement.dataset.live",
        ],
    );
    assert_eq!(answers[0], 0, "a script ran");
    assert_eq!(answers[1], 1, "elements came from names");
    assert_eq!(answers[2], evil);
    assert_eq!(answers[3], true);
    assert_eq!(answers[4], "1");
}

#[test]
fn without_scripts_all_is_there_but_the_buttons() {
    let view = View { scripts: false, ..WIDE };
    let answers = ask(
        &small(),
        view,
        &[
            "return d.documentElement.dataset.live",
            "return all('path.l').length",
            "return all('button').length",
            "all('.line .tabs label')[1].click(); return all('.line .pane').map(p => w.getComputedStyle(p).display)",
        ],
    );
    assert_eq!(answers[0], Value::Null);
    assert_eq!(answers[1], 4);
    assert_eq!(answers[2], 0);
    assert_eq!(texts(&answers[3]), ["none", "block"]);
}

#[test]
fn the_file_stands_alone_is_small_and_always_the_same() {
    let page = html(&gallery::gallery());
    for word in ["http:", "https:", "src=", "@import", "url(", "<link", "fetch("] {
        // the hostile name of the gallery is text, so its `src=` is the only one
        let found =
            page.matches(word).count() - page.matches("&lt;img src=x").count() * usize::from(word == "src=");
        assert_eq!(found, 0, "{word}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    assert!(page == html(&gallery::gallery()));
}

/// The report of a fit on real data, as a person gets it: every picture is there, its numbers are the run's.
#[test]
fn the_report_of_a_fit_draws_what_the_run_did() {
    use std::sync::atomic::AtomicBool;
    use thalweg_core::Threads;
    use thalweg_data::{ClassWeight, EncoderOptions, Part, ReadOptions, SplitBy};
    use thalweg_train::job::{Job, Prepared, TrainOptions};
    use thalweg_train::pages::{FitPage, fit_page};

    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/breast_cancer.csv");
    let threads = Threads::serial();
    let prepared = Prepared::new(Job {
        data,
        target: "diagnosis".into(),
        read: ReadOptions::default(),
        learn: EncoderOptions::default(),
        task: None,
        class_weight: ClassWeight::None,
        test: Part::Fraction(0.2),
        valid: Part::Fraction(0.2),
        split: SplitBy::Shuffled,
        seed: 0,
        loss: None,
        model: None,
        freeze: None,
        context: None,
        intercept: true,
        l1: 0.0,
        l2: None,
        plan: None,
        lr: None,
        schedule: None,
        batch: None,
        epochs: Some(200),
        tolerance: 0.0,
        loss_tolerance: 0.0,
        patience: None,
        metric: None,
        threads: threads.clone(),
    })
    .expect("the example data is good");
    let (plan, _) = prepared.plan().expect("a default");
    let options = TrainOptions { probes: vec![], threads };
    let outcome =
        prepared.train(&plan, prepared.batch, &options, &mut [], &AtomicBool::new(false)).expect("it trains");
    let (config, command) = ("epochs = 200\n", "thalweg fit");
    let page = fit_page(&FitPage {
        prepared: &prepared,
        outcome: &outcome,
        config,
        command,
        versions: &[("thalweg".into(), "0".into())],
        sha256: "00",
    });
    let questions = [
        "return all('h3').filter(e => e.offsetParent).map(e => e.textContent)",
        "return all('.cm tbody tr').flatMap(r => [...r.cells].slice(1, 3)).map(c => +c.firstChild.textContent)",
        "return d.querySelector('.score').textContent",
        "return all('.chart').length + ' ' + all('.chart svg').filter(s => s.querySelector('path, circle')).length",
        "return d.documentElement.scrollWidth - w.innerWidth",
    ];
    for view in [WIDE, PHONE] {
        let answers = ask(&page, view, &questions);
        let titles = texts(&answers[0]);
        for title in [
            "Loss",
            "Validation accuracy",
            "Learning rate",
            "Gradient norm",
            "Confusion matrix",
            "ROC curve",
            "Calibration",
            "Weights",
            "config.toml",
        ] {
            assert!(titles.contains(&title), "{title} is not among {titles:?}");
        }
        let scored = outcome.test.as_ref().expect("there are test rows");
        let cells: Vec<f64> = answers[1].as_array().expect("cells").iter().map(number).collect();
        assert_eq!((cells.len(), cells.iter().sum::<f64>()), (4, scored.rows as f64));
        assert!(((cells[0] + cells[3]) / scored.rows as f64 - scored.score.value).abs() < 1e-12);
        let score = answers[2].as_str().expect("the score");
        assert!(score.contains(&human(scored.score.value)) && score.contains("114 test rows"), "{score}");
        let charts = answers[3].as_str().and_then(|t| t.split_once(' ')).expect("two counts");
        assert_eq!(charts.0, charts.1, "a chart without anything drawn");
        assert!(number(&answers[4]) <= 0.0, "the page is too wide");
    }
}
