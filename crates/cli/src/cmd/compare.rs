//! `thalweg compare`: optimizers, rates or batch sizes side by side.

use crate::args;
use crate::failure::Failure;

mod function;
mod table;

/// Runs the subcommand.
pub fn run(args: &args::Compare) -> Result<(), Failure> {
    match &args.function {
        Some(name) => function::run(args, name),
        None => table::run(args),
    }
}
