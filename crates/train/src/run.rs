//! [`RunFolder`]: where a run's files go.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder of one run: `config.toml`, `metrics.jsonl`, `split.csv`, `model.safetensors`, `report.html`.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The folders that were made for it, the outermost first.
    made: Vec<PathBuf>,
}

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
    /// Where the folder would be, there is a file.
    #[error("cannot make the folder {}: {} is a file; name another --out", .folder.display(), .file.display())]
    IsFile {
        /// The folder.
        folder: PathBuf,
        /// The file.
        file: PathBuf,
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
    #[error("cannot write {}: {source}; nothing of this run is kept", .file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes a folder and whatever is above it; says which there were not.
fn make(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let absent = |f: &&Path| !f.as_os_str().is_empty() && fs::symlink_metadata(f).is_err();
    let mut made: Vec<PathBuf> = folder.ancestors().take_while(absent).map(PathBuf::from).collect();
    made.reverse();
    fs::create_dir_all(folder).inspect_err(|_| unmake(&made))?;
    Ok(made)
}

/// Removes those of the folders that are empty, the innermost first.
fn unmake(made: &[PathBuf]) {
    // remove_dir refuses a folder with files in it.
    let _ = made.iter().rev().try_for_each(fs::remove_dir);
}

impl RunFolder {
    /// Whether a run may write into the folder `out`: it must be empty or absent unless `force`.
    ///
    /// # Errors
    /// [`RunError`]: not empty, or in the place of a file.
    pub fn check(out: &Path, force: bool) -> Result<(), RunError> {
        let there = |f: &Path| fs::metadata(f).ok().map(|meta| (f.to_path_buf(), meta.is_dir()));
        if let Some((file, false)) = out.ancestors().find_map(there) {
            return Err(RunError::IsFile { folder: out.into(), file });
        }
        let full = fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
        if full && !force { Err(RunError::NotEmpty { folder: out.into() }) } else { Ok(()) }
    }

    /// The folder `out`, which must be empty or absent unless `force`; without `out` the first free `runs/<data>-<n>`.
    ///
    /// # Errors
    /// [`RunError`]: not empty, or it cannot be made.
    pub fn create(out: Option<&Path>, data: &Path, force: bool) -> Result<Self, RunError> {
        let error = |folder: &Path, source| RunError::Make { folder: folder.into(), source };
        if let Some(folder) = out {
            Self::check(folder, force)?;
            let made = make(folder).map_err(|e| error(folder, e))?;
            return Ok(Self { path: folder.into(), made });
        }
        let runs = Path::new("runs");
        let mut made = make(runs).map_err(|e| error(runs, e))?;
        let stem = data.file_stem().map_or_else(|| "run".into(), |s| s.to_string_lossy().into_owned());
        let mut n = 1u64;
        loop {
            let path = runs.join(format!("{stem}-{n}"));
            // create_dir fails on an existing folder: two runs at once get two folders.
            match fs::create_dir(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => n += 1,
                Err(e) => {
                    unmake(&made);
                    return Err(error(&path, e));
                }
                Ok(()) => {
                    made.push(path.clone());
                    return Ok(Self { path, made });
                }
            }
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A file that is written in its place while the run goes on.
    ///
    /// # Errors
    /// [`RunError::Write`] if what was there cannot be set aside.
    pub fn live(&self, name: &str) -> Result<Live, RunError> {
        let path = self.file(name);
        let aside = self.file(&format!("{name}.before"));
        let moved = match fs::rename(&path, &aside) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(source) => return Err(RunError::Write { file: path, source }),
        };
        Ok(Live { path, before: moved.then_some(aside) })
    }

    /// Begins to write the files of the run.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn stage(&self) -> Result<Staged<'_>, RunError> {
        let made = tempfile::Builder::new().prefix(".thalweg-").suffix(".partial").tempdir_in(&self.path);
        let partial = made.map_err(|source| RunError::Write { file: self.path.clone(), source })?;
        Ok(Staged { folder: self, partial, names: vec![] })
    }

    /// Removes the folder, and those that were made with it, if nothing was written into it: a run that failed early leaves
    /// nothing behind. A folder that was there before stays.
    pub fn remove_if_empty(&self) {
        unmake(&self.made);
    }
}

/// A file that is written while the run goes on. Dropped without [`Live::keep`], it goes, and what was there before is back.
#[derive(Debug)]
pub struct Live {
    path: PathBuf,
    before: Option<PathBuf>,
}

impl Live {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run has come to its end: what was there before can go.
    pub fn keep(mut self) {
        if let Some(before) = self.before.take() {
            let _ = fs::remove_file(before);
        }
        self.path = PathBuf::new();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.path.as_os_str().is_empty() {
            return;
        }
        let _ = match &self.before {
            Some(before) => fs::rename(before, &self.path),
            None => fs::remove_file(&self.path),
        };
    }
}

/// The files of a run that has ended. They appear together, by [`Staged::commit`], or not at all.
#[derive(Debug)]
pub struct Staged<'a> {
    folder: &'a RunFolder,
    partial: TempDir,
    names: Vec<&'static str>,
}

impl Staged<'_> {
    /// Adds a file.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn write(
        &mut self,
        name: &'static str,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), RunError> {
        let written = File::create(self.partial.path().join(name)).and_then(|mut file| {
            fill(&mut file)?;
            file.sync_all()
        });
        written.map_err(|source| RunError::Write { file: self.folder.file(name), source })?;
        self.names.push(name);
        Ok(())
    }

    /// Moves the files into the folder, and removes those of `stale` that belong to an earlier run.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn commit(self, stale: &[&str]) -> Result<(), RunError> {
        for name in &self.names {
            let file = self.folder.file(name);
            fs::rename(self.partial.path().join(name), &file)
                .map_err(|source| RunError::Write { file, source })?;
        }
        for name in stale.iter().filter(|name| !self.names.contains(*name)) {
            let _ = fs::remove_file(self.folder.file(name));
        }
        let folder = self.folder.path.clone();
        drop(self.partial);
        // A folder cannot be opened on every system; the files are in place by then.
        let synced = if cfg!(unix) { File::open(&folder).and_then(|f| f.sync_all()) } else { Ok(()) };
        synced.map_err(|source| RunError::Write { file: folder, source })
    }
}
