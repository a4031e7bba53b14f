//! Where rows come from: a table or images, told by looking at what a path names.

use std::path::{Path, PathBuf};

use thalweg_data::images::{ChannelAxis, FolderOptions};
use thalweg_data::input::{self, Kind};
use thalweg_data::{ArrayError, DataError, ImageEncoder, ImageError, Images, ReadOptions, Table};

use crate::job::JobError;

/// How images are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageOptions {
    /// The height and width that the images of a folder are brought to; without, all must have one size.
    pub resize: Option<(usize, usize)>,
    /// Whether the images of a folder are read in grey.
    pub grey: bool,
    /// Which axis of an array `[n, ·, ·, ·]` holds the channels; inferred if absent.
    pub channels: Option<ChannelAxis>,
}

/// What is known of the rows: their classes, or a number for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Targets<'a> {
    /// It is in this file, or in this array of the same archive. A table has it in a column, and a folder in the names of its folders.
    In(&'a str),
    /// It is in the file that belongs to the rows by its name ([`input::targets_beside`]).
    Beside,
    /// The same, if there is such a file.
    IfThere,
    /// Nobody asks.
    Unasked,
}

/// What a path held.
#[derive(Debug)]
pub enum Source {
    /// A table: a CSV file, or an array of numbers.
    Table(Table),
    /// Images.
    Images(Images),
}

/// Reads what a path names, and says what a person should know. For a model of images (`like`), a folder's are brought to the
/// form of those that it was trained on.
///
/// # Errors
/// Data that cannot be read, and options that say something about data of another kind ([`JobError::Setting`]).
pub fn read(
    data: &Path,
    targets: Targets<'_>,
    table: &ReadOptions,
    images: &ImageOptions,
    like: Option<&ImageEncoder>,
) -> Result<(Source, Vec<String>), JobError> {
    let kind = input::kind(data);
    refuse(data, kind, table, images, like.is_some())?;
    match kind {
        Kind::Table => {
            let table = thalweg_data::read(data, table).map_err(DataError::from)?;
            Ok((Source::Table(table), vec![]))
        }
        Kind::Folder => folder(data, targets, images, like),
        Kind::Array => array(data, targets, images, like),
    }
}

/// Refuses options that would be passed over in silence.
fn refuse(
    data: &Path,
    kind: Kind,
    table: &ReadOptions,
    images: &ImageOptions,
    trained: bool,
) -> Result<(), JobError> {
    let what = match kind {
        Kind::Table => "is a table",
        Kind::Folder => "is a folder of images",
        Kind::Array => "holds an array",
    };
    let (csv, folder, array) = (kind == Kind::Table, kind == Kind::Folder, kind == Kind::Array);
    for (flag, given, fits, of) in [
        ("--delimiter", table.delimiter.is_some(), csv, "CSV files"),
        ("--header", table.header.is_some(), csv, "CSV files"),
        ("--missing", !table.missing.is_empty(), csv, "CSV files"),
        // Of the rows that a model is shown later, the model says these two.
        ("--resize", images.resize.is_some(), folder || trained, "folders of images"),
        ("--grey", images.grey, folder || trained, "folders of images"),
        ("--channels", images.channels.is_some(), array || trained, "arrays of images"),
    ] {
        if given && !fits {
            return Err(JobError::Setting(format!("{flag} is for {of}, and {} {what}", data.display())));
        }
    }
    Ok(())
}

fn folder(
    data: &Path,
    targets: Targets<'_>,
    images: &ImageOptions,
    like: Option<&ImageEncoder>,
) -> Result<(Source, Vec<String>), JobError> {
    let options = match like {
        Some(like) => FolderOptions {
            resize: like.resized.then_some((like.height, like.width)),
            colour: [(1, false), (3, true)].iter().find(|(n, _)| *n == like.channels).map(|(_, c)| *c),
        },
        None => FolderOptions { resize: images.resize, colour: images.grey.then_some(false) },
    };
    let (found, notes) = Images::from_folder(data, &options).map_err(wrap)?;
    let found = match targets {
        Targets::In(file) if found.labels.is_none() => {
            let labels = input::read_array(file).map_err(DataError::from)?;
            found.labelled(Path::new(file), &labels).map_err(wrap)?
        }
        Targets::In(_) => {
            return Err(JobError::Setting(format!(
                "--target is not needed: the folders in {} are the classes",
                data.display()
            )));
        }
        Targets::Beside if found.labels.is_none() => {
            return Err(wrap(ImageError::NoLabels { file: data.into() }));
        }
        _ => found,
    };
    Ok((Source::Images(found), notes.iter().map(ToString::to_string).collect()))
}

fn array(
    data: &Path,
    targets: Targets<'_>,
    images: &ImageOptions,
    like: Option<&ImageEncoder>,
) -> Result<(Source, Vec<String>), JobError> {
    let (features, labels) = files(data, targets).map_err(DataError::from)?;
    if labels.is_none() && targets == Targets::Beside {
        return Err(JobError::Setting(format!(
            "{} holds an array; name the file of its classes or numbers: --target FILE",
            data.display()
        )));
    }
    let array = input::read_array(&features).map_err(DataError::from)?;
    let notes = match (&labels, targets) {
        (Some(file), Targets::Beside) => vec![format!("target from {}", file.display())],
        _ => vec![],
    };
    let labels = labels.map(|file| input::read_array(&file).map(|array| (file, array)));
    let labels = labels.transpose().map_err(DataError::from)?;
    if array.shape.len() < 3 {
        if images.channels.is_some() && like.is_none() {
            return Err(JobError::Setting(format!(
                "--channels is for arrays of images, and {} has the shape {:?}",
                features.display(),
                array.shape
            )));
        }
        let labels = labels.as_ref().map(|(file, array)| (file.as_path(), array));
        let table = Table::from_arrays(&features, &array, labels).map_err(DataError::from)?;
        return Ok((Source::Table(table), notes));
    }
    let axis = images.channels.or_else(|| like.and_then(|like| axis_of(&array.shape, like)));
    let labels = labels.as_ref().map(|(file, array)| (file.as_path(), array.clone()));
    let images = Images::from_arrays(features, array, labels, axis).map_err(wrap)?;
    Ok((Source::Images(images), notes))
}

/// The axis that makes images of a shape those that a model takes, if only one does.
fn axis_of(shape: &[usize], like: &ImageEncoder) -> Option<ChannelAxis> {
    let [_, a, b, c] = *shape else { return None };
    let wanted = [like.channels, like.height, like.width];
    match ([a, b, c] == wanted, [c, a, b] == wanted) {
        (true, false) => Some(ChannelAxis::Second),
        (false, true) => Some(ChannelAxis::Last),
        _ => None,
    }
}

/// The array of the rows, and that of their targets if there is one.
fn files(data: &Path, targets: Targets<'_>) -> Result<(PathBuf, Option<PathBuf>), ArrayError> {
    let archive = input::archive(data);
    let features = |target: Option<&str>| match &archive {
        Some((file, None)) => input::features_of(file, target),
        _ => Ok(data.into()),
    };
    match targets {
        Targets::In(target) => {
            let path = Path::new(target);
            Ok(match &archive {
                // An array of the archive, unless it is a file.
                Some((file, _)) if !path.exists() && input::archive(path).is_none() => {
                    (features(Some(target))?, Some(file.join(target)))
                }
                _ => (features(None)?, Some(path.into())),
            })
        }
        Targets::Beside | Targets::IfThere => {
            let features = features(None)?;
            let targets = input::targets_beside(&features);
            Ok((features, targets))
        }
        Targets::Unasked => Ok((features(None)?, None)),
    }
}

fn wrap(error: ImageError) -> JobError {
    DataError::from(error).into()
}
