//! Where the numbers of a block are while it is worked on: what is kept in fewer bytes is decoded before and encoded after.

use std::ops::Range;

use thalweg_core::Float;

use crate::block::{Aligned, BLOCK};
use crate::dither::Dither;
use crate::format::{BLOCK8, View, decode_bf16, decode_block8, encode_bf16, encode_block8};

/// Scratch for one buffer.
pub(crate) enum Scratch<F> {
    /// None is needed.
    None,
    /// A block.
    Block(Box<Aligned<[F; BLOCK]>>),
}

impl<F: Float> Scratch<F> {
    /// For a buffer's format.
    pub fn of(view: &View<'_, F>) -> Self {
        match view {
            View::Own(_) => Self::None,
            _ => Self::Block(Box::new(Aligned([F::zero(); BLOCK]))),
        }
    }

    /// The numbers of the block at `range`.
    #[inline(always)]
    pub fn numbers<'a>(&'a mut self, view: &'a mut View<'_, F>, range: &Range<usize>) -> &'a mut [F] {
        match (self, view) {
            (Self::Block(scratch), _) => &mut scratch.0[..range.len()],
            (Self::None, View::Own(x)) => &mut x[range.clone()],
            _ => unreachable!("a compressed view has scratch"),
        }
    }

    /// Decodes the block at `range`.
    #[inline(always)]
    pub fn decode(&mut self, view: &View<'_, F>, range: &Range<usize>) {
        let to = match self {
            Self::None => return,
            Self::Block(scratch) => &mut scratch.0[..range.len()],
        };
        match view {
            View::Own(_) => {}
            View::Bf16(x) => decode_bf16(&x[range.clone()], to),
            View::Block8 { codes, scales, sign } => {
                decode_block8(&codes[range.clone()], &scales[range.start / BLOCK8..], *sign, to);
            }
        }
    }

    /// Encodes it again.
    #[inline(always)]
    pub fn encode(&mut self, view: &mut View<'_, F>, range: &Range<usize>, dither: Dither) {
        let from = match self {
            Self::None => return,
            Self::Block(scratch) => &mut scratch.0[..range.len()],
        };
        match view {
            View::Own(_) => {}
            View::Bf16(x) => encode_bf16(from, &mut x[range.clone()], dither),
            View::Block8 { codes, scales, sign } => {
                let blocks = range.start / BLOCK8..range.end.div_ceil(BLOCK8);
                encode_block8(from, &mut codes[range.clone()], &mut scales[blocks], *sign, dither);
            }
        }
    }
}
