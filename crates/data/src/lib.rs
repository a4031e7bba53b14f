//! Tables to batches: readers, type inference, encoder, splits.
