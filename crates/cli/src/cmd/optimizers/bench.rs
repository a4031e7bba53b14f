//! `thalweg optimizers --bench`: what this machine's memory gives, and how fast each rule's step runs on it.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use thalweg_core::{
    At, Buffer, Grads, Kind as TensorKind, Layout, NoOracle, Optimizer, Params, Penalty, Threads, Total,
};
use thalweg_optim::rules::{ALL, Kind};
use thalweg_optim::{Plan, Setup};

use crate::args;
use crate::failure::Failure;
use crate::show::{self, Align};

/// Rounds; the median is shown.
const ROUNDS: usize = 9;

struct Row {
    name: &'static str,
    numbers: usize,
    seconds: f64,
    bytes: Option<usize>,
    copy: f64,
}

/// Measures and prints.
pub fn run(args: &args::Optimizers, out: &mut dyn Write) -> Result<(), Failure> {
    let threads = Threads::new(args.threads.unwrap_or(0));
    let count = threads.count();
    let mut rows = Vec::new();
    for &numbers in &args.numbers {
        let numbers = numbers.clamp(1, 1 << 32);
        for entry in ALL.iter().filter(|e| args.name.as_deref().is_none_or(|name| name == e.name)) {
            // Rules that evaluate the loss themselves have no step to time without a model.
            let plan = Plan::parse(entry.name).map_err(Failure::usage)?;
            let side = (numbers as f64).sqrt() as usize;
            let by_tensor = entry.kind == Kind::Tensor;
            let shape = if by_tensor { vec![side, side] } else { vec![numbers] };
            let axes: &[&'static str] = if by_tensor { &["out", "in"] } else { &["out"] };
            let layout =
                Arc::new(Layout::builder().tensor("weight", &shape, axes, TensorKind::Weight).build());
            let setup = Setup { threads: threads.clone(), check: false, ..Setup::default() };
            let Ok(mut optimizer) = plan.build::<f32>(&layout, &setup) else { continue };
            // A loss is no work of theirs.
            let needs = thalweg_core::Needs { loss: false, ..optimizer.needs() };
            if needs != thalweg_core::Needs::default() {
                continue;
            }
            let bytes = plan.trace().map(|t| t.bytes(4, true) * numbers);
            if let Some((seconds, copy)) = time(&mut *optimizer, &layout, numbers, &threads) {
                rows.push(Row { name: entry.name, numbers: shape.iter().product(), seconds, bytes, copy });
            }
        }
    }
    if args.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|r| {
                json!({"rule": r.name, "numbers": r.numbers, "seconds": r.seconds, "steps_per_second": 1.0 / r.seconds,
                    "bytes": r.bytes, "copy_bytes_per_second": r.copy})
            })
            .collect();
        serde_json::to_writer(&mut *out, &json!({"threads": count, "rules": rows}))?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(
        out,
        "{count} threads, f32; the median of {ROUNDS} steps, each beside a copy of the same number of bytes"
    )?;
    let mut table =
        vec![["rule", "numbers", "ms", "steps/s", "GB/s", "of copying"].map(String::from).to_vec()];
    for r in rows {
        let rate = r.bytes.map(|b| b as f64 / r.seconds);
        table.push(vec![
            r.name.into(),
            show::count(r.numbers as u64),
            show::number(r.seconds * 1e3, 3),
            show::number(1.0 / r.seconds, 3),
            rate.map_or(String::new(), |x| show::number(x / 1e9, 3)),
            rate.map_or(String::new(), |x| format!("{:.0}%", 100.0 * x / r.copy)),
        ]);
    }
    write!(
        out,
        "{}",
        show::table(
            &table,
            &[Align::Left, Align::Right, Align::Right, Align::Right, Align::Right, Align::Right]
        )
    )?;
    writeln!(
        out,
        "GB/s counts each number's parameter, gradient (zeroed after use) and memory once read and once written."
    )?;
    Ok(())
}

/// The median seconds of a step, and bytes per second of copying beside it; `None` where the step cannot be made here.
fn time(
    optimizer: &mut dyn Optimizer<f32>,
    layout: &Arc<Layout>,
    numbers: usize,
    threads: &Threads,
) -> Option<(f64, f64)> {
    let mut theta = Params::<f32>::zeros(layout);
    let mut grads = Grads::<f32>::zeros(layout);
    theta.flat_mut().iter_mut().enumerate().for_each(|(i, t)| *t = ((i % 97) as f32 - 48.0) / 50.0);
    let half = (numbers * 2).next_multiple_of(16);
    let (from, mut to) = (Buffer::<f32>::zeros(half), Buffer::<f32>::zeros(half));
    let (mut steps, mut copies) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        grads.flat_mut().iter_mut().enumerate().for_each(|(i, g)| *g = ((i % 89) as f32 - 44.0) / 90.0);
        grads.total = Total { loss: 1.0, weight: 1.0 };
        let at = At { step: round as u64 + 1, penalty: Penalty::default() };
        let start = Instant::now();
        optimizer.step(at, &mut theta, &mut grads, &mut NoOracle).ok()?;
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
    Some((median(steps), median(copies)))
}

fn copy(from: &[f32], to: &mut [f32], threads: &Threads) {
    let size = from.len().div_ceil(threads.count()).max(1);
    let parts: Vec<std::sync::Mutex<_>> =
        from.chunks(size).zip(to.chunks_mut(size)).map(std::sync::Mutex::new).collect();
    threads.run(parts.len(), |i| {
        let mut part = parts[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let from = part.0;
        part.1.copy_from_slice(from);
    });
}
