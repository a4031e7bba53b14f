//! `gelu`: a function of each number.

use crate::elementwise::Function;
use crate::{Number, Tape, Var};

/// 1/√(2π).
const FRAC_1_SQRT_2PI: f64 = 0.398_942_280_401_432_7;

/// Φ(x) = (1 + erf(x/√2))/2.
#[inline(always)]
fn half_erf<N: Number>(x: N) -> N {
    ((x * N::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf() + N::one()) * N::from_f64(0.5)
}

/// `x·Φ(x) = x/2·(1 + erf(x/√2))`. Hendrycks & Gimpel 2016, <https://arxiv.org/abs/1606.08415>; PyTorch's `approximate='none'`.
/// Backward: `dx += (Φ(x) + x·φ(x))·dy, with φ the standard normal density`.
#[derive(Clone, Copy, Debug)]
pub struct Gelu;

impl Function for Gelu {
    const NAME: &'static str = "gelu";
    const FROM_RESULT: bool = false;
    #[inline(always)]
    fn value<N: Number>(self, x: N) -> N {
        half_erf(x) * x
    }
    #[inline(always)]
    fn slope<N: Number>(self, x: N) -> N {
        let density = (-(x * x) * N::from_f64(0.5)).exp() * N::from_f64(FRAC_1_SQRT_2PI);
        half_erf(x) + x * density
    }
    #[inline(always)]
    fn both<N: Number>(self, x: N) -> (N, N) {
        // One exponential for both: erf(x/√2) is made of e^(−x²/2), and so is the density.
        let (erf, exp) = (x * N::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf_and_exp();
        let below = (erf + N::one()) * N::from_f64(0.5);
        (below * x, below + x * (exp * N::from_f64(FRAC_1_SQRT_2PI)))
    }
}

impl<N: Number> Tape<'_, N> {
    /// `x·Φ(x) = x/2·(1 + erf(x/√2))`. Hendrycks & Gimpel 2016, <https://arxiv.org/abs/1606.08415>; PyTorch's `approximate='none'`. Any shape.
    pub fn gelu(&mut self, x: Var) -> Var {
        self.map(Gelu, x)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1]], |t, x| t.gelu(x[0]));
        check!([[3, 5, 7]], |t, x| t.gelu(x[0]));
    }
}
