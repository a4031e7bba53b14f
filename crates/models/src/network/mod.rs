//! [`Network`]: layers under a loss.
//!
//! ```text
//! f(θ) = Σᵢ wᵢ·loss(z(xᵢ; θ), yᵢ)        z = the layers, then a dense layer with the outputs
//! ```
//! A [`ModelSpec`] says which layers; their sizes follow from what comes in ([`Input`]) and what goes out ([`Output`]).
//!
//! # Same bits
//! Loss and gradient have the same bits on any number of threads, on one instruction set (matrix products use fused multiply-add).
//! A row of weight 0 is absent to the bit. Large batches are run in parts of fixed sizes whose sums are added in order.
//!
//! # What a step keeps
//! Each call of [`Objective::gradient`](thalweg_core::Objective::gradient) counts as a step: dropout draws anew, keyed by (seed, step), and
//! batch norm moves its running statistics. [`Objective::gradient_again`](thalweg_core::Objective::gradient_again) and
//! [`Objective::loss_again`](thalweg_core::Objective::loss_again) go on with the draws of the last step and move nothing: as functions of
//! the parameters they stay the same through it, for optimizers that look at several points;
//! [`Objective::hessian_vector`](thalweg_core::Objective::hessian_vector) is the exact product of that function, and keeps nothing either.
//! [`Objective::loss`](thalweg_core::Objective::loss) and predictions use neither: no number is left out, and batch norm uses what it kept.

mod criterion;
mod export;
mod objective;
mod over;
mod predict;
mod rows;
mod spec;
mod state;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use thalweg_autodiff::{Number, Shape, Workspace};
use thalweg_core::expr::{ExprError, Span};
use thalweg_core::{Float, Layout, Params, Tensor, Threads, pattern};

pub use self::criterion::Criterion;
pub use self::export::Entrance;
use self::objective::Lifted;
pub use self::over::{Over, RowNumbers};
use self::rows::{Reading, Rows};
pub use self::spec::ModelSpec;
pub use self::state::StateError;
use crate::layers::check_row;
use crate::layers::{Declare, Dense, Embedding, Init, Layer, Misfit, Row, Sequential, default_width};
use crate::losses::{Loss, Task};

/// What a network takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Input {
    /// Rows of a table: `dense [n, numbers]`, and codes of columns with so many levels each. Columns are embedded, in
    /// [`default_width`] numbers, and stand behind the numbers; a level that training never saw is all zeros.
    Table {
        /// Numeric columns.
        numbers: usize,
        /// The levels of each column of categories.
        levels: Vec<usize>,
    },
    /// Images: `dense [n, channels·height·width]`, channel by channel, each row by row.
    Image {
        /// Channels.
        channels: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// Sequences of numbers: `dense [n, steps·features]`, step by step.
    Sequence {
        /// Steps.
        steps: usize,
        /// Numbers of a step.
        features: usize,
    },
    /// Sequences of tokens: `codes [n, context]`, or `[n, context + 1]` where the next token is predicted. Or a text, of which every
    /// token is a row, `codes [n, 1]`: a row then goes on through the tokens behind it, which must be there.
    Tokens {
        /// How many tokens there are.
        vocabulary: usize,
        /// Tokens of a row.
        context: usize,
    },
}

impl Input {
    /// So many numbers.
    pub fn numbers(numbers: usize) -> Self {
        Input::Table { numbers, levels: Vec::new() }
    }
    /// Numbers of a row of `dense`, and codes of a row.
    pub(crate) fn widths(&self) -> (usize, usize) {
        match *self {
            Input::Table { numbers, ref levels } => (numbers, levels.len()),
            Input::Image { channels, height, width } => (channels * height * width, 0),
            Input::Sequence { steps, features } => (steps * features, 0),
            Input::Tokens { context, .. } => (0, context),
        }
    }
}

/// What a network says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// So many numbers of each row: logits of classes, or one prediction.
    Row(usize),
    /// Logits of the token that follows each token: one number for each token there is.
    NextToken,
}

/// Why there is no such network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A layer cannot stand where it stands.
    #[error(transparent)]
    Layer(#[from] ExprError),
    /// The loss does not suit the outputs, or the outputs the inputs.
    #[error("{0}")]
    Misfit(String),
}

/// A network under a loss: an [`Objective`](thalweg_core::Objective).
///
/// ```
/// use thalweg_core::{At, Batch, Grads, NoOracle, Objective};
/// use thalweg_models::losses::Loss;
/// use thalweg_models::network::{Input, ModelSpec, Network, Output};
///
/// let spec = ModelSpec::parse("mlp(8, activation=tanh)").unwrap();
/// let network = Network::<f64>::new(&spec, Input::numbers(2), Output::Row(1), Loss::LOGISTIC, 7).unwrap();
/// let names: Vec<&str> = network.layout().tensors().iter().map(|t| t.name.as_str()).collect();
/// assert_eq!(names, ["0.weight", "0.bias", "2.weight", "2.bias"]); // as torch.nn.Sequential names them
///
/// // Exclusive or, by plain gradient descent.
/// let x = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
/// let batch = Batch { dense: &x, width: 2, target: &[0.0, 1.0, 1.0, 0.0], ..Batch::NONE };
/// let (mut theta, mut grads) = (network.init(), Grads::zeros(network.layout()));
/// for _ in 0..2000 {
///     grads.clear();
///     network.gradient(&theta, &batch, &mut grads);
///     theta.flat_mut().iter_mut().zip(grads.flat()).for_each(|(w, g)| *w -= 0.25 * g);
/// }
/// let mut p = [0.0; 8]; // probabilities of both classes for each row
/// network.responses(&theta, &batch, &mut p);
/// assert!(p[0] > 0.9 && p[3] > 0.9 && p[5] > 0.9 && p[6] > 0.9, "{p:?}");
/// ```
#[derive(Debug)]
pub struct Network<F: Float + Number> {
    spec: ModelSpec,
    input: Input,
    output: Output,
    outputs: usize,
    criterion: Criterion,
    seed: u64,
    layout: Arc<Layout>,
    inits: Vec<(usize, Init)>,
    /// The patterns that name frozen tensors.
    frozen: String,
    rows: Vec<Row>,
    /// The shape of a row that goes into the layers.
    entry: Shape,
    /// Tables of the columns of categories.
    embeddings: Vec<Embedding>,
    /// The first code of each column, and the code behind the last one's.
    borders: Vec<u32>,
    layers: Sequential,
    statistic_starts: Vec<usize>,
    steps: AtomicU64,
    threads: Threads,
    work: Mutex<Work<F>>,
}

/// What is kept from step to step.
struct Work<F: Float + Number> {
    workspace: Workspace<F>,
    rows: Rows<F>,
    statistics: Params<F>,
    /// Room for statistics that nobody keeps: training writes them in any case, and reads none.
    aside: Params<F>,
    class_weights: Vec<F>,
    /// Outputs, output-major.
    scratch: Vec<F>,
    /// Once there was a product with the Hessian.
    lifted: Option<Box<Lifted<F>>>,
}

impl<F: Float + Number> std::fmt::Debug for Work<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").field("statistics", &self.statistics).finish_non_exhaustive()
    }
}

impl<F: Float + Number> Network<F> {
    /// The network of these layers for these rows, on one thread.
    ///
    /// # Errors
    /// A layer that cannot take what comes to it, with its place in the expression; a loss that does not suit the outputs.
    pub fn new(
        spec: &ModelSpec,
        input: Input,
        output: Output,
        loss: impl Into<Criterion>,
        seed: u64,
    ) -> Result<Self, NetworkError> {
        Self::build(spec, input, output, loss.into(), seed, Declare::new())
    }

    fn build(
        spec: &ModelSpec,
        input: Input,
        output: Output,
        criterion: Criterion,
        seed: u64,
        mut declare: Declare,
    ) -> Result<Self, NetworkError> {
        let outputs = match (output, &input) {
            (Output::Row(outputs), _) => outputs,
            (Output::NextToken, Input::Tokens { vocabulary, .. }) => *vocabulary,
            (Output::NextToken, _) => {
                let message = "only a network that takes tokens can say the next one";
                return Err(NetworkError::Misfit(message.into()));
            }
        };
        if let Some(message) = criterion.misfit(outputs) {
            return Err(NetworkError::Misfit(message));
        }
        let mut embeddings = Vec::new();
        let mut borders = vec![0u32];
        let wrap = |misfit: Misfit| NetworkError::from(located(spec, misfit));
        let entry: Shape = match input {
            Input::Table { numbers, ref levels } => {
                let mut width = numbers;
                for (column, &levels) in levels.iter().enumerate() {
                    let mut embedding = Embedding::new(default_width(levels));
                    embedding.column = column;
                    declare
                        .within(&format!("embeddings.{column}"), |d| embedding.declare(d, levels))
                        .map_err(wrap)?;
                    width += embedding.width;
                    embeddings.push(embedding);
                    let end = u32::try_from(levels).ok().and_then(|l| l.checked_add(borders[column]));
                    let Some(end) = end else {
                        return Err(NetworkError::Misfit("there are more than 2³² levels".into()));
                    };
                    borders.push(end);
                }
                [width].into()
            }
            Input::Image { channels, height, width } => [channels, height, width].into(),
            Input::Sequence { steps, features } => [steps, features].into(),
            Input::Tokens { vocabulary, context } => {
                declare.set_tokens(vocabulary);
                [context].into()
            }
        };
        check_row(entry).map_err(|misfit| NetworkError::Misfit(misfit.message))?;
        let mut layers = spec.layers();
        let mut head = Dense::new(outputs);
        head.joins = matches!(output, Output::Row(_));
        head.head = true;
        layers.push(head);
        let end = layers.build(&mut declare, entry).map_err(wrap)?;
        let wanted: Shape = match (output, &input) {
            (Output::NextToken, Input::Tokens { context, .. }) => [*context, outputs].into(),
            _ => [outputs].into(),
        };
        if end != wanted {
            let message = format!("the layers end with {end} for a row, not with {wanted}");
            return Err(NetworkError::Misfit(message));
        }
        let built = declare.finish();
        let class_weights = criterion.class_weights.iter().flatten().map(|&c| F::from_f64(c)).collect();
        let mut statistics = Params::zeros(&Arc::new(built.statistics));
        fill(&mut statistics, &built.statistic_inits, seed);
        let statistic_starts = statistics.layout().tensors().iter().map(|t| t.offset).collect();
        let work = Work {
            workspace: Workspace::new(Threads::serial()),
            rows: Rows::default(),
            aside: Params::zeros(statistics.layout()),
            statistics,
            class_weights,
            scratch: Vec::new(),
            lifted: None,
        };
        Ok(Self {
            spec: spec.clone(),
            input,
            output,
            outputs,
            criterion,
            seed,
            layout: Arc::new(built.layout),
            inits: built.inits,
            frozen: String::new(),
            rows: built.rows,
            entry,
            embeddings,
            borders,
            layers,
            statistic_starts,
            steps: AtomicU64::new(0),
            threads: Threads::serial(),
            work: Mutex::new(work),
        })
    }

    /// The same network on these threads.
    pub fn with_threads(mut self, threads: Threads) -> Self {
        let work = self.work.get_mut().unwrap_or_else(PoisonError::into_inner);
        work.workspace = Workspace::new(threads.clone());
        work.lifted = None;
        self.threads = threads;
        self
    }

    /// The same network with the tensors that the [pattern] names frozen, as in `"0.* 3.*"`: their gradient is not
    /// computed, optimizers keep no memory for them, and training leaves their bits as they are; layers before the first trained one
    /// have no backward pass. What was frozen before stays frozen.
    ///
    /// Frozen tensors come last in the layout: parameters of the network before are [rearranged](Params::rearranged) into it. Dropout
    /// and the running statistics of batch norm in frozen layers go on as they did, as PyTorch's do in training mode.
    ///
    /// # Errors
    /// A pattern that names no tensor, or leaves none to be trained.
    pub fn freeze(self, pattern: &str) -> Result<Self, NetworkError> {
        let mut order = self.inits.iter().zip(self.layout.tensors()).collect::<Vec<_>>();
        order.sort_by_key(|((nth, _), _)| *nth);
        let named =
            |pattern: &str| order.iter().map(|(_, t)| pattern::matches(pattern, t)).collect::<Vec<_>>();
        if !named(pattern).contains(&true) {
            let names: Vec<&str> = order.iter().map(|(_, t)| t.name.as_str()).collect();
            let message = format!("{pattern:?} names no tensor to freeze; there are {}", names.join(", "));
            return Err(NetworkError::Misfit(message));
        }
        let all = format!("{} {pattern}", self.frozen).trim().to_string();
        let frozen = named(&all);
        if !frozen.contains(&false) {
            return Err(NetworkError::Misfit(format!("with {all:?} frozen nothing is left to be trained")));
        }
        let declare = Declare::with_frozen(&frozen);
        let criterion = self.criterion.clone();
        let mut other =
            Self::build(&self.spec, self.input.clone(), self.output, criterion, self.seed, declare)?;
        other.frozen = all;
        other.set_steps(self.steps());
        other.set_statistics(&self.statistics());
        Ok(other.with_threads(self.threads))
    }
    /// The patterns that name frozen tensors; empty if none are.
    pub fn frozen(&self) -> &str {
        &self.frozen
    }

    /// Starting values: PyTorch's defaults, each tensor drawn by the seed and its number in the order of the layers.
    pub fn init(&self) -> Params<F> {
        let mut theta = Params::zeros(&self.layout);
        fill(&mut theta, &self.inits, self.seed);
        theta
    }
    /// The expression.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }
    /// What it takes.
    pub fn input(&self) -> &Input {
        &self.input
    }
    /// What it says.
    pub fn output(&self) -> Output {
        self.output
    }
    /// The numbers of a result: logits, or 1.
    pub fn outputs(&self) -> usize {
        self.outputs
    }
    /// Its loss.
    pub fn criterion(&self) -> &Criterion {
        &self.criterion
    }
    /// The biases of the outputs, unless they are frozen.
    pub fn output_bias(&self) -> Option<&Tensor> {
        let last = self.inits.iter().map(|(nth, _)| *nth).max()?;
        let at = self.inits.iter().position(|(nth, _)| *nth == last)?;
        self.layout.trained().get(at)
    }
    /// Its threads.
    pub fn threads(&self) -> &Threads {
        &self.threads
    }
    /// What each layer makes and costs, in order; the output layer last. Embeddings of categories are not among the layers.
    ///
    /// ```
    /// use thalweg_models::losses::Loss;
    /// use thalweg_models::network::{Input, ModelSpec, Network, Output};
    /// let spec = ModelSpec::parse("mlp(16)").unwrap();
    /// let network = Network::<f32>::new(&spec, Input::numbers(64), Output::Row(10), Loss::SOFTMAX, 0).unwrap();
    /// let rows: Vec<String> = network.describe().iter()
    ///     .map(|r| format!("{} {} {:?} {} {}", r.place, r.layer, r.output, r.parameters, r.multiply_adds)).collect();
    /// assert_eq!(rows, ["0 dense(16) [16] 1040 1024", "1 relu [16] 0 0", "2 dense(10) [10] 170 160"]);
    /// ```
    pub fn describe(&self) -> &[Row] {
        &self.rows
    }
    /// Multiply-adds of all losses, gradients and predictions so far, products with the Hessian left out.
    pub fn multiply_adds(&self) -> u64 {
        self.work().workspace.multiply_adds()
    }
    /// The most numbers that one loss, gradient or prediction held at a time so far, parameters and rows left out.
    pub fn peak(&self) -> usize {
        self.work().workspace.pool().peak()
    }
    /// How many numbers of state it carries from step to step of a sequence, where that and the next step are all that a result takes:
    /// those of its recurrent layers. None where a result takes more, as attention does. See [`Network::advance`].
    pub fn state(&self) -> Option<usize> {
        self.layers.state()
    }
    /// Gradients taken so far: with the seed, what dropout draws from.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }
    /// Goes on as if so many gradients had been taken: after an interruption.
    pub fn set_steps(&self, steps: u64) {
        self.steps.store(steps, Ordering::Relaxed);
    }
    /// What is kept beside the parameters: the running means and variances of batch norm.
    pub fn statistics(&self) -> Params<F> {
        self.work().statistics.clone()
    }
    /// Sets what is kept beside the parameters.
    ///
    /// # Panics
    /// When it is of another network.
    pub fn set_statistics(&self, statistics: &Params<F>) {
        let mut work = self.work();
        assert_eq!(work.statistics.layout(), statistics.layout(), "these statistics are another network's");
        work.statistics.copy_from(statistics);
    }

    fn work(&self) -> MutexGuard<'_, Work<F>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is read of each row.
    fn reading(&self) -> Reading<'_> {
        let context = if let Input::Tokens { context, .. } = self.input { context } else { 0 };
        let classes = (self.criterion.loss.task() == Task::Classes).then_some(self.outputs);
        Reading { borders: &self.borders, context, classes, next: self.output == Output::NextToken }
    }
}

impl Criterion {
    /// The class weights, if any.
    fn weights(&self) -> Option<&[f64]> {
        self.class_weights.as_deref().filter(|_| self.loss == Loss::SOFTMAX)
    }
}

fn fill<F: Float>(values: &mut Params<F>, inits: &[(usize, Init)], seed: u64) {
    let layout = Arc::clone(values.layout());
    for (tensor, (nth, init)) in layout.tensors().iter().zip(inits) {
        init.fill(seed, *nth, &mut values.flat_mut()[tensor.range()]);
    }
}

/// A misfit with its place in the expression.
fn located(spec: &ModelSpec, misfit: Misfit) -> ExprError {
    let whole = Span { start: 0, end: spec.source().len() };
    let span = misfit.span.filter(|s| s.end > s.start).unwrap_or(whole);
    let error = ExprError::new(spec.source(), span, misfit.message);
    match misfit.help {
        Some(help) => error.help(help),
        None => error,
    }
}
