use crate::{args, failure::Failure};
pub fn run(_: &args::Inspect) -> Result<(), Failure> { Err(Failure::usage("soon")) }
