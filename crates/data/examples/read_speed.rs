//! Seconds and peak memory from a CSV file to numbers, step by step:
//! `cargo run --release -p thalweg-data --example read_speed FILE TARGET [TIMES]`.

use std::path::Path;
use std::time::Instant;

use thalweg_data::{Encoder, Split, SplitOptions, Target};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let file = args.next().ok_or("name a CSV file")?;
    let name = args.next().ok_or("name the target")?;
    for _ in 0..args.next().map_or(Ok(1), |n| n.parse())? {
        let mut clock = Instant::now();
        let start = clock;
        let mut lap = |what: &str| {
            println!("{what:8}{:7.1} ms", clock.elapsed().as_secs_f64() * 1e3);
            clock = Instant::now();
        };
        let table = thalweg_data::read(Path::new(&file), &Default::default())?;
        lap("read");
        let target = Target::infer(&table, &name, None, None)?;
        lap("target");
        let split = Split::new(&table, &target.rows, Some(&target.classes), &SplitOptions::default())?;
        lap("split");
        let (encoder, _notes) = Encoder::learn(&table, &split.train, Some(&target), &Default::default())?;
        lap("learn");
        let train = encoder.encode::<f64>(&table, &split.train, true)?;
        let test = encoder.encode::<f64>(&table, &split.test, true)?;
        lap("encode");
        drop(table);
        lap("drop");
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{:.3} s, {} + {} rows of {} + {}",
            seconds,
            train.len(),
            test.len(),
            train.width,
            train.code_width
        );
    }
    println!("peak {} MB", peak_megabytes());
    Ok(())
}

/// The largest resident set so far, as Linux counts it; 0 elsewhere.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1000
}
