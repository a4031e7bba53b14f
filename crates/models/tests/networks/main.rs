//! Networks: they learn, follow PyTorch, keep their promises about rows, threads and memory.

mod common;
mod learning;
mod promises;
mod pytorch;
mod text;
