//! [`Pool`]: buffers that are used again, so that a training step allocates nothing once each size has been seen.

use std::ops::{Deref, DerefMut};

use thalweg_core::Buffer;

use crate::Number;

/// `len` numbers, borrowed from a [`Pool`] and to be given back to it. Their values are left over from the last use.
#[derive(Debug)]
pub struct Block<N> {
    buffer: Buffer<N>,
    len: usize,
}

impl<N> Deref for Block<N> {
    type Target = [N];
    #[inline]
    fn deref(&self) -> &[N] {
        &self.buffer[..self.len]
    }
}
impl<N> DerefMut for Block<N> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [N] {
        &mut self.buffer[..self.len]
    }
}

/// Free buffers, by size.
///
/// Sizes are rounded up to one of four steps between powers of two, so that a short last batch finds buffers too.
#[derive(Debug)]
pub struct Pool<N> {
    free: Vec<Vec<Buffer<N>>>,
    lent: usize,
    peak: usize,
}

impl<N: Number> Pool<N> {
    /// Without buffers.
    pub fn new() -> Self {
        Self { free: Vec::new(), lent: 0, peak: 0 }
    }
    /// `len` numbers of any value: all of them must be written before they are read.
    pub fn take(&mut self, len: usize) -> Block<N> {
        let (class, size) = class(len);
        self.lent += size;
        self.peak = self.peak.max(self.lent);
        let found = self.free.get_mut(class).and_then(Vec::pop);
        #[allow(unused_mut, reason = "written in tests")]
        let mut block = Block { buffer: found.unwrap_or_else(|| Buffer::zeros(size)), len };
        // What an operation forgets to write shows.
        #[cfg(test)]
        block.fill(N::from_f64(f64::NAN));
        block
    }
    /// `len` zeros.
    pub fn zeros(&mut self, len: usize) -> Block<N> {
        let mut block = self.take(len);
        block.fill(N::zero());
        block
    }
    /// Takes a buffer back.
    pub fn give(&mut self, block: Block<N>) {
        let (class, size) = class(block.len);
        if self.free.len() <= class {
            self.free.resize_with(class + 1, Vec::new);
        }
        self.lent -= size;
        self.free[class].push(block.buffer);
    }
    /// How many numbers are lent now.
    pub fn lent(&self) -> usize {
        self.lent
    }
    /// The most numbers that were lent at one time.
    pub fn peak(&self) -> usize {
        self.peak
    }
    /// Counts the peak anew.
    pub fn reset_peak(&mut self) {
        self.peak = self.lent;
    }
}

impl<N: Number> Default for Pool<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// The class of buffers that hold `len` numbers, and their size: 16, 20, 24, 28, 32, 40, …
fn class(len: usize) -> (usize, usize) {
    let len = len.max(16);
    let power = len.ilog2() as usize;
    let quarter = (1 << power) / 4;
    let steps = (len - (1 << power)).div_ceil(quarter);
    (4 * (power - 4) + steps, (4 + steps) * quarter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_grow_one_by_one_and_hold_what_is_asked() {
        let mut last = (0, 16);
        for len in 1..5000 {
            let (class, size) = class(len);
            assert!(size >= len && size * 4 <= len.max(16) * 5, "{len} in {size}");
            assert!((class, size) == last || class == last.0 + 1 && size > last.1, "{len}");
            last = (class, size);
        }
    }

    #[test]
    fn a_buffer_that_came_back_is_lent_again() {
        let mut pool = Pool::<f32>::new();
        let a = pool.take(1000);
        let place = a.as_ptr();
        pool.give(a);
        let b = pool.take(1010);
        assert_eq!((b.as_ptr(), b.len()), (place, 1010));
        let c = pool.take(1000);
        assert_ne!(c.as_ptr(), place);
        assert_eq!((pool.lent(), pool.peak()), (2048, 2048));
        pool.give(b);
        pool.give(c);
        assert_eq!((pool.lent(), pool.peak()), (0, 2048));
    }
}
