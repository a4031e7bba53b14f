//! `batchnorm`: each channel brought to mean 0 and variance 1 over the batch, `torch.nn.BatchNorm1d` and `BatchNorm2d`.

use std::fmt;

use thalweg_autodiff::{Number, Shape, Var};
use thalweg_core::Kind;
use thalweg_core::hyper::{Hyper, Range};

use super::norm::EPS;
use super::{Declare, Entry, Init, Layer, Misfit, Place, Run};
use crate::onnx::{Attribute, Edge, Export, Exporter};

/// `weight∘(x − mean)/√(var + ε) + bias` for each channel, with the mean and variance of the batch in training and running ones
/// otherwise. Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>.
/// ```text
/// running_mean ← (1 − momentum)·running_mean + momentum·mean
/// running_var  ← (1 − momentum)·running_var  + momentum·var·m/(m − 1)        m numbers of a channel in the batch
/// ```
/// Of a sequence `[steps, channels]` the numbers of all steps count.
///
/// The losses of a batch's slices do not add up to that of the batch: each slice is brought to its own mean. `m = 1` has no
/// variance: it counts as 0 then (PyTorch refuses such a batch).
#[derive(Clone, Debug)]
pub struct BatchNorm {
    /// ε; in units of the variance.
    pub eps: f64,
    /// The share of a batch in the running statistics, in [0, 1].
    pub momentum: f64,
    /// Whether a relu follows in the same pass over memory.
    pub relu: bool,
    weight: Place,
    bias: Place,
    mean: Place,
    var: Place,
    channels: usize,
}

impl BatchNorm {
    /// With PyTorch's ε = 1e-5 and momentum 0.1.
    pub fn new() -> Self {
        let (weight, bias, mean, var) = Default::default();
        Self { eps: 1e-5, momentum: 0.1, relu: false, weight, bias, mean, var, channels: 0 }
    }
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer for BatchNorm {
    fn build(&mut self, declare: &mut Declare, input: Shape) -> Result<Shape, Misfit> {
        // Channels stand first in an image and last in a sequence.
        let c = if input.len() == 2 { input[1] } else { input[0] };
        self.channels = c;
        self.weight = declare.tensor("weight", &[c], &["channel"], Kind::Gain, Init::Ones)?;
        self.bias = declare.tensor("bias", &[c], &["channel"], Kind::Bias, Init::Zeros)?;
        self.mean = declare.statistic("running_mean", c, Init::Zeros);
        self.var = declare.statistic("running_var", c, Init::Ones);
        Ok(input)
    }
    fn forward<N: Number>(&self, run: &mut Run<'_, '_, N>, x: Var) -> Var {
        let (tape, c) = (&mut *run.tape, self.channels);
        let weight = Some(tape.param_at(self.weight.index()));
        let bias = Some(tape.param_at(self.bias.index()));
        let [mean, var] = [self.mean, self.var].map(|place| run.statistics.of(place, c));
        if !tape.is_training() {
            let kept = |i: usize| if i < c { mean[i].get() } else { var[i - c].get() };
            let moments = tape.constant_by([2, c], kept);
            return tape.batch_norm_last_with(x, moments, weight, bias, self.eps, self.relu);
        }
        let [y, moments] = tape.batch_norm_last(x, weight, bias, self.eps, self.relu);
        if tape.is_replaying() {
            return y;
        }
        let m = (tape.shape(x).count() / c) as f64;
        let share = N::from_f64(run.statistics.share.unwrap_or(self.momentum));
        let unbiased = N::from_f64(if m > 1.0 { m / (m - 1.0) } else { 1.0 });
        let (means, vars) = tape.value(moments).split_at(c);
        let keep = N::one() - share;
        for (running, &mean) in mean.iter().zip(means) {
            running.set(keep * running.get() + share * mean);
        }
        for (running, &var) in var.iter().zip(vars) {
            running.set(keep * running.get() + share * (unbiased * var));
        }
        y
    }
}

impl Export for BatchNorm {
    fn export(&self, to: &mut Exporter<'_>, x: &Edge, input: Shape) -> Edge {
        let sequence = input.len() == 2;
        let x = if sequence { to.graph.transpose(x, &[0, 2, 1]) } else { x.clone() };
        let [weight, bias] = [self.weight, self.bias].map(|place| to.parameter(place));
        let [mean, var] = [self.mean, self.var].map(|place| to.statistic(place));
        let eps = Attribute::number("epsilon", self.eps);
        let mut y = to.graph.node("BatchNormalization", &[&x, &weight, &bias, &mean, &var], [eps]);
        if self.relu {
            y = to.graph.node("Relu", &[&y], []);
        }
        if sequence { to.graph.transpose(&y, &[0, 2, 1]) } else { y }
    }
}

impl fmt::Display for BatchNorm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("batchnorm")
    }
}

const HYPER: &[Hyper] =
    &[EPS, Hyper::new("momentum", 0.1, Range::FRACTION, "the share of a batch in the running statistics")];

pub(super) const ENTRY: Entry = Entry {
    name: "batchnorm",
    usage: "batchnorm(eps=1e-5, momentum=0.1)",
    hyper: HYPER,
    doc: "each channel to mean 0 and variance 1 over the batch; gain and shift",
    read: |r| {
        let v = r.values(HYPER, &[])?;
        Ok(vec![BatchNorm { eps: v[0], momentum: v[1], ..BatchNorm::new() }.into()])
    },
};
