//! What a report says about each kind of work; [`crate::report`] writes it down.

mod compare;
mod fit;
mod function;
mod text;

pub use compare::{chosen, compare_page};
pub use fit::{FitPage, fit_page};
pub use function::function_page;
