//! [`Saved`]: one file holds a model.
//!
//! The file is in the safetensors format. Its tensors are the parameters under the names of their layout (`weight [out, in]`,
//! `bias [out]`, in `f32` or `f64`) and, for readers that know nothing of the encoder, `coefficients [out, in]` and
//! `intercept [out]` in `f64`, in the units of the data. Those of a network are in `f32` under PyTorch's names, with the running
//! means and variances of batch norm beside them. All the rest is in one metadata key, [`KEY`]: canonical JSON (keys in
//! order, no blanks) of a [`Description`]. There is no time, path, host or thread count in it, so two saves of one model are the
//! same bytes.
//!
//! Files appear whole or not at all: they are written to a temporary sibling, synced, renamed, and the folder is synced.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use thalweg_core::hyper::{self, Hyper, Range};
use thalweg_core::{Float, Layout, Params, expr};

use crate::linear::Shape;
use crate::losses::Loss;
use crate::network::{Input, ModelSpec, Network, NetworkError, Output, StateError};

/// The version of the description that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// The metadata key that holds the description.
pub const KEY: &str = "thalweg";
/// The name of the model file in a run folder.
pub const FILE_NAME: &str = "model.safetensors";

/// Everything about a saved model that is not a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The version of this description: [`FORMAT`].
    pub format: u32,
    /// The model expression, as in `linear`, `linear(intercept=false)` or `mlp(128, 64)`.
    pub model: String,
    /// The loss expression, as in `huber(delta=1.35)`. It says what is predicted.
    pub loss: String,
    /// The numeric columns that the model takes.
    pub dense: usize,
    /// The one-hot features behind them.
    pub one_hot: usize,
    /// The names of the classes, in the order of their indices; empty for numbers.
    pub classes: Vec<String>,
    /// The encoder that turns a table into those columns, as it describes itself.
    pub encoder: Value,
    /// What a network takes; absent for linear models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Input>,
    /// How the model was trained.
    pub training: Training,
    /// What it scored on rows that training never saw, if there were any.
    pub score: Option<Score>,
}

/// How a model was trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Rows that the gradient was taken over.
    pub rows: u64,
    /// Strength of the l1 penalty.
    pub l1: f64,
    /// Strength of the l2 penalty.
    pub l2: f64,
    /// The seed of all random choices.
    pub seed: u64,
    /// The optimizer expression, all values filled in.
    pub optimizer: String,
    /// Passes over the rows.
    pub epochs: u64,
    /// Steps.
    pub steps: u64,
    /// Why training ended, in a word: `gradient`, `epochs`, `interrupted`, …
    pub stop: String,
    /// The mean loss on those rows, penalty included.
    pub train_loss: Option<f64>,
    /// The mean loss on the rows that chose the weights, if there were any.
    pub valid_loss: Option<f64>,
}

/// A score on held-out rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// What was measured, as in `accuracy` or `r2`.
    pub metric: String,
    /// The score.
    pub value: f64,
    /// The 95% interval around it, if there is one.
    pub interval: Option<[f64; 2]>,
    /// What the majority class or the mean scores.
    pub baseline: Option<f64>,
    /// Rows that were scored.
    pub rows: u64,
}

impl Description {
    /// The loss.
    ///
    /// # Errors
    /// The place where the expression is wrong.
    pub fn loss(&self) -> Result<Loss, expr::ExprError> {
        self.loss.parse()
    }

    /// The sizes of the model.
    ///
    /// # Errors
    /// The place where the model or the loss expression is wrong.
    pub fn shape(&self) -> Result<Shape, expr::ExprError> {
        const INTERCEPT: Hyper = Hyper::new("intercept", 1.0, Range::SWITCH, "whether there is an intercept");
        let call = expr::parse_call(&self.model)?;
        if call.name != "linear" {
            let message = format!("there is no model {:?}", call.name);
            return Err(expr::ExprError::new(&self.model, call.span, message).help("there is linear"));
        }
        let intercept = hyper::resolve(&call, &[INTERCEPT], &self.model)?[0] != 0.0;
        let outputs = self.loss()?.outputs(self.classes.len());
        Ok(Shape { dense: self.dense, one_hot: self.one_hot, outputs, intercept })
    }

    /// The network, on one thread and without its parameters; none for linear models.
    ///
    /// # Errors
    /// An expression that is wrong, or layers that do not fit what comes to them.
    pub fn network(&self) -> Result<Option<Network<f32>>, NetworkError> {
        let Some(input) = self.input.clone() else { return Ok(None) };
        let (spec, loss) = (ModelSpec::parse(&self.model)?, self.loss()?);
        // What takes tokens and has no classes says the next token.
        let next = matches!(input, Input::Tokens { .. }) && self.classes.is_empty() && loss == Loss::SOFTMAX;
        let output = if next { Output::NextToken } else { Output::Row(loss.outputs(self.classes.len())) };
        Network::new(&spec, input, output, loss, self.training.seed).map(Some)
    }

    /// The encoder, read back as `T`.
    ///
    /// # Errors
    /// When it is not the description of a `T`.
    pub fn encoder<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.encoder)
    }
}

impl Shape {
    /// The model expression of these sizes: `linear` or `linear(intercept=false)`.
    pub fn expression(&self) -> String {
        if self.intercept { "linear".into() } else { "linear(intercept=false)".into() }
    }
}

/// Parameters in the type that they were trained in.
#[derive(Clone, Debug)]
pub enum Parameters {
    /// In `f32`.
    F32(Params<f32>),
    /// In `f64`.
    F64(Params<f64>),
}

impl Parameters {
    /// Names, shapes and places.
    pub fn layout(&self) -> &Arc<Layout> {
        match self {
            Parameters::F32(p) => p.layout(),
            Parameters::F64(p) => p.layout(),
        }
    }
    /// The same numbers as `f64` (exact).
    pub fn to_f64(&self) -> Params<f64> {
        match self {
            Parameters::F32(p) => {
                let mut wide = Params::zeros(p.layout());
                wide.flat_mut().iter_mut().zip(p.flat()).for_each(|(to, &x)| *to = f64::from(x));
                wide
            }
            Parameters::F64(p) => p.clone(),
        }
    }
    /// The numbers of every tensor, padding left out, as little-endian bytes.
    fn tensors(&self) -> Vec<(String, Dtype, Vec<usize>, Vec<u8>)> {
        let tensors = self.layout().tensors().iter();
        let one = |t: &thalweg_core::Tensor, dtype, bytes| (t.name.clone(), dtype, t.shape.clone(), bytes);
        match self {
            Parameters::F32(p) => tensors
                .map(|t| {
                    one(t, Dtype::F32, p.flat()[t.range()].iter().flat_map(|x| x.to_le_bytes()).collect())
                })
                .collect(),
            Parameters::F64(p) => {
                tensors.map(|t| one(t, Dtype::F64, little_endian(&p.flat()[t.range()]))).collect()
            }
        }
    }
}

impl From<Params<f32>> for Parameters {
    fn from(params: Params<f32>) -> Self {
        Parameters::F32(params)
    }
}

impl From<Params<f64>> for Parameters {
    fn from(params: Params<f64>) -> Self {
        Parameters::F64(params)
    }
}

fn little_endian(x: &[f64]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// A model as it is saved.
#[derive(Clone, Debug)]
pub struct Saved {
    /// What it is.
    pub description: Description,
    /// Its parameters, in the units of the encoded data.
    pub parameters: Parameters,
    /// The weights of a linear model in the units of the data, `[out, in]`; empty for networks.
    pub coefficients: Vec<f64>,
    /// The intercepts of a linear model in the units of the data, `[out]`; empty for networks.
    pub intercept: Vec<f64>,
    /// What a network keeps beside its parameters: the running means and variances of batch norm. None for linear models.
    pub statistics: Option<Params<f32>>,
}

/// Why a model file was not read or not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SavedError {
    /// The file cannot be read.
    #[error("cannot read the model {}: {source}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A run folder without a model.
    #[error("{} holds no {FILE_NAME}: is it the folder of a run that finished?", .folder.display())]
    NoModel {
        /// The folder.
        folder: PathBuf,
    },
    /// The file cannot be written. What was there before is untouched.
    #[error("cannot write the model {}: {source}; what was there before is untouched", .file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be read back.
    #[error("the model cannot be saved: {what}")]
    Unreadable {
        /// What is wrong.
        what: String,
    },
    /// Cut short, or not a safetensors file.
    #[error("{} is cut short or is no model file ({source}); save or copy it again", .file.display())]
    Broken {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: safetensors::SafeTensorError,
    },
    /// A safetensors file of another program.
    #[error(
        "{} is a safetensors file of another program: it has no {KEY:?} in its metadata; \
         give a model that `thalweg fit` saved", .file.display()
    )]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// Written by a newer version.
    #[error(
        "{} has format {found}, written by a newer thalweg; this one reads up to {FORMAT}: update thalweg",
        .file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The description cannot be understood.
    #[error("{}: the description of the model is damaged: {what}; train it again", .file.display())]
    Description {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The tensors are not those that the description says.
    #[error(
        "{}: the tensors do not fit the description: {}; the file was altered, train the model again",
        .file.display(), .found.join("; ")
    )]
    Mismatch {
        /// The file.
        file: PathBuf,
        /// Every difference.
        found: Vec<String>,
    },
    /// A parameter is infinite or NaN.
    #[error("{}: {tensor}[{place}] is {value}: the model diverged; train it again at a lower rate", .file.display())]
    NotFinite {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// The place in it, counted from 0.
        place: usize,
        /// The number there.
        value: f64,
    },
}

impl Saved {
    /// The bytes of the file: the same for the same model.
    ///
    /// # Errors
    /// [`SavedError::Unreadable`] if the file could not be read back: a number in the description is infinite or NaN, or the
    /// description is larger than safetensors allows (100 MB).
    ///
    /// # Panics
    /// When the coefficients or intercepts do not have the shape of the weights: a mistake in the caller's code.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SavedError> {
        let mut tensors = self.parameters.tensors();
        if let Some(statistics) = &self.statistics {
            tensors.extend(Parameters::F32(statistics.clone()).tensors());
            return self.packed(&tensors);
        }
        let weight = tensors.iter().find(|t| t.0 == "weight").map_or(vec![0, 0], |t| t.2.clone());
        assert_eq!(weight.iter().product::<usize>(), self.coefficients.len(), "coefficients are [out, in]");
        assert_eq!(weight[0], self.intercept.len(), "intercepts are [out]");
        let outputs = vec![weight[0]];
        tensors.push(("coefficients".into(), Dtype::F64, weight, little_endian(&self.coefficients)));
        tensors.push(("intercept".into(), Dtype::F64, outputs, little_endian(&self.intercept)));
        self.packed(&tensors)
    }

    /// The bytes of a file with these tensors.
    fn packed(&self, tensors: &[(String, Dtype, Vec<usize>, Vec<u8>)]) -> Result<Vec<u8>, SavedError> {
        let unreadable = |e: &dyn std::fmt::Display| SavedError::Unreadable { what: e.to_string() };
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name.as_str(), view))
        });
        let views = views.collect::<Result<Vec<_>, _>>().map_err(|e| unreadable(&e))?;
        let text = canonical(&self.description);
        serde_json::from_str::<Description>(&text).map_err(|e| unreadable(&e))?;
        let metadata = HashMap::from([(KEY.to_string(), text)]);
        safetensors::serialize(views, Some(metadata)).map_err(|e| unreadable(&e))
    }

    /// Writes the model to `path`, whole or not at all; returns the SHA-256 of the file.
    ///
    /// # Errors
    /// [`SavedError::Write`] (a model that was there before is untouched then), or as for [`Saved::to_bytes`].
    pub fn save(&self, path: &Path) -> Result<String, SavedError> {
        let bytes = self.to_bytes()?;
        let wrap = |source| SavedError::Write { file: path.into(), source };
        write_whole(path, |file| file.write_all(&bytes)).map_err(wrap)?;
        Ok(sha256(&bytes))
    }

    /// Reads the model at `path`: a file, or a run folder with `model.safetensors` in it.
    ///
    /// # Errors
    /// [`SavedError`] names the file and what to do.
    pub fn load(path: &Path) -> Result<Self, SavedError> {
        let file = model_file(path)?;
        let bytes = std::fs::read(&file).map_err(|source| SavedError::Read { file: file.clone(), source })?;
        Self::from_bytes(&bytes, &file)
    }

    /// Reads the model in `bytes`; errors name `file`.
    ///
    /// # Errors
    /// As for [`Saved::load`].
    pub fn from_bytes(bytes: &[u8], file: &Path) -> Result<Self, SavedError> {
        let broken = |source| SavedError::Broken { file: file.into(), source };
        let damaged = |what: String| SavedError::Description { file: file.into(), what };
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(broken)?;
        let Some(text) = metadata.metadata().as_ref().and_then(|m| m.get(KEY)) else {
            return Err(SavedError::Foreign { file: file.into() });
        };
        let json: Value = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
        match json.get("format").and_then(Value::as_u64) {
            Some(found) if found > u64::from(FORMAT) => {
                return Err(SavedError::Newer { file: file.into(), found });
            }
            Some(_) => {}
            None => return Err(damaged("it has no format".into())),
        }
        let description: Description = serde_json::from_value(json).map_err(|e| damaged(e.to_string()))?;
        if let Some(network) = description.network().map_err(|e| damaged(e.to_string()))? {
            return Self::of_network(bytes, description, &network, file);
        }
        let shape = description.shape().map_err(|e| damaged(e.to_string()))?;
        let sizes = shape.dense.checked_add(shape.one_hot).and_then(|n| n.checked_mul(shape.outputs));
        if shape.outputs == 0 || sizes.is_none_or(|n| n > bytes.len()) {
            return Err(damaged(format!("{} × {} parameters", shape.outputs, description.dense)));
        }
        let layout = Arc::new(shape.layout());
        let single = tensors.tensor("weight").is_ok_and(|t| t.dtype() == Dtype::F32);
        check(&tensors, &layout, if single { Dtype::F32 } else { Dtype::F64 }, file)?;
        let parameters = if single {
            Parameters::F32(fill(&tensors, &layout, |b: [u8; 4]| f32::from_le_bytes(b)))
        } else {
            Parameters::F64(fill(&tensors, &layout, |b: [u8; 8]| f64::from_le_bytes(b)))
        };
        let original = |name: &str| numbers(&tensors, name, f64::from_le_bytes);
        let (coefficients, intercept) = (original("coefficients"), original("intercept"));
        let wide = parameters.to_f64();
        let own = layout.tensors().iter().map(|t| (t.name.as_str(), wide.tensor(&t.name)));
        for (name, numbers) in own.chain([("coefficients", &coefficients[..]), ("intercept", &intercept[..])])
        {
            if let Some(place) = numbers.iter().position(|x| !x.is_finite()) {
                let value = numbers[place];
                return Err(SavedError::NotFinite { file: file.into(), tensor: name.into(), place, value });
            }
        }
        Ok(Self { description, parameters, coefficients, intercept, statistics: None })
    }

    /// The parameters of a network in a file.
    fn of_network(
        bytes: &[u8],
        description: Description,
        network: &Network<f32>,
        file: &Path,
    ) -> Result<Self, SavedError> {
        let damaged = |what: String| SavedError::Description { file: file.into(), what };
        let count =
            thalweg_core::Objective::layout(network).tensors().iter().map(|t| t.range().len()).sum::<usize>();
        // Before any memory is taken for them.
        if count > bytes.len() / 4 {
            return Err(damaged(format!("{count} parameters in a file of {} bytes", bytes.len())));
        }
        let params = network.state_from_bytes(bytes).map_err(|error| match error {
            StateError::Mismatch { found } => SavedError::Mismatch { file: file.into(), found },
            StateError::Broken(source) => SavedError::Broken { file: file.into(), source },
            other @ StateError::Io { .. } => damaged(other.to_string()),
        })?;
        let statistics = network.statistics();
        for numbers in [&params, &statistics] {
            for tensor in numbers.layout().tensors() {
                let of = numbers.tensor(&tensor.name);
                if let Some(place) = of.iter().position(|x| !x.is_finite()) {
                    let (tensor, value) = (tensor.name.clone(), f64::from(of[place]));
                    return Err(SavedError::NotFinite { file: file.into(), tensor, place, value });
                }
            }
        }
        let parameters = Parameters::F32(params);
        Ok(Self {
            description,
            parameters,
            coefficients: vec![],
            intercept: vec![],
            statistics: Some(statistics),
        })
    }
}

/// The model file that `path` stands for: itself, or `model.safetensors` in a folder.
///
/// # Errors
/// [`SavedError::NoModel`] for a folder without one.
pub fn model_file(path: &Path) -> Result<PathBuf, SavedError> {
    if !path.is_dir() {
        return Ok(path.into());
    }
    let file = path.join(FILE_NAME);
    if file.is_file() { Ok(file) } else { Err(SavedError::NoModel { folder: path.into() }) }
}

/// Lists every difference between the tensors of the file and those of the layout.
fn check(tensors: &SafeTensors<'_>, layout: &Layout, dtype: Dtype, file: &Path) -> Result<(), SavedError> {
    let mut expected: BTreeMap<&str, (Dtype, Vec<usize>)> =
        layout.tensors().iter().map(|t| (t.name.as_str(), (dtype, t.shape.clone()))).collect();
    let weight = layout.get("weight").map_or(vec![0, 0], |t| t.shape.clone());
    expected.insert("intercept", (Dtype::F64, vec![weight[0]]));
    expected.insert("coefficients", (Dtype::F64, weight));
    let mut found = Vec::new();
    for (name, (dtype, shape)) in &expected {
        match tensors.tensor(name) {
            Err(_) => found.push(format!("{name} {shape:?} is missing")),
            Ok(t) if t.shape() != shape => {
                found.push(format!("{name} has shape {:?}, expected {shape:?}", t.shape()));
            }
            Ok(t) if t.dtype() != *dtype => {
                found.push(format!("{name} is {}, expected {dtype}", t.dtype()));
            }
            Ok(_) => {}
        }
    }
    let mut surplus: Vec<&str> = tensors.names().into_iter().filter(|n| !expected.contains_key(n)).collect();
    surplus.sort_unstable();
    found.extend(surplus.into_iter().map(|name| format!("{name:?} is unknown")));
    if found.is_empty() { Ok(()) } else { Err(SavedError::Mismatch { file: file.into(), found }) }
}

/// The numbers of a tensor that [`check`] has seen.
fn numbers<T, const N: usize>(tensors: &SafeTensors<'_>, name: &str, read: impl Fn([u8; N]) -> T) -> Vec<T> {
    let bytes = tensors.tensor(name).map_or(&[][..], |t| t.data());
    bytes.as_chunks().0.iter().map(|&b| read(b)).collect()
}

fn fill<F: Float, const N: usize>(
    tensors: &SafeTensors<'_>,
    layout: &Arc<Layout>,
    read: impl Fn([u8; N]) -> F,
) -> Params<F> {
    let mut params = Params::zeros(layout);
    for tensor in layout.tensors() {
        let numbers = numbers(tensors, &tensor.name, &read);
        params.tensor_mut(&tensor.name).copy_from_slice(&numbers);
    }
    params
}

/// JSON with the keys of every object in order and without blanks: the same text for the same value. Numbers are written as
/// the shortest text that reads back as the same number.
///
/// # Panics
/// When `value` cannot be written as JSON (a map whose keys are not text): a mistake in the caller's code.
pub fn canonical<T: Serialize>(value: &T) -> String {
    // The order of a JSON object depends on a feature that any crate of the build may switch on, so keys are sorted here.
    fn write(value: &Value, out: &mut String) {
        match value {
            Value::Object(object) => {
                let sorted: BTreeMap<&String, &Value> = object.iter().collect();
                out.push('{');
                for (i, (key, value)) in sorted.into_iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    out.push_str(&Value::from(key.as_str()).to_string());
                    out.push(':');
                    write(value, out);
                }
                out.push('}');
            }
            Value::Array(array) => {
                out.push('[');
                for (i, value) in array.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    write(value, out);
                }
                out.push(']');
            }
            other => out.push_str(&other.to_string()),
        }
    }
    let value = serde_json::to_value(value).expect("a value with text keys");
    let mut out = String::new();
    write(&value, &mut out);
    out
}

/// The SHA-256 of `bytes`, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file whole or not at all: `fill` writes to a temporary sibling, which is synced and renamed to `path`; then the
/// folder is synced. A link stays a link to the file that is written; a pipe or a device is written to as it is.
///
/// # Errors
/// Those of `fill` and of the file system. What was at `path` before is untouched then, and no temporary file stays.
pub fn write_whole(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let there = std::fs::metadata(path);
    if there.as_ref().is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        // Renaming would put a file in the place of /dev/stdout.
        return fill(&mut File::options().write(true).open(path)?);
    }
    let linked = if path.is_symlink() { std::fs::canonicalize(path).ok() } else { None };
    let path = linked.as_deref().unwrap_or(path);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".thalweg-").suffix(".partial");
    // The rights that a file made in the ordinary way would have (what the process takes away included).
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    fill(&mut file)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    // A folder cannot be opened on every system; the file is in place by then.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
