//! A linear model as ONNX.

use thalweg_core::{Float, Params};

use super::Linear;
use crate::onnx::{Attribute, Edge, Graph};

impl<F: Float> Linear<F> {
    /// Adds the model to a graph: its scores `[n, outputs]`, in double. `dense [n, width]` is double; `codes` are int64, `[n]` for each column of
    /// categories, which has so many levels: counted from 0 in its own column, −1 adds nothing.
    ///
    /// # Panics
    /// When the columns are not the model's: a mistake in the caller's code.
    pub fn export(
        &self,
        graph: &mut Graph,
        theta: &Params<F>,
        dense: Option<&Edge>,
        codes: &[(Edge, usize)],
    ) -> Edge {
        let shape = self.shape;
        assert_eq!(theta.layout(), &self.layout, "the parameters are another model's");
        assert_eq!(dense.is_some(), shape.dense > 0, "the model takes {} numbers", shape.dense);
        let levels: usize = codes.iter().map(|(_, levels)| levels).sum();
        assert_eq!(levels, shape.one_hot, "the model takes other categories");
        let weight: Vec<f64> = theta.tensor("weight").iter().map(|w| w.to_f64()).collect();
        // The columns of the weights from `start` on: `[outputs, count]`.
        let columns = |start: usize, count: usize| {
            weight.chunks_exact(shape.inputs()).flat_map(move |row| &row[start..start + count]).copied()
        };
        let mut z: Option<Edge> = None;
        if let Some(x) = dense {
            let numbers: Vec<f64> = columns(0, shape.dense).collect();
            let weight = graph.constant("weight", &[shape.outputs, shape.dense], &numbers);
            z = Some(graph.node("Gemm", &[x, &weight], [Attribute::whole("transB", 1)]));
        }
        let mut start = shape.dense;
        for (codes, levels) in codes {
            // A row for each level, and zeros behind them: `[levels + 1, outputs]`.
            let by_output: Vec<f64> = columns(start, *levels).collect();
            let at =
                |level: usize, k: usize| if level < *levels { by_output[k * levels + level] } else { 0.0 };
            let table: Vec<f64> = (0..=*levels)
                .flat_map(|level| (0..shape.outputs).map(move |k| (level, k)))
                .map(|(l, k)| at(l, k))
                .collect();
            let table = graph.constant("levels", &[levels + 1, shape.outputs], &table);
            let share = graph.node("Gather", &[&table, codes], [Attribute::whole("axis", 0)]);
            z = Some(plus(graph, z, share));
            start += levels;
        }
        if shape.intercept {
            let bias: Vec<f64> = theta.tensor("bias").iter().map(|b| b.to_f64()).collect();
            let bias = graph.constant("bias", &[shape.outputs], &bias);
            z = Some(plus(graph, z, bias));
        }
        z.expect("a model has features")
    }
}

fn plus(graph: &mut Graph, z: Option<Edge>, share: Edge) -> Edge {
    match z {
        Some(z) => graph.node("Add", &[&z, &share], []),
        None => share,
    }
}
