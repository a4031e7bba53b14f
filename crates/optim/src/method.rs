//! [`Method`]: what moves the parameters of a chain; [`Before`] and [`After`]: what stands around it.
//!
//! A chain `clip(1) | adamw | lookahead(5)` is built of one [`Method`] and the stages before and after it. Elementwise rules share
//! one method, which calls the driver; rules that look at a tensor's shape or at the whole vector are methods of their own.

use std::sync::Arc;

use thalweg_core::{At, Float, Layout, Memory, Needs, Oracle, Penalty, StepError, Tensor, Threads, Total};

use crate::arithmetic::{coupled, limited};
use crate::chain::penalty::Terms;
use crate::driver::{Around, Gradient};
use crate::format::View;
use crate::rows::ByRow;
use crate::rule::Scalar;
use crate::trace::{Setting, Tracer};

/// A tensor of a chain at a step.
#[derive(Debug)]
pub(crate) struct Part<'a, F> {
    /// Its number in the layout.
    pub index: usize,
    /// Its name, shape, axes and kind.
    pub tensor: &'a Tensor,
    /// The parameters.
    pub theta: View<'a, F>,
    /// The parameters in full precision where `theta` is a rounded copy.
    pub master: Option<&'a mut [F]>,
    /// The gradient: a sum over rows, to be multiplied by [`Step::scale`].
    pub grad: Gradient<'a, F>,
    /// The averaged copy that the driver keeps in its sweep.
    pub average: Option<&'a mut [F]>,
    /// The place of the first number among all parameters.
    pub place: u64,
}

impl<F: Float> Part<'_, F> {
    /// Parameters and gradient as plain slices. Only elementwise rules meet anything else: what builds a chain sees to it.
    pub fn both(&mut self) -> (&mut [F], &mut [F]) {
        match (&mut self.theta, &mut self.grad) {
            (View::Own(theta), Gradient::Clear(grad)) => (theta, grad),
            _ => unreachable!("compressed parameters and borrowed gradients are for elementwise rules"),
        }
    }
    /// The parameters as a plain slice.
    pub fn theta(&mut self) -> &mut [F] {
        self.both().0
    }
    /// The parameters as a plain slice, whatever the gradient is.
    pub fn weights(&mut self) -> &mut [F] {
        match &mut self.theta {
            View::Own(theta) => theta,
            _ => unreachable!("compressed parameters have no stage after the rule"),
        }
    }
    /// The gradient as a plain slice.
    pub fn grad(&mut self) -> &mut [F] {
        self.both().1
    }
    /// The gradient, to be read.
    pub fn gradient(&self) -> &[F] {
        match &self.grad {
            Gradient::Clear(g) => g,
            Gradient::Keep(g) => g,
            Gradient::KeepBf16(_) => unreachable!("bf16 gradients are for elementwise rules"),
        }
    }
}

/// How a rule's `weight_decay` acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decay {
    /// λθ is added to the gradient.
    Coupled,
    /// θ shrinks by ηλθ beside the rule.
    Decoupled,
    /// θ and the update are divided by 1 + ηλ: the proximal step of λ/2·θ².
    Proximal,
    /// Decoupled where the hyperparameter `no_prox` says so, else proximal.
    DecoupledOrProximal,
}

impl Decay {
    /// What θ and the update are multiplied by when they are added, at this rate, the rule's λ and that of a decoupled penalty.
    pub(crate) fn factors<X: Scalar>(self, lr: X, decay: X, beside: X) -> (X, X) {
        let one = X::one();
        match self {
            Self::Coupled => (one - lr * beside, one),
            Self::Decoupled => (one - lr * (decay + beside), one),
            Self::Proximal | Self::DecoupledOrProximal => {
                let shrunk = one / (one + lr * decay);
                (shrunk * (one - lr * beside), shrunk)
            }
        }
    }
}

/// One step of a chain.
pub(crate) struct Step<'s, 'a, F: Float> {
    /// The loop's step and the objective's penalty.
    pub at: At,
    /// The chain's own step: 1, 2, …
    pub t: u64,
    /// The learning rate.
    pub lr: f64,
    /// The gradients are to be multiplied by this (1/weight, clipping, loss scale),
    pub scale: f64,
    /// and then cut to ± this.
    pub limit: f64,
    /// λ of the rule's own `weight_decay`, and how it acts.
    pub decay: (f64, Decay),
    /// Whether it reaches biases.
    pub decay_biases: bool,
    /// The chain's own penalties, but for what is in the objective's: coupled l2 and proximal l1.
    pub terms: Terms,
    /// The share by which [`Part::average`] moves to the new θ.
    pub average: f64,
    /// The tensors of the chain.
    pub parts: Vec<Part<'a, F>>,
    /// All tensors of the model.
    pub layout: &'s Arc<Layout>,
    /// Loss and weight of the rows that the gradient was summed over.
    pub total: Total,
    /// Evaluates the batch elsewhere.
    pub oracle: &'s mut dyn Oracle<F>,
    /// Who works on sweeps.
    pub threads: &'s Threads,
    /// Seed of noise and rounding.
    pub seed: u64,
    /// Whether Σ g² is wanted of the method's own sweep.
    pub squares: bool,
}

impl<F: Float> Step<'_, '_, F> {
    /// The coefficients around an elementwise rule for one tensor.
    pub fn around(&self, tensor: &Tensor) -> Around {
        let weight = tensor.kind.is_penalised();
        let (decay, how) = self.decay;
        let decay = if weight || self.decay_biases { decay } else { 0.0 };
        let (penalty, terms) =
            if weight { (self.at.penalty, self.terms) } else { (Penalty::default(), Terms::default()) };
        let coupled = how == Decay::Coupled;
        let (keep, moved) = how.factors(self.lr, decay, terms.decoupled.l2);
        Around {
            scale: self.scale,
            clip: self.limit,
            decay: penalty.l2 + if coupled { decay } else { 0.0 },
            keep,
            moved,
            l1: penalty.l1,
            l2: terms.proximal.l2,
            average: self.average,
        }
    }

    /// λ of the rule's own decay for each part, 0 where a bias is exempt. The step has none afterwards: this is for rules that
    /// place it themselves.
    pub fn take_decay(&mut self) -> Vec<f64> {
        let (decay, how) = self.decay;
        self.decay = (0.0, how);
        let reaches = |tensor: &Tensor| tensor.kind.is_penalised() || self.decay_biases;
        self.parts.iter().map(|p| if reaches(p.tensor) { decay } else { 0.0 }).collect()
    }

    /// For methods that take plain gradients: makes them means in place (scale, limit, coupled decay and the l2 penalty), and
    /// shrinks θ by decoupled decay. Refuses a proximal penalty. Afterwards [`Step::scale`] is 1 and [`Step::limit`] ∞.
    pub fn settle(&mut self, rule: &'static str) -> Result<(), StepError> {
        if self.at.penalty.l1 > 0.0 || self.terms.proximal.l2 > 0.0 {
            return Err(StepError::NoProximal { rule });
        }
        let around: Vec<Around> = self.parts.iter().map(|p| self.around(p.tensor)).collect();
        for (part, a) in self.parts.iter_mut().zip(around) {
            let (theta, grad) = part.both();
            let (scale, clip) = (F::from_f64(a.scale), F::from_f64(a.clip));
            let (decay, keep) = (F::from_f64(a.decay), F::from_f64(a.keep));
            if (a.scale, a.clip, a.decay, a.keep) == (1.0, f64::INFINITY, 0.0, 1.0) {
                continue;
            }
            crate::vector::each(self.threads, theta, grad, |theta, grad| {
                for (t, g) in theta.iter_mut().zip(grad) {
                    *g = coupled(limited(*g, scale, clip), decay, *t);
                    *t = *t * keep;
                }
            });
        }
        (self.scale, self.limit) = (1.0, f64::INFINITY);
        Ok(())
    }
}

/// What a [`Method`] did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    /// The first coordinate whose new value was not finite: its tensor's number in the layout, and its place in it.
    pub bad: Option<(usize, usize)>,
    /// ‖g‖₂ of the gradients as they were given, if asked for and known.
    pub norm: Option<f64>,
    /// The learning rate that was used, where the method chose its own.
    pub lr: Option<f64>,
}

/// What moves the parameters of a chain.
///
/// A step consumes the gradient: what is [`Gradient::Clear`] is zero afterwards. A method that is not elementwise leaves
/// [`Part::average`] alone: its chain keeps the average itself.
pub(crate) trait Method<F: Float>: Send {
    /// What it asks of the loop.
    fn needs(&self) -> Needs {
        Needs::default()
    }
    /// Whether it finds its own step size: the learning rate is a factor of that, or its limit.
    fn finds_rate(&self) -> bool {
        false
    }
    /// Writes down its formula: runs the code of its loops on symbols, and says in words what it does between them. The gradient is
    /// cut already; what is decoupled but not in the driver's sweep comes behind.
    fn trace(&self, page: &mut Tracer, setting: &Setting);
    /// Whether it can take an l1 penalty.
    fn proximal(&self) -> bool {
        false
    }
    /// Whether it takes compressed parameters and borrowed gradients, and keeps the average in its sweep.
    fn elementwise(&self) -> bool {
        false
    }
    /// The rule, where it can step some rows of a tensor and leave the others for later.
    fn by_row(&mut self) -> Option<&mut dyn ByRow<F>> {
        None
    }
    /// One step.
    fn step(&mut self, step: &mut Step<'_, '_, F>) -> Result<Done, StepError>;
    /// The weights to evaluate of the `nth` tensor of the chain, given θ: written to `out`; false where they are θ itself.
    fn evaluation(&mut self, _nth: usize, _theta: &[F], _out: &mut [F]) -> bool {
        false
    }
    /// Shows all memory, as [`thalweg_core::Optimizer::visit_state`] does; `tensors` are the chain's.
    fn visit_state(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>));
}

/// A stage before the rule: changes the gradients in place.
pub(crate) trait Before<F: Float>: Send {
    /// What it asks of the loop.
    fn needs(&self) -> Needs {
        Needs::default()
    }
    /// Works on the gradients of `step`, whose limit is ∞ here and whose scale still stands.
    fn before(&mut self, step: &mut Step<'_, '_, F>) -> Result<(), StepError>;
    /// Shows all memory.
    fn visit_state(&mut self, _tensors: &[&Tensor], _visit: &mut dyn FnMut(&str, Memory<'_>)) {}
}

/// A stage after the rule: works on the weights.
pub(crate) trait After<F: Float>: Send {
    /// Shown the weights of the `nth` tensor before the chain's first step.
    fn begin(&mut self, _nth: usize, _theta: &[F]) {}
    /// Works on the new weights after the chain's step `t`; `theta` are the chain's tensors.
    fn after(&mut self, t: u64, theta: &mut [&mut [F]], threads: &Threads);
    /// The weights to evaluate of the `nth` tensor, where they are not θ.
    fn evaluation(&self, _nth: usize) -> Option<&[F]> {
        None
    }
    /// Shows all memory.
    fn visit_state(&mut self, _tensors: &[&Tensor], _visit: &mut dyn FnMut(&str, Memory<'_>)) {}
}
