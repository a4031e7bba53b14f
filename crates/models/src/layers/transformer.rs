//! `transformer`: embeddings, blocks of attention and perceptron, and a norm; `block`: one of the blocks; `position`: where a step
//! stands.

use std::fmt;

use thalweg_autodiff::{Activation as Function, Number, Shape, Var};
use thalweg_core::Kind;
use thalweg_core::expr::ExprError;
use thalweg_core::hyper::{Hyper, Range};

use super::{Declare, Dense, Embedding, Entry, Init, Layer, Misfit, Module, Norm, Over, Place, Reader, Run};

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

/// One block, norms first: `torch.nn.TransformerEncoderLayer(norm_first=True, activation="gelu")`, without dropout.
/// ```text
/// h = x + out_proj(attention(norm1(x)))        y = h + linear2(gelu(linear1(norm2(h))))
/// ```
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
    in_proj: [Place; 2],
    out_proj: [Place; 2],
    linear: [Dense; 2],
    norm: [Norm; 2],
}

impl Block {
    /// A block of so many heads that looks back only.
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
            in_proj: [Place::default(); 2],
            out_proj: [Place::default(); 2],
            linear: [linear(), linear()],
            norm: [Norm::new(Over::Row), Norm::new(Over::Row)],
        }
    }

    /// Attention of `x [n, t, d]` to itself.
    fn attend<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        let tape = &mut *run.tape;
        let [n, t, d] = [0, 1, 2].map(|axis| tape.shape(x)[axis]);
        let [w, b] = self.in_proj.map(|place| tape.param_at(place.index()));
        let all = tape.dense(x, w, Some(b), Function::Identity);
        // [n, t, 3, heads, d/heads] → [3, n, heads, t, d/heads]
        let all = tape.reshape(all, [n, t, 3, self.heads, d / self.heads]);
        let all = tape.permute(all, &[2, 0, 3, 1, 4]);
        let [q, k, v] = [0, 1, 2].map(|i| tape.select(all, 0, i));
        let y = tape.attention(q, k, v, self.causal, None);
        let y = tape.permute(y, &[0, 2, 1, 3]);
        let y = tape.reshape(y, [n, t, d]);
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
        let x = run.tape.add(x, y);
        let y = self.norm[1].forward(run, x);
        let y = self.linear[0].forward(run, y);
        let y = self.linear[1].forward(run, y);
        run.tape.add(x, y)
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block(heads={}", self.heads)?;
        if let Some(hidden) = self.hidden {
            write!(f, ", hidden={hidden}")?;
        }
        f.write_str(if self.causal { ")" } else { ", causal=false)" })
    }
}

const HIDDEN: Hyper = Hyper::new(
    "hidden",
    0.0,
    Range::new(0.0, false, 1e9, false),
    "hidden numbers of the perceptron; 0 is four times the width",
);
const CAUSAL: Hyper = Hyper::new("causal", 1.0, Range::SWITCH, "whether a step sees only those before it");

const BLOCK_HYPER: &[Hyper] =
    &[Hyper::new("heads", 4.0, Range::COUNT, "heads; they divide the width"), HIDDEN, CAUSAL];

pub(super) const BLOCK: Entry = Entry {
    name: "block",
    usage: "block(heads=4, hidden=4·width, causal=true)",
    hyper: BLOCK_HYPER,
    doc: "attention and a perceptron, norms first, with ways around both",
    read: |r| {
        let v = r.values(BLOCK_HYPER, &[])?;
        Ok(vec![block(v[0], v[1], v[2]).into()])
    },
};

fn block(heads: f64, hidden: f64, causal: f64) -> Block {
    let hidden = (hidden >= 1.0).then_some(hidden as usize);
    Block { hidden, causal: causal != 0.0, ..Block::new(heads as usize) }
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
];

pub(super) const ENTRY: Entry = Entry {
    name: "transformer",
    usage: "transformer(d=128, heads=4, layers=4, context=0, hidden=4·d, causal=true)",
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
    modules.extend((0..layers).map(|_| Module::from(block(v[1], v[4], v[5]))));
    modules.push(Norm::new(Over::Row).into());
    Ok(modules)
}
