//! `transformer`: embeddings, blocks of attention and perceptron, and a norm; `block`: one of the blocks; `position`: where a step
//! stands.

use std::fmt;

use thalweg_autodiff::{Activation as Function, Number, Shape, Tape, Var};
use thalweg_core::Kind;
use thalweg_core::expr::ExprError;
use thalweg_core::hyper::{Hyper, Range};

use super::dense::export_map;
use super::{
    Checkpoint, Declare, Dense, Embedding, Entry, Init, Item, Layer, Misfit, Module, Norm, Over, Place,
    Reader, Run, Sequential,
};
use crate::onnx::{Attribute, Edge, Export, Exporter};

/// `y = x + weight`, `weight [steps, d]`, standard normal at the start: a vector for each place of a sequence.
#[derive(Clone, Debug, Default)]
pub struct Position {
    weight: Place,
    /// The steps that an expression asks for; as many as come in, if none.
    steps: Option<usize>,
}

impl Position {
    /// The steps that an expression asks for, if any.
    pub fn steps(&self) -> Option<usize> {
        self.steps
    }
}

impl Layer for Position {
    fn build(&mut self, declare: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        let &[steps, width] = &input[..] else {
            return Err(Misfit::new(format!("position takes a sequence, not {input}")));
        };
        if let Some(wanted) = self.steps.filter(|&wanted| wanted != steps) {
            let message = format!("a context of {wanted} does not suit rows of {steps} steps");
            return Err(Misfit::new(message));
        }
        let (shape, axes) = ([steps, width], ["step", "width"]);
        self.weight = declare.tensor("weight", &shape, &axes, Kind::Embedding, Init::Normal)?;
        Ok(input)
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        let weight = run.tape.param_at(self.weight.index());
        run.tape.add(x, weight)
    }
}

impl Export for Position {
    fn export(&self, to: &mut Exporter<'_>, x: &Edge, _: Shape) -> Edge {
        let weight = to.parameter(self.weight);
        to.graph.node("Add", &[x, &weight], [])
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("position")
    }
}

pub(super) const POSITION: Entry = Entry {
    name: "position",
    usage: "position",
    hyper: &[],
    doc: "adds a vector for each place of a sequence",
    read: |r| r.values(&[], &[]).map(|_| vec![Position::default().into()]),
};

/// One block, norms first: `torch.nn.TransformerEncoderLayer(norm_first=True, activation="gelu")`.
/// ```text
/// h = x + D(out_proj(attention(norm1(x))))        y = h + D(linear2(D(gelu(linear1(norm2(h))))))
/// ```
/// D leaves numbers out as [`Dropout`](super::Dropout) does, and within attention it does so to the shares that a step gives to others:
/// PyTorch's four places. With dropout these shares are kept whole for the backward pass, `[n, heads, t, t]`; without it they never are.
///
/// Vaswani et al. 2017, <https://arxiv.org/abs/1706.03762>; norms first as in Xiong et al. 2020, <https://arxiv.org/abs/2002.04745>.
/// Names are that class's: `self_attn.in_proj_weight [3d, d]` (queries, keys, values), `self_attn.out_proj.weight`,
/// `linear1.weight`, …
#[derive(Clone, Debug)]
pub struct Block {
    /// Heads; they divide the width.
    pub heads: usize,
    /// The hidden numbers of the perceptron; four times the width, if none.
    pub hidden: Option<usize>,
    /// Whether a step sees only those before it and itself.
    pub causal: bool,
    /// The share of numbers that are left out in training, in [0, 1).
    pub dropout: f64,
    in_proj: [Place; 2],
    out_proj: [Place; 2],
    linear: [Dense; 2],
    norm: [Norm; 2],
}

impl Block {
    /// A block of so many heads that looks back only, without dropout.
    pub fn new(heads: usize) -> Self {
        let linear = || {
            let mut dense = Dense::new(1);
            dense.activation = Function::Identity;
            dense
        };
        Self {
            heads,
            hidden: None,
            causal: true,
            dropout: 0.0,
            in_proj: [Place::default(); 2],
            out_proj: [Place::default(); 2],
            linear: [linear(), linear()],
            norm: [Norm::new(Over::Row), Norm::new(Over::Row)],
        }
    }

    /// The same where shares are left out at random: from the whole matrix of them.
    fn attend_in_part<N: Number>(&self, tape: &mut Tape<'_, N>, all: Var, seed: u64) -> Var {
        let [n, t, d] = [0, 1, 2].map(|axis| tape.shape(all)[axis]);
        let d = d / 3;
        // [n, t, 3, heads, d/heads] → [3, n, heads, t, d/heads]
        let all = tape.reshape(all, [n, t, 3, self.heads, d / self.heads]);
        let all = tape.permute(all, &[2, 0, 3, 1, 4]);
        let [q, k, v] = [0, 1, 2].map(|i| tape.select(all, 0, i));
        let scores = tape.matmul_of(q, k, [false, true]);
        let mut scores = tape.scale(scores, 1.0 / ((d / self.heads) as f64).sqrt());
        if self.causal {
            let unseen = N::from_f64(f64::NEG_INFINITY);
            let mask = tape.constant_by([t, t], |i| if i % t > i / t { unseen } else { N::zero() });
            scores = tape.add(scores, mask);
        }
        let shares = tape.softmax(scores);
        let shares = tape.dropout(shares, self.dropout, seed);
        let y = tape.matmul(shares, v);
        let y = tape.permute(y, &[0, 2, 1, 3]);
        tape.reshape(y, [n, t, d])
    }

    /// Attention of `x [n, t, d]` to itself.
    fn attend<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        let tape = &mut *run.tape;
        let [w, b] = self.in_proj.map(|place| tape.param_at(place.index()));
        let all = tape.dense(x, w, Some(b), Function::Identity);
        let y = if self.dropout > 0.0 && tape.is_training() {
            self.attend_in_part(tape, all, run.seed)
        } else {
            tape.self_attention(all, self.heads, self.causal)
        };
        let [w, b] = self.out_proj.map(|place| tape.param_at(place.index()));
        tape.dense(y, w, Some(b), Function::Identity)
    }
}

impl Layer for Block {
    fn build(&mut self, declare: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        let &[t, d] = &input[..] else {
            return Err(Misfit::new(format!("a block takes a sequence, not {input}")));
        };
        if !d.is_multiple_of(self.heads) {
            let message = format!("{} heads do not divide a width of {d}", self.heads);
            return Err(Misfit::new(message));
        }
        let axes = ["out", "in"];
        declare.within("self_attn", |declare| -> Result<(), Misfit> {
            let weight =
                declare.tensor("in_proj_weight", &[3 * d, d], &axes, Kind::Weight, Init::xavier(d, 3 * d))?;
            let bias = declare.tensor("in_proj_bias", &[3 * d], &["out"], Kind::Bias, Init::Zeros)?;
            self.in_proj = [weight, bias];
            let weight = declare.tensor("out_proj.weight", &[d, d], &axes, Kind::Weight, Init::fan_in(d))?;
            let bias = declare.tensor("out_proj.bias", &[d], &["out"], Kind::Bias, Init::Zeros)?;
            self.out_proj = [weight, bias];
            Ok(())
        })?;
        // Projections; scores and their sums, of which a causal block needs half, counted whole.
        declare.multiply_adds(&[t, 4, d, d]);
        declare.multiply_adds(&[2, t, t, d]);
        let hidden = self.hidden.unwrap_or(4 * d);
        (self.linear[0].out, self.linear[1].out) = (hidden, d);
        self.linear[0].activation = Function::Gelu;
        let middle = declare.within("linear1", |declare| self.linear[0].build(declare, input))?;
        declare.within("linear2", |declare| self.linear[1].build(declare, middle))?;
        for (norm, name) in self.norm.iter_mut().zip(["norm1", "norm2"]) {
            declare.within(name, |declare| norm.build(declare, input))?;
        }
        Ok(input)
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        let y = self.norm[0].forward(run, x);
        let y = self.attend(run, y);
        let y = run.tape.dropout(y, self.dropout, run.seed);
        let x = run.tape.add(x, y);
        let y = self.norm[1].forward(run, x);
        let y = self.linear[0].forward(run, y);
        let y = run.tape.dropout(y, self.dropout, run.seed);
        let y = self.linear[1].forward(run, y);
        let y = run.tape.dropout(y, self.dropout, run.seed);
        run.tape.add(x, y)
    }
}

impl Export for Block {
    fn export(&self, to: &mut Exporter<'_>, x: &Edge, input: Shape) -> Edge {
        let y = to.within("norm1", |to| self.norm[0].export(to, x, input));
        let y = to.within("self_attn", |to| self.export_attention(to, &y, input));
        let x = to.graph.node("Add", &[x, &y], []);
        let y = to.within("norm2", |to| self.norm[1].export(to, &x, input));
        let y = to.within("linear1", |to| self.linear[0].export(to, &y, input));
        let y = to.within("linear2", |to| self.linear[1].export(to, &y, input.with_last(self.linear[0].out)));
        to.graph.node("Add", &[&x, &y], [])
    }
}

impl Block {
    /// What `attend` computes: `softmax(q·kᵀ/√(d/heads) + mask)·v` for each head.
    fn export_attention(&self, to: &mut Exporter<'_>, x: &Edge, input: Shape) -> Edge {
        let (t, d, width) = (input[0], input[1], input[1] / self.heads);
        let [w, b] = self.in_proj;
        let all = export_map(to, x, input, w, Some(b));
        let graph = &mut *to.graph;
        let all = graph.reshape(&all, &[0, t as i64, 3, self.heads as i64, width as i64]);
        let all = graph.transpose(&all, &[2, 0, 3, 1, 4]);
        let [q, k, v] = [0, 1, 2].map(|i| graph.select(&all, 0, i));
        let k = graph.transpose(&k, &[0, 1, 3, 2]);
        let scores = graph.node("MatMul", &[&q, &k], []);
        let scale = graph.scalar((1.0 / (width as f64).sqrt()) as f32);
        let mut scores = graph.node("Mul", &[&scores, &scale], []);
        if self.causal {
            let mask = to.causal_mask(t);
            scores = to.graph.node("Add", &[&scores, &mask], []);
        }
        let graph = &mut *to.graph;
        let p = graph.node("Softmax", &[&scores], [Attribute::whole("axis", -1)]);
        let y = graph.node("MatMul", &[&p, &v], []);
        let y = graph.transpose(&y, &[0, 2, 1, 3]);
        let y = graph.reshape(&y, &[0, t as i64, d as i64]);
        let [w, b] = self.out_proj;
        export_map(to, &y, input, w, Some(b))
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block(heads={}", self.heads)?;
        if let Some(hidden) = self.hidden {
            write!(f, ", hidden={hidden}")?;
        }
        if !self.causal {
            f.write_str(", causal=false")?;
        }
        if self.dropout > 0.0 {
            write!(f, ", dropout={}", self.dropout)?;
        }
        f.write_str(")")
    }
}

const HIDDEN: Hyper = Hyper::new(
    "hidden",
    0.0,
    Range::new(0.0, false, 1e9, false),
    "hidden numbers of the perceptron; 0 is four times the width",
);
const CAUSAL: Hyper = Hyper::new("causal", 1.0, Range::SWITCH, "whether a step sees only those before it");

const DROPOUT: Hyper =
    Hyper::new("dropout", 0.0, Range::UNIT, "the share of numbers that are left out in training");

const BLOCK_HYPER: &[Hyper] =
    &[Hyper::new("heads", 4.0, Range::COUNT, "heads; they divide the width"), HIDDEN, CAUSAL, DROPOUT];

pub(super) const BLOCK: Entry = Entry {
    name: "block",
    usage: "block(heads=4, hidden=4·width, causal=true, dropout=0)",
    hyper: BLOCK_HYPER,
    doc: "attention and a perceptron, norms first, with ways around both",
    read: |r| {
        let v = r.values(BLOCK_HYPER, &[])?;
        Ok(vec![block([v[0], v[1], v[2], v[3]]).into()])
    },
};

/// A block of the values of `BLOCK_HYPER`.
fn block([heads, hidden, causal, dropout]: [f64; 4]) -> Block {
    let hidden = (hidden >= 1.0).then_some(hidden as usize);
    Block { hidden, causal: causal != 0.0, dropout, ..Block::new(heads as usize) }
}

const HYPER: &[Hyper] = &[
    Hyper::new("d", 128.0, Range::COUNT, "the numbers that stand for a token"),
    Hyper::new("heads", 4.0, Range::COUNT, "heads of each block; they divide d"),
    Hyper::new("layers", 4.0, Range::COUNT, "blocks"),
    Hyper::new(
        "context",
        0.0,
        Range::new(0.0, false, 1e9, false),
        "tokens of a row; 0 takes what the data have",
    ),
    HIDDEN,
    CAUSAL,
    DROPOUT,
    Hyper::new(
        "checkpoint",
        0.0,
        Range::SWITCH,
        "whether each block is run again in the backward pass, to save memory",
    ),
];

pub(super) const ENTRY: Entry = Entry {
    name: "transformer",
    usage: "transformer(d=128, heads=4, layers=4, context=0, hidden=4·d, causal=true, dropout=0, checkpoint=false)",
    hyper: HYPER,
    doc: "embedding(d) position block × layers layernorm: a decoder of tokens",
    read,
};

/// Blocks of one expression: more is a slip of the keyboard.
const MOST_LAYERS: usize = 10_000;

fn read(r: &Reader<'_>) -> Result<Vec<Module>, ExprError> {
    let v = r.values(HYPER, &[])?;
    let layers = v[2] as usize;
    if layers > MOST_LAYERS {
        let message = format!("{layers} layers are more than {MOST_LAYERS}");
        return Err(ExprError::new(r.source, r.call.span, message));
    }
    let steps = (v[3] >= 1.0).then_some(v[3] as usize);
    let mut modules: Vec<Module> =
        vec![Embedding::new(v[0] as usize).into(), Position { steps, ..Position::default() }.into()];
    modules.extend((0..layers).map(|_| {
        let block = block([v[1], v[4], v[5], v[6]]);
        if v[7] == 0.0 {
            return Module::from(block);
        }
        Checkpoint::new(Sequential { items: vec![Item::new(block, r.call.span)] }).into()
    }));
    modules.push(Norm::new(Over::Row).into());
    Ok(modules)
}
