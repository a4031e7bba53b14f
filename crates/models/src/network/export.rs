//! A network as ONNX.

use thalweg_autodiff::Number;
use thalweg_core::{Float, Params};

use super::{Input, Network, Output};
use crate::losses::Task;
use crate::onnx::{Edge, Export, Exported, Exporter, Graph, OnnxError, Type};

/// What goes into a network, as values of a graph.
#[derive(Clone, Debug, Default)]
pub struct Entrance {
    /// Numbers, in float: `[n, numbers]` of a table, `[n, channels, height, width]` of images, `[n, steps, features]` of sequences.
    pub numbers: Option<Edge>,
    /// Codes, in int64: `[n]` for each column of categories, or `[n, context]` for tokens. −1 is one that training never saw.
    pub codes: Vec<Edge>,
}

impl<F: Float + Number> Network<F> {
    /// Adds the network to a graph: its scores `[n, outputs]`, or `[n, context, outputs]` where it says the next token, in float. Dropout is
    /// left out, and batch norm uses what it kept. Parameters are rounded to f32.
    ///
    /// # Panics
    /// When the parameters are another network's, or the entrance is not what its [`Input`] says: mistakes in the caller's code.
    pub fn export(&self, graph: &mut Graph, theta: &Params<F>, entrance: Entrance) -> Edge {
        assert_eq!(theta.layout(), &self.layout, "the parameters are another network's");
        let (numbers, codes) = self.input.widths();
        let codes = if matches!(self.input, Input::Tokens { .. }) { 1 } else { codes };
        assert_eq!(entrance.numbers.is_some(), numbers > 0, "the network takes {numbers} numbers");
        assert_eq!(entrance.codes.len(), codes, "the network takes {codes} columns of codes");
        let (params, statistics) = (narrow(theta), narrow(&self.statistics()));
        let mut to = Exporter::new(graph, &params, &statistics);
        let x = if self.embeddings.is_empty() {
            entrance.numbers.or(entrance.codes.first().cloned()).expect("a row has something in it")
        } else {
            let mut parts: Vec<Edge> = entrance.numbers.into_iter().collect();
            for (column, (embedding, codes)) in self.embeddings.iter().zip(&entrance.codes).enumerate() {
                let place = format!("embeddings.{column}");
                parts.push(to.within(&place, |to| embedding.export(to, codes, self.entry)));
            }
            to.graph.concat(&parts, 1)
        };
        self.layers.export(&mut to, &x, self.entry)
    }

    /// The network alone as an ONNX file. What goes in is `numbers` (float, as in [`Entrance`]) and `codes` (int64: of a table `[n, columns]`, each
    /// counted from 0 in its own column, −1 unseen), or `images`, `sequences`, `tokens`; what comes out is `scores`, and what they mean under the loss:
    /// `probabilities [n, classes]` or `prediction [n]`. The properties are names and texts that go with the file.
    ///
    /// # Errors
    /// [`OnnxError`].
    ///
    /// # Panics
    /// When the parameters are another network's.
    pub fn to_onnx(&self, theta: &Params<F>, properties: &[(&str, &str)]) -> Result<Exported, OnnxError> {
        let mut graph = Graph::default();
        let entrance = self.entrance(&mut graph);
        let z = self.export(&mut graph, theta, entrance);
        let loss = self.criterion.loss;
        let responses = loss.export(&mut graph, &z);
        let (mut shape, outputs) = (vec![None], loss.responses(self.outputs));
        if self.output == Output::NextToken {
            shape.push(Some(self.entry[0]));
        }
        let with = |last| [&shape[..], &[Some(last)]].concat();
        graph.output("scores", Type::Float, &with(self.outputs), "before the loss's link", &z);
        if loss.task().is_classes() {
            graph.output("probabilities", Type::Float, &with(outputs), "of each class", &responses);
        } else {
            let prediction = graph.squeeze(&responses, -1);
            let doc = if loss.task() == Task::Count { "the expected count" } else { "the prediction" };
            graph.output("prediction", Type::Float, &shape, doc, &prediction);
        }
        graph.finish(&format!("{} under {loss}", self.spec), properties)
    }

    /// Inputs for all that the network takes.
    fn entrance(&self, graph: &mut Graph) -> Entrance {
        let mut one = |name, kind, sizes: &[usize], doc: &str| {
            let shape: Vec<Option<usize>> =
                [None].into_iter().chain(sizes.iter().copied().map(Some)).collect();
            graph.input(name, kind, &shape, doc)
        };
        let float = Type::Float;
        match self.input {
            Input::Table { numbers, ref levels } => {
                let dense = (numbers > 0).then(|| one("numbers", float, &[numbers], ""));
                let columns = levels.len();
                let codes = (columns > 0).then(|| one("codes", Type::Whole, &[columns], "−1 is unseen"));
                let each = |j| codes.as_ref().map(|codes| graph.select(codes, 1, j as i64));
                Entrance { numbers: dense, codes: (0..columns).filter_map(each).collect() }
            }
            Input::Image { channels, height, width } => {
                let images = one("images", float, &[channels, height, width], "");
                Entrance { numbers: Some(images), codes: vec![] }
            }
            Input::Sequence { steps, features } => {
                Entrance { numbers: Some(one("sequences", float, &[steps, features], "")), codes: vec![] }
            }
            Input::Tokens { context, .. } => {
                let tokens = one("tokens", Type::Whole, &[context], "−1 is unseen");
                Entrance { numbers: None, codes: vec![tokens] }
            }
        }
    }
}

/// The same numbers, rounded to f32.
fn narrow<F: Float>(params: &Params<F>) -> Params<f32> {
    let mut single = Params::zeros(params.layout());
    single.flat_mut().iter_mut().zip(params.flat()).for_each(|(to, &x)| *to = x.to_f64() as f32);
    single
}
