use crate::{args, failure::Failure};
pub fn run(_: &args::Predict) -> Result<(), Failure> { Err(Failure::usage("soon")) }
