//! What the schedule-free rules share. Defazio, Yang, Mehta, Mishchenko, Khaled & Cutkosky 2024,
//! <https://arxiv.org/abs/2405.15682>; steps as in the authors' `schedulefree`.
//! ```text
//! y: where gradients are taken (θ)     z: the fast weights     x: their weighted mean, what is evaluated and saved
//! w ← tʳ·(largest rate so far)ᵖ        W ← W + w               c = w/W
//! y ← (1 − c) y + c z − η (1 − β (1 − c)) u
//! z ← z − η u                          x = y + (1 − 1/β) (z − y)
//! ```
//! u is the direction: the gradient, or Adam's without its first moment. x is never kept: y lies between it and z. The rate rises
//! over `warmup_steps` and needs no other schedule; one that is given multiplies. Memory: z, and v where u is Adam's.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Buffer, Float, Memory, Real, StepError, Tensor};

use crate::arithmetic::{coupled, mixed_square, ratio};
use crate::chain::{copies, visit_copies};
use crate::method::{Done, Method, Step};
use crate::rule::Scalar;
use crate::trace::{Setting, Symbol, Tracer};
use crate::vector::fuse;
use crate::whole::{finite, keep, mark, scalar};

/// β of SGD's form.
pub(super) const MOMENTUM: Hyper =
    Hyper::new("momentum", 0.9, Range::INSIDE_UNIT, "β: gradients are taken at (1 − β) z + β x");
/// β of Adam's form.
pub(super) const BETA1: Hyper = Hyper { name: "beta1", ..MOMENTUM };
/// Coupled or inside Adam's direction.
pub(super) const DECAY: Hyper =
    Hyper::new("weight_decay", 0.0, Range::NON_NEGATIVE, "λ: λy is added to the direction u");
/// Warm-up.
pub(super) const WARMUP: Hyper =
    Hyper::new("warmup_steps", 0.0, Range::NON_NEGATIVE, "steps over which the rate rises from 0");
/// r.
pub(super) const R: Hyper =
    Hyper::new("r", 0.0, Range::NON_NEGATIVE, "step t counts tʳ in the mean: later weights more");
/// p.
pub(super) const POWER: Hyper = Hyper::new(
    "weight_lr_power",
    2.0,
    Range::NON_NEGATIVE,
    "p: a step counts by the largest rate so far, to this power",
);

/// What the direction u is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    /// The gradient.
    Plain,
    /// g/(√v̂ + ε).
    Adam { beta2: f64, eps: f64 },
    /// The same with RAdam's rectified rate, and before that is defined the gradient, with a rate of 0 if `silent`.
    Rectified { beta2: f64, eps: f64, silent: bool },
}

/// Steps of y and z along u.
#[derive(Clone, Copy)]
struct Along<F> {
    /// c, the share of z that comes into y.
    to_z: F,
    y_step: F,
    z_step: F,
}

impl<X: Scalar> Along<X> {
    fn of(c: X, lr: X, beta: X) -> Self {
        let one = X::one();
        Self { to_z: c, y_step: lr * (beta * (one - c) - one), z_step: lr }
    }
}

/// The new y and z.
#[inline(always)]
fn moved<F: Real>(by: &Along<F>, y: F, z: F, u: F) -> (F, F) {
    ((y + by.to_z * (z - y)) + by.y_step * u, z - by.z_step * u)
}

/// Adam's direction without its first moment.
#[inline(always)]
fn divided<F: Real>(g: F, v: F, root: F, eps: F) -> F {
    ratio(g, (root * v).sqrt() + eps)
}

/// x, which lies between y and z.
#[inline(always)]
fn mean<F: Real>(y: F, z: F, share: F) -> F {
    y + share * (z - y)
}

/// What a step counts in the mean.
fn weight<X: Scalar>(t: X, r: X, lr_max: X, power: X) -> X {
    t.pow(r) * lr_max.pow(power)
}

/// RAdam's factor of the rate, given the length of the mean that v is, and what it will be.
fn rectified<X: Scalar>(length: X, longest: X) -> X {
    let (two, four) = (X::from_f64(2.0), X::from_f64(4.0));
    let now = (length - four) * (length - two) * longest;
    (now / ((longest - four) * (longest - two) * length)).sqrt()
}

/// That length after t steps, and what it will be.
fn lengths<X: Scalar>(beta2: X, t: X) -> (X, X) {
    let (one, two) = (X::one(), X::from_f64(2.0));
    let power = beta2.pow(t);
    let longest = two / (one - beta2) - one;
    (longest - two * t * power / (one - power), longest)
}

/// A schedule-free rule over the tensors of a chain.
pub(super) struct ScheduleFree<F> {
    name: &'static str,
    beta: f64,
    warmup: f64,
    r: f64,
    power: f64,
    direction: Direction,
    /// The largest rate so far.
    lr_max: f64,
    /// W.
    weight_sum: f64,
    z: Vec<Buffer<F>>,
    v: Vec<Buffer<F>>,
}

impl<F: Float> ScheduleFree<F> {
    /// With `[warmup_steps, r, weight_lr_power]`.
    pub fn new(
        name: &'static str,
        beta: f64,
        direction: Direction,
        [warmup, r, power]: [f64; 3],
        tensors: &[&Tensor],
    ) -> Self {
        let v = if matches!(direction, Direction::Plain) { vec![] } else { copies(tensors) };
        Self { name, beta, warmup, r, power, direction, lr_max: 0.0, weight_sum: 0.0, z: copies(tensors), v }
    }

    /// The rate of step `t`, and of Adam's direction β₂, 1/(1 − β₂ᵗ) and ε; no direction where the gradient is taken as it is.
    fn rate(&self, lr: f64, t: f64) -> (f64, Option<(f64, f64, f64)>, f64) {
        let warm = if t <= self.warmup { t / self.warmup } else { 1.0 };
        match self.direction {
            Direction::Plain => (lr * warm, None, 0.0),
            Direction::Adam { beta2, eps } => {
                (lr * warm, Some((beta2, 1.0 / (1.0 - libm::pow(beta2, t)), eps)), beta2)
            }
            Direction::Rectified { beta2, eps, silent } => {
                let power = libm::pow(beta2, t);
                let (length, longest) = lengths(beta2, t);
                if length > 4.0 {
                    let rate = lr * warm * rectified(length, longest);
                    (rate, Some((beta2, 1.0 / (1.0 - power), eps)), beta2)
                } else {
                    (if silent { 0.0 } else { lr * warm }, None, beta2)
                }
            }
        }
    }
}

impl<F: Float> Method<F> for ScheduleFree<F> {
    fn trace(&self, page: &mut Tracer, setting: &Setting) {
        page.couple(setting, false);
        let beta_name = if matches!(self.direction, Direction::Plain) { "momentum" } else { "beta1" };
        let (one, t, beta) = (Symbol::one(), page.scalar("t"), page.scalar(beta_name));
        page.say("θ is y, where gradients are taken; the rate rises over warmup_steps");
        let mut lr = page.lr();
        let mut u = page.g();
        if !matches!(self.direction, Direction::Plain) {
            let (b2, eps, v) = (page.scalar("beta2"), page.scalar("eps"), page.slot("v"));
            if let Direction::Rectified { .. } = self.direction {
                let (length, longest) = lengths(b2, t);
                page.name("ρ", length);
                page.say("where ρ is no more than 4, u is g, and the rate is 0 with silent_sgd_phase; else:");
                lr = lr * rectified(length, longest);
                page.name("η", lr);
            }
            let new = mixed_square(b2, v, one - b2, u);
            page.assign("v", v, new);
            u = divided(u, new, one / (one - b2.pow(t)), eps);
        }
        let u = page.name("u", coupled(u, setting.decay(), page.theta()));
        page.say("lr_max ← the largest rate so far");
        let sum = page.scalar("weight_sum");
        let weight = weight(t, page.scalar("r"), page.scalar("lr_max"), page.scalar("weight_lr_power"));
        page.assign("weight_sum", sum, sum + weight);
        let c = page.name("c", weight / (sum + weight));
        let (y, z) = (page.theta(), page.slot("z"));
        let (to_y, to_z) = moved(&Along::of(c, lr, beta), y, z, u);
        page.step_to(to_y);
        page.assign("z", z, to_z);
        page.name("x", mean(to_y, to_z, one - one / beta));
        page.say("x is what is validated and saved");
    }

    fn step(&mut self, step: &mut Step<'_, '_, F>) -> Result<Done, StepError> {
        let decay = step.take_decay();
        step.settle(self.name)?;
        if step.t == 1 {
            self.z.iter_mut().zip(&mut step.parts).for_each(|(z, part)| z.copy_from_slice(part.theta()));
        }
        let t = step.t as f64;
        let (lr, adam, beta2) = self.rate(step.lr, t);
        self.lr_max = self.lr_max.max(lr);
        let weight = weight(t, self.r, self.lr_max, self.power);
        self.weight_sum += weight;
        let c = if self.weight_sum == 0.0 { 0.0 } else { weight / self.weight_sum };
        let along = Along::of(c, lr, self.beta);
        let f = F::from_f64;
        let along = Along { to_z: f(along.to_z), y_step: f(along.y_step), z_step: f(along.z_step) };
        let parts = step.parts.iter_mut().zip(&mut self.z).zip(&decay);
        let [marked] = if self.v.is_empty() {
            let rows = parts.map(|((part, z), &decay)| {
                let (y, g) = part.both();
                ([y, g, &mut z[..]], F::from_f64(decay))
            });
            fuse(step.threads, rows, |[y, g, z], decay, [marks]| {
                for (((y, g), z), m) in y.iter_mut().zip(g).zip(z).zip(marks) {
                    let (to_y, to_z) = moved(&along, *y, *z, coupled(*g, decay, *y));
                    let fine = finite([to_y, to_z]);
                    (*y, *z) = (keep(fine, to_y, *y), keep(fine, to_z, *z));
                    (*g, *m) = mark(fine);
                }
            })
        } else {
            let (b2, a2) = (F::from_f64(beta2), F::from_f64(1.0 - beta2));
            let root = adam.map(|(_, root, eps)| (F::from_f64(root), F::from_f64(eps)));
            let rows = parts.zip(&mut self.v).map(|(((part, z), &decay), v)| {
                let (y, g) = part.both();
                ([y, g, &mut z[..], &mut v[..]], F::from_f64(decay))
            });
            fuse(step.threads, rows, |[y, g, z, v], decay, [marks]| {
                for ((((y, g), z), v), m) in y.iter_mut().zip(g).zip(z).zip(v).zip(marks) {
                    let to_v = mixed_square(b2, *v, a2, *g);
                    let u = match root {
                        Some((root, eps)) => divided(*g, to_v, root, eps),
                        None => *g,
                    };
                    let (to_y, to_z) = moved(&along, *y, *z, coupled(u, decay, *y));
                    let fine = finite([to_y, to_z, to_v]);
                    (*y, *z, *v) = (keep(fine, to_y, *y), keep(fine, to_z, *z), keep(fine, to_v, *v));
                    (*g, *m) = mark(fine);
                }
            })
        };
        Ok(Done { bad: step.consumed(marked), ..Done::default() })
    }

    fn evaluation(&mut self, nth: usize, theta: &[F], out: &mut [F]) -> bool {
        let share = F::from_f64(1.0 - 1.0 / self.beta);
        for ((x, &y), &z) in out.iter_mut().zip(theta).zip(&self.z[nth][..]) {
            *x = mean(y, z, share);
        }
        true
    }

    fn visit_state(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        scalar(visit, "lr_max", &mut self.lr_max);
        scalar(visit, "weight_sum", &mut self.weight_sum);
        visit_copies("z", &mut self.z, tensors, visit);
        visit_copies("v", &mut self.v, tensors, visit);
    }
}
