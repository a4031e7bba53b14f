//! Networks: they learn, follow PyTorch, keep their promises about rows, threads and memory.

mod checkpoints;
mod common;
mod curvature;
mod frozen;
mod layers;
mod learning;
mod promises;
mod pytorch;
mod text;
mod threads;
