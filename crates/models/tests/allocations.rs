//! Once a model has seen a batch, another one of its size allocates nothing.

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use thalweg_core::{Batch, Grads, Objective, Params, Threads};
use thalweg_models::linear::{Linear, Shape};
use thalweg_models::losses::Loss;
use thalweg_models::network::{Input, Network, Output};

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting.
struct Counting;

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(memory) }
    }
    unsafe fn dealloc(&self, at: *mut u8, memory: Memory) {
        // SAFETY: `at` came from `System` with this layout.
        unsafe { System.dealloc(at, memory) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// One test: allocations of a second one at the same time would be counted too.
#[test]
fn the_steady_state_allocates_nothing() {
    let n = 4000;
    let dense: Vec<f64> = (0..n * 30).map(|i| libm::sin(i as f64)).collect();
    let codes: Vec<u32> = (0..n as u32 * 2).map(|i| i * 7 % 50).collect();
    let target: Vec<f64> = (0..n).map(|i| (i % 3) as f64).collect();
    let weight = vec![0.5; n];
    let order: Vec<u32> = (0..n as u32).rev().collect();
    let shape = Shape { dense: 30, one_hot: 50, outputs: 3, intercept: true };
    let all = Batch {
        dense: &dense,
        width: 30,
        codes: &codes,
        code_width: 2,
        target: &target,
        weight: Some(&weight),
        index: None,
    };
    let model = Linear::<f64>::new(shape, Loss::SOFTMAX, Threads::serial());
    let (theta, mut grads) = (Params::zeros(model.layout()), Grads::zeros(model.layout()));
    let mut allocated = [0; 2];
    for allocated in &mut allocated {
        let before = COUNT.load(Ordering::Relaxed);
        model.gradient(&theta, &all, &mut grads);
        for order in order.chunks(1000) {
            model.gradient(&theta, &all.rows(order), &mut grads);
            model.loss(&theta, &all.rows(order));
        }
        *allocated = COUNT.load(Ordering::Relaxed) - before;
    }
    assert!(allocated[0] > 0, "the count counts");
    assert_eq!(allocated[1], 0);
    networks();
}

/// The same of networks: every layer, with and without a tape, and a last batch that is shorter.
fn networks() {
    let image = Input::Image { channels: 1, height: 6, width: 5 };
    let sequence = Input::Sequence { steps: 6, features: 5 };
    let cases = [
        ("mlp(8, dropout=0.2)", Input::Table { numbers: 30, levels: vec![20, 30] }),
        ("conv(4) batchnorm relu residual(conv(4), groupnorm(2), silu) pool(2) conv(3) avgpool(2)", image),
        ("conv(4) layernorm gru(4) lstm(3) dense(4) position block(heads=2) rmsnorm", sequence),
    ];
    for (model, input) in cases {
        let codes: Vec<u32> = (0..200).map(|i| if i % 2 == 0 { i % 20 } else { 20 + i % 30 }).collect();
        let table = matches!(input, Input::Table { .. });
        let network =
            Network::<f32>::new(&model.parse().unwrap(), input, Output::Row(3), Loss::SOFTMAX, 0).unwrap();
        let dense: Vec<f32> = (0..100 * 30).map(|i| libm::sinf(i as f32)).collect();
        let target: Vec<f32> = (0..100).map(|i| (i % 3) as f32).collect();
        let (codes, code_width) = if table { (&codes[..], 2) } else { (&[][..], 0) };
        let all = Batch { dense: &dense, width: 30, codes, code_width, target: &target, ..Batch::NONE };
        let (theta, mut grads) = (network.init(), Grads::zeros(network.layout()));
        let order: Vec<u32> = (0..100).rev().collect();
        let mut p = vec![0.0; 300];
        let mut allocated = [0; 3];
        for allocated in &mut allocated {
            let before = COUNT.load(Ordering::Relaxed);
            for order in order.chunks(32) {
                network.gradient(&theta, &all.rows(order), &mut grads);
                network.loss(&theta, &all.rows(order));
            }
            network.responses(&theta, &all, &mut p);
            *allocated = COUNT.load(Ordering::Relaxed) - before;
        }
        assert_eq!(allocated[2], 0, "{model}: {allocated:?}");
    }
}
