//! What Thalweg trains: linear models, losses, the saved form.

pub mod functions;
pub mod linear;
pub mod losses;
pub mod saved;
