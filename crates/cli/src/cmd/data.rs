//! `thalweg data`: what a table holds.

use std::io::Write;

use crate::args;
use crate::failure::Failure;
use crate::settings;
use crate::show::{self, Align, count, number};

/// Runs the subcommand.
pub fn run(args: &args::Data) -> Result<(), Failure> {
    let read = settings::read_options(&args.reading, vec![])?;
    let table = thalweg_data::read(&args.data, &read).map_err(Failure::run)?;
    let summary = thalweg_data::summary(&table);
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &summary).map_err(Failure::run)?;
        writeln!(out)?;
        return Ok(());
    }
    let _ = (show::width(), Align::Left, count(0), number(0.0, 1));
    Ok(())
}
