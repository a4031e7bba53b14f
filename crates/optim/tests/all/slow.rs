//! Rules that no library has, or has otherwise, beside slow versions from their papers: 50 steps in f64, one number after the other,
//! without the driver. And the optima of finite sums beside scikit-learn's.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use serde::Deserialize;
use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Grads, Kind, Layout, Oracle, Params, Penalty, Total};

use crate::common::{Run, apart, moved, rounding, setup, write};

const STEPS: usize = 50;

/// Σᵢ wᵢ·lossᵢ(θ) over rows: logistic, or ½(xᵀθ − y)².
#[derive(Clone, Deserialize)]
struct Sum {
    x: Vec<Vec<f64>>,
    y: Vec<f64>,
    weight: Vec<f64>,
    logistic: bool,
    #[serde(skip)]
    batch: Rc<RefCell<Vec<usize>>>,
}

impl Sum {
    /// `n` rows of `d` numbers, weights from ½ to 2, the second half of them far from the first.
    fn new(n: usize, d: usize, logistic: bool) -> Self {
        let mut stream = Stream::new(11, Purpose::Data, 5);
        let truth: Vec<f64> = (0..d).map(|_| stream.normal()).collect();
        let x: Vec<Vec<f64>> = (0..n)
            .map(|i| (0..d).map(|_| stream.normal() + if 2 * i < n { 0.5 } else { -0.5 }).collect())
            .collect();
        let y = x.iter().map(|x| {
            let score = x.iter().zip(&truth).map(|(a, b)| a * b).sum::<f64>() + stream.normal();
            if logistic { f64::from(u8::from(score > 0.0)) } else { score }
        });
        let y = y.collect();
        let weight = (0..n).map(|i| [1.0, 2.0, 0.5][i % 3]).collect();
        Self { x, y, weight, logistic, batch: Rc::default() }
    }
    fn rows(&self) -> usize {
        self.y.len()
    }
    fn total_weight(&self) -> f64 {
        self.weight.iter().sum()
    }
    /// wᵢ·lossᵢ, and its gradient.
    fn row(&self, i: usize, theta: &[f64]) -> (f64, Vec<f64>) {
        let z: f64 = self.x[i].iter().zip(theta).map(|(x, t)| x * t).sum();
        let (loss, slope) = if self.logistic {
            let e = libm::exp(-z.abs());
            let p = if z > 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) };
            (libm::log1p(e) + z.max(0.0) - self.y[i] * z, p - self.y[i])
        } else {
            ((z - self.y[i]) * (z - self.y[i]) / 2.0, z - self.y[i])
        };
        let w = self.weight[i];
        (w * loss, self.x[i].iter().map(|x| w * slope * x).collect())
    }
    fn sum(&self, rows: impl IntoIterator<Item = usize>, theta: &[f64]) -> (Total, Vec<f64>) {
        let (mut total, mut g) = (Total::default(), vec![0.0; theta.len()]);
        for i in rows {
            let (loss, row) = self.row(i, theta);
            total += Total { loss, weight: self.weight[i] };
            g.iter_mut().zip(row).for_each(|(g, r)| *g += r);
        }
        (total, g)
    }
    fn answer(&self, rows: Vec<usize>, theta: &Params<f64>, grads: &mut Grads<f64>) -> Total {
        let (total, g) = self.sum(rows, &theta.values().collect::<Vec<_>>());
        grads.clear();
        write(theta.layout(), grads.flat_mut(), &g);
        total
    }
    /// ‖∇(mean + l2/2·‖θ‖²)‖₂ over all rows.
    fn slope(&self, theta: &[f64], l2: f64) -> f64 {
        let (total, g) = self.sum(0..self.rows(), theta);
        let all = g.iter().zip(theta).map(|(g, t)| g / total.weight + l2 * t);
        all.map(|g| g * g).sum::<f64>().sqrt()
    }
    /// A run of ours: each step's rows in `batches`.
    fn run(
        &self,
        text: &str,
        l2: f64,
        start: &[f64],
        batches: impl Iterator<Item = Vec<usize>>,
    ) -> Vec<Vec<f64>> {
        let layout = vector(start.len());
        let mut run = Run::<f64>::new(text, &layout, &setup(), start);
        run.penalty = Penalty { l1: 0.0, l2 };
        run.oracle = Box::new(self.clone());
        let mut path = vec![];
        for batch in batches {
            self.batch.replace(batch.clone());
            let (total, g) = self.sum(batch, &run.values());
            write(&layout, run.grads.flat_mut(), &g);
            run.grads.total = total;
            run.go();
            path.push(run.values());
        }
        path
    }
}

impl Oracle<f64> for Sum {
    fn loss(&mut self, theta: &Params<f64>) -> Total {
        self.sum(self.batch.borrow().clone(), &theta.values().collect::<Vec<_>>()).0
    }
    fn gradient(&mut self, theta: &Params<f64>, grads: &mut Grads<f64>) -> Total {
        self.answer(self.batch.borrow().clone(), theta, grads)
    }
    fn rows(&self) -> Option<Vec<usize>> {
        Some(self.batch.borrow().clone())
    }
    fn count(&self) -> Option<usize> {
        Some(Sum::rows(self))
    }
    fn row_gradient(&mut self, row: usize, theta: &Params<f64>, grads: &mut Grads<f64>) -> Option<Total> {
        Some(self.answer(vec![row], theta, grads))
    }
    fn full_gradient(&mut self, theta: &Params<f64>, grads: &mut Grads<f64>) -> Option<Total> {
        Some(self.answer((0..Sum::rows(self)).collect(), theta, grads))
    }
}

fn vector(n: usize) -> Arc<Layout> {
    Arc::new(Layout::builder().tensor("w", &[n], &["in"], Kind::Weight).build())
}

/// Batches of distinct rows, `of` each, drawn anew.
fn draws(rows: usize, of: usize, steps: usize) -> Vec<Vec<usize>> {
    let mut stream = Stream::new(4, Purpose::Shuffle, 9);
    let one = |s: &mut Stream| {
        let mut all: Vec<usize> = (0..rows).collect();
        s.shuffle(&mut all);
        all[..of].to_vec()
    };
    (0..steps).map(|_| one(&mut stream)).collect()
}

/// Johnson & Zhang 2013, option I, on weighted rows in batches: θ̃ taken anew every `every` steps.
fn svrg(sum: &Sum, lr: f64, l2: f64, every: usize, start: &[f64], batches: &[Vec<usize>]) -> Vec<Vec<f64>> {
    let (n, w) = (sum.rows() as f64, sum.total_weight());
    let (mut theta, mut anchor, mut mean) = (start.to_vec(), vec![], vec![]);
    let mut path = vec![];
    for (t, batch) in batches.iter().enumerate() {
        if t % every == 0 {
            anchor.clone_from(&theta);
            mean = sum.sum(0..sum.rows(), &anchor).1.iter().map(|g| g / w).collect();
        }
        let (here, there) = (sum.sum(batch.clone(), &theta).1, sum.sum(batch.clone(), &anchor).1);
        for i in 0..theta.len() {
            let g = n / (batch.len() as f64 * w) * (here[i] - there[i]) + mean[i] + l2 * theta[i];
            theta[i] -= lr * g;
        }
        path.push(theta.clone());
    }
    path
}

/// Defazio, Bach & Lacoste-Julien 2014, on weighted rows in batches; every row's gradient is taken first.
fn saga(sum: &Sum, lr: f64, l2: f64, start: &[f64], batches: &[Vec<usize>]) -> Vec<Vec<f64>> {
    let (n, w) = (sum.rows() as f64, sum.total_weight());
    let mut theta = start.to_vec();
    let mut table: Vec<Vec<f64>> = (0..sum.rows()).map(|i| sum.row(i, start).1).collect();
    let mut path = vec![];
    for batch in batches {
        let new: Vec<Vec<f64>> = batch.iter().map(|&i| sum.row(i, &theta).1).collect();
        for k in 0..theta.len() {
            let mean = table.iter().map(|row| row[k]).sum::<f64>() / w;
            let change: f64 = batch.iter().zip(&new).map(|(&i, new)| new[k] - table[i][k]).sum();
            theta[k] -= lr * (n / (batch.len() as f64 * w) * change + mean + l2 * theta[k]);
        }
        batch.iter().zip(new).for_each(|(&i, new)| table[i] = new);
        path.push(theta.clone());
    }
    path
}

/// Both paths side by side. Below 2/L a step on a convex sum brings no two points further apart (in ‖·‖₂), so what each step rounds adds up:
/// sums over `rows` and some ten operations, each of at most ε/2 in both versions, of numbers as large as all rows' slopes together.
fn same(what: &str, sum: &Sum, lr: f64, start: &[f64], (ours, slow): (&[Vec<f64>], &[Vec<f64>])) {
    assert_eq!((ours.len(), slow.len()), (STEPS, STEPS));
    let d = start.len() as f64;
    let mut bound = 0.0;
    for (t, (ours, slow)) in ours.iter().zip(slow).enumerate() {
        let at = |i: usize| sum.row(i, slow).1.iter().fold(0.0f64, |top, g| top.max(g.abs()));
        let slopes: f64 = (0..sum.rows()).map(at).sum::<f64>() * sum.rows() as f64 / sum.total_weight();
        let sizes = slow.iter().zip(start).fold(0.0f64, |top, (a, b)| top.max(a.abs() + b.abs()));
        bound += d.sqrt() * f64::EPSILON * (lr * (sum.rows() as f64 + d + 10.0) * slopes + 2.0 * sizes);
        let far = slow.iter().zip(start).fold(0.0f64, |far, (a, b)| far.max((a - b).abs()));
        assert!(bound < 1e-9 * far, "{what}, step {t}: {bound:e} hides {far:e}");
        for (a, b) in ours.iter().zip(slow) {
            assert!((a - b).abs() <= bound, "{what}, step {t}: {a} is not {b} ± {bound:e}");
        }
    }
}

#[test]
fn svrg_is_the_papers() {
    for logistic in [true, false] {
        let sum = Sum::new(23, 4, logistic);
        let start = [0.5, -1.0, 2.0, 0.0];
        for (lr, l2, every, of) in
            [(0.05, 0.1, 7, 1), (0.02, 0.0, 20, 3), (0.1, 0.05, 1, 2), (0.03, 0.2, 0, 4), (0.05, 0.1, 0, 23)]
        {
            let batches = draws(23, of, STEPS);
            // 0 is a pass: as many batches as have all rows.
            let period = if every == 0 { 23usize.div_ceil(of) } else { every };
            let slow = svrg(&sum, lr, l2, period, &start, &batches);
            let text = format!("svrg(lr={lr}, every={every})");
            let ours = sum.run(&text, l2, &start, batches.into_iter());
            same(&format!("{text}, {of} rows"), &sum, lr, &start, (&ours, &slow));
        }
    }
}

#[test]
fn saga_is_the_papers() {
    for logistic in [true, false] {
        let sum = Sum::new(23, 4, logistic);
        let start = [0.5, -1.0, 2.0, 0.0];
        for (lr, l2, of) in [(0.05, 0.1, 1), (0.02, 0.0, 3), (0.1, 0.05, 2), (0.03, 0.2, 23)] {
            let batches = draws(23, of, STEPS);
            let slow = saga(&sum, lr, l2, &start, &batches);
            let text = format!("saga(lr={lr})");
            let ours = sum.run(&text, l2, &start, batches.into_iter());
            same(&format!("{text}, {of} rows"), &sum, lr, &start, (&ours, &slow));
        }
    }
}

/// A function: its value and its gradient.
type Function = fn(&[f64]) -> (f64, Vec<f64>);

/// Gradient descent with Armijo's rule (Nocedal & Wright 2006, Algorithm 3.1): the rates that it takes, and θ after each step.
fn armijo(f: Function, [lr, c1, factor, growth]: [f64; 4], start: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let (mut theta, mut trial) = (start.to_vec(), 1.0);
    let (mut rates, mut path) = (vec![], vec![]);
    for _ in 0..STEPS {
        let (value, g) = f(&theta);
        let squares: f64 = g.iter().map(|g| g * g).sum();
        loop {
            let eta = lr * trial;
            let next: Vec<f64> = theta.iter().zip(&g).map(|(t, g)| t - eta * g).collect();
            let found = f(&next).0;
            // A difference that rounding could make would have to be decided by slopes: none is met here.
            assert!((found - value).abs() > 1e-9 * value.abs());
            if found <= value - c1 * eta * squares {
                (theta, trial) = (next, trial * growth);
                rates.push(eta);
                break;
            }
            trial *= factor;
        }
        path.push(theta.clone());
    }
    (rates, path)
}

fn rosenbrock(x: &[f64]) -> (f64, Vec<f64>) {
    let (mut f, mut g) = (0.0, vec![0.0; x.len()]);
    for i in 0..x.len() - 1 {
        let (u, v) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
        f += 100.0 * u * u + v * v;
        g[i + 1] += 200.0 * u;
        g[i] -= 400.0 * x[i] * u + 2.0 * v;
    }
    (f, g)
}

/// ln Σ eˣ over pairs and a little of ‖x‖²: smooth, convex, of curvatures that differ a hundredfold.
fn soft(x: &[f64]) -> (f64, Vec<f64>) {
    let (mut f, mut g) = (0.0, vec![0.0; x.len()]);
    for i in 0..x.len() {
        let scale = (i + 1) as f64;
        let (up, down) = (libm::exp(scale * x[i] - 1.0), libm::exp(-scale * x[i]));
        f += libm::log(1.0 + up + down) + 0.005 * x[i] * x[i];
        g[i] += scale * (up - down) / (1.0 + up + down) + 0.01 * x[i];
    }
    (f, g)
}

/// Evaluates a function; what it gives is moved by some 2⁻³⁶ of itself where there is a stream.
struct Moved(Function, Option<Rc<RefCell<Stream>>>);

impl Moved {
    fn at(&self, x: &[f64]) -> (f64, Vec<f64>) {
        let by = || self.1.as_ref().map_or(1.0, |stream| moved(&mut stream.borrow_mut()));
        let (value, g) = (self.0)(x);
        (value * by(), g.into_iter().map(|g| g * by()).collect())
    }
}

impl Oracle<f64> for Moved {
    fn loss(&mut self, theta: &Params<f64>) -> Total {
        Total { loss: self.at(&theta.values().collect::<Vec<_>>()).0, weight: 1.0 }
    }
    fn gradient(&mut self, theta: &Params<f64>, grads: &mut Grads<f64>) -> Total {
        let (loss, g) = self.at(&theta.values().collect::<Vec<_>>());
        grads.clear();
        write(theta.layout(), grads.flat_mut(), &g);
        Total { loss, weight: 1.0 }
    }
}

/// The rates are the same ones, so every trial is decided alike; θ within 64 roundings a step of what the function gives, as far as those
/// are felt (measured as for recorded runs), and of θ.
#[test]
fn armijo_is_the_books() {
    let problems: [(&str, Function, Vec<f64>); 3] = [
        ("rosenbrock", rosenbrock, vec![-1.2, 1.0]),
        ("rosenbrock in 5", rosenbrock, vec![-1.2, 1.0, 0.5, -0.3, 1.4]),
        ("soft", soft, vec![3.0, -2.0, 1.0, 4.0, -1.0, 0.5, 2.0]),
    ];
    for (name, f, start) in problems {
        for values in
            [[1.0, 1e-4, 0.5, 2.0], [0.3, 0.3, 0.7, 1.5], [4.0, 0.1, 0.25, 1.0], [0.01, 1e-3, 0.9, 3.0]]
        {
            let [lr, c1, factor, growth] = values;
            let text = format!("armijo(lr={lr}, c1={c1}, factor={factor}, growth={growth})");
            let go = |chance: Option<Stream>| {
                let stream = chance.map(|s| Rc::new(RefCell::new(s)));
                let layout = vector(start.len());
                let mut run = Run::<f64>::new(&text, &layout, &setup(), &start);
                run.oracle = Box::new(Moved(f, stream.clone()));
                let own = Moved(f, stream);
                let (mut rates, mut path) = (vec![], vec![]);
                for _ in 0..STEPS {
                    let (loss, g) = own.at(&run.values());
                    write(&layout, run.grads.flat_mut(), &g);
                    run.grads.total = Total { loss, weight: 1.0 };
                    rates.push(run.go().lr);
                    path.push(run.values());
                }
                (rates, path)
            };
            let (found, ours) = go(None);
            let others: Vec<_> =
                (1..=4).map(|seed| go(Some(Stream::new(seed, Purpose::Data, 3))).1).collect();
            let (rates, path) = armijo(f, values, &start);
            let bounds = rounding(&ours, &others, &start, (64.0, 8.0));
            for t in 0..STEPS {
                let place = format!("{text} on {name}, step {t}");
                assert!(
                    (found[t] - rates[t]).abs() <= 1e-12 * rates[t],
                    "{place}: {} {}",
                    found[t],
                    rates[t]
                );
                let (bound, far) = (bounds[t], apart(&path[t], &start));
                assert!(bound < 1e-6 * far, "{place}: {bound:e} hides {far:e}");
                let off = apart(&ours[t], &path[t]);
                assert!(off <= bound, "{place}: {off:e} > {bound:e}");
            }
        }
    }
}

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    #[serde(flatten)]
    sum: Sum,
    l2: f64,
    /// Where scikit-learn's `saga` ends.
    theta: Vec<f64>,
}

/// The optimum that scikit-learn's own `saga` finds. A sum of curvature l2 at least has it within ‖∇f‖/l2 of any θ: of theirs and of ours.
#[test]
fn svrg_and_saga_end_where_scikit_learns_saga_does() {
    let file: File = serde_json::from_str(include_str!("../data/finite_sums.json")).unwrap();
    assert_eq!(file.cases.len(), 4);
    for Case { sum, l2, theta } in file.cases {
        let (n, w) = (sum.rows(), sum.total_weight());
        // Curvature of a row as it counts: N·w/W·‖x‖², a quarter of it for the logistic loss.
        let largest = sum.x.iter().zip(&sum.weight).map(|(x, weight)| {
            let squares: f64 = x.iter().map(|x| x * x).sum();
            n as f64 * weight / w * squares * if sum.logistic { 0.25 } else { 1.0 } + l2
        });
        let lr = 1.0 / (3.0 * largest.fold(0.0, f64::max));
        for rule in ["saga", "svrg"] {
            let passes = 600;
            let path = sum.run(
                &format!("{rule}(lr={lr})"),
                l2,
                &vec![0.0; theta.len()],
                draws(n, 1, passes * n).into_iter(),
            );
            let ours = path.last().unwrap();
            let (here, there) = (sum.slope(ours, l2), sum.slope(&theta, l2));
            let bound = (here + there) / l2;
            let far = theta.iter().map(|x| x * x).sum::<f64>().sqrt();
            assert!(bound < 1e-7 * far, "{rule}: {bound:e} hides {far}: slopes {here:e} and {there:e}");
            let apart = ours.iter().zip(&theta).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
            assert!(apart <= bound, "{rule}: {apart:e} > {bound:e}");
        }
    }
}
