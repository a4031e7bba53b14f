//! Memory formats: how a rule's memory, and parameters, are kept in fewer bytes.
//!
//! - **bf16**: the upper 16 bits of an `f32`, 2 bytes a number. Rounded stochastically: up or down with the probability that
//!   makes the expected value exact, so that small changes are not lost for good.
//! - **block8**: one byte a number and one `f32` scale for each block of 256, which starts anew at each tensor. A code is a small float. For memory
//!   that is never negative it has 5 bits of exponent e and 3 of fraction f: `2^(e−31)·(1 + f/8)` of the scale, and code 0 is zero; what is positive
//!   as an `f32` never becomes that, since rules divide by its root. For signed memory there are a sign, 4 bits of exponent and 3 of fraction:
//!   `±(2^(e−15)·(1 + f/8) − 2^−15)` of the scale, which is zero by itself for code 0 and lets small numbers fade into it. Both are decoded and encoded by
//!   a few additions, most of them of integers to the bits of an `f32`, and rounded stochastically. Scales are powers of two, 2⁻⁹⁵ at least (2⁻¹¹¹ for signed
//!   memory); that of memory which starts with a number is that number.
//!
//! Which way a number rounds comes from (seed, step, place of the number), so it depends neither on threads nor on how tensors are cut: see
//! `dither.rs`.

use thalweg_core::Float;
pub use thalweg_core::bf16::{from_bf16, to_bf16};
use thalweg_core::isa::LINE;

use crate::dither::{self, Dither, TURNED};
use crate::rule::Sign;

/// Numbers in a block of [`Format::Block8`].
pub const BLOCK8: usize = 256;
/// Tensors of fewer numbers than this keep their memory uncompressed.
pub const SMALL: usize = 4096;

/// How a rule's memory is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// In the parameters' own type.
    #[default]
    Own,
    /// In bf16: 2 bytes a number.
    Bf16,
    /// In blocks of 8-bit floats: 1 byte a number and 4 for each 256.
    Block8,
}

impl Format {
    /// All formats by their names in expressions, as in `adam(memory=bf16)`.
    pub const ALL: [(&'static str, Self); 3] =
        [("full", Self::Own), ("bf16", Self::Bf16), ("block8", Self::Block8)];
    /// The name in expressions.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, f)| *f == self).map_or("full", |(name, _)| name)
    }
}

/// Numbers in memory, in one of the formats, to be read and written.
#[derive(Debug)]
pub enum View<'a, F> {
    /// In the type of the computation.
    Own(&'a mut [F]),
    /// bf16, by bits.
    Bf16(&'a mut [u16]),
    /// Codes, and a scale for each [`BLOCK8`] of them.
    Block8 {
        /// One code a number.
        codes: &'a mut [u8],
        /// One scale a block: a power of two once it has been written.
        scales: &'a mut [f32],
        /// Which of the two kinds of codes.
        sign: Sign,
    },
}

impl<'a, F> View<'a, F> {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Own(x) => x.len(),
            Self::Bf16(x) => x.len(),
            Self::Block8 { codes, .. } => codes.len(),
        }
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The first `at` numbers and the rest; `at` is a multiple of [`BLOCK8`].
    pub(crate) fn split(self, at: usize) -> (Self, Self) {
        match self {
            Self::Own(x) => {
                let (a, b) = x.split_at_mut(at);
                (Self::Own(a), Self::Own(b))
            }
            Self::Bf16(x) => {
                let (a, b) = x.split_at_mut(at);
                (Self::Bf16(a), Self::Bf16(b))
            }
            Self::Block8 { codes, scales, sign } => {
                let (a, b) = codes.split_at_mut(at);
                let (s, t) = scales.split_at_mut(at / BLOCK8);
                (Self::Block8 { codes: a, scales: s, sign }, Self::Block8 { codes: b, scales: t, sign })
            }
        }
    }
    /// The same numbers for a shorter time.
    pub(crate) fn reborrow(&mut self) -> View<'_, F> {
        match self {
            Self::Own(x) => View::Own(x),
            Self::Bf16(x) => View::Bf16(x),
            Self::Block8 { codes, scales, sign } => View::Block8 { codes, scales, sign: *sign },
        }
    }
    /// The numbers themselves, where they are kept as they are.
    pub fn own(self) -> Option<&'a mut [F]> {
        match self {
            Self::Own(x) => Some(x),
            _ => None,
        }
    }
}

impl<F: Float> View<'_, F> {
    /// The numbers at these places become 0.
    pub(crate) fn zero_at(&mut self, places: &[usize]) {
        match self {
            Self::Own(x) => places.iter().for_each(|&i| x[i] = F::zero()),
            Self::Bf16(x) => places.iter().for_each(|&i| x[i] = 0),
            Self::Block8 { codes, .. } => places.iter().for_each(|&i| codes[i] = 0),
        }
    }
}

#[inline(always)]
pub(crate) fn decode_bf16<F: Float>(from: &[u16], to: &mut [F]) {
    for (x, &b) in to.iter_mut().zip(from) {
        *x = F::from_f32(from_bf16(b));
    }
}

/// Stochastic rounding to bf16. Numbers beyond the largest bf16 become it; what is not finite stays so.
#[inline(always)]
pub(crate) fn encode_bf16<F: Float>(from: &[F], to: &mut [u16], dither: Dither) {
    let mut u = dither.first();
    for (&x, to) in from.iter().zip(to) {
        let finite = x.abs() < F::INFINITY;
        let bits = x.to_f32().to_bits();
        let up = bits.wrapping_add(u >> 16);
        // Just below infinity the sum may reach it, and an f64 may be beyond any f32: the largest finite number then.
        let largest = (bits & 0x8000_0000) | 0x7F7F_0000;
        let up = if (up & 0x7FFF_FFFF) >= 0x7F80_0000 { largest } else { up };
        let up = if finite { up } else { bits };
        *to = (up >> 16) as u16;
        u = Dither::next(u);
    }
}

/// Rounding to the nearest bf16, for copies of a master that is kept beside them. Numbers beyond the largest bf16 become it; what is
/// not finite stays so.
#[inline(always)]
pub(crate) fn encode_bf16_nearest<F: Float>(from: &[F], to: &mut [u16]) {
    for (x, b) in from.iter().zip(to.iter_mut()) {
        let near = to_bf16(x.to_f32());
        let beyond = (x.abs() < F::INFINITY) & (near & 0x7FFF >= 0x7F80);
        *b = if beyond { (near & 0x8000) | 0x7F7F } else { near };
    }
}

/// The bits that a code leaves out.
const CUT: u32 = dither::BITS;
/// Binades below a block's scale that codes reach.
const SIGNED: u32 = 15;
const POSITIVE: u32 = 31;
/// The largest scale: 1.875 of it is finite.
const MOST: u32 = 254 << 23;

#[inline(always)]
fn binades(sign: Sign) -> u32 {
    match sign {
        Sign::Signed => SIGNED,
        Sign::NonNegative => POSITIVE,
    }
}

/// The least scale: what codes are added to is a normal number.
#[inline(always)]
fn least(sign: Sign) -> u32 {
    (binades(sign) + 1) << 23
}

/// The largest number of a block in units of its scale, by its bits after the exponent: 1.875, less what codes with a sign are moved by.
#[inline(always)]
fn most(sign: Sign) -> u32 {
    match sign {
        Sign::Signed => 0x70_0000 - (1 << (23 - SIGNED)),
        Sign::NonNegative => 0x70_0000,
    }
}

/// What the bits of a code are added to: those of the scale's lowest binade.
#[inline(always)]
fn lowest(scale: f32, sign: Sign) -> u32 {
    // The memory of a new rule has scales of 0.
    let scale = scale.to_bits();
    let scale = if scale < least(sign) { least(sign) } else { scale };
    scale.wrapping_sub(binades(sign) << 23)
}

/// A code and a scale that make this number, for memory that starts with it in every place. Exact, but for signed memory within 2⁻¹⁵ below a power of
/// two, where it may be the number next to it, and for numbers that are no more than codes of the least scale.
pub(crate) fn filled(initial: f32, sign: Sign) -> (u8, f32) {
    let size = initial.abs();
    // 2^−down of the scale, which need not be a power of two for once.
    for down in 0..binades(sign) {
        let moved = if sign == Sign::Signed { libm::ldexp(1.0, -(SIGNED as i32)) } else { 0.0 };
        let share = libm::ldexp(1.0, -(down as i32)) - moved;
        let near = ((f64::from(size) / share) as f32).min(f32::MAX).to_bits();
        if near < least(sign) {
            continue;
        }
        let code = ((binades(sign) - down) << 3) as u8;
        let exact = |scale: &f32| decoded::<f32>(code, lowest(*scale, sign), sign) == size;
        let scale = [near, near + 1, near - 1].into_iter().map(f32::from_bits).find(exact);
        return (code | if initial < 0.0 { 128 } else { 0 }, scale.unwrap_or(f32::from_bits(near)));
    }
    (u8::from(sign == Sign::NonNegative && size > 0.0), 0.0)
}

/// The number that a code stands for.
#[inline(always)]
fn decoded<F: Float>(code: u8, lowest: u32, sign: Sign) -> F {
    F::from_f32(match sign {
        Sign::Signed => {
            // The sign is spread over the upper bits.
            let bits = (i32::from(code as i8) << CUT) as u32;
            let minus = bits & 0x8000_0000;
            f32::from_bits((bits & 0x87F0_0000).wrapping_add(lowest)) - f32::from_bits(minus | lowest)
        }
        Sign::NonNegative => {
            let bits = u32::from(code) << CUT;
            f32::from_bits(if code == 0 { bits } else { bits.wrapping_add(lowest) })
        }
    })
}

/// A line of codes of one block.
#[inline(always)]
pub(crate) fn decode_line<F: Float>(codes: &[u8; LINE], scale: f32, sign: Sign) -> [F; LINE] {
    let lowest = lowest(scale, sign);
    let mut line = [F::zero(); LINE];
    for i in 0..LINE {
        line[i] = decoded(codes[i], lowest, sign);
    }
    line
}

#[inline(always)]
pub(crate) fn decode_block8<F: Float>(codes: &[u8], scales: &[f32], sign: Sign, to: &mut [F]) {
    for ((codes, to), &scale) in codes.chunks(BLOCK8).zip(to.chunks_mut(BLOCK8)).zip(scales) {
        let lowest = lowest(scale, sign);
        for (x, &code) in to.iter_mut().zip(codes) {
            *x = decoded(code, lowest, sign);
        }
    }
}

/// Numbers into codes; those beyond what codes reach become the largest.
#[inline(always)]
pub(crate) fn encode_block8<F: Float>(
    from: &mut [F],
    codes: &mut [u8],
    scales: &mut [f32],
    sign: Sign,
    dither: Dither,
) {
    let blocks = from.chunks_mut(BLOCK8).zip(codes.chunks_mut(BLOCK8)).zip(scales).enumerate();
    for (nth, ((from, codes), scale)) in blocks {
        *scale = scale_of(largest(from, sign), from, sign);
        Encoder::new(*scale, sign, dither.at((nth * BLOCK8) as u64)).block(from, codes, sign);
    }
}

/// What the numbers of one block are encoded with. They have the sign of their kind, and are no larger than the block's scale allows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Encoder {
    lowest: u32,
    /// −lowest, and the dither in the bits that are free there.
    offset: u32,
}

impl Encoder {
    #[inline(always)]
    pub fn new(scale: f32, sign: Sign, dither: Dither) -> Self {
        let lowest = lowest(scale, sign);
        Self { lowest, offset: lowest.wrapping_neg() | dither.bits() }
    }

    #[inline(always)]
    pub fn block<F: Float>(self, from: &[F], codes: &mut [u8], sign: Sign) {
        for ((&x, code), &turned) in from.iter().zip(codes).zip(&TURNED) {
            *code = self.code(x, turned, sign);
        }
    }

    /// The `nth` line.
    #[inline(always)]
    pub fn line<F: Float>(self, from: [F; LINE], nth: usize, sign: Sign) -> [u8; LINE] {
        let turned = &TURNED.as_chunks::<LINE>().0[nth];
        let mut codes = [0; LINE];
        for i in 0..LINE {
            codes[i] = self.code(from[i], turned[i], sign);
        }
        codes
    }

    #[inline(always)]
    fn code<F: Float>(self, x: F, turned: u32, sign: Sign) -> u8 {
        let x = x.to_f32();
        let add = (turned ^ self.offset) as i32;
        match sign {
            Sign::Signed => {
                let moved = x.abs() + f32::from_bits(self.lowest);
                let code = (moved.to_bits() as i32).wrapping_add(add) >> CUT;
                (code as u32 | (x.to_bits() >> 31) << 7) as u8
            }
            Sign::NonNegative => {
                let bits = x.to_bits() as i32;
                let code = bits.wrapping_add(add) >> CUT;
                // Nothing positive, as an f32, becomes 0.
                let least = if bits < 1 { bits } else { 1 };
                (if code < least { least } else { code }) as u8
            }
        }
    }
}

/// The largest |number| as the bits of an f32; numbers without a sign lose that of −0.
#[inline(always)]
pub(crate) fn largest<F: Float>(numbers: &mut [F], sign: Sign) -> u32 {
    let mut top = 0;
    for x in numbers {
        if sign == Sign::NonNegative {
            *x = x.abs();
        }
        let size = x.to_f32().abs().to_bits();
        top = if top < size { size } else { top };
    }
    top
}

/// The scale of a block whose largest number has these bits: a power of two, so that the grid of codes stays where it is while that number moves a
/// little (else every number would be rounded anew). Numbers beyond the largest code of all are cut to it.
#[inline(always)]
pub(crate) fn scale_of<F: Float>(top: u32, numbers: &mut [F], sign: Sign) -> f32 {
    if top > MOST | most(sign) {
        cut(numbers, f32::from_bits(MOST | most(sign)));
        return f32::from_bits(MOST);
    }
    let above = (top + (0x7F_FFFF - most(sign))) & 0x7F80_0000;
    f32::from_bits(if above < least(sign) { least(sign) } else { above })
}

#[cold]
#[inline(never)]
fn cut<F: Float>(numbers: &mut [F], most: f32) {
    let most = F::from_f32(most);
    for x in numbers {
        *x = x.at_most(most).at_least(-most);
    }
}
