//! The built command, run as a person runs it: what it prints, what it writes, what it leaves, what it exits with.

mod bad_input;
mod common;
mod compare;
mod describing;
mod documents;
mod exporting;
mod failing_files;
mod honest_score;
mod interrupt;
mod losses;
mod networks;
mod predicting;
mod reading;
mod same_bits;
mod texts;
mod weights;
mod wrong_usage;
