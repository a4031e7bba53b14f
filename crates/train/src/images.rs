//! Images as the rows of a job: a file of images, a file of their classes.

use std::path::Path;

use thalweg_data::{
    DataError, Dataset, Encoder, ImageEncoder, ImageError, Images, Part, Split, SplitBy, SplitOptions,
    TargetCode, Task, TaskKind, idx,
};
use thalweg_models::losses::{self, Loss};

use crate::job::{Job, JobError, Parts, Prepared};

/// What a model of images says it predicts.
const TARGET: &str = "class";

/// Images and their classes; where no file of classes is named, the one that belongs to the images by its name.
///
/// # Errors
/// What [`Images::from_idx`] refuses, and images without classes.
pub fn read_labelled(images: &Path, labels: Option<&Path>) -> Result<Images, ImageError> {
    let beside = idx::labels_beside(images);
    let Some(labels) = labels.or(beside.as_deref()) else {
        return Err(ImageError::NoLabels { file: images.into() });
    };
    Images::from_idx(images, Some(labels))
}

/// Refuses settings that say something about columns.
fn check(job: &Job) -> Result<(), JobError> {
    let learn = &job.learn;
    let wrong = [
        ("--weight", learn.weight.is_some()),
        ("--types", !learn.types.is_empty()),
        ("--keep", !learn.keep.is_empty()),
        ("--ignore", !learn.ignore.is_empty()),
        ("a column in --split", matches!(job.split, SplitBy::Column(_))),
    ];
    if let Some((flag, _)) = wrong.iter().find(|(_, given)| *given) {
        return Err(JobError::Setting(format!(
            "{flag} is for tables, and {} holds images",
            job.data.display()
        )));
    }
    if job.model.is_none() {
        return Err(JobError::Setting(format!(
            "{} holds images, which need a network; say --model \"conv(16) relu pool(2) flatten dense(64) relu\"",
            job.data.display()
        )));
    }
    if job.task == Some(TaskKind::Number) {
        return Err(JobError::Setting("--task number is for tables: images have classes".into()));
    }
    Ok(())
}

/// Reads, cuts and encodes images.
pub(crate) fn prepare(job: Job) -> Result<Prepared, JobError> {
    check(&job)?;
    let wrap = |error: ImageError| JobError::from(DataError::from(error));
    let images = Images::from_idx(&job.data, Some(Path::new(&job.target))).map_err(wrap)?;
    let rows: Vec<u32> = (0..images.count as u32).collect();
    let options = SplitOptions {
        test: job.test.fraction(),
        valid: job.valid.fraction(),
        by: job.split.clone(),
        seed: job.seed,
    };
    let split =
        Split::of_rows(&job.data, &rows, images.labels.as_deref(), &options).map_err(DataError::from)?;
    let coder = ImageEncoder::learn(&images, &split.train, true).map_err(wrap)?;
    let classes = coder.classes.len();
    let loss = job.loss.unwrap_or(if classes == 2 { Loss::LOGISTIC } else { Loss::SOFTMAX });
    if classes < 2 || loss.outputs(classes) == 0 || !loss.task().is_classes() {
        return Err(JobError::Setting(format!(
            "the loss {loss} cannot train on {classes} classes of images"
        )));
    }
    if loss.task() == losses::Task::TwoClasses && classes > 2 {
        return Err(JobError::Setting(format!(
            "{loss} is for two classes, and the images have {classes}; take softmax"
        )));
    }
    let part = |part: &Part, rows: &[u32]| -> Result<Option<Dataset<f64>>, JobError> {
        match part {
            Part::File(file) => {
                let other = read_labelled(file, None).map_err(wrap)?;
                let rows: Vec<u32> = (0..other.count as u32).collect();
                coder.encode(&other, &rows, true).map(Some).map_err(wrap)
            }
            _ if rows.is_empty() => Ok(None),
            _ => coder.encode(&images, rows, true).map(Some).map_err(wrap),
        }
    };
    let train = coder.encode(&images, &split.train, true).map_err(wrap)?;
    let valid = part(&job.valid, &split.valid)?;
    let test = part(&job.test, &split.test)?;
    let note = format!(
        "{} images of {} × {} pixels, {} channels, {classes} classes",
        images.count, images.height, images.width, images.channels
    );
    let encoder = Encoder {
        columns: vec![],
        target: Some(TargetCode {
            column: TARGET.into(),
            task: Task::Classes(coder.classes.clone()),
            center: 0.0,
            scale: 1.0,
        }),
        weight: None,
    };
    let notes = vec![note];
    Prepared::of_parts(job, Parts { encoder, images: Some(coder), split, train, valid, test, loss }, notes)
}
