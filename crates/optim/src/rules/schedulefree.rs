//! What the schedule-free rules share. Defazio, Yang, Mehta, Mishchenko, Khaled & Cutkosky 2024,
//! <https://arxiv.org/abs/2405.15682>; steps as in the authors' `schedulefree`.
//! ```text
//! y: where gradients are taken (θ)     z: the fast weights     x: their weighted mean, what is evaluated and saved
//! w ← tʳ·(largest rate so far)ᵖ        W ← W + w               c = w/W
//! y ← (1 − c) y + c z − η (1 − β (1 − c)) u
//! z ← z − η u                          x = y + (1 − 1/β) (z − y)
//! ```
//! u is the direction: the gradient, or Adam's without its first moment. x is never kept: y lies between it and z. The rate rises
//! over `warmup_steps` and needs no other schedule; one that is given multiplies.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Buffer, Float, Memory, Needs, StepError, Tensor};

use super::adagrad::ratio;
use crate::chain::{copies, visit_copies};
use crate::method::{Done, Method, Step};
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
                // The length of the mean that v is, and how far its variance is from what it will be.
                let longest = 2.0 / (1.0 - beta2) - 1.0;
                let length = longest - 2.0 * t * power / (1.0 - power);
                if length > 4.0 {
                    let now = (length - 4.0) * (length - 2.0) * longest;
                    let rectified = (now / ((longest - 4.0) * (longest - 2.0) * length)).sqrt();
                    (lr * warm * rectified, Some((beta2, 1.0 / (1.0 - power), eps)), beta2)
                } else {
                    (if silent { 0.0 } else { lr * warm }, None, beta2)
                }
            }
        }
    }
}

impl<F: Float> Method<F> for ScheduleFree<F> {
    fn needs(&self) -> Needs {
        Needs::default()
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
        let weight = libm::pow(t, self.r) * libm::pow(self.lr_max, self.power);
        self.weight_sum += weight;
        let c = if self.weight_sum == 0.0 { 0.0 } else { weight / self.weight_sum };
        let (to_z, y_step, z_step) =
            (F::from_f64(c), F::from_f64(lr * (self.beta * (1.0 - c) - 1.0)), F::from_f64(lr));
        let moved = |y: F, z: F, u: F| ((y + to_z * (z - y)) + y_step * u, z - z_step * u);
        let parts = step.parts.iter_mut().zip(&mut self.z).zip(&decay);
        let [marked] = if self.v.is_empty() {
            let rows = parts.map(|((part, z), &decay)| {
                let (y, g) = part.both();
                ([y, g, &mut z[..]], F::from_f64(decay))
            });
            fuse(step.threads, rows, |[y, g, z], decay, [marks]| {
                for (((y, g), z), m) in y.iter_mut().zip(g).zip(z).zip(marks) {
                    let (to_y, to_z) = moved(*y, *z, *g + decay * *y);
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
                    let to_v = b2 * *v + a2 * *g * *g;
                    let u = match root {
                        Some((root, eps)) => ratio(*g, (root * to_v).sqrt() + eps),
                        None => *g,
                    };
                    let (to_y, to_z) = moved(*y, *z, u + decay * *y);
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
            *x = y + share * (z - y);
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
