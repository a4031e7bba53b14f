//! The loops over one block: the rule with what surrounds it, line by line of the cache.
//!
//! The new values of a line stay in registers until all of them are known to be finite; where one is not, the line is done again number by
//! number. Memory is fetched ahead of the loop: roots and quotients fill the machine's window of instructions, so that by itself it would not
//! look far enough.

use std::ops::Range;

use thalweg_core::{Float, isa};

use crate::arithmetic::{added, coupled, limited, proximal};
use crate::driver::Around;
use crate::format::{BLOCK8, View};
use crate::rule::Rule;
use crate::scratch::Scratch;

const LINE: usize = isa::LINE;

/// [`Around`] in the parameters' own type.
#[derive(Clone, Copy)]
pub(crate) struct Cast<F> {
    scale: F,
    clip: F,
    decay: F,
    pub keep: F,
    pub moved: F,
    /// Nothing cuts or decays the gradient: the usual case, and a shorter loop.
    pub bare: bool,
}

impl<F: Float> Cast<F> {
    pub fn new(a: Around) -> Self {
        Self {
            scale: F::from_f64(a.scale),
            clip: F::from_f64(a.clip),
            decay: F::from_f64(a.decay),
            keep: F::from_f64(a.keep),
            moved: F::from_f64(a.moved),
            bare: a.clip == f64::INFINITY && a.decay == 0.0,
        }
    }

    /// The gradient as the rule sees it, and as it was before decay: signs of what is not finite would be finite.
    #[inline(always)]
    pub fn gradient(&self, bare: bool, grad: F, theta: F) -> (F, F) {
        let g = if bare { grad * self.scale } else { limited(grad, self.scale, self.clip) };
        (if bare { g } else { coupled(g, self.decay, theta) }, g)
    }
}

/// Numbers in a block that stays in the first cache through the passes over it.
pub(crate) const BLOCK: usize = 512;
const _: () = assert!(BLOCK.is_multiple_of(BLOCK8));

/// A rule's memory in the block at `range`.
pub(crate) struct State<'a, 'v, F, const S: usize> {
    pub views: &'a mut [View<'v, F>; S],
    pub scratch: &'a mut [Scratch<F>; S],
    pub range: &'a Range<usize>,
}

/// One block. Coordinates whose new value or memory is not finite keep what they have: `moved`, if it is not empty, becomes 0 there, and the
/// first comes back.
#[inline(always)]
pub(crate) fn run<R: Rule<S>, F: Float, const S: usize>(
    coef: &R::Coef<F>,
    a: &Cast<F>,
    theta: &mut [F],
    grad: &[F],
    state: State<'_, '_, F, S>,
    moved: &mut [F],
) -> Option<usize> {
    if a.bare {
        by_slots::<R, F, S, true>(coef, a, theta, grad, state, moved)
    } else {
        by_slots::<R, F, S, false>(coef, a, theta, grad, state, moved)
    }
}

#[inline(always)]
fn by_slots<R: Rule<S>, F: Float, const S: usize, const BARE: bool>(
    coef: &R::Coef<F>,
    a: &Cast<F>,
    theta: &mut [F],
    grad: &[F],
    state: State<'_, '_, F, S>,
    moved: &mut [F],
) -> Option<usize> {
    let State { views, scratch, range } = state;
    macro_rules! slots {
        ($lines:ident: $($s:ident $t:ident)*) => {{
            let [$($s,)* ..] = &mut views[..] else { unreachable!("S slots") };
            let [$($t,)* ..] = &mut scratch[..] else { unreachable!("S slots") };
            $lines::<R, F, S, BARE>(coef, a, theta, grad, $($t.numbers($s, range),)* moved)
        }};
    }
    match S {
        0 => lines0::<R, F, S, BARE>(coef, a, theta, grad, moved),
        1 => slots!(lines1: s0 t0),
        2 => slots!(lines2: s0 t0 s1 t1),
        3 => slots!(lines3: s0 t0 s1 t1 s2 t2),
        4 => slots!(lines4: s0 t0 s1 t1 s2 t2 s3 t3),
        _ => unreachable!("a rule has at most four slots"),
    }
}

/// The loop of [`run`], written out for each number of slots: functions of slices, so that the compiler knows that they do not overlap.
macro_rules! lines {
    ($name:ident $step:ident: $($s:ident $new:ident $pad:ident $k:literal),*) => {
        #[inline(always)]
        #[allow(clippy::too_many_arguments, reason = "a slice for each buffer")]
        fn $name<R: Rule<S>, F: Float, const S: usize, const BARE: bool>(
            coef: &R::Coef<F>,
            a: &Cast<F>,
            theta: &mut [F],
            grad: &[F],
            $($s: &mut [F],)*
            moved: &mut [F],
        ) -> Option<usize> {
            let (named, around) = (coef, a);
            // Copies that nothing else sees, for registers.
            let (coef, a) = (*coef, *a);
            let mut first = None;
            let whole = theta.len() - theta.len() % LINE;
            let rest = theta.len() - whole;
            // The last numbers go through the same loop, as a line that repeats the last of them.
            let (mut pad_theta, mut pad_grad) = (Aligned([F::zero(); LINE]), Aligned([F::zero(); LINE]));
            $(let mut $pad = [F::zero(); LINE];)*
            for last in [false, true] {
                if last && rest == 0 {
                    break;
                }
                let start = if last { whole } else { 0 };
                if last {
                    pad_theta.0 = padded(&theta[whole..]);
                    pad_grad.0 = padded(&grad[whole..]);
                    $($pad = padded(&$s[whole..]);)*
                }
                let rows_theta = if last { &mut pad_theta.0[..] } else { &mut theta[..whole] };
                let rows_grad = if last { &pad_grad.0[..] } else { &grad[..whole] };
                let pairs = rows_theta.as_chunks_mut::<LINE>().0.iter_mut().zip(rows_grad.as_chunks::<LINE>().0);
                $(let $s = if last { &mut $pad[..] } else { &mut $s[..whole] };)*
                let rows = pairs$(.zip($s.as_chunks_mut::<LINE>().0))*;
                for (nth, lines!(@ (theta, grad) $($s)*)) in rows.enumerate() {
                    isa::fetch_ahead(theta);
                    isa::fetch_ahead(grad);
                    $(isa::fetch_ahead($s);)*
                    let mut next = [F::zero(); LINE];
                    $(let mut $new = [F::zero(); LINE];)*
                    // By value: behind references the compiler would look for overlap at each line.
                    let sound = $step::<R, F, S, BARE>(&coef, &a, &{ *theta }, &{ *grad }, &mut next, $(&{ *$s }, &mut $new),*);
                    if sound {
                        *theta = next;
                        $(*$s = $new;)*
                        continue;
                    }
                    let from = start + nth * LINE;
                    let slots: [&mut [F]; _] = [$($s),*];
                    let mut slots = slots.into_iter();
                    let slots = std::array::from_fn(|_| slots.next().expect("a line for each slot"));
                    let bad = carefully::<R, F, S>(named, around, theta, grad, slots, moved.get_mut(from..from + LINE).unwrap_or_default());
                    first = first.or(bad.map(|i| from + i));
                }
            }
            if rest > 0 {
                theta[whole..].copy_from_slice(&pad_theta.0[..rest]);
                $($s[whole..].copy_from_slice(&$pad[..rest]);)*
            }
            first
        }

        /// One line: its new values, and whether all are finite.
        #[inline(always)]
        #[allow(clippy::too_many_arguments, reason = "two arrays for each buffer")]
        fn $step<R: Rule<S>, F: Float, const S: usize, const BARE: bool>(
            coef: &R::Coef<F>,
            a: &Cast<F>,
            theta: &[F; LINE],
            grad: &[F; LINE],
            next: &mut [F; LINE],
            $($s: &[F; LINE], $new: &mut [F; LINE],)*
        ) -> bool {
            let mut sound = true;
            for i in 0..LINE {
                let (g, size) = a.gradient(BARE, grad[i], theta[i]);
                let held: [F; _] = [$($s[i]),*];
                let (u, _now) = R::element(coef, theta[i], g, std::array::from_fn(|k| held[k]));
                next[i] = added(theta[i], u, a.keep, a.moved);
                $($new[i] = _now[$k];)*
                // The largest number met, by its bits.
                let mut top = next[i].size_bits();
                for size in [size.size_bits() $(, $new[i].size_bits())*] {
                    top = if top < size { size } else { top };
                }
                sound &= top < F::INFINITY.size_bits();
            }
            sound
        }
    };
    (@ $inner:tt) => { $inner };
    (@ $inner:tt $s:tt $($rest:tt)*) => { lines!(@ ($inner, $s) $($rest)*) };
}
lines!(lines0 line0:);
lines!(lines1 line1: s0 n0 p0 0);
lines!(lines2 line2: s0 n0 p0 0, s1 n1 p1 1);
lines!(lines3 line3: s0 n0 p0 0, s1 n1 p1 1, s2 n2 p2 2);
lines!(lines4 line4: s0 n0 p0 0, s1 n1 p1 1, s2 n2 p2 2, s3 n3 p3 3);

/// On lines of the cache. One such variable in a function lets the compiler put there what it has no registers for, too: else reading it would
/// touch two lines.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Aligned<T>(pub T);

/// A line of these numbers, the last one repeated.
#[cold]
#[inline(never)]
fn padded<T: Copy>(x: &[T]) -> [T; LINE] {
    std::array::from_fn(|i| x[i.min(x.len() - 1)])
}

/// Number by number: one whose new value or memory is not finite keeps what it had.
#[cold]
#[inline(never)]
pub(crate) fn carefully<R: Rule<S>, F: Float, const S: usize>(
    coef: &R::Coef<F>,
    a: &Cast<F>,
    theta: &mut [F],
    grad: &[F],
    mut state: [&mut [F]; S],
    moved: &mut [F],
) -> Option<usize> {
    let mut first = None;
    for i in 0..theta.len() {
        let (g, size) = a.gradient(a.bare, grad[i], theta[i]);
        let (u, new) = R::element(coef, theta[i], g, std::array::from_fn(|k| state[k][i]));
        let next = added(theta[i], u, a.keep, a.moved);
        if [next, size].iter().chain(&new).all(|x| x.is_finite()) {
            theta[i] = next;
            state.iter_mut().zip(new).for_each(|(s, new)| s[i] = new);
        } else {
            moved.get_mut(i).into_iter().for_each(|moved| *moved = F::zero());
            first.get_or_insert(i);
        }
    }
    first
}

/// θ ← sign(θ)·max(|θ| − metric·l1, 0)/(1 + metric·l2): the proximal step of l1·|θ| + l2/2·θ² in the rule's own metric, where
/// `moved` is not 0.
#[inline(always)]
pub(crate) fn shrink<R: Rule<S>, F: Float, const S: usize>(
    coef: &R::Coef<F>,
    by: (F, F),
    theta: &mut [F],
    moved: &[F],
    state: State<'_, '_, F, S>,
) {
    let State { views, scratch, range } = state;
    macro_rules! zipped {
        ($($s:ident $t:ident),*) => {{
            let [$($s,)* ..] = &mut views[..] else { unreachable!("S slots") };
            let [$($t,)* ..] = &mut scratch[..] else { unreachable!("S slots") };
            let rows = theta.iter_mut().zip(moved)$(.zip($t.numbers($s, range).iter()))*;
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
        1 => zipped!(s0 t0),
        2 => zipped!(s0 t0, s1 t1),
        3 => zipped!(s0 t0, s1 t1, s2 t2),
        4 => zipped!(s0 t0, s1 t1, s2 t2, s3 t3),
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
    let one = |c: F, t: F| {
        let (from, to) = if from_copy { (c, t) } else { (t, c) };
        let moved = from + share * (to - from);
        F::select(moved.abs() < F::INFINITY, moved, t)
    };
    let ((copy, copy_rest), (theta, theta_rest)) = (copy.as_chunks_mut::<LINE>(), theta.as_chunks::<LINE>());
    for (copy, theta) in copy.iter_mut().zip(theta) {
        isa::fetch_ahead(copy);
        let mut moved = [F::zero(); LINE];
        for i in 0..LINE {
            moved[i] = one(copy[i], theta[i]);
        }
        *copy = moved;
    }
    copy_rest.iter_mut().zip(theta_rest).for_each(|(c, &t)| *c = one(*c, t));
}
