//! A trained model as one ONNX file, from what a user has to what the command predicts.
//!
//! A table goes in column by column, under the columns' names: numbers in double (NaN is missing), categories as text (`""` is
//! missing), dates in days since 1970-01-01. Images go in as they are in their file. Out come `label` and `probabilities`, or
//! `prediction` in the target's own units: numbers in double for tables, in float for images. What is computed in between is what
//! [`Model::respond`] computes: encoding and linear models in double, networks in float. A text goes in as the numbers of its symbols: the
//! places of characters in the property `characters` (any other character is the number behind them), or bytes.

mod columns;
mod dates;
mod images;

use thalweg_data::Code;
use thalweg_models::network::Entrance;
use thalweg_models::onnx::{Attribute, Edge, Exported, Graph, OnnxError, Type};
use thalweg_models::saved::canonical;

use crate::model::{Form, Model, target_scale};

/// What the graph's results are called. A column of the same name keeps it, and the result gets a number.
const LABEL: &str = "label";
const PROBABILITIES: &str = "probabilities";
const PREDICTION: &str = "prediction";

impl Model {
    /// The model as an ONNX file. The same model gives the same bytes.
    ///
    /// # Errors
    /// [`OnnxError`].
    pub fn to_onnx(&self) -> Result<Exported, OnnxError> {
        if let (Some(vocabulary), Some(network)) = (&self.text, self.network()) {
            let (unit, characters) =
                (crate::text::unit(vocabulary), String::from_iter(vocabulary.characters()));
            let properties = [("model", &*self.expression()), ("unit", unit), ("characters", &characters)];
            return network.to_onnx(&self.narrowed(), &properties);
        }
        let mut graph = Graph::default();
        let (scores, kind) = self.scores(&mut graph);
        let responses = self.loss().export(&mut graph, &scores);
        let table = self.images.is_none();
        let responses =
            if table && kind == Type::Float { graph.cast(&responses, Type::Double) } else { responses };
        let kind = if table { Type::Double } else { kind };
        match self.classes() {
            [] => self.answer_number(&mut graph, &responses),
            classes => answer_classes(&mut graph, classes, kind, &responses),
        }
        let (model, loss) = (self.expression(), self.loss().to_string());
        let doc = format!("{model} under {loss}, of {:?}", self.target());
        let classes = canonical(&self.classes());
        let mut properties = vec![("model", &model[..]), ("loss", &loss), ("target", self.target())];
        if !self.classes().is_empty() {
            properties.push(("classes", &classes));
        }
        graph.finish(&doc, &properties)
    }

    /// The scores, and what they are held in.
    fn scores(&self, graph: &mut Graph) -> (Edge, Type) {
        let network = match (&self.form, &self.images) {
            (Form::Linear(linear), _) => {
                let rows = columns::encode(&self.encoder, graph);
                let categories =
                    self.encoder.columns.iter().filter(|c| matches!(c.code, Code::Category { .. }));
                let levels = categories.map(|c| c.code.levels());
                let codes: Vec<(Edge, usize)> = rows.codes.into_iter().zip(levels).collect();
                return (linear.export(graph, &self.params, rows.numbers.as_ref(), &codes), Type::Double);
            }
            (Form::Network(network), _) => network,
        };
        let entrance = match &self.images {
            Some(images) => Entrance { numbers: Some(images::encode(images, graph)), codes: vec![] },
            None => {
                let rows = columns::encode(&self.encoder, graph);
                Entrance { numbers: rows.numbers.map(|x| graph.cast(&x, Type::Float)), codes: rows.codes }
            }
        };
        (network.export(graph, &crate::model::narrowed(&self.params), entrance), Type::Float)
    }

    /// The prediction in the target's own units, from one in units of training.
    fn answer_number(&self, graph: &mut Graph, responses: &Edge) {
        let (center, scale) = target_scale(&self.encoder);
        let mut y = graph.squeeze(responses, 1);
        if (center, scale) != (0.0, 1.0) {
            let (center, scale) = (graph.scalar(center), graph.scalar(scale));
            y = graph.node("Mul", &[&y, &scale], []);
            y = graph.node("Add", &[&y, &center], []);
        }
        let doc = format!("{}, in its own units", self.target());
        graph.output(PREDICTION, Type::Double, &[None], &doc, &y);
    }
}

/// The most probable class, the first of equals, and the probabilities of all.
fn answer_classes(graph: &mut Graph, classes: &[String], kind: Type, probabilities: &Edge) {
    let best = [Attribute::whole("axis", 1), Attribute::whole("keepdims", 0)];
    let best = graph.node("ArgMax", &[probabilities], best);
    let names = graph.texts("classes", classes);
    let label = graph.node("Gather", &[&names, &best], [Attribute::whole("axis", 0)]);
    graph.output(LABEL, Type::Text, &[None], "the most probable class", &label);
    let doc = format!("of {}", classes.join(", "));
    graph.output(PROBABILITIES, kind, &[None, Some(classes.len())], &doc, probabilities);
}
