//! The command `thalweg`.

mod args;
mod cmd;
mod failure;
mod progress;
mod settings;
mod show;

use clap::Parser;

use crate::args::{Cli, Command};

fn main() {
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Demo(args) => cmd::demo::run(args),
        Command::Fit(args) => cmd::fit::run(args),
        Command::Evaluate(args) => cmd::evaluate::run(args),
        Command::Predict(args) => cmd::predict::run(args),
        Command::Export(args) => cmd::export::run(args),
        Command::Generate(args) => cmd::generate::run(args),
        Command::Compare(args) => cmd::compare::run(args),
        Command::Inspect(args) => cmd::inspect::run(args),
        Command::Data(args) => cmd::data::run(args),
        Command::Optimizers(args) => cmd::optimizers::run(args),
    };
    if let Err(failure) = done {
        failure.print();
        std::process::exit(failure.status());
    }
}
