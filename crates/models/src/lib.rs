//! What Thalweg trains: linear models, networks, losses, the saved form.

pub mod functions;
pub mod layers;
pub mod linear;
pub mod losses;
pub mod network;
pub mod onnx;
pub mod saved;
