//! Text as symbols, for models that guess the next one: [`Text`], [`Vocabulary`], and [`NGram`] to compare with. In which order its
//! sequences are seen, [`Batches::sequences`](crate::Batches::sequences) says.
//!
//! ```
//! use thalweg_data::text::{NGram, Smoothing, Text, Vocabulary};
//! # fn main() -> Result<(), thalweg_data::DataError> {
//! let (text, _notes) = Text::parse("song.txt", "row, row, row your boat\n".repeat(40).as_bytes())?;
//! let parts = text.cut(Some(0.1), Some(0.2))?;
//! let (vocabulary, _notes) = Vocabulary::learn(&text, parts.train.clone(), 5);
//! let (train, test) = (vocabulary.encode(&text, parts.train), vocabulary.encode(&text, parts.test));
//! let baseline = NGram::learn(&train, vocabulary.len(), 5, Smoothing::KneserNey);
//! assert!(baseline.bits(&test) / (test.len() as f64) < 1.0);
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use crate::ngram::{NGram, Smoothing};

use crate::error::TextError;
use crate::notes::Note;

/// A character that training has less often is pooled with others, unless told otherwise.
pub const MIN_CHARACTER_COUNT: usize = 5;

/// What a symbol of a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A Unicode scalar value.
    Character,
    /// A byte, of a text that is not valid UTF-8.
    Byte,
}

/// A text as a row of symbols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    file: PathBuf,
    unit: Unit,
    /// Scalar values or bytes.
    symbols: Vec<u32>,
}

/// Contiguous parts of a text, in this order, without overlap: no sequence has symbols of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextParts {
    /// What is learnt from.
    pub train: Range<usize>,
    /// What early stopping looks at.
    pub valid: Range<usize>,
    /// What gives the score.
    pub test: Range<usize>,
}

impl Text {
    /// Reads a file: characters if it is valid UTF-8 (a byte-order mark is passed over), otherwise bytes, with a note that says where it
    /// is not. Ends of lines stay as they are.
    ///
    /// # Errors
    /// [`TextError`]: the file cannot be read, is empty or is UTF-16.
    pub fn read(file: impl AsRef<Path>) -> Result<(Self, Vec<Note>), TextError> {
        let file = file.as_ref();
        let bytes = fs::read(file).map_err(|source| TextError::Io { file: file.into(), source })?;
        Self::parse(file, &bytes)
    }

    /// Reads bytes; `name` is for messages.
    ///
    /// # Errors
    /// As [`Text::read`].
    pub fn parse(name: impl AsRef<Path>, bytes: &[u8]) -> Result<(Self, Vec<Note>), TextError> {
        let file = name.as_ref().to_path_buf();
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err(TextError::Utf16 { file });
        }
        let own = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let (unit, symbols, notes) = match std::str::from_utf8(own) {
            Ok(text) => (Unit::Character, text.chars().map(u32::from).collect::<Vec<_>>(), vec![]),
            Err(e) => {
                let note = Note::Bytes { offset: e.valid_up_to() + bytes.len() - own.len() };
                (Unit::Byte, bytes.iter().map(|&b| u32::from(b)).collect(), vec![note])
            }
        };
        if symbols.is_empty() {
            return Err(TextError::Empty { file });
        }
        Ok((Self { file, unit, symbols }, notes))
    }

    /// How many symbols there are.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Never: an empty text is not read.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// What a symbol is.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// How often each symbol occurs: Unicode scalar values, or bytes.
    pub fn counts(&self) -> BTreeMap<u32, usize> {
        let mut counts = BTreeMap::new();
        self.symbols.iter().for_each(|&symbol| *counts.entry(symbol).or_insert(0) += 1);
        counts
    }

    /// How many lines there are, the last one with an end or without.
    pub fn lines(&self) -> usize {
        let end = u32::from('\n');
        self.symbols.iter().filter(|&&symbol| symbol == end).count()
            + usize::from(self.symbols.last() != Some(&end))
    }

    /// Cuts the text: the first part trains, then comes what validates, the end tests.
    ///
    /// Sizes as [`Split::new`](crate::Split::new) has them: `test` of all symbols, rounded to the nearest (half up), at least 1;
    /// `valid` of the rest. A part that is not asked for is empty.
    ///
    /// # Errors
    /// A fraction that is not in (0, 1); [`TextError::TooFew`] if nothing would be left to train on.
    pub fn cut(&self, valid: Option<f64>, test: Option<f64>) -> Result<TextParts, TextError> {
        let share = |part, fraction: Option<f64>, of: usize| match fraction {
            None => Ok(0),
            Some(f) if f > 0.0 && f < 1.0 => Ok(((f * of as f64 + 0.5) as usize).max(1)),
            Some(found) => Err(TextError::Fraction { part, found }),
        };
        let n = self.len();
        let test_size = share("test", test, n)?;
        let rest = n.saturating_sub(test_size);
        let valid_size = share("valid", valid, rest)?;
        if valid_size >= rest {
            let parts = 1 + usize::from(valid.is_some()) + usize::from(test.is_some());
            return Err(TextError::TooFew { file: self.file.clone(), found: n, parts });
        }
        let train = rest - valid_size;
        Ok(TextParts { train: 0..train, valid: train..rest, test: rest..n })
    }
}

/// Which number each symbol has: learnt on the training part, stored with the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Vocabulary {
    /// What a symbol is.
    unit: Unit,
    /// The characters, ascending: the number of each is its place. One more number, the last, is every other character.
    /// Empty for bytes, which are their own numbers.
    characters: Vec<char>,
    /// How many symbols of the training part are "other".
    pooled: usize,
}

/// A vocabulary in a file, which may have been altered.
#[derive(Deserialize)]
struct Written {
    unit: Unit,
    characters: Vec<char>,
    pooled: usize,
}

impl TryFrom<Written> for Vocabulary {
    type Error = &'static str;
    fn try_from(Written { unit, characters, pooled }: Written) -> Result<Self, Self::Error> {
        if !characters.is_sorted_by(|a, b| a < b) {
            return Err("the characters of the vocabulary do not ascend");
        }
        if unit == Unit::Byte && !characters.is_empty() {
            return Err("a vocabulary of bytes has no characters");
        }
        Ok(Self { unit, characters, pooled })
    }
}

impl Vocabulary {
    /// Learns from a part of a text.
    ///
    /// Characters that occur at least `least` times there get a number each, by their scalar value; all others, and those that
    /// the part does not have, share the last one ("other"); a note says which are pooled. Bytes are all 256 numbers, whatever
    /// occurs.
    ///
    /// # Panics
    /// If the part is not within the text.
    pub fn learn(text: &Text, part: Range<usize>, least: usize) -> (Self, Vec<Note>) {
        let unit = text.unit;
        if unit == Unit::Byte {
            return (Self { unit, characters: Vec::new(), pooled: 0 }, Vec::new());
        }
        let mut counts = BTreeMap::new();
        for &symbol in &text.symbols[part] {
            *counts.entry(character(symbol)).or_insert(0usize) += 1;
        }
        let (kept, pooled): (Vec<_>, Vec<_>) = counts.into_iter().partition(|&(_, count)| count >= least);
        let times: usize = pooled.iter().map(|&(_, count)| count).sum();
        let note =
            Note::PooledCharacters { characters: pooled.iter().map(|&(c, _)| c).collect(), times, least };
        let notes = if pooled.is_empty() { vec![] } else { vec![note] };
        (Self { unit, characters: kept.into_iter().map(|(c, _)| c).collect(), pooled: times }, notes)
    }

    /// What a symbol is.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// The characters that have a number of their own, ascending; none of a vocabulary of bytes.
    pub fn characters(&self) -> &[char] {
        &self.characters
    }

    /// How many symbols of the training part are "other": of a model that never saw it, it says nothing.
    pub fn pooled(&self) -> usize {
        self.pooled
    }

    /// How many numbers there are: the characters and "other", or 256.
    pub fn len(&self) -> usize {
        match self.unit {
            Unit::Character => self.characters.len() + 1,
            Unit::Byte => 256,
        }
    }

    /// Never: there is always "other".
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The number of "other", if characters are numbered.
    pub fn other(&self) -> Option<u32> {
        (self.unit == Unit::Character).then_some(self.characters.len() as u32)
    }

    /// The numbers of a part of a text. Of a text of bytes read by a vocabulary of characters, or the reverse, each symbol is
    /// looked up as it would be in UTF-8.
    ///
    /// # Panics
    /// If the part is not within the text.
    pub fn encode(&self, text: &Text, part: Range<usize>) -> Vec<u32> {
        let symbols = &text.symbols[part];
        match (self.unit, text.unit) {
            (Unit::Character, Unit::Character) => {
                symbols.iter().map(|&s| self.number(character(s))).collect()
            }
            (Unit::Byte, Unit::Byte) => symbols.to_vec(),
            (Unit::Byte, Unit::Character) => {
                let text: String = symbols.iter().map(|&s| character(s)).collect();
                self.encode_str(&text)
            }
            (Unit::Character, Unit::Byte) => {
                let bytes: Vec<u8> = symbols.iter().map(|&s| s as u8).collect();
                self.encode_str(&String::from_utf8_lossy(&bytes))
            }
        }
    }

    /// The numbers of a text, such as what a person wants to be continued.
    pub fn encode_str(&self, text: &str) -> Vec<u32> {
        match self.unit {
            Unit::Character => text.chars().map(|c| self.number(c)).collect(),
            Unit::Byte => text.bytes().map(u32::from).collect(),
        }
    }

    /// The text of some numbers; "other" and what is not valid is �.
    pub fn decode(&self, codes: &[u32]) -> String {
        match self.unit {
            Unit::Character => {
                let known = |&c: &u32| self.characters.get(c as usize).copied();
                codes.iter().map(|c| known(c).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
            Unit::Byte => {
                let bytes: Vec<u8> = codes.iter().map(|&c| c as u8).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
        }
    }

    /// The first character of a text that has no number of its own, and its place, counted in characters from 0.
    pub fn first_other(&self, text: &str) -> Option<(usize, char)> {
        let other = |&(_, c): &(usize, char)| Some(self.number(c)) == self.other();
        text.chars().enumerate().find(other)
    }

    /// Appends the text of one number to `out`: a character in UTF-8 ("other" is �), or a byte.
    pub fn write(&self, code: u32, out: &mut Vec<u8>) {
        match self.unit {
            Unit::Byte => out.push(code as u8),
            Unit::Character => out.extend_from_slice(self.decode(&[code]).as_bytes()),
        }
    }

    fn number(&self, character: char) -> u32 {
        self.characters.binary_search(&character).unwrap_or(self.characters.len()) as u32
    }
}

fn character(symbol: u32) -> char {
    char::from_u32(symbol).expect("a text of characters holds scalar values")
}
