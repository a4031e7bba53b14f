//! Path data for SVG, in the plot's own coordinates: 4000 wide, 2000 high, y downwards.
//!
//! Points are shares of the plot's width and height, y upwards, NaN where there is a gap. Coordinates are
//! integers and mostly relative, so that a curve of a thousand points takes five kilobytes.

use std::fmt::Write;

/// Width of the coordinate system.
pub(super) const WIDTH: f64 = 4000.0;
/// Height of the coordinate system.
pub(super) const HEIGHT: f64 = 2000.0;

fn place((x, y): (f64, f64)) -> (i32, i32) {
    (libm::round(x * WIDTH) as i32, libm::round((1.0 - y) * HEIGHT) as i32)
}

/// The path through points; a gap interrupts it, a point alone becomes a dot. What lies far outside the plot
/// is cut off along the line that leads there.
pub(super) fn polyline(points: &[(f64, f64)]) -> String {
    let mut pen = Pen::default();
    let gap = |p: Option<&(f64, f64)>| p.is_none_or(|p| p.0.is_nan() || p.1.is_nan());
    for (i, &here) in points.iter().enumerate() {
        if gap(Some(&here)) {
            continue;
        }
        let previous = i.checked_sub(1).and_then(|j| points.get(j));
        if gap(previous) {
            if gap(points.get(i + 1)) && clip(here, here).is_some() {
                pen.dot(place(here));
            }
        } else if let Some((from, to)) = previous.and_then(|p| clip(*p, here)) {
            pen.line(place(from), place(to));
        }
    }
    pen.out
}

/// A path of dots: with round caps, a line of no length is a disc that stays round in a stretched plot.
pub(super) fn dots(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut pen = Pen::default();
    for p in points {
        if clip(p, p).is_some() {
            pen.dot(place(p));
        }
    }
    pen.out
}

/// The outline of what lies between two curves over the same x values, in as many parts as gaps leave.
pub(super) fn band(x: &[f64], low: &[f64], high: &[f64]) -> String {
    let mut out = String::new();
    let cut = |y: f64| y.clamp(-0.5, 1.5);
    let has = |i: usize| {
        let all = [x.get(i), low.get(i), high.get(i)];
        all.iter().all(|v| v.is_some_and(|v| !v.is_nan()))
    };
    let mut i = 0;
    while i < x.len() {
        let start = i;
        while i < x.len() && has(i) {
            i += 1;
        }
        if i > start + 1 {
            let mut pen = Pen::default();
            let edge = (start..i).map(|j| (x[j], cut(high[j])));
            let back = (start..i).rev().map(|j| (x[j], cut(low[j])));
            let ring: Vec<_> = edge.chain(back).map(place).collect();
            ring.windows(2).for_each(|w| pen.line(w[0], w[1]));
            out.push_str(&pen.out);
            out.push('z');
        }
        i = i.max(start + 1);
    }
    out
}

/// A closed outline through points that all lie in or near the plot.
pub(super) fn outline(out: &mut String, ring: &[(f64, f64)]) {
    let mut pen = Pen::default();
    let ring: Vec<_> = ring.iter().copied().map(place).collect();
    ring.windows(2).for_each(|w| pen.line(w[0], w[1]));
    if !pen.out.is_empty() {
        out.push_str(&pen.out);
        out.push('z');
    }
}

/// Vertical and horizontal lines across the whole plot.
pub(super) fn grid(x: impl Iterator<Item = f64>, y: impl Iterator<Item = f64>) -> String {
    let mut out = String::new();
    for at in x {
        let _ = write!(out, "M{} 0v{HEIGHT}", place((at, 0.0)).0);
    }
    for at in y {
        let _ = write!(out, "M0 {}h{WIDTH}", place((0.0, at)).1);
    }
    out
}

/// Where a segment runs within a margin of half a plot around the plot; `None` if nowhere (Liang–Barsky).
pub(super) fn clip(from: (f64, f64), to: (f64, f64)) -> Option<((f64, f64), (f64, f64))> {
    let (low, high) = (-0.5, 1.5);
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    if (dx + dy).is_nan() {
        return None;
    }
    let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
    for (start, delta) in [(from.0, dx), (from.1, dy)] {
        if delta == 0.0 {
            if !(low..=high).contains(&start) {
                return None;
            }
            continue;
        }
        let (a, b) = ((low - start) / delta, (high - start) / delta);
        enter = enter.max(a.min(b));
        leave = leave.min(a.max(b));
    }
    if enter <= leave {
        let at = |t: f64| (from.0 + dx * t, from.1 + dy * t);
        Some((if enter > 0.0 { at(enter) } else { from }, if leave < 1.0 { at(leave) } else { to }))
    } else {
        None
    }
}

/// Path data in the making.
#[derive(Default)]
struct Pen {
    out: String,
    at: Option<(i32, i32)>,
    drawing: bool,
}

impl Pen {
    fn line(&mut self, from: (i32, i32), to: (i32, i32)) {
        if self.at != Some(from) {
            let _ = write!(self.out, "M{} {}", from.0, from.1);
            self.drawing = false;
        }
        if from == to && self.at.is_some() {
            return;
        }
        if !self.drawing {
            self.out.push('l');
        }
        self.number(to.0 - from.0, !self.drawing);
        self.number(to.1 - from.1, false);
        self.drawing = true;
        self.at = Some(to);
    }

    fn number(&mut self, value: i32, first: bool) {
        if value >= 0 && !first {
            self.out.push(' ');
        }
        let _ = write!(self.out, "{value}");
    }

    fn dot(&mut self, at: (i32, i32)) {
        let _ = write!(self.out, "M{} {}h0", at.0, at.1);
        self.at = None;
        self.drawing = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_short_and_relative() {
        let path = polyline(&[(0.0, 0.0), (0.5, 1.0), (1.0, 0.0)]);
        assert_eq!(path, "M0 2000l2000-2000 2000 2000");
    }

    #[test]
    fn gaps_interrupt_and_single_points_are_dots() {
        let gap = (f64::NAN, f64::NAN);
        assert_eq!(polyline(&[(0.0, 1.0), (0.1, 1.0), gap, (0.5, 0.5)]), "M0 0l400 0M2000 1000h0");
        assert_eq!(polyline(&[gap, gap]), "");
        assert_eq!(polyline(&[]), "");
        assert_eq!(polyline(&[(0.5, 0.5)]), "M2000 1000h0");
    }

    #[test]
    fn a_constant_line_is_drawn_from_end_to_end() {
        assert_eq!(polyline(&[(0.0, 0.5), (0.5, 0.5), (1.0, 0.5)]), "M0 1000l2000 0 2000 0");
    }

    #[test]
    fn lines_are_cut_along_their_own_direction() {
        let ((x0, y0), (x1, y1)) = clip((0.5, 0.5), (0.5, 1e200)).expect("it starts inside");
        assert_eq!((x0, y0, x1), (0.5, 0.5, 0.5));
        assert!((y1 - 1.5).abs() < 1e-9);
        assert_eq!(clip((2.0, 0.0), (3.0, 1.0)), None);
        assert_eq!(clip((f64::NAN, 0.0), (0.0, 1.0)), None);
        let ((x0, _), (x1, _)) = clip((-9.0, 0.5), (11.0, 0.5)).expect("it runs across");
        assert!((x0 + 0.5).abs() < 1e-9 && (x1 - 1.5).abs() < 1e-9);
    }

    #[test]
    fn bands_close() {
        let path = band(&[0.0, 1.0], &[0.0, 0.0], &[1.0, 1.0]);
        assert_eq!(path, "M0 0l4000 0 0 2000-4000 0z");
        assert_eq!(band(&[0.0, f64::NAN, 1.0], &[0.0; 3], &[1.0; 3]), "");
        assert_eq!(band(&[], &[], &[]), "");
    }
}
