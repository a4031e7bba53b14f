//! `thalweg optimizers --bench`: what this machine's memory gives, and how fast each rule's step runs on it.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::json;
use thalweg_core::{
    At, Buffer, Grads, Kind as TensorKind, Layout, Needs, Optimizer, Oracle, Params, Penalty, Threads, Total,
};
use thalweg_optim::rules::{ALL, Kind};
use thalweg_optim::{Plan, Setup};

use super::describe::numbers_per_parameter;
use crate::args;
use crate::failure::Failure;
use crate::show::{self, Align};

/// Rounds; the median is shown.
const ROUNDS: usize = 9;

struct Row {
    name: &'static str,
    numbers: usize,
    seconds: f64,
    /// What the step reads and writes at least; `None` for rules that evaluate the loss themselves.
    bytes: Option<f64>,
    copy: f64,
    /// Gradients and losses that it asked for itself.
    asked: usize,
}

/// Measures and prints.
pub fn run(args: &args::Optimizers, out: &mut dyn Write) -> Result<(), Failure> {
    let threads = Threads::new(args.threads.unwrap_or(0));
    let count = threads.count();
    if let Some(name) = args.name.as_deref().filter(|name| ALL.iter().all(|e| e.name != *name)) {
        return Err(Failure::usage(format!(
            "--bench measures rules by their names in `thalweg optimizers`, and {name:?} is none"
        )));
    }
    let mut rows = Vec::new();
    for &numbers in &args.numbers {
        let numbers = numbers.clamp(1, 1 << 32);
        for entry in ALL.iter().filter(|e| args.name.as_deref().is_none_or(|name| name == e.name)) {
            let plan = Plan::parse(entry.name).map_err(Failure::usage)?;
            let side = (numbers as f64).sqrt() as usize;
            let by_tensor = entry.kind == Kind::Tensor;
            let shape = if by_tensor { vec![side, side] } else { vec![numbers] };
            let axes: &[&'static str] = if by_tensor { &["out", "in"] } else { &["out"] };
            let layout =
                Arc::new(Layout::builder().tensor("weight", &shape, axes, TensorKind::Weight).build());
            let setup = Setup { threads: threads.clone(), check: false, ..Setup::default() };
            let mut optimizer =
                plan.build::<f32>(&layout, &setup).map_err(|e| Failure::usage(e.to_string()))?;
            // A loss is no work of theirs.
            let evaluates = Needs { loss: false, ..optimizer.needs() } != Needs::default();
            let numbers: usize = shape.iter().product();
            // θ both ways, the gradient read and zeroed, the memory both ways.
            let bytes = numbers_per_parameter(&plan)
                .filter(|_| !evaluates)
                .map(|n| 4.0 * numbers as f64 * (4.0 + 2.0 * n));
            let (seconds, copy, asked) = time(&mut *optimizer, &layout, &threads).map_err(Failure::run)?;
            rows.push(Row { name: entry.name, numbers, seconds, bytes, copy, asked });
        }
    }
    if args.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|r| {
                json!({"rule": r.name, "numbers": r.numbers, "seconds": r.seconds, "steps_per_second": 1.0 / r.seconds,
                    "bytes": r.bytes, "copy_bytes_per_second": r.copy, "evaluations": r.asked})
            })
            .collect();
        serde_json::to_writer(&mut *out, &json!({"threads": count, "rules": rows}))?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(
        out,
        "{count} threads, f32; the median of {ROUNDS} steps, each beside a copy of as many numbers"
    )?;
    for &numbers in &args.numbers {
        let mut copies: Vec<f64> =
            rows.iter().filter(|r| r.numbers <= numbers && 2 * r.numbers > numbers).map(|r| r.copy).collect();
        copies.sort_by(f64::total_cmp);
        if let Some(median) = copies.get(copies.len() / 2) {
            let (numbers, rate) = (show::count(numbers as u64), show::number(median / 1e9, 3));
            writeln!(out, "copying at {numbers} numbers: {rate} GB/s, read and written together")?;
        }
    }
    writeln!(out)?;
    let evaluates = rows.iter().any(|r| r.bytes.is_none());
    let mut table =
        vec![["rule", "numbers", "ms", "steps/s", "GB/s", "of copying"].map(String::from).to_vec()];
    for r in rows {
        let rate = r.bytes.map(|b| b / r.seconds);
        let asked = format!("{} asked", r.asked);
        table.push(vec![
            r.name.into(),
            show::count(r.numbers as u64),
            show::number(r.seconds * 1e3, 3),
            show::number(1.0 / r.seconds, 3),
            rate.map_or(asked, |x| show::number(x / 1e9, 3)),
            rate.map_or(String::new(), |x| format!("{:.0}%", 100.0 * x / r.copy)),
        ]);
    }
    let right = [Align::Right; 5];
    write!(out, "{}", show::table(&table, &[&[Align::Left], &right[..]].concat()))?;
    let mut notes = String::from(
        "GB/s counts each number's parameter, gradient (zeroed after use) and memory once read and once written, however often the \
         rule goes over them.",
    );
    if evaluates {
        notes.push_str(
            " \"asked\" are the losses, gradients and products that a rule asked for in its last step: those of a quadratic over \
             4 rows here, whose time is in the step's.",
        );
    }
    write!(out, "{}", show::wrap(&notes, show::width()))?;
    Ok(())
}

/// ½ Σᵢ hᵢ (θᵢ − cᵢ)² with 97 curvatures hᵢ up to 1; each of the rows has its own cᵢ.
struct Quadratic<'a> {
    threads: &'a Threads,
    asked: usize,
}

/// A stretch of θ, of the gradient (nothing where none is wanted), and its loss.
type Part<'a> = (&'a [f32], &'a mut [f32], f64);

impl Quadratic<'_> {
    const ROWS: usize = 4;

    /// The sums over some rows: the loss, and the gradient where it is wanted.
    fn sum(
        &mut self,
        rows: std::ops::Range<usize>,
        theta: &Params<f32>,
        grads: Option<&mut Grads<f32>>,
    ) -> Total {
        self.asked += 1;
        let weight = rows.len() as f32;
        // The mean of the rows' centres, 0, 1/4, …, for the gradient; the loss needs their spread too.
        let centre = rows.clone().map(|row| row as f32 / 4.0).sum::<f32>() / weight;
        let spread = rows.map(|row| row as f32 / 4.0 - centre).map(|off| off * off).sum::<f32>();
        let theta = theta.flat();
        let size = 1 << 16;
        let mut none = [];
        let out: &mut [f32] = match grads {
            Some(grads) => grads.flat_mut(),
            None => &mut none,
        };
        let wanted = !out.is_empty();
        let mut outs = out.chunks_mut(size);
        let parts: Vec<Mutex<Part<'_>>> = theta
            .chunks(size)
            .map(|theta| Mutex::new((theta, outs.next().unwrap_or_default(), 0.0)))
            .collect();
        self.threads.run(parts.len(), |part| {
            let mut part_of = parts[part].lock().unwrap_or_else(PoisonError::into_inner);
            let (theta, out, loss) = &mut *part_of;
            for (i, theta) in theta.iter().enumerate() {
                let h = ((part * size + i) % 97 + 1) as f32 / 97.0;
                let off = theta - centre;
                *loss += f64::from(0.5 * h * (weight * off * off + spread));
                if wanted {
                    out[i] = weight * h * off;
                }
            }
        });
        let loss = |part: Mutex<Part<'_>>| part.into_inner().unwrap_or_else(PoisonError::into_inner).2;
        Total { loss: parts.into_iter().map(loss).sum(), weight: f64::from(weight) }
    }

    fn fill(&mut self, rows: std::ops::Range<usize>, theta: &Params<f32>, grads: &mut Grads<f32>) -> Total {
        grads.total = self.sum(rows, theta, Some(&mut *grads));
        grads.total
    }
}

impl Oracle<f32> for Quadratic<'_> {
    fn loss(&mut self, theta: &Params<f32>) -> Total {
        self.sum(0..Self::ROWS, theta, None)
    }
    fn gradient(&mut self, theta: &Params<f32>, grads: &mut Grads<f32>) -> Total {
        self.fill(0..Self::ROWS, theta, grads)
    }
    fn rows(&self) -> Option<Vec<usize>> {
        Some((0..Self::ROWS).collect())
    }
    fn count(&self) -> Option<usize> {
        Some(Self::ROWS)
    }
    fn row_gradient(&mut self, row: usize, theta: &Params<f32>, grads: &mut Grads<f32>) -> Option<Total> {
        Some(self.fill(row..row + 1, theta, grads))
    }
    fn full_gradient(&mut self, theta: &Params<f32>, grads: &mut Grads<f32>) -> Option<Total> {
        Some(self.fill(0..Self::ROWS, theta, grads))
    }
    /// h ∘ v, for each row.
    fn hessian_vector(&mut self, _: &Params<f32>, v: &Params<f32>, out: &mut Grads<f32>) -> Option<Total> {
        self.asked += 1;
        let rows = Self::ROWS as f32;
        for (i, (out, v)) in out.flat_mut().iter_mut().zip(v.flat()).enumerate() {
            *out = rows * (i % 97 + 1) as f32 / 97.0 * v;
        }
        Some(Total { loss: 0.0, weight: f64::from(rows) })
    }
}

/// The median seconds of a step, bytes per second of copying beside it, and what the last step asked for.
fn time(
    optimizer: &mut dyn Optimizer<f32>,
    layout: &Arc<Layout>,
    threads: &Threads,
) -> Result<(f64, f64, usize), thalweg_core::StepError> {
    let mut theta = Params::<f32>::zeros(layout);
    let mut grads = Grads::<f32>::zeros(layout);
    theta.flat_mut().iter_mut().enumerate().for_each(|(i, t)| *t = ((i % 89) as f32 - 44.0) / 50.0);
    let mut oracle = Quadratic { threads, asked: 0 };
    let half = (layout.count() * 2).next_multiple_of(16);
    let (from, mut to) = (Buffer::<f32>::zeros(half), Buffer::<f32>::zeros(half));
    let (mut steps, mut copies) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        oracle.gradient(&theta, &mut grads);
        oracle.asked = 0;
        let at = At { step: round as u64 + 1, penalty: Penalty::default() };
        let start = Instant::now();
        optimizer.step(at, &mut theta, &mut grads, &mut oracle)?;
        let step = start.elapsed().as_secs_f64();
        let start = Instant::now();
        copy(&from, &mut to, threads);
        let copied = start.elapsed().as_secs_f64();
        if round > 0 {
            steps.push(step);
            copies.push((8 * half) as f64 / copied);
        }
    }
    let median = |mut x: Vec<f64>| {
        x.sort_by(f64::total_cmp);
        x[x.len() / 2]
    };
    Ok((median(steps), median(copies), oracle.asked))
}

fn copy(from: &[f32], to: &mut [f32], threads: &Threads) {
    let size = from.len().div_ceil(threads.count()).max(1);
    let parts: Vec<Mutex<_>> = from.chunks(size).zip(to.chunks_mut(size)).map(Mutex::new).collect();
    threads.run(parts.len(), |i| {
        let mut part = parts[i].lock().unwrap_or_else(PoisonError::into_inner);
        let from = part.0;
        part.1.copy_from_slice(from);
    });
}
