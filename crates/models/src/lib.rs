//! What Thalweg trains: linear models, losses, the saved form.
