//! The optimizer step: update rules of gradient descent, run by one driver in one sweep over memory.
//!
//! Five ways in:
//!
//! - **Your own slices**: [`Stepper`] takes tensors wherever they lie, in three lines; the examples `ndarray_regression` and
//!   `nalgebra_regression` fit a line with it.
//! - **Slices**: [`step`] applies one rule to `theta`, `grad` and the rule's memory.
//! - **An expression**: [`Plan::parse`] reads `clip(1) | adamw(lr=cosine(3e-4, warmup=5%)) | ema(0.999)` and builds an
//!   [`Optimizer`](thalweg_core::Optimizer) over flat parameters.
//! - **Rows**: [`RowOptimizer`] takes gradients of a few rows of a table, as embeddings have them; [`Mixed`] such tables beside dense tensors.
//! - **A rule of your own**: implement [`Rule`]; the driver does the rest.
//!
//! [`state`] saves and restores what any of them remembers.
//!
//! ```
//! use thalweg_optim::{Rule, rules::Adam, step};
//! let (mut theta, mut m, mut v) = ([1.0, -2.0], [0.0; 2], [0.0; 2]);
//! for t in 1..=2000 {
//!     let grad = [2.0 * theta[0], 2.0 * theta[1]]; // of θ₀² + θ₁²
//!     step(&Adam::default().check()?, t, 0.05, &mut theta, &grad, [&mut m, &mut v])?;
//! }
//! assert!(theta.iter().all(|x: &f64| x.abs() < 1e-6));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod about;
mod arithmetic;
mod assembled;
mod block;
pub mod chain;
mod dither;
mod driver;
mod eigen;
mod elementwise;
pub mod format;
mod groups;
mod guard;
mod kept;
mod late;
mod method;
mod mixed;
mod norm;
mod oracles;
mod plan;
mod row_norm;
mod rows;
pub mod rule;
pub mod rules;
mod scaled;
pub mod schedule;
mod scratch;
pub mod state;
mod stepper;
mod tensorwise;
pub mod trace;
mod vector;
mod whole;

pub use driver::{Around, Gradient, Span, Sweep, Swept, step, sweep};
pub use format::{Format, View};
pub use groups::GroupError;
pub use mixed::{DenseMut, Evaluated, Mixed, MixedBuilder, MixedError, TableMut};
pub use norm::norm;
pub use plan::{Formula, Group, Plan, Setup};
pub use rows::{HISTORY, RowError, RowGrad, RowMode, RowOptimizer};
pub use rule::{Checked, HyperError, Rule, Scalar, Slot, When};
pub use schedule::{Horizon, Schedule};
pub use stepper::{Evaluate, Stepper, StepperBuilder, StepperError, TensorMut};
pub use trace::{Line, Trace};
