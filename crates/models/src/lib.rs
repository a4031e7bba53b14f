//! What Thalweg trains: linear models, losses, the saved form.

pub mod linear;
pub mod losses;
