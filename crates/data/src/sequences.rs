//! [`Sequences`]: in which order the sequences of a text are seen.

use thalweg_core::random::{Purpose, Stream};

use crate::error::TextError;

/// Batches of sequences of a text, epoch after epoch without end, with a cursor; what [`Batches`](crate::Batches) is for rows.
///
/// A sequence is `context` symbols that lie side by side; its targets are those one further on. In an epoch, sequences do not
/// overlap.
///
/// - Shuffled, for training: an epoch begins at a place drawn between 0 and `context` − 1, so that epochs cut the text at different places,
///   and has the ⌊(n − context) / context⌋ whole sequences (at least 1) from there in random order. Draws depend on (seed, epoch) alone: any place can be
///   sought, and what follows is what would have followed without interruption.
/// - In order, for scoring: every symbol but the first is a target exactly once. What is left at the end is a batch of its own,
///   of one shorter sequence.
#[derive(Clone, Debug)]
pub struct Sequences<'a> {
    text: &'a [u32],
    context: usize,
    size: usize,
    seed: u64,
    shuffle: bool,
    epoch: u64,
    batch: usize,
    /// Where the sequences of `arranged` begin, in their order.
    starts: Vec<usize>,
    arranged: Option<u64>,
    codes: Vec<u32>,
    targets: Vec<u32>,
}

/// One batch of sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceBatch<'a> {
    /// The symbols, `[rows, context]`.
    pub codes: &'a [u32],
    /// The symbol after each, `[rows, context]`.
    pub targets: &'a [u32],
    /// How many sequences it has.
    pub rows: usize,
    /// Symbols in a sequence: less than asked for only at the end of a text in order.
    pub context: usize,
    /// Its epoch, from 0.
    pub epoch: u64,
    /// Its number in the epoch, from 0.
    pub batch: usize,
    /// Whether it is the last of its epoch.
    pub last: bool,
}

impl<'a> Sequences<'a> {
    /// Sequences of `context` symbols of `text`, `batch_size` in a batch; 0 of either counts as 1.
    ///
    /// # Errors
    /// [`TextError::TooShort`] if there is not one sequence: shuffled needs `context` + 1 symbols, in order 2.
    pub fn new(
        text: &'a [u32],
        context: usize,
        batch_size: usize,
        seed: u64,
        shuffle: bool,
    ) -> Result<Self, TextError> {
        let context = context.max(1);
        let least = if shuffle { context } else { 1 };
        if text.len() <= least {
            let part = if shuffle { "training" } else { "scored" }.into();
            return Err(TextError::TooShort { part, found: text.len(), context: least });
        }
        let (size, arranged) = (batch_size.max(1), None);
        let (starts, codes, targets) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { text, context, size, seed, shuffle, epoch: 0, batch: 0, starts, arranged, codes, targets })
    }

    /// How many whole sequences an epoch has.
    fn whole(&self) -> usize {
        match self.shuffle {
            true => ((self.text.len() - self.context) / self.context).max(1),
            false => (self.text.len() - 1) / self.context,
        }
    }

    /// Symbols after the last whole sequence of a text in order.
    fn rest(&self) -> usize {
        if self.shuffle { 0 } else { (self.text.len() - 1) % self.context }
    }

    /// How many batches an epoch has.
    pub fn per_epoch(&self) -> usize {
        self.whole().div_ceil(self.size) + usize::from(self.rest() > 0)
    }

    /// How many symbols are targets in an epoch.
    pub fn targets_per_epoch(&self) -> usize {
        self.whole() * self.context + self.rest()
    }

    /// The epoch and the number of the batch that comes next.
    pub fn position(&self) -> (u64, usize) {
        (self.epoch, self.batch)
    }

    /// Goes to a batch of an epoch; a number past the epoch's last goes on in the epochs after it.
    pub fn seek(&mut self, epoch: u64, batch: usize) {
        let per = self.per_epoch();
        (self.epoch, self.batch) = (epoch + (batch / per) as u64, batch % per);
    }

    /// The next batch; there is always one.
    #[allow(clippy::should_implement_trait, reason = "it lends its symbols, which an `Iterator` cannot")]
    pub fn next(&mut self) -> SequenceBatch<'_> {
        let (epoch, batch, per, whole) = (self.epoch, self.batch, self.per_epoch(), self.whole());
        let last = batch + 1 == per;
        (self.epoch, self.batch) = if last { (epoch + 1, 0) } else { (epoch, batch + 1) };
        self.arrange(epoch);
        let first = batch * self.size;
        let (starts, context) = match first < whole {
            true => (&self.starts[first..(first + self.size).min(whole)], self.context),
            false => (&self.starts[whole..], self.rest()),
        };
        self.codes.clear();
        self.targets.clear();
        for &start in starts {
            self.codes.extend_from_slice(&self.text[start..start + context]);
            self.targets.extend_from_slice(&self.text[start + 1..start + context + 1]);
        }
        let (codes, targets, rows) = (&self.codes, &self.targets, starts.len());
        SequenceBatch { codes, targets, rows, context, epoch, batch, last }
    }

    fn arrange(&mut self, epoch: u64) {
        if self.arranged.is_some() && (!self.shuffle || self.arranged == Some(epoch)) {
            return;
        }
        let (whole, context) = (self.whole(), self.context);
        self.starts.clear();
        if self.shuffle {
            let mut stream = Stream::new(self.seed, Purpose::Shuffle, epoch);
            // Less than `context` symbols of slack only where the whole text is one sequence.
            let slack = (self.text.len() - 1 - whole * context).min(context - 1);
            let from = stream.below(slack as u32 + 1) as usize;
            self.starts.extend((0..whole).map(|i| from + i * context));
            stream.shuffle(&mut self.starts);
        } else {
            self.starts.extend((0..whole + usize::from(self.rest() > 0)).map(|i| i * context));
        }
        self.arranged = Some(epoch);
    }
}
