//! Matrix products of several shapes, in billions of operations a second.
//!
//! `cargo run --release -p thalweg-core --example gemm_speed [THREADS]`

use std::time::Instant;

use thalweg_core::Threads;
use thalweg_core::gemm::{Mat, MatMut, gemm};

/// The median seconds of a call.
fn time(mut f: impl FnMut()) -> f64 {
    f();
    let start = Instant::now();
    f();
    let one = start.elapsed().as_secs_f64();
    let repeat = (5e-3 / one).clamp(1.0, 10_000.0) as usize;
    let mut all: Vec<f64> = (0..21)
        .map(|_| {
            let start = Instant::now();
            (0..repeat).for_each(|_| f());
            start.elapsed().as_secs_f64() / repeat as f64
        })
        .collect();
    all.sort_by(f64::total_cmp);
    all[10]
}

fn main() {
    let threads = Threads::new(std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1));
    // m, n, k, whether A and B are transposed.
    let shapes = [
        (2048, 2048, 2048, false, false),
        (512, 512, 512, false, false),
        (512, 1024, 784, false, true),
        (32, 128, 784, false, true),
        (128, 784, 32, true, false),
        (32, 128, 128, false, true),
        (32, 10, 128, false, true),
        (128, 256, 784, false, true),
        (256, 784, 128, true, false),
        (1, 128, 784, false, true),
    ];
    for (m, n, k, a_t, b_t) in shapes {
        let (a, b, mut c) = (vec![0.5f32; m * k], vec![0.25f32; k * n], vec![0.0f32; m * n]);
        let a = if a_t { Mat::new(&a, k, m).t() } else { Mat::new(&a, m, k) };
        let b = if b_t { Mat::new(&b, n, k).t() } else { Mat::new(&b, k, n) };
        let seconds = time(|| gemm(&threads, 1.0, a, b, 0.0, MatMut::new(&mut c, m, n)));
        println!(
            "{m:5} × {n:5} × {k:5} {}{}: {:8.1} µs {:6.1} GFLOP/s",
            if a_t { "T" } else { "n" },
            if b_t { "T" } else { "n" },
            seconds * 1e6,
            2.0 * (m * n * k) as f64 / seconds / 1e9
        );
    }
}
