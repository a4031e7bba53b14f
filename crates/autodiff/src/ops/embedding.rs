//! `embedding` and `embedding_bag`: rows of a table.

use crate::op::{Backward, Codes, Forward, Inputs, Op};
use crate::pool::Block;
use crate::shape::Shape;
use crate::{Number, Tape, Var};

/// `table [v, d]`, rows `[..] → [.., d]`: the rows; backward adds `dy` to them, in order.
#[derive(Clone, Copy, Debug)]
struct Embedding {
    rows: Codes,
    shape: Shape,
}

/// `table [v, d]`, rows in bags `→ [bags, d]`: the sum (or mean) of each bag's rows, 0 of none; backward adds `dy` (over the number
/// of rows) to each row of the bag, in order.
#[derive(Clone, Copy, Debug)]
struct EmbeddingBag {
    rows: Codes,
    /// Where each bag starts.
    starts: Codes,
    mean: bool,
}

#[track_caller]
fn table_width(name: &str, table: Shape) -> usize {
    assert!(table.len() == 2, "{name}: {table} is not a table [rows, width]");
    table[1]
}

#[track_caller]
fn check_rows(name: &str, rows: &[u32], table: Shape) {
    if let Some((i, row)) = rows.iter().enumerate().find(|(_, row)| **row as usize >= table[0]) {
        panic!("{name}: place {i} asks for row {row} of a table {table}");
    }
}

impl<N: Number> Op<N> for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        let width = table_width("embedding", x.shape(0));
        let mut sizes = [1; crate::shape::AXES + 1];
        sizes[..self.shape.len()].copy_from_slice(&self.shape);
        sizes[self.shape.len()] = width;
        Shape::new(&sizes[..=self.shape.len()])
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (table, d) = (f.x(0), f.shape(0)[1]);
        let rows = f.codes(self.rows);
        check_rows("embedding", rows, f.shape(0));
        for (i, &row) in rows.iter().enumerate() {
            y[i * d..][..d].copy_from_slice(&table[row as usize * d..][..d]);
        }
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let (d, rows) = (b.shape(0)[1], b.codes(self.rows));
        let Some(slot) = b.grad(0) else { return };
        let dx = slot.zeroed();
        for (i, &row) in rows.iter().enumerate() {
            let pairs = dx[row as usize * d..][..d].iter_mut().zip(&dy[i * d..]);
            for (dx, &dy) in pairs {
                *dx = *dx + dy;
            }
        }
    }
}

/// The rows of bag `i`.
fn bag<'c>(rows: &'c [u32], starts: &[u32], i: usize) -> &'c [u32] {
    let end = starts.get(i + 1).map_or(rows.len(), |&end| end as usize);
    &rows[starts[i] as usize..end]
}

impl<N: Number> Op<N> for EmbeddingBag {
    fn name(&self) -> &'static str {
        "embedding_bag"
    }
    fn shape(&self, x: &Inputs<'_, N>) -> Shape {
        [self.starts.len(), table_width("embedding_bag", x.shape(0))].into()
    }
    fn forward(&mut self, f: &mut Forward<'_, N>, y: &mut [N]) {
        let (table, d) = (f.x(0), f.shape(0)[1]);
        let (rows, starts) = (f.codes(self.rows), f.codes(self.starts));
        check_rows("embedding_bag", rows, f.shape(0));
        y.fill(N::zero());
        for i in 0..starts.len() {
            let (bag, y) = (bag(rows, starts, i), &mut y[i * d..][..d]);
            for &row in bag {
                for (y, &x) in y.iter_mut().zip(&table[row as usize * d..]) {
                    *y = *y + x;
                }
            }
            if self.mean && bag.len() > 1 {
                let share = N::from_f64(1.0 / bag.len() as f64);
                for y in y.iter_mut() {
                    *y = *y * share;
                }
            }
        }
    }
    fn backward(&self, b: &mut Backward<'_, N>, dy: &mut Block<N>) {
        let (d, rows, starts) = (b.shape(0)[1], b.codes(self.rows), b.codes(self.starts));
        let Some(slot) = b.grad(0) else { return };
        let dx = slot.zeroed();
        for i in 0..starts.len() {
            let bag = bag(rows, starts, i);
            let share = N::from_f64(if self.mean { 1.0 / bag.len().max(1) as f64 } else { 1.0 });
            for &row in bag {
                let pairs = dx[row as usize * d..][..d].iter_mut().zip(&dy[i * d..]);
                for (dx, &dy) in pairs {
                    *dx = *dx + share * dy;
                }
            }
        }
    }
}

impl<N: Number> Tape<'_, N> {
    /// The rows `rows` of `table [v, d]`, one for each place of `shape`: `[shape.., d]`.
    ///
    /// # Panics
    /// When there is no such row, or `rows` does not fill `shape`.
    #[track_caller]
    pub fn embedding(&mut self, table: Var, rows: &[u32], shape: impl Into<Shape>) -> Var {
        let shape = shape.into();
        assert_eq!(rows.len(), shape.count(), "embedding: {} rows do not fill {shape}", rows.len());
        let rows = self.codes(rows);
        self.apply(Embedding { rows, shape }, &[table])
    }
    /// The sum, or the mean, of several rows of `table [v, d]` at a time: bag i has the rows `rows[starts[i]..starts[i + 1]]`, the
    /// last one those to the end. As PyTorch's `embedding_bag`.
    ///
    /// # Panics
    /// When there is no such row, or `starts` decreases, does not begin with 0 or goes beyond the rows.
    #[track_caller]
    pub fn embedding_bag(&mut self, table: Var, rows: &[u32], starts: &[u32], mean: bool) -> Var {
        let ordered = starts.is_sorted() && starts.last().is_none_or(|&s| s as usize <= rows.len());
        let all = starts.first().copied().unwrap_or(0) == 0;
        assert!(ordered && all, "embedding_bag: {starts:?} do not cut {} rows into bags", rows.len());
        let (rows, starts) = (self.codes(rows), self.codes(starts));
        self.apply(EmbeddingBag { rows, starts, mean }, &[table])
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[4, 3]], |t, x| t.embedding(x[0], &[1, 3, 1, 0, 0, 1], [2, 3]));
        for mean in [false, true] {
            check!([[4, 3]], |t, x| t.embedding_bag(x[0], &[1, 3, 1, 0, 0, 1], &[0, 1, 1, 4], mean));
        }
    }

    #[test]
    #[should_panic(expected = "embedding: place 1 asks for row 4 of a table [4, 3]")]
    fn a_row_outside_is_refused() {
        check!([[4, 3]], |t, x| t.embedding(x[0], &[1, 4], [2]));
    }
}
