//! [`Generator`]: a model of text goes on with what it is given, symbol by symbol.
//!
//! Where a network carries its past in recurrent states alone, these go on from symbol to symbol without end. Any other looks at the
//! last symbols, as many as it was trained on, anew for each: places are numbered from the beginning of that window, which
//! moves, so that nothing of the symbol before can be used again.

use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Batch, Params};
use thalweg_data::text::Vocabulary;
use thalweg_models::losses::Loss;
use thalweg_models::network::{Input, Network, Output};

use crate::model::Model;

/// How the next symbol is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Scores are divided by it, in [0, ∞): below 1 the likely get likelier; 0 takes the most probable symbol.
    pub temperature: f64,
    /// Only so many of the most probable symbols are drawn from, at least 1; all of them, if none.
    pub top_k: Option<usize>,
    /// The seed of the draws.
    pub seed: u64,
}

impl Default for Sampling {
    /// As the model says: temperature 1, from all symbols.
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, seed: 0 }
    }
}

/// Why nothing is written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// A model of something else.
    #[error("the model predicts {target:?}, not text; thalweg predict gives its predictions")]
    NotText {
        /// What it predicts.
        target: String,
    },
    /// Nothing to go on from.
    #[error("there is no symbol to go on from")]
    NoPrompt,
    /// A character of the prompt that the model never saw.
    #[error(
        "character {place} of the prompt, {found:?}, is not in the text that the model was trained on; leave it out"
    )]
    Unknown {
        /// Its place, counted from 1.
        place: usize,
        /// The character.
        found: char,
    },
    /// Scores that are no numbers.
    #[error(
        "the model's scores are not finite after {written} symbols: it diverged; train it again at a lower rate"
    )]
    NotFinite {
        /// Symbols that were written before.
        written: u64,
    },
}

/// The numbers of a prompt, and what is to be said of it: rare characters count as "other" where the model has learnt that one. An empty
/// prompt is where a line begins (where a word does, in a text of one line).
///
/// # Errors
/// [`GenerateError::Unknown`].
pub fn prompt(vocabulary: &Vocabulary, text: &str) -> Result<(Vec<u32>, Option<String>), GenerateError> {
    if text.is_empty() {
        let begins = |c: &str| vocabulary.first_other(c).is_none().then(|| vocabulary.encode_str(c));
        return Ok((begins("\n").or_else(|| begins(" ")).unwrap_or_else(|| vec![0]), None));
    }
    let note = match vocabulary.first_other(text) {
        Some((place, found)) if vocabulary.pooled() == 0 => {
            return Err(GenerateError::Unknown { place: place + 1, found });
        }
        Some((place, found)) => Some(format!(
            "character {} of the prompt, {found:?}, was too rare in training to be told from others: it counts as \"other\"",
            place + 1
        )),
        None => None,
    };
    Ok((vocabulary.encode_str(text), note))
}

/// How a network is asked for the next symbol.
#[derive(Debug)]
enum Way {
    /// By the next symbol and the states of the recurrent layers.
    Step { network: Box<Network<f32>>, state: Vec<f32> },
    /// By the last symbols, one after the other, as many as the context has.
    Window { context: usize, symbols: Vec<u32>, all: Vec<f32> },
}

/// Symbols that follow a prompt, without end.
///
/// The draws depend on the model, the prompt, the sampling and how many were drawn before: the same on any number of threads.
#[derive(Debug)]
pub struct Generator<'m> {
    network: &'m Network<f32>,
    theta: Params<f32>,
    way: Way,
    /// Scores of the next symbol.
    z: Vec<f32>,
    /// What was said last and is not yet read.
    unread: Option<u32>,
    /// "Other" is no character that could be written.
    never: Option<u32>,
    sampling: Sampling,
    stream: Stream,
    written: u64,
}

impl<'m> Generator<'m> {
    /// Reads the prompt.
    ///
    /// # Errors
    /// [`GenerateError`]: a model that is not one of text, an empty prompt.
    ///
    /// # Panics
    /// When a symbol of the prompt is none of the vocabulary's.
    pub fn new(model: &'m Model, prompt: &[u32], sampling: Sampling) -> Result<Self, GenerateError> {
        let not_text = || GenerateError::NotText { target: model.target().into() };
        let vocabulary = model.text.as_ref().ok_or_else(not_text)?;
        let network = model.network().ok_or_else(not_text)?;
        let &Input::Tokens { context, .. } = network.input() else { return Err(not_text()) };
        let (&last, before) = prompt.split_last().ok_or(GenerateError::NoPrompt)?;
        let theta = model.narrowed();
        let way = step_by_step(network, vocabulary.len()).unwrap_or_else(|| Way::Window {
            context,
            symbols: Vec::new(),
            all: vec![0.0; context * vocabulary.len()],
        });
        let mut generator = Self {
            network,
            theta,
            way,
            z: vec![0.0; vocabulary.len()],
            unread: Some(last),
            never: vocabulary.other(),
            sampling,
            stream: Stream::new(sampling.seed, Purpose::Sample, 0),
            written: 0,
        };
        before.iter().for_each(|&code| generator.read(code));
        Ok(generator)
    }

    /// Goes on behind one symbol.
    fn read(&mut self, code: u32) {
        match &mut self.way {
            Way::Step { network, state } => network.advance(&self.theta, &[code], state, &mut self.z),
            Way::Window { context, symbols, .. } => {
                symbols.push(code);
                if symbols.len() > *context {
                    symbols.remove(0);
                }
            }
        }
    }

    /// The scores of the symbol behind the last that was read.
    fn look(&mut self) {
        let Way::Window { context, symbols, all } = &mut self.way else { return };
        // What stands behind the last symbol is not seen from it.
        let mut codes = symbols.clone();
        codes.resize(*context, Batch::<f32>::UNSEEN);
        let batch = Batch { codes: &codes, code_width: *context, index: Some(&[0]), ..Batch::NONE };
        self.network.scores(&self.theta, &batch, all);
        let outputs = self.z.len();
        self.z.copy_from_slice(&all[(symbols.len() - 1) * outputs..symbols.len() * outputs]);
    }

    /// Scores of the next symbol: the logits of all.
    pub fn scores(&mut self) -> &[f32] {
        if let Some(code) = self.unread.take() {
            self.read(code);
            self.look();
        }
        &self.z
    }

    /// The next symbol.
    ///
    /// # Errors
    /// [`GenerateError::NotFinite`].
    #[allow(clippy::should_implement_trait, reason = "an iterator has no errors, and no end here")]
    pub fn next(&mut self) -> Result<u32, GenerateError> {
        let u = self.stream.uniform();
        let (never, sampling, written) = (self.never, self.sampling, self.written);
        let code = draw(self.scores(), never, sampling, u).ok_or(GenerateError::NotFinite { written })?;
        self.unread = Some(code);
        self.written += 1;
        Ok(code)
    }
}

/// The network for one symbol at a time, if its past is all in what it carries.
fn step_by_step(network: &Network<f32>, vocabulary: usize) -> Option<Way> {
    let state = vec![0.0; network.state()?];
    let input = Input::Tokens { vocabulary, context: 1 };
    let step = Network::new(network.spec(), input, Output::NextToken, Loss::SOFTMAX, 0).ok()?;
    // The same parameters, whatever the context.
    let same = thalweg_core::Objective::layout(&step) == thalweg_core::Objective::layout(network);
    let step = step.with_threads(network.threads().clone());
    step.set_statistics(&network.statistics());
    same.then(|| Way::Step { network: Box::new(step), state })
}

/// One of the symbols but `never`, by the scores `z` and a number `u` in [0, 1); none if a score is not finite.
fn draw(z: &[f32], never: Option<u32>, sampling: Sampling, u: f64) -> Option<u32> {
    if z.iter().any(|z| !z.is_finite()) {
        return None;
    }
    let mut symbols: Vec<(u32, f64)> = (0u32..)
        .zip(z)
        .filter(|(code, _)| Some(*code) != never)
        .map(|(code, &z)| (code, f64::from(z)))
        .collect();
    // The first of equal scores is the likelier one.
    symbols.sort_by(|a, b| b.1.total_cmp(&a.1));
    let &(first, top) = symbols.first()?;
    if sampling.temperature == 0.0 {
        return Some(first);
    }
    symbols.truncate(sampling.top_k.unwrap_or(usize::MAX).max(1));
    symbols.iter_mut().for_each(|(_, z)| *z = libm::exp((*z - top) / sampling.temperature));
    let mut left = u * symbols.iter().map(|(_, p)| p).sum::<f64>();
    for &(code, p) in &symbols {
        left -= p;
        if left < 0.0 {
            return Some(code);
        }
    }
    // Rounding may leave a little over: it belongs to one that can be drawn.
    symbols.iter().rev().find(|(_, p)| *p > 0.0).map(|&(code, _)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Sampling = Sampling { temperature: 1.0, top_k: None, seed: 0 };

    /// Draws at every thousandth of [0, 1): each symbol as often as its probability says.
    fn shares(z: &[f32], never: Option<u32>, sampling: Sampling) -> Vec<f64> {
        let mut counts = vec![0.0; z.len()];
        for i in 0..10_000 {
            counts[draw(z, never, sampling, f64::from(i) / 1e4).unwrap() as usize] += 1e-4;
        }
        counts
    }

    fn near(found: &[f64], expected: &[f64]) {
        // A border between two symbols may fall on either side of one of the draws.
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1.1e-4), "{found:?} {expected:?}");
    }

    #[test]
    fn symbols_are_drawn_by_their_probabilities() {
        // Odds 1 : 2 : 4 : 1.
        let z = [0.0, std::f32::consts::LN_2, 2.0 * std::f32::consts::LN_2, 0.0];
        near(&shares(&z, None, ALL), &[0.125, 0.25, 0.5, 0.125]);
        near(&shares(&z, Some(2), ALL), &[0.25, 0.5, 0.0, 0.25]);
        near(&shares(&z, None, Sampling { top_k: Some(2), ..ALL }), &[0.0, 1.0 / 3.0, 2.0 / 3.0, 0.0]);
        // Of equal ones, the first is among the k.
        near(&shares(&z, None, Sampling { top_k: Some(3), ..ALL }), &[1.0 / 7.0, 2.0 / 7.0, 4.0 / 7.0, 0.0]);
        // At half the temperature odds are squared, at infinite heat they are even.
        let cool = Sampling { temperature: 0.5, ..ALL };
        near(&shares(&z, None, cool), &[1.0 / 22.0, 4.0 / 22.0, 16.0 / 22.0, 1.0 / 22.0]);
        near(&shares(&z, None, Sampling { temperature: 1e300, ..ALL }), &[0.25; 4]);
        for temperature in [0.0, 1e-300] {
            near(&shares(&z, None, Sampling { temperature, ..ALL }), &[0.0, 0.0, 1.0, 0.0]);
            near(&shares(&[1.0; 3], Some(0), Sampling { temperature: 0.0, ..ALL }), &[0.0, 1.0, 0.0]);
        }
    }

    #[test]
    fn scores_that_are_no_numbers_are_refused() {
        assert_eq!(draw(&[0.0, f32::NAN], None, ALL, 0.5), None);
        assert_eq!(draw(&[0.0, f32::INFINITY], None, ALL, 0.5), None);
        // Nothing but what is never written.
        assert_eq!(draw(&[0.0], Some(0), ALL, 0.5), None);
    }
}
