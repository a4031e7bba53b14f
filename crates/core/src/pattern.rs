//! Patterns that name tensors: `matrices` (weights with two axes or more), `vectors` (everything else), `weights`, `biases`, `gains` (of
//! norms), `embeddings`, or tensor names in which `*` stands for anything; several alternatives are separated by blanks.

use crate::{Kind, Tensor};

/// Whether a pattern names the tensor.
///
/// ```
/// use thalweg_core::{Kind, Layout, pattern};
/// let layout = Layout::builder()
///     .tensor("0.weight", &[3, 2], &["out", "in"], Kind::Weight)
///     .tensor("0.bias", &[3], &["out"], Kind::Bias)
///     .build();
/// let named = |pattern| layout.tensors().iter().filter(|t| pattern::matches(pattern, t)).count();
/// assert_eq!((named("0.*"), named("matrices"), named("biases 0.weight"), named("1.*")), (2, 1, 2, 0));
/// ```
pub fn matches(pattern: &str, tensor: &Tensor) -> bool {
    pattern.split_whitespace().any(|p| match p {
        "matrices" => is_matrix(tensor),
        "vectors" => !is_matrix(tensor),
        "weights" => tensor.kind == Kind::Weight,
        "biases" => tensor.kind == Kind::Bias,
        "gains" => tensor.kind == Kind::Gain,
        "embeddings" => tensor.kind == Kind::Embedding,
        name => glob(name, &tensor.name),
    })
}

/// A weight with two axes or more.
pub fn is_matrix(tensor: &Tensor) -> bool {
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
