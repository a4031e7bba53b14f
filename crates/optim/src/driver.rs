//! The one driver: runs any rule over any spans in one sweep, on all threads and instruction sets.
//!
//! For each parameter, in this order: the gradient's scale, clipping by value, coupled decay, the rule, decoupled decay
//! with the update, the proximal step, the averaged copy, the gradient to zero where that is asked for. A coordinate whose new
//! value or memory would not be finite keeps both, and is reported: a squared gradient that overflows would stop it for good.
//!
//! The sweep goes block by block: what is kept in a compressed format is decoded into scratch that stays in the first cache, the
//! rule's loop runs over plain slices, and the results are encoded again.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use thalweg_core::{Float, StepError, Threads, isa};

use crate::arithmetic::{added, coupled, limited, proximal};
use crate::format::{
    BLOCK8, Dice, View, decode_bf16, decode_block8, encode_bf16, encode_bf16_nearest, encode_block8,
};
use crate::rule::{Checked, Rule, When};

/// Numbers in a block that stays in the first cache through the passes over it.
pub(crate) const BLOCK: usize = 512;
const _: () = assert!(BLOCK.is_multiple_of(BLOCK8));
/// Numbers that are not worth a second thread.
pub(crate) const ALONE: usize = 1 << 15;

/// Numbers in a task of a thread, of so many in all: a multiple of [`BLOCK`]. Sums are joined task by task, so threads play no part in it.
pub(crate) fn task_len(total: usize) -> usize {
    (total / 16).next_multiple_of(BLOCK).clamp(ALONE / 4, 1 << 16)
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
    fn dice(&self, buffer: usize) -> Dice {
        Dice::new(self.seed, self.step, buffer as u64)
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

/// [`Around`] in the parameters' own type.
#[derive(Clone, Copy)]
struct Cast<F> {
    scale: F,
    clip: F,
    decay: F,
    keep: F,
    moved: F,
    /// 1, which the compiler does not know. A value that is kept is multiplied by it: a plain choice between the new value and the
    /// one in memory would become a masked store, which took four times as long under AVX2.
    one: F,
}

/// Scratch of one block of one buffer: where its format is not the computation's own.
struct Scratch<F>([F; BLOCK]);

fn scratch<F: Float>(view: &View<'_, F>) -> Option<Box<Scratch<F>>> {
    (!matches!(view, View::Own(_))).then(|| Box::new(Scratch([F::zero(); BLOCK])))
}

/// The numbers of a block: where they are, or decoded into scratch.
#[inline(always)]
fn open<'b, F: Float>(
    view: &'b mut View<'_, F>,
    range: &std::ops::Range<usize>,
    scratch: &'b mut Option<Box<Scratch<F>>>,
) -> &'b mut [F] {
    let to = scratch.as_mut().map(|s| &mut s.0[..range.len()]);
    match (view, to) {
        (View::Own(x), _) => &mut x[range.clone()],
        (View::Bf16(x), Some(to)) => {
            decode_bf16(&x[range.clone()], to);
            to
        }
        (View::Block8 { codes, scales, sign }, Some(to)) => {
            decode_block8(&codes[range.clone()], &scales[range.start / BLOCK8..], *sign, to);
            to
        }
        _ => unreachable!("a compressed view has scratch"),
    }
}

/// Writes scratch back in the view's format.
#[inline(always)]
fn close<F: Float>(
    view: &mut View<'_, F>,
    range: &std::ops::Range<usize>,
    scratch: &Option<Box<Scratch<F>>>,
    dice: Dice,
    place: u64,
) {
    let Some(from) = scratch.as_ref().map(|s| &s.0[..range.len()]) else { return };
    match view {
        View::Own(_) => {}
        View::Bf16(x) => encode_bf16(from, &mut x[range.clone()], dice, place),
        View::Block8 { codes, scales, sign } => {
            let blocks = range.start / BLOCK8..range.end.div_ceil(BLOCK8);
            encode_block8(from, &mut codes[range.clone()], &mut scales[blocks], *sign, dice, place);
        }
    }
}

fn run_blocks<R: Rule<S>, F: Float, const S: usize>(
    coef: &R::Coef<F>,
    task: &mut Task<'_, F, S>,
    bad: &AtomicUsize,
    how: &Sweep<'_>,
) {
    let span = &mut task.span;
    let a = span.around;
    let cast = Cast {
        scale: F::from_f64(a.scale),
        clip: F::from_f64(a.clip),
        decay: F::from_f64(a.decay),
        keep: F::from_f64(a.keep),
        moved: F::from_f64(a.moved),
        one: F::from_f64(std::hint::black_box(1.0)),
    };
    let (l1, l2) = (F::from_f64(a.l1), F::from_f64(a.l2));
    let len = span.theta.len();
    // Nothing cuts or decays the gradient: the usual case, and a shorter loop.
    let plain = a.clip == f64::INFINITY && a.decay == 0.0;
    let mut theta_scratch = if span.master.is_some() { None } else { scratch(&span.theta) };
    let mut grad_scratch =
        matches!(span.grad, Gradient::KeepBf16(_)).then(|| Box::new(Scratch([F::zero(); BLOCK])));
    let mut state_scratch = span.state.each_ref().map(scratch);
    let mut moved = [F::zero(); BLOCK];
    let mut before = [[F::zero(); BLOCK]; 1 + SLOTS];
    let theta_dice = how.dice(0);
    let dice: [Dice; S] = std::array::from_fn(|k| how.dice(k + 1));
    isa::run(
        #[inline(always)]
        || {
            for from in (0..len).step_by(BLOCK) {
                let range = from..(from + BLOCK).min(len);
                let place = span.place + from as u64;
                let mut own_theta;
                let theta: &mut [F] = match &mut span.master {
                    Some(master) => &mut master[range.clone()],
                    None => {
                        own_theta = span.theta.reborrow();
                        open(&mut own_theta, &range, &mut theta_scratch)
                    }
                };
                let grad: &[F] = match (&span.grad, &mut grad_scratch) {
                    (Gradient::Clear(g), _) => &g[range.clone()],
                    (Gradient::Keep(g), _) => &g[range.clone()],
                    (Gradient::KeepBf16(g), Some(to)) => {
                        let to = &mut to.0[..range.len()];
                        decode_bf16(&g[range.clone()], to);
                        to
                    }
                    _ => unreachable!("a bf16 gradient has scratch"),
                };
                let mut rooms = state_scratch.iter_mut();
                let mut state: [&mut [F]; S] = span
                    .state
                    .each_mut()
                    .map(|view| open(view, &range, rooms.next().expect("one for each slot")));
                let moved = &mut moved[..range.len()];
                // Where a number of the block is not finite it goes back, and the careful loop finds which.
                let done = plain && run_plain::<R, F, S>(coef, &cast, theta, grad, &mut state, &mut before);
                let proximal = a.l1 > 0.0 || a.l2 > 0.0;
                if done && proximal {
                    moved.fill(F::one());
                }
                if !done && !run_block::<R, F, S>(coef, &cast, theta, grad, &mut state, moved) {
                    let first = moved.iter().position(|&m| m == F::zero()).unwrap_or(0);
                    bad.fetch_min(task.start + from + first, Ordering::Relaxed);
                }
                if proximal {
                    shrink::<R, F, S>(coef, (l1, l2), theta, moved, &state);
                }
                // The gradient is in the first cache now: read before the step, its misses would not overlap with those of the rest.
                if how.squares {
                    task.squares += sum_of_squares(grad);
                }
                if let Some(copy) = &mut span.average {
                    average(&mut copy[range.clone()], theta, a.average);
                }
                if let Gradient::Clear(g) = &mut span.grad {
                    g[range.clone()].fill(F::zero());
                }
                for (k, room) in state_scratch.iter().enumerate() {
                    close(&mut span.state[k], &range, room, dice[k], place);
                }
                match (&span.master, &mut span.theta) {
                    (Some(master), View::Bf16(copy)) => {
                        encode_bf16_nearest(&master[range.clone()], &mut copy[range.clone()]);
                    }
                    (Some(master), View::Own(copy)) => {
                        copy[range.clone()].copy_from_slice(&master[range.clone()])
                    }
                    (_, view) => close(view, &range, &theta_scratch, theta_dice, place),
                }
            }
        },
    );
}

/// The most slots of a rule.
const SLOTS: usize = 4;

/// One block whose gradient is neither cut nor decayed; `before` takes what was there. False where a new number is not finite: everything
/// is as it was then.
#[inline(always)]
fn run_plain<R: Rule<S>, F: Float, const S: usize>(
    coef: &R::Coef<F>,
    a: &Cast<F>,
    theta: &mut [F],
    grad: &[F],
    state: &mut [&mut [F]; S],
    before: &mut [[F; BLOCK]; 1 + SLOTS],
) -> bool {
    let n = theta.len();
    let [old_theta, old @ ..] = before;
    let old_theta = &mut old_theta[..n];
    macro_rules! rows {
        ($rows:ident: $($s:ident $o:ident),*) => {{
            let [$($s,)* ..] = &mut state[..] else { unreachable!("S slots") };
            let [$($o,)* ..] = &mut *old;
            $rows::<R, F, S>(coef, a, theta, grad, old_theta $(, $s, &mut $o[..n])*)
        }};
    }
    let top = match S {
        0 => plain0::<R, F, S>(coef, a, theta, grad, old_theta),
        1 => rows!(plain1: s0 o0),
        2 => rows!(plain2: s0 o0, s1 o1),
        3 => rows!(plain3: s0 o0, s1 o1, s2 o2),
        4 => rows!(plain4: s0 o0, s1 o1, s2 o2, s3 o3),
        _ => unreachable!("a rule has at most four slots"),
    };
    let sound = top < F::INFINITY.size_bits();
    if !sound {
        theta.copy_from_slice(old_theta);
        state.iter_mut().zip(old).for_each(|(s, old)| s.copy_from_slice(&old[..n]));
    }
    sound
}

/// The loop of [`run_plain`], written out for each number of slots: functions of slices, so that the compiler knows that they do not
/// overlap. What comes back is the largest number met, by its bits.
macro_rules! plain {
    ($name:ident: $($s:ident $o:ident $k:literal),*) => {
        #[inline(always)]
        #[allow(clippy::too_many_arguments, reason = "a slice for each buffer")]
        fn $name<R: Rule<S>, F: Float, const S: usize>(
            coef: &R::Coef<F>,
            a: &Cast<F>,
            theta: &mut [F],
            grad: &[F],
            old_theta: &mut [F],
            $($s: &mut [F], $o: &mut [F],)*
        ) -> F::SizeBits {
            let mut top = F::SizeBits::default();
            let rows = theta.iter_mut().zip(grad).zip(old_theta)$(.zip($s.iter_mut().zip($o)))*;
            for plain!(@ ((theta, grad), old_theta) $(($s, $o))*) in rows {
                let held: [F; _] = [$(*$s),*];
                *old_theta = *theta;
                $(*$o = *$s;)*
                let g = *grad * a.scale;
                let (u, _new) = R::element(coef, *theta, g, std::array::from_fn(|k| held[k]));
                let next = added(*theta, u, a.keep, a.moved);
                *theta = next;
                $(*$s = _new[$k];)*
                // Signs of what is not finite would be finite: g counts too.
                let sizes = [next.size_bits(), g.size_bits() $(, _new[$k].size_bits())*];
                for size in sizes {
                    top = if top < size { size } else { top };
                }
            }
            top
        }
    };
    (@ $inner:tt) => { $inner };
    (@ $inner:tt $s:tt $($rest:tt)*) => { plain!(@ ($inner, $s) $($rest)*) };
}
plain!(plain0:);
plain!(plain1: s0 o0 0);
plain!(plain2: s0 o0 0, s1 o1 1);
plain!(plain3: s0 o0 0, s1 o1 1, s2 o2 2);
plain!(plain4: s0 o0 0, s1 o1 1, s2 o2 2, s3 o3 3);

/// One parameter: its new value, the new memory, and whether all of it is finite.
#[inline(always)]
fn one<R: Rule<S>, F: Float, const S: usize>(
    coef: &R::Coef<F>,
    a: &Cast<F>,
    theta: F,
    grad: F,
    old: [F; S],
) -> (F, [F; S], bool) {
    let g = limited(grad, a.scale, a.clip);
    let (u, new) = R::element(coef, theta, coupled(g, a.decay, theta), old);
    let next = added(theta, u, a.keep, a.moved);
    // Signs of what is not finite would be finite: g counts too.
    let sound = (next.abs() < F::INFINITY) & (g.abs() < F::INFINITY);
    let finite = new.iter().fold(sound, |all, s| all & (s.abs() < F::INFINITY));
    let kept = std::array::from_fn(|k| F::select(finite, new[k], old[k]));
    (F::select(finite, next, theta * a.one), kept, finite)
}

/// One block; `moved` becomes 1 for coordinates that took their step and 0 for those that kept their values. The loop is written out
/// for each number of slots: one over an array of slices does not vectorise.
#[inline(always)]
fn run_block<R: Rule<S>, F: Float, const S: usize>(
    coef: &R::Coef<F>,
    a: &Cast<F>,
    theta: &mut [F],
    grad: &[F],
    state: &mut [&mut [F]; S],
    moved: &mut [F],
) -> bool {
    let mut ok = true;
    macro_rules! zipped {
        ($($s:ident $k:literal),*) => {{
            let [$($s,)* ..] = &mut state[..] else { unreachable!("S slots") };
            let rows = theta.iter_mut().zip(grad).zip(moved)$(.zip($s.iter_mut()))*;
            for zipped!(@ ((theta, grad), moved) $($s)*) in rows {
                let held = [$(*$s),*];
                let (t, _new, finite) = one::<R, F, S>(coef, a, *theta, *grad, std::array::from_fn(|k| held[k]));
                *theta = t;
                $(*$s = _new[$k];)*
                *moved = F::select(finite, F::one(), F::zero());
                ok &= finite;
            }
        }};
        (@ $inner:tt) => { $inner };
        (@ $inner:tt $s:ident $($rest:ident)*) => { zipped!(@ ($inner, $s) $($rest)*) };
    }
    match S {
        0 => {
            for ((theta, grad), moved) in theta.iter_mut().zip(grad).zip(moved) {
                let (t, _, finite) =
                    one::<R, F, S>(coef, a, *theta, *grad, std::array::from_fn(|_| unreachable!("no slots")));
                *theta = t;
                *moved = F::select(finite, F::one(), F::zero());
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

/// θ ← sign(θ)·max(|θ| − metric·l1, 0)/(1 + metric·l2): the proximal step of l1·|θ| + l2/2·θ² in the rule's own metric, where
/// `moved` is not 0.
#[inline(always)]
fn shrink<R: Rule<S>, F: Float, const S: usize>(
    coef: &R::Coef<F>,
    by: (F, F),
    theta: &mut [F],
    moved: &[F],
    state: &[&mut [F]; S],
) {
    macro_rules! zipped {
        ($($s:ident $k:literal),*) => {{
            let [$($s,)* ..] = &state[..] else { unreachable!("S slots") };
            let rows = theta.iter_mut().zip(moved)$(.zip($s.iter()))*;
            for zipped!(@ (theta, moved) $($s)*) in rows {
                let held: [F; _] = [$(*$s),*];
                *theta = shrunk(*theta, R::metric(coef, std::array::from_fn(|k| held[k])), by, *moved);
            }
        }};
        (@ $inner:tt) => { $inner };
        (@ $inner:tt $s:ident $($rest:ident)*) => { zipped!(@ ($inner, $s) $($rest)*) };
    }
    match S {
        0 => {
            let metric = R::metric(coef, std::array::from_fn(|_| unreachable!("no slots")));
            theta.iter_mut().zip(moved).for_each(|(t, &moved)| *t = shrunk(*t, metric, by, moved));
        }
        1 => zipped!(s0 0),
        2 => zipped!(s0 0, s1 1),
        3 => zipped!(s0 0, s1 1, s2 2),
        4 => zipped!(s0 0, s1 1, s2 2, s3 3),
        _ => unreachable!("a rule has at most four slots"),
    }
}

#[inline(always)]
fn shrunk<F: Float>(theta: F, metric: F, (l1, l2): (F, F), moved: F) -> F {
    F::select(F::zero().lt(moved), proximal(theta, metric, l1, l2), theta)
}

/// Moves an averaged copy by `share` of its distance to θ; where it is NaN it starts there.
#[inline(always)]
pub(crate) fn average<F: Float>(copy: &mut [F], theta: &[F], share: f64) {
    // From the nearer end, so that what cancels is small: a share of 1 gives θ itself, and equal numbers stay equal.
    let from_copy = share < 0.5;
    let share = F::from_f64(if from_copy { share } else { 1.0 - share });
    for (c, &t) in copy.iter_mut().zip(theta) {
        let (from, to) = if from_copy { (*c, t) } else { (t, *c) };
        let moved = from + share * (to - from);
        *c = F::select(moved.abs() < F::INFINITY, moved, t);
    }
}

/// Σ x² of a block, in f64: halves are added to each other until eight numbers are left.
#[inline(always)]
fn sum_of_squares<F: Float>(block: &[F]) -> f64 {
    let square = |x: &F| x.to_f64() * x.to_f64();
    if block.len() == BLOCK {
        // The first two halvings at once: a quarter of the sums need a place.
        let mut sums = [0.0; BLOCK / 4];
        let (low, high) = block.split_at(BLOCK / 2);
        let (low, high) = (low.split_at(BLOCK / 4), high.split_at(BLOCK / 4));
        let numbers = low.0.iter().zip(high.0).zip(low.1.iter().zip(high.1));
        for (sum, ((a, c), (b, d))) in sums.iter_mut().zip(numbers) {
            *sum = (square(a) + square(c)) + (square(b) + square(d));
        }
        return by_halves(sums);
    }
    let mut sums = [0.0; BLOCK];
    sums.iter_mut().zip(block).for_each(|(sum, x)| *sum = square(x));
    by_halves(sums)
}

/// Σ of a block, as [`sum_of_squares`] adds it up.
#[inline(always)]
pub(crate) fn by_halves<const N: usize>(mut sums: [f64; N]) -> f64 {
    let mut half = N / 2;
    while half >= 8 {
        let (low, high) = sums.split_at_mut(half);
        for (low, high) in low.iter_mut().zip(&high[..half]) {
            *low += *high;
        }
        half /= 2;
    }
    sums[..8].iter().sum()
}

/// Σ x² of all parts together, each number cut to ± `limit` first and multiplied by `unit`: blocks are added within a task,
/// tasks in order.
fn squares<F: Float>(parts: &[&[F]], limit: f64, unit: f64, threads: &Threads) -> f64 {
    let total: usize = parts.iter().map(|p| p.len()).sum();
    let tasks = || parts.iter().flat_map(|part| part.chunks(task_len(total)));
    let one = |task: &[F]| {
        let mut sum = 0.0;
        for block in task.chunks(BLOCK) {
            sum += isa::run(
                #[inline(always)]
                || {
                    if limit == f64::INFINITY && unit == 1.0 {
                        sum_of_squares(block)
                    } else {
                        thalweg_core::math::sum_by(block, |x| {
                            let x = (if x.abs() > limit { limit } else { x }) * unit;
                            x * x
                        })
                    }
                },
            );
        }
        sum
    };
    if total <= ALONE || threads.count() == 1 {
        return tasks().map(one).sum();
    }
    let mut sums = Vec::with_capacity(parts.iter().map(|p| p.len().div_ceil(task_len(total))).sum());
    sums.extend(tasks().map(|task| (task, Mutex::new(0.0))));
    threads.run(sums.len(), |i| {
        let (task, sum) = &sums[i];
        *sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = one(task);
    });
    sums.into_iter().map(|(_, s)| s.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)).sum()
}

/// ‖x‖₂ of all `parts` together, each number cut to ± `limit` first; not finite where a number is not.
///
/// Summed in fixed lanes and blocks of each part, the same on any number of threads. Where squares leave the range of f64 the
/// numbers are divided by the largest.
pub fn norm<F: Float>(parts: &[&[F]], limit: f64, threads: &Threads) -> f64 {
    from_squares(parts, limit, squares(parts, limit, 1.0, threads), threads)
}

/// [`norm`] where the plain sum of squares is known.
pub(crate) fn from_squares<F: Float>(parts: &[&[F]], limit: f64, sum: f64, threads: &Threads) -> f64 {
    // Below 1e-270 squares may have lost digits that count.
    if sum.is_nan() || (sum > 1e-270 && sum < f64::INFINITY) {
        return sum.sqrt();
    }
    let largest = |top: f64, x: &F| top.max(x.to_f64().abs());
    let top = parts.iter().copied().flatten().fold(0.0, largest).min(limit);
    if top == 0.0 || top == f64::INFINITY {
        return top;
    }
    // A power of two: exact, and neither it nor its inverse overflows.
    let unit = libm::ldexp(1.0, (-libm::frexp(top).1).clamp(-1000, 1000));
    squares(parts, limit, unit, threads).sqrt() / unit
}
