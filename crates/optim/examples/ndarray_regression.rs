//! A regression on parameters that are `ndarray` arrays, by Adam: `cargo run -p thalweg-optim --example ndarray_regression`
//!
//! y = X·w + b with X [64, 3]; the data lie on the plane, so the answer is known.

use ndarray::{Array1, Array2, Axis};
use thalweg_core::{Kind, Total};
use thalweg_optim::{Horizon, Stepper, TensorMut};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let x = Array2::from_shape_fn((64, 3), |(i, j)| ((i * (2 * j + 3) + j) % 17) as f64 / 8.0 - 1.0);
    let truth = Array1::from(vec![3.0, -2.0, 0.5]);
    let y = x.dot(&truth) + 4.0;

    let (mut w, mut b) = (Array1::<f64>::zeros(3), Array1::<f64>::zeros(1));
    let steps = 3000;
    let mut adam = Stepper::<f64>::builder("adam(lr=cosine(0.1))")
        .tensor("w", &[3], &["in"], Kind::Weight)
        .tensor("b", &[1], &["out"], Kind::Bias)
        .horizon(Horizon { steps, per_epoch: 1 })
        .build()?;
    for _ in 0..steps {
        // loss = ½ Σ (X·w + b − y)², a sum over 64 rows, and so are its gradients.
        let off = x.dot(&w) + b[0] - &y;
        let (w_grad, b_grad) = (x.t().dot(&off), Array1::from(vec![off.sum()]));
        let total = Total { loss: 0.5 * off.dot(&off), weight: x.len_of(Axis(0)) as f64 };
        let slice = "an array that owns its numbers in order";
        let tensors = [
            TensorMut::new(w.as_slice_mut().expect(slice), w_grad.as_slice().expect(slice)),
            TensorMut::new(b.as_slice_mut().expect(slice), b_grad.as_slice().expect(slice)),
        ];
        adam.step_tensors(tensors, total)?;
    }
    println!("w = {w:.6}, b = {:.6}", b[0]);
    // The rate falls to 0, so what is left is far below what any step of a fixed rate would leave.
    assert!((&w - &truth).iter().all(|off| off.abs() < 1e-6) && (b[0] - 4.0).abs() < 1e-6);
    Ok(())
}
