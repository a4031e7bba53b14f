//! [`Failure`]: what ends the command early, and its exit status.

use std::error::Error;
use std::fmt::Write;

use crate::show;

/// Why the command ends early.
#[derive(Debug)]
pub enum Failure {
    /// The data, the target, a divergence: status 1.
    Run(String),
    /// Wrong usage: status 2.
    Usage(String),
    /// Interrupted, with the model so far saved: status 130.
    Interrupted,
    /// Whoever reads our output has gone: silent, status 1.
    ClosedPipe,
}

impl Failure {
    /// A failure of the run, with all its causes.
    pub fn run(error: impl Into<Box<dyn Error>>) -> Self {
        Failure::Run(chain(error.into().as_ref()))
    }
    /// A failure to use the command rightly.
    pub fn usage(message: impl ToString) -> Self {
        Failure::Usage(message.to_string())
    }
    /// The exit status.
    pub fn status(&self) -> i32 {
        match self {
            Failure::Run(_) | Failure::ClosedPipe => 1,
            Failure::Usage(_) => 2,
            Failure::Interrupted => 130,
        }
    }
    /// Says it on stderr.
    pub fn print(&self) {
        match self {
            Failure::Run(message) | Failure::Usage(message) => show::note(&format!("error: {message}")),
            Failure::Interrupted | Failure::ClosedPipe => {}
        }
    }
}

/// The message of an error with those of its causes that it does not say itself.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            let _ = write!(text, ": {said}");
        }
        cause = error.source();
    }
    text
}

/// What stdout says, as a failure: a closed pipe is silent.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
            _ => Failure::Run(format!("cannot write the output: {error}")),
        }
    }
}

/// A document that could not be written to stdout.
impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        std::io::Error::from(error).into()
    }
}
