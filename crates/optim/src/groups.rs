//! Groups of tensors by pattern, as in `{ matrices: muon(lr=0.02); rest: adamw }`.
//!
//! A pattern is `matrices` (weights with two axes or more), `hidden` (those that do not make the model's outputs), `head` (those that
//! do), `vectors` (everything that is no matrix), `weights`, `biases`, `gains` (of norms), `embeddings`, `rest` (what no other pattern
//! names), or tensor names in which `*` stands for anything; several alternatives are separated by blanks.

use thalweg_core::{Kind, Layout, Tensor};

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
    for (i, tensor) in layout.tensors().iter().enumerate() {
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
            let tensors: Vec<String> = layout.tensors().iter().map(|t| format!("{:?}", t.name)).collect();
            return Err(GroupError::Empty { pattern: pattern.into(), tensors: tensors.join(", ") });
        }
    }
    Ok(sets)
}

fn matches(pattern: &str, tensor: &Tensor) -> bool {
    pattern.split_whitespace().any(|p| match p {
        "matrices" => is_matrix(tensor),
        "hidden" => is_matrix(tensor) && !tensor.head,
        "head" => tensor.head,
        "vectors" => !is_matrix(tensor),
        "weights" => tensor.kind == Kind::Weight,
        "biases" => tensor.kind == Kind::Bias,
        "gains" => tensor.kind == Kind::Gain,
        "embeddings" => tensor.kind == Kind::Embedding,
        name => glob(name, &tensor.name),
    })
}

/// A weight with two axes or more.
pub(crate) fn is_matrix(tensor: &Tensor) -> bool {
    tensor.kind == Kind::Weight && tensor.shape.len() >= 2
}

/// Whether `name` is `pattern`, in which `*` stands for any text.
fn glob(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => {
            let Some(after) = name.strip_prefix(start) else { return false };
            (0..=after.len()).filter(|&i| after.is_char_boundary(i)).any(|i| glob(rest, &after[i..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        let yes = [
            ("*", "a.b"),
            ("conv*", "conv1.weight"),
            ("*.weight", "conv1.weight"),
            ("a*b*c", "a--b-c"),
            ("ä*", "äö"),
        ];
        let no = [("conv", "conv1"), ("*.bias", "conv1.weight"), ("a*b", "ac"), ("", "a")];
        assert!(yes.iter().all(|(p, n)| glob(p, n)));
        assert!(!no.iter().any(|(p, n)| glob(p, n)));
    }
}
