//! The demonstration: y = 4 + 3x by gradient descent and by Adam, beside the closed form and the theory.

use std::sync::Arc;

use serde::Serialize;
use thalweg_core::expr::ExprError;
use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{At, Batch, Grads, Layout, NoOracle, Objective, Params, Penalty, Threads};
use thalweg_models::linear::{Linear, Shape};
use thalweg_models::losses::Loss;
use thalweg_optim::{Horizon, Plan, Setup};

/// How many points are drawn.
pub const POINTS: usize = 100;
/// A path has arrived when it is this near to the closed form, as a share of the closed form's length.
pub const NEAR: f64 = 1e-4;

/// A line a + b·x.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Where it meets x = 0.
    pub intercept: f64,
    /// Its slope.
    pub slope: f64,
}

impl Line {
    fn distance(self, other: Line) -> f64 {
        let (a, b) = (self.intercept - other.intercept, self.slope - other.slope);
        (a * a + b * b).sqrt()
    }
    /// The length of (intercept, slope).
    fn norm(self) -> f64 {
        self.distance(Line { intercept: 0.0, slope: 0.0 })
    }
}

/// One optimizer's way from zero.
#[derive(Clone, Debug, Serialize)]
pub struct Path {
    /// Its name for people.
    pub name: String,
    /// Its expression.
    pub optimizer: String,
    /// The loss ½·mean (ŷ − y)² before each step, and after the last.
    pub losses: Vec<f64>,
    /// Where it ends.
    pub end: Line,
    /// The first step after which it stays near the closed form.
    pub arrived: Option<usize>,
}

/// Everything the demonstration shows.
#[derive(Clone, Debug, Serialize)]
pub struct Demo {
    /// The points' x, uniform on [0, 2).
    pub x: Vec<f64>,
    /// y = 4 + 3x + a standard normal.
    pub y: Vec<f64>,
    /// The least-squares line in closed form.
    pub exact: Line,
    /// Its loss.
    pub exact_loss: f64,
    /// The largest eigenvalue of the Hessian XᵀX/m: the steepest curvature.
    pub l: f64,
    /// The smallest.
    pub mu: f64,
    /// L/μ.
    pub kappa: f64,
    /// The steps that gradient descent at 1/L needs to come [`NEAR`], by theory.
    pub predicted_steps: usize,
    /// Gradient descent at 1/L.
    pub gd: Path,
    /// Adam at 0.1.
    pub adam: Path,
    /// Gradient descent at the textbook's 0.01.
    pub slow_gd: Path,
    /// Adam at 0.01.
    pub slow_adam: Path,
    /// The steps that gradient descent at 0.01 would need, by theory.
    pub slow_predicted_steps: usize,
}

/// Draws the points of `seed` and walks all four paths of `steps` steps.
///
/// # Errors
/// An optimizer expression of ours that does not parse: a bug.
pub fn demo(seed: u64, steps: usize) -> Result<Demo, ExprError> {
    let mut stream = Stream::new(seed, Purpose::Data, 0);
    let x: Vec<f64> = (0..POINTS).map(|_| 2.0 * stream.uniform()).collect();
    let y: Vec<f64> = x.iter().map(|x| 4.0 + 3.0 * x + stream.normal()).collect();
    let m = POINTS as f64;
    let mean = |f: &dyn Fn(usize) -> f64| (0..POINTS).map(f).sum::<f64>() / m;
    let (mx, my) = (mean(&|i| x[i]), mean(&|i| y[i]));
    let slope = mean(&|i| (x[i] - mx) * (y[i] - my)) / mean(&|i| (x[i] - mx) * (x[i] - mx));
    let exact = Line { intercept: my - slope * mx, slope };

    // The Hessian is [[1, mean x], [mean x, mean x²]]: its eigenvalues in closed form.
    let mxx = mean(&|i| x[i] * x[i]);
    let (half, det) = ((1.0 + mxx) / 2.0, mxx - mx * mx);
    let l = half + (half * half - det).sqrt();
    let mu = det / l;

    let shape = Shape { dense: 1, one_hot: 0, outputs: 1, intercept: true };
    let model = Linear::<f64>::new(shape, Loss::SQUARED, Threads::serial());
    let batch = Batch { dense: &x, width: 1, target: &y, ..Batch::NONE };
    let exact_loss = mean(&|i| {
        let r = exact.intercept + exact.slope * x[i] - y[i];
        0.5 * r * r
    });
    let walk = |name: &str, optimizer: &str| walk(&model, &batch, name, optimizer, steps, exact);
    Ok(Demo {
        exact,
        exact_loss,
        l,
        mu,
        kappa: l / mu,
        predicted_steps: predicted_steps(1.0 / l, mu),
        gd: walk("gradient descent, 1/L", &format!("gd(lr={})", 1.0 / l))?,
        adam: walk("Adam, 0.1", "adam(lr=0.1)")?,
        slow_gd: walk("gradient descent, 0.01", "gd(lr=0.01)")?,
        slow_adam: walk("Adam, 0.01", "adam(lr=0.01)")?,
        slow_predicted_steps: predicted_steps(0.01, mu),
        x,
        y,
    })
}

/// Gradient descent shrinks the error along the flattest direction by 1 − lr·μ a step (and along the others by more): the
/// steps after which a share [`NEAR`] is left.
fn predicted_steps(lr: f64, mu: f64) -> usize {
    (libm::log(NEAR) / libm::log(1.0 - lr * mu)).ceil() as usize
}

fn walk(
    model: &Linear<f64>,
    batch: &Batch<'_, f64>,
    name: &str,
    optimizer: &str,
    steps: usize,
    exact: Line,
) -> Result<Path, ExprError> {
    let layout: &Arc<Layout> = Objective::<f64>::layout(model);
    let horizon = Horizon { steps: steps as u64, per_epoch: 1 };
    let setup = Setup { horizon, threads: Threads::serial(), decay_biases: false, ..Setup::default() };
    let mut rule =
        Plan::parse(optimizer)?.build::<f64>(layout, &setup).expect("all tensors are in one group");
    let mut theta = Params::zeros(layout);
    let mut grads = Grads::zeros(layout);
    let mut losses = Vec::with_capacity(steps + 1);
    let mut arrived = None;
    let line =
        |theta: &Params<f64>| Line { intercept: theta.tensor("bias")[0], slope: theta.tensor("weight")[0] };
    for t in 1..=steps {
        losses.push(model.gradient(&theta, batch, &mut grads).mean());
        let at = At { step: t as u64, penalty: Penalty::default() };
        rule.step(at, &mut theta, &mut grads, &mut NoOracle).expect("the layouts are one");
        if line(&theta).distance(exact) > NEAR * exact.norm() {
            arrived = None;
        } else if arrived.is_none() {
            arrived = Some(t);
        }
    }
    losses.push(model.loss(&theta, batch).mean());
    Ok(Path { name: name.into(), optimizer: optimizer.into(), losses, end: line(&theta), arrived })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn theory_and_practice_agree() {
        let demo = demo(42, 1000).unwrap();
        let taken = demo.gd.arrived.unwrap();
        // From zero the error's share along the flattest direction is below 1, so theory is an upper bound, and near.
        assert!(
            taken <= demo.predicted_steps && 2 * taken > demo.predicted_steps,
            "{taken} {}",
            demo.predicted_steps
        );
        assert!(demo.gd.end.distance(demo.exact) < 1e-9);
        assert!(demo.adam.end.distance(demo.exact) < 1e-3);
        assert!(demo.slow_gd.arrived.is_none() && demo.slow_adam.arrived.is_none());
        assert!((demo.gd.losses[1000] - demo.exact_loss).abs() < 1e-12);
    }
}
