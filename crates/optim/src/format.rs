//! Memory formats: how a rule's memory, and parameters, are kept in fewer bytes.
//!
//! - **bf16**: the upper 16 bits of an `f32`, 2 bytes a number. Rounded stochastically: up or down with the probability that
//!   makes the expected value exact, so that small changes are not lost for good.
//! - **block8**: one byte a number and one `f32` scale for each block of 256, which starts anew at each tensor. A code is a small
//!   float, decoded by shift and multiply: for signed memory a sign, 4 bits of exponent and 3 of fraction; for memory that is
//!   never negative 5 bits of exponent and 3 of fraction. Code 0 is zero, the largest number of a block is exact, the others are
//!   rounded stochastically; a positive number of the second kind never rounds to 0, since rules divide by its root.
//!
//! The random bits come from (seed, step, place of the number), so they depend neither on threads nor on how tensors are cut.

use thalweg_core::Float;

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

/// Where random bits for rounding come from: a key of seed, step and buffer, and the number's place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice {
    key: u32,
}

impl Dice {
    pub(crate) fn new(seed: u64, step: u64, buffer: u64) -> Self {
        let mixed = splitmix(seed ^ splitmix(step.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (buffer << 56)));
        Self { key: (mixed >> 32) as u32 ^ mixed as u32 }
    }
    /// 32 bits for each number from `place` on, of which one buffer takes the lower and another the upper half: the finaliser of
    /// MurmurHash3 on key and place.
    #[inline(always)]
    pub(crate) fn roll(self, place: u64, rolls: &mut [u32]) {
        // Keyed by the upper half of the places too.
        let key = self.key ^ ((place >> 32) as u32).wrapping_mul(0x85EB_CA6B);
        let start = key.wrapping_add(place as u32);
        for (i, roll) in rolls.iter_mut().enumerate() {
            let h = start.wrapping_add(i as u32);
            let h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
            let h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
            *roll = h ^ (h >> 16);
        }
    }
}

/// The rolls of a block of numbers, and which half of them to take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rolls<'a> {
    pub bits: &'a [u32],
    pub upper: bool,
}

impl<'a> Rolls<'a> {
    /// 16 bits for each number.
    #[inline(always)]
    fn iter(self) -> impl Iterator<Item = u32> + 'a {
        let shift = if self.upper { 16 } else { 0 };
        self.bits.iter().map(move |bits| (bits >> shift) & 0xFFFF)
    }
}

fn splitmix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The number that bf16 bits stand for.
#[inline(always)]
pub fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The nearest bf16 (ties to even), by its bits; NaN stays NaN.
#[inline(always)]
pub fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + ((bits >> 16) & 1));
    let rounded = if x.abs() < f32::INFINITY { rounded } else { bits | u32::from(x.is_nan()) << 22 };
    (rounded >> 16) as u16
}

#[inline(always)]
pub(crate) fn decode_bf16<F: Float>(from: &[u16], to: &mut [F]) {
    for (x, &b) in to.iter_mut().zip(from) {
        *x = F::from_f32(from_bf16(b));
    }
}

/// Stochastic rounding to bf16. Numbers beyond the largest bf16 become it; what is not finite stays so.
#[inline(always)]
pub(crate) fn encode_bf16<F: Float>(from: &[F], to: &mut [u16], rolls: Rolls<'_>) {
    for ((x, b), roll) in from.iter().zip(to.iter_mut()).zip(rolls.iter()) {
        let finite = x.abs() < F::INFINITY;
        let bits = x.to_f32().to_bits();
        let up = bits.wrapping_add(roll);
        // Just below infinity the sum may reach it, and an f64 may be beyond any f32: the largest finite number then.
        let largest = (bits & 0x8000_0000) | 0x7F7F_0000;
        let up = if (up & 0x7FFF_FFFF) >= 0x7F80_0000 { largest } else { up };
        let up = if finite { up } else { bits };
        *b = (up >> 16) as u16;
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
/// The largest number of both tables: code 127 of the signed one, 255 of the other.
const TOP: f32 = 1.875;

#[inline(always)]
pub(crate) fn decode_block8<F: Float>(codes: &[u8], scales: &[f32], sign: Sign, to: &mut [F]) {
    for ((codes, to), &scale) in codes.chunks(BLOCK8).zip(to.chunks_mut(BLOCK8)).zip(scales) {
        match sign {
            Sign::Signed => {
                for (x, &c) in to.iter_mut().zip(codes) {
                    let c = u32::from(c);
                    let size = c & 0x7F;
                    let bits = (size << 20) + SIGNED;
                    let bits = if size == 0 { 0 } else { bits | (c & 0x80) << 24 };
                    *x = F::from_f32(f32::from_bits(bits) * scale);
                }
            }
            Sign::NonNegative => {
                for (x, &c) in to.iter_mut().zip(codes) {
                    let bits = (u32::from(c) << 20) + POSITIVE;
                    let bits = if c == 0 { 0 } else { bits };
                    *x = F::from_f32(f32::from_bits(bits) * scale);
                }
            }
        }
    }
}

#[inline(always)]
pub(crate) fn encode_block8<F: Float>(
    from: &[F],
    codes: &mut [u8],
    scales: &mut [f32],
    sign: Sign,
    rolls: Rolls<'_>,
) {
    let blocks = from.chunks(BLOCK8).zip(codes.chunks_mut(BLOCK8)).zip(rolls.bits.chunks(BLOCK8));
    for (((from, codes), bits), scale) in blocks.zip(scales) {
        let rolls = Rolls { bits, ..rolls };
        let top = largest(from).min(f32::MAX);
        // The block's largest number gets the largest code. Blocks of next to nothing become zeros.
        let unit = top * (1.0 / TOP);
        let (unit, inverse) = if unit < 1e-37 { (0.0, 0.0) } else { (unit, 1.0 / unit) };
        *scale = unit;
        // 16 random bits in the upper of the 20 that are cut off; the middle of what is below them.
        let numbers = from.iter().zip(rolls.iter().map(|roll| ((roll << 4) | 8) as i32));
        match sign {
            Sign::Signed => {
                let lowest = f32::from_bits((1 << 20) + SIGNED);
                for ((x, dice), c) in numbers.zip(codes.iter_mut()) {
                    let y = x.to_f32() * inverse;
                    let size = y.abs();
                    let up = (size.to_bits() as i32 + (dice - SIGNED as i32)) >> 20;
                    // Below the lowest code: that one or 0, in proportion.
                    let low = if (dice as f32) < size * (1048576.0 / lowest) { 1 } else { 0 };
                    let code = if size < lowest { low } else { up.min(127) };
                    *c = (code as u32 | (y.to_bits() >> 31) << 7) as u8;
                }
            }
            Sign::NonNegative => {
                for ((x, dice), c) in numbers.zip(codes.iter_mut()) {
                    // −0 is 0.
                    let y = x.to_f32().abs() * inverse;
                    let up = (y.to_bits() as i32 + (dice - POSITIVE as i32)) >> 20;
                    // Nothing positive becomes 0.
                    let lowest = if y > 0.0 { 1 } else { 0 };
                    *c = up.max(lowest).min(255) as u8;
                }
            }
        }
    }
}

/// max |x| over a block of numbers that are no NaN: by their bits, which rise with |x|.
#[inline(always)]
fn largest<F: Float>(from: &[F]) -> f32 {
    let sizes = from.iter().map(|x| x.to_f32().abs().to_bits() as i32);
    f32::from_bits(sizes.fold(0, |top, size| if top < size { size } else { top }) as u32)
}
