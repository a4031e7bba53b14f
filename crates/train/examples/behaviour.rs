//! What papers and textbooks say of optimizers, met by the code that runs: `docs/behaviour.md` and `docs/behaviour.html`.
//!
//! ```text
//! cargo run --release -p thalweg-train --example behaviour            writes both
//! cargo run --release -p thalweg-train --example behaviour -- --check compares, writes nothing
//! ```
//! Everything is computed in f64 from fixed seeds, so both files come out the same everywhere. The tests read the same numbers.

use std::sync::Arc;

use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{At, Grads, Kind, Layout, NoOracle, Oracle, Params, Penalty, Total};
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
    let mut run = Run::new(expression, start, steps);
    for step in 1..=steps {
        slope(step, run.theta.tensor("x"), &mut run.grads.flat_mut()[..start.len()]);
        run.step(Penalty::default(), Total { loss: 0.0, weight: 1.0 }, &mut NoOracle);
        after(step, run.theta.tensor_mut("x"));
    }
}

/// An optimizer of one vector.
struct Run {
    optimizer: Box<dyn thalweg_core::Optimizer<f64>>,
    theta: Params<f64>,
    grads: Grads<f64>,
    step: u64,
}

impl Run {
    fn new(expression: &str, start: &[f64], steps: u64) -> Self {
        let layout = Arc::new(Layout::builder().tensor("x", &[start.len()], &["in"], Kind::Weight).build());
        let setup = Setup { horizon: Horizon { steps, per_epoch: 1 }, ..Setup::default() };
        let plan = Plan::parse(expression).unwrap_or_else(|e| panic!("{e}"));
        let optimizer = plan.build::<f64>(&layout, &setup).unwrap_or_else(|e| panic!("{e}"));
        let (mut theta, grads) = (Params::zeros(&layout), Grads::zeros(&layout));
        theta.tensor_mut("x").copy_from_slice(start);
        Self { optimizer, theta, grads, step: 0 }
    }
    /// One step by what stands in `grads`.
    fn step(&mut self, penalty: Penalty, total: Total, oracle: &mut dyn Oracle<f64>) {
        self.step += 1;
        self.grads.total = total;
        let at = At { step: self.step, penalty };
        self.optimizer.step(at, &mut self.theta, &mut self.grads, oracle).unwrap_or_else(|e| panic!("{e}"));
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

/// Drori & Teboulle 2014, section 3, <https://arxiv.org/abs/1206.3209>: f − f* after t steps of GD at 1/L on the convex function that is
/// worst for t steps, |x|/(2t + 1) rounded off to ½x² where |x| < 1/(2t + 1), from x₀ = 1 (L = 1); and the bound L‖x₀ − x*‖²/(4t + 2),
/// below which no convex function leaves it.
pub fn worst_for_each() -> (Curve, Curve) {
    let (mut worst, mut bound) =
        (Curve::new("gd, the worst function for t"), Curve::new("L‖x₀ − x*‖²/(4t + 2)"));
    for t in (1..=10_000).filter(|&t| shown(t)) {
        let tight = 1.0 / (2.0 * t as f64 + 1.0);
        let mut end = 1.0;
        descend("gd(lr=1)", &[1.0], t, |_, x, g| g[0] = x[0].clamp(-tight, tight), |_, x| end = x[0]);
        let end: f64 = end.abs();
        worst.push(t as f64, if end < tight { 0.5 * end * end } else { tight * end - 0.5 * tight * tight });
        bound.push(t as f64, 1.0 / (4.0 * t as f64 + 2.0));
    }
    (worst, bound)
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

/// ½(xᵀθ − y)² of 100 rows of weights 1 and 2, and l2/2·‖θ‖²: a strongly convex finite sum.
struct Rows {
    x: Vec<Vec<f64>>,
    y: Vec<f64>,
    /// The row of this step.
    now: usize,
    /// Rows' gradients that were taken.
    taken: u64,
}

impl Rows {
    const L2: f64 = 0.1;

    fn new() -> Self {
        let mut stream = Stream::new(8, Purpose::Data, 1);
        let x: Vec<Vec<f64>> = (0..100).map(|_| (0..10).map(|_| stream.normal()).collect()).collect();
        let y = x.iter().map(|x| x.iter().sum::<f64>() + stream.normal()).collect();
        Self { x, y, now: 0, taken: 0 }
    }
    fn weight(i: usize) -> f64 {
        1.0 + (i % 2) as f64
    }
    fn total(&self) -> f64 {
        (0..self.y.len()).map(Self::weight).sum()
    }
    /// What the largest row adds to the curvature: N·w/W·‖x‖² + l2.
    fn curvature(&self) -> f64 {
        let one = |(i, x): (usize, &Vec<f64>)| Self::weight(i) * x.iter().map(|x| x * x).sum::<f64>();
        self.y.len() as f64 / self.total() * self.x.iter().enumerate().map(one).fold(0.0, f64::max) + Self::L2
    }
    fn sum(&mut self, rows: std::ops::Range<usize>, theta: &[f64], g: &mut [f64]) -> Total {
        g.fill(0.0);
        let mut total = Total::default();
        self.taken += rows.len() as u64;
        for i in rows {
            let off = self.x[i].iter().zip(theta).map(|(x, t)| x * t).sum::<f64>() - self.y[i];
            let weight = Self::weight(i);
            total += Total { loss: 0.5 * weight * off * off, weight };
            g.iter_mut().zip(&self.x[i]).for_each(|(g, x)| *g += weight * off * x);
        }
        total
    }
    fn answer(&mut self, rows: std::ops::Range<usize>, theta: &Params<f64>, grads: &mut Grads<f64>) -> Total {
        let n = theta.tensor("x").len();
        self.sum(rows, theta.tensor("x"), &mut grads.flat_mut()[..n])
    }
}

impl Oracle<f64> for Rows {
    fn loss(&mut self, theta: &Params<f64>) -> Total {
        self.gradient(theta, &mut Grads::zeros(theta.layout()))
    }
    fn gradient(&mut self, theta: &Params<f64>, grads: &mut Grads<f64>) -> Total {
        self.answer(self.now..self.now + 1, theta, grads)
    }
    fn rows(&self) -> Option<Vec<usize>> {
        Some(vec![self.now])
    }
    fn count(&self) -> Option<usize> {
        Some(self.y.len())
    }
    fn row_gradient(&mut self, row: usize, theta: &Params<f64>, grads: &mut Grads<f64>) -> Option<Total> {
        Some(self.answer(row..row + 1, theta, grads))
    }
    fn full_gradient(&mut self, theta: &Params<f64>, grads: &mut Grads<f64>) -> Option<Total> {
        Some(self.answer(0..self.y.len(), theta, grads))
    }
}

/// How a method comes to the optimum of a finite sum.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the others say all")]
pub struct Approach {
    pub rule: &'static str,
    /// ‖θ − θ*‖² over passes: rows' gradients that were taken, of θ or of an older point, by the number of rows.
    pub curve: Curve,
    /// The factor of ‖θ − θ*‖² a pass over the rows that are drawn, between 10⁻² and 10⁻²² of the start; none where it does not get there.
    pub factor: Option<f64>,
    /// The same in the first half of that way and in the second (in logarithm).
    pub halves: Option<(f64, f64)>,
}

/// SVRG, SAGA and SGD at 1/(3L), L the largest curvature of a row, and SGD at a rate that falls as 1/t, on [`Rows`] drawn evenly one by one
/// for 400 passes; and the factor a pass that theory promises SAGA, (1 − min(1/(4N), μ/(3L)))ᴺ (Defazio, Bach & Lacoste-Julien 2014,
/// corollary 1), as a curve.
pub fn finite_sums() -> (Vec<Approach>, Curve, f64) {
    let mut rows = Rows::new();
    let (n, d, total) = (rows.y.len(), rows.x[0].len(), rows.total());
    let mut best = vec![0.0; d];
    let mut g = vec![0.0; d];
    for _ in 0..20_000 {
        rows.sum(0..n, &best, &mut g);
        best.iter_mut().zip(&g).for_each(|(t, g)| *t -= 0.1 * (g / total + Rows::L2 * *t));
    }
    let rate = 1.0 / (3.0 * rows.curvature());
    let passes = 400;
    let steps = passes * n as u64;
    let far = |x: &[f64]| x.iter().zip(&best).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    let start = far(&vec![0.0; d]);
    let rules = [
        ("saga", format!("saga(lr={rate:?})")),
        ("svrg", format!("svrg(lr={rate:?})")),
        ("sgd", format!("sgd(lr={rate:?})")),
        (
            "sgd, rate as 1/t",
            format!("sgd(lr=inverse_time({rate:?}, decay={:?}, every=1 steps))", rate * Rows::L2),
        ),
    ];
    let approach = |(rule, expression): (&'static str, String)| {
        let mut rows = Rows::new();
        let mut run = Run::new(&expression, &vec![0.0; d], steps);
        let mut stream = Stream::new(9, Purpose::Data, 2);
        let mut curve = Curve::new(rule);
        curve.push(0.0, start);
        // Per pass over the rows that are drawn.
        let mut way = vec![start];
        for step in 1..=steps {
            rows.now = stream.below(n as u32) as usize;
            let now = rows.now;
            let total = rows.sum(now..now + 1, run.theta.tensor("x"), &mut run.grads.flat_mut()[..d]);
            // Plain SGD's sum counts by its own weight; as SVRG and SAGA count it, N·w/W: the gradient over all rows on average.
            let counted = Total { loss: total.loss, weight: rows.total() / n as f64 };
            let counted = if rule.starts_with("sgd") { counted } else { total };
            run.step(Penalty { l1: 0.0, l2: Rows::L2 }, counted, &mut rows);
            if step.is_multiple_of(n as u64) {
                let now = far(run.theta.tensor("x"));
                way.push(now);
                let pass = step / n as u64;
                if pass <= 20 || pass.is_multiple_of(5) {
                    curve.push(rows.taken as f64 / n as f64, now);
                }
            }
        }
        let first = |share: f64| way.iter().position(|&x| x <= share * start);
        let between = |a: usize, b: usize| libm::pow(way[b] / way[a], 1.0 / (b - a) as f64);
        let ends = [1e-2, 1e-12, 1e-22].map(first);
        let (factor, halves) = match ends {
            [Some(a), Some(b), Some(c)] => (Some(between(a, c)), Some((between(a, b), between(b, c)))),
            _ => (None, None),
        };
        Approach { rule, curve, factor, halves }
    };
    let all: Vec<Approach> = rules.into_iter().map(approach).collect();
    let promised = libm::pow(1.0 - (0.25 / n as f64).min(Rows::L2 * rate), n as f64);
    let mut bound = Curve::new("SAGA's promised rate");
    (0..=passes)
        .step_by(20)
        .for_each(|pass| bound.push(pass as f64, start * libm::pow(promised, pass as f64)));
    (all, bound, promised)
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

    let (worst, tight) = worst_for_each();
    let (gd, nesterov, bound) = worst_function();
    report.section(
        Section::new("GD's error falls as 1/t")
            .intro(
                "At 1/L no smooth convex function leaves more than L‖x₀ − x*‖²/(4t + 2) after t steps, and one for each t leaves just that \
                 (Drori & Teboulle 2014): each point is a run of t steps on the function that is worst for t. On one function for all t the \
                 error may fall faster or start too far away: on Nesterov's worst function of 2,000 variables it falls as t^-½ below its bound.",
            )
            .with(line("Error after t steps on the worst function for t", "", "t", "f − f*", &[&worst, &tight], 1))
            .with(line("Error on Nesterov's worst function", "", "step", "f − f*", &[&gd, &nesterov, &bound], 1)),
    );
    text += &format!(
        "\n## GD's error falls as 1/t (Drori & Teboulle 2014)\n\nOn the convex function that is worst for t steps at 1/L, gd's error after t steps is L‖x₀ − x*‖²/(4t + 2) to \
         {:.0e} of itself for every t up to {}: from t = 100 on it falls as t^{:.2}. On one function for all t, Nesterov's worst of 2,000 variables, gd stays below its bound \
         L‖x₀ − x*‖²/(2t) at every step and falls as t^{:.2} from t = 100 on (‖x₀ − x*‖ is large: from this start the function's own rate is t^-½); after {} steps f − f* is \
         {:.2e}, with Nesterov's momentum {:.2e}.\n",
        worst.y.iter().zip(&tight.y).map(|(a, b)| (a / b - 1.0).abs()).fold(1e-15, f64::max),
        worst.x.last().unwrap_or(&0.0),
        worst.power(100.0),
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
    let (approaches, bound, promised) = finite_sums();
    let mut curves: Vec<&Curve> = approaches.iter().map(|a| &a.curve).collect();
    curves.push(&bound);
    let mut picture = line("Distance to the optimum", "", "passes", "‖θ − θ*‖²", &curves, 1);
    picture.x = vec![Axis::linear("rows' gradients by the number of rows")];
    picture.y = Axis::log("‖θ − θ*‖²").range(1e-28, 100.0);
    report.section(
        Section::new("SVRG and SAGA reach the optimum linearly")
            .intro(
                "Least squares with l2 over 100 rows of weights 1 and 2, drawn one by one, at the rate 1/(3L). SGD at the same rate stays at its \
                 noise, and at a rate that falls as 1/t comes nearer as 1/t only (Johnson & Zhang 2013; Defazio, Bach & Lacoste-Julien 2014). \
                 SVRG takes three gradients for each row that is drawn.",
            )
            .with(picture),
    );
    text += &format!(
        "\n## SVRG and SAGA reach the optimum linearly (Johnson & Zhang 2013; Defazio, Bach & Lacoste-Julien 2014)\n\nLeast squares with l2 over 100 weighted rows, drawn one by one, rate 1/(3L). The \
         factor is that of ‖θ − θ*‖² a pass over the rows that are drawn, from 1e-2 to 1e-22 of the start, in the first half of that way and in the second; theory promises SAGA {promised:.3}.\n\n\
         | rule | ‖θ − θ*‖² after 400 passes | factor a pass | first half | second half |\n|---|---|---|---|---|\n"
    );
    for a in &approaches {
        let cell = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.3}"));
        let (first, second) = (a.halves.map(|h| h.0), a.halves.map(|h| h.1));
        text += &format!(
            "| {} | {:.1e} | {} | {} | {} |\n",
            a.rule,
            a.curve.end(),
            cell(a.factor),
            cell(first),
            cell(second)
        );
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
