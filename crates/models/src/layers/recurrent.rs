//! `gru` and `lstm`: networks that read a sequence step by step, `torch.nn.GRU` and `torch.nn.LSTM` of one layer.

use std::fmt;

use thalweg_autodiff::{Number, Shape, Var};
use thalweg_core::Kind;
use thalweg_core::hyper::{Hyper, Range};

use super::{Declare, Entry, Init, Layer, Misfit, Place, Run};
use crate::onnx::{Attribute, Edge, Export, Exporter};

/// Which cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// A gated recurrent unit: see [`Tape::gru`](thalweg_autodiff::Tape::gru).
    Gru,
    /// A long short-term memory: see [`Tape::lstm`](thalweg_autodiff::Tape::lstm).
    Lstm,
}

impl Cell {
    fn name(self) -> &'static str {
        if self == Cell::Gru { "gru" } else { "lstm" }
    }
    /// Gates, among them the candidate.
    fn gates(self) -> usize {
        if self == Cell::Gru { 3 } else { 4 }
    }
}

/// `[steps, in] → [steps, width]`: the states after each step, from a state of zeros, or where a [stretch before](super::States) left it. `weight_ih_l0 [g·width, in]`,
/// `weight_hh_l0 [g·width, width]`, biases `[g·width]` of both, g = 3 or 4 gates in PyTorch's order, all uniform on ±1/√width at the
/// start.
#[derive(Clone, Debug)]
pub struct Recurrent {
    /// The cell.
    pub cell: Cell,
    /// The numbers of a state.
    pub width: usize,
    weights: [Place; 2],
    biases: [Place; 2],
}

impl Recurrent {
    /// A state of `width` numbers.
    pub fn new(cell: Cell, width: usize) -> Self {
        Self { cell, width, weights: [Place::default(); 2], biases: [Place::default(); 2] }
    }
    /// The numbers that it carries from step to step: of an LSTM, the memory of the cell behind its state.
    pub fn state(&self) -> usize {
        if self.cell == Cell::Gru { self.width } else { 2 * self.width }
    }
}

impl Layer for Recurrent {
    fn build(&mut self, declare: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        let (&[steps, features], false) = (&input[..], input.count() == 0) else {
            return Err(Misfit::new(format!("{} takes a sequence, not {input}", self.cell.name())));
        };
        let (width, rows) = (self.width, self.width.saturating_mul(self.cell.gates()));
        let init = Init::fan_in(width);
        let mut weight = |name, size| declare.tensor(name, &[rows, size], &["out", "in"], Kind::Weight, init);
        self.weights = [weight("weight_ih_l0", features)?, weight("weight_hh_l0", width)?];
        let mut bias = |name| declare.tensor(name, &[rows], &["out"], Kind::Bias, init);
        self.biases = [bias("bias_ih_l0")?, bias("bias_hh_l0")?];
        declare.multiply_adds(&[steps, rows, features + width]);
        Ok([steps, width].into())
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        let tape = &mut *run.tape;
        let [n, steps, _] = [0, 1, 2].map(|axis| tape.shape(x)[axis]);
        let w = self.weights.map(|place| tape.param_at(place.index()));
        let biases = Some(self.biases.map(|place| tape.param_at(place.index())));
        let mut carried = run.states.as_mut().map(|states| states.next(n * self.state()));
        let [h, c] = match carried.as_deref() {
            None => [tape.full(N::zero(), [n, self.width]); 2],
            // For a GRU the second half is empty.
            Some(numbers) => {
                let (h, c) = numbers.split_at(n * self.width);
                let h = tape.constant(h, [n, self.width]);
                [h, if c.is_empty() { h } else { tape.constant(c, [n, self.width]) }]
            }
        };
        let (states, cells) = match self.cell {
            Cell::Gru => (tape.gru(x, h, w, biases), None),
            Cell::Lstm => {
                let both = tape.lstm(x, [h, c], w, biases);
                (tape.select(both, 0, 0), Some(tape.select(both, 0, 1)))
            }
        };
        if let Some(numbers) = &mut carried {
            for (numbers, states) in numbers.chunks_exact_mut(n * self.width).zip([Some(states), cells]) {
                let sequences =
                    states.map_or(&[][..], |states| tape.value(states)).chunks_exact(steps * self.width);
                for (to, states) in numbers.chunks_exact_mut(self.width).zip(sequences) {
                    to.copy_from_slice(&states[(steps - 1) * self.width..]);
                }
            }
        }
        states
    }
}

impl Export for Recurrent {
    fn export(&self, to: &mut Exporter<'_>, x: &Edge, _: Shape) -> Edge {
        let (width, gates) = (self.width, self.cell.gates());
        // PyTorch has r, z, n and i, f, g, o; ONNX z, r, n and i, o, f, g.
        let (op, order): (_, &[usize]) = match self.cell {
            Cell::Gru => ("GRU", &[1, 0, 2]),
            Cell::Lstm => ("LSTM", &[0, 3, 1, 2]),
        };
        let ordered = |numbers: &[f32]| -> Vec<f32> {
            let size = numbers.len() / gates;
            order.iter().flat_map(|gate| &numbers[gate * size..][..size]).copied().collect()
        };
        let [w, r] = self.weights.map(|place| {
            let (name, numbers) = to.numbers(place);
            let shape = [1, gates * width, numbers.len() / (gates * width)];
            to.graph.constant(name, &shape, &ordered(numbers))
        });
        let [own, old] = self.biases.map(|place| to.numbers(place));
        let biases = [ordered(own.1), ordered(old.1)].concat();
        let b = to.graph.constant(own.0, &[1, biases.len()], &biases);
        let mut attributes = vec![Attribute::whole("hidden_size", width as i64)];
        if self.cell == Cell::Gru {
            // The reset gate comes behind the product, as in PyTorch.
            attributes.push(Attribute::whole("linear_before_reset", 1));
        }
        // Steps first, and an axis of directions in the results.
        let x = to.graph.transpose(x, &[1, 0, 2]);
        let y = to.graph.node(op, &[&x, &w, &r, &b], attributes);
        let y = to.graph.squeeze(&y, 1);
        to.graph.transpose(&y, &[1, 0, 2])
    }
}

impl fmt::Display for Recurrent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.cell.name(), self.width)
    }
}

const HYPER: &[Hyper] = &[Hyper::required("width", Range::COUNT, "the numbers of its state")];

pub(super) const GRU: Entry = Entry {
    name: "gru",
    usage: "gru(width)",
    hyper: HYPER,
    doc: "a gated recurrent unit along a sequence",
    read: |r| Ok(vec![Recurrent::new(Cell::Gru, r.values(HYPER, &[])?[0] as usize).into()]),
};

pub(super) const LSTM: Entry = Entry {
    name: "lstm",
    usage: "lstm(width)",
    hyper: HYPER,
    doc: "a long short-term memory along a sequence",
    read: |r| Ok(vec![Recurrent::new(Cell::Lstm, r.values(HYPER, &[])?[0] as usize).into()]),
};
