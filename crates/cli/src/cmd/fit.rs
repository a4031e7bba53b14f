use crate::{args, failure::Failure};
pub fn run(_: &args::Fit) -> Result<(), Failure> { Err(Failure::usage("soon")) }
