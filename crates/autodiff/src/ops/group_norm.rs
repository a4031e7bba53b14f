//! `group_norm`: groups of channels of mean 0 and variance 1.

use crate::ops::row_norm::RowNorm;
use crate::{Number, Tape, Var};

impl<N: Number> Tape<'_, N> {
    /// `x [n, c, ..]`: `γ_c·(x − mean)/√(var + ε) + β_c`, mean and variance over each of the `groups` runs of channels of each
    /// row, γ and β `[c]` if given. Wu & He 2018, <https://arxiv.org/abs/1803.08494>. One channel a group is instance normalisation.
    ///
    /// # Panics
    /// When the shapes do not fit, or `groups` does not divide the channels.
    #[track_caller]
    pub fn group_norm(
        &mut self,
        x: Var,
        groups: usize,
        gamma: Option<Var>,
        beta: Option<Var>,
        eps: f64,
    ) -> Var {
        let shape = self.shape(x);
        let fits = shape.len() >= 2 && groups > 0 && shape[1].is_multiple_of(groups);
        assert!(fits, "group_norm: {shape} has no channels that {groups} groups divide");
        let (per, span) = (shape[1] / groups, shape[2..].iter().product());
        let (name, width) = ("group_norm", per * span);
        let op = RowNorm { name, width, groups, per, span, centred: true, eps, gamma: None, beta: None };
        self.with_affine(op, x, gamma, beta)
    }
}

#[cfg(test)]
mod tests {
    use crate::check::check;

    #[test]
    fn gradient() {
        check!([[2, 4, 3], [4], [4]], |t, x| t.group_norm(x[0], 2, Some(x[1]), Some(x[2]), 1e-5));
        check!([[2, 6], [6], [6]], |t, x| t.group_norm(x[0], 2, Some(x[1]), Some(x[2]), 1e-5));
        check!([[3, 3, 2, 2], [3]], |t, x| t.group_norm(x[0], 3, Some(x[1]), None, 1e-2));
    }
}
