//! Text as a job: a network learns to say the next symbol, and is scored in bits.
//!
//! The parts of a text lie side by side in its own order, training first. A sequence is `context` symbols; what a network learns from
//! is drawn by [`Batches::sequences`], and how well it does is measured by windows that overlap by half: every symbol is foreseen
//! from at least the half of a context before it (from what there is, at the beginning), as it is when a text is written.
//! Beside it stands what a 5-gram with back-off gets, which counts the training part and is scored on the same symbols.

use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use thalweg_core::math::{Elementary, sum_by};
use thalweg_core::{Batch, Params, Penalty, Threads};
use thalweg_data::input::{self, Kind};
use thalweg_data::text::{MIN_CHARACTER_COUNT, NGram, Smoothing, Text, TextParts, Unit, Vocabulary};
use thalweg_data::{Batches, ClassWeight, DataError, Dataset, Encoder, Part, Split, SplitBy, TextError};
use thalweg_models::losses::Loss;
use thalweg_models::network::{Input, ModelSpec, Network};

use crate::decide::{batch_of, check_files};
use crate::job::{Job, JobError, Prepared};
use crate::metrics::{Metric, Score, bits_per_symbol};
use crate::model::Model;
use crate::network::Init;
use crate::score::{Judged, Scored};

/// The model where nobody names one.
pub const DEFAULT_MODEL: &str = "gru(128)";
/// Symbols of a sequence where nobody says how many.
pub const CONTEXT: usize = 64;
/// Symbols of a sequence at most.
pub const MOST_CONTEXT: usize = 1 << 16;
/// The optimizer, the curve of its rate and its rate where nobody names one. A small network that reads text bears more than an
/// image's; the first steps are small, since they see nothing but the commonest symbols.
pub(crate) const OPTIMIZER: &str = "clip(1) | adamw";
pub(crate) const SCHEDULE: &str = "cosine(warmup=2%)";
pub(crate) const RATE: f64 = 0.003;
/// Symbols that training sees in all passes together, where nobody says how many passes: then as many as that takes, but
const SEEN: usize = 12_000_000;
/// so many at most,
const MOST_EPOCHS: usize = 30;
/// unless these are few steps.
const LEAST_STEPS: usize = 1000;
/// The n of the n-gram that stands beside a score.
pub const ORDER: usize = 5;
/// Training symbols that are scored at most: enough for two digits.
const SCORED_IN_TRAINING: usize = 1 << 17;
/// Outputs of a network that are looked at at a time.
const OUTPUTS: usize = 1 << 20;
/// Windows that are looked at at a time at most.
const WINDOWS: usize = 256;

/// What a file's name ends with when it holds no text: tables, arrays, images, packed files.
const NO_TEXT: [&str; 20] = [
    "csv", "tsv", "tab", "parquet", "arrow", "feather", "libsvm", "svm", "xlsx", "ods", "npy", "npz", "png",
    "jpg", "jpeg", "gz", "zip", "zst", "xz", "bz2",
];

/// Whether a file is taken as text where no target is named: unless its name says that it is something else.
pub fn is_text(file: &Path) -> bool {
    let ending = file.extension().map(|e| e.to_string_lossy().to_lowercase());
    let other = ending.is_some_and(|e| NO_TEXT.contains(&e.as_str()));
    !other && input::kind(file) == Kind::Table
}

/// Symbols that lie side by side, with room behind them for the sequence that begins at the last one.
#[derive(Clone, Debug)]
pub struct Stretch {
    codes: Vec<u32>,
    len: usize,
    context: usize,
    /// Where sequences begin that follow each other: every symbol but the first is a target of one of them.
    starts: Vec<u32>,
}

impl Stretch {
    /// `codes` in sequences of `context`.
    ///
    /// # Errors
    /// Fewer than two symbols (`part` is for the message), or more than 2³² − 1.
    pub fn new(part: &str, mut codes: Vec<u32>, context: usize) -> Result<Self, TextError> {
        let len = codes.len();
        if len < 2 {
            return Err(TextError::TooShort { part: part.into(), found: len, context: 1 });
        }
        let end = u32::try_from(len).map_err(|_| TextError::TooLong { found: len })?;
        codes.resize(len + context, Batch::<f32>::UNSEEN);
        let starts = (0..end - 1).step_by(context).collect();
        Ok(Self { codes, len, context, starts })
    }

    /// The symbols.
    pub fn symbols(&self) -> &[u32] {
        &self.codes[..self.len]
    }

    /// All of it: sequences that follow each other.
    pub fn batch(&self) -> Batch<'_, f32> {
        Batch { codes: &self.codes, code_width: 1, index: Some(&self.starts), ..Batch::NONE }
    }

    /// How many symbols have one before them: those that can be foreseen.
    pub fn targets(&self) -> usize {
        self.len - 1
    }

    /// −log₂ p of each symbol but the first, told in their order as `(place, bits)`.
    ///
    /// Windows of `context` symbols begin half a context apart; of each but the first, the later half is told.
    pub fn foresee(&self, network: &Network<f32>, theta: &Params<f32>, mut tell: impl FnMut(usize, f64)) {
        let (context, outputs) = (self.context, network.outputs());
        let apart = (context / 2).max(1);
        let count = 1 + self.targets().saturating_sub(context).div_ceil(apart);
        let starts: Vec<u32> = (0..count).map(|i| (i * apart) as u32).collect();
        let at_a_time = (OUTPUTS / (context * outputs)).clamp(1, WINDOWS);
        let mut z = vec![0.0f32; at_a_time.min(count) * context * outputs];
        for windows in starts.chunks(at_a_time) {
            let batch = Batch { index: Some(windows), ..self.batch() };
            let z = &mut z[..windows.len() * context * outputs];
            network.scores(theta, &batch, z);
            for (&start, z) in windows.iter().zip(z.chunks_exact(context * outputs)) {
                let first = if start == 0 { 0 } else { context - apart };
                for (place, z) in z.chunks_exact(outputs).enumerate().skip(first) {
                    let at = start as usize + place + 1;
                    if at < self.len {
                        tell(at, bits(z, self.codes[at]));
                    }
                }
            }
        }
    }

    /// The mean of −log₂ p over all symbols but the first.
    pub fn score(&self, network: &Network<f32>, theta: &Params<f32>) -> Score {
        // Neighbours depend on each other: the interval is that of blocks.
        let block = isqrt_up(self.targets());
        let mut blocks: Vec<(f64, f64)> = Vec::new();
        self.foresee(network, theta, |at, bits| {
            if (at - 1) % block == 0 {
                blocks.push((0.0, 0.0));
            }
            if let Some((sum, count)) = blocks.last_mut() {
                (*sum, *count) = (*sum + bits, *count + 1.0);
            }
        });
        bits_per_symbol(&blocks)
    }
}

/// ⌈√n⌉, at least 1.
fn isqrt_up(n: usize) -> usize {
    let root = n.isqrt();
    (root + usize::from(root * root < n)).max(1)
}

/// −log₂ of the probability of one symbol: `(ln Σ exp(z − max) + max − z[symbol]) / ln 2`, in f64.
fn bits(z: &[f32], symbol: u32) -> f64 {
    let top = f64::from(z.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum = sum_by(z, |x| Elementary::exp(x - top));
    (Elementary::ln(sum) + top - f64::from(z[symbol as usize])) * std::f64::consts::LOG2_E
}

/// A text in its parts.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// Symbols to numbers, learnt on the training part.
    pub vocabulary: Vocabulary,
    /// Symbols of a sequence.
    pub context: usize,
    /// Where the parts of the file lie, in symbols; one that comes from a file of its own is empty.
    pub parts: TextParts,
    /// What is learnt from.
    pub train: Stretch,
    /// What early stopping looks at.
    pub valid: Option<Stretch>,
    /// What gives the score.
    pub test: Option<Stretch>,
    /// How many sequences an epoch has.
    pub sequences: usize,
}

impl Corpus {
    /// What a network of it takes.
    pub fn input(&self) -> Input {
        Input::Tokens { vocabulary: self.vocabulary.len(), context: self.context }
    }

    /// The order in which training sees it.
    ///
    /// # Errors
    /// As [`Batches::sequences`].
    pub fn batches(&self, batch: usize, seed: u64) -> Result<Batches, TextError> {
        Batches::sequences(self.train.len, self.context, batch, seed)
    }

    /// The parts as CSV: `part,from,to`, symbols of the file counted from 0, `to` not among them.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_parts(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "part,from,to")?;
        let TextParts { train, valid, test } = &self.parts;
        let parts: [(&str, &Range<usize>); 3] = [("train", train), ("valid", valid), ("test", test)];
        parts
            .into_iter()
            .filter(|(_, range)| !range.is_empty())
            .try_for_each(|(name, range)| writeln!(to, "{name},{},{}", range.start, range.end))
    }
}

/// What a symbol is called.
pub fn unit(vocabulary: &Vocabulary) -> &'static str {
    match vocabulary.unit() {
        Unit::Character => "character",
        Unit::Byte => "byte",
    }
}

/// What the score is called: bits per character, or per byte.
pub fn title(vocabulary: &Vocabulary) -> String {
    format!("bits per {}", unit(vocabulary))
}

/// Whether a job is one of text.
pub(crate) fn is_asked(job: &Job) -> bool {
    job.target.is_empty() && is_text(&job.data)
}

/// Refuses settings that say something else than text understands.
fn check(job: &Job) -> Result<(), JobError> {
    let learn = &job.learn;
    let wrong = [
        ("--weight", learn.weight.is_some()),
        ("--types", !learn.types.is_empty()),
        ("--keep", !learn.keep.is_empty()),
        ("--ignore", !learn.ignore.is_empty()),
        ("--task", job.task.is_some()),
        ("--class-weight", job.class_weight != ClassWeight::None),
        ("--delimiter", job.read.delimiter.is_some()),
        ("--header", job.read.header.is_some()),
        ("--missing", !job.read.missing.is_empty()),
        ("--no-standardise", learn.raw),
        ("a column in --split", matches!(job.split, SplitBy::Column(_))),
    ];
    let file = job.data.display();
    let images = [
        ("--resize", job.images.resize.is_some()),
        ("--grey", job.images.grey),
        ("--channels", job.images.channels.is_some()),
    ];
    if let Some((flag, _)) = images.iter().find(|(_, given)| *given) {
        return Err(JobError::Setting(format!("{flag} is for images, and {file} is read as text")));
    }
    if let Some((flag, _)) = wrong.iter().find(|(_, given)| *given) {
        return Err(JobError::Setting(format!(
            "{flag} is for tables, and {file} is read as text; for a table say --target COL"
        )));
    }
    if let Some(loss) = job.loss.filter(|&loss| loss != Loss::SOFTMAX) {
        return Err(JobError::Setting(format!("text is learnt with the softmax loss, not with {loss}")));
    }
    if let Some(metric) = job.metric.filter(|m| !m.is_for_text()) {
        let own = Metric::BitsPerCharacter.name();
        return Err(JobError::Setting(format!("the metric of text is {own}, not {}", metric.name())));
    }
    if job.plan.as_ref().is_some_and(|plan| plan.needs().rows) {
        return Err(JobError::Setting(
            "svrg and saga go back to single rows, and the sequences of a text begin elsewhere in each epoch; \
             take adamw"
                .into(),
        ));
    }
    check_files(job)
}

/// Symbols of a sequence: what the flag or the model says, which must not differ.
fn context_of(job: &Job, spec: &ModelSpec) -> Result<usize, JobError> {
    let context = match (job.context, spec.context()) {
        (Some(flag), Some(model)) if flag != model => {
            return Err(JobError::Setting(format!(
                "--context {flag} and context={model} in --model say different things; leave one out"
            )));
        }
        (flag, model) => flag.or(model).unwrap_or(CONTEXT),
    };
    if !(1..=MOST_CONTEXT).contains(&context) {
        return Err(JobError::Setting(format!(
            "the context must be from 1 to {MOST_CONTEXT} symbols, got {context}"
        )));
    }
    Ok(context)
}

/// Reads and cuts a text, and decides what was left open.
pub(crate) fn prepare(mut job: Job) -> Result<Prepared, JobError> {
    check(&job)?;
    let default = || ModelSpec::parse(DEFAULT_MODEL).map_err(|e| JobError::Setting(e.to_string()));
    let spec = job.model.clone().map_or_else(default, Ok)?;
    let context = context_of(&job, &spec)?;
    (job.model, job.context) = (Some(spec), Some(context));
    let wrap = |error: TextError| JobError::from(DataError::from(error));
    let (text, said) = Text::read(&job.data).map_err(wrap)?;
    let parts = text.cut(job.valid.fraction(), job.test.fraction()).map_err(wrap)?;
    let (vocabulary, pooled) = Vocabulary::learn(&text, parts.train.clone(), MIN_CHARACTER_COUNT);
    if vocabulary.len() < 2 {
        let error = TextError::AllRare { file: job.data.clone(), least: MIN_CHARACTER_COUNT };
        return Err(wrap(error));
    }
    let mut notes = vec![format!(
        "text: {} {}s, {} in training; for a table say --target COL",
        text.len(),
        unit(&vocabulary),
        match vocabulary.unit() {
            Unit::Character => format!("{} different ones", vocabulary.characters().len()),
            Unit::Byte => format!("{} of them", parts.train.len()),
        }
    )];
    notes.extend(said.iter().chain(&pooled).map(ToString::to_string));
    let train = vocabulary.encode(&text, parts.train.clone());
    let sequences = Batches::sequences(train.len(), context, 1, job.seed).map_err(wrap)?.per_epoch();
    let mut part = |name: &str, part: &Part, range: &Range<usize>| {
        let codes = match part {
            Part::File(file) => {
                let (other, said) = read_for(&vocabulary, file).map_err(wrap)?;
                notes.extend(said);
                vocabulary.encode(&other, 0..other.len())
            }
            _ if range.is_empty() => return Ok(None),
            _ => vocabulary.encode(&text, range.clone()),
        };
        let others = others(&vocabulary, &codes);
        if others > 0 {
            notes.push(format!("{others} characters of the {name} part count as \"other\""));
        }
        Stretch::new(name, codes, context).map(Some).map_err(wrap)
    };
    let valid = part("validation", &job.valid, &parts.valid)?;
    let test = part("test", &job.test, &parts.test)?;
    let batch = batch_of(&job, sequences, &mut notes)?;
    let symbols = train.len();
    let train = Stretch::new("training", train, context).map_err(wrap)?;
    let corpus = Corpus { vocabulary, context, parts, train, valid, test, sequences };
    let mut prepared = Prepared {
        encoder: no_columns(),
        images: None,
        text: Some(corpus),
        split: Split::default(),
        train: no_rows(),
        valid: None,
        test: None,
        loss: Loss::SOFTMAX,
        metric: Metric::BitsPerCharacter,
        penalty: Penalty { l1: job.l1, l2: job.l2.unwrap_or(0.0) },
        batch,
        epochs: job.epochs.unwrap_or_else(|| epochs(symbols, sequences.div_ceil(batch.of(sequences)))),
        notes,
        answer: vec![],
        class_weights: None,
        init: None,
        job,
    };
    let Some(network) = prepared.network(&Threads::serial())? else { return Ok(prepared) };
    if looks_ahead(&network) {
        return Err(JobError::Setting(format!(
            "{} sees what comes behind a {}, which is what it has to say; leave out causal=false and convolutions",
            network.spec(),
            prepared.text.as_ref().map_or("symbol", |text| unit(&text.vocabulary))
        )));
    }
    prepared.init = prepared.job.init.as_deref().map(|file| Init::read(&network, file)).transpose()?;
    Ok(prepared)
}

/// Passes over a text of so many symbols where nobody says how many.
fn epochs(symbols: usize, steps: usize) -> u64 {
    let passes = SEEN.div_ceil(symbols.max(1)).clamp(1, MOST_EPOCHS);
    passes.max(LEAST_STEPS.div_ceil(steps.max(1))) as u64
}

/// Reads a text for a model with that vocabulary, and what is to be said of it.
///
/// # Errors
/// As [`Text::read`].
pub fn read_for(vocabulary: &Vocabulary, file: &Path) -> Result<(Text, Vec<String>), TextError> {
    let (text, said) = Text::read(file)?;
    let said = match (vocabulary.unit(), text.unit()) {
        (Unit::Character, Unit::Byte) => vec![format!(
            "{}: this is not valid UTF-8, and the model knows characters: what is none counts as \"other\"",
            file.display()
        )],
        (Unit::Byte, Unit::Character) => vec![],
        _ => said.iter().map(|note| format!("{}: {note}", file.display())).collect(),
    };
    Ok((text, said))
}

/// How many symbols are characters that have no number of their own.
fn others(vocabulary: &Vocabulary, codes: &[u32]) -> usize {
    codes.iter().filter(|&&code| Some(code) == vocabulary.other()).count()
}

/// An encoder of no table.
fn no_columns() -> Encoder {
    Encoder { columns: vec![], target: None, weight: None }
}

fn no_rows() -> Dataset<f64> {
    Dataset {
        dense: vec![],
        width: 0,
        codes: vec![],
        code_width: 0,
        target: vec![],
        weight: None,
        rows: vec![],
        pixels: None,
    }
}

/// Whether what a network says at some place depends on a symbol behind it.
fn looks_ahead(network: &Network<f32>) -> bool {
    let &Input::Tokens { vocabulary, context } = network.input() else { return false };
    let theta = network.init();
    let scores = |last: u32| {
        let mut codes: Vec<u32> = (0..context).map(|i| (i % vocabulary) as u32).collect();
        codes[context - 1] = last;
        let mut z = vec![0.0f32; context * vocabulary];
        let batch = Batch { codes: &codes, code_width: context, index: Some(&[0]), ..Batch::NONE };
        network.scores(&theta, &batch, &mut z);
        z.truncate((context - 1) * vocabulary);
        z
    };
    scores(0) != scores(1)
}

/// What a network is scored on, and what it gets.
pub(crate) struct Scores {
    pub train: Score,
    pub valid: Option<Scored>,
    pub test: Option<Scored>,
    pub test_loss: Option<f64>,
}

impl Corpus {
    /// Scores a model on each part, beside the n-gram of the training part.
    pub(crate) fn scores(&self, model: &Model) -> Option<Scores> {
        let network = model.network()?;
        let theta = model.narrowed();
        let ngram = || NGram::learn(self.train.symbols(), self.vocabulary.len(), ORDER, Smoothing::KneserNey);
        let ngram = (self.valid.is_some() || self.test.is_some()).then(ngram);
        let scored = |stretch: &Stretch| {
            let score = stretch.score(network, &theta);
            // The first symbol is foreseen by nobody.
            let [first, all] = [1, stretch.len].map(|n| match &ngram {
                Some(ngram) => ngram.bits(&stretch.symbols()[..n]),
                None => f64::NAN,
            });
            Scored {
                score,
                baseline: (all - first) / stretch.targets() as f64,
                all: vec![score],
                rows: stretch.targets(),
                judged: Judged::default(),
            }
        };
        let some = self.train.len.min(SCORED_IN_TRAINING);
        let train = Stretch::new("training", self.train.symbols()[..some].to_vec(), self.context).ok()?;
        let test = self.test.as_ref().map(scored);
        Some(Scores {
            train: train.score(network, &theta),
            valid: self.valid.as_ref().map(scored),
            test_loss: test.as_ref().map(|scored| nats(scored.score)),
            test,
        })
    }
}

/// How well a saved model foresees a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Foreseen {
    /// Bits per symbol.
    pub score: Score,
    /// The same as a loss: in nats.
    pub loss: f64,
    /// How many symbols were scored: all but the first.
    pub symbols: usize,
    /// How many of the text's characters have no number of their own.
    pub others: usize,
}

/// Scores a model of text on another text; none if it is not one of text.
///
/// # Errors
/// A text of one symbol.
pub fn evaluate(model: &Model, text: &Text) -> Option<Result<Foreseen, TextError>> {
    let (vocabulary, network) = (model.text.as_ref()?, model.network()?);
    let &Input::Tokens { context, .. } = network.input() else { return None };
    let theta = model.narrowed();
    let codes = vocabulary.encode(text, 0..text.len());
    let others = others(vocabulary, &codes);
    let stretch = Stretch::new("scored", codes, context);
    Some(stretch.map(|stretch| {
        let score = stretch.score(network, &theta);
        Foreseen { score, loss: nats(score), symbols: stretch.targets(), others }
    }))
}

/// Bits as the loss that they are.
fn nats(bits: Score) -> f64 {
    bits.value * std::f64::consts::LN_2
}
