//! The optimizer step behind a C interface: `run.py` times it beside other libraries on the buffers that those own.

use std::ffi::{CStr, c_char};
use std::sync::Mutex;
use std::time::Instant;

use thalweg_core::{Buffer, Kind, Threads, Total, isa};
use thalweg_optim::{Setup, Stepper, TensorMut};

/// An optimizer over tensors of known sizes.
pub struct Handle {
    stepper: Stepper<f32>,
    sizes: Vec<usize>,
}

/// A new optimizer; null where the expression or the setting is wrong (the reason is printed). Tensors are matrices of `columns[i]`
/// columns, or vectors where that is 0.
///
/// # Safety
/// `expression` ends in 0; `sizes` and `columns` have `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thalweg_new(
    expression: *const c_char,
    sizes: *const usize,
    columns: *const usize,
    count: usize,
    threads: usize,
) -> *mut Handle {
    // SAFETY: as this function's contract says.
    let (text, sizes, columns) = unsafe {
        let text = CStr::from_ptr(expression).to_str().expect("an expression is UTF-8");
        (text, std::slice::from_raw_parts(sizes, count), std::slice::from_raw_parts(columns, count))
    };
    let setup = Setup { threads: Threads::new(threads), check: false, norm: false, ..Setup::default() };
    let mut builder = Stepper::<f32>::builder(text).setup(setup);
    for (i, (&size, &columns)) in sizes.iter().zip(columns).enumerate() {
        let name = format!("t{i}");
        builder = match columns {
            0 => builder.tensor(&name, &[size], &["out"], Kind::Weight),
            c => builder.tensor(&name, &[size / c, c], &["out", "in"], Kind::Weight),
        };
    }
    match builder.build() {
        Ok(stepper) => Box::into_raw(Box::new(Handle { stepper, sizes: sizes.to_vec() })),
        Err(error) => {
            eprintln!("{error}");
            std::ptr::null_mut()
        }
    }
}

/// `repeat` steps over tensors at `theta[i]` with gradients at `grad[i]`, which are zeroed if asked; returns the seconds, or a negative
/// number where a step is refused.
///
/// # Safety
/// The handle is `thalweg_new`'s; each pointer leads to as many numbers as its tensor has, and nobody else uses them meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thalweg_step(
    handle: *mut Handle,
    theta: *const *mut f32,
    grad: *const *mut f32,
    zero: bool,
    repeat: usize,
) -> f64 {
    // SAFETY: as this function's contract says.
    let handle = unsafe { &mut *handle };
    let start = Instant::now();
    for _ in 0..repeat {
        let tensors = handle.sizes.iter().enumerate().map(|(i, &n)| {
            // SAFETY: as this function's contract says.
            unsafe {
                let theta = std::slice::from_raw_parts_mut(*theta.add(i), n);
                let grad = std::slice::from_raw_parts_mut(*grad.add(i), n);
                if zero { TensorMut::new(theta, grad) } else { TensorMut::new(theta, &*grad) }
            }
        });
        if let Err(error) = handle.stepper.step_tensors(tensors, Total { loss: 0.0, weight: 1.0 }) {
            eprintln!("{error}");
            return -1.0;
        }
    }
    start.elapsed().as_secs_f64()
}

/// Buffers of the plain loop.
pub struct Plain {
    threads: Threads,
    state: Vec<Vec<Buffer<f32>>>,
}

/// A plain loop with `slots` buffers of memory for each tensor.
///
/// # Safety
/// `sizes` has `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plain_new(sizes: *const usize, count: usize, slots: usize, threads: usize) -> *mut Plain {
    // SAFETY: as this function's contract says.
    let sizes = unsafe { std::slice::from_raw_parts(sizes, count) };
    let state = sizes.iter().map(|&n| (0..slots).map(|_| Buffer::zeros(n)).collect()).collect();
    Box::into_raw(Box::new(Plain { threads: Threads::new(threads), state }))
}

/// Reads θ, the gradient and the memory once and writes θ, the memory and, if asked, the gradient once, with as little arithmetic as
/// keeps the compiler from leaving anything out.
///
/// # Safety
/// As [`thalweg_step`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plain_step(
    plain: *mut Plain,
    theta: *const *mut f32,
    grad: *const *mut f32,
    zero: bool,
    repeat: usize,
) -> f64 {
    const TASK: usize = 1 << 16;
    // SAFETY: as this function's contract says.
    let plain = unsafe { &mut *plain };
    let start = Instant::now();
    for _ in 0..repeat {
        let mut tasks = Vec::new();
        for (i, state) in plain.state.iter_mut().enumerate() {
            let n = state.first().map_or(0, |s| s.len());
            // SAFETY: as this function's contract says.
            let (theta, grad) = unsafe {
                let n = if n > 0 { n } else { return -1.0 };
                (std::slice::from_raw_parts_mut(*theta.add(i), n), std::slice::from_raw_parts_mut(*grad.add(i), n))
            };
            let mut rest: Vec<_> = state.iter_mut().map(|s| s.chunks_mut(TASK)).collect();
            for (theta, grad) in theta.chunks_mut(TASK).zip(grad.chunks_mut(TASK)) {
                let state: Vec<&mut [f32]> = rest.iter_mut().map(|r| r.next().expect("as many chunks")).collect();
                tasks.push(Mutex::new((theta, grad, state)));
            }
        }
        plain.threads.run(tasks.len(), |i| {
            let mut task = tasks[i].lock().expect("no task panics");
            let (theta, grad, state) = &mut *task;
            isa::run(
                #[inline(always)]
                || {
                    match &mut state[..] {
                        [m] => {
                            for ((t, g), m) in theta.iter_mut().zip(grad.iter()).zip(m.iter_mut()) {
                                *m += *g;
                                *t += *m * 1e-9;
                            }
                        }
                        [m, v, a] => {
                            for ((((t, g), m), v), a) in theta.iter_mut().zip(grad.iter()).zip(m.iter_mut()).zip(v.iter_mut()).zip(a.iter_mut())
                            {
                                *m += *g;
                                *v += *g;
                                *t += *m * *v * 1e-18;
                                *a += *t * 1e-9;
                            }
                        }
                        [m, v, ..] => {
                            for (((t, g), m), v) in theta.iter_mut().zip(grad.iter()).zip(m.iter_mut()).zip(v.iter_mut()) {
                                *m += *g;
                                *v += *g;
                                *t += *m * *v * 1e-18;
                            }
                        }
                        [] => {}
                    }
                    if zero {
                        grad.fill(0.0);
                    }
                },
            );
        });
    }
    start.elapsed().as_secs_f64()
}
