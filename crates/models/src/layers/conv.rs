//! `conv`: a convolution, `torch.nn.Conv2d`; of a sequence along its steps, `torch.nn.Conv1d`.

use std::fmt;

use thalweg_autodiff::ops::conv2d::Window;
use thalweg_autodiff::{Activation as Function, Number, Shape, Var};
use thalweg_core::Kind;
use thalweg_core::expr::ExprError;
use thalweg_core::hyper::{Hyper, Range};

use super::{Declare, Entry, Init, Layer, Misfit, Module, Place, Reader, Run};
use crate::onnx::{Attribute, Edge, Export, Exporter};

/// The zeros around an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// As many as keep the size at a stride of 1: dilation·(kernel − 1)/2 on each side, for an odd kernel.
    Same,
    /// So many above and below, and so many left and right.
    Each([usize; 2]),
}

/// `x [in, h, w] → [out, h′, w′]` with `weight [out, in/groups, k, l]` and `bias [out]`, both uniform on ±1/√(in/groups·k·l) at the
/// start; h′ = ⌊(h + 2·padding − dilation·(k − 1) − 1)/stride⌋ + 1. Of a sequence `[steps, in] → [steps′, out]` with `weight [out,
/// in/groups, k]`. Sizes are `[rows, columns]`; of a sequence, which has one side, both are the same.
#[derive(Clone, Debug)]
pub struct Conv {
    /// Channels that it makes.
    pub out: usize,
    /// Points of the kernel along each side.
    pub kernel: [usize; 2],
    /// How far it moves.
    pub stride: [usize; 2],
    /// Zeros around.
    pub padding: Padding,
    /// The distance of the kernel's points.
    pub dilation: [usize; 2],
    /// Runs of channels that do not see each other.
    pub groups: usize,
    /// Whether there is a bias.
    pub bias: bool,
    /// What follows in the same pass over memory.
    pub activation: Function,
    weight: Place,
    shift: Place,
}

impl Conv {
    /// `out` channels by 3×3 kernels, of the image's own size.
    pub fn new(out: usize) -> Self {
        Self {
            out,
            kernel: [3; 2],
            stride: [1; 2],
            padding: Padding::Same,
            dilation: [1; 2],
            groups: 1,
            bias: true,
            activation: Function::Identity,
            weight: Place::default(),
            shift: Place::default(),
        }
    }
    fn pad(&self) -> [usize; 2] {
        match self.padding {
            Padding::Same => [0, 1].map(|side| self.dilation[side] * (self.kernel[side] - 1) / 2),
            Padding::Each(padding) => padding,
        }
    }
    fn window(&self) -> Window {
        Window { stride: self.stride, padding: self.pad(), dilation: self.dilation, groups: self.groups }
    }
    /// The first of its sizes whose sides differ, if any does.
    fn oblong(&self) -> Option<&'static str> {
        let sizes = [
            ("kernel", self.kernel),
            ("stride", self.stride),
            ("padding", self.pad()),
            ("dilation", self.dilation),
        ];
        sizes.into_iter().find(|(_, [rows, columns])| rows != columns).map(|(name, _)| name)
    }
}

/// How often a window of `reach` points fits along `size` points.
pub(super) fn windows(size: usize, padding: usize, reach: usize, stride: usize) -> Option<usize> {
    Some((size + 2 * padding).checked_sub(reach)? / stride + 1)
}

impl Layer for Conv {
    fn build(&mut self, declare: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        let (channels, sizes) = match input[..] {
            [channels, height, width] => (channels, vec![height, width]),
            [steps, features] => (features, vec![steps]),
            _ => {
                let message = format!("conv takes an image or a sequence, not {input}");
                return Err(Misfit::new(message).help("give the rows the shape of images"));
            }
        };
        let Self { out, kernel, groups, .. } = *self;
        if !channels.is_multiple_of(groups) || !out.is_multiple_of(groups) {
            let message = format!("{groups} groups do not divide {channels} channels in and {out} out");
            return Err(Misfit::new(message));
        }
        if let (1, Some(name)) = (sizes.len(), self.oblong()) {
            return Err(Misfit::new(format!("a sequence has one side: {name} takes one number")));
        }
        let mut ends = Vec::new();
        for (side, &size) in sizes.iter().enumerate() {
            let reach = self.dilation[side] * (kernel[side] - 1);
            if self.padding == Padding::Same && reach % 2 == 1 {
                let message = format!("a kernel of {} cannot keep the size: it has no middle", kernel[side]);
                return Err(Misfit::new(message).help("give padding a number, or kernel an odd one"));
            }
            let Some(end) = windows(size, self.pad()[side], reach + 1, self.stride[side]) else {
                let message =
                    format!("a kernel that reaches over {} points does not fit into {input}", reach + 1);
                return Err(Misfit::new(message));
            };
            ends.push(end);
        }
        let mut shape = vec![out, channels / groups];
        shape.extend(&kernel[..sizes.len()]);
        let axes = ["out", "in", "height", "width"];
        let axes: &[&'static str] = if sizes.len() == 2 { &axes } else { &["out", "in", "step"] };
        let init = Init::fan_in(shape[1..].iter().product());
        self.weight = declare.tensor("weight", &shape, axes, Kind::Weight, init)?;
        if self.bias {
            self.shift = declare.tensor("bias", &[out], &["out"], Kind::Bias, init)?;
        }
        declare.multiply_adds(&[shape.iter().product(), ends.iter().product()]);
        Ok(match ends[..] {
            [height, width] => [out, height, width].into(),
            _ => [ends[0], out].into(),
        })
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        let tape = &mut *run.tape;
        let weight = tape.param_at(self.weight.index());
        let bias = self.bias.then(|| tape.param_at(self.shift.index()));
        if tape.shape(x).len() == 4 {
            return tape.conv2d_last(x, weight, bias, self.window(), self.activation);
        }
        tape.conv1d_last(x, weight, bias, self.window(), self.activation)
    }
}

/// A size as it is written in expressions.
pub(super) fn side([rows, columns]: [usize; 2]) -> String {
    if rows == columns { rows.to_string() } else { format!("size({rows}, {columns})") }
}

impl Export for Conv {
    fn export(&self, to: &mut Exporter<'_>, x: &Edge, input: Shape) -> Edge {
        let weight = to.parameter(self.weight);
        let bias = self.bias.then(|| to.parameter(self.shift));
        // A sequence has its channels last, and its steps count as rows.
        let sides = input.len() - 1;
        let x = if sides == 1 { to.graph.transpose(x, &[0, 2, 1]) } else { x.clone() };
        let parts: Vec<&Edge> = [&x, &weight].into_iter().chain(&bias).collect();
        let whole = |x: &[usize]| x.iter().map(|&x| x as i64).collect::<Vec<_>>();
        let each = |name, x: [usize; 2]| Attribute::wholes(name, &whole(&x[..sides]));
        let pads = [&self.pad()[..sides], &self.pad()[..sides]].concat();
        let attributes = [
            each("kernel_shape", self.kernel),
            each("strides", self.stride),
            Attribute::wholes("pads", &whole(&pads)),
            each("dilations", self.dilation),
            Attribute::whole("group", self.groups as i64),
        ];
        let y = to.graph.node("Conv", &parts, attributes);
        let y = to.activation(self.activation, &y);
        if sides == 1 { to.graph.transpose(&y, &[0, 2, 1]) } else { y }
    }
}

impl fmt::Display for Conv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conv({}, kernel={}", self.out, side(self.kernel))?;
        if self.stride != [1; 2] {
            write!(f, ", stride={}", side(self.stride))?;
        }
        if let Padding::Each(padding) = self.padding {
            write!(f, ", padding={}", side(padding))?;
        }
        if self.dilation != [1; 2] {
            write!(f, ", dilation={}", side(self.dilation))?;
        }
        if self.groups != 1 {
            write!(f, ", groups={}", self.groups)?;
        }
        f.write_str(if self.bias { ")" } else { ", bias=false)" })
    }
}

/// The most points of a window: more is a slip of the keyboard.
pub(super) const POINTS: Range = Range::new(1.0, false, 1e4, false);

const HYPER: &[Hyper] = &[
    Hyper::required("out", Range::COUNT, "how many channels it makes"),
    Hyper::new("kernel", 3.0, POINTS, "points of the kernel along each side"),
    Hyper::new("stride", 1.0, POINTS, "how far it moves"),
    Hyper::new("padding", SAME, Range::new(-1.0, false, 1e4, false), "zeros around; `same` keeps the size"),
    Hyper::new("dilation", 1.0, POINTS, "the distance of the kernel's points"),
    Hyper::new("groups", 1.0, Range::COUNT, "runs of channels that do not see each other"),
    Hyper::new("bias", 1.0, Range::SWITCH, "whether a bias is added"),
];
/// What stands for `padding=same`.
const SAME: f64 = -1.0;

pub(super) const ENTRY: Entry = Entry {
    name: "conv",
    usage: "conv(out, kernel=3, stride=1, padding=same, dilation=1, groups=1, bias=true)",
    hyper: HYPER,
    doc: "a convolution of an image; of a sequence, along its steps; kernel=size(3, 5) has 3 rows and 5 columns",
    read,
};

fn read(r: &Reader<'_>) -> Result<Vec<Module>, ExprError> {
    let sides = r.sides(HYPER, &["kernel", "stride", "padding", "dilation"])?;
    let [rows, columns] =
        [read_side(&Reader { call: &sides[0], ..*r })?, read_side(&Reader { call: &sides[1], ..*r })?];
    let pair = |of: fn(&Side) -> usize| [of(&rows), of(&columns)];
    let padding = match (rows.padding, columns.padding) {
        (None, None) => Padding::Same,
        (Some(a), Some(b)) => Padding::Each([a, b]),
        _ => {
            let message = "padding is `same` on both sides or on none";
            return Err(ExprError::new(r.source, r.call.span, message));
        }
    };
    let (kernel, stride, dilation) = (pair(|s| s.kernel), pair(|s| s.stride), pair(|s| s.dilation));
    let Side { out, groups, bias, .. } = rows;
    Ok(vec![Conv { kernel, stride, padding, dilation, groups, bias, ..Conv::new(out) }.into()])
}

/// What a call says of one side.
struct Side {
    out: usize,
    kernel: usize,
    stride: usize,
    /// None keeps the size.
    padding: Option<usize>,
    dilation: usize,
    groups: usize,
    bias: bool,
}

fn read_side(r: &Reader<'_>) -> Result<Side, ExprError> {
    let same = match r.word_or_number("padding")? {
        Some(call) if call.name != "same" => {
            let message = format!("padding is `same` or a number, got {}", call.name);
            return Err(ExprError::new(r.source, call.span, message));
        }
        found => found.is_some(),
    };
    let v = r.values(HYPER, if same { &["padding"] } else { &[] })?;
    let whole = |i: usize| -> Result<usize, ExprError> {
        if v[i] >= 0.0 && v[i].fract() == 0.0 {
            return Ok(v[i] as usize);
        }
        let message = format!("{} must be a whole number, got {}", HYPER[i].name, v[i]);
        Err(ExprError::new(r.source, r.call.span, message))
    };
    Ok(Side {
        out: whole(0)?,
        kernel: whole(1)?,
        stride: whole(2)?,
        padding: if v[3] == SAME { None } else { Some(whole(3)?) },
        dilation: whole(4)?,
        groups: whole(5)?,
        bias: v[6] != 0.0,
    })
}
