//! [`Tensorwise`]: a rule that looks at a whole tensor, with its memory, as a [`Method`] of a chain.
//!
//! A tensor whose new values or memory would not all be finite keeps both, and is reported: the driver does so for single
//! coordinates, but here each of them rests on all others.

use thalweg_core::gemm::{Mat, MatMut, gemm};
use thalweg_core::{Buffer, Float, Memory, Real, StepError, Tensor, Threads};

use crate::arithmetic::mixed;
use crate::method::{Decay, Done, Method, Step};
use crate::trace::{Setting, Symbol, Tracer};
use crate::vector;

/// Where a step is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now<'a> {
    /// The number of the step: 1, 2, …
    pub t: u64,
    /// The learning rate.
    pub lr: f64,
    /// Who works on it.
    pub threads: &'a Threads,
}

/// The numbers of one tensor at a step.
pub(crate) struct One<'a, F> {
    /// Its shape and axes.
    pub tensor: &'a Tensor,
    /// The parameters.
    pub theta: &'a [F],
    /// The mean gradient, with coupled decay and the l2 penalty in it; to become the update.
    pub g: &'a mut [F],
    /// The memory, in the order of [`TensorRule::slots`].
    pub memory: &'a mut [Buffer<F>],
}

/// A rule that moves one tensor at a time.
pub(crate) trait TensorRule<F: Float>: Send {
    /// The name in expressions.
    const NAME: &'static str;
    /// How `weight_decay` acts.
    const DECAY: Decay;
    /// Whether decoupled decay shrinks the new θ, not the old one.
    const DECAY_LAST: bool = false;

    /// The memory of a tensor: the names of its slots, and how many numbers each has. All start at 0.
    fn slots(&self, tensor: &Tensor) -> Vec<(String, usize)>;
    /// Writes down what it makes of g, as [`Method::trace`] does: the update.
    fn trace(&self, page: &mut Tracer) -> Symbol;
    /// Makes the gradient the update u, which the caller adds to θ, and brings the memory up to date. False: the tensor stays
    /// where it is at this step, decay or not.
    fn update(&mut self, now: Now<'_>, one: One<'_, F>) -> bool;
}

/// A [`TensorRule`] over the tensors of a chain.
pub(crate) struct Tensorwise<R, F> {
    rule: R,
    names: Vec<Vec<String>>,
    memory: Vec<Vec<Buffer<F>>>,
    /// A tensor's memory before its step: room for the largest.
    before: Vec<F>,
}

impl<F: Float, R: TensorRule<F>> Tensorwise<R, F> {
    pub fn new(rule: R, tensors: &[&Tensor]) -> Self {
        let slots: Vec<_> = tensors.iter().map(|t| rule.slots(t)).collect();
        let most = slots.iter().map(|s| s.iter().map(|(_, n)| n).sum()).max().unwrap_or(0);
        let memory = slots.iter().map(|s| s.iter().map(|&(_, n)| Buffer::zeros(n)).collect()).collect();
        let names = slots.into_iter().map(|s| s.into_iter().map(|(name, _)| name).collect()).collect();
        Self { rule, names, memory, before: Vec::with_capacity(most) }
    }
}

/// θ + u, with what decay leaves of the old θ or of the new one.
#[inline(always)]
fn moved<F: Real>(theta: F, u: F, now_by: F, then_by: F) -> F {
    (theta * now_by + u) * then_by
}

impl<F: Float, R: TensorRule<F>> Method<F> for Tensorwise<R, F> {
    fn trace(&self, page: &mut Tracer, setting: &Setting) {
        let decoupled = R::DECAY == Decay::Decoupled;
        page.couple(setting, !decoupled);
        let u = self.rule.trace(page);
        let one = Symbol::one();
        let keep = if decoupled { one - page.lr() * setting.decay() } else { one };
        let (now_by, then_by) = if R::DECAY_LAST { (one, keep) } else { (keep, one) };
        page.step_to(moved(page.theta(), u, now_by, then_by));
    }

    fn step(&mut self, step: &mut Step<'_, '_, F>) -> Result<Done, StepError> {
        let decoupled = R::DECAY == Decay::Decoupled;
        let decays = if decoupled { step.take_decay() } else { vec![0.0; step.parts.len()] };
        step.settle(R::NAME)?;
        let now = Now { t: step.t, lr: step.lr, threads: step.threads };
        let mut done = Done::default();
        for ((part, memory), decay) in step.parts.iter_mut().zip(&mut self.memory).zip(decays) {
            let (index, tensor) = (part.index, part.tensor);
            let (theta, g) = part.both();
            if theta.is_empty() {
                continue;
            }
            self.before.clear();
            memory.iter().for_each(|m| self.before.extend_from_slice(m));
            let mut bad = (!vector::finite(now.threads, g)).then(|| first_bad(g));
            if bad.is_none() && self.rule.update(now, One { tensor, theta, g, memory }) {
                let keep = F::from_f64(1.0 - now.lr * decay);
                let (now_by, then_by) = if R::DECAY_LAST { (F::one(), keep) } else { (keep, F::one()) };
                vector::each(now.threads, g, theta, |u, theta| {
                    u.iter_mut().zip(theta).for_each(|(u, t)| *u = moved(*t, *u, now_by, then_by));
                });
                let sound = |x: &[F]| vector::finite(now.threads, x);
                if !sound(g) {
                    bad = Some(first_bad(g));
                } else if memory.iter().all(|m| sound(m)) {
                    vector::each(now.threads, g, theta, |new, theta| theta.copy_from_slice(new));
                } else {
                    bad = Some(0);
                }
            }
            if let Some(place) = bad {
                done.bad.get_or_insert((index, place));
                let mut before = &self.before[..];
                for m in memory {
                    let (piece, rest) = before.split_at(m.len());
                    m.copy_from_slice(piece);
                    before = rest;
                }
            }
            g.fill(F::zero());
        }
        Ok(done)
    }

    fn visit_state(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        for ((tensor, names), memory) in tensors.iter().zip(&self.names).zip(&mut self.memory) {
            for (name, memory) in names.iter().zip(memory) {
                visit(&format!("{}/{name}", tensor.name), F::memory(memory));
            }
        }
    }
}

/// The place of the first number that is not finite.
pub(crate) fn first_bad<F: Float>(x: &[F]) -> usize {
    x.iter().position(|x| !x.is_finite()).unwrap_or(0)
}

/// m ← β m + (1 − β) g.
pub(crate) fn lean<F: Float>(threads: &Threads, beta: f64, m: &mut [F], g: &mut [F]) {
    let (old, new) = (F::from_f64(beta), F::from_f64(1.0 - beta));
    vector::each(threads, m, g, |m, g| {
        m.iter_mut().zip(g).for_each(|(m, g)| *m = mixed(old, *m, new, *g));
    });
}

/// An axis of a tensor: `outer × size × inner` numbers, the last of them next to each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Axis {
    pub outer: usize,
    pub size: usize,
    pub inner: usize,
}

impl Axis {
    /// Every axis of a shape; a single number has one of size 1.
    pub fn all(shape: &[usize]) -> Vec<Self> {
        if shape.is_empty() {
            return vec![Self { outer: 1, size: 1, inner: 1 }];
        }
        let product = |x: &[usize]| x.iter().product();
        (0..shape.len())
            .map(|k| Self { outer: product(&shape[..k]), size: shape[k], inner: product(&shape[k + 1..]) })
            .collect()
    }

    /// S ← α X Xᵀ + β S, where X [size, everything else] is the tensor unfolded along this axis.
    pub fn gram<F: Float>(&self, threads: &Threads, alpha: f64, x: &[F], beta: f64, s: &mut [F]) {
        let d = self.size;
        let (alpha, beta) = (F::from_f64(alpha), F::from_f64(beta));
        if self.inner == 1 {
            let x = Mat::new(x, self.outer, d);
            return gemm(threads, alpha, x.t(), x, beta, MatMut::new(s, d, d));
        }
        for (nth, slice) in x.chunks(d * self.inner).enumerate() {
            let x = Mat::new(slice, d, self.inner);
            gemm(threads, alpha, x, x.t(), if nth == 0 { beta } else { F::one() }, MatMut::new(s, d, d));
        }
    }

    /// y ← M x along this axis, or Mᵀ x.
    pub fn multiply<F: Float>(&self, threads: &Threads, m: &[F], transposed: bool, x: &[F], y: &mut [F]) {
        let d = self.size;
        let m = Mat::new(m, d, d);
        let m = if transposed { m.t() } else { m };
        if self.inner == 1 {
            let (x, y) = (Mat::new(x, self.outer, d), MatMut::new(y, self.outer, d));
            return gemm(threads, F::one(), x, m.t(), F::zero(), y);
        }
        let n = d * self.inner;
        for (x, y) in x.chunks(n).zip(y.chunks_mut(n)) {
            let (x, y) = (Mat::new(x, d, self.inner), MatMut::new(y, d, self.inner));
            gemm(threads, F::one(), m, x, F::zero(), y);
        }
    }
}
