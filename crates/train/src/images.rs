//! Images as the rows of a job.

use std::sync::Arc;

use thalweg_data::{
    DataError, Dataset, Encoder, ImageEncoder, ImageError, Images, Part, Split, SplitBy, SplitOptions,
    TargetCode, TargetError, Task, TaskKind,
};

use crate::decide::loss_of;
use crate::job::{Job, JobError, Parts, Prepared};
use crate::source::{self, Source, Targets};

/// What a model of images says it predicts.
const TARGET: &str = "class";

/// Rows of images for a model that takes such: all of them, in their order.
///
/// # Errors
/// Images of another size or kind; with `targets`, those without classes or of classes that the model does not know.
pub fn rows_for(coder: &ImageEncoder, images: Images, targets: bool) -> Result<Dataset<f64>, JobError> {
    let all: Vec<u32> = (0..images.count as u32).collect();
    coder.rows(&Arc::new(images), &all, targets).map_err(wrap)
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
    if job.split == SplitBy::Ordered && job.data.is_dir() {
        return Err(JobError::Setting(
            "--split ordered would test the last classes alone: a folder has its images class by class"
                .into(),
        ));
    }
    Ok(())
}

/// Cuts and encodes images.
pub(crate) fn prepare(job: Job, images: Images, mut notes: Vec<String>) -> Result<Prepared, JobError> {
    check(&job)?;
    if let [class] = &images.classes[..] {
        let (file, target) = (job.data.clone(), TARGET.into());
        return Err(DataError::from(TargetError::OneClass { file, target, class: class.clone() }).into());
    }
    let rows: Vec<u32> = (0..images.count as u32).collect();
    let options = SplitOptions {
        test: job.test.fraction(),
        valid: job.valid.fraction(),
        by: job.split.clone(),
        seed: job.seed,
    };
    let split =
        Split::of_rows(&job.data, &rows, images.labels.as_deref(), &options).map_err(DataError::from)?;
    let mut coder = ImageEncoder::learn(&images, &split.train, !job.learn.raw).map_err(wrap)?;
    coder.resized = job.images.resize.is_some();
    let classes = coder.classes.len();
    let loss = loss_of(&job, classes, TARGET)?;
    if !loss.task().is_classes() {
        return Err(JobError::Setting(format!("the loss {loss} is for numbers, and images have classes")));
    }
    notes.insert(0, note(&images));
    let images = Arc::new(images);
    let part = |part: &Part, rows: &[u32]| -> Result<Option<Dataset<f64>>, JobError> {
        match part {
            Part::File(file) => {
                let (other, _) = source::read(file, Targets::Beside, &job.read, &job.images, Some(&coder))?;
                match other {
                    Source::Images(other) => rows_for(&coder, other, true).map(Some),
                    Source::Table(_) => Err(JobError::Setting(format!(
                        "{} is a table, and {} holds images",
                        file.display(),
                        job.data.display()
                    ))),
                }
            }
            _ if rows.is_empty() => Ok(None),
            _ => coder.rows(&images, rows, true).map(Some).map_err(wrap),
        }
    };
    let train = coder.rows(&images, &split.train, true).map_err(wrap)?;
    let valid = part(&job.valid, &split.valid)?;
    let test = part(&job.test, &split.test)?;
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
    Prepared::of_parts(job, Parts { encoder, images: Some(coder), split, train, valid, test, loss }, notes)
}

/// What is seen first: how many images, how large, of how many classes.
fn note(images: &Images) -> String {
    let Images { count, height, width, channels, ref classes, .. } = *images;
    let planes = if channels == 1 { "channel" } else { "channels" };
    let shown: Vec<&str> = classes.iter().take(6).map(String::as_str).collect();
    let more = if classes.len() > 6 { ", …" } else { "" };
    format!(
        "{count} images of {height} × {width} pixels, {channels} {planes}; {} classes ({}{more})",
        classes.len(),
        shown.join(", ")
    )
}

fn wrap(error: ImageError) -> JobError {
    DataError::from(error).into()
}
