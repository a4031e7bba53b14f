//! [`Buffer`]: numbers in memory that start on 64 bytes, at staggered places.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};

use aligned_vec::{AVec, RuntimeAlign};

use crate::{Real, pages};

/// Every buffer and every tensor in it starts at a multiple of this many bytes.
pub const ALIGN: usize = 64;
/// Buffers of this many bytes and more get a staggered start.
const LARGE: usize = 1 << 20;
/// The distance between the starts of two large buffers that are allocated one after the other (17 cache lines of 64
/// bytes: not a power of two, so that θ, g and the memory of a rule do not fall on the same cache sets).
const STAGGER: usize = 17 * 64;

static LARGE_BUFFERS: AtomicUsize = AtomicUsize::new(0);

/// A fixed number of numbers, zero at first, that start on 64 bytes.
///
/// Large buffers start at different offsets from the page border: four that start at the same offset within 2 MiB
/// were measured to run at half speed. They begin on a huge page, and ask for more of them.
#[derive(Debug)]
pub struct Buffer<F> {
    raw: AVec<F, RuntimeAlign>,
    start: usize,
    len: usize,
}

impl<F: Real> Buffer<F> {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let large = len * size_of::<F>() >= LARGE;
        let (start, align) = if large {
            let nth = LARGE_BUFFERS.fetch_add(1, Ordering::Relaxed) % 8;
            (nth * STAGGER / size_of::<F>(), pages::HUGE)
        } else {
            (0, ALIGN)
        };
        let mut raw = AVec::with_capacity(align, start + len);
        if large {
            pages::advise(raw.as_ptr(), (start + len) * size_of::<F>());
        }
        raw.resize(start + len, F::zero());
        Self { raw, start, len }
    }
}

impl<F: Real> Clone for Buffer<F> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl<F> Deref for Buffer<F> {
    type Target = [F];
    #[inline]
    fn deref(&self) -> &[F] {
        &self.raw[self.start..self.start + self.len]
    }
}

impl<F> DerefMut for Buffer<F> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [F] {
        &mut self.raw[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_64_bytes_and_large_ones_differ() {
        let offset = |b: &Buffer<f32>| b.as_ptr() as usize % (1 << 21);
        let buffers: Vec<Buffer<f32>> = (0..4).map(|_| Buffer::zeros(1 << 20)).collect();
        for (i, a) in buffers.iter().enumerate() {
            assert_eq!(a.as_ptr() as usize % ALIGN, 0);
            assert!(buffers[..i].iter().all(|b| offset(a) != offset(b)));
        }
        assert!(buffers[0].iter().all(|&x| x == 0.0));
    }
}
