//! [`Batches`]: in which order rows are seen.

use std::fmt;
use std::str::FromStr;

use thalweg_core::random::{Purpose, Stream};

use crate::error::TextError;

/// How many rows a gradient is taken over: `32`, or `full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSize {
    /// So many, at least 1.
    Rows(usize),
    /// All of them.
    Full,
}

impl BatchSize {
    /// The number of rows, of `all`.
    pub fn of(self, all: usize) -> usize {
        match self {
            BatchSize::Rows(n) => n.min(all),
            BatchSize::Full => all,
        }
    }
}

impl FromStr for BatchSize {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "full" => Ok(BatchSize::Full),
            Ok(n) if n > 0 => Ok(BatchSize::Rows(n)),
            _ => Err(format!("expected a number of rows from 1, or full, got {text:?}")),
        }
    }
}

impl fmt::Display for BatchSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchSize::Rows(n) => n.fmt(f),
            BatchSize::Full => f.write_str("full"),
        }
    }
}

/// The batches of all epochs, one after the other without end, with a cursor.
///
/// The order in an epoch depends on (seed, epoch) alone, so any place can be sought: what follows is what would have
/// followed without interruption. An epoch's last batch is smaller if the size does not divide the number of rows.
///
/// ```
/// let mut batches = thalweg_data::Batches::new(5, 2, 7, true);
/// let first: Vec<u32> = (0..3).flat_map(|_| batches.next().index.unwrap().to_vec()).collect();
/// assert_eq!(batches.position(), (1, 0));
/// batches.seek(0, 1);
/// assert_eq!(batches.next().index.unwrap(), &first[2..4]);
/// ```
#[derive(Clone, Debug)]
pub struct Batches {
    rows: usize,
    size: usize,
    seed: u64,
    shuffle: bool,
    epoch: u64,
    batch: usize,
    order: Vec<u32>,
    /// The epoch that `order` is of.
    ordered: Option<u64>,
    /// Of the sequences of a text: how far apart they begin, and the last place where the first of them may.
    sequences: Option<(u32, u32)>,
}

/// One batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextBatch<'a> {
    /// Its rows; all, in their own order, without (a batch of all rows is not shuffled: a sum has no order).
    pub index: Option<&'a [u32]>,
    /// How many rows it has.
    pub rows: usize,
    /// Its epoch, from 0.
    pub epoch: u64,
    /// Its number in the epoch, from 0.
    pub batch: usize,
    /// Whether it is the last of its epoch.
    pub last: bool,
}

impl Batches {
    /// Batches of `batch_size` of the rows 0 to `rows` − 1; a size of 0, or of `rows` and more, is all rows at once.
    pub fn new(rows: usize, batch_size: usize, seed: u64, shuffle: bool) -> Self {
        let size = if batch_size == 0 { rows } else { batch_size.min(rows) };
        let (order, ordered, sequences) = (Vec::new(), None, None);
        Self { rows, size, seed, shuffle, epoch: 0, batch: 0, order, ordered, sequences }
    }

    /// Batches of sequences of a text of so many symbols: a row is the place where a sequence begins. A sequence is `context` symbols
    /// that lie side by side, and the one behind them is the last one's target; a context of 0 counts as 1.
    ///
    /// An epoch begins at a place drawn between 0 and `context` − 1, so that epochs cut the text at different places, and has the
    /// ⌊(symbols − context) / context⌋ sequences (at least 1) from there in random order, without overlap. A batch of all of
    /// them has no rows of its own, as ever.
    ///
    /// ```
    /// let mut batches = thalweg_data::Batches::sequences(100, 10, 4, 7)?;
    /// let mut starts: Vec<u32> = (0..batches.per_epoch()).flat_map(|_| batches.next().index.unwrap().to_vec()).collect();
    /// starts.sort();
    /// assert!(starts.len() == 9 && starts[0] < 10 && starts.windows(2).all(|pair| pair[1] - pair[0] == 10));
    /// # Ok::<(), thalweg_data::TextError>(())
    /// ```
    ///
    /// # Errors
    /// [`TextError`]: a text that has not one sequence, or more symbols than 2³² − 1.
    pub fn sequences(
        symbols: usize,
        context: usize,
        batch_size: usize,
        seed: u64,
    ) -> Result<Self, TextError> {
        let context = context.max(1);
        if symbols <= context {
            return Err(TextError::TooShort { part: "training".into(), found: symbols, context });
        }
        if u32::try_from(symbols).is_err() {
            return Err(TextError::TooLong { found: symbols });
        }
        let rows = ((symbols - context) / context).max(1);
        // Less than `context` symbols of slack only where the whole text is one sequence.
        let slack = (symbols - 1 - rows * context).min(context - 1);
        let sequences = Some((context as u32, slack as u32));
        Ok(Self { sequences, ..Self::new(rows, batch_size, seed, true) })
    }

    /// How many batches an epoch has; 0 without rows.
    pub fn per_epoch(&self) -> usize {
        self.rows.div_ceil(self.size.max(1))
    }

    /// The number of rows in a batch that is not the last.
    pub fn batch_size(&self) -> usize {
        self.size
    }

    /// Whether every batch is all rows.
    pub fn is_full(&self) -> bool {
        self.size == self.rows
    }

    /// The epoch and the number of the batch that comes next.
    pub fn position(&self) -> (u64, usize) {
        (self.epoch, self.batch)
    }

    /// Goes to a batch of an epoch; a number past the epoch's last goes on in the epochs after it.
    pub fn seek(&mut self, epoch: u64, batch: usize) {
        let per = self.per_epoch().max(1);
        (self.epoch, self.batch) = (epoch + (batch / per) as u64, batch % per);
    }

    /// The next batch. There is always one, but without rows it is empty.
    #[allow(clippy::should_implement_trait, reason = "it lends its rows, which an `Iterator` cannot")]
    pub fn next(&mut self) -> NextBatch<'_> {
        let (epoch, batch, per) = (self.epoch, self.batch, self.per_epoch());
        let last = batch + 1 >= per;
        (self.epoch, self.batch) = if last { (epoch + 1, 0) } else { (epoch, batch + 1) };
        if self.is_full() {
            return NextBatch { index: None, rows: self.rows, epoch, batch, last };
        }
        self.arrange(epoch);
        let start = batch * self.size;
        let index = &self.order[start..(start + self.size).min(self.rows)];
        NextBatch { index: Some(index), rows: index.len(), epoch, batch, last }
    }

    fn arrange(&mut self, epoch: u64) {
        if self.ordered.is_some() && (!self.shuffle || self.ordered == Some(epoch)) {
            return;
        }
        // Always from the natural order: a shuffle of the last epoch's order would depend on it.
        self.order.clear();
        let mut stream = Stream::new(self.seed, Purpose::Shuffle, epoch);
        match self.sequences {
            None => self.order.extend(0..self.rows as u32),
            Some((context, slack)) => {
                let first = stream.below(slack + 1);
                self.order.extend((0..self.rows as u32).map(|i| first + i * context));
            }
        }
        if self.shuffle {
            stream.shuffle(&mut self.order);
        }
        self.ordered = Some(epoch);
    }
}
