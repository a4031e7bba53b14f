//! [`Export`]: layers as operators; [`Exporter`]: what they need for that.

use thalweg_autodiff::Shape;
use thalweg_core::Params;

use super::{Edge, Graph};
use crate::layers::Place;

/// What a layer is in ONNX.
pub(crate) trait Export {
    /// Adds its operators for rows of the shape `input`, `x [n, input..]`; returns its results.
    fn export(&self, to: &mut Exporter<'_>, x: &Edge, input: Shape) -> Edge;
}

/// A graph, and the numbers of the network that is added to it.
#[derive(Debug)]
pub(crate) struct Exporter<'a> {
    pub graph: &'a mut Graph,
    params: &'a Params<f32>,
    statistics: &'a Params<f32>,
    /// The masks of attention so far, by their steps.
    masks: Vec<(usize, Edge)>,
}

impl<'a> Exporter<'a> {
    /// A network's numbers, on their way into a graph.
    pub fn new(graph: &'a mut Graph, params: &'a Params<f32>, statistics: &'a Params<f32>) -> Self {
        Self { graph, params, statistics, masks: Vec::new() }
    }
    /// A parameter tensor as it is.
    pub fn parameter(&mut self, place: Place) -> Edge {
        let (params, at) = (self.params, place.index());
        self.reshaped(place, &params.layout().tensors()[at].shape)
    }
    /// The numbers of a parameter tensor in another shape.
    pub fn reshaped(&mut self, place: Place, shape: &[usize]) -> Edge {
        let (name, numbers) = self.numbers(place);
        self.graph.constant(name, shape, numbers)
    }
    /// A tensor of what is kept beside the parameters.
    pub fn statistic(&mut self, place: Place) -> Edge {
        let tensor = &self.statistics.layout().tensors()[place.index()];
        self.graph.constant(&tensor.name, &tensor.shape, &self.statistics.flat()[tensor.range()])
    }
    /// The name and the numbers of a parameter tensor.
    pub fn numbers(&self, place: Place) -> (&'a str, &'a [f32]) {
        let tensor = &self.params.layout().tensors()[place.index()];
        (&tensor.name, &self.params.flat()[tensor.range()])
    }
    /// What is added to the scores of `t` steps, so that none looks at a later one: `[t, t]`, 0 or −∞. One for the whole graph.
    pub fn causal_mask(&mut self, t: usize) -> Edge {
        if let Some((_, mask)) = self.masks.iter().find(|(steps, _)| *steps == t) {
            return mask.clone();
        }
        let later = |i: usize| if i % t > i / t { f32::NEG_INFINITY } else { 0.0 };
        let mask: Vec<f32> = (0..t * t).map(later).collect();
        let mask = self.graph.constant("causal_mask", &[t, t], &mask);
        self.masks.push((t, mask.clone()));
        mask
    }
    /// Adds a part of a layer, whose operators' names start with `part`.
    pub fn within<R>(&mut self, part: &str, f: impl FnOnce(&mut Self) -> R) -> R {
        let before = self.graph.enter(part);
        let result = f(self);
        self.graph.leave(before);
        result
    }
}
