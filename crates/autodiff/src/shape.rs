//! [`Shape`]: the sizes of a tensor, without memory of its own.

use std::fmt;
use std::ops::Deref;

/// The most axes a tensor can have.
pub const AXES: usize = 6;

/// The sizes of a tensor, outermost axis first; no axes is a single number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    sizes: [usize; AXES],
    axes: usize,
}

impl Shape {
    /// A single number.
    pub const SCALAR: Self = Self { sizes: [1; AXES], axes: 0 };

    /// The shape with these sizes.
    ///
    /// # Panics
    /// With more than [`AXES`] axes.
    pub fn new(sizes: &[usize]) -> Self {
        assert!(sizes.len() <= AXES, "a tensor has at most {AXES} axes, {sizes:?} has {}", sizes.len());
        let mut shape = Self { sizes: [1; AXES], axes: sizes.len() };
        shape.sizes[..sizes.len()].copy_from_slice(sizes);
        shape
    }
    /// How many numbers.
    pub fn count(&self) -> usize {
        self.iter().product()
    }
    /// The size of the last axis; 1 for a single number.
    pub fn last_size(&self) -> usize {
        self.last().copied().unwrap_or(1)
    }
    /// The tensor as a matrix `[rows, last axis]`.
    pub fn rows(&self) -> usize {
        self[..self.axes.saturating_sub(1)].iter().product()
    }
    /// The same sizes, but for the last axis.
    pub fn with_last(mut self, size: usize) -> Self {
        assert!(self.axes > 0, "a single number has no last axis");
        self.sizes[self.axes - 1] = size;
        self
    }
    /// The same sizes, but for one axis.
    pub fn with(mut self, axis: usize, size: usize) -> Self {
        self[axis] = size;
        self
    }
    /// Without that axis.
    pub fn without(self, axis: usize) -> Self {
        let mut sizes = [1; AXES];
        let rest = self.iter().enumerate().filter(|&(i, _)| i != axis);
        for ((_, &size), to) in rest.zip(&mut sizes) {
            *to = size;
        }
        Self { sizes, axes: self.axes - 1 }
    }
    /// `[outer, size, inner]`: the numbers before, along and behind `axis`.
    pub fn around(&self, axis: usize) -> [usize; 3] {
        [self[..axis].iter().product(), self[axis], self[axis + 1..].iter().product()]
    }
    /// How far apart neighbours along each axis lie.
    pub fn strides(&self) -> [usize; AXES] {
        let mut strides = [0; AXES];
        let mut step = 1;
        for axis in (0..self.axes).rev() {
            strides[axis] = step;
            step *= self.sizes[axis];
        }
        strides
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.sizes[..self.axes]
    }
}
impl std::ops::DerefMut for Shape {
    fn deref_mut(&mut self) -> &mut [usize] {
        &mut self.sizes[..self.axes]
    }
}
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self[..])
    }
}
impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl From<&[usize]> for Shape {
    fn from(sizes: &[usize]) -> Self {
        Self::new(sizes)
    }
}
impl<const K: usize> From<[usize; K]> for Shape {
    fn from(sizes: [usize; K]) -> Self {
        Self::new(&sizes)
    }
}

/// Ends with the operation's name, both shapes and what was expected: a mistake in the code that uses the tape.
#[cold]
#[track_caller]
pub fn misfit(op: &str, a: Shape, b: Shape, expected: &str) -> ! {
    panic!("{op}: {a} and {b} do not fit: {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_around_an_axis_multiply_to_the_whole() {
        let s = Shape::new(&[2, 3, 4, 5]);
        assert_eq!(s.around(1), [2, 3, 20]);
        assert_eq!(s.around(3), [24, 5, 1]);
        assert_eq!(s.strides()[..4], [60, 20, 5, 1]);
        assert_eq!(&s.without(2)[..], [2, 3, 5]);
        assert_eq!((s.rows(), s.last_size(), s.count()), (24, 5, 120));
        assert_eq!((Shape::SCALAR.rows(), Shape::SCALAR.last_size(), Shape::SCALAR.count()), (1, 1, 1));
        assert_eq!(s.to_string(), "[2, 3, 4, 5]");
    }

    #[test]
    #[should_panic(expected = "matmul: [2, 3] and [4] do not fit: a matrix each")]
    fn a_misfit_names_both_shapes() {
        misfit("matmul", [2, 3].into(), [4].into(), "a matrix each");
    }
}
