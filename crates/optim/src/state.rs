//! An optimizer's state in bytes: save it, restore it, go on as if nothing had been between.
//!
//! The bytes are a safetensors file: each piece of memory under its name (`weight/m`, `step`), and in the metadata one key, `thalweg`,
//! with the expression, the step and the format's version. The same state gives the same bytes.
//!
//! State is not hyperparameters. A restored optimizer keeps its own values, and [`Restored`] says where the saved ones were others.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use thalweg_core::expr::{self, Branch, Call, Chain, Spec};
use thalweg_core::{Float, Memory, Optimizer};

/// The key of the metadata.
const KEY: &str = "thalweg";
/// The version of the format.
const FORMAT: u64 = 1;
/// Counts beyond this are not counts of steps: it is where `f64` ends to tell whole numbers apart.
const LARGEST: u64 = 1 << 53;
/// The piece that holds the number of a plan's phase: entering another makes new chains.
const PHASE: &str = "phase";
/// The end of the names of counts that other pieces' sizes or number depend on: rules whose memory grows.
const LENGTH: &str = ".length";
/// The count that is `u64::MAX` when there is nothing to count yet.
const NEVER: &str = "rollback.age";
/// Expressions longer than this are not compared value by value.
const LONGEST: usize = 1 << 14;

/// What has a state that can be saved: every [`Optimizer`], [`Stepper`](crate::Stepper), [`RowOptimizer`](crate::RowOptimizer).
pub trait Stateful {
    /// The expression that makes it, all values filled in.
    fn expression(&self) -> String;
    /// Shows all memory, as [`Optimizer::visit_state`] does.
    fn visit_state(&mut self, visit: &mut dyn FnMut(&str, Memory<'_>));
}

impl<F: Float> Stateful for dyn Optimizer<F> + '_ {
    fn expression(&self) -> String {
        Optimizer::expression(self)
    }
    fn visit_state(&mut self, visit: &mut dyn FnMut(&str, Memory<'_>)) {
        Optimizer::visit_state(self, visit);
    }
}

/// Why a state cannot be saved or restored. Nothing was written then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Two pieces of memory have one name: a mistake in the optimizer.
    #[error("the optimizer has two pieces of memory named {name:?}")]
    Twice {
        /// The name.
        name: String,
    },
    /// Cut short, or not a safetensors file; or more names than one holds.
    #[error("the state is cut short or is no safetensors file ({source})")]
    Broken {
        /// What is wrong.
        #[from]
        source: SafeTensorError,
    },
    /// A safetensors file of something else.
    #[error("this is no saved optimizer: {why}")]
    Foreign {
        /// What is missing.
        why: String,
    },
    /// Written by a newer version.
    #[error("the state has format {found}; this version reads up to {FORMAT}")]
    Newer {
        /// Its format.
        found: u64,
    },
    /// The state of another optimizer, or of other tensors.
    #[error("the state does not fit the optimizer: {}", .found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Mismatch {
        /// Every difference.
        found: Vec<Difference>,
    },
}

/// A piece of memory that differs between a saved state and the optimizer that is to take it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// The optimizer has it, the saved state has not.
    Missing {
        /// Its name.
        name: String,
    },
    /// The saved state has it, the optimizer has not.
    Unexpected {
        /// Its name.
        name: String,
    },
    /// Another number of numbers.
    Shape {
        /// Its name.
        name: String,
        /// The saved sizes.
        saved: Vec<usize>,
        /// The optimizer's.
        running: Vec<usize>,
    },
    /// Another kind of number.
    Dtype {
        /// Its name.
        name: String,
        /// The saved one.
        saved: String,
        /// The optimizer's.
        running: &'static str,
    },
    /// A count that cannot be.
    Count {
        /// Its name.
        name: String,
        /// The saved value.
        saved: u64,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name } => write!(f, "{name:?} is missing"),
            Self::Unexpected { name } => write!(f, "{name:?} is not expected"),
            Self::Shape { name, saved, running } => {
                write!(f, "{name:?} has the sizes {saved:?}, not {running:?}")
            }
            Self::Dtype { name, saved, running } => write!(f, "{name:?} is {saved}, not {running}"),
            Self::Count { name, saved } => write!(f, "{name:?} cannot be {saved}"),
        }
    }
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The loop's last step before the state was saved.
    pub step: u64,
    /// The expression of the optimizer that was saved.
    pub expression: String,
    /// Where the running optimizer's values are others.
    pub notes: Vec<Note>,
}

/// A value that differs between the saved and the running optimizer's expression. The running one holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it is, as in `adam lr`.
    pub what: String,
    /// The saved value; `None` where the saved expression has no such thing.
    pub saved: Option<String>,
    /// The running value, which holds; `None` where the running expression has no such thing.
    pub running: Option<String>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        match (&self.saved, &self.running) {
            (Some(saved), Some(running)) => {
                write!(
                    f,
                    "{what} was {saved} when the state was saved; the running optimizer's {running} holds"
                )
            }
            (Some(saved), None) => {
                write!(
                    f,
                    "{what} was {saved} when the state was saved; the running optimizer has none, and that holds"
                )
            }
            (None, Some(running)) => {
                write!(
                    f,
                    "{what} was not there when the state was saved; the running optimizer's {running} holds"
                )
            }
            (None, None) => f.write_str(what),
        }
    }
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the optimizer's state after step {} is restored", self.step)?;
        self.notes.iter().try_for_each(|note| write!(f, "\n{note}"))
    }
}

/// The sizes of a piece of memory: none for a single number.
fn shape(memory: &Memory<'_>) -> Vec<usize> {
    match memory {
        Memory::Scalar(_) | Memory::Count(_) => vec![],
        other => vec![other.len()],
    }
}

fn dtype(memory: &Memory<'_>) -> Dtype {
    match memory {
        Memory::F32(_) => Dtype::F32,
        Memory::F64(_) | Memory::Scalar(_) => Dtype::F64,
        Memory::Bf16(_) => Dtype::BF16,
        Memory::U8(_) => Dtype::U8,
        Memory::Count(_) | Memory::Counts(_) => Dtype::U64,
    }
}

/// The state after the loop's step `step`.
///
/// ```
/// use thalweg_optim::{Stepper, state};
/// let (mut theta, grad) = ([1.0f32, -2.0], [0.5f32, 0.5]);
/// let mut adam = Stepper::<f32>::with_len("adam(lr=0.01)", 2)?;
/// adam.step(&mut theta, &grad)?;
/// let bytes = state::save(&mut adam, 1)?;
///
/// let mut other = Stepper::<f32>::with_len("adam(lr=0.001)", 2)?;
/// let restored = state::load(&mut other, &bytes)?;
/// assert_eq!(restored.step, 1);
/// assert_eq!(restored.notes[0].to_string(), "adam lr was 0.01 when the state was saved; the running optimizer's 0.001 holds");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Two pieces of one name.
pub fn save<O: Stateful + ?Sized>(optimizer: &mut O, step: u64) -> Result<Vec<u8>, StateError> {
    let mut pieces: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    let mut twice = None;
    optimizer.visit_state(&mut |name, memory| {
        let piece = (dtype(&memory), shape(&memory), memory.to_bytes());
        if pieces.insert(name.to_string(), piece).is_some() {
            twice.get_or_insert_with(|| name.to_string());
        }
    });
    if let Some(name) = twice {
        return Err(StateError::Twice { name });
    }
    let views = pieces.iter().map(|(name, (dtype, shape, bytes))| {
        TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>()?;
    let expression = serde_json::Value::String(optimizer.expression());
    let text = format!(r#"{{"expression":{expression},"format":{FORMAT},"kind":"optimizer","step":{step}}}"#);
    Ok(safetensors::serialize(views, Some(HashMap::from([(KEY.to_string(), text)])))?)
}

/// Restores what [`save`] gave, into an optimizer over the same tensors.
///
/// # Errors
/// What cannot be read, or is the state of another optimizer: then every difference in names, sizes and kinds of numbers is listed, and
/// nothing was written. Other hyperparameters are no error: the running optimizer's hold, and [`Restored::notes`] lists them.
pub fn load<O: Stateful + ?Sized>(optimizer: &mut O, bytes: &[u8]) -> Result<Restored, StateError> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let saved = SafeTensors::deserialize(bytes)?;
    let foreign = |why: &str| StateError::Foreign { why: why.into() };
    let text = header.metadata().as_ref().and_then(|m| m.get(KEY));
    let text = text.ok_or_else(|| foreign("its metadata has no \"thalweg\""))?;
    let about: serde_json::Value =
        serde_json::from_str(text).map_err(|e| foreign(&format!("its description is damaged ({e})")))?;
    let format = about["format"].as_u64().ok_or_else(|| foreign("its description has no format"))?;
    if format > FORMAT {
        return Err(StateError::Newer { found: format });
    }
    if about["kind"] != "optimizer" {
        return Err(foreign("its description is that of something else"));
    }
    let expression =
        about["expression"].as_str().ok_or_else(|| foreign("its description has no expression"))?;
    let step = about["step"].as_u64().ok_or_else(|| foreign("its description has no step"))?;
    if step > LARGEST {
        return Err(StateError::Mismatch {
            found: vec![Difference::Count { name: "step".into(), saved: step }],
        });
    }
    let pieces: BTreeMap<String, TensorView<'_>> = saved.tensors().into_iter().collect();

    // Another phase has other chains, other counts other pieces: take them to see what they need, and come back if it does not fit.
    let kept = take_shape(optimizer, &pieces, bytes.len() as u64);
    let found = differences(optimizer, &pieces);
    if !found.is_empty() {
        if let Some(kept) = kept {
            write(optimizer, |name| kept.get(name).map(Vec::as_slice));
        }
        return Err(StateError::Mismatch { found });
    }
    write(optimizer, |name| pieces.get(name).map(|view| view.data()));
    let notes = notes(expression, &optimizer.expression());
    Ok(Restored { step, expression: expression.into(), notes })
}

/// Whether other pieces depend on the piece of this name.
fn shapes(name: &str) -> bool {
    name == PHASE || name.ends_with(LENGTH)
}

/// Takes the phase and the lengths of a saved state of `size` bytes where they are others; all memory as it was before then.
fn take_shape<O: Stateful + ?Sized>(
    optimizer: &mut O,
    pieces: &BTreeMap<String, TensorView<'_>>,
    size: u64,
) -> Option<BTreeMap<String, Vec<u8>>> {
    // What is counted takes a byte at least, so that no count makes more room than the state itself could fill.
    let count = |piece: &TensorView<'_>| {
        let fits = piece.dtype() == Dtype::U64 && piece.shape().is_empty();
        fits.then(|| u64::from_le_bytes(std::array::from_fn(|i| piece.data()[i]))).filter(|&n| n <= size)
    };
    let wanted: BTreeMap<&str, Vec<u8>> = pieces
        .iter()
        .filter(|(name, _)| shapes(name))
        .filter_map(|(name, piece)| Some((name.as_str(), count(piece)?.to_le_bytes().to_vec())))
        .collect();
    let mut kept = BTreeMap::new();
    optimizer.visit_state(&mut |name, memory| {
        kept.insert(name.to_string(), memory.to_bytes());
    });
    if wanted.iter().all(|(name, bytes)| kept.get(*name) == Some(bytes)) {
        return None;
    }
    write(optimizer, |name| wanted.get(name).map(Vec::as_slice));
    Some(kept)
}

/// Everything in which the optimizer's pieces and the saved ones differ.
fn differences<O: Stateful + ?Sized>(
    optimizer: &mut O,
    pieces: &BTreeMap<String, TensorView<'_>>,
) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    optimizer.visit_state(&mut |name, memory| {
        names.insert(name.to_string());
        let name = name.to_string();
        let Some(piece) = pieces.get(&name) else {
            found.push(Difference::Missing { name });
            return;
        };
        let running = shape(&memory);
        if piece.dtype() != dtype(&memory) {
            let saved = format!("{:?}", piece.dtype());
            found.push(Difference::Dtype { name, saved, running: memory.dtype() });
        } else if piece.shape() != running {
            found.push(Difference::Shape { name, saved: piece.shape().into(), running });
        } else if let Memory::Count(now) = memory {
            let saved = u64::from_le_bytes(std::array::from_fn(|i| piece.data()[i]));
            let cannot = saved > LARGEST && !(name == NEVER && saved == u64::MAX);
            // A phase that the plan does not have was not entered, nor a length that the rule does not take.
            if cannot || (shapes(&name) && saved != *now) {
                found.push(Difference::Count { name, saved });
            }
        }
    });
    let unexpected = pieces.keys().filter(|name| !names.contains(*name));
    found.extend(unexpected.map(|name| Difference::Unexpected { name: name.clone() }));
    found
}

/// Writes the bytes of each name into the piece of that name.
fn write<'b, O: Stateful + ?Sized>(optimizer: &mut O, bytes: impl Fn(&str) -> Option<&'b [u8]>) {
    optimizer.visit_state(&mut |name, mut memory| {
        if let Some(bytes) = bytes(name) {
            memory.copy_from(bytes);
        }
    });
}

/// The values in which two expressions differ.
fn notes(saved: &str, running: &str) -> Vec<Note> {
    let mut notes = Vec::new();
    if saved == running {
        return notes;
    }
    let parse = |text: &str| (text.len() <= LONGEST).then(|| expr::parse(text).ok()).flatten();
    match (parse(saved), parse(running)) {
        (Some(a), Some(b)) => compare(Some(&a), Some(&b), &mut notes),
        _ => notes.push(note("the optimizer", Some(saved), Some(running))),
    }
    notes
}

fn note(what: &str, saved: Option<impl ToString>, running: Option<impl ToString>) -> Note {
    Note { what: what.into(), saved: saved.map(|x| x.to_string()), running: running.map(|x| x.to_string()) }
}

fn compare(mut saved: Option<&Spec>, mut running: Option<&Spec>, notes: &mut Vec<Note>) {
    for nth in 1.. {
        let place = if nth == 1 { String::new() } else { format!("phase {nth}: ") };
        match (saved, running) {
            (None, None) => return,
            (Some(a), Some(b)) => {
                compare_branches(&a.branch, &b.branch, &place, notes);
                let (end_a, end_b) = (a.then.as_ref().map(|t| t.0), b.then.as_ref().map(|t| t.0));
                if end_a != end_b {
                    notes.push(note(&format!("{place}the end of the phase"), end_a, end_b));
                }
            }
            (a, b) => notes.push(note(
                &format!("phase {nth}"),
                a.map(|s| branch_text(&s.branch)),
                b.map(|s| branch_text(&s.branch)),
            )),
        }
        saved = saved.and_then(|s| s.then.as_ref()).map(|t| &*t.1);
        running = running.and_then(|s| s.then.as_ref()).map(|t| &*t.1);
    }
}

fn branch_text(branch: &Branch) -> String {
    match branch {
        Branch::Chain(chain) => chain.to_string(),
        Branch::Groups(groups) => {
            groups.iter().map(|(p, c)| format!("{p}: {c}")).collect::<Vec<_>>().join("; ")
        }
    }
}

fn compare_branches(saved: &Branch, running: &Branch, place: &str, notes: &mut Vec<Note>) {
    match (saved, running) {
        (Branch::Chain(a), Branch::Chain(b)) => compare_chains(a, b, place, notes),
        (Branch::Groups(a), Branch::Groups(b)) => {
            for (pattern, chain) in b {
                match a.iter().find(|(p, _)| p == pattern) {
                    Some((_, old)) => compare_chains(old, chain, &format!("{place}{pattern}: "), notes),
                    None => {
                        notes.push(note(&format!("{place}the group {pattern}"), None::<&str>, Some(chain)))
                    }
                }
            }
            for (pattern, chain) in a.iter().filter(|(p, _)| b.iter().all(|(q, _)| q != p)) {
                notes.push(note(&format!("{place}the group {pattern}"), Some(chain), None::<&str>));
            }
        }
        (a, b) => {
            notes.push(note(&format!("{place}the optimizer"), Some(branch_text(a)), Some(branch_text(b))));
        }
    }
}

fn compare_chains(saved: &Chain, running: &Chain, place: &str, notes: &mut Vec<Note>) {
    for call in &running.0 {
        match saved.0.iter().find(|c| c.name == call.name) {
            Some(old) => compare_calls(old, call, place, notes),
            None => notes.push(note(&format!("{place}{}", call.name), None::<&str>, Some(call))),
        }
    }
    for call in saved.0.iter().filter(|c| running.0.iter().all(|r| r.name != c.name)) {
        notes.push(note(&format!("{place}{}", call.name), Some(call), None::<&str>));
    }
}

fn compare_calls(saved: &Call, running: &Call, place: &str, notes: &mut Vec<Note>) {
    let name =
        |nth: usize, name: &Option<String>| name.clone().unwrap_or_else(|| format!("value {}", nth + 1));
    let values = |call: &Call| -> BTreeMap<String, String> {
        call.args.iter().enumerate().map(|(i, a)| (name(i, &a.name), a.value.to_string())).collect()
    };
    let (a, b) = (values(saved), values(running));
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for what in names.into_iter().filter(|n| a.get(*n) != b.get(*n)) {
        notes.push(note(&format!("{place}{} {what}", running.name), a.get(what), b.get(what)));
    }
}
