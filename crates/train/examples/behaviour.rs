//! What papers and textbooks say of optimizers, met by the code that runs: `docs/behaviour.md` and `docs/behaviour.html`.
//!
//! ```text
//! cargo run --release -p thalweg-train --example behaviour            writes both
//! cargo run --release -p thalweg-train --example behaviour -- --check compares, writes nothing
//! ```
//! Everything is computed in f64 from fixed seeds, so both files come out the same everywhere. The tests read the same numbers.

use std::sync::Arc;

use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{At, Grads, Kind, Layout, NoOracle, Params, Penalty, Total};
use thalweg_optim::{Horizon, Plan, Setup};
use thalweg_train::report::{Axis, Line, Report, Section, Series, Size, Style, html};

/// Runs an expression from `start`: `slope` writes the gradient at θ of step t, `after` sees (and may project) each new θ.
pub fn descend(
    expression: &str,
    start: &[f64],
    steps: u64,
    mut slope: impl FnMut(u64, &[f64], &mut [f64]),
    mut after: impl FnMut(u64, &mut [f64]),
) {
    let layout = Arc::new(Layout::builder().tensor("x", &[start.len()], &["in"], Kind::Weight).build());
    let setup = Setup { horizon: Horizon { steps, per_epoch: 1 }, ..Setup::default() };
    let plan = Plan::parse(expression).unwrap_or_else(|e| panic!("{e}"));
    let mut optimizer = plan.build::<f64>(&layout, &setup).unwrap_or_else(|e| panic!("{e}"));
    let (mut theta, mut grads) = (Params::zeros(&layout), Grads::zeros(&layout));
    theta.tensor_mut("x").copy_from_slice(start);
    for step in 1..=steps {
        slope(step, theta.tensor("x"), &mut grads.flat_mut()[..start.len()]);
        grads.total = Total { loss: 0.0, weight: 1.0 };
        let at = At { step, penalty: Penalty::default() };
        optimizer.step(at, &mut theta, &mut grads, &mut NoOracle).unwrap_or_else(|e| panic!("{e}"));
        after(step, theta.tensor_mut("x"));
    }
}

/// A curve of a quantity over steps or rounds.
#[allow(missing_docs, reason = "a name, and points")]
#[derive(Clone, Debug, Default)]
pub struct Curve {
    pub name: String,
    pub x: Vec<f64>,
    pub y: Vec<f64>,
}

impl Curve {
    fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
    fn push(&mut self, x: f64, y: f64) {
        self.x.push(x);
        self.y.push(y);
    }
    /// The slope of log y against log x by least squares over the points from `from` on.
    pub fn power(&self, from: f64) -> f64 {
        let points: Vec<(f64, f64)> = self
            .x
            .iter()
            .zip(&self.y)
            .filter(|(x, y)| **x >= from && **y > 0.0)
            .map(|(x, y)| (libm::log(*x), libm::log(*y)))
            .collect();
        let n = points.len() as f64;
        let (mx, my) =
            (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
        let above: f64 = points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
        above / points.iter().map(|p| (p.0 - mx) * (p.0 - mx)).sum::<f64>()
    }
    /// The last value.
    pub fn end(&self) -> f64 {
        *self.y.last().expect("a curve has points")
    }
}

/// Points that are about equally far apart on a logarithmic axis.
fn shown(t: u64) -> bool {
    let step = libm::pow(10.0, libm::floor(libm::log10(t as f64)) - 1.0).max(1.0) as u64;
    t.is_multiple_of(step)
}

/// Reddi, Kale & Kumar 2018, theorem 1 with C = 3: fₜ(x) = 3x at every third step, else −x, on [−1, 1]; the best x is −1. Returns the
/// average regret and x for Adam and AMSGrad with β₁ = 0, β₂ = 1/(1 + C²), α/√t.
pub fn counterexample() -> Vec<(Curve, Curve)> {
    let rate = |t: u64| if t % 3 == 1 { 3.0 } else { -1.0 };
    ["adam", "amsgrad"]
        .into_iter()
        .map(|name| {
            let expression = format!("{name}(lr=inverse_sqrt(0.5, every=1 steps), beta1=0, beta2=0.1)");
            let (mut regret, mut at) = (Curve::new(name), Curve::new(name));
            let (mut sum, mut x) = (0.0, 0.0);
            let steps = 300_000;
            let mut played = vec![0.0; steps as usize + 1];
            descend(
                &expression,
                &[0.0],
                steps,
                |t, theta, g| {
                    played[t as usize] = rate(t) * (theta[0] + 1.0);
                    g[0] = rate(t);
                },
                |t, theta| {
                    theta[0] = theta[0].clamp(-1.0, 1.0);
                    x = theta[0];
                    if shown(t) {
                        at.push(t as f64, x);
                    }
                },
            );
            for t in 1..=steps {
                sum += played[t as usize];
                // Over whole cycles: within one, fₜ pays back what it took.
                if shown(t) && t % 3 == 0 {
                    regret.push(t as f64, sum / t as f64);
                }
            }
            (regret, at)
        })
        .collect()
}

/// AdaGrad on Σᵢ |xᵢ − zₜᵢ| over [−1, 1]¹⁰, z drawn with a bias of its own for each coordinate: regret against the best fixed x, and the
/// bound (D²/(2η) + η) Σᵢ √(Σ gₜᵢ²) of Duchi, Hazan & Singer 2011, theorem 5, with D = 2 and η = D/√2.
pub fn adagrad_regret() -> (Curve, Curve) {
    let (d, steps) = (10, 20_000u64);
    let mut stream = Stream::new(1, Purpose::Data, 1);
    let bias: Vec<f64> = (0..d).map(|i| -0.9 + 0.2 * i as f64).collect();
    // Few values each, so that the best fixed x is among them.
    let z: Vec<Vec<f64>> = (0..=steps)
        .map(|_| bias.iter().map(|b| if stream.uniform() < 0.5 + 0.4 * b { 0.5 } else { -0.5 }).collect())
        .collect();
    let lr = 2.0 / 2f64.sqrt();
    let (mut paid, mut squares) = (vec![0.0; steps as usize + 1], vec![vec![0.0; d]; steps as usize + 1]);
    let mut seen = vec![0.0; d];
    descend(
        &format!("adagrad(lr={lr})"),
        &vec![0.0; d],
        steps,
        |t, x, g| {
            let t = t as usize;
            for i in 0..d {
                let off = x[i] - z[t][i];
                paid[t] += off.abs();
                g[i] = if off > 0.0 {
                    1.0
                } else if off < 0.0 {
                    -1.0
                } else {
                    0.0
                };
                seen[i] += g[i] * g[i];
            }
            squares[t].clone_from(&seen);
        },
        |_, x| x.iter_mut().for_each(|x| *x = x.clamp(-1.0, 1.0)),
    );
    let (mut regret, mut bound) = (Curve::new("regret"), Curve::new("bound"));
    let (mut sum, mut high) = (0.0, vec![0.0; d]);
    for t in 1..=steps as usize {
        sum += paid[t];
        (0..d).filter(|&i| z[t][i] > 0.0).for_each(|i| high[i] += 1.0);
        // The best fixed coordinate pays 1 for each z on the rarer side.
        let best: f64 = high.iter().map(|&h: &f64| h.min(t as f64 - h)).sum();
        if shown(t as u64) && t >= 10 {
            regret.push(t as f64, sum - best);
            bound.push(t as f64, (4.0 / (2.0 * lr) + lr) * squares[t].iter().map(|s| s.sqrt()).sum::<f64>());
        }
    }
    (regret, bound)
}

/// Nesterov 2004, section 2.1.2: ½·L/4·(x₁² + Σ(xᵢ − xᵢ₊₁)² + xₙ² − 2x₁), L = 4, from 0: what no first-order method goes through fast.
/// f − f* of gd and Nesterov's method (momentum (t − 1)/(t + 2) has no expression of its own; 0.999 stands for it), and GD's bound
/// L‖x₀ − x*‖²/(2t).
pub fn worst_function() -> (Curve, Curve, Curve) {
    let n = 2000;
    let slope = |x: &[f64], g: &mut [f64]| {
        for i in 0..n {
            let (left, right) = (if i > 0 { x[i - 1] } else { 1.0 }, if i + 1 < n { x[i + 1] } else { 0.0 });
            g[i] = 2.0 * x[i] - left - right;
        }
    };
    // x*ᵢ = 1 − i/(n + 1), f* = ½(−1 + 1/(n + 1)) here.
    let value = |x: &[f64]| {
        let mut sum = x[0] * x[0] + x[n - 1] * x[n - 1] - 2.0 * x[0];
        sum += (1..n).map(|i| (x[i] - x[i - 1]) * (x[i] - x[i - 1])).sum::<f64>();
        0.5 * sum - 0.5 * (-1.0 + 1.0 / (n as f64 + 1.0))
    };
    let far: f64 = (1..=n).map(|i| 1.0 - i as f64 / (n as f64 + 1.0)).map(|x| x * x).sum();
    let run = |name: &str, expression: &str| {
        let mut curve = Curve::new(name);
        descend(
            expression,
            &vec![0.0; n],
            20_000,
            |_, x, g| slope(x, g),
            |t, x| {
                if shown(t) {
                    curve.push(t as f64, value(x));
                }
            },
        );
        curve
    };
    let gd = run("gd", "gd(lr=0.25)");
    let nesterov = run("nesterov, momentum 0.999", "nesterov(lr=0.25, momentum=0.999)");
    let mut bound = Curve::new("gd's bound L‖x₀ − x*‖²/(2t)");
    gd.x.iter().for_each(|&t| bound.push(t, 4.0 * far / (2.0 * t)));
    (gd, nesterov, bound)
}

/// What a method does to a quadratic of condition κ with eigenvalues evenly apart in logarithm from 1 to κ.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the others say all")]
pub struct Contraction {
    pub method: &'static str,
    pub kappa: f64,
    /// The textbook's factor a step.
    pub theory: f64,
    /// The factor a step that was measured over the last half of the steps to 1e-9, freed from a double root's factor t.
    pub measured: f64,
    /// Steps to ‖x‖ ≤ 1e-6 ‖x₀‖.
    pub steps: u64,
    pub curve: Curve,
}

/// GD at 2/(L + μ), heavy ball at 4/(√L + √μ)² and ((√κ − 1)/(√κ + 1))², Nesterov at 1/L and (√κ − 1)/(√κ + 1).
pub fn contractions(kappa: f64) -> Vec<Contraction> {
    let n = 50;
    let curvature: Vec<f64> = (0..n).map(|i| libm::pow(kappa, i as f64 / (n as f64 - 1.0))).collect();
    let root = kappa.sqrt();
    let q = (root - 1.0) / (root + 1.0);
    // Name, expression, factor, whether the factor is a double root.
    let methods = [
        ("gd", format!("gd(lr={:?})", 2.0 / (kappa + 1.0)), (kappa - 1.0) / (kappa + 1.0), false),
        ("nesterov", format!("nesterov(lr={:?}, momentum={q:?})", 1.0 / kappa), 1.0 - 1.0 / root, true),
        (
            "heavy ball",
            format!("momentum(lr={:?}, momentum={:?})", 4.0 / ((root + 1.0) * (root + 1.0)), q * q),
            q,
            true,
        ),
    ];
    methods
        .into_iter()
        .map(|(method, expression, theory, double)| {
            let most = (25.0 / -libm::log(theory)) as u64 + 50;
            let mut curve = Curve::new(format!("{method}, κ = {kappa}"));
            let start = vec![1.0; n];
            let far = (n as f64).sqrt();
            descend(
                &expression,
                &start,
                most,
                |_, x, g| {
                    (0..n).for_each(|i| g[i] = curvature[i] * x[i]);
                },
                |t, x| curve.push(t as f64, x.iter().map(|x| x * x).sum::<f64>().sqrt() / far),
            );
            let first = |below: f64| curve.y.iter().position(|&y| y <= below).unwrap_or(curve.y.len() - 1);
            let (steps, end) = (first(1e-6) as u64 + 1, first(1e-9));
            let half = end / 2;
            let grown = if double { (end + 1) as f64 / (half + 1) as f64 } else { 1.0 };
            let measured = libm::pow(curve.y[end] / curve.y[half] / grown, 1.0 / (end - half) as f64);
            Contraction { method, kappa, theory, measured, steps, curve }
        })
        .collect()
}

fn line(title: &str, note: &str, x: &str, y: &str, curves: &[&Curve], reference: usize) -> Line {
    let mut line = Line::new(title, Axis::log(x), Axis::log(y));
    line.size = Size::Wide;
    line.note = note.into();
    for (i, c) in curves.iter().enumerate() {
        let series = Series::new(c.name.clone(), c.x.clone(), c.y.clone());
        line.series.push(if i + reference >= curves.len() { series.style(Style::Reference) } else { series });
    }
    line
}

/// The page and its summary.
pub fn pages() -> (String, String) {
    let mut report = Report::new("What optimizers are said to do, and do");
    report.lead = "Made by `cargo run --release -p thalweg-train --example behaviour`.".into();
    let mut text = String::from(
        "# What optimizers are said to do, and do\n\nMade by `cargo run --release -p thalweg-train --example behaviour`, which runs the rules \
         themselves; pictures in [behaviour.html](behaviour.html). `--check` compares.\n\n",
    );

    let found = counterexample();
    let mut at = Line::new("Where x is", Axis::log("step"), Axis::linear("x").range(-1.1, 1.1));
    at.size = Size::Wide;
    found.iter().for_each(|(_, x)| at.series.push(Series::new(x.name.clone(), x.x.clone(), x.y.clone())));
    let regrets: Vec<&Curve> = found.iter().map(|f| &f.0).collect();
    report.section(
        Section::new("Adam fails, AMSGrad converges")
            .intro("fₜ(x) = 3x at every third step and −x at the others, on [−1, 1]: the best x is −1. β₁ = 0, β₂ = 0.1, rate 0.5/√t (Reddi, Kale & Kumar 2018, theorem 1).")
            .with(at)
            .with(line("Average regret", "", "step", "regret/t", &regrets, 0)),
    );
    text += "## Adam fails, AMSGrad converges (Reddi, Kale & Kumar 2018)\n\nfₜ(x) = 3x at every third step, else −x, on [−1, 1]; the best x is −1.\n\n\
             | rule | x after 300,000 steps | average regret |\n|---|---|---|\n";
    for (regret, x) in &found {
        text += &format!("| {} | {:.4} | {:.5} |\n", x.name, x.end(), regret.end());
    }

    let (regret, bound) = adagrad_regret();
    report.section(
        Section::new("AdaGrad's regret grows as √T")
            .intro("Σ |xᵢ − zₜᵢ| over ten coordinates; the bound is theorem 5 of Duchi, Hazan & Singer 2011.")
            .with(line("Regret", "", "T", "regret", &[&regret, &bound], 1)),
    );
    text += &format!(
        "\n## AdaGrad's regret grows as √T (Duchi, Hazan & Singer 2011)\n\nAfter {} rounds the regret is {:.1}, the bound {:.1}; from T = 100 on the regret \
         grows as T^{:.2}.\n",
        bound.x.last().unwrap_or(&0.0),
        regret.end(),
        bound.end(),
        regret.power(100.0)
    );

    let (gd, nesterov, bound) = worst_function();
    report.section(
        Section::new("GD's error falls as 1/t")
            .intro("Nesterov's worst function of 2,000 variables: f − f* against steps.")
            .with(line("Error", "", "step", "f − f*", &[&gd, &nesterov, &bound], 1)),
    );
    text += &format!(
        "\n## GD's error falls at its rate on a convex function\n\nOn Nesterov's worst function gd stays below its bound L‖x₀ − x*‖²/(2t) at every step and falls as \
         t^{:.2} from t = 100 on (the function's own rate from this start is t^-½: ‖x₀ − x*‖ is large); after {} steps f − f* is {:.2e}, with Nesterov's momentum {:.2e}.\n",
        gd.power(100.0),
        gd.x.last().unwrap_or(&0.0),
        gd.end(),
        nesterov.end()
    );

    let all: Vec<Vec<Contraction>> = [100.0, 1000.0, 10_000.0].into_iter().map(contractions).collect();
    let curves: Vec<&Curve> = all[1].iter().map(|c| &c.curve).collect();
    let mut picture = line("Distance", "κ = 1000", "step", "‖x‖/‖x₀‖", &curves, 0);
    picture.x = vec![Axis::linear("step").range(0.0, 2000.0)];
    picture.y = Axis::log("‖x‖/‖x₀‖").range(1e-9, 10.0);
    report.section(
        Section::new("Contraction on quadratics")
            .intro("Factor a step, measured and by the textbook (Polyak 1964; Nesterov 2004).")
            .with(picture),
    );
    text += "\n## Contraction on quadratics\n\nEigenvalues from 1 to κ; GD at 2/(L + μ), heavy ball and Nesterov at their best constants. The factor is that of a step, freed of the \
             factor t of a double root.\n\n| κ | method | factor | textbook | steps to 1e-6 | times fewer than GD | √κ |\n|---|---|---|---|---|---|---|\n";
    for group in &all {
        for c in group {
            text += &format!(
                "| {} | {} | {:.5} | {:.5} | {} | {:.1} | {:.0} |\n",
                c.kappa,
                c.method,
                c.measured,
                c.theory,
                c.steps,
                group[0].steps as f64 / c.steps as f64,
                c.kappa.sqrt()
            );
        }
    }
    (html(&report), text)
}

#[allow(dead_code, reason = "the tests include this file for its numbers")]
fn main() {
    let check = std::env::args().nth(1).as_deref() == Some("--check");
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let (html, text) = pages();
    for (name, new) in [("behaviour.html", html), ("behaviour.md", text)] {
        let path = docs.join(name);
        if check {
            let old = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(old == new, "docs/{name} is not what this program makes; run it without --check");
        } else {
            std::fs::create_dir_all(&docs).expect("docs can be made");
            std::fs::write(&path, new).expect("docs can be written");
        }
    }
}
