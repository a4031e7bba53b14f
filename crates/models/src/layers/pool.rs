//! `pool` and `avgpool`: the largest number or the mean of each window, `torch.nn.MaxPool2d` and `AvgPool2d`, of a sequence `MaxPool1d` and
//! `AvgPool1d`; `globalpool`: the mean of each channel.

use std::fmt;

use thalweg_autodiff::ops::pool2d::PoolWindow;
use thalweg_autodiff::{Number, Shape, Tape, Var};
use thalweg_core::expr::ExprError;
use thalweg_core::hyper::{Hyper, Range};

use super::conv::{self, POINTS, windows};
use super::{Declare, Entry, Layer, Misfit, Module, Reader, Run};
use crate::onnx::{Attribute, Edge, Export, Exporter};

/// What is taken of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taking {
    /// The largest number.
    Max,
    /// The mean.
    Mean,
}

/// `[c, h, w] → [c, h′, w′]`, h′ = ⌊(h + 2·padding − size)/stride⌋ + 1; of a sequence, along its steps, `[steps, d] → [steps′, d]`.
/// Sizes are `[rows, columns]`; of a sequence, which has one side, both are the same.
#[derive(Clone, Debug)]
pub struct Pool {
    /// What is taken.
    pub taking: Taking,
    /// The window's sides.
    pub size: [usize; 2],
    /// How far it moves.
    pub stride: [usize; 2],
    /// How far it reaches beyond the image, at most half its size.
    pub padding: [usize; 2],
}

impl Layer for Pool {
    fn build(&mut self, _: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        let sides = match input[..] {
            [_, height, width] => vec![height, width],
            [steps, _] => vec![steps],
            _ => {
                return Err(Misfit::new(format!(
                    "{} takes an image or a sequence, not {input}",
                    self.name()
                )));
            }
        };
        let all = [("size", self.size), ("stride", self.stride), ("padding", self.padding)];
        if let (1, Some((name, _))) = (sides.len(), all.iter().find(|(_, [rows, columns])| rows != columns)) {
            return Err(Misfit::new(format!("a sequence has one side: {name} takes one number")));
        }
        // Where the sides stand in the shape: behind the channels of an image, at the front of a sequence.
        let first = if sides.len() == 2 { 1 } else { 0 };
        let mut output = input;
        for (side, &points) in sides.iter().enumerate() {
            let (size, padding) = (self.size[side], self.padding[side]);
            if 2 * padding > size {
                let message = format!("padding {padding} is more than half of the window {size}");
                return Err(Misfit::new(message));
            }
            let Some(end) = windows(points, padding, size, self.stride[side]) else {
                return Err(Misfit::new(format!(
                    "a window of {} does not fit into {input}",
                    conv::side(self.size)
                )));
            };
            output[first + side] = end;
        }
        Ok(output)
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        let Self { size, stride, padding, .. } = *self;
        let pool = |tape: &mut Tape<'_, N>, x, window| match self.taking {
            Taking::Max => tape.max_pool2d_last(x, window),
            Taking::Mean => tape.avg_pool2d_last(x, window),
        };
        let tape = &mut *run.tape;
        let &[n, steps, d] = &tape.shape(x)[..] else {
            return pool(tape, x, PoolWindow { size, stride, padding });
        };
        // A sequence is an image of one column, under a window of one column.
        let image = tape.reshape(x, [n, steps, 1, d]);
        let window = PoolWindow { size: [size[0], 1], stride: [stride[0], 1], padding: [padding[0], 0] };
        let y = pool(tape, image, window);
        let shape = tape.shape(y).without(2);
        tape.reshape(y, shape)
    }
}

impl Export for Pool {
    fn export(&self, to: &mut Exporter<'_>, x: &Edge, input: Shape) -> Edge {
        // A sequence has its channels last, and its steps count as rows.
        let sides = input.len() - 1;
        let x = if sides == 1 { to.graph.transpose(x, &[0, 2, 1]) } else { x.clone() };
        let whole = |x: &[usize]| x.iter().map(|&x| x as i64).collect::<Vec<_>>();
        let each = |name, x: [usize; 2]| Attribute::wholes(name, &whole(&x[..sides]));
        let pads = [&self.padding[..sides], &self.padding[..sides]].concat();
        let mut attributes = vec![
            each("kernel_shape", self.size),
            each("strides", self.stride),
            Attribute::wholes("pads", &whole(&pads)),
        ];
        let name = match self.taking {
            Taking::Max => "MaxPool",
            Taking::Mean => {
                attributes.push(Attribute::whole("count_include_pad", 1));
                "AveragePool"
            }
        };
        let y = to.graph.node(name, &[&x], attributes);
        if sides == 1 { to.graph.transpose(&y, &[0, 2, 1]) } else { y }
    }
}

impl Pool {
    fn name(&self) -> &'static str {
        if self.taking == Taking::Max { "pool" } else { "avgpool" }
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}", self.name(), conv::side(self.size))?;
        if self.stride != self.size {
            write!(f, ", stride={}", conv::side(self.stride))?;
        }
        if self.padding != [0; 2] {
            write!(f, ", padding={}", conv::side(self.padding))?;
        }
        f.write_str(")")
    }
}

const HYPER: &[Hyper] = &[
    Hyper::new("size", 2.0, POINTS, "the window's sides"),
    Hyper::new("stride", 0.0, Range::new(0.0, false, 1e4, false), "how far it moves; 0 is its size"),
    Hyper::new("padding", 0.0, Range::new(0.0, false, 1e4, false), "how far it reaches beyond the image"),
];

fn read(r: &Reader<'_>, taking: Taking) -> Result<Vec<Module>, ExprError> {
    let [rows, columns] = r.sides(HYPER, &["size", "stride", "padding"])?;
    let (rows, columns) =
        (Reader { call: &rows, ..*r }.whole(HYPER)?, Reader { call: &columns, ..*r }.whole(HYPER)?);
    let [size, stride, padding] = [0, 1, 2].map(|i| [rows[i], columns[i]]);
    let stride = [0, 1].map(|side| if stride[side] == 0 { size[side] } else { stride[side] });
    Ok(vec![Pool { taking, size, stride, padding }.into()])
}

pub(super) const MAX: Entry = Entry {
    name: "pool",
    usage: "pool(size=2, stride=size, padding=0)",
    hyper: HYPER,
    doc: "the largest number of each window of an image, or of the steps of a sequence; size(2, 3) has 2 rows and 3 columns",
    read: |r| read(r, Taking::Max),
};

pub(super) const MEAN: Entry = Entry {
    name: "avgpool",
    usage: "avgpool(size=2, stride=size, padding=0)",
    hyper: HYPER,
    doc: "the mean of each window of an image, or of the steps of a sequence",
    read: |r| read(r, Taking::Mean),
};

/// The mean of each channel, `[c, h, w] → [c]`: `torch.nn.AdaptiveAvgPool2d(1)` and a flatten at once. Of a sequence, the mean of its
/// steps, `[steps, d] → [d]`.
#[derive(Clone, Debug)]
pub struct GlobalPool;

impl Layer for GlobalPool {
    fn build(&mut self, _: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        match input[..] {
            [channels, _, _] => Ok([channels].into()),
            [_, width] => Ok([width].into()),
            _ => Err(Misfit::new(format!("globalpool takes an image or a sequence, not {input}"))),
        }
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        let tape = &mut *run.tape;
        let x = match tape.shape(x)[..] {
            [n, h, w, c] => tape.reshape(x, [n, h * w, c]),
            _ => x,
        };
        tape.mean_axis(x, 1)
    }
}

impl Export for GlobalPool {
    fn export(&self, to: &mut Exporter<'_>, x: &Edge, input: Shape) -> Edge {
        let axes: &[i64] = if input.len() == 3 { &[2, 3] } else { &[1] };
        to.graph.node("ReduceMean", &[x], [Attribute::wholes("axes", axes), Attribute::whole("keepdims", 0)])
    }
}

impl fmt::Display for GlobalPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("globalpool")
    }
}

pub(super) const GLOBAL: Entry = Entry {
    name: "globalpool",
    usage: "globalpool",
    hyper: &[],
    doc: "the mean of each channel of an image, or of all steps of a sequence",
    read: |r| r.values(&[], &[]).map(|_| vec![GlobalPool.into()]),
};
