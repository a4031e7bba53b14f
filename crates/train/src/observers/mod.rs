//! Those who listen to a run.

mod history;
mod metrics_file;

pub use history::{History, Probe};
pub use metrics_file::MetricsFile;
