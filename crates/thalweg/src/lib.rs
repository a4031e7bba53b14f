//! Training by gradient descent on CPUs: fast, exact, reproducible to the bit.
//!
//! A model is a point θ in ℝⁿ, and training is
//!
//! ```text
//! loss(θ; batch)  →  gradient g  →  update u = rule(g)  →  θ ← θ + u
//! ```
//!
//! Each part is a crate of its own, re-exported here: [`core`] (flat parameters, objectives), [`optim`] (the step),
//! [`autodiff`] (the gradient of whatever you write), [`data`] (tables to batches), [`models`] (what is trained), [`train`] (the loop
//! around it).
//!
//! ```
//! use thalweg::prelude::*;
//!
//! // Least squares through three points, by full-batch gradient descent with momentum.
//! let shape = Shape { dense: 1, one_hot: 0, outputs: 1, intercept: true };
//! let model = Linear::<f64>::new(shape, Loss::SQUARED, Threads::serial());
//! let batch = Batch { dense: &[0.0, 1.0, 2.0], width: 1, target: &[1.0, 3.0, 5.0], ..Batch::NONE };
//!
//! let horizon = Horizon { steps: 200, per_epoch: 1 };
//! let setup = Setup { horizon, ..Setup::default() };
//! let mut optimizer = Plan::parse("momentum(lr=0.1)")?.build(model.layout(), &setup)?;
//! let mut theta = Params::zeros(model.layout());
//! let mut grads = Grads::zeros(model.layout());
//! for step in 1..=200 {
//!     model.gradient(&theta, &batch, &mut grads);
//!     optimizer.step(At { step, penalty: Penalty::default() }, &mut theta, &mut grads, &mut NoOracle)?;
//! }
//! assert!((theta.tensor("weight")[0] - 2.0).abs() < 1e-3); // y = 1 + 2x
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A network is an objective like any other, and one optimizer serves both:
//!
//! ```
//! use thalweg::prelude::*;
//!
//! // Exclusive or.
//! let spec = ModelSpec::parse("mlp(8, activation=tanh)")?;
//! let network = Network::<f32>::new(&spec, Input::numbers(2), Output::Row(1), Loss::LOGISTIC, 0)?;
//! let x = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
//! let batch = Batch { dense: &x, width: 2, target: &[0.0, 1.0, 1.0, 0.0], ..Batch::NONE };
//! let mut optimizer = Plan::parse("adam(lr=0.05)")?.build(network.layout(), &Setup::default())?;
//! let (mut theta, mut grads) = (network.init(), Grads::zeros(network.layout()));
//! for step in 1..=300 {
//!     network.gradient(&theta, &batch, &mut grads);
//!     optimizer.step(At { step, penalty: Penalty::default() }, &mut theta, &mut grads, &mut NoOracle)?;
//! }
//! assert!(network.loss(&theta, &batch).mean() < 0.05);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What no layer says, a [`Tape`](autodiff::Tape) does: write the forward pass in plain Rust, and the gradient follows.

pub use thalweg_autodiff as autodiff;
pub use thalweg_core as core;
pub use thalweg_data as data;
pub use thalweg_models as models;
pub use thalweg_optim as optim;
pub use thalweg_train as train;

/// What most programs need.
pub mod prelude {
    pub use thalweg_autodiff::{Activation, Dual, Number, Tape, Var, Workspace};
    pub use thalweg_core::{
        At, Batch, Float, Grads, Kind, Layout, NoOracle, Objective, Optimizer, Oracle, Params, Penalty,
        Report, Threads, Total,
    };
    pub use thalweg_models::linear::{Linear, Shape};
    pub use thalweg_models::losses::Loss;
    pub use thalweg_models::network::{Criterion, Input, ModelSpec, Network, Output};
    pub use thalweg_optim::{Horizon, Plan, Rule, Schedule, Setup};
    pub use thalweg_train::{Event, FitOptions, Fitted, Observer, Stop, fit};
}
