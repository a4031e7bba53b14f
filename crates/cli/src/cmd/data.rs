use crate::{args, failure::Failure};
pub fn run(_: &args::Data) -> Result<(), Failure> { Err(Failure::usage("soon")) }
