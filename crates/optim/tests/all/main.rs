//! What every update rule must do: recorded runs of PyTorch, our own slow reference, properties over the registry.

mod around;
mod common;
mod random_runs;
mod reference;
mod trajectories;
