//! L-BFGS: a quasi-Newton method that keeps the last pairs of steps and gradient changes. Nocedal 1980; Liu & Nocedal 1989,
//! <https://doi.org/10.1007/BF01589116>; line search: Nocedal & Wright 2006, Algorithms 3.5 and 3.6.
//! ```text
//! s = θ − θ₋,  y = g − g₋,  kept if yᵀs > 0            H₀ = (yᵀs/yᵀy) I
//! d = −H g by two loops over the kept pairs            first step: d = −g, first trial lr·min(1, 1/‖g‖₁)
//! θ ← θ + t d:   f(θ + t d) ≤ f + c₁ t gᵀd   and   |∇f(θ + t d)ᵀd| ≤ c₂ |gᵀd|        c₁ = 10⁻⁴, c₂ = 0.9
//! ```
//! For smooth functions on the whole data, to many digits: linear models, small networks. 2·history_size + 2 numbers of memory a
//! parameter once the history is full. One call is one iteration, some 1 to 3 gradients; f has the l2 penalty in it.
//!
//! Iterate by iterate PyTorch's `LBFGS(line_search_fn="strong_wolfe")`, whose cubic interpolation this is, but for what it leaves
//! open: the lower end of a bracket is a point of sufficient decrease, as in the book, where PyTorch takes the lower value; a
//! trial whose loss or gradient is not finite is halved; a direction that does not go down is replaced by −g and the history
//! forgotten, as after a search that found no lower point; where the change of f that a step can still bring is below the
//! rounding of f itself (ε^⅔ of it), slopes alone decide (Hager & Zhang 2005, section 4); a pair is kept where yᵀs > ε‖y‖²
//! (scipy's rule) and not 10⁻¹⁰, which stops learning near the minimum; both tolerances are 0, the loop has its own. optax's
//! `lbfgs` keeps 10 pairs and searches by other rules; Keras has none.

use thalweg_core::hyper::{Hyper, Range};
use thalweg_core::{Buffer, Float, Memory, Needs, StepError, Tensor, Threads};

use super::{Decay, Entry, Grown, Kind, Room, USUAL, Values};
use crate::about::about;
use crate::chain::{copies, visit_copies};
use crate::method::{Done, Method, Part, Step};
use crate::trace::{Setting, Tracer};
use crate::vector::fuse;
use crate::whole::{Elsewhere, count, dot, noise, scalar, slices};

/// Sufficient decrease.
const C1: f64 = 1e-4;
/// Curvature.
const C2: f64 = 0.9;
/// Trials of a search, as in PyTorch.
const TRIALS: usize = 25;
/// Times that a trial is halved until it is finite.
const HALVINGS: usize = 60;
/// The entry.
pub(super) static LBFGS: Entry = Entry {
    name: "lbfgs",
    summary: "quasi-Newton on all rows with a strong Wolfe line search: smooth problems to many digits",
    source: "Liu & Nocedal 1989; Nocedal & Wright 2006, Algorithms 3.5-3.6",
    about: about!("lbfgs.rs"),
    lr: 1.0,
    hyper: &[
        Hyper::new("history_size", 100.0, Range::COUNT, "pairs of steps and gradient changes that are kept"),
        Hyper::new("line_search", 1.0, Range::SWITCH, "search the step length; else it is lr"),
        Hyper::new("tolerance_grad", 0.0, Range::NON_NEGATIVE, "no step where no slope is larger"),
        Hyper::new(
            "tolerance_change",
            0.0,
            Range::NON_NEGATIVE,
            "no step that would bring the objective no more than this, nor a search in less than this",
        ),
    ],
    decay: Decay::Coupled,
    kind: Kind::Whole,
    make: (make::<f32>, make::<f64>),
    undecoupled: Some("measures how far each step goes down, and a decoupled step is no part of that"),
    unsigned: Some("needs a smooth objective, and |θ| has a kink"),
    memory: Some(|v| Grown {
        numbers: Some(2.0 * v.get("history_size") + 2.0),
        text: "2·history_size + 2 once the history is full",
    }),
    ..USUAL
};

/// A step and the change of the gradient that it brought.
struct Pair<F> {
    s: Vec<Buffer<F>>,
    y: Vec<Buffer<F>>,
    /// 1/yᵀs.
    rho: f64,
}

struct Lbfgs<F: Float> {
    history_size: usize,
    line_search: bool,
    tolerance_grad: f64,
    tolerance_change: f64,
    sizes: Vec<usize>,
    /// Oldest first.
    pairs: Vec<Pair<F>>,
    /// Room for the next one; no part of the state.
    spare: Option<Pair<F>>,
    /// H₀.
    first: f64,
    /// Whether `last_step` and `last_grad` are those of a step before; else the next direction is −g.
    known: u64,
    last_step: Vec<Buffer<F>>,
    last_grad: Vec<Buffer<F>>,
    there: Elsewhere<F>,
}

fn make<F: Float>(v: &Values<'_>, room: &Room<'_>) -> Box<dyn Method<F>> {
    Box::new(Lbfgs {
        history_size: v.get("history_size") as usize,
        line_search: v.is("line_search"),
        tolerance_grad: v.get("tolerance_grad"),
        tolerance_change: v.get("tolerance_change"),
        sizes: room.tensors.iter().map(|t| t.len()).collect(),
        pairs: vec![],
        spare: None,
        first: 1.0,
        known: 0,
        last_step: copies(room.tensors),
        last_grad: copies(room.tensors),
        there: Elsewhere::new(),
    })
}

/// y ← y + a·x.
fn add<F: Float>(threads: &Threads, a: f64, x: &mut [Buffer<F>], y: &mut [Buffer<F>]) {
    let a = F::from_f64(a);
    let rows = x.iter_mut().zip(y).map(|(x, y)| ([&mut x[..], &mut y[..]], ()));
    let [] = fuse(threads, rows, |[x, y], (), []| {
        x.iter().zip(y).for_each(|(x, y)| *y += a * *x);
    });
}

/// Both vectors' product.
fn product<F: Float>(threads: &Threads, a: &[Buffer<F>], b: &[Buffer<F>]) -> f64 {
    dot(threads, slices(a), slices(b))
}

/// The largest |x|; infinite where one is not a number.
fn largest<'a, F: Float>(vectors: impl IntoIterator<Item = &'a [F]>) -> f64 {
    let size = |x: &F| if x.is_finite() { x.to_f64().abs() } else { f64::INFINITY };
    vectors.into_iter().flatten().fold(0.0, |top, x| size(x).max(top))
}

impl<F: Float> Lbfgs<F> {
    fn room(&self) -> Vec<Buffer<F>> {
        self.sizes.iter().map(|&n| Buffer::zeros(n)).collect()
    }

    fn forget(&mut self) {
        self.pairs.clear();
        self.known = 0;
        self.first = 1.0;
    }

    /// Keeps the pair of the last step and the gradients of `step`, if it bends upwards.
    fn learn(&mut self, step: &mut Step<'_, '_, F>) {
        let threads = step.threads;
        let mut pair = self.spare.take().unwrap_or_else(|| Pair { s: self.room(), y: self.room(), rho: 0.0 });
        for (nth, part) in step.parts.iter_mut().enumerate() {
            let rows = [([part.grad(), &mut self.last_grad[nth][..], &mut pair.y[nth][..]], ())];
            let [] = fuse(threads, rows, |[g, last, y], (), []| {
                for ((g, last), y) in g.iter().zip(last).zip(y) {
                    *y = *g - *last;
                }
            });
            pair.s[nth].copy_from_slice(&self.last_step[nth]);
        }
        let (along, squares) = (product(threads, &pair.y, &pair.s), product(threads, &pair.y, &pair.y));
        if along > f64::EPSILON * squares && along.is_finite() && squares < f64::INFINITY {
            pair.rho = 1.0 / along;
            self.first = along / squares;
            if self.pairs.len() >= self.history_size {
                self.spare = Some(self.pairs.remove(0));
            }
            self.pairs.push(pair);
        } else {
            self.spare = Some(pair);
        }
    }

    /// −H g by the two loops.
    fn direction(&mut self, step: &mut Step<'_, '_, F>) -> Vec<Buffer<F>> {
        let threads = step.threads;
        let mut d = self.room();
        for (part, d) in step.parts.iter_mut().zip(&mut d) {
            d.iter_mut().zip(part.grad()).for_each(|(d, g)| *d = -*g);
        }
        let mut alphas = vec![0.0; self.pairs.len()];
        for (pair, alpha) in self.pairs.iter_mut().zip(&mut alphas).rev() {
            *alpha = product(threads, &pair.s, &d) * pair.rho;
            add(threads, -*alpha, &mut pair.y, &mut d);
        }
        if !self.pairs.is_empty() {
            let first = F::from_f64(self.first);
            d.iter_mut().for_each(|d| d.iter_mut().for_each(|d| *d = *d * first));
        }
        for (pair, alpha) in self.pairs.iter_mut().zip(&alphas) {
            let beta = product(threads, &pair.y, &d) * pair.rho;
            add(threads, alpha - beta, &mut pair.s, &mut d);
        }
        d
    }
}

/// f and its slope along d at a trial t.
#[derive(Clone, Copy, Debug)]
struct Trial {
    t: f64,
    f: f64,
    slope: f64,
}

/// The minimum of the cubic through two trials, within `bounds`; between them where there is none.
fn cubic(a: Trial, b: Trial, bounds: (f64, f64)) -> f64 {
    let d1 = a.slope + b.slope - 3.0 * (a.f - b.f) / (a.t - b.t);
    let square = d1 * d1 - a.slope * b.slope;
    if square.is_nan() || square < 0.0 {
        return (bounds.0 + bounds.1) / 2.0;
    }
    let d2 = square.sqrt();
    let at = if a.t <= b.t {
        b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2))
    } else {
        a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2.0 * d2))
    };
    if at.is_nan() { (bounds.0 + bounds.1) / 2.0 } else { at.max(bounds.0).min(bounds.1) }
}

/// A step length under the strong Wolfe conditions, or the lowest point that was seen. `start` is the trial at 0, f is known to
/// ± `noise`; an interval that is not longer than `least` is not cut any more.
fn strong_wolfe<E>(
    start: Trial,
    t: f64,
    least: f64,
    noise: f64,
    mut at: impl FnMut(f64) -> Result<Trial, E>,
) -> Result<Trial, E> {
    let mut last = start;
    // A trial that is not finite is too far.
    let mut finite = |t: f64, from: f64| -> Result<Trial, E> {
        let mut now = at(t)?;
        for _ in 0..HALVINGS {
            if now.f.is_finite() && now.slope.is_finite() {
                break;
            }
            now = at(from + 0.5 * (now.t - from))?;
        }
        Ok(now)
    };
    let flat = |now: Trial| (now.f - start.f).abs() <= noise;
    let not_lower = |now: Trial| {
        if flat(now) {
            now.slope > -(1.0 - 2.0 * C1) * start.slope
        } else {
            now.f > start.f + C1 * now.t * start.slope
        }
    };
    let steep = |now: Trial| now.slope.abs() > -C2 * start.slope;
    let mut now = finite(t, 0.0)?;
    if !now.f.is_finite() {
        return Ok(start);
    }
    let mut trials = 0;
    // The lower end is always a point of sufficient decrease.
    let (mut bracket, low) = loop {
        if not_lower(now) || (trials > 1 && now.f >= last.f && !flat(now)) {
            break ([last, now], 0);
        }
        if !steep(now) || trials == TRIALS {
            return Ok(now);
        }
        if now.slope >= 0.0 {
            break ([last, now], 1);
        }
        let next = cubic(last, now, (now.t + 0.01 * (now.t - last.t), now.t * 10.0));
        last = now;
        now = finite(next, last.t)?;
        trials += 1;
    };
    let mut stuck = false;
    while trials < TRIALS {
        let (left, right) = (bracket[0].t.min(bracket[1].t), bracket[0].t.max(bracket[1].t));
        let width = right - left;
        if width < least || width <= f64::EPSILON * right {
            break;
        }
        let mut t = cubic(bracket[0], bracket[1], (left, right));
        // Not twice in a row within a tenth of an end.
        let edge = 0.1 * width;
        if (right - t).min(t - left) < edge {
            if stuck || t >= right || t <= left {
                t = if (t - right).abs() < (t - left).abs() { right - edge } else { left + edge };
                stuck = false;
            } else {
                stuck = true;
            }
        } else {
            stuck = false;
        }
        now = finite(t, left)?;
        trials += 1;
        if not_lower(now) || (now.f >= bracket[low].f && !flat(now)) {
            bracket[1 - low] = now;
        } else {
            if !steep(now) {
                return Ok(now);
            }
            if now.slope * (bracket[1 - low].t - bracket[low].t) >= 0.0 {
                bracket[1 - low] = bracket[low];
            }
            bracket[low] = now;
        }
    }
    Ok(bracket[low])
}

impl<F: Float> Method<F> for Lbfgs<F> {
    fn needs(&self) -> Needs {
        Needs { loss: true, reevaluation: true, full_batch: true, ..Needs::default() }
    }
    fn finds_rate(&self) -> bool {
        true
    }

    fn trace(&self, page: &mut Tracer, setting: &Setting) {
        page.couple(setting, true);
        page.say(
            "s ← θ − θₜ₋₁, y ← g − gₜ₋₁; the pair is kept, with up to history_size others, if yᵀs > ε·yᵀy",
        );
        page.say("d ← −g; for each pair, the newest first: a ← sᵀd/yᵀs, d ← d − a·y");
        page.say("d ← d·yᵀs/yᵀy of the newest pair");
        page.say("for each pair, the oldest first: d ← d + (a − yᵀd/yᵀs)·s");
        page.say(if self.line_search {
            "t ← a step length under the strong Wolfe conditions, by cubic interpolation from lr"
        } else {
            "t ← lr"
        });
        page.say("θ ← θ + t·d");
    }

    fn step(&mut self, step: &mut Step<'_, '_, F>) -> Result<Done, StepError> {
        step.settle(LBFGS.name)?;
        self.there.set(step, |_, theta, to| to.copy_from_slice(theta));
        let f = step.total.mean() + self.there.penalty(step);
        let top = largest(step.parts.iter().map(Part::gradient));
        if !f.is_finite() || !top.is_finite() {
            let bad = step.first();
            step.clear_gradients();
            return Ok(Done { bad, lr: Some(0.0), ..Done::default() });
        }
        if step.lr == 0.0 || top <= self.tolerance_grad {
            step.clear_gradients();
            return Ok(Done { lr: Some(0.0), ..Done::default() });
        }
        let newton = self.known > 0;
        if newton {
            self.learn(step);
        }
        let mut d = self.direction(step);
        let along = |step: &Step<'_, '_, F>, d: &[Buffer<F>]| {
            dot(step.threads, step.parts.iter().map(Part::gradient), slices(d))
        };
        let mut slope = along(step, &d);
        let mut first = !newton;
        if newton && (slope.is_nan() || slope >= 0.0) {
            self.forget();
            d = self.direction(step);
            slope = along(step, &d);
            first = true;
        }
        for (part, last) in step.parts.iter_mut().zip(&mut self.last_grad) {
            last.copy_from_slice(part.grad());
        }
        let mut t = step.lr;
        if first {
            let sum: f64 =
                step.parts.iter().map(|p| thalweg_core::math::sum_by(p.gradient(), f64::abs)).sum();
            t *= (1.0 / sum).min(1.0);
        }
        if slope > -self.tolerance_change || slope == 0.0 || slope.is_nan() {
            t = 0.0;
        } else if self.line_search {
            let there = &mut self.there;
            let least = self.tolerance_change / largest(slices(&d));
            let noise = noise::<F>(f);
            let start = Trial { t: 0.0, f, slope };
            let found = strong_wolfe(start, t, least, noise, |t| evaluate(there, step, &d, t))?;
            t = found.t;
        }
        let scale = F::from_f64(t);
        let mut fine = true;
        for ((part, d), last) in step.parts.iter_mut().zip(&mut d).zip(&mut self.last_step) {
            let rows = [([part.theta(), &mut d[..], &mut last[..]], ())];
            let [bad] = fuse(step.threads, rows, |[theta, d, last], (), [bad]| {
                for (((theta, d), last), bad) in theta.iter().zip(d).zip(last).zip(bad) {
                    *last = scale * *d;
                    *bad = if (*theta + *last).is_finite() { 0.0 } else { 1.0 };
                }
            });
            fine &= bad == 0.0;
        }
        if !fine {
            let bad = step.first();
            self.forget();
            step.clear_gradients();
            return Ok(Done { bad, lr: Some(0.0), ..Done::default() });
        }
        if t == 0.0 {
            // Nothing lower in this direction: the next one is −g, unless this was.
            self.forget();
        } else {
            self.known = 1;
            for (part, last) in step.parts.iter_mut().zip(&self.last_step) {
                part.theta().iter_mut().zip(&last[..]).for_each(|(theta, s)| *theta += *s);
            }
        }
        step.clear_gradients();
        Ok(Done { lr: Some(t), ..Done::default() })
    }

    fn visit_state(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        count(visit, "known", &mut self.known);
        scalar(visit, "first", &mut self.first);
        let mut pairs = self.pairs.len() as u64;
        if count(visit, "pairs.length", &mut pairs) {
            let room = || Pair { s: self.room(), y: self.room(), rho: 0.0 };
            self.pairs = (0..pairs.min(self.history_size as u64)).map(|_| room()).collect();
        }
        for (i, pair) in self.pairs.iter_mut().enumerate() {
            scalar(visit, &format!("rho{i}"), &mut pair.rho);
            visit_copies(&format!("s{i}"), &mut pair.s, tensors, visit);
            visit_copies(&format!("y{i}"), &mut pair.y, tensors, visit);
        }
        visit_copies("last_step", &mut self.last_step, tensors, visit);
        visit_copies("last_grad", &mut self.last_grad, tensors, visit);
    }
}

/// f and its slope along d at θ + t d.
fn evaluate<F: Float>(
    there: &mut Elsewhere<F>,
    step: &mut Step<'_, '_, F>,
    d: &[Buffer<F>],
    t: f64,
) -> Result<Trial, StepError> {
    let scale = F::from_f64(t);
    there.set(step, |nth, theta, to| {
        to.iter_mut().zip(theta).zip(&d[nth][..]).for_each(|((to, theta), d)| *to = *theta + scale * *d);
    });
    let total = there.gradient(step, LBFGS.name)?;
    let f = total.mean() + there.penalty(step);
    there.settle(step, total.weight);
    let grads = step.parts.iter().map(|p| there.grad(p.tensor));
    let slope = dot(step.threads, grads, slices(d));
    Ok(Trial { t, f, slope })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(f: impl Fn(f64) -> (f64, f64), t: f64) -> (Trial, usize) {
        let mut calls = 0;
        let start = Trial { t: 0.0, f: f(0.0).0, slope: f(0.0).1 };
        let found = strong_wolfe::<()>(start, t, 0.0, 0.0, |t| {
            calls += 1;
            Ok(Trial { t, f: f(t).0, slope: f(t).1 })
        });
        (found.unwrap(), calls)
    }

    /// Moré & Thuente 1994, section 5: their first three functions, from first trials of 10⁻³ to 10³.
    #[test]
    fn searches_on_hard_functions_end_under_the_conditions() {
        let first = |t: f64| (-t / (t * t + 2.0), (t * t - 2.0) / ((t * t + 2.0) * (t * t + 2.0)));
        let second = |t: f64| {
            let (a, b) = (libm::pow(t + 0.004, 5.0), libm::pow(t + 0.004, 4.0));
            (a - 2.0 * b, 5.0 * b - 8.0 * libm::pow(t + 0.004, 3.0))
        };
        let yan = |b1: f64, b2: f64| {
            let root = |b: f64| (1.0 + b * b).sqrt() - b;
            move |t: f64| {
                let (u, v) = (((1.0 - t) * (1.0 - t) + b2 * b2).sqrt(), (t * t + b1 * b1).sqrt());
                (root(b1) * u + root(b2) * v, -root(b1) * (1.0 - t) / u + root(b2) * t / v)
            }
        };
        type Function<'f> = &'f dyn Fn(f64) -> (f64, f64);
        let functions: [Function<'_>; 4] = [&first, &second, &yan(0.001, 0.001), &yan(0.01, 0.001)];
        for (nth, f) in functions.iter().enumerate() {
            let (value, slope) = f(0.0);
            for t in [1e-3, 1e-1, 1.0, 1e1, 1e3] {
                let (found, calls) = search(f, t);
                assert!(found.f <= value + C1 * found.t * slope, "{nth} from {t}: {found:?}");
                assert!(found.slope.abs() <= C2 * slope.abs(), "{nth} from {t}: {found:?}");
                assert!(calls <= TRIALS + 1, "{nth} from {t}: {calls}");
            }
        }
    }

    #[test]
    fn trials_that_are_not_finite_are_halved() {
        // −ln(1 − t) + … has a wall at 1.
        let f = |t: f64| {
            if t < 1.0 {
                (-t - libm::log(1.0 - t) * 0.1, -1.0 + 0.1 / (1.0 - t))
            } else {
                (f64::NAN, f64::NAN)
            }
        };
        let (found, _) = search(f, 100.0);
        assert!(found.t > 0.0 && found.t < 1.0 && found.f < 0.0, "{found:?}");
        let (found, calls) = search(|t| if t == 0.0 { (1.0, -1.0) } else { (f64::INFINITY, 0.0) }, 1.0);
        assert!(found.t == 0.0 && calls == HALVINGS + 1);
    }
}
