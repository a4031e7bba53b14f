//! How fast dense linear models are: passes over memory, mini-batches, seconds to within 0.1% of the optimum.
//!
//! ```text
//! cargo run --release -p thalweg-models --example dense [FOLDER|made] [search]
//! cargo run --release -p thalweg-models --example dense profile ROWS COLUMNS THREADS
//! ```
//!
//! `FOLDER` is one that `benches/peers/dense.py make FOLDER` filled; without it the data is made here (500,000 × 100, f32). Every
//! figure is the median, with the smallest and largest, of interleaved rounds. "read" is a plain sum over the same memory.
//! `search` tries a grid of settings, as the peers' bench does, and prints the fastest that reach the goal; `profile` repeats
//! passes over one batch and prints the fastest.

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{At, Batch, Float, Grads, Objective, Oracle, Params, Penalty, Threads, Total, isa};
use thalweg_models::linear::{Linear, Shape};
use thalweg_models::losses::Loss;
use thalweg_optim::{Horizon, Plan, Setup};

const ROUNDS: usize = 31;

/// The median of seconds, with the ends, as text.
fn show(mut seconds: Vec<f64>, unit: f64) -> String {
    seconds.sort_by(f64::total_cmp);
    let at = |i: usize| seconds[i] * unit;
    format!("{:8.3} [{:.3}, {:.3}]", at(seconds.len() / 2), at(0), at(seconds.len() - 1))
}

fn clock(f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64()
}

/// Reads all of `x` on all threads.
fn read(x: &[f32], threads: &Threads) {
    let part = x.len().div_ceil(64);
    let sum = AtomicU64::new(0);
    threads.run(64, |t| {
        let x = &x[(t * part).min(x.len())..((t + 1) * part).min(x.len())];
        let total = isa::run(
            #[inline(always)]
            || {
                let mut lanes = [0.0f32; 64];
                for x in x.as_chunks::<64>().0 {
                    for l in 0..64 {
                        lanes[l] += x[l];
                    }
                }
                lanes.iter().sum::<f32>()
            },
        );
        sum.fetch_add(u64::from(total.to_bits()), Ordering::Relaxed);
    });
    black_box(sum.into_inner());
}

struct Data {
    rows: usize,
    columns: usize,
    x: Vec<f32>,
    logistic: Vec<f32>,
    linear: Vec<f32>,
}

impl Data {
    fn made(rows: usize, columns: usize) -> Self {
        let mut s = Stream::new(1, Purpose::Data, 0);
        let w: Vec<f64> = (0..columns).map(|_| 2.0 * s.normal() / (columns as f64).sqrt()).collect();
        let (mut x, mut logistic, mut linear) = (Vec::with_capacity(rows * columns), vec![], vec![]);
        for _ in 0..rows {
            let mut z = 0.5;
            for w in &w {
                // Twelve uniform numbers would do; four are quicker, and the shape matters little here.
                let u: f64 = (0..4).map(|_| s.uniform()).sum::<f64>() - 2.0;
                let u = u * 3.0f64.sqrt();
                x.push(u as f32);
                z += w * u;
            }
            logistic.push(f32::from(u8::from(s.uniform() < 1.0 / (1.0 + libm::exp(-z)))));
            linear.push((z + s.normal()) as f32);
        }
        Self { rows, columns, x, logistic, linear }
    }

    fn load(folder: &Path) -> std::io::Result<Self> {
        let numbers = |name: &str| -> std::io::Result<Vec<f32>> {
            let bytes = std::fs::read(folder.join(name))?;
            Ok(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
        };
        let (x, logistic, linear) = (numbers("x.f32")?, numbers("y_logistic.f32")?, numbers("y_linear.f32")?);
        Ok(Self { rows: linear.len(), columns: x.len() / linear.len(), x, logistic, linear })
    }

    fn batch<'a>(&'a self, loss: Loss) -> Batch<'a, f32> {
        let target = if loss == Loss::LOGISTIC { &self.logistic } else { &self.linear };
        Batch { dense: &self.x, width: self.columns, target, ..Batch::NONE }
    }

    fn shape(&self) -> Shape {
        Shape { dense: self.columns, one_hot: 0, outputs: 1, intercept: true }
    }
}

fn passes(data: &Data) {
    println!("full passes over {} × {} f32 (ms)", data.rows, data.columns);
    let bytes = (data.x.len() * 4) as f64;
    for threads in [Threads::serial(), Threads::new(2)] {
        let models = [Loss::SQUARED, Loss::LOGISTIC]
            .map(|loss| Linear::<f32>::new(data.shape(), loss, threads.clone()));
        let mut theta = Params::zeros(models[0].layout());
        theta.tensor_mut("weight").iter_mut().enumerate().for_each(|(i, w)| *w = 0.01 * i as f32);
        let mut grads = Grads::zeros(models[0].layout());
        let mut seconds = vec![vec![]; 4];
        for _ in 0..ROUNDS {
            seconds[0].push(clock(|| read(&data.x, &threads)));
            for (m, model) in models.iter().enumerate() {
                let batch = data.batch(model.loss_function());
                grads.clear();
                seconds[1 + m].push(clock(|| {
                    model.gradient(&theta, &batch, &mut grads);
                }));
            }
            let batch = data.batch(Loss::LOGISTIC);
            seconds[3].push(clock(|| {
                black_box(models[1].loss(&theta, &batch));
            }));
        }
        for (name, seconds) in
            ["read", "linear gradient", "logistic gradient", "logistic loss"].iter().zip(seconds)
        {
            let mut sorted = seconds.clone();
            sorted.sort_by(f64::total_cmp);
            let rate = bytes / sorted[sorted.len() / 2] / 1e9;
            println!("  {} threads  {name:20} {}  {rate:6.1} GB/s", threads.count(), show(seconds, 1e3));
        }
    }
}

fn batches<F: Float>(rows: usize, columns: usize, code_width: usize, size: usize, outputs: usize) {
    let mut s = Stream::new(2, Purpose::Data, 0);
    let dense: Vec<F> = (0..rows * columns).map(|_| F::from_f64(s.uniform() - 0.5)).collect();
    let target: Vec<F> = (0..rows).map(|_| F::from_f64(f64::from(s.below(2)))).collect();
    let mut order: Vec<u32> = (0..rows as u32).collect();
    s.shuffle(&mut order);
    let codes: Vec<u32> =
        (0..rows * code_width).map(|i| (i % code_width) as u32 * 20 + s.below(20)).collect();
    let loss = if outputs > 1 { Loss::SOFTMAX } else { Loss::LOGISTIC };
    let shape = Shape { dense: columns, one_hot: 20 * code_width, outputs, intercept: true };
    let threads = Threads::new(2);
    let (one, two) =
        (Linear::<F>::new(shape, loss, Threads::serial()), Linear::<F>::new(shape, loss, threads));
    let theta = Params::zeros(one.layout());
    let mut grads = Grads::zeros(one.layout());
    let batch =
        Batch { dense: &dense, width: columns, codes: &codes, code_width, target: &target, ..Batch::NONE };
    let mut seconds = vec![vec![]; 2];
    let steps = (rows / size).min(2000);
    for _ in 0..ROUNDS {
        for (seconds, model) in seconds.iter_mut().zip([&one, &two]) {
            seconds.push(
                clock(|| {
                    for order in order.chunks_exact(size).take(steps) {
                        grads.clear();
                        model.gradient(&theta, &batch.rows(order), &mut grads);
                    }
                }) / steps as f64,
            );
        }
    }
    for (threads, seconds) in [1, 2].into_iter().zip(seconds) {
        println!(
            "  {threads} threads  {size:5} of {rows} × {columns} + {code_width} codes, {}, {outputs} out {} µs",
            F::NAME,
            show(seconds, 1e6)
        );
    }
}

/// A way to the optimum: mini-batches in order, an optimizer, and from which share of the steps on θ is averaged (1: never).
#[derive(Clone, Copy)]
struct Way {
    rows: usize,
    batch: usize,
    optimizer: &'static str,
    average_from: f64,
}

/// Evaluates nothing: the rules here take one gradient a step.
struct Never;

impl Oracle<f32> for Never {
    fn loss(&mut self, _: &Params<f32>) -> Total {
        Total::default()
    }
    fn gradient(&mut self, _: &Params<f32>, _: &mut Grads<f32>) -> Total {
        Total::default()
    }
}

/// Trains from zero; everything but the data is made here.
fn train(data: &Data, loss: Loss, l2: f64, way: Way, threads: &Threads) -> Params<f32> {
    let model = Linear::<f32>::new(data.shape(), loss, threads.clone());
    let steps = way.rows / way.batch;
    let setup = Setup {
        horizon: Horizon { steps: steps as u64, per_epoch: (data.rows / way.batch) as u64 },
        decay_biases: false,
        ..Setup::default()
    };
    let mut optimizer = Plan::parse(way.optimizer)
        .expect("an optimizer")
        .build::<f32>(model.layout(), &setup)
        .expect("one group");
    let (mut theta, mut grads) = (Params::zeros(model.layout()), Grads::zeros(model.layout()));
    let mut average = Params::zeros(model.layout());
    let mut averaged = 0.0f32;
    let all = data.batch(loss);
    for step in 0..steps {
        let first = step * way.batch % (data.rows - way.batch + 1);
        let batch = Batch {
            dense: &all.dense[first * all.width..(first + way.batch) * all.width],
            target: &all.target[first..first + way.batch],
            ..all
        };
        model.gradient(&theta, &batch, &mut grads);
        let at = At { step: step as u64 + 1, penalty: Penalty { l1: 0.0, l2 } };
        optimizer.step(at, &mut theta, &mut grads, &mut Never).expect("a step");
        if step as f64 >= way.average_from * steps as f64 {
            averaged += 1.0;
            let (average, theta) = (average.flat_mut().iter_mut(), theta.flat());
            average.zip(theta).for_each(|(a, t)| *a += (t - *a) / averaged);
        }
    }
    if averaged > 0.0 { average } else { theta }
}

fn value(data: &Data, loss: Loss, l2: f64, theta: &Params<f32>, threads: &Threads) -> f64 {
    let model = Linear::<f32>::new(data.shape(), loss, threads.clone());
    model.loss(theta, &data.batch(loss)).mean() + Penalty { l1: 0.0, l2 }.value(theta)
}

/// Seconds to within 0.1% of the optimum, the best of a grid of ways.
fn goal(data: &Data, search: bool) {
    let threads = Threads::new(2);
    let l2 = 1.0 / data.rows as f64;
    for loss in [Loss::LOGISTIC, Loss::SQUARED] {
        // The optimum: full-batch steps until they no longer help.
        let far =
            Way { rows: 60 * data.rows, batch: data.rows, optimizer: "nesterov(lr=1)", average_from: 1.0 };
        let theta = train(
            data,
            loss,
            l2,
            Way {
                optimizer: if loss == Loss::LOGISTIC { "nesterov(lr=3)" } else { "nesterov(lr=0.5)" },
                ..far
            },
            &threads,
        );
        let best = value(data, loss, l2, &theta, &threads);
        println!("{loss}: optimum {best:.9}");
        let mut ways = Vec::new();
        if search {
            for optimizer in OPTIMIZERS {
                for batch in [250, 500, 1000, 2000] {
                    for average_from in [1.0, 0.2, 0.4] {
                        for rows in (80_000..=240_000).step_by(20_000) {
                            ways.push(Way { rows, batch, optimizer, average_from });
                        }
                    }
                }
            }
        } else if loss == Loss::LOGISTIC {
            ways.extend(LOGISTIC);
        } else {
            ways.extend(LINEAR);
        }
        let mut done: Vec<(f64, String)> = Vec::new();
        let mut reached: Option<Way> = None;
        for way in ways {
            // Once a number of rows has reached the goal, more rows of the same setting cannot be faster.
            if search
                && reached.is_some_and(|w| {
                    (w.optimizer, w.batch) == (way.optimizer, way.batch) && w.average_from == way.average_from
                })
            {
                continue;
            }
            let theta = train(data, loss, l2, way, &threads);
            let excess = value(data, loss, l2, &theta, &threads) / best - 1.0;
            if search && (excess > 1e-3 || excess.is_nan()) {
                continue;
            }
            reached = Some(way);
            let rounds = if search { 7 } else { ROUNDS };
            let seconds: Vec<f64> = (0..rounds)
                .map(|_| {
                    clock(|| {
                        black_box(train(data, loss, l2, way, &threads));
                    })
                })
                .collect();
            let mut sorted = seconds.clone();
            sorted.sort_by(f64::total_cmp);
            let Way { rows, batch, optimizer, average_from } = way;
            let text = format!(
                "  {} ms  {:+.4}%  {rows} rows, batch {batch}, {optimizer}, averaged from {average_from}{}",
                show(seconds, 1e3),
                excess * 100.0,
                if excess <= 1e-3 { "" } else { "  misses the goal" }
            );
            done.push((sorted[rounds / 2], text));
        }
        done.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (_, text) in done.iter().take(12) {
            println!("{text}");
        }
    }
}

const OPTIMIZERS: &[&str] = &[
    "adam(lr=polynomial(0.05), beta2=0.99)",
    "adam(lr=cosine(0.05), beta2=0.99)",
    "adam(lr=0.03, beta2=0.99)",
    "sgd(lr=2)",
    "sgd(lr=1)",
    "sgd(lr=0.5)",
    "sgd(lr=0.3)",
    "sgd(lr=0.2)",
    "sgd(lr=0.1)",
    "sgd(lr=polynomial(1))",
    "sgd(lr=polynomial(0.5))",
    "sgd(lr=polynomial(0.2))",
    "momentum(lr=polynomial(0.5))",
    "momentum(lr=polynomial(0.1))",
];
const LOGISTIC: &[Way] = &[
    Way { rows: 140_000, batch: 1000, optimizer: "sgd(lr=0.5)", average_from: 0.4 },
    Way { rows: 140_000, batch: 1000, optimizer: "adam(lr=polynomial(0.05), beta2=0.99)", average_from: 0.2 },
];
const LINEAR: &[Way] = &[
    Way { rows: 140_000, batch: 1000, optimizer: "sgd(lr=0.2)", average_from: 0.2 },
    Way { rows: 180_000, batch: 1000, optimizer: "adam(lr=polynomial(0.05), beta2=0.99)", average_from: 0.2 },
];

/// Passes over one batch, many times.
fn profile<F: Float>(rows: usize, columns: usize, threads: usize) {
    let mut s = Stream::new(2, Purpose::Data, 0);
    let dense: Vec<F> = (0..rows * columns).map(|_| F::from_f64(s.uniform() - 0.5)).collect();
    let target: Vec<F> = (0..rows).map(|_| F::from_f64(f64::from(s.below(2)))).collect();
    let batch = Batch { dense: &dense, width: columns, target: &target, ..Batch::NONE };
    let shape = Shape { dense: columns, one_hot: 0, outputs: 1, intercept: true };
    for loss in [Loss::SQUARED, Loss::LOGISTIC] {
        let model = Linear::<F>::new(shape, loss, Threads::new(threads));
        let theta = Params::zeros(model.layout());
        let mut grads = Grads::zeros(model.layout());
        let mut best = f64::INFINITY;
        for _ in 0..1_000_000_000 / (columns * rows) {
            best = best.min(clock(|| {
                model.gradient(&theta, &batch, &mut grads);
            }));
        }
        println!(
            "{loss} {} {rows} × {columns}, {threads} threads: {:.2} ns a row",
            F::NAME,
            best / rows as f64 * 1e9
        );
    }
}

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1);
    if folder.as_deref() == Some("profile") {
        let number =
            |nth: usize, default| std::env::args().nth(nth).and_then(|r| r.parse().ok()).unwrap_or(default);
        let (rows, columns, threads) = (number(2, 2000), number(3, 100), number(4, 1));
        profile::<f32>(rows, columns, threads);
        profile::<f64>(rows, columns, threads);
        return Ok(());
    }
    let data = match &folder {
        Some(folder) if folder != "made" => Data::load(Path::new(folder))?,
        _ => Data::made(500_000, 100),
    };
    if std::env::args().nth(2).as_deref() == Some("search") {
        goal(&data, true);
        return Ok(());
    }
    println!("{}, rounds {ROUNDS}: median [smallest, largest]", isa::current().name());
    passes(&data);
    println!("shuffled mini-batches (µs each)");
    batches::<f64>(500_000, 30, 0, 1024, 1);
    batches::<f64>(16_000, 30, 0, 1024, 1);
    batches::<f64>(16_000, 27, 3, 1024, 1);
    for size in [256, 512, 1024, 2048, 4096] {
        batches::<f64>(4096, 30, 0, size, 1);
    }
    batches::<f64>(500, 30, 0, 32, 1);
    batches::<f64>(500, 30, 0, 1, 1);
    batches::<f32>(500_000, 100, 0, 1024, 1);
    batches::<f64>(60_000, 64, 0, 1024, 10);
    println!("to within 0.1% of the optimum (ms)");
    goal(&data, false);
    Ok(())
}
