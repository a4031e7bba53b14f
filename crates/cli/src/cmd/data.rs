//! `thalweg data`: what a table holds.

use std::io::Write;

use thalweg_data::{ColumnSummary, Content};

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
    let (rows, columns) = (count(summary.rows as u64), summary.columns.len());
    writeln!(out, "{}: {rows} rows, {columns} columns\n", args.data.display())?;
    let head = ["column", "type", "missing", "distinct", "values"].map(String::from).to_vec();
    let lines = summary.columns.iter().map(|c| {
        vec![c.name.clone(), c.kind.to_string(), count(c.missing as u64), count(c.distinct as u64), values(c)]
    });
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(lines).collect();
    let table = show::table(&rows, &[Align::Left, Align::Left, Align::Right, Align::Right, Align::Left]);
    let width = show::width();
    for line in table.lines() {
        writeln!(out, "{}", show::cut(line, width))?;
    }
    for column in &summary.columns {
        if let Some(misfit) = &column.misfit {
            let is = if misfit.cells == 1 { "cell is" } else { "cells are" };
            writeln!(
                out,
                "{}: {} {is} no {}, the first in line {}: {:?}",
                column.name,
                count(misfit.cells as u64),
                column.kind,
                misfit.line,
                misfit.found
            )?;
        }
    }
    Ok(())
}

fn values(column: &ColumnSummary) -> String {
    match &column.content {
        Content::Empty => "none".into(),
        Content::Numbers { min, mean, max, .. } => {
            format!("{} to {}, mean {}", number(*min, 4), number(*max, 4), number(*mean, 4))
        }
        Content::Dates { first, last } => format!("{first} to {last}"),
        Content::Levels { top } => {
            let shown: Vec<String> =
                top.iter().map(|(level, n)| format!("{level} ({})", count(*n as u64))).collect();
            shown.join(", ")
        }
    }
}
