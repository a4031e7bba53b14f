//! LAMB: Adam with layer-wise rates for large batches. You et al. 2020, Algorithm 2, <https://arxiv.org/abs/1904.00962>.
//! ```text
//! u ← m̂ / (√v̂ + ε) + λ θ            m̂, v̂: Adam's moments with their corrections
//! r ← ‖θ‖ / ‖u‖                      1 where either norm is 0
//! θ ← θ − η r u
//! ```
//! The norms are those of one tensor, so that each moves by the share η of its own length in a step. For transformers on batches of
//! thousands: BERT in 76 minutes.
//!
//! Memory: two numbers per parameter, and the direction of one tensor at a time.
//!
//! Differs from the paper: φ(‖θ‖) is ‖θ‖ itself, as in optax. pytorch-optimizer clamps it to 10 and leaves v uncorrected. Keras
//! has ε = 1e-7, and its decay shrinks θ outside of u and r. PyTorch has no LAMB.

use std::sync::atomic::{AtomicBool, Ordering};

use thalweg_core::{Float, Memory, Real, StepError, Tensor};

use super::{Adam, Decay, Entry, Hyper, Kind, Range, Room, USUAL, Values, adam};
use crate::about::about;
use crate::driver::{Around, Gradient, Span, Sweep, sweep};
use crate::format::{Format, View};
use crate::kept::Kept;
use crate::method::{Done, Method, Step};
use crate::norm::norm;
use crate::rule::{Rule, Scalar, When};
use crate::tensorwise::first_bad;
use crate::trace::{Setting, Symbol, Tracer};
use crate::vector::{each, finite};

pub(super) static LAMB: Entry = Entry {
    name: "lamb",
    summary: "Adam's direction at a length in proportion to each tensor's own, for large batches",
    source: "You et al. 2020, Algorithm 2",
    about: about!("lamb.rs"),
    lr: 1e-3,
    hyper: &[
        adam::BETA1,
        adam::BETA2,
        Hyper { default: 1e-6, ..adam::EPS },
        Hyper::new(
            "weight_decay",
            0.0,
            Range::NON_NEGATIVE,
            "λ: λθ is added to Adam's direction, before its length is taken",
        ),
    ],
    decay: Decay::Decoupled,
    kind: Kind::Tensor,
    make: (make, make),
    ..USUAL
};

struct Lamb<F: Float> {
    adam: Adam,
    slots: [Kept<F>; 2],
    /// Room for the direction of the largest tensor.
    direction: Vec<F>,
}

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    let adam = Adam { beta1: v.get("beta1"), beta2: v.get("beta2"), eps: v.get("eps") };
    let slot = |k: usize| Kept::new(Adam::STATE[k], 0.0, Format::Own, room.tensors);
    let most = room.tensors.iter().map(|t| t.len()).max().unwrap_or(0);
    Box::new(Lamb { adam, slots: std::array::from_fn(slot), direction: vec![F::zero(); most] })
}

/// The direction with the decay in it.
#[inline(always)]
fn decayed<F: Real>(u: F, decay: F, theta: F) -> F {
    u - decay * theta
}

/// r: ‖θ‖/‖u‖, 1 where either is 0.
fn trust<X: Scalar>(theta: X, u: X) -> X {
    let one = X::one();
    X::select(theta.is_zero(), one, X::select(u.is_zero(), one, theta / u))
}

/// The new θ.
#[inline(always)]
fn along<F: Real>(theta: F, by: F, u: F) -> F {
    theta + by * u
}

impl<F: Float> Method<F> for Lamb<F> {
    fn trace(&self, page: &mut Tracer, setting: &Setting) {
        page.couple(setting, false);
        let when = When { t: page.scalar("t"), lr: Symbol::one() };
        let (_, u, _) = page.rule_at::<Adam, 2>(when, &[]);
        let u = page.name("u", decayed(u, setting.decay(), page.theta()));
        page.say("‖θ‖, ‖u‖: the norms over one tensor");
        let r = page.name("r", trust(page.scalar("‖θ‖"), page.scalar("‖u‖")));
        page.step_to(along(page.theta(), page.lr() * r, u));
    }

    fn step(&mut self, step: &mut Step<'_, '_, F>) -> Result<Done, StepError> {
        let decays = step.take_decay();
        step.settle("lamb")?;
        // With a rate of 1 and from 0, Adam's step is the direction itself.
        let when = When { t: step.t as f64, lr: 1.0 };
        let coef = Adam::cast::<F>(Adam::coef(&Adam::with(&self.adam.values()), when, &mut []));
        let how = Sweep { threads: step.threads, seed: step.seed, step: step.t, squares: false };
        let (lr, threads) = (step.lr, step.threads);
        let mut views = self.slots.each_mut().map(|kept| kept.views().into_iter());
        let mut done = Done::default();
        for (part, decay) in step.parts.iter_mut().zip(decays) {
            let state = views.each_mut().map(|v| v.next().expect("one view for each tensor"));
            let (index, place) = (part.index, part.place);
            let (theta, g) = part.both();
            if !finite(threads, g) {
                done.bad.get_or_insert((index, first_bad(g)));
                g.fill(F::zero());
                continue;
            }
            let u = &mut self.direction[..theta.len()];
            u.fill(F::zero());
            let span = Span {
                theta: View::Own(&mut *u),
                master: None,
                grad: Gradient::Clear(g),
                state,
                average: None,
                around: Around::NOTHING,
                place,
            };
            if let Some(place) = sweep::<Adam, F, 2>(&coef, vec![span], how)?.bad {
                done.bad.get_or_insert((index, place));
            }
            if decay > 0.0 {
                let decay = F::from_f64(decay);
                each(threads, u, theta, |u, theta| {
                    u.iter_mut().zip(theta).for_each(|(u, t)| *u = decayed(*u, decay, *t));
                });
            }
            let size = |x: &[F]| norm(&[x], f64::INFINITY, threads);
            let by = F::from_f64(lr * trust(size(theta), size(u)));
            let sound = AtomicBool::new(true);
            each(threads, u, theta, |u, theta| {
                let mut all = true;
                for (u, t) in u.iter_mut().zip(theta) {
                    *u = along(*t, by, *u);
                    let kept = u.abs() < F::INFINITY;
                    *t = F::select(kept, *u, *t);
                    all &= kept;
                }
                sound.fetch_and(all, Ordering::Relaxed);
            });
            if !sound.into_inner() {
                done.bad.get_or_insert((index, first_bad(u)));
            }
        }
        Ok(done)
    }

    fn visit_state(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        self.slots.iter_mut().for_each(|slot| slot.visit(tensors, visit));
    }
}
