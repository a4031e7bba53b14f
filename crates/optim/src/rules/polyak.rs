//! Polyak's step size, where the smallest loss is known. Polyak 1987, *Introduction to Optimization*, section 5.3; the limit and
//! mini-batches as SPS_max of Loizou, Vaswani, Laradji & Lacoste-Julien 2021, <https://arxiv.org/abs/2002.10542>.
//! ```text
//! η = min((f(θ) − f_min) / (‖g‖² + ε), lr)        θ ← θ − η g
//! ```
//! For models that fit their data exactly (f_min = 0), or where f_min is known from elsewhere: no rate to choose but its limit.
//! No memory. f is the mean loss of the batch with the l2 penalty. As optax's `polyak_sgd(max_learning_rate=lr)`: where ‖g‖² + ε is
//! no larger than 2.2e-16 nothing moves; a loss below f_min steps backwards, unless `nonnegative` (its variant `sps+`). PyTorch and
//! Keras do not have it. A loss that is not finite moves nothing, and is reported.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Float, Memory, Needs, Real, StepError, Tensor};

use super::svrg::downhill;
use super::{Decay, Entry, Kind, Rate, Room, USUAL, Values};
use crate::about::about;
use crate::method::{Done, Method, Part, Step};
use crate::rule::Scalar;
use crate::trace::{Setting, Symbol, Tracer};
use crate::vector::fuse;
use crate::whole::{Elsewhere, dot, finite, keep, mark};

/// The entry.
pub(super) static POLYAK: Entry = Entry {
    name: "polyak",
    summary: "gradient descent with Polyak's step (f − f_min)/‖g‖², at most lr",
    source: "Polyak 1987; Loizou et al. 2021",
    about: about!("polyak.rs"),
    lr: 1.0,
    hyper: &[
        Hyper::new(
            "f_min",
            0.0,
            Range::new(f64::NEG_INFINITY, true, f64::INFINITY, true),
            "the smallest value of the objective, or a bound below it",
        ),
        Hyper::new("eps", 0.0, Range::NON_NEGATIVE, "ε, added to ‖g‖²; gradient units squared"),
        Hyper::new("nonnegative", 0.0, Range::SWITCH, "no step where the loss is below f_min"),
    ],
    decay: Decay::Coupled,
    kind: Kind::Whole,
    make: (make::<f32>, make::<f64>),
    rate: Rate::Curvature,
    falls: false,
    unsigned: Some("takes its step from the loss, which has no l1 in it here"),
    ..USUAL
};

/// The rate: (f − f_min)/(‖g‖² + ε), at most lr.
fn rate<X: Scalar>(gap: X, squares: X, eps: X, lr: X) -> X {
    (gap / (squares + eps)).at_most(lr)
}

struct Polyak<F: Float> {
    f_min: f64,
    eps: f64,
    nonnegative: bool,
    here: Elsewhere<F>,
}

fn make<F: Float>(v: &Values<'_>, _: &Room<'_>) -> Box<dyn Method<F>> {
    Box::new(Polyak {
        f_min: v.get("f_min"),
        eps: v.get("eps"),
        nonnegative: v.is("nonnegative"),
        here: Elsewhere::new(),
    })
}

impl<F: Float> Method<F> for Polyak<F> {
    fn needs(&self) -> Needs {
        Needs { loss: true, ..Needs::default() }
    }
    fn finds_rate(&self) -> bool {
        true
    }

    fn trace(&self, page: &mut Tracer, setting: &Setting) {
        page.couple(setting, true);
        page.say("f: the batch's mean loss, with l2 penalties in it");
        let squares = page.sum("‖g‖²", page.g() * page.g());
        let mut gap = page.scalar("f") - page.scalar("f_min");
        if self.nonnegative {
            gap = gap.at_least(Symbol::zero());
        }
        let eta = page.name("η", rate(gap, squares, page.scalar("eps"), page.lr()));
        page.say("η is 0 where ‖g‖² + eps is no more than 2.2e-16");
        page.step_to(downhill(page.theta(), eta, page.g()));
    }

    fn step(&mut self, step: &mut Step<'_, '_, F>) -> Result<Done, StepError> {
        step.settle(POLYAK.name)?;
        let mut loss = step.total.mean();
        if step.at.penalty.l2 > 0.0 {
            self.here.set(step, |_, theta, to| to.copy_from_slice(theta));
            loss += self.here.penalty(step);
        }
        let grads = || step.parts.iter().map(Part::gradient);
        let squares = dot(step.threads, grads(), grads());
        let gap = loss - self.f_min;
        let gap = if self.nonnegative { gap.max(0.0) } else { gap };
        let eta =
            if squares + self.eps <= f64::EPSILON { 0.0 } else { rate(gap, squares, self.eps, step.lr) };
        if !(loss.is_finite() && squares.is_finite()) {
            let bad = step.first();
            step.clear_gradients();
            return Ok(Done { bad, lr: Some(0.0), ..Done::default() });
        }
        // A rate of 0 moves nothing, even where the step would go back.
        let eta = if step.lr == 0.0 { 0.0 } else { eta };
        let rate = F::from_f64(eta);
        let rows = step.parts.iter_mut().map(|part| {
            let (theta, g) = part.both();
            ([theta, g], ())
        });
        let [marked] = fuse(step.threads, rows, |[theta, g], (), [marks]| {
            for ((theta, g), m) in theta.iter_mut().zip(g).zip(marks) {
                let next = downhill(*theta, rate, *g);
                let fine = finite([next]);
                *theta = keep(fine, next, *theta);
                (*g, *m) = mark(fine);
            }
        });
        Ok(Done { bad: step.consumed(marked), lr: Some(eta), ..Done::default() })
    }

    fn visit_state(&mut self, _: &[&Tensor], _: &mut dyn FnMut(&str, Memory<'_>)) {}
}
