//! `thalweg generate`: a saved model of text goes on with a prompt.

use std::io::{self, Write};
use std::time::Instant;

use serde_json::json;
use thalweg_core::Threads;
use thalweg_train::generate::{GenerateError, Generator, Sampling, prompt};
use thalweg_train::model::Model;
use thalweg_train::text::unit;

use crate::args;
use crate::failure::Failure;
use crate::show;

/// Runs the subcommand.
pub fn run(args: &args::Generate) -> Result<(), Failure> {
    let began = Instant::now();
    if !(args.temperature >= 0.0 && args.temperature.is_finite()) {
        let message = format!("--temperature must be in [0, ∞), got {}", args.temperature);
        return Err(Failure::usage(message));
    }
    let model = Model::load(&args.model, &Threads::new(args.threads)).map_err(Failure::run)?;
    let Some(vocabulary) = &model.text else {
        return Err(Failure::usage(GenerateError::NotText { target: model.target().into() }));
    };
    let given = args.prompt.as_deref().unwrap_or_default();
    let (codes, note) = prompt(vocabulary, given).map_err(Failure::run)?;
    note.iter().for_each(|note| show::note(note));
    let sampling = Sampling { temperature: args.temperature, top_k: args.top_k, seed: args.seed };
    let mut generator = Generator::new(&model, &codes, sampling).map_err(Failure::run)?;
    if args.json {
        let codes: Result<Vec<u32>, _> = (0..args.length).map(|_| generator.next()).collect();
        let document = json!({
            "prompt": given,
            "text": vocabulary.decode(&codes.map_err(Failure::run)?),
            "unit": unit(vocabulary),
            "length": args.length,
            "temperature": args.temperature,
            "top_k": args.top_k,
            "seed": args.seed,
            "model": model.expression(),
            "seconds": began.elapsed().as_secs_f64(),
            "run": args.model,
        });
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, &document)?;
        return Ok(writeln!(out)?);
    }
    // Each character is shown when it is there.
    let mut out = io::stdout().lock();
    out.write_all(given.as_bytes())?;
    let mut bytes = Vec::new();
    for _ in 0..args.length {
        bytes.clear();
        vocabulary.write(generator.next().map_err(Failure::run)?, &mut bytes);
        out.write_all(&bytes)?;
        out.flush()?;
    }
    Ok(writeln!(out)?)
}
