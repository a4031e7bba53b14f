//! [`Kept`]: one number of memory for each parameter of some tensors, each tensor in its format.

use std::ops::Range;

use thalweg_core::{Buffer, Float, Memory, Tensor};

use crate::format::{BLOCK8, Format, SMALL, View, filled};
use crate::rule::Slot;

/// One slot of a rule's memory over some tensors.
#[derive(Debug)]
pub(crate) struct Kept<F> {
    slot: Slot,
    /// The uncompressed tensors, one after the other.
    own: Buffer<F>,
    places: Vec<Place>,
}

#[derive(Debug)]
enum Place {
    Own(Range<usize>),
    Bf16(Vec<u16>),
    Block8(Vec<u8>, Vec<f32>),
}

impl<F: Float> Kept<F> {
    /// Memory that holds `initial` everywhere. Tensors of fewer than [`SMALL`] numbers are not compressed.
    pub fn new(slot: Slot, initial: f64, format: Format, tensors: &[&Tensor]) -> Self {
        let mut own = 0;
        let format_of = |t: &Tensor| if slot.from_theta || t.len() < SMALL { Format::Own } else { format };
        let mut places: Vec<Place> = tensors
            .iter()
            .map(|tensor| {
                let n = tensor.len();
                match format_of(tensor) {
                    Format::Own => {
                        // Each starts on a border of its own, as the parameters do.
                        let start = own;
                        own += n.div_ceil(thalweg_core::layout::TENSOR_ALIGN)
                            * thalweg_core::layout::TENSOR_ALIGN;
                        Place::Own(start..start + n)
                    }
                    Format::Bf16 => Place::Bf16(vec![0; n]),
                    Format::Block8 => Place::Block8(vec![0; n], vec![0.0; n.div_ceil(BLOCK8)]),
                }
            })
            .collect();
        let mut own = Buffer::zeros(own);
        if initial != 0.0 {
            for place in &mut places {
                match place {
                    Place::Own(range) => own[range.clone()].fill(F::from_f64(initial)),
                    Place::Bf16(x) => x.fill(crate::format::to_bf16(initial as f32)),
                    Place::Block8(codes, scales) => {
                        let (code, scale) = filled(initial as f32, slot.sign);
                        codes.fill(code);
                        scales.fill(scale);
                    }
                }
            }
        }
        Self { slot, own, places }
    }

    /// The memory of each tensor, in order.
    pub fn views(&mut self) -> Vec<View<'_, F>> {
        let sign = self.slot.sign;
        let mut rest: &mut [F] = &mut self.own;
        let mut from = 0;
        self.places
            .iter_mut()
            .map(|place| match place {
                Place::Own(range) => {
                    let (skip, len) = (range.start - from, range.len());
                    from = range.end;
                    let (taken, after) = std::mem::take(&mut rest)[skip..].split_at_mut(len);
                    rest = after;
                    View::Own(taken)
                }
                Place::Bf16(x) => View::Bf16(x),
                Place::Block8(codes, scales) => View::Block8 { codes, scales, sign },
            })
            .collect()
    }

    /// Shows each tensor's memory under its name.
    pub fn visit(&mut self, tensors: &[&Tensor], visit: &mut dyn FnMut(&str, Memory<'_>)) {
        let slot = self.slot.name;
        for (tensor, view) in tensors.iter().zip(self.views()) {
            let name = format!("{}/{slot}", tensor.name);
            match view {
                View::Own(x) => visit(&name, F::memory(x)),
                View::Bf16(x) => visit(&name, Memory::Bf16(x)),
                View::Block8 { codes, scales, .. } => {
                    visit(&name, Memory::U8(codes));
                    visit(&format!("{name}.scale"), Memory::F32(scales));
                }
            }
        }
    }
}
