//! [`Rows`]: some rows of a batch, gathered for a tape.

use thalweg_core::{Batch, Float};

use super::objective::Wanted;
use crate::layers::Bags;

/// What a network reads of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'n> {
    /// The first code of each column of categories, and the code behind the last one's.
    pub borders: &'n [u32],
    /// Tokens of a row that go in; 0 without tokens. Where a row has one code alone, it goes on through the codes of the rows behind.
    pub context: usize,
    /// Classes, if targets are classes.
    pub classes: Option<usize>,
    /// Whether each token's target is the token behind it.
    pub next: bool,
}

/// The rows of a stretch of a batch, behind each other.
#[derive(Debug, Default)]
pub(super) struct Rows<F> {
    /// How many.
    pub count: usize,
    pub dense: Vec<F>,
    /// Codes for each column of categories, or one for all tokens.
    pub bags: Vec<Bags>,
    /// Numeric targets.
    pub target: Vec<F>,
    /// Classes, or the tokens that follow.
    pub labels: Vec<u32>,
    /// The weight of each target; empty when all are 1.
    pub weight: Vec<F>,
}

impl<F: Float> Rows<F> {
    /// Gathers at most `most` rows from position `next` of the batch on; returns the position behind them. With `targets`, rows of
    /// weight 0 are absent.
    ///
    /// # Panics
    /// When a code or a class is none of the network's: the caller's data do not belong to the network.
    pub fn gather(
        &mut self,
        batch: &Batch<'_, F>,
        mut next: usize,
        most: usize,
        reading: Reading<'_>,
        targets: bool,
    ) -> usize {
        self.count = 0;
        self.dense.clear();
        self.target.clear();
        self.labels.clear();
        self.weight.clear();
        let columns = if reading.context > 0 { 1 } else { reading.borders.len() - 1 };
        self.bags.resize_with(columns, Bags::default);
        self.bags.iter_mut().for_each(Bags::clear);
        let weighted = targets && (batch.weight.is_some() || reading.next);
        while next < batch.len() && self.count < most {
            let at = batch.at(next);
            next += 1;
            let weight = batch.weight_at(at);
            if targets && weight == F::zero() {
                continue;
            }
            self.count += 1;
            self.dense.extend_from_slice(batch.dense_row(at));
            let codes = match batch.code_width {
                1 if reading.context > 0 => {
                    &batch.codes[at..at + reading.context + usize::from(targets && reading.next)]
                }
                _ => batch.code_row(at),
            };
            if reading.context > 0 {
                self.bags[0].row();
                codes[..reading.context].iter().for_each(|&code| {
                    self.bags[0].push((code != Batch::<F>::UNSEEN).then_some(code));
                });
            } else {
                for (j, &code) in codes.iter().enumerate() {
                    let (start, end) = (reading.borders[j], reading.borders[j + 1]);
                    let seen = code != Batch::<F>::UNSEEN;
                    assert!(
                        !seen || (start..end).contains(&code),
                        "code {code} is not one of column {j}: {start} to {end}"
                    );
                    self.bags[j].push(seen.then(|| code - start));
                }
            }
            if !targets {
                continue;
            }
            if reading.next {
                // A token that nobody knows teaches nothing.
                for &label in &codes[1..=reading.context] {
                    let seen = label != Batch::<F>::UNSEEN;
                    self.labels.push(if seen { label } else { 0 });
                    self.weight.push(if seen { weight } else { F::zero() });
                }
                continue;
            }
            match reading.classes {
                Some(classes) => {
                    let y = batch.target[at].to_f64();
                    assert!(y >= 0.0 && y < classes as f64, "target {y} is none of {classes} classes");
                    self.labels.push(y as u32);
                }
                None => self.target.push(batch.target[at]),
            }
            if weighted {
                self.weight.push(weight);
            }
        }
        next
    }

    /// What their losses are worked out from.
    pub fn wanted<'a>(&'a self, class_weights: &'a [F]) -> Wanted<'a, F> {
        Wanted { target: &self.target, labels: &self.labels, weight: &self.weight, class_weights }
    }

    /// Σ of the targets' weights, times those of their classes.
    pub fn total_weight(&self, class_weights: Option<&[f64]>) -> f64 {
        let targets = self.target.len() + self.labels.len();
        let own = |i: usize| self.weight.get(i).map_or(1.0, |w| w.to_f64());
        match class_weights {
            None if self.weight.is_empty() => targets as f64,
            None => (0..targets).map(own).sum(),
            Some(c) => self.labels.iter().enumerate().map(|(i, &k)| own(i) * c[k as usize]).sum(),
        }
    }
}
