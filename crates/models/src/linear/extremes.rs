//! The largest and the smallest eigenvalue of a Hessian.

use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Batch, Float, Grads, Params, Penalty};

use super::pass::Aim;
use super::{Linear, LinearError};

/// The largest eigenvalue is found to this relative error.
const LARGEST: f64 = 1e-6;
/// The smallest one is wanted to this relative error…
const SMALLEST: f64 = 1e-3;
/// …or to this share of the largest.
const NEGLIGIBLE: f64 = 1e-12;
/// At most this many products.
const PRODUCTS: usize = 200;
/// The vectors that the method keeps hold at most this many numbers (256 MiB).
const MEMORY: usize = 1 << 25;

/// The extreme eigenvalues of a Hessian, from below for the largest and from above for the smallest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extremes {
    /// L: the gradient changes at most by L·‖Δθ‖. Plain gradient descent converges for rates below 2/L; 1/L is safe.
    pub largest: f64,
    /// μ: the curvature along the flattest direction.
    pub smallest: f64,
    /// An eigenvalue lies within this distance of `largest`.
    pub largest_error: f64,
    /// An eigenvalue lies within this distance of `smallest`.
    pub smallest_error: f64,
    /// Hessian-vector products that were made.
    pub products: usize,
}

impl Extremes {
    /// κ = L/μ: plain gradient descent needs about κ/2·ln(1/ε) steps at the rate 2/(L + μ) to come ε nearer.
    pub fn condition(&self) -> f64 {
        self.largest / self.smallest
    }
}

impl<F: Float> Linear<F> {
    /// The extreme eigenvalues of the Hessian of Σ w·loss / Σ w + l2/2·‖w‖² (l1 has no curvature).
    ///
    /// Where ∂²loss/∂z² is bounded, the bound takes its place, so that L holds for every θ: 1 for squared (exact) and Huber
    /// loss, ¼ for logistic, ½ for softmax. Poisson's has no bound and is taken at `theta`.
    ///
    /// By Lanczos' method with full reorthogonalisation from a random start, until the largest eigenvalue has a relative error
    /// below 1e-6 and the smallest one of 1e-3 (or 1e-12 of the largest), at most 200 products: never worse than power
    /// iteration with as many, and exact after as many products as there are parameters.
    ///
    /// # Errors
    /// [`LinearError::NotSmooth`] for absolute and quantile loss, [`LinearError::NoWeight`],
    /// [`LinearError::NotFinite`].
    ///
    /// Source: Lanczos 1950; Parlett, *The Symmetric Eigenvalue Problem*, 1980, chapter 13.
    pub fn extremes(
        &self,
        theta: &Params<F>,
        batch: &Batch<'_, F>,
        penalty: Penalty,
        seed: u64,
    ) -> Result<Extremes, LinearError> {
        self.smooth()?;
        let bound = self.loss.entry().bound;
        let (mut v, mut out) = (Params::zeros(&self.layout), Grads::zeros(&self.layout));
        let mut weight = f64::NAN;
        let product = |x: &[f64], y: &mut [f64]| {
            let mut at = 0;
            for tensor in self.layout.tensors() {
                let to = &mut v.flat_mut()[tensor.range()];
                to.iter_mut().zip(&x[at..]).for_each(|(to, &x)| *to = F::from_f64(x));
                at += tensor.len();
            }
            out.clear();
            let aim = bound.map_or(Aim::Product(&v), |bound| Aim::Bound(&v, bound));
            weight = self.pass(theta, batch, aim, Some(&mut out)).weight;
            at = 0;
            for tensor in self.layout.tensors() {
                let l2 = if tensor.kind.is_penalised() { penalty.l2 } else { 0.0 };
                for h in &out.flat()[tensor.range()] {
                    y[at] = h.to_f64() / weight + l2 * x[at];
                    at += 1;
                }
            }
        };
        let found = lanczos(self.layout.count(), product, seed);
        if weight == 0.0 || weight.is_nan() {
            return Err(LinearError::NoWeight);
        }
        found.ok_or(LinearError::NotFinite { at_theta: bound.is_none() })
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The extreme eigenvalues of the symmetric n×n matrix behind `product(x, y)`, which sets y to its product with x. None
/// when a product is not finite.
fn lanczos(n: usize, mut product: impl FnMut(&[f64], &mut [f64]), seed: u64) -> Option<Extremes> {
    let mut stream = Stream::new(seed, Purpose::Probe, 0);
    let mut q: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
    let norm = dot(&q, &q).sqrt();
    q.iter_mut().for_each(|x| *x /= norm);
    let (mut basis, mut diagonal, mut off) = (vec![q], Vec::new(), Vec::new());
    let mut w = vec![0.0; n];
    let most = n.min(PRODUCTS).min((MEMORY / n.max(1)).max(16));
    loop {
        let q = basis.last()?;
        product(q, &mut w);
        diagonal.push(dot(q, &w));
        // Twice is enough (Parlett, section 6.9).
        for _ in 0..2 {
            for q in &basis {
                let along = dot(q, &w);
                w.iter_mut().zip(q).for_each(|(w, q)| *w -= along * q);
            }
        }
        let beta = dot(&w, &w).sqrt();
        if !beta.is_finite() {
            return None;
        }
        let found = ends(&diagonal, &off, beta);
        let scale = found.largest.abs().max(found.smallest.abs());
        let top = found.largest_error <= LARGEST * found.largest.abs();
        let bottom = found.smallest_error <= (SMALLEST * found.smallest.abs()).max(NEGLIGIBLE * scale);
        if (top && bottom) || diagonal.len() >= most || beta <= f64::EPSILON * scale {
            return Some(found);
        }
        off.push(beta);
        basis.push(w.iter().map(|w| w / beta).collect());
    }
}

/// The extreme eigenvalues of the symmetric tridiagonal matrix, and β·|last number of their eigenvector|, the residuals.
///
/// Source: the implicit QL method; Martin and Wilkinson 1968 (`tql2` of EISPACK), with the last row of the eigenvectors alone.
fn ends(diagonal: &[f64], off: &[f64], beta: f64) -> Extremes {
    let n = diagonal.len();
    let mut d = diagonal.to_vec();
    let mut e = off.to_vec();
    e.push(0.0);
    let mut last = vec![0.0; n];
    last[n - 1] = 1.0;
    for l in 0..n {
        // Each eigenvalue takes two or three rounds; the limit is there for numbers that are not finite.
        for _ in 0..60 {
            let m = (l..n - 1).find(|&m| e[m].abs() <= f64::EPSILON * (d[m].abs() + d[m + 1].abs()));
            let m = m.unwrap_or(n - 1);
            if m == l {
                break;
            }
            let mut g = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let mut r = libm::hypot(g, 1.0);
            g = d[m] - d[l] + e[l] / (g + if g < 0.0 { -r } else { r });
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut deflated = false;
            for i in (l..m).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                r = libm::hypot(f, g);
                e[i + 1] = r;
                if r == 0.0 {
                    d[i + 1] -= p;
                    e[m] = 0.0;
                    deflated = true;
                    break;
                }
                (s, c) = (f / r, g / r);
                g = d[i + 1] - p;
                r = (d[i] - g) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
                (last[i + 1], last[i]) = (s * last[i] + c * last[i + 1], c * last[i] - s * last[i + 1]);
            }
            if !deflated {
                d[l] -= p;
                e[l] = g;
                e[m] = 0.0;
            }
        }
    }
    let order = |a: &usize, b: &usize| d[*a].total_cmp(&d[*b]);
    let (low, high) = ((0..n).min_by(order).unwrap_or(0), (0..n).max_by(order).unwrap_or(0));
    Extremes {
        largest: d[high],
        smallest: d[low],
        largest_error: beta * last[high].abs(),
        smallest_error: beta * last[low].abs(),
        products: n,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(n: usize, a: impl Fn(usize, usize) -> f64) -> Extremes {
        let product = |x: &[f64], y: &mut [f64]| {
            for (i, y) in y.iter_mut().enumerate() {
                *y = (0..n).map(|j| a(i, j) * x[j]).sum();
            }
        };
        lanczos(n, product, 1).unwrap()
    }

    #[test]
    fn eigenvalues_of_known_matrices() {
        // diag(1, …, 50).
        let e = of(50, |i, j| if i == j { (i + 1) as f64 } else { 0.0 });
        assert!((e.largest - 50.0).abs() <= 1e-6 * 50.0 && (e.smallest - 1.0).abs() <= 1e-3, "{e:?}");
        // The second difference: 2 − 2·cos(kπ/(n + 1)).
        let n = 30;
        let e = of(n, |i, j| {
            if i == j {
                2.0
            } else if i.abs_diff(j) == 1 {
                -1.0
            } else {
                0.0
            }
        });
        let exact = |k: f64| 2.0 - 2.0 * libm::cos(k * std::f64::consts::PI / (n as f64 + 1.0));
        assert!((e.largest - exact(n as f64)).abs() <= 1e-6 * e.largest, "{e:?}");
        assert!((e.smallest - exact(1.0)).abs() <= 1e-3 * e.smallest, "{e:?}");
        // Rank one, and a multiple of the identity: the space ends early.
        let e = of(9, |_, _| 1.0);
        assert!((e.largest - 9.0).abs() < 1e-12 && e.smallest.abs() < 1e-12 && e.products <= 3, "{e:?}");
        let e = of(9, |i, j| if i == j { 4.0 } else { 0.0 });
        assert!(
            (e.largest - 4.0).abs() < 1e-12 && (e.smallest - 4.0).abs() < 1e-12 && e.products == 1,
            "{e:?}"
        );
        // One number, all zeros, not finite.
        assert_eq!(of(1, |_, _| 7.0).largest, 7.0);
        assert_eq!(of(3, |_, _| 0.0).largest, 0.0);
        assert_eq!(lanczos(2, |_, y| y.fill(f64::NAN), 1), None);
    }
}
