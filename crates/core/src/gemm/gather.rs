//! Products whose left matrix lies scattered: convolutions read the image in place.

use super::driver::Operand;
use super::kernel::{Extent, Finish, Kernel, Left, Right, Tile, WithKernel};
use crate::Float;

/// A matrix to be read: element (i, s·len + q) at `data[rows[i] + segments[s] + q·step]`.
///
/// Of an image, rows are the places where a window stands, segments the rows of the window, terms its columns and their channels.
#[derive(Clone, Copy, Debug)]
pub struct Gather<'a, F> {
    /// The numbers.
    pub data: &'a [F],
    /// Where each row starts.
    pub rows: &'a [u32],
    /// Where each segment starts in a row.
    pub segments: &'a [u32],
    /// Terms of a segment.
    pub len: usize,
    /// Distance of the terms of a segment.
    pub step: usize,
}

/// `C ← A·B + β·C`, then what `finish` says, for a gathered A, on the calling thread: row i of C is `c[starts[i]..]`. B is packed, or
/// a matrix whose rows are contiguous. The inner axis is summed in one run.
///
/// # Panics
/// When the shapes do not fit, or an element lies outside its slice.
pub fn gather<F: Float>(
    a: Gather<'_, F>,
    b: &Operand<'_, F>,
    c: &mut [F],
    starts: &[u32],
    finish: Finish<'_, F>,
) {
    let depth = a.segments.len() * a.len;
    let (right, (rows, cols)) = match b {
        Operand::Packed(packed) => (Given::Panels(packed.panels()), packed.size()),
        Operand::Source(source) => match source.matrix() {
            Some(b) if b.col == 1 => (Given::Rows(b.data, b.row), (b.rows, b.cols)),
            _ => panic!("gather: B is neither packed nor contiguous by rows"),
        },
    };
    assert!(
        rows == depth && starts.len() == a.rows.len() && finish.bias.is_none_or(|bias| bias.len() == cols),
        "gather: {}×{depth} times {rows}×{cols} into {} rows",
        a.rows.len(),
        starts.len()
    );
    let largest = |x: &[u32]| x.iter().fold(0, |top, &x| top.max(x)) as usize;
    if a.rows.is_empty() || cols == 0 {
        return;
    }
    assert!(largest(starts) + cols <= c.len(), "gather: a row lies outside C");
    let reach = largest(a.rows) + largest(a.segments) + a.len.saturating_sub(1) * a.step;
    assert!(depth == 0 || reach < a.data.len(), "gather: an element lies outside A");
    F::pick(Work { a, right, depth, cols, c, starts, finish });
}

/// B as it is given.
enum Given<'a, F> {
    /// Panels and their width.
    Panels((&'a [F], usize)),
    /// In place, with its stride.
    Rows(&'a [F], usize),
}

struct Work<'a, 'c, F> {
    a: Gather<'a, F>,
    right: Given<'a, F>,
    depth: usize,
    cols: usize,
    c: &'c mut [F],
    starts: &'a [u32],
    finish: Finish<'a, F>,
}

impl<F: Float> WithKernel<F> for Work<'_, '_, F> {
    fn with<K: Kernel<F>>(self, kernel: K) {
        let Self { a, right, depth, cols, c, starts, finish } = self;
        if let Given::Panels((_, width)) = right {
            assert!(width == K::COLS, "gather: packed for another instruction set");
        }
        let mut tile = Tile::zeros();
        kernel.run(
            #[inline(always)]
            || {
                for j0 in (0..cols).step_by(K::COLS) {
                    let wide = K::COLS.min(cols - j0);
                    let right = match right {
                        Given::Panels((panels, _)) => Right::Panel(&panels[j0 * depth..][..depth * K::COLS]),
                        Given::Rows(data, row) => Right::Direct { data: &data[j0.min(data.len())..], row },
                    };
                    let finish = finish.from(j0);
                    for (rows, starts) in a.rows.chunks(K::ROWS).zip(starts.chunks(K::ROWS)) {
                        let left = Left::Gather {
                            data: a.data,
                            rows,
                            segments: a.segments,
                            len: a.len,
                            step: a.step,
                        };
                        if rows.len() == K::ROWS && wide == K::COLS {
                            // SAFETY: `gather` has seen to it that `cols` numbers from each start on lie inside C.
                            unsafe {
                                let c = c.as_mut_ptr().add(j0);
                                kernel.scattered(depth, left, right, c, starts, finish);
                            }
                            continue;
                        }
                        kernel.tile(Extent { rows: rows.len(), cols: wide, depth }, left, right, &mut tile);
                        for (sums, &start) in tile.0.chunks_exact(K::COLS).zip(starts) {
                            finish.row(&mut c[start as usize + j0..][..wide], &sums[..wide]);
                        }
                    }
                }
            },
        );
    }
}
