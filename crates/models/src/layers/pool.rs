//! `pool` and `avgpool`: the largest number or the mean of each window, `torch.nn.MaxPool2d` and `AvgPool2d`; `globalpool`: the mean
//! of each channel.

use std::fmt;

use thalweg_autodiff::ops::pool2d::PoolWindow;
use thalweg_autodiff::{Number, Shape, Var};
use thalweg_core::expr::ExprError;
use thalweg_core::hyper::{Hyper, Range};

use super::conv::{POINTS, windows};
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

/// `[c, h, w] → [c, h′, w′]`, h′ = ⌊(h + 2·padding − size)/stride⌋ + 1.
#[derive(Clone, Debug)]
pub struct Pool {
    /// What is taken.
    pub taking: Taking,
    /// The window's side.
    pub size: usize,
    /// How far it moves.
    pub stride: usize,
    /// How far it reaches beyond the image, at most half its size.
    pub padding: usize,
}

impl Layer for Pool {
    fn build(&mut self, _: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        let &[channels, height, width] = &input[..] else {
            return Err(Misfit::new(format!("{} takes an image, not {input}", self.name())));
        };
        if 2 * self.padding > self.size {
            let message = format!("padding {} is more than half of the window {}", self.padding, self.size);
            return Err(Misfit::new(message));
        }
        let fit = |size| windows(size, self.padding, self.size, self.stride);
        match (fit(height), fit(width)) {
            (Some(height), Some(width)) => Ok([channels, height, width].into()),
            _ => Err(Misfit::new(format!("a window of {} does not fit into {input}", self.size))),
        }
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        let (size, stride, padding) = ([self.size; 2], [self.stride; 2], [self.padding; 2]);
        let window = PoolWindow { size, stride, padding };
        match self.taking {
            Taking::Max => run.tape.max_pool2d(x, window),
            Taking::Mean => run.tape.avg_pool2d(x, window),
        }
    }
}

impl Export for Pool {
    fn export(&self, to: &mut Exporter<'_>, x: &Edge, _: Shape) -> Edge {
        let each = |name, x: usize, times| Attribute::wholes(name, &vec![x as i64; times]);
        let mut attributes = vec![
            each("kernel_shape", self.size, 2),
            each("strides", self.stride, 2),
            each("pads", self.padding, 4),
        ];
        match self.taking {
            Taking::Max => to.graph.node("MaxPool", &[x], attributes),
            Taking::Mean => {
                attributes.push(Attribute::whole("count_include_pad", 1));
                to.graph.node("AveragePool", &[x], attributes)
            }
        }
    }
}

impl Pool {
    fn name(&self) -> &'static str {
        if self.taking == Taking::Max { "pool" } else { "avgpool" }
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}", self.name(), self.size)?;
        if self.stride != self.size {
            write!(f, ", stride={}", self.stride)?;
        }
        if self.padding != 0 {
            write!(f, ", padding={}", self.padding)?;
        }
        f.write_str(")")
    }
}

const HYPER: &[Hyper] = &[
    Hyper::new("size", 2.0, POINTS, "the window's side"),
    Hyper::new("stride", 0.0, Range::new(0.0, false, 1e4, false), "how far it moves; 0 is its size"),
    Hyper::new("padding", 0.0, Range::new(0.0, false, 1e4, false), "how far it reaches beyond the image"),
];

fn read(r: &Reader<'_>, taking: Taking) -> Result<Vec<Module>, ExprError> {
    let v = r.whole(HYPER)?;
    let stride = if v[1] == 0 { v[0] } else { v[1] };
    Ok(vec![Pool { taking, size: v[0], stride, padding: v[2] }.into()])
}

pub(super) const MAX: Entry = Entry {
    name: "pool",
    usage: "pool(size=2, stride=size, padding=0)",
    hyper: HYPER,
    doc: "the largest number of each window of an image",
    read: |r| read(r, Taking::Max),
};

pub(super) const MEAN: Entry = Entry {
    name: "avgpool",
    usage: "avgpool(size=2, stride=size, padding=0)",
    hyper: HYPER,
    doc: "the mean of each window of an image",
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
        match run.tape.shape(x).len() {
            4 => run.tape.global_avg_pool(x),
            _ => run.tape.mean_axis(x, 1),
        }
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
