//! The one driver: runs any rule over any spans in one sweep, on all threads and instruction sets.
//!
//! For each parameter, in this order: the gradient's scale, clipping by value, coupled decay, the rule, decoupled decay
//! with the update, the proximal step, the averaged copy, the gradient to zero where that is asked for. A coordinate whose new
//! value or memory would not be finite keeps both, and is reported: a squared gradient that overflows would stop it for good.
//!
//! The sweep goes block by block: what is kept in a compressed format is decoded into scratch that stays in the first cache, the
//! rule's loop runs over plain slices, and the results are encoded again. Memory in 8 bits has a loop of its own where nothing but the rule
//! looks at it: [`crate::late`].

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use thalweg_core::{Float, StepError, Threads, isa};

use crate::block::{self, BLOCK, Cast, State};
use crate::dither::Dither;
use crate::format::{BLOCK8, View, decode_bf16, encode_bf16_nearest};
use crate::late::{self, Late};
use crate::norm::sum_of_squares;
use crate::rule::{Checked, Rule, When};
use crate::scratch::Scratch;

/// Numbers that are not worth a second thread.
pub(crate) const ALONE: usize = 1 << 15;

/// Numbers in a task of a thread, of so many in all: a multiple of [`BLOCK`]. Sums are joined task by task, so threads play no part in it.
pub(crate) fn task_len(total: usize) -> usize {
    let small = (total / 16).next_multiple_of(BLOCK).clamp(ALONE / 4, 1 << 16);
    // At the start of a task memory is not fetched ahead.
    let large = (total / 64).next_multiple_of(BLOCK).min(1 << 18);
    small.max(large)
}

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
    /// The update is multiplied by this when it is added: less than 1 for decay as a proximal step.
    pub moved: f64,
    /// Strength of |θ| in the objective, for the proximal step,
    pub l1: f64,
    /// and of θ²/2.
    pub l2: f64,
    /// The averaged copy moves by this share of its distance to the new θ. Where it is NaN it starts there.
    pub average: f64,
}

impl Around {
    /// Nothing but the rule.
    pub const NOTHING: Self = Self {
        scale: 1.0,
        clip: f64::INFINITY,
        decay: 0.0,
        keep: 1.0,
        moved: 1.0,
        l1: 0.0,
        l2: 0.0,
        average: 0.0,
    };
}

/// The gradient of a span.
#[derive(Debug)]
pub enum Gradient<'a, F> {
    /// Zeros afterwards.
    Clear(&'a mut [F]),
    /// Left as it is.
    Keep(&'a [F]),
    /// bf16, by bits; left as it is.
    KeepBf16(&'a [u16]),
}

impl<'a, F> Gradient<'a, F> {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Clear(g) => g.len(),
            Self::Keep(g) => g.len(),
            Self::KeepBf16(g) => g.len(),
        }
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn split(self, at: usize) -> (Self, Self) {
        match self {
            Self::Clear(g) => {
                let (a, b) = g.split_at_mut(at);
                (Self::Clear(a), Self::Clear(b))
            }
            Self::Keep(g) => {
                let (a, b) = g.split_at(at);
                (Self::Keep(a), Self::Keep(b))
            }
            Self::KeepBf16(g) => {
                let (a, b) = g.split_at(at);
                (Self::KeepBf16(a), Self::KeepBf16(b))
            }
        }
    }
    /// The same gradient for a shorter time.
    pub(crate) fn reborrow(&mut self) -> Gradient<'_, F> {
        match self {
            Self::Clear(g) => Gradient::Clear(g),
            Self::Keep(g) => Gradient::Keep(g),
            Self::KeepBf16(g) => Gradient::KeepBf16(g),
        }
    }
}

/// A stretch of parameters with its gradient and memory, all of one length.
#[derive(Debug)]
pub struct Span<'a, F, const S: usize> {
    /// The parameters.
    pub theta: View<'a, F>,
    /// The parameters in full precision, where `theta` is a rounded copy of them: bf16 with a master copy.
    pub master: Option<&'a mut [F]>,
    /// The gradient.
    pub grad: Gradient<'a, F>,
    /// The rule's memory.
    pub state: [View<'a, F>; S],
    /// The averaged copy of the parameters, if one is kept.
    pub average: Option<&'a mut [F]>,
    /// What surrounds the rule here.
    pub around: Around,
    /// The place of the first number among all parameters: rounding to compressed formats depends on it. A span of block8 memory
    /// starts a block of 256 of it.
    pub place: u64,
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Swept {
    /// The first coordinate (counted over the spans) whose new value or memory was not finite; every such coordinate kept its
    /// old ones.
    pub bad: Option<usize>,
    /// Σ g² of the gradients as they were given, if asked for.
    pub squares: f64,
}

/// How a sweep runs, besides its spans.
#[derive(Clone, Copy, Debug)]
pub struct Sweep<'a> {
    /// Who works on it.
    pub threads: &'a Threads,
    /// Seed of the rounding to compressed formats.
    pub seed: u64,
    /// The step, for the rounding.
    pub step: u64,
    /// Whether Σ g² is wanted.
    pub squares: bool,
}

impl Sweep<'_> {
    fn dither(&self, buffer: usize) -> Dither {
        Dither::new(self.seed, self.step, buffer)
    }
}

/// A task of a thread: where it starts among all parameters of the sweep, its stretch, and what it found.
struct Task<'a, F, const S: usize> {
    start: usize,
    span: Span<'a, F, S>,
    squares: f64,
}

/// One step of `rule` over all `spans`, with the coefficients of this step.
///
/// The result does not depend on how the parameters are cut into spans, nor on threads or instruction set (but for
/// [`Swept::squares`], a sum, which depends on the cut).
///
/// # Errors
/// [`StepError::Length`] names a slice whose length is not that of `theta`; nothing is written then.
pub fn sweep<R: Rule<S>, F: Float, const S: usize>(
    coef: &R::Coef<F>,
    spans: Vec<Span<'_, F, S>>,
    how: Sweep<'_>,
) -> Result<Swept, StepError> {
    for span in &spans {
        check_lengths::<R, F, S>(span)?;
    }
    let bad = AtomicUsize::new(usize::MAX);
    let total: usize = spans.iter().map(|s| s.theta.len()).sum();
    let mut start = 0;
    let mut squares = 0.0;
    let task_len = task_len(total);
    if total <= ALONE || how.threads.count() == 1 {
        for mut span in spans {
            loop {
                let (first, rest) = cut(span, task_len);
                let len = first.theta.len();
                let mut task = Task { start, span: first, squares: 0.0 };
                run_blocks::<R, F, S>(coef, &mut task, &bad, &how);
                squares += task.squares;
                start += len;
                match rest {
                    Some(rest) => span = rest,
                    None => break,
                }
            }
        }
    } else {
        let mut tasks = Vec::with_capacity(spans.iter().map(|s| s.theta.len().div_ceil(task_len)).sum());
        for mut span in spans {
            loop {
                let (first, rest) = cut(span, task_len);
                let len = first.theta.len();
                tasks.push(Mutex::new(Task { start, span: first, squares: 0.0 }));
                start += len;
                match rest {
                    Some(rest) => span = rest,
                    None => break,
                }
            }
        }
        how.threads.run(tasks.len(), |i| {
            // Each task is taken once: the lock never waits.
            let mut task = tasks[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            run_blocks::<R, F, S>(coef, &mut task, &bad, &how);
        });
        for task in tasks {
            squares += task.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).squares;
        }
    }
    let bad = bad.into_inner();
    Ok(Swept { bad: (bad != usize::MAX).then_some(bad), squares })
}

/// One step of `rule` over slices of one length: the simplest caller of the driver, for rules without scalars of their own.
///
/// `t` counts steps from 1, `lr` is the learning rate of this step. Returns the first coordinate whose new value or memory
/// was not finite; every such coordinate kept its old ones. For more (clipping, decay, averaging, threads, formats) see
/// [`sweep`] and [`crate::Plan`].
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
    let mut scalars: Vec<f64> = R::SCALARS.iter().map(|s| s.1).collect();
    let coef = R::cast::<F>(R::coef(&R::with(&rule.rule().values()), When { t: t as f64, lr }, &mut scalars));
    let span = Span {
        theta: View::Own(theta),
        master: None,
        grad: Gradient::Keep(grad),
        state: state.map(View::Own),
        average: None,
        around: Around::NOTHING,
        place: 0,
    };
    let threads = Threads::serial();
    let how = Sweep { threads: &threads, seed: 0, step: t, squares: false };
    Ok(sweep::<R, F, S>(&coef, vec![span], how)?.bad)
}

fn check_lengths<R: Rule<S>, F, const S: usize>(span: &Span<'_, F, S>) -> Result<(), StepError> {
    let expected = span.theta.len();
    let state = R::STATE.iter().zip(&span.state).map(|(slot, s)| (slot.name, s.len()));
    let average = span.average.as_ref().map(|a| ("the averaged copy", a.len()));
    let master = span.master.as_ref().map(|a| ("the master copy", a.len()));
    for (what, found) in
        [("the gradient", span.grad.len())].into_iter().chain(state).chain(average).chain(master)
    {
        if found != expected {
            return Err(StepError::Length { what, expected, found });
        }
    }
    for view in span.state.iter().chain([&span.theta]) {
        if let View::Block8 { codes, scales, .. } = view {
            let expected = codes.len().div_ceil(BLOCK8);
            if scales.len() != expected {
                return Err(StepError::Length {
                    what: "the scales of block8",
                    expected,
                    found: scales.len(),
                });
            }
        }
    }
    Ok(())
}

/// The first task of a span, and the rest if there is one.
fn cut<F, const S: usize>(span: Span<'_, F, S>, at: usize) -> (Span<'_, F, S>, Option<Span<'_, F, S>>) {
    if span.theta.len() <= at {
        return (span, None);
    }
    let (theta, theta_rest) = span.theta.split(at);
    let (grad, grad_rest) = span.grad.split(at);
    let mut rests = [const { None }; S];
    let mut nth = 0;
    let state = span.state.map(|s| {
        let (s, rest) = s.split(at);
        rests[nth] = Some(rest);
        nth += 1;
        s
    });
    let cut = |x: Option<_>| match x.map(|x: &mut [F]| x.split_at_mut(at)) {
        Some((a, b)) => (Some(a), Some(b)),
        None => (None, None),
    };
    let (average, average_rest) = cut(span.average);
    let (master, master_rest) = cut(span.master);
    let first = Span { theta, master, grad, state, average, around: span.around, place: span.place };
    let rest = Span {
        theta: theta_rest,
        master: master_rest,
        grad: grad_rest,
        state: rests.map(|rest| rest.expect("one rest for each slot")),
        average: average_rest,
        around: span.around,
        place: span.place + at as u64,
    };
    (first, Some(rest))
}

fn run_blocks<R: Rule<S>, F: Float, const S: usize>(
    coef: &R::Coef<F>,
    task: &mut Task<'_, F, S>,
    bad: &AtomicUsize,
    how: &Sweep<'_>,
) {
    let span = &mut task.span;
    let a = span.around;
    let cast = Cast::new(a);
    let (l1, l2) = (F::from_f64(a.l1), F::from_f64(a.l2));
    let len = span.theta.len();
    let mut theta_scratch = if span.master.is_some() { Scratch::None } else { Scratch::of(&span.theta) };
    let mut grad_scratch = matches!(span.grad, Gradient::KeepBf16(_)).then(|| Box::new([F::zero(); BLOCK]));
    let proximal = a.l1 > 0.0 || a.l2 > 0.0;
    let mut moved = if proximal { vec![F::one(); BLOCK] } else { vec![] };
    // The proximal step asks for the new memory once more. One block alone would have none to be encoded beside it.
    let late = !proximal && len >= BLOCK && late::can::<R, F, S>(&cast, &span.state);
    let all = late && len.is_multiple_of(BLOCK);
    let mut state_scratch =
        span.state.each_ref().map(|view| if all { Scratch::None } else { Scratch::of(view) });
    let mut late = late.then(|| Box::new(Late::<F, S>::new()));
    let block = match (&theta_scratch, &grad_scratch) {
        (Scratch::None, None) if late.is_some() => late::WIDE,
        _ => BLOCK,
    };
    let theta_dither = how.dither(0);
    let dither: [Dither; S] = std::array::from_fn(|k| how.dither(1 + k));
    isa::run(
        #[inline(always)]
        || {
            let mut from = 0;
            while from < len {
                let mut range = from..(from + block).min(len);
                // Less than a block is at the end.
                let mut late = late.as_mut().filter(|_| range.len() >= BLOCK);
                if late.is_some() {
                    range.end -= range.len() % BLOCK;
                }
                let place = span.place + from as u64;
                let theta: &mut [F] = match &mut span.master {
                    Some(master) => &mut master[range.clone()],
                    None => {
                        theta_scratch.decode(&span.theta, &range);
                        theta_scratch.numbers(&mut span.theta, &range)
                    }
                };
                let grad: &[F] = match (&span.grad, &mut grad_scratch) {
                    (Gradient::Clear(g), _) => &g[range.clone()],
                    (Gradient::Keep(g), _) => &g[range.clone()],
                    (Gradient::KeepBf16(g), Some(to)) => {
                        let to = &mut to[..range.len()];
                        decode_bf16(&g[range.clone()], to);
                        to
                    }
                    _ => unreachable!("a bf16 gradient has scratch"),
                };
                let first = if let Some(late) = &mut late {
                    let dither = dither.map(|dither| dither.at(place));
                    late.run::<R>(coef, &cast, theta, grad, (&mut span.state, from), dither)
                } else {
                    // In a loop of its own: a closure of `map` would not be compiled for the instruction set.
                    for (view, scratch) in span.state.iter().zip(&mut state_scratch) {
                        scratch.decode(view, &range);
                    }
                    moved.fill(F::one());
                    let state = State { views: &mut span.state, scratch: &mut state_scratch, range: &range };
                    block::run::<R, F, S>(coef, &cast, theta, grad, state, &mut moved)
                };
                if let Some(first) = first {
                    bad.fetch_min(task.start + from + first, Ordering::Relaxed);
                }
                if proximal {
                    let state = State { views: &mut span.state, scratch: &mut state_scratch, range: &range };
                    block::shrink::<R, F, S>(coef, (l1, l2), theta, &moved[..range.len()], state);
                }
                // The gradient is in the first cache now: read before the step, its misses would not overlap with those of the rest.
                if how.squares {
                    for block in grad.chunks(BLOCK) {
                        task.squares += sum_of_squares(block);
                    }
                }
                if let Some(copy) = &mut span.average {
                    block::average(&mut copy[range.clone()], theta, a.average);
                }
                if let Gradient::Clear(g) = &mut span.grad {
                    g[range.clone()].fill(F::zero());
                }
                if late.is_none() {
                    for ((view, scratch), dither) in span.state.iter_mut().zip(&mut state_scratch).zip(dither)
                    {
                        scratch.encode(view, &range, dither.at(place));
                    }
                }
                match (&span.master, &mut span.theta) {
                    (Some(master), View::Bf16(copy)) => {
                        encode_bf16_nearest(&master[range.clone()], &mut copy[range.clone()]);
                    }
                    (Some(master), View::Own(copy)) => {
                        copy[range.clone()].copy_from_slice(&master[range.clone()])
                    }
                    (_, view) => theta_scratch.encode(view, &range, theta_dither.at(place)),
                }
                from = range.end;
            }
            if let Some(late) = late {
                late.finish(&mut span.state);
            }
        },
    );
}
