//! [`Kind`]: what a path names, told by looking at it; [`read_array`]: an array, whichever format it has.

use std::path::{Path, PathBuf};

use crate::array::Array;
use crate::error::{ArrayError, list};
use crate::idx;
use crate::npy::{self, Npz};
use crate::stream::Stream;

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A table, as CSV: whatever is none of the others.
    Table,
    /// A folder.
    Folder,
    /// An array: an IDX file (its first bytes tell), a NumPy file (they tell as well, or `.npy` does), or one of the arrays of a `.npz`
    /// archive (`archive.npz/name`, or the archive itself).
    Array,
}

/// What a path names.
pub fn kind(path: impl AsRef<Path>) -> Kind {
    let path = path.as_ref();
    match path {
        _ if path.is_dir() => Kind::Folder,
        _ if archive(path).is_some() || has_extension(path, "npy") => Kind::Array,
        _ if idx::is_idx(path) || npy::is_npy(path) => Kind::Array,
        _ => Kind::Table,
    }
}

/// Reads an array: an IDX file, a NumPy file, `archive.npz/name`, or an archive of one array.
///
/// # Errors
/// [`ArrayError`] names the file and what was expected.
pub fn read_array(path: impl AsRef<Path>) -> Result<Array, ArrayError> {
    let path = path.as_ref();
    if let Some((file, member)) = archive(path) {
        let mut npz = Npz::open(&file)?;
        let names: Vec<String> = npz.names().map(String::from).collect();
        let name = match (member, &names[..]) {
            (Some(member), _) => member,
            (None, [one]) => one.clone(),
            (None, names) => return Err(which(file, names)),
        };
        return npz.read(&name);
    }
    if idx::is_idx(path) {
        return idx::read(path);
    }
    if !npy::is_npy(path) && !has_extension(path, "npy") && path.is_file() {
        let mut stream = Stream::open(path)?;
        let found = stream.array::<4>("the format's first number")?;
        let expected = "an IDX file, which begins with 00 00, or a NumPy file, which begins with 93 NUMPY";
        return Err(stream.malformed(0, expected, idx::hex(&found)));
    }
    npy::read(path)
}

/// The features and the targets among the arrays of an archive: `target` names the targets, else they are the array that
/// belongs to the other by its name ([`targets_beside`]); the features are all that is left.
///
/// # Errors
/// [`ArrayError::Which`] where there is more than one other array, or none.
pub fn features_of(archive: &Path, target: Option<&str>) -> Result<PathBuf, ArrayError> {
    let names: Vec<String> = Npz::open(archive)?.names().map(String::from).collect();
    let is_target = |name: &String| match target {
        Some(target) => name == target,
        None => names.iter().any(|x| partners(x).contains(name)),
    };
    let left: Vec<&String> = names.iter().filter(|name| !is_target(name)).collect();
    match left[..] {
        [features] => Ok(archive.join(features)),
        _ => Err(which(archive.into(), &names)),
    }
}

fn which(file: PathBuf, names: &[String]) -> ArrayError {
    let example = names.first().cloned().unwrap_or_else(|| "x".into());
    ArrayError::Which { file, known: list(names.iter().map(String::as_str)), example }
}

/// The archive that a path goes into, and the array in it, if the path names one.
pub fn archive(path: &Path) -> Option<(PathBuf, Option<String>)> {
    if has_extension(path, "npz") && !path.is_dir() {
        return Some((path.into(), None));
    }
    let file = path.ancestors().skip(1).find(|p| has_extension(p, "npz") && p.is_file())?;
    let member = path.strip_prefix(file).ok()?.to_str()?;
    Some((file.into(), Some(member.strip_suffix(".npy").unwrap_or(member).into())))
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))
}

/// What belongs to features by its name, if there is such a file (or array of the same archive): the labels of
/// `train-images-idx3-ubyte` are `train-labels-idx1-ubyte`, packed or not; the targets of `x_train.npy` are `y_train.npy`, those of
/// `images.npy` `labels.npy`, those of `features.npy` `targets.npy` or `labels.npy`.
pub fn targets_beside(features: impl AsRef<Path>) -> Option<PathBuf> {
    let features = features.as_ref();
    if let Some((file, Some(member))) = archive(features) {
        let names = Npz::open(&file).ok()?;
        let known: Vec<&str> = names.names().collect();
        let partner = partners(&member).into_iter().find(|p| known.contains(&p.as_str()))?;
        return Some(file.join(partner));
    }
    let name = features.file_name()?.to_str()?;
    let beside = |name: &String| Some(features.with_file_name(name)).filter(|p| p.is_file());
    idx::labels_beside(features).or_else(|| partners(name).iter().find_map(beside))
}

/// The names that targets may have beside features of a name.
fn partners(name: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (features, targets) in [("images", "labels"), ("features", "targets"), ("features", "labels")] {
        if name.contains(features) {
            all.push(name.replace(features, targets));
        }
    }
    // x, X_train, test_x: a letter that stands alone.
    let alone = |at: usize| {
        let by = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        by(name[..at].chars().next_back()) && by(name[at + 1..].chars().next())
    };
    for (at, letter) in name.char_indices().filter(|&(at, c)| matches!(c, 'x' | 'X') && alone(at)) {
        let targets: &[&str] = if letter == 'x' { &["y"] } else { &["Y", "y"] };
        all.extend(targets.iter().map(|y| format!("{}{y}{}", &name[..at], &name[at + 1..])));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_names_like_their_features() {
        for (features, targets) in [
            ("x.npy", &["y.npy"][..]),
            ("X_train.npy", &["Y_train.npy", "y_train.npy"]),
            ("test_x.npy", &["test_y.npy"]),
            ("train-images.npy", &["train-labels.npy"]),
            ("features", &["targets", "labels"]),
            ("extra.npy", &[]),
            ("matrix", &[]),
            ("größe_x", &["größe_y"]),
        ] {
            assert_eq!(partners(features), targets, "{features}");
        }
    }
}
