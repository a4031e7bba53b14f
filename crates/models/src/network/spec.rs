//! [`ModelSpec`]: what a model expression asks for.

use std::fmt;
use std::str::FromStr;

use thalweg_core::expr::{self, Call, ExprError};

use crate::layers::{Item, Module, Reader, Sequential};

/// A model expression, checked: calls of [layers](crate::layers::ALL), parted by blanks. The output layer is not named: its size
/// follows from the data.
///
/// ```
/// use thalweg_models::network::ModelSpec;
/// let spec = ModelSpec::parse("mlp(128, 64, dropout=0.1)")?;
/// assert_eq!(spec.to_string(), "mlp(128, 64, dropout=0.1)");
/// let error = ModelSpec::parse("dense(16) rleu").unwrap_err().to_string();
/// assert_eq!(error, "there is no layer \"rleu\"\n  dense(16) rleu\n            ^^^^ did you mean \"relu\"?");
/// # Ok::<(), thalweg_core::expr::ExprError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ModelSpec {
    source: String,
    calls: Vec<Call>,
    items: Vec<Item>,
}

impl ModelSpec {
    /// Reads an expression.
    ///
    /// # Errors
    /// The place where it is wrong.
    pub fn parse(source: &str) -> Result<Self, ExprError> {
        let calls = expr::parse_calls(source)?;
        let mut items = Vec::new();
        for call in &calls {
            items.extend(Reader { call, source }.items()?);
        }
        Ok(Self { source: source.into(), calls, items })
    }
    /// The text that it was read from: places in errors are places in it.
    pub fn source(&self) -> &str {
        &self.source
    }
    /// The tokens of a row that one of the layers asks for, as in `transformer(context=64)`.
    pub fn context(&self) -> Option<usize> {
        self.items.iter().find_map(|item| match &item.module {
            Module::Position(position) => position.steps(),
            _ => None,
        })
    }
    /// The layers, without an output layer.
    pub fn layers(&self) -> Sequential {
        Sequential { items: self.items.clone() }
    }
}

impl PartialEq for ModelSpec {
    fn eq(&self, other: &Self) -> bool {
        self.calls == other.calls
    }
}

impl FromStr for ModelSpec {
    type Err = ExprError;
    fn from_str(source: &str) -> Result<Self, ExprError> {
        Self::parse(source)
    }
}

impl fmt::Display for ModelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, call) in self.calls.iter().enumerate() {
            write!(f, "{}{call}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}
