//! Bringing an image to another size: bilinear, over all pixels that a new one covers.

/// A plane of `from = (height, width)` bytes at the size `to`.
///
/// A new pixel is a mean of old ones, weighed by a triangle around its centre whose half-width is one pixel, of the old image
/// where it grows and of the new one where it shrinks: first along rows, then along columns, in f64, rounded once at the end.
/// Pillow's `BILINEAR` does the same in fixed point.
pub(crate) fn resize(plane: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    let (across, down) = (Filter::new(from.1, to.1), Filter::new(from.0, to.0));
    let mut rows = Vec::with_capacity(from.0 * to.1);
    for row in plane.chunks_exact(from.1) {
        rows.extend(
            across
                .spans
                .iter()
                .map(|s| s.weights.iter().zip(&row[s.first..]).map(|(w, &x)| w * f64::from(x)).sum::<f64>()),
        );
    }
    let mut out = Vec::with_capacity(to.0 * to.1);
    for s in &down.spans {
        for x in 0..to.1 {
            let column = rows[s.first * to.1 + x..].iter().step_by(to.1);
            let sum: f64 = s.weights.iter().zip(column).map(|(w, v)| w * v).sum();
            // A mean of bytes is a byte; a cast cuts what rounding puts beyond.
            out.push((sum + 0.5) as u8);
        }
    }
    out
}

/// For each new pixel, which old ones it is made of.
struct Filter {
    spans: Vec<Span>,
}

struct Span {
    first: usize,
    weights: Vec<f64>,
}

impl Filter {
    fn new(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let half = scale.max(1.0);
        let span = |i: usize| {
            let centre = (i as f64 + 0.5) * scale;
            // Casts cut what is below 0.
            let first = (centre - half + 0.5) as usize;
            let last = ((centre + half + 0.5) as usize).min(from);
            let weight = |j: usize| (1.0 - ((j as f64 + 0.5 - centre) / half).abs()).max(0.0);
            let sum: f64 = (first..last).map(weight).sum();
            Span { first, weights: (first..last).map(|j| weight(j) / sum).collect() }
        };
        Self { spans: (0..to).map(span).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_size_is_the_same_image() {
        let plane: Vec<u8> = (0..60).map(|i| (i * 37 % 256) as u8).collect();
        assert_eq!(resize(&plane, (6, 10), (6, 10)), plane);
    }

    /// By hand. Half the size: a new pixel at 1 spans (−1, 3), weights 3, 3, 1 of 7 (cut at the edge): (0·3 + 80·3 + 160)/7 = 57.1,
    /// and its mirror (80 + 160·3 + 240·3)/7 = 182.9. Twice the size: centres at −¼, ¼, ¾, 1¼ between the old ones: 0, ¼, ¾, 1.
    #[test]
    fn by_hand() {
        assert_eq!(resize(&[0, 80, 160, 240], (1, 4), (1, 2)), [57, 183]);
        assert_eq!(resize(&[0, 80, 160, 240], (4, 1), (2, 1)), [57, 183]);
        assert_eq!(resize(&[0, 100], (1, 2), (1, 4)), [0, 25, 75, 100]);
        assert_eq!(resize(&[7; 30], (5, 6), (11, 2)), [7; 22]);
    }
}
