//! [`Scaled`]: an elementwise rule that meets each tensor's gradient multiplied by a factor of that tensor, as LARS and NovoGrad.

use thalweg_core::{Float, Memory, Real, StepError, Tensor};

use crate::arithmetic::{added, coupled, limited};
use crate::driver::{Around, Span, Sweep, sweep};
use crate::format::Format;
use crate::kept::Kept;
use crate::method::{Done, Method, Step};
use crate::norm::norm;
use crate::rule::{Rule, Scalar, When};
use crate::rules::Values;
use crate::tensorwise::first_bad;
use crate::trace::{Setting, Symbol, Tracer};

/// What a factor is computed from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes<X = f64> {
    /// The number of the step: 1, 2, …
    pub t: X,
    /// ‖g‖₂ of the tensor's mean gradient.
    pub g: X,
    /// ‖θ‖₂.
    pub theta: X,
    /// λ of the tensor.
    pub decay: X,
}

/// A factor of a tensor's gradient.
pub(crate) trait Factor: Send {
    /// The name in expressions.
    const NAME: &'static str;
    /// The number that is remembered for each tensor, if there is one.
    const MEMORY: Option<&'static str>;
    /// The hyperparameters that it takes.
    const HYPER: [&'static str; 2];
    /// The names of the rule's hyperparameters, where they have another here.
    const RENAMED: &'static [(&'static str, &'static str)];
    /// The factor of g, and that of θ which is added to it then, and the new memory.
    fn factor<X: Scalar>(hyper: [X; 2], sizes: Sizes<X>, memory: X) -> (X, X, X);
}

/// `R` on gradients that `X` multiplies.
pub(crate) struct Scaled<X, R: Rule<S>, F: Float, const S: usize> {
    hyper: [f64; 2],
    factor: std::marker::PhantomData<X>,
    with: R::With<f64>,
    /// A factor of the learning rate.
    share: f64,
    slots: [Kept<F>; S],
    memory: Vec<f64>,
}

impl<X: Factor, R: Rule<S>, F: Float, const S: usize> Scaled<X, R, F, S> {
    pub fn new(values: &Values<'_>, rule: R, share: f64, tensors: &[&Tensor]) -> Self {
        Self {
            hyper: X::HYPER.map(|name| values.get(name)),
            factor: std::marker::PhantomData,
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
    fn trace(&self, page: &mut Tracer, setting: &Setting) {
        page.couple(setting, false);
        page.say("‖g‖, ‖θ‖: the norms of one tensor's gradient and parameters");
        let [t, g, theta] = ["t", "‖g‖", "‖θ‖"].map(|name| page.scalar(name));
        let sizes = Sizes { t, g, theta, decay: setting.decay() };
        let memory = X::MEMORY.map_or(Symbol::zero(), |name| page.scalar(name));
        let (scale, decay, new) = X::factor(X::HYPER.map(|name| page.scalar(name)), sizes, memory);
        if let Some(name) = X::MEMORY {
            page.assign(name, memory, new);
        }
        let scale = page.name("r", scale);
        page.change_g(coupled(
            limited(page.g(), scale, Symbol::from_f64(f64::INFINITY)),
            decay,
            page.theta(),
        ));
        let share = if self.share == 1.0 { Symbol::one() } else { Symbol::one() - page.scalar("dampening") };
        let mut set: Vec<(&str, Symbol)> =
            X::RENAMED.iter().map(|&(name, here)| (name, page.scalar(here))).collect();
        // What is damped is the rate: the rule itself is not.
        set.push(("dampening", Symbol::zero()));
        let when = When { t, lr: page.lr() * share };
        let (_, u, _) = page.rule_at::<R, S>(when, &set);
        let one = Symbol::one();
        page.step_to(added(page.theta(), u, one, one));
    }

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
            let sizes = Sizes { t: step.t as f64, g: size(g), theta: size(theta), decay };
            let (scale, decay, new) = X::factor(self.hyper, sizes, *memory);
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
