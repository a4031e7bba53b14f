//! [`RunFolder`]: where a run's files go.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thalweg_models::saved::write_whole;

/// A folder of one run: `config.toml`, `metrics.jsonl`, `split.csv`, `model.safetensors`, `report.html`.
#[derive(Clone, Debug)]
pub struct RunFolder(PathBuf);

/// Why a run has no folder to write into.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The folder is there and has files.
    #[error("{} is not empty; say --force to write into it, or name another --out", .folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder cannot be made.
    #[error("cannot make the folder {}: {source}", .folder.display())]
    Make {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", .file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl RunFolder {
    /// The folder `out`, which must be empty or absent unless `force`; without `out` the first free `runs/<data>-<n>`.
    ///
    /// # Errors
    /// [`RunError`]: not empty, or it cannot be made.
    pub fn create(out: Option<&Path>, data: &Path, force: bool) -> Result<Self, RunError> {
        let make = |folder: &Path, all: bool| {
            let made = if all { fs::create_dir_all(folder) } else { fs::create_dir(folder) };
            made.map_err(|source| RunError::Make { folder: folder.into(), source })
        };
        if let Some(folder) = out {
            make(folder, true)?;
            let mut entries =
                fs::read_dir(folder).map_err(|source| RunError::Make { folder: folder.into(), source })?;
            if entries.next().is_some() && !force {
                return Err(RunError::NotEmpty { folder: folder.into() });
            }
            return Ok(Self(folder.into()));
        }
        let runs = Path::new("runs");
        make(runs, true)?;
        let stem = data.file_stem().map_or_else(|| "run".into(), |s| s.to_string_lossy().into_owned());
        let mut n = 1u64;
        loop {
            let folder = runs.join(format!("{stem}-{n}"));
            // create_dir fails on an existing folder: two runs at once get two folders.
            match make(&folder, false) {
                Err(RunError::Make { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => n += 1,
                made => return made.map(|()| Self(folder)),
            }
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in it, whole or not at all.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn write(&self, name: &str, text: &str) -> Result<(), RunError> {
        let file = self.file(name);
        write_whole(&file, |out| out.write_all(text.as_bytes()))
            .map_err(|source| RunError::Write { file, source })
    }

    /// Removes the folder if nothing was written into it: a run that failed early leaves nothing behind.
    pub fn remove_if_empty(&self) {
        // remove_dir refuses a folder with files in it.
        if fs::remove_dir(&self.0).is_ok()
            && let Some(runs) = self.0.parent().filter(|p| *p == Path::new("runs"))
        {
            let _ = fs::remove_dir(runs);
        }
    }
}
