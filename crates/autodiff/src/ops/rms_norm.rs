//! `rms_norm`: rows of mean square 1.

use crate::{Number, Tape, Var};

impl<N: Number> Tape<'_, N> {
    /// `γ∘x/√(mean x² + ε)` along the last axis of `x [.., d]`, with γ `[d]` if given. Zhang & Sennrich 2019,
    /// <https://arxiv.org/abs/1910.07467>.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn rms_norm(&mut self, x: Var, gamma: Option<Var>, eps: f64) -> Var {
        self.row_norm("rms_norm", false, x, gamma, None, eps)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1, 3]], |t, x| t.rms_norm(x[0], None, 1e-5));
        check!([[2, 3, 9], [9]], |t, x| t.rms_norm(x[0], Some(x[1]), 1e-5));
    }
}
