//! Whole training steps of networks behind a C interface: `run.py` times them beside other libraries, from the same weights on the
//! same batches.

use std::ffi::{CStr, c_char};
use std::time::Instant;

use thalweg_core::gemm::{Mat, MatMut, gemm};
use thalweg_core::{At, Batch, Grads, NoOracle, Objective, Optimizer, Params, Penalty, Threads};
use thalweg_models::losses::Loss;
use thalweg_models::network::{Input, ModelSpec, Network, Output};
use thalweg_optim::{Horizon, Plan, Setup};

/// A network, its parameters and its optimizer.
pub struct Handle {
    /// The network.
    pub network: Network<f32>,
    theta: Params<f32>,
    grads: Grads<f32>,
    optimizer: Box<dyn Optimizer<f32>>,
    step: u64,
}

/// What goes in, as in `numbers 784`, `image 1 28 28`, `tokens 96 64`, `sequence 64 32`.
fn input(text: &str) -> (Input, bool) {
    let mut words = text.split(' ');
    let kind = words.next().expect("a kind");
    let n: Vec<usize> = words.map(|w| w.parse().expect("a number")).collect();
    match kind {
        "numbers" => (Input::numbers(n[0]), false),
        "image" => (Input::Image { channels: n[0], height: n[1], width: n[2] }, false),
        "tokens" => (Input::Tokens { vocabulary: n[0], context: n[1] }, true),
        "sequence" => (Input::Sequence { steps: n[0], features: n[1] }, false),
        other => panic!("there is no input {other}"),
    }
}

impl Handle {
    /// A network with its own starting weights, as `fit` builds it.
    pub fn new(spec: &str, kind: &str, classes: usize, rule: &str, threads: usize) -> Self {
        let spec = ModelSpec::parse(spec).unwrap_or_else(|e| panic!("{e}"));
        let (input, next) = input(kind);
        let output = if next { Output::NextToken } else { Output::Row(classes) };
        let threads = Threads::new(threads);
        let network = Network::<f32>::new(&spec, input, output, Loss::SOFTMAX, 1)
            .unwrap_or_else(|e| panic!("{e}"))
            .with_threads(threads.clone());
        let horizon = Horizon { steps: 1_000_000, per_epoch: 1000 };
        let setup = Setup { horizon, threads, ..Setup::default() };
        let plan = Plan::parse(rule).unwrap_or_else(|e| panic!("{e}"));
        let optimizer = plan.build::<f32>(network.layout(), &setup).unwrap_or_else(|e| panic!("{e}"));
        let (theta, grads) = (network.init(), Grads::zeros(network.layout()));
        Self { network, theta, grads, optimizer, step: 0 }
    }

    /// One step; the mean loss before it.
    pub fn step(&mut self, batch: &Batch<'_, f32>) -> f64 {
        self.step += 1;
        let total = self.network.gradient(&self.theta, batch, &mut self.grads);
        let at = At { step: self.step, penalty: Penalty::default() };
        self.optimizer.step(at, &mut self.theta, &mut self.grads, &mut NoOracle).expect("a step");
        total.mean()
    }
}

/// A new network.
///
/// # Safety
/// Texts end in 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn network_new(
    spec: *const c_char,
    input: *const c_char,
    classes: usize,
    rule: *const c_char,
    threads: usize,
) -> *mut Handle {
    // SAFETY: as this function's contract says.
    let text = |p| unsafe { CStr::from_ptr(p) }.to_str().expect("UTF-8");
    Box::into_raw(Box::new(Handle::new(text(spec), text(input), classes, text(rule), threads)))
}

/// Takes the weights of a safetensors file, in memory, under PyTorch's names; says whether they fit.
///
/// # Safety
/// The handle is `network_new`'s; `bytes` has `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn network_load(handle: *mut Handle, bytes: *const u8, len: usize) -> bool {
    // SAFETY: as this function's contract says.
    let (handle, bytes) = unsafe { (&mut *handle, std::slice::from_raw_parts(bytes, len)) };
    match handle.network.state_from_bytes(bytes) {
        Ok(theta) => {
            handle.theta = theta;
            true
        }
        Err(error) => {
            eprintln!("{error}");
            false
        }
    }
}

/// `repeat` steps on one batch of `rows` rows; the seconds. The mean loss before the last one goes to `loss`.
///
/// # Safety
/// The handle is `network_new`'s; slices are as long as the batch of its input says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn network_step(
    handle: *mut Handle,
    dense: *const f32,
    codes: *const u32,
    target: *const f32,
    rows: usize,
    repeat: usize,
    loss: *mut f64,
) -> f64 {
    // SAFETY: as this function's contract says.
    let handle = unsafe { &mut *handle };
    let (width, code_width) = match *handle.network.input() {
        Input::Table { numbers, .. } => (numbers, 0),
        Input::Image { channels, height, width } => (channels * height * width, 0),
        Input::Sequence { steps, features } => (steps * features, 0),
        Input::Tokens { context, .. } => (0, context + 1),
    };
    // SAFETY: as this function's contract says.
    let batch = unsafe {
        let part = |p: *const f32, n: usize| if n == 0 { &[][..] } else { std::slice::from_raw_parts(p, n) };
        let codes = if code_width == 0 { &[][..] } else { std::slice::from_raw_parts(codes, rows * code_width) };
        let (dense, target) = (part(dense, rows * width), part(target, rows));
        Batch { dense, width, codes, code_width, target, weight: None, index: None }
    };
    let start = Instant::now();
    let mut last = f64::NAN;
    for _ in 0..repeat {
        last = handle.step(&batch);
    }
    let seconds = start.elapsed().as_secs_f64();
    // SAFETY: as this function's contract says.
    unsafe { *loss = last };
    seconds
}

/// `repeat` products `C [m, n] ← A [m, k]·B [k, n]`, either transposed in memory if asked: the seconds. What the arithmetic of a step is
/// measured against.
///
/// # Safety
/// Matrices have as many numbers as their sizes say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn product(
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    m: usize,
    n: usize,
    k: usize,
    a_transposed: bool,
    b_transposed: bool,
    threads: usize,
    repeat: usize,
) -> f64 {
    static THREADS: std::sync::Mutex<Option<Threads>> = std::sync::Mutex::new(None);
    let mut kept = THREADS.lock().expect("nobody panics");
    let threads = kept.get_or_insert_with(|| Threads::new(threads));
    // SAFETY: as this function's contract says.
    let (a, b, c) = unsafe {
        (std::slice::from_raw_parts(a, m * k), std::slice::from_raw_parts(b, k * n), std::slice::from_raw_parts_mut(c, m * n))
    };
    let a = if a_transposed { Mat::new(a, k, m).t() } else { Mat::new(a, m, k) };
    let b = if b_transposed { Mat::new(b, n, k).t() } else { Mat::new(b, k, n) };
    let start = Instant::now();
    for _ in 0..repeat {
        gemm(threads, 1.0, a, b, 0.0, MatMut::new(c, m, n));
    }
    start.elapsed().as_secs_f64()
}
