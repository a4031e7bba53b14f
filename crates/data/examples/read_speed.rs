//! Seconds and peak memory from a CSV file to a table: `cargo run --release -p thalweg-data --example read_speed FILE`.

use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("name a CSV file")?;
    let start = Instant::now();
    let table = thalweg_data::read(Path::new(&file), &Default::default())?;
    println!(
        "read    {:.3} s, {} rows x {} columns",
        start.elapsed().as_secs_f64(),
        table.rows(),
        table.columns().len()
    );
    println!("peak    {} MB", peak_megabytes());
    Ok(())
}

/// The largest resident set so far, as Linux counts it; 0 elsewhere.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1000
}
