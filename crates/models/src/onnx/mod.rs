//! ONNX: a model as a graph of operators that other programs run, <https://onnx.ai>.
//!
//! [`Graph`] is what is built; [`Linear::export`](crate::linear::Linear::export) and [`Network::export`](crate::network::Network::export) add a
//! model to it, [`Loss::export`](crate::losses::Loss::export) what the scores mean. How a layer becomes operators stands in the layer's own file, so
//! the compiler asks for it when a layer is added. [`Network::to_onnx`](crate::network::Network::to_onnx) makes a file of a network alone.
//!
//! Rows are the first axis, as many as are given. Operators are those of set 17 (and `ai.onnx.ml` 2 for texts), of 2022; ONNX
//! Runtime 1.15 and 1.32 were checked. There is no time or path in a file, so the same model gives the same bytes.
//!
//! # Layouts
//! Images stay `[n, channels, height, width]`, so a dense layer behind `flatten` has its columns in that order, as in PyTorch. Tensors
//! keep PyTorch's names and shapes, save where ONNX wants another order: the gates of GRU and LSTM, and tables of embeddings, which
//! get a row of zeros at the end, so that code −1 stands for what training never saw.

mod exporter;
mod graph;
mod losses;
mod proto;

pub(crate) use self::exporter::{Export, Exporter};
pub use self::graph::{Attribute, Edge, Element, Exported, Graph, OPSET, OnnxError, Port, Type};
