//! After the first step a training step allocates nothing.

use std::alloc::{GlobalAlloc, Layout as Bytes, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use thalweg_autodiff::{Activation, CrossEntropy, Workspace};
use thalweg_core::{Kind, Layout, Threads};

/// The system's allocator, which counts.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, bytes: Bytes) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(bytes) }
    }
    unsafe fn dealloc(&self, place: *mut u8, bytes: Bytes) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, bytes) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn the_second_step_allocates_nothing() {
    let layout = Layout::builder()
        .tensor("w1", &[16, 5], &["out", "in"], Kind::Weight)
        .tensor("b1", &[16], &["out"], Kind::Bias)
        .tensor("w2", &[3, 16], &["out", "in"], Kind::Weight)
        .build();
    let theta: Vec<f32> = (0..layout.buffer_len()).map(|i| (i % 7) as f32 * 0.1 - 0.3).collect();
    let mut grads = vec![0.0; theta.len()];
    let x: Vec<f32> = (0..64 * 5).map(|i| (i % 11) as f32 * 0.1).collect();
    let labels: Vec<u32> = (0..64).map(|i| i % 3).collect();
    let mut workspace = Workspace::new(Threads::serial());
    let mut step = |rows: usize| {
        let mut tape = workspace.tape(&layout, &theta);
        let (w1, b1, w2) = (tape.param("w1"), tape.param("b1"), tape.param("w2"));
        let input = tape.input(&x[..rows * 5], [rows, 5]);
        // A different number of operations in each step.
        let mut h = tape.dense(input, w1, Some(b1), Activation::Gelu);
        for _ in 0..rows % 3 {
            h = tape.relu(h);
        }
        let h = tape.dropout(h, 0.5, 7);
        let logits = tape.dense(h, w2, None, Activation::Identity);
        let loss = tape.softmax_cross_entropy(logits, &labels[..rows], CrossEntropy::default());
        tape.backward(loss, &mut grads);
    };
    for rows in [64, 62] {
        step(rows);
    }
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for rows in [64, 62, 64, 64, 62] {
        step(rows);
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
}
