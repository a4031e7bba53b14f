//! [`Flat`]: an elementwise rule over flat parameters, as an [`Optimizer`].

use std::sync::Arc;

use thalweg_core::{
    At, Buffer, Float, Grads, Kind, Layout, Optimizer, Oracle, Params, Report, StepError, Threads,
};

use crate::chain::clip;
use crate::driver::{Around, Span, norm, sweep};
use crate::rule::{Rule, When};
use crate::schedule::{Horizon, Schedule};

/// What stands around the rule of a [`Flat`].
#[derive(Clone, Debug)]
pub(crate) struct Wrap {
    pub lr: Schedule,
    pub horizon: Horizon,
    pub weight_decay: f64,
    pub decoupled: bool,
    /// Whether `weight_decay` reaches biases too, as PyTorch's does.
    pub decay_biases: bool,
    pub clip: Option<f64>,
    pub clip_value: Option<f64>,
    /// Whether values are cut before the norm is taken.
    pub value_first: bool,
    pub ema: Option<f64>,
    pub expression: String,
    pub threads: Threads,
}

/// A rule with its memory, over one layout.
#[derive(Debug)]
pub struct Flat<R, F: Float, const S: usize> {
    rule: R,
    wrap: Wrap,
    layout: Arc<Layout>,
    state: [Buffer<F>; S],
    average: Option<Buffer<F>>,
}

impl<R: Rule<S>, F: Float, const S: usize> Flat<R, F, S> {
    pub(crate) fn new(rule: R, wrap: Wrap, layout: &Arc<Layout>) -> Self {
        let state = std::array::from_fn(|k| {
            let mut buffer = Buffer::zeros(layout.buffer_len());
            let initial = rule.initial(k);
            if initial != 0.0 {
                layout.tensors().iter().for_each(|t| buffer[t.range()].fill(F::from_f64(initial)));
            }
            buffer
        });
        // NaN: the average has not begun. It is state, so it is saved, and a first step that writes nothing cannot spoil it.
        let average = wrap.ema.map(|_| {
            let mut buffer = Buffer::zeros(layout.buffer_len());
            layout.tensors().iter().for_each(|t| buffer[t.range()].fill(F::NAN));
            buffer
        });
        Self { rule, wrap, layout: Arc::clone(layout), state, average }
    }
}

impl<R: Rule<S>, F: Float, const S: usize> Optimizer<F> for Flat<R, F, S> {
    fn step(
        &mut self,
        at: At,
        theta: &mut Params<F>,
        grads: &mut Grads<F>,
        _oracle: &mut dyn Oracle<F>,
    ) -> Result<Report, StepError> {
        let expected = self.layout.buffer_len();
        for (what, found) in
            [("the parameter buffer", theta.flat().len()), ("the gradient", grads.flat().len())]
        {
            if found != expected {
                return Err(StepError::Length { what, expected, found });
            }
        }
        let weight = grads.total.weight;
        if weight.is_nan() || weight <= 0.0 {
            return Err(StepError::NoWeight);
        }
        let scale = 1.0 / weight;
        let lr = self.wrap.lr.rate(at.step, self.wrap.horizon);
        let parts: Vec<&[F]> = self.layout.tensors().iter().map(|t| &grads.flat()[t.range()]).collect();
        let grad_norm = norm(&parts, f64::INFINITY) * scale;
        let mut report = Report { lr, grad_norm, ..Report::default() };
        if !grad_norm.is_finite() {
            let wrong = |&i: &usize| !grads.flat()[i].is_finite();
            report.non_finite = self.layout.tensors().iter().flat_map(|t| t.range()).find(wrong);
            if report.non_finite.is_some() {
                grads.clear();
                return Ok(report);
            }
        }
        let mut limit = self.wrap.clip_value.unwrap_or(f64::INFINITY);
        let mut factor = 1.0;
        if let Some(max) = self.wrap.clip {
            let cut_first = self.wrap.value_first && limit < f64::INFINITY;
            let passed = if cut_first { norm(&parts, limit * weight) * scale } else { grad_norm };
            factor = clip::factor(passed, max);
            if cut_first {
                // Cutting at c and then scaling by f is scaling by f and then cutting at c·f.
                limit *= factor;
            }
        }
        report.clipped = factor < 1.0;

        let mut theta = theta.flat_mut();
        let mut grad = grads.flat_mut();
        let mut state = self.state.each_mut().map(|s| &mut s[..]);
        let mut average = self.average.as_mut().map(|a| &mut a[..]);
        let mut places = Vec::with_capacity(self.layout.tensors().len());
        let mut spans = Vec::with_capacity(self.layout.tensors().len());
        let mut from = 0;
        for tensor in self.layout.tensors() {
            let (skip, len) = (tensor.offset - from, tensor.len());
            let weight = tensor.kind == Kind::Weight;
            let decay = if weight || self.wrap.decay_biases { self.wrap.weight_decay } else { 0.0 };
            let (l1, l2) = if weight { (at.penalty.l1, at.penalty.l2) } else { (0.0, 0.0) };
            let around = Around {
                scale: scale * factor,
                clip: limit,
                decay: l2 + if self.wrap.decoupled { 0.0 } else { decay },
                keep: if self.wrap.decoupled { 1.0 - lr * decay } else { 1.0 },
                l1,
                average: self.wrap.ema.map_or(0.0, |decay| 1.0 - decay),
            };
            places.push(tensor.offset);
            spans.push(Span {
                theta: take(&mut theta, skip, len),
                grad: take(&mut grad, skip, len),
                state: state.each_mut().map(|s| take(s, skip, len)),
                average: average.as_mut().map(|a| take(a, skip, len)),
                around,
            });
            from = tensor.offset + len;
        }
        let lengths: Vec<usize> = spans.iter().map(|s| s.theta.len()).collect();
        let bad = sweep(&self.rule, When { t: at.step, lr }, spans, &self.wrap.threads)?;
        grads.clear();
        report.non_finite = bad.map(|mut nth| {
            for (place, len) in places.iter().zip(&lengths) {
                if nth < *len {
                    return place + nth;
                }
                nth -= len;
            }
            0
        });
        Ok(report)
    }

    fn evaluation_weights(&self) -> Option<&[F]> {
        let first = self.layout.tensors().iter().find(|t| !t.is_empty())?.offset;
        self.average.as_deref().filter(|average| !average[first].to_f64().is_nan())
    }

    fn expression(&self) -> String {
        self.wrap.expression.clone()
    }

    fn state(&self) -> Vec<(&'static str, &[F])> {
        let slots = R::STATE.iter().map(|s| s.name).zip(self.state.iter().map(|b| &b[..]));
        slots.chain(self.average.iter().map(|a| ("average", &a[..]))).collect()
    }

    fn state_mut(&mut self) -> Vec<(&'static str, &mut [F])> {
        let slots = R::STATE.iter().map(|s| s.name).zip(self.state.iter_mut().map(|b| &mut b[..]));
        slots.chain(self.average.iter_mut().map(|a| ("average", &mut a[..]))).collect()
    }
}

/// The `len` numbers after the next `skip`; `rest` starts behind them then.
fn take<'a, F>(rest: &mut &'a mut [F], skip: usize, len: usize) -> &'a mut [F] {
    let (taken, after) = std::mem::take(rest)[skip..].split_at_mut(len);
    *rest = after;
    taken
}
