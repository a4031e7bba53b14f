//! What every update rule must do: recorded runs of PyTorch, our own slow reference, properties over the registry.

mod around;
mod closed_form;
mod common;
mod compressed;
mod expressions;
mod formats;
mod masks;
mod mixed;
mod penalties;
mod properties;
mod proximal;
mod random_runs;
mod recorded;
mod reference;
mod registry;
mod rows;
mod schedules;
mod slices;
mod slow;
mod stages;
mod state;
mod stepper;
mod tensors;
mod trajectories;
mod whole;
