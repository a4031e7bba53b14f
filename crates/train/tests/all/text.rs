//! Text: what a network is scored by, that it is saved whole, and that it writes what it has learnt.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use thalweg_core::{Batch, Objective, Params, Threads};
use thalweg_data::text::{NGram, Smoothing, Text};
use thalweg_data::{BatchSize, Part};
use thalweg_models::losses::Loss;
use thalweg_models::network::{Input, ModelSpec, Network, Output};
use thalweg_train::generate::{GenerateError, Generator, Sampling, prompt};
use thalweg_train::job::{Job, Outcome, Prepared, TrainOptions};
use thalweg_train::metrics::Metric;
use thalweg_train::model::Model;
use thalweg_train::text;

use crate::common::{Recorder, alone, bits, job, plan};

/// A text in a file of its own.
struct Book {
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Book {
    fn new(bytes: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("book.txt");
        std::fs::write(&file, bytes).unwrap();
        Self { file, _folder: folder }
    }

    /// A job on it: 8 symbols at a time, 10 sequences in a batch.
    fn job(&self, model: &str) -> Job {
        Job {
            data: self.file.clone(),
            model: Some(ModelSpec::parse(model).unwrap()),
            context: Some(8),
            test: Part::Fraction(0.2),
            valid: Part::Fraction(0.1),
            batch: Some(BatchSize::Rows(10)),
            epochs: Some(2),
            ..job("")
        }
    }
}

fn trained(job: Job) -> (Prepared, Outcome) {
    let prepared = Prepared::new(job).unwrap();
    let outcome = crate::common::train(&prepared, &plan("adam(lr=0.01)"));
    (prepared, outcome)
}

/// Sentences of a small language: what comes next depends on words before.
fn sentences(count: usize) -> String {
    let mut stream = thalweg_core::random::Stream::new(11, thalweg_core::random::Purpose::Data, 0);
    let mut pick = |words: &[&'static str]| words[stream.below(words.len() as u32) as usize];
    let mut text = String::new();
    for _ in 0..count {
        let (who, does, whom) = (
            pick(&["the cat", "a dog", "my bird", "the old man"]),
            pick(&["sees", "likes", "hears"]),
            pick(&["a mouse", "the moon", "music", "nobody"]),
        );
        text += &format!("{who} {does} {whom}{}\n", pick(&[".", "!", ", sometimes."]));
    }
    text
}

const MODELS: [&str; 3] = ["gru(12)", "lstm(8) dense(10) tanh", "transformer(d=12, heads=2, layers=1)"];

/// −log₂ of the softmax, of one window after the other: in f64, by a network of f64 with the same weights.
fn slow_bits(model: &Model, codes: &[u32], context: usize) -> Vec<f64> {
    let network = model.network().unwrap();
    let spec = network.spec();
    let outputs = network.outputs();
    let input = Input::Tokens { vocabulary: outputs, context };
    let wide = Network::<f64>::new(spec, input, Output::NextToken, Loss::SOFTMAX, 0).unwrap();
    let mut theta = Params::zeros(wide.layout());
    theta.flat_mut().copy_from_slice(model.params.flat());
    let half = context / 2;
    (1..codes.len())
        .map(|at| {
            // The window is the first that has this symbol in its later half.
            let start = if at <= context { 0 } else { (at - context).div_ceil(half) * half };
            let mut row: Vec<u32> = codes[start..at].to_vec();
            let place = row.len() - 1;
            row.resize(context, Batch::<f64>::UNSEEN);
            let mut z = vec![0.0; context * outputs];
            let batch = Batch { codes: &row, code_width: context, target: &[0.0], ..Batch::NONE };
            wide.scores(&theta, &batch, &mut z);
            let z = &z[place * outputs..(place + 1) * outputs];
            let sum: f64 = z.iter().map(|z| libm::exp(*z)).sum();
            -libm::log2(libm::exp(z[codes[at] as usize]) / sum)
        })
        .collect()
}

#[test]
fn bits_are_those_of_an_independent_count() {
    let book = Book::new(sentences(120));
    for model in MODELS {
        let (prepared, outcome) = trained(book.job(model));
        let text = prepared.text.as_ref().unwrap();
        let test = text.test.as_ref().unwrap();
        let slow = slow_bits(&outcome.model, test.symbols(), 8);
        let mean = slow.iter().sum::<f64>() / slow.len() as f64;
        let scored = outcome.test.as_ref().unwrap();
        assert_eq!(scored.score.metric, Metric::BitsPerCharacter);
        assert_eq!(scored.rows, test.symbols().len() - 1);
        // Scores of f32, each right to some 2⁻²⁰ of numbers below 8.
        assert!((scored.score.value - mean).abs() < 1e-5, "{model}: {} is not {mean}", scored.score.value);
        // One by one, in order, each once.
        let mut told = vec![];
        let (network, theta) = (outcome.model.network().unwrap(), outcome.model.narrowed());
        test.foresee(network, &theta, |at, bits| told.push((at, bits)));
        assert!(told.iter().enumerate().all(|(i, (at, _))| *at == i + 1) && told.len() == slow.len());
        assert!(told.iter().zip(&slow).all(|((_, a), b)| (a - b).abs() < 1e-4), "{model}");
        // The interval is around it, and the mean lies in it.
        let (low, high) = scored.score.interval.unwrap();
        assert!(low < scored.score.value && scored.score.value < high, "{low} {high}");
        // The n-gram counts the training part, and foresees the same symbols.
        let ngram = NGram::learn(text.train.symbols(), text.vocabulary.len(), 5, Smoothing::KneserNey);
        let symbols = test.symbols();
        let p = (1..symbols.len()).map(|i| ngram.probability(&symbols[..i], symbols[i]));
        let baseline = p.map(|p| -libm::log2(p)).sum::<f64>() / (symbols.len() - 1) as f64;
        assert!((scored.baseline - baseline).abs() < 1e-12 * baseline, "{} {baseline}", scored.baseline);
    }
}

#[test]
fn what_is_saved_scores_the_same() {
    let book = Book::new(sentences(120));
    for model in MODELS {
        let (prepared, outcome) = trained(book.job(model));
        let bytes = outcome.model.to_saved().to_bytes().unwrap();
        let file = book.file.with_file_name("m.safetensors");
        std::fs::write(&file, &bytes).unwrap();
        let model = Model::load(&file, &Threads::serial()).unwrap();
        assert_eq!(model.text, outcome.model.text);
        assert_eq!(model.context(), Some(8));
        let whole = sentences(120);
        let part = prepared.text.as_ref().unwrap().parts.test.clone();
        let (text, _) = Text::parse("t", &whole.as_bytes()[part]).unwrap();
        let again = text::evaluate(&model, &text).unwrap().unwrap();
        let scored = outcome.test.unwrap();
        assert_eq!((again.score, again.symbols), (scored.score, scored.rows));
        assert_eq!(Some(again.loss), outcome.test_loss);
        assert_eq!(model.to_saved().to_bytes().unwrap(), bytes);
    }
}

/// Epochs: their validation loss falls, the best weights are kept, and all that can be foreseen is.
#[test]
fn a_small_language_is_learnt() {
    let book = Book::new(sentences(400));
    let job = Job { epochs: Some(15), context: Some(24), ..book.job("gru(32)") };
    let prepared = Prepared::new(job).unwrap();
    assert!(prepared.notes[0].starts_with("text: "), "{:?}", prepared.notes);
    let mut recorder = Recorder::new(|_| Ok(()));
    let outcome = crate::common::told(&prepared, &plan("adam(lr=0.01)"), &mut [&mut recorder]);
    let scored = outcome.test.unwrap();
    // Four choices among 4, 3, 4 and 3 in a sentence of some 25 characters.
    let entropy = libm::log2(4.0 * 3.0 * 4.0 * 3.0) / (sentences(400).len() as f64 / 400.0);
    assert!(scored.score.value < 1.3 * entropy, "{} and {entropy}", scored.score.value);
    assert!(scored.score.value > 0.9 * entropy);
    assert!(scored.baseline > 0.9 * entropy && scored.baseline < 2.0 * entropy, "{}", scored.baseline);
    let valid: Vec<f64> = recorder.epochs.iter().map(|e| e.valid_loss.unwrap()).collect();
    assert!(valid[14] < 0.6 * valid[0], "{valid:?}");
    // Losses are in nats, of sequences that do not overlap; scores in bits, with more to go by.
    for epoch in &recorder.epochs {
        let bits = epoch.valid_loss.unwrap() / std::f64::consts::LN_2;
        assert!(epoch.valid_score.unwrap() < bits && epoch.valid_score.unwrap() > 0.5 * bits);
    }
    assert_eq!(
        outcome.valid.unwrap().score.value,
        recorder.epochs[outcome.fitted.best_epoch as usize - 1].valid_score.unwrap()
    );
}

/// "abcdefgh\n" again and again: whatever the network, the most probable symbol is the next of the period.
#[test]
fn a_period_is_written_on() {
    let period = "abcdefgh\n";
    let book = Book::new(period.repeat(120));
    for model in
        ["gru(16)", "lstm(16)", "transformer(d=16, heads=2, layers=1)", "embedding(9) dense(16) relu"]
    {
        let job = Job { epochs: Some(30), valid: Part::None, ..book.job(model) };
        let (_, outcome) = trained(job);
        let vocabulary = outcome.model.text.as_ref().unwrap();
        let (codes, note) = prompt(vocabulary, "fgh\nab").unwrap();
        assert_eq!(note, None);
        for sampling in [
            Sampling { temperature: 0.0, ..Sampling::default() },
            // Of one there is no choice.
            Sampling { top_k: Some(1), seed: 7, ..Sampling::default() },
        ] {
            let mut generator = Generator::new(&outcome.model, &codes, sampling).unwrap();
            let written: Vec<u32> = (0..50).map(|_| generator.next().unwrap()).collect();
            assert_eq!(vocabulary.decode(&written), period.repeat(7)[2..52], "{model}");
        }
        // Where a line begins.
        let (codes, _) = prompt(vocabulary, "").unwrap();
        let mut generator =
            Generator::new(&outcome.model, &codes, Sampling { temperature: 0.0, ..Sampling::default() })
                .unwrap();
        let written: Vec<u32> = (0..9).map(|_| generator.next().unwrap()).collect();
        assert_eq!(vocabulary.decode(&written), period, "{model}");
    }
}

/// The scores that symbols are drawn by are those of the network for the text so far: of all of it, or of the last context.
#[test]
fn what_is_drawn_from_is_what_the_network_says() {
    let book = Book::new(sentences(120));
    for model in MODELS {
        let (_, outcome) = trained(book.job(model));
        let (network, theta) = (outcome.model.network().unwrap(), outcome.model.narrowed());
        let outputs = network.outputs();
        let mut codes = outcome.model.text.as_ref().unwrap().encode_str("the");
        let mut generator = Generator::new(&outcome.model, &codes, Sampling::default()).unwrap();
        for _ in 0..30 {
            let found = generator.scores().to_vec();
            let last =
                if network.state().is_some() { &codes[..] } else { &codes[codes.len().saturating_sub(8)..] };
            let input = Input::Tokens { vocabulary: outputs, context: last.len() };
            let expected = match network.state() {
                // Without a context of its own, the network takes a text of any length.
                Some(_) => {
                    let long =
                        Network::<f32>::new(network.spec(), input, Output::NextToken, Loss::SOFTMAX, 0)
                            .unwrap();
                    scores_behind(&long, &theta, last, outputs)
                }
                None => scores_behind(network, &theta, last, outputs),
            };
            let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // The same product for the same rows, but of one row where the other has thirty.
            assert!(
                worst < if network.state().is_some() { 1e-5 } else { f32::MIN_POSITIVE },
                "{model}: {worst}"
            );
            codes.push(generator.next().unwrap());
        }
    }
}

/// The scores behind the last of `codes`.
fn scores_behind(network: &Network<f32>, theta: &Params<f32>, codes: &[u32], outputs: usize) -> Vec<f32> {
    let mut row = codes.to_vec();
    row.resize(network.places(), Batch::<f32>::UNSEEN);
    let mut z = vec![0.0; row.len() * outputs];
    network.scores(
        theta,
        &Batch { codes: &row, code_width: row.len(), target: &[0.0], ..Batch::NONE },
        &mut z,
    );
    z[(codes.len() - 1) * outputs..codes.len() * outputs].to_vec()
}

#[test]
fn threads_change_no_bit() {
    let book = Book::new(sentences(200));
    for model in MODELS {
        let prepared = Prepared::new(book.job(model)).unwrap();
        let run = |n: usize| {
            let options = TrainOptions { threads: Threads::new(n), ..alone() };
            let never = AtomicBool::new(false);
            let outcome =
                prepared.train(&plan("adamw(lr=0.01)"), prepared.batch, &options, &mut [], &never).unwrap();
            let codes = outcome.model.text.as_ref().unwrap().encode_str("my bird ");
            let sampling = Sampling { temperature: 0.8, top_k: Some(9), seed: 5 };
            let mut generator = Generator::new(&outcome.model, &codes, sampling).unwrap();
            let written: Vec<u32> = (0..60).map(|_| generator.next().unwrap()).collect();
            (bits(&outcome), outcome.test.unwrap().score, outcome.train, written)
        };
        let one = run(1);
        assert!(one == run(2) && one == run(3), "{model}");
        // Another seed writes something else.
        assert!(one.3.iter().any(|&code| code != one.3[0]));
    }
}

#[test]
fn texts_that_are_no_utf8_are_bytes() {
    let book = Book::new(b"\xffab\0".repeat(300));
    let job = Job { epochs: Some(10), valid: Part::None, ..book.job("gru(16)") };
    let (prepared, outcome) = trained(job);
    assert!(
        prepared.notes.iter().any(|n| n.starts_with("byte 0 is not valid UTF-8")),
        "{:?}",
        prepared.notes
    );
    let vocabulary = outcome.model.text.as_ref().unwrap();
    assert_eq!((vocabulary.len(), text::title(vocabulary)), (256, "bits per byte".into()));
    assert!(outcome.test.unwrap().score.value < 0.1);
    let (codes, _) = prompt(vocabulary, "b\0").unwrap();
    let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
    let mut generator = Generator::new(&outcome.model, &codes, greedy).unwrap();
    let mut written = vec![];
    (0..8).for_each(|_| vocabulary.write(generator.next().unwrap(), &mut written));
    assert_eq!(written, b"\xffab\0\xffab\0");
}

/// "Other" is no character: it is never written, and stands for one in a prompt only where training has seen it.
#[test]
fn characters_that_nobody_knows() {
    let common = sentences(60);
    let (_, outcome) = trained(Book::new(&common).job("gru(8)"));
    let vocabulary = outcome.model.text.as_ref().unwrap();
    let error = prompt(vocabulary, "the Ωcat").unwrap_err();
    assert!(matches!(error, GenerateError::Unknown { place: 5, found: 'Ω' }), "{error}");
    // Rare ones in half of all places of the training part, none of them five times: "other" is the most probable symbol.
    let rare: String =
        common.chars().zip(0x4e00u32..).flat_map(|(c, i)| [c, char::from_u32(i).unwrap()]).collect();
    let book = Book::new(rare);
    let (_, outcome) = trained(book.job("gru(8)"));
    let vocabulary = outcome.model.text.as_ref().unwrap();
    assert!(vocabulary.pooled() > 500);
    let (codes, note) = prompt(vocabulary, "tΩ").unwrap();
    assert_eq!(codes[1], vocabulary.other().unwrap());
    assert!(note.unwrap().contains("'Ω'"));
    let mut generator = Generator::new(&outcome.model, &codes, Sampling::default()).unwrap();
    assert!((0..200).all(|_| Some(generator.next().unwrap()) != vocabulary.other()));
}

#[test]
fn what_does_not_fit_is_refused() {
    let book = Book::new(sentences(40));
    let says = |job: Job| Prepared::new(job).map(|_| ()).unwrap_err().to_string();
    let base = || book.job("gru(8)");
    let cases: [(Job, &str); 9] = [
        (Job { context: Some(9), ..book.job("transformer(d=8, context=8)") }, "say different things"),
        (book.job("transformer(d=8, heads=2, layers=1, causal=false)"), "sees what comes behind"),
        (book.job("embedding(4) conv(4, kernel=3, padding=1) dense(4)"), "sees what comes behind"),
        (book.job("gru(8) last"), "the layers end with"),
        (Job { loss: Some(Loss::SQUARED), ..base() }, "learnt with the softmax loss"),
        (Job { metric: Some(Metric::Accuracy), ..base() }, "the metric of text is bits_per_character"),
        (Job { plan: Some(plan("saga")), ..base() }, "take adamw"),
        (Job { context: Some(5000), ..base() }, "a smaller context"),
        (Job { test: Part::File(book.file.clone()), ..base() }, "are one file"),
    ];
    for (job, what) in cases {
        let said = says(job);
        assert!(said.contains(what), "{what}: {said}");
    }
    let all_different: String = (0x4e00u32..0x4f00).filter_map(char::from_u32).collect();
    let said = says(Book::new(all_different).job("gru(8)"));
    assert!(said.contains("no character is in the training part 5 times"), "{said}");
    // One symbol alone is a text, of which nothing needs to be told.
    let book = Book::new("x".repeat(400));
    let (_, outcome) = trained(Job { epochs: Some(20), ..book.job("gru(4)") });
    assert!(outcome.test.unwrap().score.value < 0.05);
    // A table has no context.
    let table = Job { context: Some(8), ..job("y") };
    assert!(says(table).contains("--context is for text"));
}

#[test]
fn what_is_done_when_nothing_is_said() {
    let book = Book::new(sentences(400));
    let open = Job { model: None, context: None, batch: None, epochs: None, ..book.job("gru(8)") };
    let ready = Prepared::new(open.clone()).unwrap();
    assert_eq!(ready.job.model.as_ref().unwrap().to_string(), "gru(128)");
    assert_eq!((ready.job.context, ready.batch), (Some(64), BatchSize::Rows(32)));
    // Few steps in an epoch, so many epochs: a thousand steps at least.
    assert!(ready.steps(ready.batch) >= 1000 && ready.epochs > 30);
    let filled = |job: Job| Prepared::new(job).unwrap().plan().unwrap().0.to_string();
    let said = filled(open.clone());
    assert!(said.starts_with("clip(max_norm=1) | adamw(lr=cosine(0.003, "), "{said}");
    assert!(said.contains("warmup=2%"), "{said}");
    // A rate alone keeps the curve; an optimizer is taken as it is.
    let said = filled(Job { lr: Some(0.01), ..open.clone() });
    assert!(said.contains("cosine(0.01, ") && said.contains("warmup=2%"), "{said}");
    assert!(filled(Job { plan: Some(plan("adam")), ..open }).starts_with("adam(lr=0.001,"));
}

/// All sequences at once: rules on the whole of the data get it.
#[test]
fn a_text_can_be_one_batch() {
    let book = Book::new(sentences(30));
    let job = Job { batch: None, plan: Some(plan("lbfgs")), epochs: Some(25), ..book.job("gru(6)") };
    let prepared = Prepared::new(job).unwrap();
    assert_eq!(prepared.batch, BatchSize::Full);
    let (plan, _) = prepared.plan().unwrap();
    let outcome = crate::common::train(&prepared, &plan);
    let (first, last) = (outcome.history.steps[0].loss, outcome.fitted.train_loss);
    assert!(last < 0.75 * first, "{first} {last}");
}
