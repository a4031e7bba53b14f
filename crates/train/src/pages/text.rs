//! The report of a run on text: how it went, how well the text is foreseen, what the model writes.

use super::fit::{FitPage, curves, layers, repeat};
use crate::generate::{Generator, Sampling, prompt};
use crate::model::Model;
use crate::report::{self, Code, Report, Section};
use crate::text::{Corpus, ORDER, title, unit};

/// Symbols that the model writes into the report at most.
const SAMPLE: u64 = 400;
/// Multiply-adds that this may take, or fewer symbols are written: about a second.
const WORK: u64 = 20_000_000_000;
/// Its temperature: a little below 1, at which small models stray.
const TEMPERATURE: f64 = 0.7;

/// The whole report.
pub(super) fn text_page(page: &FitPage<'_>, text: &Corpus, file: &str) -> Report {
    let FitPage { prepared, outcome, .. } = *page;
    let unit = unit(&text.vocabulary);
    let mut report = Report::new(format!("The text of {file}"));
    let shown = outcome.test.as_ref().or(outcome.valid.as_ref());
    let part = if outcome.test.is_some() {
        "of the test part, used for nothing else"
    } else {
        "of the validation part, which chose the weights"
    };
    report.score = shown.map(|scored| report::Score {
        metric: title(&text.vocabulary),
        value: scored.score.value,
        interval: scored.score.interval,
        baseline: scored.baseline.is_finite().then(|| (format!("{ORDER}-gram"), scored.baseline)),
        measured_on: format!("{} {unit}s {part}", scored.rows),
    });
    report.lead = format!(
        "A network that says the next {unit} from those before it, {} at a time, trained by gradient descent.",
        text.context
    );
    report
        .fact("loss", prepared.loss.to_string())
        .fact("optimizer", outcome.optimizer.clone())
        .fact("stopped", outcome.fitted.stop.to_string())
        .fact("epochs, steps", format!("{}, {}", outcome.fitted.epochs, outcome.fitted.steps))
        .fact(format!("training {unit}s"), text.train.symbols().len().to_string())
        .fact("vocabulary", text.vocabulary.len().to_string());
    report.section(curves(prepared, outcome));
    if let Some(written) = sample(&outcome.model, prepared.job.seed) {
        let intro = format!("From the beginning of a line, at temperature {TEMPERATURE}.");
        report.section(Section::new("What it writes").intro(intro).with(Code::new("A sample", written)));
    }
    if let Some(network) = outcome.model.network() {
        report.section(layers(network));
    }
    report.section(repeat(page));
    report
}

/// What the model writes when nothing is said, as long as a second allows.
fn sample(model: &Model, seed: u64) -> Option<String> {
    let (vocabulary, network) = (model.text.as_ref()?, model.network()?);
    let row: u64 = network.describe().iter().map(|row| row.multiply_adds).sum();
    let symbols = SAMPLE.min(WORK / row.max(1));
    let (start, _) = prompt(vocabulary, "").ok()?;
    let sampling = Sampling { temperature: TEMPERATURE, top_k: None, seed };
    let mut generator = Generator::new(model, &start, sampling).ok()?;
    let codes: Vec<u32> = (0..symbols).map_while(|_| generator.next().ok()).collect();
    (!codes.is_empty()).then(|| vocabulary.decode(&codes))
}
