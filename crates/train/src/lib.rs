//! The training loop: fit, evaluate, compare, reports.

pub mod compare;
mod decide;
pub mod demo;
mod event;
mod fit;
pub mod generate;
pub mod images;
pub mod job;
pub mod metrics;
pub mod model;
mod network;
pub mod observers;
mod onnx;
mod oracle;
pub mod pages;
pub mod report;
pub mod run;
pub mod score;
pub mod source;
mod stop;
pub mod text;

pub use event::{EpochRecord, Event, Observer, StepRecord};
pub use fit::{Divergence, FitError, FitOptions, Fitted, Kept, Task, Valid, fit};
pub use stop::Stop;
