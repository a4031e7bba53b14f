//! Once a model has seen a batch, another one of its size allocates nothing.

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use thalweg_core::gemm::{Mat, MatMut, gemm};
use thalweg_core::{At, Batch, Grads, NoOracle, Objective, Params, Penalty, Threads};
use thalweg_models::linear::{Linear, Shape};
use thalweg_models::losses::Loss;
use thalweg_models::network::{Input, Network, Output};
use thalweg_optim::{Plan, Setup};

static COUNT: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting.
struct Counting;

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(memory.size(), Ordering::Relaxed);
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

/// Rows of every form: 30 numbers, two columns of categories, 6 tokens, and the token behind them.
struct Rows {
    dense: Vec<f32>,
    categories: Vec<u32>,
    tokens: Vec<u32>,
    target: Vec<f32>,
}

impl Rows {
    fn new(n: usize) -> Self {
        Self {
            dense: (0..n * 30).map(|i| libm::sinf(i as f32)).collect(),
            categories: (0..2 * n as u32).map(|i| if i % 2 == 0 { i % 20 } else { 20 + i % 30 }).collect(),
            tokens: (0..7 * n as u32).map(|i| i * i % 11).collect(),
            target: (0..n).map(|i| (i % 3) as f32).collect(),
        }
    }
    fn batch(&self, input: &Input, output: Output) -> Batch<'_, f32> {
        let (codes, code_width) = match input {
            Input::Table { .. } => (&self.categories[..], 2),
            Input::Tokens { .. } if output == Output::NextToken => (&self.tokens[..], 7),
            Input::Tokens { .. } => (&self.tokens[..self.target.len() * 6], 6),
            _ => (&[][..], 0),
        };
        let (dense, width) =
            if let Input::Tokens { .. } = input { (&[][..], 0) } else { (&self.dense[..], 30) };
        Batch { dense, width, codes, code_width, target: &self.target, ..Batch::NONE }
    }
}

/// Each thread's own room for packed products, which it takes when it first needs it: as large as any product here asks for.
fn warm(threads: &Threads) {
    let barrier = Barrier::new(threads.count());
    threads.run(threads.count(), |_| {
        barrier.wait();
        let (a, mut c) = (vec![1.0f32; 256 * 256], vec![0.0f32; 256 * 256]);
        for [a, b] in [
            [Mat::new(&a, 256, 256), Mat::new(&a, 256, 256).t()],
            [Mat::new(&a, 256, 256).t(), Mat::new(&a, 256, 256)],
        ] {
            gemm(&Threads::serial(), 1.0, a, b, 0.0, MatMut::new(&mut c, 256, 256));
        }
    });
}

/// The same of networks: every layer, on one thread and on two, with and without a tape, and a last batch that is shorter. A step of an
/// optimizer follows each gradient: it makes lists of the tensors for itself, always the same ones, and no memory for their numbers.
fn networks() {
    let table = Input::Table { numbers: 30, levels: vec![20, 30] };
    let image = Input::Image { channels: 1, height: 6, width: 5 };
    let sequence = Input::Sequence { steps: 6, features: 5 };
    let tokens = Input::Tokens { vocabulary: 11, context: 6 };
    let (row, next) = (Output::Row(3), Output::NextToken);
    let cases = [
        ("mlp(96, dropout=0.2) dense(64) tanh", table, row),
        (
            "conv(12) batchnorm relu residual(conv(12), groupnorm(2), silu) pool(2) conv(8) avgpool(2)",
            image,
            row,
        ),
        (
            "conv(4) batchnorm layernorm pool(2, stride=1) gru(4) lstm(3) dense(4) position block(heads=2) rmsnorm",
            sequence,
            row,
        ),
        ("gru(24)", tokens.clone(), row),
        ("embedding(16) lstm(24)", tokens.clone(), next),
        ("embeddingbag(16) mlp(32)", tokens.clone(), row),
        ("transformer(d=32, heads=4, layers=2)", tokens.clone(), next),
        ("transformer(d=16, heads=2, layers=1, dropout=0.1)", tokens, next),
    ];
    let rows = Rows::new(100);
    let order: Vec<u32> = (0..100).rev().collect();
    for threads in [1, 2] {
        let threads = Threads::new(threads);
        warm(&threads);
        for (model, input, output) in &cases {
            let all = rows.batch(input, *output);
            let network =
                Network::<f32>::new(&model.parse().unwrap(), input.clone(), *output, Loss::SOFTMAX, 0)
                    .unwrap()
                    .with_threads(threads.clone());
            let setup = Setup { threads: threads.clone(), ..Setup::default() };
            let plan = Plan::parse("clip(1) | adamw(lr=0.001) | ema(0.9)").unwrap();
            let mut optimizer = plan.build::<f32>(network.layout(), &setup).unwrap();
            let (mut theta, mut grads) = (network.init(), Grads::zeros(network.layout()));
            let mut p = vec![0.0; 100 * network.places() * network.outputs()];
            let (mut allocated, mut step) = ([0; 4], 0);
            let (mut lists, mut bytes) = ([0; 4], [0; 4]);
            for round in 0..4 {
                let before = COUNT.load(Ordering::Relaxed);
                for order in order.chunks(32) {
                    network.gradient(&theta, &all.rows(order), &mut grads);
                    let so_far = [&COUNT, &BYTES].map(|x| x.load(Ordering::Relaxed));
                    step += 1;
                    let at = At { step, penalty: Penalty::default() };
                    optimizer.step(at, &mut theta, &mut grads, &mut NoOracle).unwrap();
                    lists[round] += COUNT.load(Ordering::Relaxed) - so_far[0];
                    bytes[round] += BYTES.load(Ordering::Relaxed) - so_far[1];
                    network.loss(&theta, &all.rows(order));
                }
                network.responses(&theta, &all, &mut p);
                allocated[round] = COUNT.load(Ordering::Relaxed) - before - lists[round];
            }
            let what =
                format!("{model}, {} threads: {allocated:?}, {lists:?} of {bytes:?} bytes", threads.count());
            assert_eq!(allocated[2..], [0, 0], "{what}");
            assert_eq!((lists[2], bytes[2]), (lists[3], bytes[3]), "{what}");
            // Four steps of at most twenty lists.
            assert!(lists[3] <= 80 && bytes[3] <= 4 * 1024 * network.layout().tensors().len(), "{what}");
        }
    }
}
