//! Groups of tensors by pattern, as in `{ matrices: muon(lr=0.02); rest: adamw }`.
//!
//! A pattern is `rest` (what no other pattern names), or one of [`thalweg_core::pattern`]. Frozen tensors are in no group.

use thalweg_core::Layout;
use thalweg_core::pattern::matches;

pub(crate) use thalweg_core::pattern::is_matrix;

/// Why an expression's groups do not fit a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// No pattern names the tensor.
    #[error("the tensor {tensor:?} is in none of the groups {patterns}; add a group \"rest\"")]
    Nowhere {
        /// Its name.
        tensor: String,
        /// The patterns.
        patterns: String,
    },
    /// Two patterns name the tensor.
    #[error("the tensor {tensor:?} is in two groups, {first:?} and {second:?}")]
    Twice {
        /// Its name.
        tensor: String,
        /// One pattern.
        first: String,
        /// The other.
        second: String,
    },
    /// A pattern names no tensor.
    #[error("the group {pattern:?} holds no tensor; there are {tensors}")]
    Empty {
        /// The pattern.
        pattern: String,
        /// The names of all tensors.
        tensors: String,
    },
    /// The rule is for other tensors.
    #[error("{rule} does not work on the tensor {tensor:?} of the group {group:?}")]
    Unfit {
        /// The rule's name.
        rule: &'static str,
        /// The tensor's name.
        tensor: String,
        /// The group's pattern.
        group: String,
    },
    /// The rule needs all parameters.
    #[error("{rule} works on all parameters together, and the group {group:?} does not hold all of them")]
    NotAll {
        /// The rule's name.
        rule: &'static str,
        /// The group's pattern.
        group: String,
    },
}

/// The tensors of each pattern; `None` stands for all.
pub(crate) fn assign(patterns: &[Option<&str>], layout: &Layout) -> Result<Vec<Vec<usize>>, GroupError> {
    let mut sets = vec![Vec::new(); patterns.len()];
    let rest = patterns.iter().position(|p| *p == Some("rest"));
    for (i, tensor) in layout.trained().iter().enumerate() {
        let mut found: Option<usize> = None;
        for (k, pattern) in patterns.iter().enumerate().filter(|(k, _)| Some(*k) != rest) {
            if !pattern.is_none_or(|p| matches(p, tensor)) {
                continue;
            }
            if let Some(first) = found {
                let name = |k: usize| patterns[k].unwrap_or("all").to_string();
                let tensor = tensor.name.clone();
                return Err(GroupError::Twice { tensor, first: name(first), second: name(k) });
            }
            found = Some(k);
        }
        match found.or(rest) {
            Some(k) => sets[k].push(i),
            None => {
                let patterns: Vec<String> =
                    patterns.iter().map(|p| format!("{:?}", p.unwrap_or("all"))).collect();
                return Err(GroupError::Nowhere {
                    tensor: tensor.name.clone(),
                    patterns: patterns.join(", "),
                });
            }
        }
    }
    for (k, set) in sets.iter().enumerate() {
        // "rest" may be nothing.
        if let Some(pattern) = patterns[k].filter(|_| set.is_empty() && Some(k) != rest) {
            let tensors: Vec<String> = layout.trained().iter().map(|t| format!("{:?}", t.name)).collect();
            return Err(GroupError::Empty { pattern: pattern.into(), tensors: tensors.join(", ") });
        }
    }
    Ok(sets)
}
