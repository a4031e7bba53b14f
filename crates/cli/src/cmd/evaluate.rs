use crate::{args, failure::Failure};
pub fn run(_: &args::Evaluate) -> Result<(), Failure> { Err(Failure::usage("soon")) }
