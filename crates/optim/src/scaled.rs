//! [`Scaled`]: an elementwise rule that meets each tensor's gradient multiplied by a factor of that tensor, as LARS and NovoGrad.

use thalweg_core::{Float, Memory, StepError, Tensor};

use crate::driver::{Around, Span, Sweep, norm, sweep};
use crate::format::Format;
use crate::kept::Kept;
use crate::method::{Done, Method, Step};
use crate::rule::{Rule, When};
use crate::tensorwise::first_bad;

/// What a factor is computed from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// The number of the step: 1, 2, …
    pub t: u64,
    /// ‖g‖₂ of the tensor's mean gradient.
    pub g: f64,
    /// ‖θ‖₂.
    pub theta: f64,
    /// λ of the tensor.
    pub decay: f64,
}

/// A factor of a tensor's gradient.
pub(crate) trait Factor: Send {
    /// The name in expressions.
    const NAME: &'static str;
    /// The number that is remembered for each tensor, if there is one.
    const MEMORY: Option<&'static str>;
    /// The factor of g, and that of θ which is added to it then; `memory` is brought up to date.
    fn factor(&self, sizes: Sizes, memory: &mut f64) -> (f64, f64);
}

/// `R` on gradients that `X` multiplies.
pub(crate) struct Scaled<X, R: Rule<S>, F: Float, const S: usize> {
    factor: X,
    with: R::With<f64>,
    /// A factor of the learning rate.
    share: f64,
    slots: [Kept<F>; S],
    memory: Vec<f64>,
}

impl<X: Factor, R: Rule<S>, F: Float, const S: usize> Scaled<X, R, F, S> {
    pub fn new(factor: X, rule: R, share: f64, tensors: &[&Tensor]) -> Self {
        Self {
            factor,
            with: R::with(&rule.values()),
            share,
            slots: std::array::from_fn(|k| Kept::new(R::STATE[k], rule.initial(k), Format::Own, tensors)),
            memory: vec![0.0; tensors.len()],
        }
    }
}

impl<X: Factor, R: Rule<S>, F: Float, const S: usize> Method<F> for Scaled<X, R, F, S>
where
    R::With<f64>: Send,
{
    fn step(&mut self, step: &mut Step<'_, '_, F>) -> Result<Done, StepError> {
        let decays = step.take_decay();
        step.settle(X::NAME)?;
        let when = When { t: step.t as f64, lr: step.lr * self.share };
        let coef = R::cast::<F>(R::coef(&self.with, when, &mut []));
        let how = Sweep { threads: step.threads, seed: step.seed, step: step.t, squares: false };
        let mut views = self.slots.each_mut().map(|kept| kept.views().into_iter());
        let mut done = Done::default();
        for ((part, memory), decay) in step.parts.iter_mut().zip(&mut self.memory).zip(decays) {
            let state = views.each_mut().map(|v| v.next().expect("one view for each tensor"));
            let (theta, g) = part.both();
            let size = |x: &[F]| norm(&[x], f64::INFINITY, how.threads);
            let sizes = Sizes { t: step.t, g: size(g), theta: size(theta), decay };
            let mut new = *memory;
            let (scale, decay) = self.factor.factor(sizes, &mut new);
            if !(scale.is_finite() && decay.is_finite() && new.is_finite()) {
                done.bad.get_or_insert((part.index, first_bad(part.grad())));
                part.grad().fill(F::zero());
                continue;
            }
            *memory = new;
            let span = Span {
                theta: part.theta.reborrow(),
                master: None,
                grad: part.grad.reborrow(),
                state,
                average: None,
                around: Around { scale, decay, ..Around::NOTHING },
                place: part.place,
            };
            if let Some(place) = sweep::<R, F, S>(&coef, vec![span], how)?.bad {
                done.bad.get_or_insert((part.index, place));
            }
        }
        Ok(done)
    }

    fn visit_state(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        for (tensor, memory) in tensors.iter().zip(&mut self.memory) {
            if let Some(name) = X::MEMORY {
                visit(&format!("{}/{name}", tensor.name), Memory::F64(std::slice::from_mut(memory)));
            }
        }
        for slot in &mut self.slots {
            slot.visit(tensors, visit);
        }
    }
}
