//! Matrix products of several shapes, in billions of operations a second and as a share of what fused multiply-add alone reaches.
//!
//! `cargo run --release -p thalweg-core --example gemm_speed [THREADS]`
//!
//! Medians of 21, the share against the better of two measurements of the peak, just before and just after.

use std::time::Instant;

use pulp::Simd;
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

/// Operations a second of one thread that multiplies and adds in registers, 0 where the plain kernel works.
fn peak() -> f64 {
    fn chains<S: Simd>(simd: S) -> f64 {
        const STEPS: usize = 100_000;
        const CHAINS: usize = 12;
        let scale = std::hint::black_box(0.999f32);
        let seconds = time(|| {
            simd.vectorize(Chains { simd, scale, steps: STEPS });
        });
        let lanes = size_of::<S::f32s>() / size_of::<f32>();
        (2 * CHAINS * lanes * STEPS) as f64 / seconds
    }
    struct Chains<S> {
        simd: S,
        scale: f32,
        steps: usize,
    }
    impl<S: Simd> pulp::NullaryFnOnce for Chains<S> {
        type Output = ();
        #[inline(always)]
        fn call(self) {
            let Self { simd, scale, steps } = self;
            let scale = simd.splat_f32s(scale);
            let mut sums = [scale; 12];
            for _ in 0..steps {
                for sum in &mut sums {
                    *sum = simd.mul_add_f32s(scale, *sum, scale);
                }
            }
            std::hint::black_box(&sums);
        }
    }
    #[cfg(target_arch = "x86_64")]
    match thalweg_core::isa::current() {
        thalweg_core::isa::Isa::Avx512 => return pulp::x86::V4::try_new().map_or(0.0, chains),
        thalweg_core::isa::Isa::Avx2 => return pulp::x86::V3::try_new().map_or(0.0, chains),
        thalweg_core::isa::Isa::Baseline => {}
    }
    0.0
}

fn main() {
    let threads = Threads::new(std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1));
    // m, n, k, whether A and B are transposed.
    let shapes = [
        (2048, 2048, 2048, false, false),
        (512, 512, 512, false, false),
        (512, 1024, 784, false, true),
        (32, 128, 784, false, false),
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
        let before = peak();
        let seconds = time(|| gemm(&threads, 1.0, a, b, 0.0, MatMut::new(&mut c, m, n)));
        let peak = before.max(peak()) * threads.count() as f64;
        let rate = 2.0 * (m * n * k) as f64 / seconds;
        println!(
            "{m:5} × {n:5} × {k:5} {}{}: {:8.1} µs {:6.1} GFLOP/s, {:3.0}% of the peak",
            if a_t { "T" } else { "n" },
            if b_t { "T" } else { "n" },
            seconds * 1e6,
            rate / 1e9,
            100.0 * rate / peak
        );
    }
}
