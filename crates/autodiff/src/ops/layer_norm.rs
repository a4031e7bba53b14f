//! `layer_norm`: rows of mean 0 and variance 1.

use crate::ops::row_norm::RowNorm;
use crate::{Number, Tape, Var};

impl<N: Number> Tape<'_, N> {
    /// `γ∘(x − mean x)/√(var x + ε) + β` along the last axis of `x [.., d]`, with γ `[d]` and β `[d]` if given; the variance is that
    /// of the numbers themselves (divided by d). Ba, Kiros & Hinton 2016, <https://arxiv.org/abs/1607.06450>. PyTorch's ε is 1e-5.
    ///
    /// # Panics
    /// When the shapes do not fit.
    #[track_caller]
    pub fn layer_norm(&mut self, x: Var, gamma: Option<Var>, beta: Option<Var>, eps: f64) -> Var {
        self.row_norm("layer_norm", true, x, gamma, beta, eps)
    }

    #[track_caller]
    pub(crate) fn row_norm(
        &mut self,
        name: &'static str,
        centred: bool,
        x: Var,
        gamma: Option<Var>,
        beta: Option<Var>,
        eps: f64,
    ) -> Var {
        let width = self.shape(x).last_size();
        let op =
            RowNorm { name, width, groups: 1, per: width, span: 1, centred, eps, gamma: None, beta: None };
        self.with_affine(op, x, gamma, beta)
    }

    #[track_caller]
    pub(crate) fn with_affine(&mut self, op: RowNorm, x: Var, gamma: Option<Var>, beta: Option<Var>) -> Var {
        match (gamma, beta) {
            (None, None) => self.apply(op, &[x]),
            (Some(g), None) => self.apply(RowNorm { gamma: Some(1), ..op }, &[x, g]),
            (None, Some(b)) => self.apply(RowNorm { beta: Some(1), ..op }, &[x, b]),
            (Some(g), Some(b)) => self.apply(RowNorm { gamma: Some(1), beta: Some(2), ..op }, &[x, g, b]),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[1, 3]], |t, x| t.layer_norm(x[0], None, None, 1e-5));
        check!([[2, 3, 9], [9], [9]], |t, x| t.layer_norm(x[0], Some(x[1]), Some(x[2]), 1e-5));
        check!([[70, 3], [3]], |t, x| t.layer_norm(x[0], Some(x[1]), None, 0.1));
        check!([[4, 3], [3]], |t, x| t.layer_norm(x[0], None, Some(x[1]), 1e-2));
    }
}
