//! Layers: what networks are made of, one file each.
//!
//! A [`Layer`] declares its tensors once it knows the shape that comes in, says the shape that goes out, and runs on a
//! [`Tape`]. [`Sequential`] is a list of layers, itself a layer. Shapes are those of one row: `[d]` numbers, an image
//! `[channels, height, width]`, a sequence `[steps, d]`; on the tape the rows stand in front of them, and the channels of an image last:
//! `[n, height, width, channels]`.
//!
//! Names are PyTorch's: those of `torch.nn.Sequential` over the same layers (`0.weight`, `0.bias`, `3.weight`, …, activations and
//! dropout counted), within a layer those of `torch.nn`'s own. So are starting values: see [`Init`].
//!
//! [`ALL`] is the registry that the expression parser, the tests and the documentation read.

mod activation;
mod batch_norm;
mod checkpoint;
mod conv;
mod declare;
mod dense;
mod dropout;
mod embedding;
mod flatten;
mod init;
mod last;
mod mlp;
mod norm;
mod pool;
mod reader;
mod recurrent;
mod residual;
mod sequential;
mod transformer;

use std::fmt::{self, Debug};

use thalweg_autodiff::{Number, Shape, Tape, Var};
use thalweg_core::expr::ExprError;
use thalweg_core::hyper::Hyper;

use crate::onnx::{Edge, Export, Exporter};

pub use self::activation::Activation;
pub use self::batch_norm::BatchNorm;
pub use self::checkpoint::Checkpoint;
pub use self::conv::{Conv, Padding};
pub(crate) use self::declare::check_row;
pub use self::declare::{Declare, Misfit, Place, Row, States, Statistics};
pub use self::dense::Dense;
pub use self::dropout::Dropout;
pub use self::embedding::{Bags, Embedding, EmbeddingBag, default_width};
pub use self::flatten::Flatten;
pub use self::init::Init;
pub use self::last::Last;
pub use self::norm::{Norm, Over};
pub use self::pool::{GlobalPool, Pool, Taking};
pub use self::reader::Reader;
pub use self::recurrent::{Cell, Recurrent};
pub use self::residual::Residual;
pub use self::sequential::{Item, Sequential};
pub use self::transformer::{Block, Position};

/// A part of a network.
pub trait Layer: Clone + Debug + Send + Sync {
    /// Declares its tensors for rows of the shape `input`, remembers their places, and says the shape of its results.
    ///
    /// # Errors
    /// Why it cannot take such rows.
    fn build(&mut self, declare: &mut Declare, input: Shape) -> Result<Shape, Misfit>;
    /// Its results for `x [n, input..]`: `[n, output..]`.
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var;
}

/// What layers run on.
pub struct Run<'r, 'a, N: Number> {
    /// The tape.
    pub tape: &'r mut Tape<'a, N>,
    /// Numbers that are kept from step to step beside the parameters: running means and variances. Written in training alone, once a step:
    /// not where the tape is [replaying](Tape::is_replaying).
    pub statistics: Statistics<'a, N>,
    /// Codes of the categories, column by column, or of the tokens.
    pub bags: &'a [Bags],
    /// The seed of this step's random choices.
    pub seed: u64,
    /// Where a stretch of the sequence before left the recurrent layers; at zeros, if none.
    pub states: Option<States<'r, N>>,
}

/// What the registry says of a layer, or of a name for several.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Its name in expressions.
    pub name: &'static str,
    /// How it is called, as in `dense(out, bias=true)`.
    pub usage: &'static str,
    /// Its numeric hyperparameters.
    pub hyper: &'static [Hyper],
    /// One line for tables and help.
    pub doc: &'static str,
    /// Reads a call of it: the layers that it stands for.
    pub read: fn(&Reader<'_>) -> Result<Vec<Module>, ExprError>,
}

/// Every layer, and every name for several.
pub const ALL: &[Entry] = &[
    dense::ENTRY,
    mlp::ENTRY,
    conv::ENTRY,
    pool::MAX,
    pool::MEAN,
    pool::GLOBAL,
    flatten::ENTRY,
    batch_norm::ENTRY,
    norm::ROW,
    norm::ROOT_MEAN_SQUARE,
    norm::GROUPS,
    residual::ENTRY,
    checkpoint::ENTRY,
    dropout::ENTRY,
    embedding::ENTRY,
    embedding::BAG,
    recurrent::GRU,
    recurrent::LSTM,
    transformer::ENTRY,
    transformer::BLOCK,
    transformer::POSITION,
    last::ENTRY,
    activation::RELU,
    activation::GELU,
    activation::SILU,
    activation::TANH,
    activation::SIGMOID,
    activation::SOFTPLUS,
    activation::ELU,
    activation::LEAKY_RELU,
];

/// Any of the layers, and [`Layer`] and [`Export`] for all of them.
macro_rules! modules {
    ($($name:ident: $doc:literal),* $(,)?) => {
        /// Any layer.
        #[derive(Clone, Debug)]
        pub enum Module {
            $(#[doc = $doc] $name($name),)*
        }
        impl Layer for Module {
            fn build(&mut self, declare: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
                match self { $(Module::$name(layer) => layer.build(declare, input),)* }
            }
            fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
                match self { $(Module::$name(layer) => layer.forward(run, x),)* }
            }
        }
        impl Export for Module {
            fn export(&self, to: &mut Exporter<'_>, x: &Edge, input: Shape) -> Edge {
                match self { $(Module::$name(layer) => layer.export(to, x, input),)* }
            }
        }
        impl fmt::Display for Module {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $(Module::$name(layer) => fmt::Display::fmt(layer, f),)* }
            }
        }
        $(impl From<$name> for Module {
            fn from(layer: $name) -> Self {
                Module::$name(layer)
            }
        })*
    };
}

modules! {
    Dense: "A linear map.",
    Conv: "A convolution.",
    Pool: "The largest number or the mean of each window.",
    GlobalPool: "The mean of each channel.",
    BatchNorm: "Each channel to mean 0 and variance 1 over the batch.",
    Norm: "Each row to mean 0 and variance 1 by itself.",
    Residual: "Layers with a way around them.",
    Checkpoint: "Layers that are run again in the backward pass.",
    Recurrent: "Reads a sequence step by step.",
    Block: "Attention and a perceptron.",
    Position: "Where a step stands.",
    Activation: "A function of each number.",
    Flatten: "All numbers of a row behind each other.",
    Embedding: "A row of a table for each token.",
    EmbeddingBag: "One row for all tokens.",
    Last: "The last step of a sequence.",
    Dropout: "Leaves numbers out at random.",
}
