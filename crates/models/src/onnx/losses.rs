//! What scores mean under a loss.

use super::{Attribute, Edge, Graph};
use crate::losses::Loss;

impl Loss {
    /// Predictions of the scores `z [.., outputs]`, float or double: probabilities `[.., classes]`, or ŷ `[.., 1]` in units of the target. What
    /// [`Loss::tile_mean`] computes.
    pub fn export(&self, graph: &mut Graph, z: &Edge) -> Edge {
        match self {
            Loss::Squared(_) | Loss::Absolute(_) | Loss::Huber(_) | Loss::Quantile(_) => z.clone(),
            Loss::Poisson(_) => graph.node("Exp", &[z], []),
            Loss::Logistic(_) | Loss::Hinge(_) => {
                // P(class 0) = σ(−z): 1 − σ(z) would cancel.
                let negative = graph.node("Neg", &[z], []);
                let both = graph.concat(&[negative, z.clone()], -1);
                graph.node("Sigmoid", &[&both], [])
            }
            Loss::Softmax(_) => graph.node("Softmax", &[z], [Attribute::whole("axis", -1)]),
        }
    }
}
