//! What every update rule must do: recorded runs of PyTorch, our own slow reference, properties over the registry.

mod around;
mod common;
mod properties;
mod random_runs;
mod reference;
mod slices;
mod trajectories;
