//! The one driver: runs any rule over any spans in one sweep, on all threads and instruction sets.
//!
//! For each parameter, in this order: the gradient's scale, clipping by value, coupled decay, the rule, decoupled decay
//! with the update, the proximal step, the averaged copy, the gradient to zero. A coordinate whose new value or memory
//! would not be finite keeps both, and is reported: a squared gradient that overflows would stop it for good.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use thalweg_core::{Float, StepError, Threads, isa};

use crate::rule::{Checked, Rule, When};

/// Numbers in a block that stays in the first cache through the passes over it.
const BLOCK: usize = 1024;
/// Numbers in a task of a thread.
const TASK: usize = 1 << 16;

/// What surrounds the rule: coefficients of one span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Around {
    /// The gradient is multiplied by this first (1/weight, global clipping).
    pub scale: f64,
    /// Then cut to ± this.
    pub clip: f64,
    /// Then this times θ is added: coupled decay, the gradient of `decay/2·θ²`.
    pub decay: f64,
    /// θ is multiplied by this when the update is added: 1 − η·λ for decoupled decay.
    pub keep: f64,
    /// Strength of |θ| in the objective, for the proximal step.
    pub l1: f64,
    /// The averaged copy moves by this share of its distance to the new θ. Where it is NaN it starts there.
    pub average: f64,
}

impl Around {
    /// Nothing but the rule.
    pub const NOTHING: Self =
        Self { scale: 1.0, clip: f64::INFINITY, decay: 0.0, keep: 1.0, l1: 0.0, average: 0.0 };
}

/// A stretch of parameters with its gradient and memory; all slices have one length.
#[derive(Debug)]
pub struct Span<'a, F, const S: usize> {
    /// The parameters.
    pub theta: &'a mut [F],
    /// The gradient; zeros afterwards.
    pub grad: &'a mut [F],
    /// The rule's memory.
    pub state: [&'a mut [F]; S],
    /// The averaged copy of the parameters, if one is kept.
    pub average: Option<&'a mut [F]>,
    /// What surrounds the rule here.
    pub around: Around,
}

/// A task of a thread: where it starts among all parameters of the sweep, and its stretch.
struct Task<'a, F, const S: usize> {
    start: usize,
    span: Span<'a, F, S>,
}

/// One step of `rule` over all `spans`.
///
/// Returns the first coordinate (counted over the spans) whose new value or memory was not finite; every such coordinate
/// kept its old ones. The result does not depend on how the parameters are cut into spans, nor on threads or instruction
/// set.
///
/// # Errors
/// [`StepError::Length`] names a slice whose length is not that of `theta`; nothing is written then.
pub fn sweep<R: Rule<S>, F: Float, const S: usize>(
    rule: &R,
    when: When,
    spans: Vec<Span<'_, F, S>>,
    threads: &Threads,
) -> Result<Option<usize>, StepError> {
    for span in &spans {
        check_lengths::<R, F, S>(span)?;
    }
    let coef = rule.coef::<F>(when);
    let bad = AtomicUsize::new(usize::MAX);
    let total: usize = spans.iter().map(|s| s.theta.len()).sum();
    let mut start = 0;
    if total <= 2 * TASK || threads.count() == 1 {
        for mut span in spans {
            run_blocks::<R, F, S>(&coef, &mut span, start, &bad);
            start += span.theta.len();
        }
    } else {
        let mut tasks = Vec::with_capacity(total / TASK + spans.len());
        for span in spans {
            let len = span.theta.len();
            cut(span, start, &mut tasks);
            start += len;
        }
        threads.run(tasks.len(), |i| {
            // Each task is taken once: the lock never waits.
            let mut task = tasks[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let start = task.start;
            run_blocks::<R, F, S>(&coef, &mut task.span, start, &bad);
        });
    }
    let bad = bad.into_inner();
    Ok((bad != usize::MAX).then_some(bad))
}

/// One step of `rule` over slices of one length: the simplest caller of the driver.
///
/// `t` counts steps from 1, `lr` is the learning rate of this step. Returns the first coordinate whose new value or memory
/// was not finite; every such coordinate kept its old ones. For more (clipping, decay, averaging, threads) see [`sweep`]
/// and [`crate::Plan`].
///
/// # Errors
/// [`StepError::Length`] names the slice whose length is not `theta.len()`; nothing is written then.
pub fn step<R: Rule<S>, F: Float, const S: usize>(
    rule: &Checked<R>,
    t: u64,
    lr: f64,
    theta: &mut [F],
    grad: &[F],
    state: [&mut [F]; S],
) -> Result<Option<usize>, StepError> {
    let mut grad = grad.to_vec();
    let span = Span { theta, grad: &mut grad, state, average: None, around: Around::NOTHING };
    sweep(rule.rule(), When { t, lr }, vec![span], &Threads::serial())
}

fn check_lengths<R: Rule<S>, F, const S: usize>(span: &Span<'_, F, S>) -> Result<(), StepError> {
    let expected = span.theta.len();
    let state = R::STATE.iter().zip(&span.state).map(|(slot, s)| (slot.name, s.len()));
    let average = span.average.as_ref().map(|a| ("the averaged copy", a.len()));
    for (what, found) in [("the gradient", span.grad.len())].into_iter().chain(state).chain(average) {
        if found != expected {
            return Err(StepError::Length { what, expected, found });
        }
    }
    Ok(())
}

fn cut<'a, F, const S: usize>(
    mut span: Span<'a, F, S>,
    mut start: usize,
    tasks: &mut Vec<Mutex<Task<'a, F, S>>>,
) {
    while span.theta.len() > TASK {
        let (theta, theta_rest) = span.theta.split_at_mut(TASK);
        let (grad, grad_rest) = span.grad.split_at_mut(TASK);
        let mut rests = Vec::with_capacity(S);
        let state = span.state.map(|s| {
            let (s, rest) = s.split_at_mut(TASK);
            rests.push(rest);
            s
        });
        let (average, average_rest) = match span.average {
            Some(a) => {
                let (a, rest) = a.split_at_mut(TASK);
                (Some(a), Some(rest))
            }
            None => (None, None),
        };
        tasks.push(Mutex::new(Task {
            start,
            span: Span { theta, grad, state, average, around: span.around },
        }));
        let mut rests = rests.into_iter();
        span = Span {
            theta: theta_rest,
            grad: grad_rest,
            state: std::array::from_fn(|_| rests.next().expect("one rest for each slot")),
            average: average_rest,
            around: span.around,
        };
        start += TASK;
    }
    tasks.push(Mutex::new(Task { start, span }));
}

/// [`Around`] in the parameters' own type.
#[derive(Clone, Copy)]
struct Cast<F> {
    scale: F,
    clip: F,
    decay: F,
    keep: F,
}

fn run_blocks<R: Rule<S>, F: Float, const S: usize>(
    coef: &R::Coef<F>,
    span: &mut Span<'_, F, S>,
    start: usize,
    bad: &AtomicUsize,
) {
    let a = &span.around;
    let cast = Cast {
        scale: F::from_f64(a.scale),
        clip: F::from_f64(a.clip),
        decay: F::from_f64(a.decay),
        keep: F::from_f64(a.keep),
    };
    let l1 = F::from_f64(a.l1);
    // From the nearer end, so that what cancels is small: a share of 1 gives θ itself, and equal numbers stay equal.
    let from_copy = a.average < 0.5;
    let share = F::from_f64(if from_copy { a.average } else { 1.0 - a.average });
    for from in (0..span.theta.len()).step_by(BLOCK) {
        let range = from..(from + BLOCK).min(span.theta.len());
        let theta = &mut span.theta[range.clone()];
        let grad = &mut span.grad[range.clone()];
        let mut state = span.state.each_mut().map(|s| &mut s[range.clone()]);
        let all_finite = isa::run(
            #[inline(always)]
            || run_block::<R, F, S>(coef, &cast, theta, grad, &mut state),
        );
        if a.l1 > 0.0 {
            isa::run(
                #[inline(always)]
                || shrink::<R, F, S>(coef, l1, theta, grad, &state),
            );
        }
        if !all_finite {
            // The gradients left are the marks of coordinates that kept their values: the first is the one to report.
            let first = grad.iter().position(|&g| g != F::zero()).unwrap_or(0);
            bad.fetch_min(start + from + first, Ordering::Relaxed);
            grad.fill(F::zero());
        }
        if let Some(copy) = &mut span.average {
            isa::run(
                #[inline(always)]
                || {
                    for (c, &t) in copy[range].iter_mut().zip(&*theta) {
                        let (from, to) = if from_copy { (*c, t) } else { (t, *c) };
                        let moved = from + share * (to - from);
                        *c = F::select(moved.abs() < F::INFINITY, moved, t);
                    }
                },
            );
        }
    }
}

/// One parameter: its new value, what is left of the gradient (1 marks a value that was not finite), the new memory.
#[inline(always)]
fn one<R: Rule<S>, F: Float, const S: usize>(
    coef: &R::Coef<F>,
    a: &Cast<F>,
    theta: F,
    grad: F,
    old: [F; S],
) -> (F, F, [F; S], bool) {
    let g = (grad * a.scale).at_most(a.clip).at_least(-a.clip);
    // at_most and at_least pass over NaN; adding 0·g brings it back.
    let g = g + F::zero() * grad;
    let (u, new) = R::element(coef, theta, g + a.decay * theta, old);
    let next = theta * a.keep + u;
    let finite = new.iter().fold(next.abs() < F::INFINITY, |all, s| all & (s.abs() < F::INFINITY));
    let left = F::select(finite, F::zero(), F::one());
    let kept = std::array::from_fn(|k| F::select(finite, new[k], old[k]));
    (F::select(finite, next, theta), left, kept, finite)
}

/// One block. The loop is written out for each number of slots: one over an array of slices does not vectorise.
#[inline(always)]
fn run_block<R: Rule<S>, F: Float, const S: usize>(
    coef: &R::Coef<F>,
    a: &Cast<F>,
    theta: &mut [F],
    grad: &mut [F],
    state: &mut [&mut [F]; S],
) -> bool {
    let mut ok = true;
    macro_rules! zipped {
        ($($s:ident $k:literal),*) => {{
            let [$($s,)* ..] = &mut state[..] else { unreachable!("S slots") };
            let rows = theta.iter_mut().zip(grad.iter_mut())$(.zip($s.iter_mut()))*;
            for zipped!(@ (theta, grad) $($s)*) in rows {
                let held = [$(*$s),*];
                let (t, g, _new, finite) = one::<R, F, S>(coef, a, *theta, *grad, std::array::from_fn(|k| held[k]));
                *theta = t;
                *grad = g;
                $(*$s = _new[$k];)*
                ok &= finite;
            }
        }};
        (@ $inner:tt) => { $inner };
        (@ $inner:tt $s:ident $($rest:ident)*) => { zipped!(@ ($inner, $s) $($rest)*) };
    }
    match S {
        0 => {
            for (theta, grad) in theta.iter_mut().zip(grad.iter_mut()) {
                let (t, g, _, finite) =
                    one::<R, F, S>(coef, a, *theta, *grad, std::array::from_fn(|_| unreachable!("no slots")));
                *theta = t;
                *grad = g;
                ok &= finite;
            }
        }
        1 => zipped!(s0 0),
        2 => zipped!(s0 0, s1 1),
        3 => zipped!(s0 0, s1 1, s2 2),
        4 => zipped!(s0 0, s1 1, s2 2, s3 3),
        _ => unreachable!("a rule has at most four slots"),
    }
    ok
}

/// θ ← sign(θ)·max(|θ| − metric·l1, 0): the proximal step of l1·|θ| in the rule's own metric, where no mark was left.
#[inline(always)]
fn shrink<R: Rule<S>, F: Float, const S: usize>(
    coef: &R::Coef<F>,
    l1: F,
    theta: &mut [F],
    marks: &[F],
    state: &[&mut [F]; S],
) {
    for (i, (t, &mark)) in theta.iter_mut().zip(marks).enumerate() {
        let by = R::metric(coef, std::array::from_fn(|k| state[k][i])) * l1;
        let size = (t.abs() - by).at_least(F::zero());
        *t = F::select(F::zero() < mark, *t, F::select(*t < F::zero(), -size, size));
    }
}

/// ‖x‖₂ of all `parts` together, each number cut to ± `limit` first; not finite where a number is not.
///
/// Summed in fixed lanes and blocks of each part. Where squares leave the range of f64 the numbers are divided by the largest.
pub(crate) fn norm<F: Float>(parts: &[&[F]], limit: f64) -> f64 {
    let sum = |unit: f64| {
        let mut sum = 0.0;
        for block in parts.iter().flat_map(|part| part.chunks(BLOCK)) {
            sum += isa::run(
                #[inline(always)]
                || {
                    thalweg_core::math::sum_by(block, |x| {
                        let x = (if x.abs() > limit { limit } else { x }) * unit;
                        x * x
                    })
                },
            );
        }
        sum
    };
    let squares: f64 = sum(1.0);
    // Below 1e-270 squares may have lost digits that count.
    if squares.is_nan() || (squares > 1e-270 && squares < f64::INFINITY) {
        return squares.sqrt();
    }
    let largest = |top: f64, x: &F| top.max(x.to_f64().abs());
    let top = parts.iter().copied().flatten().fold(0.0, largest).min(limit);
    if top == 0.0 || top == f64::INFINITY {
        return top;
    }
    // A power of two: exact, and neither it nor its inverse overflows.
    let unit = libm::ldexp(1.0, (-libm::frexp(top).1).clamp(-1000, 1000));
    sum(unit).sqrt() / unit
}
