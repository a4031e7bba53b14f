//! What the tape promises about memory, work, freezing and repetition.

use thalweg_autodiff::{Activation, Number, Tape, Var, Workspace};
use thalweg_core::{Kind, Layout, Threads};

const WIDTH: usize = 24;
const LAYERS: usize = 9;
const ROWS: usize = 20;

fn layout() -> Layout {
    (0..LAYERS)
        .fold(Layout::builder(), |b, i| {
            b.tensor(&format!("w{i}"), &[WIDTH, WIDTH], &["out", "in"], Kind::Weight)
        })
        .build()
}

fn numbers(n: usize, seed: f64) -> Vec<f64> {
    (0..n).map(|i| 0.3 * libm::sin(seed + 1.7 * i as f64)).collect()
}

fn layer<N: Number>(tape: &mut Tape<'_, N>, x: Var, i: usize) -> Var {
    let w = tape.param_at(i);
    let h = tape.dense(x, w, None, Activation::Tanh);
    tape.dropout(h, 0.2, 3)
}

/// Loss and gradient of the layers, with every `every` of them in a checkpoint, and the peak of memory.
fn checkpointed(every: usize, threads: usize) -> (f64, Vec<f64>, usize) {
    let layout = layout();
    let (theta, x) = (numbers(layout.buffer_len(), 0.0), numbers(ROWS * WIDTH, 1.0));
    let mut grads = vec![0.0; theta.len()];
    let mut workspace = Workspace::new(Threads::new(threads));
    let mut tape = workspace.tape(&layout, &theta);
    let mut h = tape.input(&x, [ROWS, WIDTH]);
    for first in (0..LAYERS).step_by(every) {
        let layers = first..(first + every).min(LAYERS);
        if every == 1 {
            h = layer(&mut tape, h, first);
        } else {
            h = tape.checkpoint(move |tape| layers.clone().fold(h, |h, i| layer(tape, h, i)));
        }
    }
    let loss = tape.sum(h);
    tape.backward(loss, &mut grads);
    let loss = tape.value(loss)[0];
    drop(tape);
    assert_eq!(workspace.pool().lent(), 0, "all memory comes back");
    (loss, grads, workspace.pool().peak())
}

#[test]
fn a_checkpoint_gives_the_same_bits_with_less_memory() {
    let (loss, grads, peak) = checkpointed(1, 1);
    assert!(grads.iter().any(|&g| g != 0.0));
    for (every, threads) in [(3, 1), (3, 3), (LAYERS, 2)] {
        let (other_loss, other_grads, other_peak) = checkpointed(every, threads);
        assert_eq!(loss.to_bits(), other_loss.to_bits());
        assert!(grads.iter().zip(&other_grads).all(|(a, b)| a.to_bits() == b.to_bits()), "every {every}");
        if every == 3 {
            // Per layer two results and a mask: 27 blocks against 3 results and the 9 blocks of one checkpoint.
            assert!(2 * other_peak < 1 + peak, "{other_peak} against {peak}");
        }
    }
}

#[test]
fn checkpoints_nest_and_may_return_what_was_there() {
    let layout = layout();
    let (theta, x) = (numbers(layout.buffer_len(), 0.0), numbers(ROWS * WIDTH, 1.0));
    let run = |nested: bool| {
        let mut grads = vec![0.0; theta.len()];
        let mut workspace = Workspace::new(Threads::serial());
        let mut tape = workspace.tape(&layout, &theta);
        let x = tape.input(&x, [ROWS, WIDTH]);
        let h = layer(&mut tape, x, 0);
        let y = if nested {
            let h = tape.checkpoint(move |_| h);
            tape.checkpoint(move |tape| {
                let h = tape.checkpoint(move |tape| layer(tape, h, 1));
                let h = layer(tape, h, 2);
                let w = tape.reshape(h, [WIDTH, ROWS]);
                tape.slice(w, 0, 1..5)
            })
        } else {
            let h = layer(&mut tape, h, 1);
            let h = layer(&mut tape, h, 2);
            let w = tape.reshape(h, [WIDTH, ROWS]);
            tape.slice(w, 0, 1..5)
        };
        let loss = tape.sum(y);
        tape.backward(loss, &mut grads);
        grads
    };
    let (plain, nested) = (run(false), run(true));
    assert!(plain.iter().zip(&nested).all(|(a, b)| a.to_bits() == b.to_bits()));
}

#[test]
fn no_multiply_add_is_spent_on_a_gradient_that_nobody_asked_for() {
    let layout = layout();
    let (theta, x) = (numbers(layout.buffer_len(), 0.0), numbers(ROWS * WIDTH, 1.0));
    let one = (ROWS * WIDTH * WIDTH) as u64;
    let count = |frozen: usize, from: usize, leaf: bool| {
        let mut workspace = Workspace::new(Threads::serial());
        let mut tape = workspace.tape(&layout, &theta);
        tape.freeze_from(from);
        let mut grads = vec![0.0; from.min(theta.len())];
        let mut h = if leaf { tape.leaf(&x, [ROWS, WIDTH]) } else { tape.input(&x, [ROWS, WIDTH]) };
        let input = h;
        for i in 0..LAYERS {
            let name = format!("w{i}");
            let w = if i < frozen { tape.frozen_param(&name) } else { tape.param(&name) };
            h = tape.dense(h, w, None, Activation::Relu);
        }
        let loss = tape.sum(h);
        tape.backward(loss, &mut grads);
        assert_eq!(tape.grad(input).is_some(), leaf);
        drop(tape);
        workspace.multiply_adds() / one
    };
    let layers = LAYERS as u64;
    // Forward, both gradients of each layer, but not that of the input.
    assert_eq!(count(0, usize::MAX, false), 3 * layers - 1);
    assert_eq!(count(0, usize::MAX, true), 3 * layers);
    // The first four frozen: neither their weights' gradients nor anything below the fifth.
    assert_eq!(count(4, usize::MAX, false), layers + 2 * (layers - 4) - 1);
    // All from the eighth on frozen: their gradients are only passed through.
    assert_eq!(count(0, layout.tensors()[7].offset, false), layers + 2 * layers - 1 - (layers - 7));
    assert_eq!(count(LAYERS, usize::MAX, false), layers);
}

#[test]
fn an_evaluation_holds_one_layer_at_a_time_and_gives_the_same_bits() {
    let layout = layout();
    let (theta, x) = (numbers(layout.buffer_len(), 0.0), numbers(ROWS * WIDTH, 1.0));
    let mut workspace = Workspace::new(Threads::serial());
    let run = |mut tape: Tape<'_, f64>| {
        let mut h = tape.constant(&x, [ROWS, WIDTH]);
        for i in 0..LAYERS {
            let before = h;
            h = tape.scope(|tape| {
                let w = tape.param_at(i);
                let h = tape.dense(h, w, None, Activation::Gelu);
                let h = tape.scale(h, 2.0);
                tape.reshape(h, [ROWS, WIDTH])
            });
            tape.release(before);
        }
        tape.value(h).to_vec()
    };
    let recorded = run(workspace.tape(&layout, &theta));
    workspace.pool_mut().reset_peak();
    let evaluated = run(workspace.evaluation(&layout, &theta));
    assert_eq!(recorded, evaluated);
    // A layer's input; inside it two blocks and a copy of the result.
    let block = 512;
    assert!(workspace.pool().peak() <= 4 * block, "{}", workspace.pool().peak());
}

#[test]
fn several_results_leave_a_scope() {
    let layout = Layout::default();
    let mut workspace = Workspace::new(Threads::serial());
    let mut tape = workspace.evaluation(&layout, &[]);
    let x = tape.constant(&[1.0, 2.0, 3.0, 4.0], [2, 2]);
    let [a, b, c, d] = tape.scope_of(|tape| {
        let double = tape.scale(x, 2.0);
        let row = tape.select(double, 0, 1);
        [double, row, x, double]
    });
    assert_eq!(tape.value(a), [2.0, 4.0, 6.0, 8.0]);
    assert_eq!(tape.value(b), [6.0, 8.0]);
    assert_eq!((c, d), (x, a));
}

#[test]
fn more_inputs_than_are_borrowed_are_copied() {
    let layout = Layout::default();
    let data = numbers(20, 0.0);
    let mut workspace = Workspace::new(Threads::serial());
    let mut tape = workspace.tape(&layout, &[]);
    let all: Vec<Var> = data.chunks(1).map(|x| tape.leaf(x, [1])).collect();
    for (x, &expected) in all.iter().zip(&data) {
        assert_eq!(tape.value(*x), [expected]);
    }
    let product = tape.mul(all[3], all[15]);
    tape.backward(product, &mut []);
    assert_eq!(tape.grad(all[15]), Some(&data[3..4]));
    assert_eq!(tape.grad(all[14]), None);
}

#[test]
fn detached_and_unrecorded_tensors_are_constants() {
    let layout = Layout::builder().tensor("w", &[1], &["in"], Kind::Weight).build();
    let theta = numbers(16, 0.7);
    let mut grads = vec![0.0; 16];
    let mut workspace = Workspace::new(Threads::serial());
    let mut tape = workspace.tape(&layout, &theta);
    let w = tape.param("w");
    let constant = tape.detach(w);
    let square = tape.no_grad(|tape| tape.square(w));
    let a = tape.mul(w, constant);
    let b = tape.mul(a, square);
    tape.backward(b, &mut grads);
    assert_eq!(grads[0], theta[0] * (theta[0] * theta[0]));
}

/// Runs `f` on a tape with the parameters w0, …
fn with_tape(f: impl FnOnce(&mut Tape<'_, f64>)) {
    let layout = layout();
    let theta = numbers(layout.buffer_len(), 0.0);
    f(&mut Workspace::new(Threads::serial()).tape(&layout, &theta));
}

#[test]
#[should_panic(expected = "backward was called before on this tape")]
fn a_second_backward_pass_is_refused() {
    with_tape(|tape| {
        let w = tape.param("w0");
        let loss = tape.sum(w);
        let mut grads = vec![0.0; LAYERS * WIDTH * WIDTH];
        tape.backward(loss, &mut grads);
        tape.backward(loss, &mut grads);
    });
}

#[test]
#[should_panic(expected = "the loss has the shape [24, 24], not that of a single number")]
fn a_loss_of_many_numbers_is_refused() {
    with_tape(|tape| {
        let w = tape.param("w0");
        tape.backward(w, &mut vec![0.0; LAYERS * WIDTH * WIDTH]);
    });
}

#[test]
#[should_panic(expected = "these numbers were freed in the backward pass: call `keep`")]
fn numbers_that_were_freed_are_not_read() {
    with_tape(|tape| {
        let w = tape.param("w0");
        let (kept, square) = (tape.scale(w, 3.0), tape.square(w));
        tape.keep(kept);
        let loss = tape.sum(square);
        tape.backward(loss, &mut vec![0.0; LAYERS * WIDTH * WIDTH]);
        assert_eq!(tape.value(kept).len(), WIDTH * WIDTH);
        tape.value(square);
    });
}

#[test]
#[should_panic(expected = "this variable belongs to another step, or to a scope that has ended")]
fn a_variable_of_another_step_is_refused() {
    let layout = layout();
    let theta = numbers(layout.buffer_len(), 0.0);
    let mut workspace = Workspace::new(Threads::serial());
    let old = workspace.tape(&layout, &theta).param("w0");
    let mut tape = workspace.tape(&layout, &theta);
    tape.param("w0");
    tape.value(old);
}

#[test]
#[should_panic(expected = "backward: 16 numbers do not hold a gradient of 5184")]
fn a_short_gradient_is_refused() {
    with_tape(|tape| {
        let w = tape.param("w0");
        let loss = tape.sum(w);
        tape.backward(loss, &mut [0.0; 16]);
    });
}
