//! Functions of the plane that optimizers are shown and tested on: [`Function`], an [`Objective`] without data.

use std::sync::Arc;

use thalweg_core::{Batch, Float, Grads, Kind, Layout, Objective, Params, Total};

use std::f64::consts::{E, PI, TAU};

/// A function of two numbers.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The name in flags.
    pub name: &'static str,
    /// The formula.
    pub formula: &'static str,
    /// f(x, y).
    pub value: fn(f64, f64) -> f64,
    /// (∂f/∂x, ∂f/∂y).
    pub gradient: fn(f64, f64) -> (f64, f64),
    /// Where its global minima are.
    pub minima: &'static [(f64, f64)],
    /// Where paths start when nothing is said.
    pub start: (f64, f64),
    /// What a picture shows: x from, x to, y from, y to.
    pub window: [f64; 4],
}

fn sq(x: f64) -> f64 {
    x * x
}

/// All functions.
pub static ALL: [Entry; 12] = [
    Entry {
        name: "quadratic",
        formula: "(x² + 25y²)/2",
        value: |x, y| 0.5 * (x * x + 25.0 * y * y),
        gradient: |x, y| (x, 25.0 * y),
        minima: &[(0.0, 0.0)],
        start: (-4.0, 1.0),
        window: [-5.0, 5.0, -2.0, 2.0],
    },
    Entry {
        name: "rosenbrock",
        formula: "(1 − x)² + 100(y − x²)²",
        value: |x, y| sq(1.0 - x) + 100.0 * sq(y - x * x),
        gradient: |x, y| (-2.0 * (1.0 - x) - 400.0 * x * (y - x * x), 200.0 * (y - x * x)),
        minima: &[(1.0, 1.0)],
        start: (-1.2, 1.0),
        window: [-2.0, 2.0, -1.0, 3.0],
    },
    Entry {
        name: "beale",
        formula: "(1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)²",
        value: |x, y| sq(1.5 - x + x * y) + sq(2.25 - x + x * y * y) + sq(2.625 - x + x * y * y * y),
        gradient: |x, y| {
            let (a, b, c) = (1.5 - x + x * y, 2.25 - x + x * y * y, 2.625 - x + x * y * y * y);
            let dx = 2.0 * (a * (y - 1.0) + b * (y * y - 1.0) + c * (y * y * y - 1.0));
            (dx, 2.0 * x * (a + 2.0 * b * y + 3.0 * c * y * y))
        },
        minima: &[(3.0, 0.5)],
        start: (1.0, 1.5),
        window: [-4.5, 4.5, -4.5, 4.5],
    },
    Entry {
        name: "himmelblau",
        formula: "(x² + y − 11)² + (x + y² − 7)²",
        value: |x, y| sq(x * x + y - 11.0) + sq(x + y * y - 7.0),
        gradient: |x, y| {
            let (a, b) = (x * x + y - 11.0, x + y * y - 7.0);
            (4.0 * x * a + 2.0 * b, 2.0 * a + 4.0 * y * b)
        },
        minima: &[
            (3.0, 2.0),
            (-2.805118086952745, 3.131312518250573),
            (-3.779310253377747, -3.28318599128617),
            (3.584428340330492, -1.848126526964404),
        ],
        start: (0.0, 0.0),
        window: [-6.0, 6.0, -6.0, 6.0],
    },
    Entry {
        name: "saddle",
        formula: "x²/2 − y²/2 + y⁴/4",
        value: |x, y| 0.5 * x * x - 0.5 * y * y + 0.25 * sq(y * y),
        gradient: |x, y| (x, y * y * y - y),
        minima: &[(0.0, 1.0), (0.0, -1.0)],
        start: (-1.5, 0.001),
        window: [-2.0, 2.0, -1.6, 1.6],
    },
    Entry {
        name: "booth",
        formula: "(x + 2y − 7)² + (2x + y − 5)²",
        value: |x, y| sq(x + 2.0 * y - 7.0) + sq(2.0 * x + y - 5.0),
        gradient: |x, y| {
            let (a, b) = (x + 2.0 * y - 7.0, 2.0 * x + y - 5.0);
            (2.0 * a + 4.0 * b, 4.0 * a + 2.0 * b)
        },
        minima: &[(1.0, 3.0)],
        start: (-8.0, -5.0),
        window: [-10.0, 10.0, -10.0, 10.0],
    },
    Entry {
        name: "matyas",
        formula: "0.26(x² + y²) − 0.48xy",
        value: |x, y| 0.26 * (x * x + y * y) - 0.48 * x * y,
        gradient: |x, y| (0.52 * x - 0.48 * y, 0.52 * y - 0.48 * x),
        minima: &[(0.0, 0.0)],
        start: (-8.0, 3.0),
        window: [-10.0, 10.0, -10.0, 10.0],
    },
    Entry {
        name: "camel",
        formula: "2x² − 1.05x⁴ + x⁶/6 + xy + y²  (three-hump camel)",
        value: |x, y| 2.0 * x * x - 1.05 * sq(x * x) + sq(x * x * x) / 6.0 + x * y + y * y,
        gradient: |x, y| (4.0 * x - 4.2 * x * x * x + x * sq(x * x) + y, x + 2.0 * y),
        minima: &[(0.0, 0.0)],
        start: (1.1, 2.0),
        window: [-2.5, 2.5, -2.5, 2.5],
    },
    Entry {
        name: "mccormick",
        formula: "sin(x + y) + (x − y)² − 1.5x + 2.5y + 1",
        value: |x, y| libm::sin(x + y) + sq(x - y) - 1.5 * x + 2.5 * y + 1.0,
        gradient: |x, y| {
            let c = libm::cos(x + y);
            (c + 2.0 * (x - y) - 1.5, c - 2.0 * (x - y) + 2.5)
        },
        minima: &[(-0.5471975511965976, -1.5471975511965976)],
        start: (3.0, 0.0),
        window: [-1.5, 4.0, -3.0, 4.0],
    },
    Entry {
        name: "styblinski",
        formula: "Σ (t⁴ − 16t² + 5t)/2 over t = x, y  (Styblinski–Tang)",
        value: |x, y| {
            let f = |t: f64| 0.5 * (sq(t * t) - 16.0 * t * t + 5.0 * t);
            f(x) + f(y)
        },
        gradient: |x, y| {
            let d = |t: f64| 2.0 * t * t * t - 16.0 * t + 2.5;
            (d(x), d(y))
        },
        minima: &[(-2.903534027771177, -2.903534027771177)],
        start: (0.5, -1.0),
        window: [-5.0, 5.0, -5.0, 5.0],
    },
    Entry {
        name: "rastrigin",
        formula: "20 + Σ (t² − 10 cos 2πt) over t = x, y",
        value: |x, y| {
            let f = |t: f64| t * t - 10.0 * libm::cos(TAU * t);
            20.0 + f(x) + f(y)
        },
        gradient: |x, y| {
            let d = |t: f64| 2.0 * t + 10.0 * TAU * libm::sin(TAU * t);
            (d(x), d(y))
        },
        minima: &[(0.0, 0.0)],
        start: (2.2, -1.7),
        window: [-5.12, 5.12, -5.12, 5.12],
    },
    Entry {
        name: "ackley",
        formula: "−20 exp(−0.2√((x² + y²)/2)) − exp((cos 2πx + cos 2πy)/2) + e + 20",
        value: |x, y| {
            let r = (0.5 * (x * x + y * y)).sqrt();
            let c = 0.5 * (libm::cos(TAU * x) + libm::cos(TAU * y));
            -20.0 * libm::exp(-0.2 * r) - libm::exp(c) + E + 20.0
        },
        gradient: |x, y| {
            let r = (0.5 * (x * x + y * y)).sqrt();
            let c = libm::exp(0.5 * (libm::cos(TAU * x) + libm::cos(TAU * y)));
            let d = |t: f64| {
                let slope = if r > 0.0 { 2.0 * libm::exp(-0.2 * r) * t / r } else { 0.0 };
                slope + PI * libm::sin(TAU * t) * c
            };
            (d(x), d(y))
        },
        minima: &[(0.0, 0.0)],
        start: (2.5, 1.8),
        window: [-5.0, 5.0, -5.0, 5.0],
    },
];

/// A function of the plane as an [`Objective`]: one tensor `xy [2]`, no rows; its total has weight 1.
#[derive(Clone, Debug)]
pub struct Function {
    entry: &'static Entry,
    layout: Arc<Layout>,
}

impl Function {
    /// The objective of an entry.
    pub fn new(entry: &'static Entry) -> Self {
        let layout = Layout::builder().tensor("xy", &[2], &["coordinate"], Kind::Bias).build();
        Self { entry, layout: Arc::new(layout) }
    }
    /// What it is.
    pub fn entry(&self) -> &'static Entry {
        self.entry
    }
    /// Parameters at a point.
    pub fn at<F: Float>(&self, x: f64, y: f64) -> Params<F> {
        let mut theta = Params::zeros(&self.layout);
        theta.tensor_mut("xy").copy_from_slice(&[F::from_f64(x), F::from_f64(y)]);
        theta
    }
}

fn point<F: Float>(theta: &Params<F>) -> (f64, f64) {
    let xy = theta.tensor("xy");
    (xy[0].to_f64(), xy[1].to_f64())
}

impl<F: Float> Objective<F> for Function {
    fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }
    fn loss(&self, theta: &Params<F>, _: &Batch<'_, F>) -> Total {
        let (x, y) = point(theta);
        Total { loss: (self.entry.value)(x, y), weight: 1.0 }
    }
    fn gradient(&self, theta: &Params<F>, batch: &Batch<'_, F>, grads: &mut Grads<F>) -> Total {
        let (x, y) = point(theta);
        let (dx, dy) = (self.entry.gradient)(x, y);
        let total = Objective::<F>::loss(self, theta, batch);
        for (g, d) in grads.tensor_mut("xy").iter_mut().zip([dx, dy]) {
            *g += F::from_f64(d);
        }
        grads.total += total;
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_equal_central_differences() {
        for f in &ALL {
            for i in 0..200 {
                let t = f64::from(i) / 199.0;
                let x = f.window[0] + (f.window[1] - f.window[0]) * t;
                let y = f.window[2] + (f.window[3] - f.window[2]) * (t * 7.3).fract();
                let (hx, hy) = (6e-6 * x.abs().max(1.0), 6e-6 * y.abs().max(1.0));
                let (dx, dy) = (f.gradient)(x, y);
                let num = (
                    ((f.value)(x + hx, y) - (f.value)(x - hx, y)) / (2.0 * hx),
                    ((f.value)(x, y + hy) - (f.value)(x, y - hy)) / (2.0 * hy),
                );
                // Rounding of f over the step (ε·|f|/h ~ 4e-11·|f|) and the cut-off (h²·f‴ ~ 4e-11·f‴).
                let scale = (f.value)(x, y).abs().max(1.0) + dx.abs() + dy.abs();
                assert!((dx - num.0).abs() < 1e-6 * scale, "{} at {x} {y}: {dx} {}", f.name, num.0);
                assert!((dy - num.1).abs() < 1e-6 * scale, "{} at {x} {y}: {dy} {}", f.name, num.1);
            }
        }
    }

    #[test]
    fn minima_are_minima() {
        for f in &ALL {
            let best = (f.value)(f.minima[0].0, f.minima[0].1);
            for &(x, y) in f.minima {
                let (dx, dy) = (f.gradient)(x, y);
                assert!(dx.abs() < 1e-9 && dy.abs() < 1e-9, "{} at {x} {y}: {dx} {dy}", f.name);
                assert!(((f.value)(x, y) - best).abs() < 1e-9);
            }
            for i in 0..=100 {
                for j in 0..=100 {
                    let at = |a: f64, b: f64, k: i32| a + (b - a) * f64::from(k) / 100.0;
                    let (x, y) = (at(f.window[0], f.window[1], i), at(f.window[2], f.window[3], j));
                    assert!((f.value)(x, y) >= best - 1e-9, "{} is lower at {x} {y}", f.name);
                }
            }
        }
    }
}
