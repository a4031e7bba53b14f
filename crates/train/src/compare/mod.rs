//! Optimizers side by side.

pub mod function;
pub mod search;
pub mod table;
