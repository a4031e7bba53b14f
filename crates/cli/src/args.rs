//! Every flag of the command: its name, its help, its place in a configuration file.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand};
use serde::{Deserialize, Serialize};

/// Train models by gradient descent, compare optimizers, see why.
///
/// Exit status: 0 done; 1 the data, the target or a divergence; 2 wrong usage; 130 interrupted (the model so far is saved).
#[derive(Debug, Parser)]
#[command(name = "thalweg", version, max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The line y = 4 + 3x by gradient descent and by Adam, with a picture and the theory beside it
    Demo(Demo),
    /// Train a model on a table, images or text: progress, score, model, report
    Fit(Box<Fit>),
    /// Score a saved model on a table, images or text
    Evaluate(Evaluate),
    /// Write a saved model's predictions for a table, as CSV
    Predict(Predict),
    /// Write a saved model as ONNX, preprocessing included, for other programs
    ///
    /// The file takes cells of a table, column by column under the columns' names, or pixels, and gives what `thalweg predict` says: missing
    /// cells, unseen categories and units are handled inside. ONNX Runtime 1.15 and newer run it.
    Export(Export),
    /// Go on with a text: what a saved model of text writes
    Generate(Generate),
    /// Put optimizers, learning rates or batch sizes side by side on the same data, start and batches
    Compare(Box<Compare>),
    /// Show what a saved model is: its coefficients in original units, its settings
    Inspect(Inspect),
    /// Show what a table holds: columns, types, missing cells, ranges; or images: their size, their classes; or a text
    Data(Data),
    /// List optimizers, schedules and stages with their hyperparameters
    Optimizers(Optimizers),
}

/// The line y = 4 + 3x by gradient descent and by Adam
#[derive(Debug, Args)]
pub struct Demo {
    /// The draw of the 100 points
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Where to write the report [default: demo.html]
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write no report
    #[arg(long)]
    pub no_report: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

/// What data is read and how; the same in flags and configuration files.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(next_help_heading = "Reading")]
pub struct Reading {
    /// The character between cells: one character, or "tab" [default: detected]
    #[arg(long, value_name = "CHAR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,
    /// Whether the first line names the columns [default: detected]
    #[arg(long, value_name = "yes|no")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// A text that means "no value here", besides empty, NA and NaN; may be repeated
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub missing: Vec<String>,
    /// Bring the images of a folder to this width and height [default: all must have one size]
    #[arg(long, value_name = "WxH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<String>,
    /// Read the images of a folder in grey [default: in colour if one of them has it]
    #[arg(long, alias = "gray")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub grey: bool,
    /// Whether the channels of an array of images are its second axis (first) or its last [default: the one that is 1 to 4 long]
    #[arg(long, value_name = "first|last")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<String>,
}

/// What is trained and how; the same in flags and configuration files.
///
/// In a file, `reading` is a table of its own and comes last.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Training {
    /// The table: a CSV file, or a NumPy array of numbers, one row for each; or images: a folder of folders named after their
    /// classes, an IDX file (plain or gzip) or a NumPy array; of ARCHIVE.npz, an array is ARCHIVE.npz/NAME; or text: any other
    /// file, without --target
    #[arg(value_name = "DATA")]
    pub data: Option<PathBuf>,
    /// The column to predict; for arrays, the file of their classes or numbers [default: the one beside them by its name]; for
    /// text, none
    #[arg(long, value_name = "COL")]
    pub target: Option<String>,

    /// Rows that give the score and are used for nothing else: a share, a file, or none [default: 0.2]
    #[arg(long, value_name = "SHARE|FILE|none", help_heading = "Rows")]
    pub test: Option<String>,
    /// Rows for early stopping and the best weights, from the rest: a share, a file, or none [default: none; 0.1 for networks]
    #[arg(long, value_name = "SHARE|FILE|none", help_heading = "Rows")]
    pub valid: Option<String>,
    /// How rows are cut into parts: shuffled (stratified for classes), ordered, or the column that names each row's part
    #[arg(long, value_name = "shuffled|ordered|COL", help_heading = "Rows")]
    pub split: Option<String>,
    /// The column that says how much each row weighs
    #[arg(long, value_name = "COL", help_heading = "Rows")]
    pub weight: Option<String>,
    /// How much each class weighs: balanced, or as in yes=5,no=1
    #[arg(long, value_name = "WEIGHTS", help_heading = "Rows")]
    pub class_weight: Option<String>,
    /// The seed of the split and of the order of batches [default: 0]
    #[arg(long, help_heading = "Rows")]
    pub seed: Option<u64>,

    /// What the target is: classes or number [default: inferred]
    #[arg(long, value_name = "classes|number", help_heading = "Columns")]
    pub task: Option<String>,
    /// What a column is, as in zip=category or year=number; may be repeated
    #[arg(long, value_name = "COL=TYPE", help_heading = "Columns")]
    pub types: Vec<String>,
    /// Keep a text column that would be left out for its many values; may be repeated
    #[arg(long, value_name = "COL", help_heading = "Columns")]
    pub keep: Vec<String>,
    /// Leave a column out; may be repeated
    #[arg(long, value_name = "COL", help_heading = "Columns")]
    pub ignore: Vec<String>,

    /// The model: linear; or a network's layers, as in "mlp(128, 64, dropout=0.1)" or
    /// "conv(32) relu pool(2) flatten dense(128) relu", or for text "transformer(d=128, heads=4, layers=4)"
    /// [default: linear; gru(128) for text]
    #[arg(long, value_name = "MODEL", help_heading = "Model")]
    pub model: Option<String>,
    /// A network's tensors that stay as they start, as in "0.* 2.weight" or embeddings
    #[arg(long, value_name = "PATTERN", help_heading = "Model")]
    pub freeze: Option<String>,
    /// How many characters of a text a network reads at a time [default: 64]
    #[arg(long, value_name = "N", help_heading = "Model", value_parser = RangedU64ValueParser::<usize>::new().range(1..=65_536))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<usize>,
    /// The loss, of networks too: squared, absolute, huber(delta), quantile(q), poisson; logistic or hinge for two classes, softmax
    /// for any number of them [default: by the target]
    #[arg(long, value_name = "LOSS", help_heading = "Model")]
    pub loss: Option<String>,
    /// The share of a class that softmax spreads over all classes, for networks [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_smoothing: Option<f64>,
    /// Weights that a network starts from: a safetensors file with the names of PyTorch's state_dict, or a saved model; with
    /// --epochs 0 they are scored as they are
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// Leave numbers as they are, neither centred nor scaled (bytes of images go from 0 to 1), as weights from elsewhere may want
    #[arg(long, alias = "no-standardize", help_heading = "Model")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_standardise: bool,
    /// Leave out the intercept
    #[arg(long, help_heading = "Model")]
    pub no_intercept: bool,
    /// Strength of l1·‖w‖₁ on standardised features [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Model")]
    pub l1: Option<f64>,
    /// Strength of l2/2·‖w‖² on standardised features [default: 1/rows for classes, 0 for numbers and networks]
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Model")]
    pub l2: Option<f64>,

    /// The optimizer, as in adam, sgd(lr=0.1, momentum=0.9) or "clip(1) | adamw | ema(0.999)"; see `thalweg optimizers`
    /// [default: adam at 0.05, cosine to 0; adamw at 0.001 for networks; clip(1) | adamw at 0.003, cosine to 0 for text]
    #[arg(long, value_name = "EXPRESSION", help_heading = "Training")]
    pub optimizer: Option<String>,
    /// The learning rate; for gd the default is 1/L, measured
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Training")]
    pub lr: Option<f64>,
    /// The learning rate over time, as in cosine, step(every=10, gamma=0.5), or cosine(warmup=5%)
    #[arg(long, value_name = "SCHEDULE", help_heading = "Training")]
    pub schedule: Option<String>,
    /// Rows in a batch, or full [default: full up to 4,096 rows, else 1024; 32 for networks]
    #[arg(long, value_name = "N|full", help_heading = "Training")]
    pub batch: Option<String>,
    /// Passes over the training rows at most [default: 5 passes and 1,000 steps; 100 passes for networks; over text 30,
    /// fewer where they see more than 12 million characters]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub epochs: Option<u64>,
    /// Stop when every coordinate of the gradient is at most this; 0 never does [default: 0.0001; 0 for networks]
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Training")]
    pub tolerance: Option<f64>,
    /// Stop when the loss changed by less than this share in ten epochs in a row; 0 never does [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Training")]
    pub loss_tolerance: Option<f64>,
    /// Stop after so many epochs without a better validation loss [default: never; 10 for networks]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub patience: Option<u64>,
    /// The score: accuracy, balanced_accuracy, f1, roc_auc, log_loss; r2, rmse, mae; bits_per_character
    /// [default: accuracy, r2 or bits_per_character]
    #[arg(long, value_name = "METRIC", help_heading = "Training")]
    pub metric: Option<String>,

    #[command(flatten)]
    pub reading: Reading,
}

/// Where a run goes and what is printed.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// A TOML file with the same settings, such as a run's config.toml; flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The run's folder [default: runs/DATA-N]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write into a folder that already has files
    #[arg(long)]
    pub force: bool,
    /// Write no report.html
    #[arg(long)]
    pub no_report: bool,
    /// Threads; 0 is all cores. Results do not depend on it
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = RangedU64ValueParser::<usize>::new().range(..=1024))]
    pub threads: usize,
    /// One JSON document on stdout, everything else on stderr
    #[arg(long)]
    pub json: bool,
    /// Print no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// Train a model on a table, images or text
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  thalweg fit examples/data/iris.csv --target species\n  \
    thalweg fit examples/data/digits.csv --target digit --model \"mlp(64)\"\n  \
    thalweg fit photos/ --resize 32x32 --model \"conv(16) relu pool(2) conv(32) relu pool(2) flatten dense(64) relu\"\n  \
    thalweg fit x.npy --target y.npy\n  \
    thalweg fit book.txt --model \"transformer(d=128, heads=4, layers=4)\"")]
pub struct Fit {
    #[command(flatten)]
    pub training: Training,
    #[command(flatten)]
    pub output: Output,
}

/// Put optimizers side by side
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  thalweg compare examples/data/breast_cancer.csv --target diagnosis \
    --optimizers \"gd, momentum, adagrad, rmsprop, adam\"\n  thalweg compare --function rosenbrock --optimizers \"gd, adam\"")]
pub struct Compare {
    #[command(flatten)]
    pub training: Training,
    /// The optimizers, separated by commas [default: gd, momentum, adagrad, rmsprop, adam]
    #[arg(long, value_name = "LIST", help_heading = "Compared")]
    pub optimizers: Option<String>,
    /// Compare learning rates of one optimizer instead, as in "0.001, 0.01, 0.1"
    #[arg(long, value_name = "LIST", help_heading = "Compared")]
    pub lrs: Option<String>,
    /// Compare batch sizes of one optimizer instead, as in "1, 32, full"
    #[arg(long, value_name = "LIST", help_heading = "Compared")]
    pub batches: Option<String>,
    /// Repeat with so many seeds and show median and spread
    #[arg(long, value_name = "K", default_value_t = 1, help_heading = "Compared")]
    pub seeds: u64,
    /// Compare on a test function of the plane instead of data; "list" shows their names
    #[arg(long, value_name = "NAME", help_heading = "Compared")]
    pub function: Option<String>,
    /// Where the paths start, as in "-1.5, 2" [default: the function's own]
    #[arg(long, value_name = "X, Y", allow_hyphen_values = true, help_heading = "Compared")]
    pub start: Option<String>,
    /// Steps on the function [default: 1000]
    #[arg(long, value_name = "N", help_heading = "Compared")]
    pub steps: Option<u64>,
    #[command(flatten)]
    pub output: Output,
}

/// Score a saved model on a table, images or text
#[derive(Debug, Args)]
pub struct Evaluate {
    /// A run's folder or a model file
    pub model: PathBuf,
    /// The table, the images or the text, as for fit
    pub data: PathBuf,
    /// For arrays, the file of their classes or numbers [default: the one beside them by its name]
    #[arg(long, value_name = "FILE")]
    pub target: Option<String>,
    /// The score [default: the one the model was scored with]
    #[arg(long)]
    pub metric: Option<String>,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub reading: Reading,
}

/// Write a saved model's predictions for a table
#[derive(Debug, Args)]
pub struct Predict {
    /// A run's folder or a model file
    pub model: PathBuf,
    /// The table, in which the target column may be absent, or the images
    pub data: PathBuf,
    /// The probability of each class in place of the class
    #[arg(long)]
    pub proba: bool,
    /// Where to write [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub reading: Reading,
}

/// Write a saved model as ONNX
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  thalweg export runs/penguins-1 --onnx penguins.onnx\n\n\
    PyTorch needs no export: a network's model.safetensors is the state_dict of the same torch.nn.Sequential.")]
pub struct Export {
    /// A run's folder or a model file
    pub model: PathBuf,
    /// The ONNX file to write
    #[arg(long, value_name = "FILE")]
    pub onnx: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    pub force: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
    /// Nothing on the terminal but warnings and errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// Go on with a text
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  thalweg fit book.txt\n  thalweg generate runs/book-1 --prompt \"In the beginning \" --temperature 0.7"
)]
pub struct Generate {
    /// A run's folder or a model file
    pub model: PathBuf,
    /// The text to go on with [default: where a line begins]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// How many characters are written behind it
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = RangedU64ValueParser::<u64>::new().range(1..=1_000_000_000))]
    pub length: u64,
    /// Below 1 the likely gets likelier; 0 always takes the most probable character
    #[arg(long, value_name = "T", default_value_t = 1.0, allow_negative_numbers = true)]
    pub temperature: f64,
    /// Draw from so many of the most probable characters alone [default: from all]
    #[arg(long, value_name = "K", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub top_k: Option<usize>,
    /// The seed of the draws
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// Threads; 0 is all cores. What is written does not depend on it
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = RangedU64ValueParser::<usize>::new().range(..=1024))]
    pub threads: usize,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

/// Show what a saved model is
#[derive(Debug, Args)]
pub struct Inspect {
    /// A run's folder or a model file
    pub model: PathBuf,
    /// Show every coefficient
    #[arg(long)]
    pub all: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

/// Show what a table, a set of images or a text holds
#[derive(Debug, Args)]
pub struct Data {
    /// The table, the images or the text, as for fit
    pub data: PathBuf,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub reading: Reading,
}

/// List optimizers
#[derive(Debug, Args)]
pub struct Optimizers {
    /// Show one optimizer, stage or schedule whole; or an expression, as in "rmsprop(centered=true)"
    pub name: Option<String>,
    /// Measure this machine: its bandwidth, and steps per second of each rule
    #[arg(long)]
    pub bench: bool,
    /// Numbers to measure on
    #[arg(long, value_name = "N", requires = "bench", default_values_t = [1_000_000, 25_000_000])]
    pub numbers: Vec<usize>,
    /// Threads to measure with [default: all]
    #[arg(long, requires = "bench")]
    pub threads: Option<usize>,
    /// Draw a schedule over a run, as in "cosine(0.1, warmup=5%)"; may be repeated
    #[arg(long, value_name = "SCHEDULE", conflicts_with_all = ["name", "bench", "markdown"])]
    pub schedule: Vec<String>,
    /// Steps of the run that is drawn [default: 100 in an epoch]
    #[arg(long, value_name = "N", requires = "schedule", value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    pub steps: Option<u64>,
    /// Epochs of the run that is drawn [default: 10]
    #[arg(long, value_name = "N", requires = "schedule", value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    pub epochs: Option<u64>,
    /// The documentation page of all of them
    #[arg(long, conflicts_with_all = ["name", "bench", "json"])]
    pub markdown: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}
