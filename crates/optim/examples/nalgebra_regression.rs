//! A regression on a `nalgebra` vector, beside its own least squares: `cargo run -p thalweg-optim --example nalgebra_regression`
//!
//! y = X·w with noise, X [40, 2] with a column of ones.

use nalgebra::{DMatrix, DVector};
use thalweg_optim::Stepper;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let x = DMatrix::from_fn(40, 2, |i, j| if j == 0 { 1.0 } else { i as f64 / 20.0 - 1.0 });
    let noise = |i: usize| ((i * 7919) % 13) as f64 / 13.0 - 0.5;
    let y = DVector::from_fn(40, |i, _| 4.0 + 3.0 * x[(i, 1)] + noise(i));

    let mut w = DVector::zeros(2);
    let mut nesterov = Stepper::<f64>::new("nesterov(lr=0.2)")?;
    for _ in 0..500 {
        // The gradient of ½·mean (X·w − y)².
        let grad = x.tr_mul(&(&x * &w - &y)) / 40.0;
        nesterov.step(w.as_mut_slice(), grad.as_slice())?;
    }

    let normal = (x.tr_mul(&x)).lu().solve(&x.tr_mul(&y)).ok_or("the two columns are independent")?;
    println!("by gradient descent: {:.6} + {:.6} x", w[0], w[1]);
    println!("by least squares:    {:.6} + {:.6} x", normal[0], normal[1]);
    // 500 steps shrink the error by 0.9^500 or more; rounding is left.
    assert!((w - normal).norm() < 1e-12);
    Ok(())
}
