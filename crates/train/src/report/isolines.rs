//! Where a function on a grid lies below a level, as closed outlines (marching squares).
//!
//! The grid is surrounded by a ring of nodes that count as above every level, half a cell outside, so each
//! outline closes. In each cell a segment leads from where the walk around the cell leaves the low region to
//! where it enters it again; each crossing of an edge is the end of one segment and the start of the next
//! cell's, so following them gives the outlines.

/// Outlines of {value ≤ level} in shares of the grid's width and height; `rows` of `columns` values, the
/// lowest row first; NaN counts as above.
pub(super) fn below(values: &[f64], columns: usize, level: f64) -> Vec<Vec<(f64, f64)>> {
    let rows = values.len().checked_div(columns).unwrap_or(0);
    if columns < 2 || rows < 2 {
        return Vec::new();
    }
    let grid = Grid { values, columns, rows, level };
    // crossings of edges: those that run in x first, then those that run in y; W nodes in a padded row
    let (w, h) = (columns + 2, rows + 2);
    let along = |i: usize, j: usize| j * w + i;
    let upward = |i: usize, j: usize| w * h + j * w + i;
    let mut next = vec![NONE; 2 * w * h];
    for j in 0..h - 1 {
        let mut left = [grid.low(0, j), grid.low(0, j + 1)];
        for i in 0..w - 1 {
            let right = [grid.low(i + 1, j), grid.low(i + 1, j + 1)];
            let corners = [left[0], right[0], right[1], left[1]];
            left = right;
            if corners == [false; 4] || corners == [true; 4] {
                continue;
            }
            let edges = [along(i, j), upward(i + 1, j), along(i, j + 1), upward(i, j)];
            join(&mut next, corners, edges, || grid.low_in_the_middle(i, j));
        }
    }
    let mut outlines = Vec::new();
    for start in 0..next.len() {
        let mut ring = Vec::new();
        let mut edge = start;
        while next[edge] != NONE {
            let (vertical, node) = (edge >= w * h, edge % (w * h));
            ring.push(grid.crossing(node % w, node / w, vertical));
            edge = std::mem::replace(&mut next[edge], NONE) as usize;
        }
        if ring.len() > 2 {
            outlines.push(ring);
        }
    }
    outlines
}

const NONE: u32 = u32::MAX;

/// Joins, in one cell, each edge where the counter-clockwise walk leaves the low region to the edge where it
/// next enters it (if the middle is low) or last entered it (if not).
fn join(next: &mut [u32], corners: [bool; 4], edges: [usize; 4], low_middle: impl Fn() -> bool) {
    let leaves = |e: usize| corners[e] && !corners[(e + 1) % 4];
    let enters = |e: usize| !corners[e] && corners[(e + 1) % 4];
    let saddle = (0..4).filter(|e| leaves(*e)).count() == 2;
    let forward = saddle && low_middle();
    for e in (0..4).filter(|e| leaves(*e)) {
        let turn = if forward { [1, 2, 3] } else { [3, 2, 1] };
        if let Some(step) = turn.into_iter().find(|step| enters((e + step) % 4)) {
            next[edges[e]] = edges[(e + step) % 4] as u32;
        }
    }
}

struct Grid<'a> {
    values: &'a [f64],
    columns: usize,
    rows: usize,
    level: f64,
}

impl Grid<'_> {
    /// The value at a node of the padded grid; infinite in the ring and where it is not a number.
    fn value(&self, i: usize, j: usize) -> f64 {
        if (1..=self.columns).contains(&i) && (1..=self.rows).contains(&j) {
            let v = self.values[(j - 1) * self.columns + i - 1];
            if v.is_nan() { f64::INFINITY } else { v }
        } else {
            f64::INFINITY
        }
    }

    fn low(&self, i: usize, j: usize) -> bool {
        self.value(i, j) <= self.level
    }

    fn low_in_the_middle(&self, i: usize, j: usize) -> bool {
        let corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)];
        corners.iter().map(|(i, j)| self.value(*i, *j) * 0.25).sum::<f64>() <= self.level
    }

    /// Where the edge from node (i, j), to the right or upwards, crosses the level.
    fn crossing(&self, i: usize, j: usize, vertical: bool) -> (f64, f64) {
        let (di, dj) = if vertical { (0, 1) } else { (1, 0) };
        let (a, b) = (self.value(i, j), self.value(i + di, j + dj));
        let t = if a.is_finite() && b.is_finite() { (self.level - a) / (b - a) } else { 0.5 };
        let x = (i as f64 - 1.0 + t * di as f64) / (self.columns - 1) as f64;
        let y = (j as f64 - 1.0 + t * dj as f64) / (self.rows - 1) as f64;
        (x, y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(n: usize, f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        let at = |i: usize| i as f64 / (n - 1) as f64;
        (0..n * n).map(|k| f(at(k % n), at(k / n))).collect()
    }

    fn area(ring: &[(f64, f64)]) -> f64 {
        let next = ring.iter().cycle().skip(1);
        ring.iter().zip(next).map(|(a, b)| a.0 * b.1 - b.0 * a.1).sum::<f64>() * 0.5
    }

    #[test]
    fn a_circle() {
        let bowl = sample(101, |x, y| (x - 0.5) * (x - 0.5) + (y - 0.5) * (y - 0.5));
        let rings = below(&bowl, 101, 0.09);
        assert_eq!(rings.len(), 1);
        for (x, y) in &rings[0] {
            let r = libm::hypot(x - 0.5, y - 0.5);
            assert!((r - 0.3).abs() < 1e-3, "{r}");
        }
        assert!((area(&rings[0]) - 0.09 * std::f64::consts::PI).abs() < 1e-3);
    }

    #[test]
    fn a_ring_has_two_outlines_of_opposite_direction() {
        let well = sample(101, |x, y| (libm::hypot(x - 0.5, y - 0.5) - 0.3).abs());
        let areas: Vec<f64> = below(&well, 101, 0.1).iter().map(|r| area(r)).collect();
        assert_eq!(areas.len(), 2);
        assert!(areas.iter().any(|a| *a > 0.0) && areas.iter().any(|a| *a < 0.0));
    }

    #[test]
    fn regions_that_reach_the_edge_close_outside() {
        let slope = sample(11, |x, _| x);
        let rings = below(&slope, 11, 0.5);
        assert_eq!(rings.len(), 1);
        assert!((area(&rings[0]) - 0.55 * 1.1).abs() < 0.02, "{}", area(&rings[0]));
        assert_eq!(below(&slope, 11, 2.0).len(), 1);
        assert!(below(&slope, 11, -1.0).is_empty());
    }

    #[test]
    fn saddles_and_holes() {
        let saddle = sample(20, |x, y| (x - 0.5) * (y - 0.5));
        assert_eq!(below(&saddle, 20, -1e-3).len(), 2);
        let mut holed = sample(21, |x, y| x + y);
        holed[10 * 21 + 10] = f64::NAN;
        assert_eq!(below(&holed, 21, 5.0).len(), 2);
        assert!(below(&[], 0, 1.0).is_empty() && below(&[1.0], 1, 1.0).is_empty());
    }
}
