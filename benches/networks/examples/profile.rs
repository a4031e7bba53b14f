//! Runs one network's step again and again: for a profiler, and for a first figure.
//!
//! `cargo run --release --example profile -- CASE [SECONDS] [THREADS]`

use std::time::Instant;

use thalweg_core::Batch;
use thalweg_network_bench::Handle;

fn main() {
    let mut args = std::env::args().skip(1);
    let case = args.next().unwrap_or_else(|| "mlp-s".into());
    let seconds: f64 = args.next().map_or(2.0, |s| s.parse().expect("seconds"));
    let threads: usize = args.next().map_or(2, |s| s.parse().expect("threads"));
    let lenet = "conv(32, kernel=5, padding=0) relu pool(2) conv(64, kernel=5, padding=0) relu pool(2) flatten dense(128) relu";
    let block = "residual(conv(64, bias=false), batchnorm, relu, conv(64, bias=false), batchnorm) relu";
    let resnet = format!("conv(64, bias=false) batchnorm relu {block} {block} globalpool");
    let (spec, kind, rows, width, codes): (&str, &str, usize, usize, usize) = match case.as_str() {
        "mlp-s" => ("mlp(128, 128)", "numbers 784", 32, 784, 0),
        "mlp-m" => ("mlp(256, 256)", "numbers 784", 128, 784, 0),
        "mlp-l" => ("mlp(1024, 1024)", "numbers 784", 512, 784, 0),
        "lenet" => (lenet, "image 1 28 28", 64, 784, 0),
        "resnet" => (&resnet, "image 3 32 32", 32, 3072, 0),
        "transformer" => ("transformer(d=128, heads=4, layers=4)", "tokens 96 64", 16, 0, 65),
        "gru" => ("embedding(128) gru(128)", "tokens 96 64", 32, 0, 65),
        other => panic!("there is no case {other}"),
    };
    let mut handle = Handle::new(spec, kind, 10, "adam(lr=1e-6)", threads);
    let mut x = 1u32;
    let mut draw = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x
    };
    let dense: Vec<f32> = (0..rows * width).map(|_| draw() as f32 / 4e9 - 0.5).collect();
    let code: Vec<u32> = (0..rows * codes).map(|_| draw() % 96).collect();
    let target: Vec<f32> = (0..rows).map(|_| (draw() % 10) as f32).collect();
    let batch = Batch {
        dense: &dense,
        width,
        codes: &code,
        code_width: codes,
        target: &target,
        weight: None,
        index: None,
    };
    for _ in 0..3 {
        handle.step(&batch);
    }
    let start = Instant::now();
    let mut times = Vec::new();
    let mut loss = 0.0;
    while start.elapsed().as_secs_f64() < seconds {
        let one = Instant::now();
        loss = handle.step(&batch);
        times.push(one.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{case}: median {:.4} ms, fastest {:.4} ms, {} steps, loss {loss:.6}",
        times[times.len() / 2],
        times[0],
        times.len()
    );
}
