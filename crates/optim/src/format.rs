//! Memory formats: how a rule's memory, and parameters, are kept in fewer bytes.
//!
//! - **bf16**: the upper 16 bits of an `f32`, 2 bytes a number. Rounded stochastically: up or down with the probability that
//!   makes the expected value exact, so that small changes are not lost for good.
//! - **block8**: one byte a number and one `f32` scale for each block of 256, which starts anew at each tensor. A code is a small
//!   float, decoded by shift and multiply: for signed memory a sign, 4 bits of exponent and 3 of fraction; for memory that is
//!   never negative 5 bits of exponent and 3 of fraction. Scales are powers of two. Code 0 is zero, other numbers are rounded
//!   stochastically; a positive number of the second kind never rounds to 0, since rules divide by its root. Blocks in which all is below
//!   2⁻¹¹⁸ (3e−36) become zeros.
//!
//! Which way a number rounds comes from (seed, step, place of the number), so it depends neither on threads nor on how tensors are cut: see
//! `dither.rs`.

use thalweg_core::Float;
pub use thalweg_core::bf16::{from_bf16, to_bf16};
use thalweg_core::isa::LINE;

use crate::dither::Dither;
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
        /// One scale a block.
        scales: &'a mut [f32],
        /// Which of the two code tables.
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
    each(from, to, dither, |x, u| {
        let finite = x.abs() < F::INFINITY;
        let bits = x.to_f32().to_bits();
        let up = bits.wrapping_add(u >> 16);
        // Just below infinity the sum may reach it, and an f64 may be beyond any f32: the largest finite number then.
        let largest = (bits & 0x8000_0000) | 0x7F7F_0000;
        let up = if (up & 0x7FFF_FFFF) >= 0x7F80_0000 { largest } else { up };
        let up = if finite { up } else { bits };
        (up >> 16) as u16
    });
}

/// Each number and its dither through `code`.
#[inline(always)]
fn each<F: Float, C>(from: &[F], to: &mut [C], dither: Dither, code: impl Fn(F, u32) -> C) {
    let mut u = dither.first();
    for (&x, to) in from.iter().zip(to) {
        *to = code(x, u);
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

/// Exponent of the code tables' lowest binade, as the bits of an f32: value(code) = 2^(code/8 − bias)·(1 + (code mod 8)/8).
const SIGNED: u32 = (127 - 15) << 23;
const POSITIVE: u32 = (127 - 31) << 23;
/// Fraction of the largest number of both tables, 1.875, as the bits of an f32: code 127 of the signed one, 255 of the other.
const TOP: u32 = 0x70_0000;

/// The number that a code stands for.
#[inline(always)]
fn decoded<F: Float>(code: u8, scale: f32, sign: Sign) -> F {
    let bits = match sign {
        // The sign is spread over the upper bits, of which one is kept.
        Sign::Signed => ((i32::from(code as i8) << 20) as u32 & 0x87F0_0000) + SIGNED,
        Sign::NonNegative => (u32::from(code) << 20) + POSITIVE,
    };
    let zero = match sign {
        Sign::Signed => code & 0x7F == 0,
        Sign::NonNegative => code == 0,
    };
    F::from_f32(f32::from_bits(if zero { 0 } else { bits }) * scale)
}

/// A line of codes of one block.
#[inline(always)]
pub(crate) fn decode_line<F: Float>(codes: &[u8; LINE], scale: f32, sign: Sign) -> [F; LINE] {
    let mut line = [F::zero(); LINE];
    for i in 0..LINE {
        line[i] = decoded(codes[i], scale, sign);
    }
    line
}

#[inline(always)]
pub(crate) fn decode_block8<F: Float>(codes: &[u8], scales: &[f32], sign: Sign, to: &mut [F]) {
    for ((codes, to), &scale) in codes.chunks(BLOCK8).zip(to.chunks_mut(BLOCK8)).zip(scales) {
        for (x, &code) in to.iter_mut().zip(codes) {
            *x = decoded(code, scale, sign);
        }
    }
}

#[inline(always)]
pub(crate) fn encode_block8<F: Float>(
    from: &[F],
    codes: &mut [u8],
    scales: &mut [f32],
    sign: Sign,
    dither: Dither,
) {
    let blocks = from.chunks(BLOCK8).zip(codes.chunks_mut(BLOCK8)).zip(scales).enumerate();
    for (nth, ((from, codes), scale)) in blocks {
        let dither = dither.at((nth * BLOCK8) as u64);
        let (unit, inverse) = unit(largest(from).min(f32::MAX));
        *scale = unit;
        // The bits that are cut off, and what is added before.
        const CUT: u32 = 20;
        let dice = |u: u32| (u >> (32 - CUT)) as i32;
        match sign {
            Sign::Signed => {
                let lowest = f32::from_bits((1 << CUT) + SIGNED);
                each(from, codes, dither, |x, u| {
                    let (y, dice) = (x.to_f32() * inverse, dice(u));
                    let size = y.abs();
                    let up = (size.to_bits() as i32 + (dice - SIGNED as i32)) >> CUT;
                    // Below the lowest code: that one or 0, in proportion.
                    let low = if (dice as f32) < size * ((1 << CUT) as f32 / lowest) { 1 } else { 0 };
                    let code = if size < lowest { low } else { up };
                    let code = if code < 127 { code } else { 127 };
                    (code as u32 | (y.to_bits() >> 31) << 7) as u8
                });
            }
            Sign::NonNegative => each(from, codes, dither, |x, u| {
                // −0 is 0.
                let bits = (x.to_f32().abs() * inverse).to_bits() as i32;
                let up = (bits + (dice(u) - POSITIVE as i32)) >> CUT;
                // Nothing positive becomes 0.
                let lowest = if bits < 1 { bits } else { 1 };
                let code = (if up < lowest { lowest } else { up }) as u32;
                (if code < 255 { code } else { 255 }) as u8
            }),
        }
    }
}

/// The scale of a block whose largest number is `top`, and one divided by it: a power of two, so that the grid of codes stays where it is
/// while that number moves a little (else every number would be rounded anew). Blocks of next to nothing become zeros: those whose lowest code
/// would be below the least f32.
#[inline(always)]
fn unit(top: f32) -> (f32, f32) {
    let above = f32::from_bits((top.to_bits() + (0x7F_FFFF - TOP)) & 0x7F80_0000);
    let unit = if above < f32::INFINITY { above } else { f32::from_bits(0x7F00_0000) };
    const LEAST: f32 = f32::from_bits((127 - 118) << 23);
    if top < LEAST { (0.0, 0.0) } else { (unit, 1.0 / unit) }
}

/// max |x| over a block of numbers that are no NaN: by their bits, which rise with |x|.
#[inline(always)]
fn largest<F: Float>(from: &[F]) -> f32 {
    let sizes = from.iter().map(|x| x.to_f32().abs().to_bits() as i32);
    f32::from_bits(sizes.fold(0, |top, size| if top < size { size } else { top }) as u32)
}
