//! `thalweg data`: what a table, a set of images or a text holds.

use std::io::Write;

use serde_json::json;
use thalweg_data::text::{Text, Unit};
use thalweg_data::{ColumnSummary, Content, ImageEncoder, Images, Note, Pixels};
use thalweg_train::source::{self, Source, Targets};
use thalweg_train::text::is_text;

use crate::args;
use crate::failure::Failure;
use crate::settings;
use crate::show::{self, Align, count, number};

/// Runs the subcommand.
pub fn run(args: &args::Data) -> Result<(), Failure> {
    let read = settings::read_options(&args.reading, vec![])?;
    let images = settings::image_options(&args.reading)?;
    let read = source::read(&args.data, Targets::IfThere, &read, &images, None).map_err(settings::failure);
    // A text makes no table, or one of a single column.
    let columns = read.as_ref().map_or(0, |(source, _)| match source {
        Source::Table(table) => table.columns().len(),
        Source::Images(_) => usize::MAX,
    });
    if columns < 2
        && is_text(&args.data)
        && let Ok((text, notes)) = Text::read(&args.data)
    {
        return letters(args, &text, &notes);
    }
    let (source, notes) = read?;
    let table = match source {
        Source::Table(table) => table,
        Source::Images(images) => return pictures(args, &images, &notes),
    };
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

/// What a text holds: how many characters, in how many lines, which most often.
fn letters(args: &args::Data, text: &Text, notes: &[Note]) -> Result<(), Failure> {
    const SHOWN: usize = 10;
    let counts = text.counts();
    let lines = text.lines();
    let units = if text.unit() == Unit::Character { "characters" } else { "bytes" };
    let name = |symbol: u32| match (text.unit(), char::from_u32(symbol)) {
        (Unit::Character, Some(' ')) => "space".into(),
        (Unit::Character, Some(c @ ('\'' | '"'))) => c.to_string(),
        (Unit::Character, Some(c)) => c.escape_debug().to_string(),
        _ => format!("0x{symbol:02x}"),
    };
    let mut often: Vec<(u32, usize)> = counts.iter().map(|(&symbol, &n)| (symbol, n)).collect();
    often.sort_by_key(|&(symbol, n)| (std::cmp::Reverse(n), symbol));
    let mut out = std::io::stdout().lock();
    if args.json {
        let symbols: Vec<_> =
            often.iter().map(|&(symbol, n)| json!({ "symbol": name(symbol), "count": n })).collect();
        let notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
        let document = json!({ units: text.len(), "lines": lines, "symbols": symbols, "notes": notes });
        serde_json::to_writer(&mut out, &document)?;
        writeln!(out)?;
        return Ok(());
    }
    notes.iter().for_each(|note| show::note(&note.to_string()));
    let data = args.data.display();
    let (all, distinct) = (count(text.len() as u64), show::counted(counts.len() as u64, "kind"));
    writeln!(
        out,
        "{data}: a text of {all} {units} in {}, {distinct} of {units}\n",
        show::counted(lines as u64, "line")
    )?;
    let share = |n: usize| format!("{:.1}%", 100.0 * n as f64 / text.len() as f64);
    let mut rows = vec![["most often", "times", "of all"].map(String::from).to_vec()];
    rows.extend(often.iter().take(SHOWN).map(|&(symbol, n)| vec![name(symbol), count(n as u64), share(n)]));
    write!(out, "{}", show::table(&rows, &[Align::Left, Align::Right, Align::Right]))?;
    Ok(())
}

/// What images hold: how many, how large, of which classes, how bright.
fn pictures(args: &args::Data, images: &Images, notes: &[String]) -> Result<(), Failure> {
    let Images { count: n, height, width, channels, ref classes, ref labels, .. } = *images;
    let mut of = vec![0u64; classes.len()];
    labels.iter().flatten().for_each(|&class| of[class as usize] += 1);
    let all: Vec<u32> = (0..n as u32).collect();
    let ImageEncoder { mean, mut scale, bytes, .. } =
        ImageEncoder::learn(images, &all, true).map_err(Failure::run)?;
    // An encoder divides what is constant by 1.
    (0..channels).filter(|&k| is_constant(images, k)).for_each(|k| scale[k] = 0.0);
    let mut out = std::io::stdout().lock();
    if args.json {
        let classes: Vec<_> =
            classes.iter().zip(&of).map(|(class, n)| json!({ "class": class, "images": n })).collect();
        let document = json!({
            "images": n,
            "height": height,
            "width": width,
            "channels": channels,
            "pixels": if bytes { "bytes" } else { "floats" },
            "mean": mean,
            "deviation": scale,
            "classes": labels.as_ref().map(|_| classes),
            "notes": notes,
        });
        serde_json::to_writer(&mut out, &document)?;
        writeln!(out)?;
        return Ok(());
    }
    notes.iter().for_each(|note| show::note(note));
    let planes = if channels == 1 { "channel" } else { "channels" };
    let data = args.data.display();
    writeln!(out, "{data}: {} images of {height} × {width} pixels, {channels} {planes}\n", count(n as u64))?;
    if labels.is_some() {
        let mut rows = vec![vec!["class".to_string(), "images".into()]];
        let most = show::width() - 16;
        rows.extend(classes.iter().zip(&of).map(|(class, &n)| vec![show::cut(class, most), count(n)]));
        writeln!(out, "{}", show::table(&rows, &[Align::Left, Align::Right]))?;
    }
    let unit = if bytes { "mean (of 1, which is full)" } else { "mean" };
    let mut rows = vec![vec!["channel".to_string(), unit.into(), "deviation".into()]];
    for (channel, (mean, scale)) in mean.iter().zip(&scale).enumerate() {
        rows.push(vec![(channel + 1).to_string(), number(*mean, 4), number(*scale, 4)]);
    }
    write!(out, "{}", show::table(&rows, &[Align::Right, Align::Right, Align::Right]))?;
    Ok(())
}

/// Whether a channel is the same in every pixel of every image.
fn is_constant(images: &Images, channel: usize) -> bool {
    fn same<T: PartialEq>(pixels: &[T], plane: usize, channels: usize, channel: usize) -> bool {
        let mut of = pixels.chunks_exact(plane).skip(channel).step_by(channels).flatten();
        let first = of.next();
        of.all(|x| Some(x) == first)
    }
    let plane = images.height * images.width;
    match &images.pixels {
        Pixels::Bytes(x) => same(x, plane, images.channels, channel),
        Pixels::Floats(x) => same(x, plane, images.channels, channel),
    }
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
