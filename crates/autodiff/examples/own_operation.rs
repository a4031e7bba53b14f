//! An operation of your own: the cumulative sum, and a level that is found by gradient descent through it.
//!
//!     cargo run -p thalweg-autodiff --example own_operation
//!
//! A level moves by small steps, `level_t = u_1 + … + u_t`, and is measured with noise. The steps are the parameters θ:
//! ```text
//! f(u) = ½ Σ (level_t − y_t)² + λ/2 Σ_{t ≥ 2} u_t²
//! ```
//! The minimum is known in closed form (a tridiagonal system), so the program can say how near it came.

use thalweg_autodiff::{Backward, Block, Forward, Inputs, Number, Op, Shape, Tape, Var, Workspace};
use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Kind, Layout, Threads};

/// `x [.., n] → [.., n]`: `y_t = x_1 + … + x_t` along the last axis. Backward: `dx_t += dy_t + … + dy_n`, the sum from the other end.
#[derive(Clone, Copy)]
struct CumulativeSum;

impl<N: Number> Op<N> for CumulativeSum {
    fn name(&self) -> &'static str {
        "cumulative_sum"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        assert!(!x.shape(0).is_empty(), "cumulative_sum: a single number has no axis to sum along");
        x.shape(0)
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let n = f.shape(0).last_size();
        for (y, x) in y.chunks_exact_mut(n).zip(f.x(0).chunks_exact(n)) {
            let mut sum = N::zero();
            for (y, &x) in y.iter_mut().zip(x) {
                sum = sum + x;
                *y = sum;
            }
        }
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let n = b.shape(0).last_size();
        // `None` when nobody asked for this gradient: nothing is computed then.
        let Some(slot) = b.grad(0) else { return };
        for (dx, dy) in slot.zeroed().chunks_exact_mut(n).zip(dy.chunks_exact(n)) {
            let mut sum = N::zero();
            for (dx, &dy) in dx.iter_mut().zip(dy).rev() {
                sum = sum + dy;
                *dx = *dx + sum;
            }
        }
    }
}

/// A method of the tape, as the built-in operations are.
trait Cumulative {
    fn cumulative_sum(&mut self, x: Var) -> Var;
}
impl<N: Number> Cumulative for Tape<'_, N> {
    fn cumulative_sum(&mut self, x: Var) -> Var {
        self.apply(CumulativeSum, &[x])
    }
}

const LAMBDA: f64 = 8.0;

/// f(u) for measurements y.
fn objective<N: Number>(tape: &mut Tape<'_, N>, y: Var) -> Var {
    let u = tape.param("u");
    let level = tape.cumulative_sum(u);
    let fit = tape.mse(level, y, None);
    let n = tape.shape(u)[0];
    let steps = tape.slice(u, 0, 1..n);
    let squares = tape.square(steps);
    let rough = tape.sum(squares);
    let rough = tape.scale(rough, LAMBDA / 2.0);
    tape.add(fit, rough)
}

/// The level that minimises f: `(I + λ DᵀD) level = y` with the differences D, by elimination along the diagonal.
fn closed_form(y: &[f64]) -> Vec<f64> {
    let n = y.len();
    let diagonal = |t: usize| 1.0 + LAMBDA * if t == 0 || t == n - 1 { 1.0 } else { 2.0 };
    let (mut c, mut level) = (vec![0.0; n], vec![0.0; n]);
    for t in 0..n {
        let (above, before) = if t == 0 { (0.0, 0.0) } else { (c[t - 1], level[t - 1]) };
        let pivot = diagonal(t) + LAMBDA * above;
        c[t] = -LAMBDA / pivot;
        level[t] = (y[t] + LAMBDA * before) / pivot;
    }
    for t in (0..n - 1).rev() {
        level[t] -= c[t] * level[t + 1];
    }
    level
}

/// Finds the level by gradient descent with momentum, and compares.
pub fn main() {
    let n = 60;
    let mut stream = Stream::new(0, Purpose::Data, 0);
    let mut level = 0.0;
    let measured = |_| {
        level += 0.3 * stream.normal();
        level + stream.normal()
    };
    let y: Vec<f64> = (0..n).map(measured).collect();
    let layout = Layout::builder().tensor("u", &[n], &["step"], Kind::Weight).build();
    let mut theta = vec![0.0; layout.buffer_len()];
    let (mut grads, mut velocity) = (theta.clone(), theta.clone());
    let mut workspace = Workspace::new(Threads::serial());

    // The operation's gradient against central differences, as every operation of one's own should be: f is a parabola, so they
    // are exact but for rounding, ε·f/h.
    theta.iter_mut().take(n).enumerate().for_each(|(t, u)| *u = 0.1 * libm::sin(t as f64));
    let mut value = |theta: &[f64]| {
        let mut tape = workspace.evaluation(&layout, theta);
        let y = tape.input(&y, [n]);
        let f = objective(&mut tape, y);
        tape.value(f)[0]
    };
    let h = 1e-4;
    let slopes: Vec<f64> = (0..n)
        .map(|t| {
            let mut at = |h: f64| {
                let mut theta = theta.clone();
                theta[t] += h;
                value(&theta)
            };
            (at(h) - at(-h)) / (2.0 * h)
        })
        .collect();
    for step in 0..1000 {
        grads.fill(0.0);
        let mut tape = workspace.tape(&layout, &theta);
        let target = tape.input(&y, [n]);
        let f = objective(&mut tape, target);
        tape.backward(f, &mut grads);
        if step % 250 == 0 {
            println!("step {step:4}: f = {:.6}", tape.value(f)[0]);
        }
        drop(tape);
        if step == 0 {
            assert!(
                grads.iter().zip(&slopes).all(|(g, slope)| (g - slope).abs() < 1e-6 * (1.0 + slope.abs()))
            );
        }
        for ((u, v), g) in theta.iter_mut().zip(&mut velocity).zip(&grads) {
            *v = 0.9 * *v - 1e-3 * g;
            *u += *v;
        }
    }

    let mut tape = workspace.evaluation(&layout, &theta);
    let u = tape.param("u");
    let found = tape.cumulative_sum(u);
    let exact = closed_form(&y);
    let apart = tape.value(found).iter().zip(&exact).fold(0.0f64, |top, (a, b)| top.max((a - b).abs()));
    println!("the level is at most {apart:.1e} from the closed form");
    assert!(apart < 1e-6, "{apart}");
}
