//! `embedding`: a row of a table for each code, `torch.nn.Embedding`; `embeddingbag`: the rows of all tokens as one, `torch.nn.EmbeddingBag`.

use std::fmt;

use thalweg_autodiff::{Number, Shape, Var};
use thalweg_core::Kind;
use thalweg_core::hyper::{Hyper, Range};

use super::{Declare, Entry, Init, Layer, Misfit, Place, Run};
use crate::onnx::{Attribute, Edge, Export, Exporter};

/// Codes, at most one in each place: a code that training never saw is none, and its row is 0.
#[derive(Clone, Debug, Default)]
pub struct Bags {
    /// The codes that are there.
    pub codes: Vec<u32>,
    /// For each place, how many codes stand before it.
    pub starts: Vec<u32>,
    /// For each row, the same; where a row has one place, none are counted.
    pub rows: Vec<u32>,
}

impl Bags {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.codes.clear();
        self.starts.clear();
        self.rows.clear();
    }
    /// The places that follow are another row's.
    pub fn row(&mut self) {
        self.rows.push(self.codes.len() as u32);
    }
    /// Adds a place.
    pub fn push(&mut self, code: Option<u32>) {
        self.starts.push(u32::try_from(self.codes.len()).expect("fewer than 2³² codes in a batch"));
        self.codes.extend(code);
    }
}

/// The width that a table gets when nobody names one: half of the levels, rounded up, at most 50. Guo & Berkhahn
/// 2016 embed categories so, <https://arxiv.org/abs/1604.06737>; the rule of thumb is fast.ai's.
pub fn default_width(levels: usize) -> usize {
    levels.div_ceil(2).clamp(1, 50)
}

/// `weight [levels, width]`, standard normal at the start; tokens `[steps]` become `[steps, width]`. Stands at the front alone.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// The numbers of a row.
    pub width: usize,
    /// Which of the batch's codes are looked up.
    pub(crate) column: usize,
    weight: Place,
}

impl Embedding {
    /// Rows of `width` numbers.
    pub fn new(width: usize) -> Self {
        Self { width, column: 0, weight: Place::default() }
    }
    /// Declares the table of a column with so many levels.
    ///
    /// # Errors
    /// As [`Declare::tensor`].
    pub(crate) fn declare(&mut self, declare: &mut Declare, levels: usize) -> Result<(), Misfit> {
        let (shape, axes) = ([levels, self.width], ["level", "width"]);
        self.weight = declare.tensor("weight", &shape, &axes, Kind::Embedding, Init::Normal)?;
        Ok(())
    }
    /// The rows of all places, `[places, width]`.
    pub(crate) fn look_up<N: Number>(&self, run: &mut Run<'_, '_, N>) -> Var {
        let bags = &run.bags[self.column];
        let table = run.tape.param_at(self.weight.index());
        run.tape.embedding_bag(table, &bags.codes, &bags.starts, false)
    }
}

impl Layer for Embedding {
    fn build(&mut self, declare: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        let Some(vocabulary) = declare.take_tokens() else {
            return Err(Misfit::new("embedding takes tokens, and stands at the front"));
        };
        self.declare(declare, vocabulary)?;
        Ok([input[0], self.width].into())
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        let n = run.tape.shape(x)[0];
        let y = self.look_up(run);
        let places = run.tape.shape(y)[0];
        run.tape.reshape(y, [n, places.checked_div(n).unwrap_or(0), self.width])
    }
}

impl Embedding {
    /// The rows of whole numbers; −1 is the row behind the last one, all zeros.
    fn export_rows(&self, to: &mut Exporter<'_>, codes: &Edge) -> Edge {
        let (name, numbers) = to.numbers(self.weight);
        let mut table = numbers.to_vec();
        table.resize(table.len() + self.width, 0.0);
        let table = to.graph.constant(name, &[table.len() / self.width, self.width], &table);
        to.graph.node("Gather", &[&table, codes], [Attribute::whole("axis", 0)])
    }
}

impl Export for Embedding {
    fn export(&self, to: &mut Exporter<'_>, codes: &Edge, _: Shape) -> Edge {
        self.export_rows(to, codes)
    }
}

impl fmt::Display for Embedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "embedding({})", self.width)
    }
}

const HYPER: &[Hyper] = &[Hyper::required("width", Range::COUNT, "how many numbers stand for a token")];

pub(super) const ENTRY: Entry = Entry {
    name: "embedding",
    usage: "embedding(width)",
    hyper: HYPER,
    doc: "a vector for each token; at the front alone",
    read: |r| Ok(vec![Embedding::new(r.values(HYPER, &[])?[0] as usize).into()]),
};

/// `weight [levels, width]`, standard normal at the start; tokens `[steps]` become the mean or the sum of their rows, `[width]`, 0 of
/// none. Stands at the front alone.
#[derive(Clone, Debug)]
pub struct EmbeddingBag {
    table: Embedding,
    /// The mean of the rows; else their sum.
    pub mean: bool,
}

impl EmbeddingBag {
    /// The mean of rows of `width` numbers: PyTorch's default.
    pub fn new(width: usize) -> Self {
        Self { table: Embedding::new(width), mean: true }
    }
}

impl Layer for EmbeddingBag {
    fn build(&mut self, declare: &mut Declare, _: Shape) -> Result<Shape, Misfit> {
        let Some(vocabulary) = declare.take_tokens() else {
            return Err(Misfit::new("embeddingbag takes tokens, and stands at the front"));
        };
        self.table.declare(declare, vocabulary)?;
        Ok([self.table.width].into())
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, _: Var) -> Var {
        let bags = &run.bags[self.table.column];
        let table = run.tape.param_at(self.table.weight.index());
        run.tape.embedding_bag(table, &bags.codes, &bags.rows, self.mean)
    }
}

impl Export for EmbeddingBag {
    /// Means over all steps, those of −1 being 0: times the steps they are sums; over the share of other codes, means of those.
    fn export(&self, to: &mut Exporter<'_>, codes: &Edge, input: Shape) -> Edge {
        let rows = self.table.export_rows(to, codes);
        let (graph, steps) = (&mut *to.graph, input[0] as f32);
        let along = |keep: i64| [Attribute::wholes("axes", &[1]), Attribute::whole("keepdims", keep)];
        let mean = graph.node("ReduceMean", &[&rows], along(0));
        if !self.mean {
            let steps = graph.scalar(steps);
            return graph.node("Mul", &[&mean, &steps], []);
        }
        let numbers = graph.node("Cast", &[codes], [Attribute::whole("to", 1)]);
        let (one, least) = (graph.scalar(1.0f32), graph.scalar(1.0 / steps));
        let above = graph.node("Add", &[&numbers, &one], []);
        let known = graph.node("Min", &[&above, &one], []);
        let share = graph.node("ReduceMean", &[&known], along(1));
        let share = graph.node("Max", &[&share, &least], []);
        graph.node("Div", &[&mean, &share], [])
    }
}

impl fmt::Display for EmbeddingBag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "embeddingbag({}{})", self.table.width, if self.mean { "" } else { ", mean=false" })
    }
}

const BAG_HYPER: &[Hyper] = &[
    Hyper::required("width", Range::COUNT, "how many numbers stand for a token"),
    Hyper::new("mean", 1.0, Range::SWITCH, "whether the rows' mean is taken, else their sum"),
];

pub(super) const BAG: Entry = Entry {
    name: "embeddingbag",
    usage: "embeddingbag(width, mean=true)",
    hyper: BAG_HYPER,
    doc: "one vector for all tokens of a row, the mean of theirs; at the front alone",
    read: |r| {
        let v = r.values(BAG_HYPER, &[])?;
        Ok(vec![EmbeddingBag { mean: v[1] != 0.0, ..EmbeddingBag::new(v[0] as usize) }.into()])
    },
};
