//! What everything in Thalweg is built on.
//!
//! A model is a point θ in ℝⁿ: all parameters lie in one flat [`Buffer`], named by a [`Layout`]; an
//! [`Objective`] turns θ and a [`Batch`] into a loss and a gradient, an [`Optimizer`] turns the gradient into an
//! update. Around them: the [expression language](expr), [hyperparameters](hyper), [random streams](random),
//! [threads], [instruction sets](isa) and [vectorising mathematics](math).

pub mod batch;
pub mod bf16;
pub mod buffer;
pub mod expr;
pub mod gemm;
pub mod hyper;
pub mod isa;
pub mod lanes;
pub mod layout;
pub mod math;
pub mod memory;
pub mod objective;
pub mod optimizer;
pub mod pages;
pub mod params;
pub mod pattern;
mod processors;
pub mod random;
pub mod real;
pub mod suggest;
pub mod threads;

pub use batch::Batch;
pub use buffer::Buffer;
pub use layout::{Kind, Layout, Tensor};
pub use memory::Memory;
pub use objective::{Objective, Penalty, Total};
pub use optimizer::{At, Needs, NoOracle, Optimizer, Oracle, Report, StepError};
pub use params::{Grads, Params};
pub use real::{Float, Real};
pub use threads::Threads;
