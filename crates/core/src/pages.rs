//! Huge pages: the kernel is asked to back large buffers with pages of 2 MiB, which take fewer faults and fewer walks to be found.

/// Bytes of a huge page.
pub const HUGE: usize = 2 << 20;

/// Asks for huge pages behind these bytes, wherever a whole one lies within them.
#[cfg(target_os = "linux")]
pub fn advise<T>(first: *const T, bytes: usize) {
    use rustix::mm::{Advice, madvise};
    const PAGE: usize = 4096;
    let start = first as usize / PAGE * PAGE;
    let end = (first as usize + bytes).next_multiple_of(PAGE);
    // SAFETY: this advice changes how the kernel backs these pages, never what they hold; if it is refused, nothing happens.
    let _ = unsafe { madvise(start as *mut std::ffi::c_void, end - start, Advice::LinuxHugepage) };
}

/// Elsewhere there is nothing to ask.
#[cfg(not(target_os = "linux"))]
pub fn advise<T>(_first: *const T, _bytes: usize) {}
