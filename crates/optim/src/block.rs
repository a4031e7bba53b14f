//! The loops over one block: the rule with what surrounds it, line by line of the cache.
//!
//! The new values of a line stay in registers until all of them are known to be finite; where one is not, the line is done again number by
//! number. Memory is fetched ahead of the loop: roots and quotients fill the machine's window of instructions, so that by itself it would not
//! look far enough.

use thalweg_core::{Float, isa};

use crate::arithmetic::{added, coupled, limited, proximal};
use crate::driver::Around;
use crate::format::{BLOCK8, decode_line};
use crate::rule::Rule;

const LINE: usize = isa::LINE;

/// [`Around`] in the parameters' own type.
#[derive(Clone, Copy)]
pub(crate) struct Cast<F> {
    scale: F,
    clip: F,
    decay: F,
    keep: F,
    moved: F,
    /// Nothing cuts or decays the gradient: the usual case, and a shorter loop.
    bare: bool,
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
    fn gradient(&self, bare: bool, grad: F, theta: F) -> (F, F) {
        let g = if bare { grad * self.scale } else { limited(grad, self.scale, self.clip) };
        (if bare { g } else { coupled(g, self.decay, theta) }, g)
    }
}

/// The numbers of one slot in a block.
#[derive(Debug)]
pub(crate) struct Room<'a, F> {
    /// Where they are written, and read where they do not lie in codes.
    pub numbers: &'a mut [F],
    /// Codes to read them from, and a scale for each [`BLOCK8`] of them.
    pub codes: &'a [u8],
    pub scales: &'a [f32],
}

/// Whether [`run`] can read slots from codes by itself, so that roots and quotients hide the decoding: where nothing cuts or decays the gradient.
pub(crate) fn decodes<F>(a: &Cast<F>) -> bool {
    a.bare
}

/// One block. Slots are read from codes where all of them have some and [`decodes`] says so. Coordinates whose new value or memory is not finite keep what they have: `moved`, if it is not empty, becomes 0
/// there, and the first comes back.
#[inline(always)]
pub(crate) fn run<R: Rule<S>, F: Float, const S: usize>(
    coef: &R::Coef<F>,
    a: &Cast<F>,
    theta: &mut [F],
    grad: &[F],
    state: &mut [Room<'_, F>; S],
    moved: &mut [F],
) -> Option<usize> {
    if !a.bare {
        by_slots::<R, F, S, false, false>(coef, a, theta, grad, state, moved)
    } else if state.iter().any(|s| s.codes.is_empty()) || S == 0 {
        by_slots::<R, F, S, true, false>(coef, a, theta, grad, state, moved)
    } else {
        by_slots::<R, F, S, true, true>(coef, a, theta, grad, state, moved)
    }
}

#[inline(always)]
fn by_slots<R: Rule<S>, F: Float, const S: usize, const BARE: bool, const CODED: bool>(
    coef: &R::Coef<F>,
    a: &Cast<F>,
    theta: &mut [F],
    grad: &[F],
    state: &mut [Room<'_, F>; S],
    moved: &mut [F],
) -> Option<usize> {
    macro_rules! slots {
        ($lines:ident: $($s:ident)*) => {{
            let [$($s,)* ..] = &mut state[..] else { unreachable!("S slots") };
            $lines::<R, F, S, BARE, CODED>(coef, a, theta, grad, $($s,)* moved)
        }};
    }
    match S {
        0 => lines0::<R, F, S, BARE, CODED>(coef, a, theta, grad, moved),
        1 => slots!(lines1: s0),
        2 => slots!(lines2: s0 s1),
        3 => slots!(lines3: s0 s1 s2),
        4 => slots!(lines4: s0 s1 s2 s3),
        _ => unreachable!("a rule has at most four slots"),
    }
}

/// The loop of [`run`], written out for each number of slots: functions of slices, so that the compiler knows that they do not overlap.
macro_rules! lines {
    ($name:ident $step:ident: $($s:ident $new:ident $pad:ident $codes:ident $held:ident $k:literal),*) => {
        #[inline(always)]
        #[allow(clippy::too_many_arguments, reason = "a slice for each buffer")]
        fn $name<R: Rule<S>, F: Float, const S: usize, const BARE: bool, const CODED: bool>(
            coef: &R::Coef<F>,
            a: &Cast<F>,
            theta: &mut [F],
            grad: &[F],
            $($s: &mut Room<'_, F>,)*
            moved: &mut [F],
        ) -> Option<usize> {
            let (named, around) = (coef, a);
            // Copies that nothing else sees, for registers.
            let (coef, a) = (*coef, *a);
            let mut first = None;
            let whole = theta.len() - theta.len() % LINE;
            let rest = theta.len() - whole;
            // The last numbers go through the same loop, as a line that repeats the last of them.
            let (mut pad_theta, mut pad_grad) = ([F::zero(); LINE], [F::zero(); LINE]);
            $(let mut $pad = ([F::zero(); LINE], [0; LINE]);)*
            for last in [false, true] {
                if last && rest == 0 {
                    break;
                }
                let start = if last { whole } else { 0 };
                if last {
                    pad_theta = padded(&theta[whole..]);
                    pad_grad = padded(&grad[whole..]);
                    $(if CODED {
                        $pad.1 = padded(&$s.codes[whole..]);
                    } else {
                        $pad.0 = padded(&$s.numbers[whole..]);
                    })*
                }
                let rows_theta = if last { &mut pad_theta[..] } else { &mut theta[..whole] };
                let rows_grad = if last { &pad_grad[..] } else { &grad[..whole] };
                let pairs = rows_theta.as_chunks_mut::<LINE>().0.iter_mut().zip(rows_grad.as_chunks::<LINE>().0);
                $(
                    let $codes = if last { (&$pad.1[..], $s.scales.get(whole / BLOCK8..).unwrap_or_default()) } else { ($s.codes, $s.scales) };
                    let $codes = ($codes.0.as_chunks::<LINE>().0, $codes.1);
                )*
                $(let $s = if last { &mut $pad.0[..] } else { &mut $s.numbers[..whole] };)*
                let rows = pairs$(.zip($s.as_chunks_mut::<LINE>().0))*;
                for (nth, lines!(@ (theta, grad) $($s)*)) in rows.enumerate() {
                    isa::fetch_ahead(theta);
                    isa::fetch_ahead(grad);
                    $(let $held = if CODED {
                        decode_line(&$codes.0[nth], $codes.1[nth / (BLOCK8 / LINE)], R::STATE[$k].sign)
                    } else {
                        isa::fetch_ahead($s);
                        *$s
                    };)*
                    let mut next = [F::zero(); LINE];
                    $(let mut $new = [F::zero(); LINE];)*
                    // By value: behind references the compiler would look for overlap at each line.
                    let sound = $step::<R, F, S, BARE>(&coef, &a, &{ *theta }, &{ *grad }, &mut next, $(&$held, &mut $new),*);
                    if sound {
                        *theta = next;
                        $(*$s = $new;)*
                        continue;
                    }
                    let from = start + nth * LINE;
                    $(*$s = $held;)*
                    let slots: [&mut [F; LINE]; _] = [$($s),*];
                    let mut slots = slots.into_iter();
                    let slots = std::array::from_fn(|_| slots.next().expect("a line for each slot"));
                    let bad = carefully::<R, F, S>(named, around, theta, grad, slots, moved.get_mut(from..from + LINE).unwrap_or_default());
                    first = first.or(bad.map(|i| from + i));
                }
            }
            if rest > 0 {
                theta[whole..].copy_from_slice(&pad_theta[..rest]);
                $($s.numbers[whole..].copy_from_slice(&$pad.0[..rest]);)*
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
lines!(lines1 line1: s0 n0 p0 c0 h0 0);
lines!(lines2 line2: s0 n0 p0 c0 h0 0, s1 n1 p1 c1 h1 1);
lines!(lines3 line3: s0 n0 p0 c0 h0 0, s1 n1 p1 c1 h1 1, s2 n2 p2 c2 h2 2);
lines!(lines4 line4: s0 n0 p0 c0 h0 0, s1 n1 p1 c1 h1 1, s2 n2 p2 c2 h2 2, s3 n3 p3 c3 h3 3);

/// A line of these numbers, the last one repeated.
#[inline(always)]
fn padded<T: Copy>(x: &[T]) -> [T; LINE] {
    std::array::from_fn(|i| x[i.min(x.len() - 1)])
}

/// One line, number by number: one whose new value or memory is not finite keeps what it had.
#[cold]
#[inline(never)]
fn carefully<R: Rule<S>, F: Float, const S: usize>(
    coef: &R::Coef<F>,
    a: &Cast<F>,
    theta: &mut [F; LINE],
    grad: &[F; LINE],
    mut state: [&mut [F; LINE]; S],
    moved: &mut [F],
) -> Option<usize> {
    let mut first = None;
    for i in 0..LINE {
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
    state: &[Room<'_, F>; S],
) {
    macro_rules! zipped {
        ($($s:ident $k:literal),*) => {{
            let [$($s,)* ..] = &state[..] else { unreachable!("S slots") };
            let rows = theta.iter_mut().zip(moved)$(.zip($s.numbers.iter()))*;
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
