//! The loop over 8-bit memory: a block is decoded as the rule goes over it, and encoded while the rule is at the next one.
//!
//! A block's scale is known when all of its new numbers are. Encoded then and there, nothing else could be done meanwhile; while the rule is at the
//! next block, roots and quotients leave the machine time for it. Whether all is finite is asked once a block, too: where something is not, the
//! block, whose codes are still what they were, is done again number by number.

use thalweg_core::{Float, isa};

use crate::arithmetic::added;
use crate::block::{Aligned, Cast, carefully};
use crate::dither::Dither;
use crate::format::{BLOCK8, Encoder, View, decode_block8, decode_line, largest, scale_of};
use crate::rule::{Rule, Sign, Slot};

const LINE: usize = isa::LINE;
const LINES: usize = BLOCK8 / LINE;

/// Numbers that [`Late::run`] takes at a time, so that what is done around the rule finds them in the first cache.
pub(crate) const WIDE: usize = 8 * BLOCK8;

/// Whether a stretch can be run so: all slots lie in codes of the kind that the rule declares, and nothing cuts or decays the gradient.
pub(crate) fn can<R: Rule<S>, F: Float, const S: usize>(a: &Cast<F>, views: &[View<'_, F>; S]) -> bool {
    let as_declared =
        |(view, slot): (&View<'_, F>, &Slot)| matches!(view, View::Block8 { sign, .. } if *sign == slot.sign);
    S > 0 && a.bare && views.iter().zip(&R::STATE).all(as_declared)
}

/// The memory of a stretch between a block and the next.
pub(crate) struct Late<F, const S: usize> {
    slots: [Held<F>; S],
    /// The parameters of the block at hand before it was run.
    old: Aligned<[F; BLOCK8]>,
    /// Which numbers of the slots are those of the block at hand.
    at_hand: usize,
    /// Where the block before begins, if there is one.
    before: Option<usize>,
}

struct Held<F> {
    /// New numbers: of the block at hand, and of the block before.
    numbers: Aligned<[[F; BLOCK8]; 2]>,
    /// What encodes the block before,
    encoder: Encoder,
    /// and where its codes go when there is none.
    nowhere: [u8; BLOCK8],
    /// The largest |number| of the block at hand, as the bits of an f32.
    top: u32,
}

/// A slot in a block's loop.
struct Room<'a, F> {
    codes: &'a [[u8; LINE]; LINES],
    scale: f32,
    /// New numbers, to be written.
    numbers: &'a mut [[F; LINE]; LINES],
    /// Those of the block before,
    before: &'a [[F; LINE]; LINES],
    /// their codes, to be written,
    before_codes: &'a mut [[u8; LINE]; LINES],
    /// and what encodes them.
    encoder: Encoder,
    /// The largest |new number|, to be written.
    top: &'a mut u32,
}

impl<F: Float> Held<F> {
    #[inline(always)]
    fn open<'a>(&'a mut self, view: &'a mut View<'_, F>, at: usize, at_hand: usize) -> Room<'a, F> {
        let View::Block8 { codes, scales, .. } = view else { unreachable!("in codes") };
        let (done, rest) = codes.split_at_mut(at);
        let [a, b] = &mut self.numbers.0;
        let (numbers, before) = if at_hand == 0 { (a, b) } else { (b, a) };
        Room {
            codes: lines(rest),
            scale: scales[at / BLOCK8],
            numbers: lines_mut(numbers),
            before: lines(before),
            before_codes: lines_mut(done.last_chunk_mut::<BLOCK8>().unwrap_or(&mut self.nowhere)),
            encoder: self.encoder,
            top: &mut self.top,
        }
    }
}

impl<F: Float, const S: usize> Late<F, S> {
    pub fn new() -> Self {
        let slot = |_| Held {
            numbers: Aligned([[F::zero(); BLOCK8]; 2]),
            encoder: Encoder::default(),
            nowhere: [0; BLOCK8],
            top: 0,
        };
        Self { slots: std::array::from_fn(slot), old: Aligned([F::zero(); BLOCK8]), at_hand: 0, before: None }
    }

    /// Whole blocks, the first of which is at `at`, where [`can`] says so; as [`crate::block::run`]. What is before `at` has been run.
    #[inline(always)]
    pub fn run<R: Rule<S>>(
        &mut self,
        coef: &R::Coef<F>,
        a: &Cast<F>,
        theta: &mut [F],
        grad: &[F],
        (views, at): (&mut [View<'_, F>; S], usize),
        dither: [Dither; S],
    ) -> Option<usize> {
        let mut first = None;
        let blocks = theta.as_chunks_mut::<BLOCK8>().0.iter_mut().zip(grad.as_chunks::<BLOCK8>().0);
        for (nth, (theta, grad)) in blocks.enumerate() {
            let at = at + nth * BLOCK8;
            macro_rules! slots {
                ($name:ident: $($v:ident $s:ident)*) => {{
                    let [$($v,)* ..] = &mut views[..] else { unreachable!("S slots") };
                    let [$($s,)* ..] = &mut self.slots[..] else { unreachable!("S slots") };
                    $name::<R, F, S>(coef, a, lines_mut(theta), lines(grad), lines_mut(&mut self.old.0), $($s.open($v, at, self.at_hand)),*)
                }};
            }
            let sound = match S {
                1 => slots!(lines1: v0 s0),
                2 => slots!(lines2: v0 s0 v1 s1),
                3 => slots!(lines3: v0 s0 v1 s1 v2 s2),
                4 => slots!(lines4: v0 s0 v1 s1 v2 s2 v3 s3),
                _ => unreachable!("a rule has at most four slots"),
            };
            if !sound {
                let bad = self.again::<R>(coef, a, theta, grad, (views, at));
                first = first.or(bad.map(|i| nth * BLOCK8 + i));
            }
            for ((slot, view), dither) in self.slots.iter_mut().zip(views.iter_mut()).zip(dither) {
                let View::Block8 { scales, sign, .. } = view else { unreachable!("in codes") };
                let scale = scale_of(slot.top, &mut slot.numbers.0[self.at_hand], *sign);
                scales[at / BLOCK8] = scale;
                slot.encoder = Encoder::new(scale, *sign, dither.at((nth * BLOCK8) as u64));
            }
            self.at_hand = 1 - self.at_hand;
            self.before = Some(at);
        }
        first
    }

    /// A block that met something not finite, from its old parameters and its codes.
    #[cold]
    #[inline(never)]
    fn again<R: Rule<S>>(
        &mut self,
        coef: &R::Coef<F>,
        a: &Cast<F>,
        theta: &mut [F; BLOCK8],
        grad: &[F; BLOCK8],
        (views, at): (&[View<'_, F>; S], usize),
    ) -> Option<usize> {
        *theta = self.old.0;
        for (slot, view) in self.slots.iter_mut().zip(views) {
            let View::Block8 { codes, scales, sign } = view else { unreachable!("in codes") };
            let numbers = &mut slot.numbers.0[self.at_hand];
            decode_block8(&codes[at..at + BLOCK8], &scales[at / BLOCK8..], *sign, numbers);
        }
        let numbers = self.slots.each_mut().map(|slot| &mut slot.numbers.0[self.at_hand][..]);
        let first = carefully::<R, F, S>(coef, a, theta, grad, numbers, &mut []);
        for (slot, declared) in self.slots.iter_mut().zip(&R::STATE) {
            slot.top = largest(&mut slot.numbers.0[self.at_hand], declared.sign);
        }
        first
    }

    /// Encodes the last block.
    #[inline(always)]
    pub fn finish(&self, views: &mut [View<'_, F>; S]) {
        let Some(at) = self.before else { return };
        for (slot, view) in self.slots.iter().zip(views) {
            let View::Block8 { codes, sign, .. } = view else { unreachable!("in codes") };
            let from = &slot.numbers.0[1 - self.at_hand];
            slot.encoder.block(from, &mut codes[at..at + BLOCK8], *sign);
        }
    }
}

#[inline(always)]
fn lines<T>(x: &[T]) -> &[[T; LINE]; LINES] {
    x[..BLOCK8].as_chunks().0.try_into().expect("the lines of a block")
}
#[inline(always)]
fn lines_mut<T>(x: &mut [T]) -> &mut [[T; LINE]; LINES] {
    x[..BLOCK8].as_chunks_mut().0.try_into().expect("the lines of a block")
}

/// The loop over a block, written out for each number of slots. Says whether all that was computed is finite.
macro_rules! lines {
    ($name:ident: $($s:ident $held:ident $new:ident $top:ident $k:literal),*) => {
        #[inline(always)]
        #[allow(clippy::too_many_arguments, reason = "a room for each slot")]
        fn $name<R: Rule<S>, F: Float, const S: usize>(
            coef: &R::Coef<F>,
            a: &Cast<F>,
            theta: &mut [[F; LINE]; LINES],
            grad: &[[F; LINE]; LINES],
            old: &mut [[F; LINE]; LINES],
            $($s: Room<'_, F>),*
        ) -> bool {
            // Copies that nothing else sees, for registers.
            let (coef, a) = (*coef, *a);
            $(let mut $top = [0u32; LINE];)*
            let mut most = [F::zero().size_bits(); LINE];
            for nth in 0..LINES {
                isa::fetch_ahead(&theta[nth]);
                isa::fetch_ahead(&grad[nth]);
                $(isa::fetch_ahead(&$s.codes[nth]);)*
                let (was, g) = (theta[nth], grad[nth]);
                old[nth] = was;
                $(let $held: [F; LINE] = decode_line(&$s.codes[nth], $s.scale, R::STATE[$k].sign);)*
                let mut next = [F::zero(); LINE];
                $(let mut $new = [F::zero(); LINE];)*
                for i in 0..LINE {
                    let (g, given) = a.gradient(true, g[i], was[i]);
                    let held: [F; _] = [$($held[i]),*];
                    let (u, now) = R::element(&coef, was[i], g, std::array::from_fn(|k| held[k]));
                    next[i] = added(was[i], u, a.keep, a.moved);
                    for size in [given.size_bits(), next[i].size_bits()] {
                        most[i] = if most[i] < size { size } else { most[i] };
                    }
                    $(
                        $new[i] = now[$k];
                        // What has no sign gets none by being done again: −0 seems larger than all here.
                        let bits = now[$k].to_f32().to_bits();
                        let met = if R::STATE[$k].sign == Sign::NonNegative { bits } else { bits & 0x7FFF_FFFF };
                        $top[i] = if $top[i] < met { met } else { $top[i] };
                    )*
                }
                theta[nth] = next;
                $(
                    $s.numbers[nth] = $new;
                    $s.before_codes[nth] = $s.encoder.line($s.before[nth], nth, R::STATE[$k].sign);
                )*
            }
            let mut sound = true;
            for i in 0..LINE {
                sound &= most[i] < F::INFINITY.size_bits();
            }
            $(
                *$s.top = $top.into_iter().fold(0, |a, b| if a < b { b } else { a });
                sound &= *$s.top < f32::INFINITY.to_bits();
            )*
            sound
        }
    };
}
lines!(lines1: s0 h0 n0 t0 0);
lines!(lines2: s0 h0 n0 t0 0, s1 h1 n1 t1 1);
lines!(lines3: s0 h0 n0 t0 0, s1 h1 n1 t1 1, s2 h2 n2 t2 2);
lines!(lines4: s0 h0 n0 t0 0, s1 h1 n1 t1 1, s2 h2 n2 t2 2, s3 h3 n3 t3 3);
