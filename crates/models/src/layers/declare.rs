//! [`Declare`]: what layers say about themselves while a network is built.

use thalweg_autodiff::Shape;
use thalweg_core::expr::Span;
use thalweg_core::{Kind, Layout};

use super::Init;

/// The most numbers a network may have: more is a slip of the keyboard.
const MOST: usize = 1 << 40;

/// Which tensor of the network's layout: what [`Declare::tensor`] gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place(usize);

impl Place {
    /// Its number in the layout.
    pub fn index(self) -> usize {
        self.0
    }
}

/// Numbers that are kept from step to step.
#[derive(Debug)]
pub struct Statistics<'r, N> {
    /// All of them.
    pub numbers: &'r mut [N],
    /// Where each tensor of them starts.
    pub(crate) starts: &'r [usize],
}

impl<N> Statistics<'_, N> {
    /// Where a tensor starts.
    pub fn at(&self, place: Place) -> usize {
        self.starts[place.0]
    }
    /// The same, for a shorter time.
    pub fn reborrow(&mut self) -> Statistics<'_, N> {
        Statistics { numbers: self.numbers, starts: self.starts }
    }
}

/// Refuses rows of a shape that nobody can compute with.
///
/// # Errors
/// When there are none, or more than any memory holds.
pub(crate) fn check_row(shape: Shape) -> Result<(), Misfit> {
    let numbers = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
    match numbers {
        Some(0) => Err(Misfit::new(format!("nothing is left of a row: its shape is {shape}"))),
        Some(n) if n <= MOST => Ok(()),
        _ => Err(Misfit::new(format!("a row of the shape {shape} is too large: more than 2⁴⁰ numbers"))),
    }
}

/// Why a layer cannot stand where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Misfit {
    /// Where its call stands in the expression, once known.
    pub span: Option<Span>,
    /// Why.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Misfit {
    /// The reason alone.
    pub fn new(message: impl Into<String>) -> Self {
        Self { span: None, message: message.into(), help: None }
    }
    /// Adds what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// One layer as [`Network::describe`](crate::network::Network::describe) tells of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its place: the first part of its tensors' names.
    pub place: String,
    /// Its call.
    pub layer: String,
    /// The shape of its results for one row.
    pub output: Vec<usize>,
    /// Its parameters.
    pub parameters: usize,
    /// Its multiply-adds for one row, forward.
    pub multiply_adds: u64,
}

/// Collects the tensors of a network, layer by layer.
#[derive(Debug)]
pub struct Declare {
    prefix: String,
    /// How many tokens there are, while nobody has embedded them.
    tokens: Option<usize>,
    tensors: Vec<(Declared, Kind, Init)>,
    /// The tensors that map to the network's outputs.
    heads: Vec<Place>,
    /// Numbers so far.
    count: usize,
    statistics: Vec<(Declared, Init)>,
    multiply_adds: u64,
    rows: Vec<Row>,
}

/// Name, shape and axes of a tensor.
#[derive(Debug)]
struct Declared {
    name: String,
    shape: Vec<usize>,
    axes: Vec<&'static str>,
}

impl Declare {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            prefix: String::new(),
            tokens: None,
            tensors: Vec::new(),
            heads: Vec::new(),
            count: 0,
            statistics: Vec::new(),
            multiply_adds: 0,
            rows: Vec::new(),
        }
    }
    /// Declares a parameter tensor under the layer's own name for it.
    ///
    /// # Errors
    /// When the network gets larger than any memory.
    pub fn tensor(
        &mut self,
        name: &str,
        shape: &[usize],
        axes: &[&'static str],
        kind: Kind,
        init: Init,
    ) -> Result<Place, Misfit> {
        let numbers = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
        match numbers.and_then(|n| n.checked_add(self.count)).filter(|&n| n <= MOST) {
            Some(count) => self.count = count,
            None => {
                return Err(Misfit::new(format!("{name} {shape:?} is too large: more than 2⁴⁰ parameters")));
            }
        }
        let declared = self.declared(name, shape, axes);
        self.tensors.push((declared, kind, init));
        Ok(Place(self.tensors.len() - 1))
    }
    /// Says that a tensor maps to the network's outputs.
    pub fn head(&mut self, place: Place) {
        self.heads.push(place);
    }
    /// Declares numbers that are kept beside the parameters. The place is one among the statistics.
    pub fn statistic(&mut self, name: &str, len: usize, init: Init) -> Place {
        let declared = self.declared(name, &[len], &["channel"]);
        self.statistics.push((declared, init));
        Place(self.statistics.len() - 1)
    }
    fn declared(&self, name: &str, shape: &[usize], axes: &[&'static str]) -> Declared {
        Declared { name: format!("{}{name}", self.prefix), shape: shape.into(), axes: axes.into() }
    }
    /// Counts multiply-adds for one row.
    pub fn multiply_adds(&mut self, factors: &[usize]) {
        let product = factors.iter().fold(1u64, |n, &factor| n.saturating_mul(factor as u64));
        self.multiply_adds = self.multiply_adds.saturating_add(product);
    }
    /// Declares a part of a layer: names inside start with `part` and a dot.
    pub fn within<R>(&mut self, part: &str, f: impl FnOnce(&mut Self) -> R) -> R {
        let before = self.prefix.len();
        self.prefix.push_str(part);
        self.prefix.push('.');
        let result = f(self);
        self.prefix.truncate(before);
        result
    }
    /// Rows are tokens of a vocabulary of that size.
    pub(crate) fn set_tokens(&mut self, vocabulary: usize) {
        self.tokens = Some(vocabulary);
    }
    /// The size of the vocabulary, while rows are tokens.
    pub(crate) fn tokens(&self) -> Option<usize> {
        self.tokens
    }
    /// The same; from now on rows are numbers.
    pub(crate) fn take_tokens(&mut self) -> Option<usize> {
        self.tokens.take()
    }
    /// Parameters and multiply-adds so far.
    pub(crate) fn counts(&self) -> (usize, u64) {
        (self.count, self.multiply_adds)
    }
    /// Tells of a layer of the outermost list, which began at these counts.
    pub(crate) fn row(&mut self, place: &str, layer: &str, output: &[usize], before: (usize, u64)) {
        if self.prefix.is_empty() {
            self.rows.push(Row {
                place: place.into(),
                layer: layer.into(),
                output: output.into(),
                parameters: self.count - before.0,
                multiply_adds: self.multiply_adds - before.1,
            });
        }
    }
    /// The layouts of parameters and statistics, how each tensor starts, and a row for each layer.
    pub(crate) fn finish(self) -> Built {
        let (mut layout, mut inits) = (Layout::builder(), Vec::new());
        for (i, (t, kind, init)) in self.tensors.into_iter().enumerate() {
            layout = layout.tensor(&t.name, &t.shape, &t.axes, kind);
            if self.heads.contains(&Place(i)) {
                layout = layout.head();
            }
            inits.push(init);
        }
        let (mut statistics, mut statistic_inits) = (Layout::builder(), Vec::new());
        for (t, init) in self.statistics {
            statistics = statistics.tensor(&t.name, &t.shape, &t.axes, Kind::Bias);
            statistic_inits.push(init);
        }
        Built {
            layout: layout.build(),
            inits,
            statistics: statistics.build(),
            statistic_inits,
            rows: self.rows,
        }
    }
}

impl Default for Declare {
    fn default() -> Self {
        Self::new()
    }
}

/// What a network was declared as.
pub(crate) struct Built {
    pub layout: Layout,
    pub inits: Vec<Init>,
    pub statistics: Layout,
    pub statistic_inits: Vec<Init>,
    pub rows: Vec<Row>,
}
