//! [`Init`]: where parameters start.

use thalweg_core::Float;
use thalweg_core::random::{Purpose, Stream};

/// How a tensor's starting values are drawn. The defaults of the layers are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All 0: shifts of norms, biases of attention.
    Zeros,
    /// All 1: gains of norms.
    Ones,
    /// Uniform on [−b, b).
    Uniform(f64),
    /// Normal with mean 0 and variance 1: embeddings.
    Normal,
}

impl Init {
    /// PyTorch's start of linear maps and convolutions, `kaiming_uniform(a = √5)`, and of their biases: uniform on ±1/√fan_in.
    /// He et al. 2015, <https://arxiv.org/abs/1502.01852>.
    pub fn fan_in(fan_in: usize) -> Self {
        Init::Uniform(1.0 / (fan_in.max(1) as f64).sqrt())
    }
    /// Uniform on ±√(6/(in + out)). Glorot & Bengio 2010, <https://proceedings.mlr.press/v9/glorot10a.html>.
    pub fn xavier(fan_in: usize, fan_out: usize) -> Self {
        Init::Uniform((6.0 / (fan_in + fan_out).max(1) as f64).sqrt())
    }
    /// Draws the values of the network's tensor number `nth`: they depend on the seed and that number alone.
    pub fn fill<F: Float>(self, seed: u64, nth: usize, values: &mut [F]) {
        let mut stream = Stream::new(seed, Purpose::Init, nth as u64);
        for value in values {
            *value = F::from_f64(match self {
                Init::Zeros => 0.0,
                Init::Ones => 1.0,
                Init::Uniform(bound) => bound * (2.0 * stream.uniform() - 1.0),
                Init::Normal => stream.normal(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_their_bounds_and_moments_and_depend_on_seed_and_tensor() {
        let draw = |init: Init, seed, nth| {
            let mut x = vec![0.0f64; 40_000];
            init.fill(seed, nth, &mut x);
            x
        };
        let moments = |x: &[f64]| {
            let n = x.len() as f64;
            (x.iter().sum::<f64>() / n, x.iter().map(|x| x * x).sum::<f64>() / n)
        };
        // Bounds: four standard errors of a mean and of a second moment at n = 40,000.
        let x = draw(Init::fan_in(25), 0, 3);
        assert!(x.iter().all(|x| (-0.2..0.2).contains(x)));
        let (mean, square) = moments(&x);
        assert!(mean.abs() < 4.0 * 0.2 / 3.0f64.sqrt() / 200.0, "{mean}");
        assert!((square - 0.04 / 3.0).abs() < 4.0 * 0.04 * (4.0f64 / 45.0).sqrt() / 200.0, "{square}");
        let (mean, square) = moments(&draw(Init::Normal, 0, 3));
        assert!(mean.abs() < 0.02 && (square - 1.0).abs() < 4.0 * 2f64.sqrt() / 200.0, "{mean} {square}");
        assert_eq!(x, draw(Init::fan_in(25), 0, 3));
        assert_ne!(x, draw(Init::fan_in(25), 1, 3));
        assert_ne!(x, draw(Init::fan_in(25), 0, 4));
    }
}
