//! What a step of Adam takes with memory in full precision, bf16 and block8: interleaved, medians.
//!
//! `cargo run --release -p thalweg-optim --example formats_speed [NUMBERS]`

use std::sync::Arc;
use std::time::Instant;

use thalweg_core::{At, Grads, Kind, Layout, NoOracle, Params, Penalty, Threads, Total};
use thalweg_optim::{Plan, Setup};

const FORMATS: [&str; 3] = ["full", "bf16", "block8"];
const ROUNDS: u64 = 31;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let n = std::env::args().nth(1).map_or(Ok(25_000_000), |a| a.parse())?;
    let layout = Arc::new(Layout::builder().tensor("theta", &[n], &["out"], Kind::Weight).build());
    println!("adam over {n} parameters in f32, median of {ROUNDS} steps");
    for count in [1, 2] {
        let setup = Setup { threads: Threads::new(count), check: false, ..Setup::default() };
        let mut optimizers = Vec::new();
        for format in FORMATS {
            optimizers.push(Plan::parse(&format!("adam(memory={format})"))?.build::<f32>(&layout, &setup)?);
        }
        let (mut theta, mut grads) = (Params::zeros(&layout), Grads::zeros(&layout));
        let mut times = [const { Vec::new() }; 3];
        for step in 1..=ROUNDS {
            for (optimizer, times) in optimizers.iter_mut().zip(&mut times) {
                // Every step reads a gradient that is not zero, as in a training.
                grads
                    .flat_mut()
                    .iter_mut()
                    .enumerate()
                    .for_each(|(i, g)| *g = (i % 1000) as f32 * 1e-3 - 0.5);
                grads.total = Total { loss: 0.0, weight: 1.0 };
                let at = At { step, penalty: Penalty::default() };
                let start = Instant::now();
                optimizer.step(at, &mut theta, &mut grads, &mut NoOracle)?;
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
        let medians = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        });
        for (format, ms) in FORMATS.iter().zip(medians) {
            println!("{count} threads  {format:6} {ms:8.2} ms/step, {:.2} of full", ms / medians[0]);
        }
    }
    Ok(())
}
