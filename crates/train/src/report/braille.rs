//! A canvas of terminal cells: lines in braille dots (two by four to a cell), points and marks as characters.

use super::svg::clip;

/// The canvas: `columns` by `rows` cells.
pub(super) struct Canvas {
    pub columns: usize,
    pub rows: usize,
    cells: Vec<Cell>,
    /// The colours of the lines, by number.
    inks: Vec<Ink>,
}

/// What is in one cell.
#[derive(Clone, Copy, Default)]
struct Cell {
    /// Braille dots, as in U+2800 + dots.
    dots: u8,
    /// The lines that pass through it, one bit each.
    lines: u64,
    /// A character: points and marks lie under lines, letters above.
    under: Option<(char, Ink)>,
    over: Option<(char, Ink)>,
}

/// A colour by meaning: the terminal's own palette decides how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// The terminal's text colour.
    Plain,
    /// Fainter than text.
    Dim,
    /// Series number n.
    Series(usize),
}

impl Ink {
    /// The escape sequence that switches it on.
    pub fn code(self) -> &'static str {
        match self {
            Ink::Plain => "",
            Ink::Dim => "\x1b[2m",
            Ink::Series(n) => ["\x1b[36m", "\x1b[33m", "\x1b[35m", "\x1b[32m", "\x1b[34m", "\x1b[31m"][n % 6],
        }
    }
}

impl Canvas {
    pub fn new(columns: usize, rows: usize, inks: Vec<Ink>) -> Canvas {
        Canvas { columns, rows, cells: vec![Cell::default(); columns * rows], inks }
    }

    fn ink(&self, line: usize) -> Ink {
        self.inks.get(line).copied().unwrap_or(Ink::Plain)
    }

    /// The cell at shares of the canvas, y upwards; `None` outside.
    pub fn cell_at(&self, (x, y): (f64, f64)) -> Option<(usize, usize)> {
        let inside = |v: f64| (-1e-9..=1.0 + 1e-9).contains(&v);
        if !inside(x) || !inside(y) || self.columns == 0 || self.rows == 0 {
            return None;
        }
        let column = libm::round(x * (self.columns - 1) as f64) as usize;
        let row = libm::round((1.0 - y) * (self.rows - 1) as f64) as usize;
        Some((column, row))
    }

    /// A line through points, gaps interrupt it; `dotted` leaves out every other pair of dots.
    pub fn line(&mut self, number: usize, points: &[(f64, f64)], dotted: bool) {
        let (width, height) = ((2 * self.columns) as f64 - 1.0, (4 * self.rows) as f64 - 1.0);
        let place =
            |(x, y): (f64, f64)| (libm::round(x * width) as i64, libm::round((1.0 - y) * height) as i64);
        let mut count = 0;
        for (i, here) in points.iter().enumerate() {
            let from = if i > 0 && !points[i - 1].0.is_nan() { points[i - 1] } else { *here };
            let Some((from, to)) = clip(from, *here) else { continue };
            let ((x0, y0), (x1, y1)) = (place(from), place(to));
            let steps = (x1 - x0).abs().max((y1 - y0).abs());
            for step in 0..=steps {
                let along = |a: i64, b: i64| match steps {
                    0 => a,
                    _ => a + libm::round((b - a) as f64 * step as f64 / steps as f64) as i64,
                };
                count += 1;
                if !dotted || count % 4 < 2 {
                    self.dot(number, along(x0, x1), along(y0, y1));
                }
            }
        }
    }

    fn dot(&mut self, number: usize, x: i64, y: i64) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        let (column, row) = (x / 2, y / 4);
        if column < self.columns && row < self.rows {
            const DOTS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
            let cell = &mut self.cells[row * self.columns + column];
            cell.dots |= DOTS[x % 2][y % 4];
            cell.lines |= 1 << (number % 64);
        }
    }

    /// A character that lines cover.
    pub fn under(&mut self, column: usize, row: usize, c: char, ink: Ink) {
        if let Some(cell) = self.cells.get_mut(row * self.columns + column) {
            cell.under = Some((c, ink));
        }
    }

    /// A letter on line `number`, near a share of the width, where the line is alone if possible.
    pub fn letter(&mut self, number: usize, near: f64, c: char) {
        let bit = 1 << (number % 64);
        let aim = near * self.columns as f64;
        let distance = |i: usize| (i % self.columns) as f64 - aim;
        let with = |alone: bool| {
            let has = |i: &usize| {
                let cell = &self.cells[*i];
                cell.over.is_none() && if alone { cell.lines == bit } else { cell.lines & bit != 0 }
            };
            let near = |a: &usize, b: &usize| distance(*a).abs().total_cmp(&distance(*b).abs());
            (0..self.cells.len()).filter(has).min_by(near)
        };
        if let Some(i) = with(true).or_else(|| with(false)) {
            self.cells[i].over = Some((c, self.ink(number)));
        }
    }

    /// Row `row` as characters with their colours. Where lines share a cell, they take turns.
    pub fn row(&self, row: usize) -> impl Iterator<Item = (char, Ink)> {
        let cells = &self.cells[row * self.columns..(row + 1) * self.columns];
        cells.iter().enumerate().map(|(column, cell)| {
            if let Some(over) = cell.over {
                return over;
            }
            if cell.dots == 0 {
                return cell.under.unwrap_or((' ', Ink::Plain));
            }
            let turn = column as u32 % cell.lines.count_ones();
            let line = (0..64).filter(|n| cell.lines >> n & 1 == 1).nth(turn as usize).unwrap_or(0);
            let c = char::from_u32(0x2800 + u32::from(cell.dots)).unwrap_or('?');
            (c, self.ink(line))
        })
    }
}
