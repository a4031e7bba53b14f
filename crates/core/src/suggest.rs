//! "Did you mean …?"

/// The candidate nearest to `word` (Damerau–Levenshtein, case ignored), if it is near enough to be a slip: at most a third
/// of the longer word differs, and at least one change is always allowed.
///
/// ```
/// use thalweg_core::suggest::nearest;
/// assert_eq!(nearest("adma", ["sgd", "adam", "rmsprop"]), Some("adam"));
/// assert_eq!(nearest("xyzzy", ["sgd", "adam"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&lower, &c.to_lowercase()), c))
        .filter(|(d, c)| *d <= (lower.chars().count().max(c.chars().count()) / 3).max(1))
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}
