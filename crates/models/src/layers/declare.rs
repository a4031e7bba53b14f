//! [`Declare`]: what layers say about themselves while a network is built.

use std::cell::Cell;

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

/// Numbers that are kept from step to step. Cells, since parts of a tape that are made again hold them too.
#[derive(Clone, Copy)]
pub struct Statistics<'a, N> {
    /// All of them.
    pub(crate) numbers: &'a [Cell<N>],
    /// Where each tensor of them starts.
    pub(crate) starts: &'a [usize],
    /// The share of this batch, where each layer is not to take its own.
    pub(crate) share: Option<f64>,
}

impl<'a, N> Statistics<'a, N> {
    /// A tensor of `len` numbers.
    pub fn of(&self, place: Place, len: usize) -> &'a [Cell<N>] {
        &self.numbers[self.starts[place.0]..][..len]
    }
}

/// What recurrent layers carry from one stretch of a sequence to the next, layer by layer in the order in which they run.
#[derive(Debug)]
pub struct States<'r, N> {
    /// All of it.
    pub(crate) numbers: &'r mut [N],
    /// Where that of the next layer begins.
    pub(crate) at: &'r Cell<usize>,
}

impl<N> States<'_, N> {
    /// The next `len` numbers.
    pub fn next(&mut self, len: usize) -> &mut [N] {
        let start = self.at.replace(self.at.get() + len);
        &mut self.numbers[start..start + len]
    }
    /// The same, for a shorter time.
    pub fn reborrow(&mut self) -> States<'_, N> {
        States { numbers: self.numbers, at: self.at }
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
    /// The place in the layout of each tensor, in the order of declaration; that order itself, if empty.
    places: Vec<usize>,
    /// How many tensors of the layout are trained.
    trained: usize,
    prefix: String,
    /// How many tokens there are, while nobody has embedded them.
    tokens: Option<usize>,
    tensors: Vec<(Declared, Kind, Init)>,
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
            places: Vec::new(),
            trained: usize::MAX,
            prefix: String::new(),
            tokens: None,
            tensors: Vec::new(),
            count: 0,
            statistics: Vec::new(),
            multiply_adds: 0,
            rows: Vec::new(),
        }
    }
    /// The same tensors once more, those that are frozen behind the others.
    pub(crate) fn with_frozen(frozen: &[bool]) -> Self {
        let mut order: Vec<usize> = (0..frozen.len()).collect();
        order.sort_by_key(|&i| frozen[i]);
        let mut places = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, &i)| places[i] = place);
        Self { places, trained: frozen.iter().filter(|f| !**f).count(), ..Self::new() }
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
        let nth = self.tensors.len() - 1;
        Ok(Place(self.places.get(nth).copied().unwrap_or(nth)))
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
        let place = |nth: usize| self.places.get(nth).copied().unwrap_or(nth);
        let mut tensors: Vec<_> = self.tensors.into_iter().enumerate().collect();
        tensors.sort_by_key(|(nth, _)| place(*nth));
        for (i, (nth, (t, kind, init))) in tensors.into_iter().enumerate() {
            if i == self.trained {
                layout = layout.frozen();
            }
            layout = layout.tensor(&t.name, &t.shape, &t.axes, kind);
            inits.push((nth, init));
        }
        let (mut statistics, mut statistic_inits) = (Layout::builder(), Vec::new());
        for (nth, (t, init)) in self.statistics.into_iter().enumerate() {
            statistics = statistics.tensor(&t.name, &t.shape, &t.axes, Kind::Bias);
            statistic_inits.push((nth, init));
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
    /// For each tensor its number in the order of declaration, from which it is drawn, and how.
    pub inits: Vec<(usize, Init)>,
    pub statistics: Layout,
    pub statistic_inits: Vec<(usize, Init)>,
    pub rows: Vec<Row>,
}
