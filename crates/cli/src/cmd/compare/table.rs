use crate::{args, failure::Failure};
pub fn run(_: &args::Compare) -> Result<(), Failure> {
    Err(Failure::usage("soon"))
}
