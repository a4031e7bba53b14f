//! [`Shared`]: a slice that several threads write, each its own part.

use std::marker::PhantomData;

/// A slice that is handed out in parts that do not overlap.
pub(super) struct Shared<'a, F> {
    start: *mut F,
    len: usize,
    of: PhantomData<&'a mut [F]>,
}

// SAFETY: the parts that threads take do not overlap (the contract of `Shared::part`), and F may be sent.
unsafe impl<F: Send> Sync for Shared<'_, F> {}
// SAFETY: as above.
unsafe impl<F: Send> Send for Shared<'_, F> {}

impl<'a, F> Shared<'a, F> {
    pub fn new(slice: &'a mut [F]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), of: PhantomData }
    }

    /// Where `len` numbers from `from` on start.
    #[inline(always)]
    pub fn start(&self, from: usize, len: usize) -> *mut F {
        assert!(from <= self.len && len <= self.len - from, "a part lies inside");
        self.start.wrapping_add(from)
    }

    /// `len` numbers from `from` on.
    ///
    /// # Safety
    /// No two parts that are alive at the same time overlap.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "that is what it is for")]
    pub unsafe fn part(&self, from: usize, len: usize) -> &mut [F] {
        // SAFETY: the part lies inside the slice, which is borrowed for 'a; the caller keeps parts apart.
        unsafe { std::slice::from_raw_parts_mut(self.start(from, len), len) }
    }
}
