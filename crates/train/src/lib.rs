//! The training loop: fit, evaluate, compare, reports.
