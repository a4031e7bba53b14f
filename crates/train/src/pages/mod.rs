//! What a report says about each kind of work; [`crate::report`] writes it down.

mod fit;
mod function;

pub use fit::{FitPage, fit_page};
pub use function::function_page;
