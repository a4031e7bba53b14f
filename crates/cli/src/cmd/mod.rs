//! One file for each subcommand.

pub mod compare;
pub mod data;
pub mod demo;
pub mod evaluate;
pub mod export;
pub mod fit;
pub mod generate;
pub mod inspect;
pub mod optimizers;
pub mod predict;
