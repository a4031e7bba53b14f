//! Tables to batches: readers, type inference, encoder, splits.
//!
//! A file becomes a [`Table`] ([`read`]), one of its columns the [`Target`], its rows a [`Split`]; an [`Encoder`] is learnt on the
//! training rows alone ([`Encoder::learn`]), and makes a [`Dataset`] of any rows of any such table ([`Encoder::encode`]), over
//! which [`Batches`] go.
//!
//! ```
//! use thalweg_data::{Batches, Encoder, Split, SplitOptions, Target, read_bytes};
//! # fn main() -> Result<(), thalweg_data::DataError> {
//! let text: String = (0..60).map(|i| format!("{},{},{}\n", i as f64 / 8.0, ["red", "blue"][i % 2], i / 30)).collect();
//! let table = read_bytes("colours.csv", format!("size,colour,heavy\n{text}").as_bytes(), &Default::default())?;
//! let target = Target::infer(&table, "heavy", None, None)?;
//! let split = Split::new(&table, &target.rows, Some(&target.classes), &SplitOptions::default())?;
//! let (encoder, _notes) = Encoder::learn(&table, &split.train, Some(&target), &Default::default())?;
//! let train = encoder.encode::<f64>(&table, &split.train, true)?;
//! assert_eq!((train.len(), train.width, train.code_width), (48, 1, 1));
//! assert_eq!(encoder.features()[1].name, "colour=blue");
//! # Ok(()) }
//! ```
//!
//! # What a column is
//!
//! Decided on the training rows (of a weight above 0), unless [`EncoderOptions`] say otherwise:
//!
//! | column | what becomes of it |
//! |---|---|
//! | at least 95% of its present cells are numbers | a number, standardised; any other cell is an error |
//! | at least 95% are dates (`2024-12-31`, with or without a time) | year, month, weekday, days since the first, each standardised; any other cell is an error |
//! | other text | one feature for each level; levels with fewer than 5 rows share one, which unseen levels join (without it, they are all zeros) |
//! | text of which more than half of the present cells differ | left out, unless kept |
//! | the same in all rows, or missing in all | left out |
//!
//! A missing number or date gets the mean, and a feature that is 1 where it was missing, if that occurs in training. A missing
//! category is a level. An infinite number is an error.
//!
//! # What is no table
//!
//! [`Images`] come from IDX files, NumPy's arrays or a folder of PNG and JPEG files, and an [`ImageEncoder`] makes them a
//! [`Dataset`]; [`text`] reads text as characters, for models that guess the next one.

mod array;
mod batches;
mod class_weight;
mod csv;
mod dates;
mod encode;
mod encoder;
mod error;
mod fields;
mod fill;
mod folder;
pub mod idx;
pub mod images;
mod infer;
mod intern;
mod learn;
mod ngram;
mod notes;
pub mod npy;
mod number;
mod pages;
mod pixels;
mod resize;
mod scan;
mod sniff;
mod source;
mod split;
mod stats;
mod stream;
mod summary;
mod table;
mod target;
pub mod text;
mod window;

pub use array::{Array, Elements};
pub use batches::{BatchSize, Batches, NextBatch};
pub use class_weight::ClassWeight;
pub use csv::{ReadOptions, read, read_bytes, read_bytes_in_pieces};
pub use dates::{DatePart, days_since_1970};
pub use encode::Dataset;
pub use encoder::{Code, ColumnCode, Encoder, Feature, FeatureKind, PartCode, Reason, TargetCode};
pub use error::{
    ArrayError, DataError, EncodeError, ImageError, ReadError, SplitError, TargetError, TextError,
};
pub use images::{ImageEncoder, Images, Pixels};
pub use infer::ColumnType;
pub use learn::{EncoderOptions, MIN_LEVEL_ROWS, weights};
pub use notes::Note;
pub use number::MISSING_TEXTS;
pub use sniff::DELIMITERS;
pub use split::{Part, Split, SplitBy, SplitOptions};
pub use summary::{ColumnSummary, Content, Misfit, Summary, summary};
pub use table::{Cells, Column, Levels, MISSING, Table};
pub use target::{Target, Task, TaskKind};

/// A target of whole numbers that takes at most so many values is a class.
pub const MAX_WHOLE_CLASSES: usize = 20;
