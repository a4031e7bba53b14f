//! The driver beside a plain loop with the same reads and writes: interleaved pairs, median ratio.
//!
//! `cargo run --release -p thalweg-optim --example sweep_speed [NUMBERS]`

use std::time::Instant;

use thalweg_core::{Buffer, Threads, isa};
use thalweg_optim::rules::{Adam, Momentum, RmsProp, Sgd};
use thalweg_optim::{Around, Gradient, Rule, Span, Sweep, View, When, sweep};

fn plain(theta: &mut [f32], grad: &mut [f32], state: &mut [&mut [f32]]) {
    isa::run(
        #[inline(always)]
        || match state {
            [] => {
                for (t, g) in theta.iter_mut().zip(grad.iter_mut()) {
                    *t += *g * 0.5;
                    *g = 0.0;
                }
            }
            [m] => {
                for ((t, g), m) in theta.iter_mut().zip(grad.iter_mut()).zip(m.iter_mut()) {
                    *m += *g;
                    *t += *m * 0.5;
                    *g = 0.0;
                }
            }
            [m, v, ..] => {
                for (((t, g), m), v) in
                    theta.iter_mut().zip(grad.iter_mut()).zip(m.iter_mut()).zip(v.iter_mut())
                {
                    *m += *g;
                    *v += *g;
                    *t += *m * *v;
                    *g = 0.0;
                }
            }
        },
    );
}

fn pair<R: Rule<S> + Default, const S: usize>(n: usize) {
    let mut theta = Buffer::<f32>::zeros(n);
    let mut grad = Buffer::<f32>::zeros(n);
    let mut state: [Buffer<f32>; S] = std::array::from_fn(|_| Buffer::zeros(n));
    let rule = R::default();
    let threads = Threads::serial();
    let mut ratios = Vec::new();
    let mut ours_all = Vec::new();
    let repeat = (2_000_000 / n).max(1);
    for t in 1..=41 {
        let start = Instant::now();
        for _ in 0..repeat {
            let span = Span {
                theta: View::Own(&mut theta),
                master: None,
                grad: Gradient::Clear(&mut grad),
                state: state.each_mut().map(|s| View::Own(&mut s[..])),
                average: None,
                around: Around::NOTHING,
                place: 0,
            };
            let when = When { t: f64::from(t), lr: 1e-3 };
            let coef = R::cast::<f32>(R::coef(&R::with(&rule.values()), when, &mut []));
            let how = Sweep { threads: &threads, seed: 0, step: 1, squares: false };
            sweep::<R, f32, S>(&coef, vec![span], how).expect("lengths agree");
        }
        let ours = start.elapsed().as_secs_f64();
        let start = Instant::now();
        for _ in 0..repeat {
            let mut state: Vec<&mut [f32]> = state.iter_mut().map(|s| &mut s[..]).collect();
            plain(&mut theta, &mut grad, &mut state);
        }
        let loop_ = start.elapsed().as_secs_f64();
        ratios.push(loop_ / ours);
        ours_all.push(ours / repeat as f64);
    }
    ratios.sort_by(f64::total_cmp);
    ours_all.sort_by(f64::total_cmp);
    let bytes = (4 * (4 + 2 * S) * n) as f64;
    println!(
        "{:9} {n:9} numbers: {:8.3} ms, {:5.1} GB/s, plain loop / ours {:.2}",
        R::NAME,
        ours_all[20] * 1e3,
        bytes / ours_all[20] / 1e9,
        ratios[20]
    );
}

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    for n in if sizes.is_empty() { vec![10_000, 1_000_000, 25_000_000] } else { sizes } {
        pair::<Sgd, 0>(n);
        pair::<Momentum, 1>(n);
        pair::<RmsProp, 1>(n);
        pair::<Adam, 2>(n);
    }
}
