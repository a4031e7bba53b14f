//! Pixels into numbers: what an [`ImageEncoder`] does, as operators.

use thalweg_data::ImageEncoder;
use thalweg_models::onnx::{Edge, Graph, Type};

/// Adds an input for the images as they are in their file, and `(pixel·unit − mean)/scale` of them in float, computed in double.
pub(super) fn encode(images: &ImageEncoder, graph: &mut Graph) -> Edge {
    let ImageEncoder { channels, height, width, bytes, .. } = *images;
    let shape = [None, Some(channels), Some(height), Some(width)];
    let (kind, doc) =
        if bytes { (Type::Byte, "pixels, 0 is dark and 255 full") } else { (Type::Float, "pixels") };
    let x = graph.input("images", kind, &shape, doc);
    graph.within("encoder", |graph| {
        let mut x = graph.cast(&x, Type::Double);
        if bytes {
            let full = graph.scalar(255.0f64);
            x = graph.node("Div", &[&x, &full], []);
        }
        let mean = graph.constant("mean", &[channels, 1, 1], &images.mean);
        let scale = graph.constant("scale", &[channels, 1, 1], &images.scale);
        let x = graph.node("Sub", &[&x, &mean], []);
        let x = graph.node("Div", &[&x, &scale], []);
        graph.cast(&x, Type::Float)
    })
}
