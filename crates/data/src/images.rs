//! [`Images`]: pictures of one size with their classes, from IDX files, NumPy's arrays or folders; [`ImageEncoder`]: their numbers.

use std::path::{Path, PathBuf};

pub use crate::folder::{FolderOptions, MAX_PIXELS};
pub use crate::pixels::{ImageEncoder, PixelRows};

use crate::array::{Array, Elements};
use crate::error::ImageError;
use crate::idx;

/// Images of one size.
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    /// How many there are.
    pub count: usize,
    /// Planes of an image: 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// Rows of a plane.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// The pixels, `[count, channels, height, width]`: whole planes one after the other, whatever the file had.
    pub pixels: Pixels,
    /// The class of each image, an index into `classes`; absent when nothing says.
    pub labels: Option<Vec<u32>>,
    /// The names of the classes. Numbers ascend; names of folders are sorted by bytes.
    pub classes: Vec<String>,
    /// Where the images come from, for messages.
    pub file: PathBuf,
    /// The file of each image, from the folder on, with `/` between; empty where all are in one file.
    pub names: Vec<String>,
}

/// Pixels.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// 0 is dark and 255 full.
    Bytes(Vec<u8>),
    /// Numbers in any unit, all finite.
    Floats(Vec<f32>),
}

/// Which axis of an array of images holds the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelAxis {
    /// `[n, channels, height, width]`, as PyTorch has it.
    Second,
    /// `[n, height, width, channels]`, as TensorFlow and most image files have it.
    Last,
}

impl Images {
    /// Numbers in an image: channels · height · width.
    pub fn size(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// The name of the class of an image, if it has one.
    pub fn class(&self, image: usize) -> Option<&str> {
        let labels = self.labels.as_ref()?;
        Some(&self.classes[labels[image] as usize])
    }

    /// Reads a pair of IDX files, images and their labels.
    ///
    /// # Errors
    /// What [`Images::from_arrays`] and [`idx::read`] refuse.
    pub fn from_idx(images: impl AsRef<Path>, labels: Option<&Path>) -> Result<Self, ImageError> {
        let array = idx::read(&images)?;
        let labels = labels.map(|file| idx::read(file).map(|array| (file, array))).transpose()?;
        Self::from_arrays(images, array, labels, None)
    }

    /// Images from an array, and their classes from another.
    ///
    /// Shapes `[n, height, width]`, or with an axis of channels that is second or last: `axis` says which, else it is the one
    /// that is 1 to 4 long. Numbers of type `u8` stay bytes, all others become `f32`. Labels are whole numbers, `[n]` or `[n, 1]`; the
    /// classes are the values that occur.
    ///
    /// # Errors
    /// [`ImageError`] names the file, what was expected and what was found: another shape, pixels that are not finite,
    /// labels that are not whole or not as many.
    pub fn from_arrays(
        file: impl AsRef<Path>,
        array: Array,
        labels: Option<(&Path, Array)>,
        axis: Option<ChannelAxis>,
    ) -> Result<Self, ImageError> {
        let file = file.as_ref();
        let Array { shape, elements } = array;
        let (count, [channels, height, width], last) = layout(file, &shape, axis)?;
        let size = channels * height * width;
        let pixels = match elements {
            Elements::U8(x) => Pixels::Bytes(if last { planes(&x, channels, size) } else { x }),
            other => {
                let x = other.to_f32();
                if let Some(i) = x.iter().position(|x| !x.is_finite()) {
                    return Err(ImageError::NotFinite { file: file.into(), image: i / size, found: x[i] });
                }
                Pixels::Floats(if last { planes(&x, channels, size) } else { x })
            }
        };
        let (file, classes, names) = (file.into(), Vec::new(), Vec::new());
        let images = Self { count, channels, height, width, pixels, labels: None, classes, file, names };
        match labels {
            None => Ok(images),
            Some((from, labels)) => images.labelled(from, &labels),
        }
    }

    /// The images with a class for each, in their order: whole numbers of shape `[n]` or `[n, 1]`. `from` is for messages.
    ///
    /// # Errors
    /// [`ImageError::Labels`] or [`ImageError::Label`].
    pub fn labelled(mut self, from: &Path, labels: &Array) -> Result<Self, ImageError> {
        if !matches!(labels.shape[..], [n] | [n, 1] if n == self.count) {
            let (found, images, expected) = (labels.shape.clone(), self.file, self.count);
            return Err(ImageError::Labels { file: from.into(), images, found, expected });
        }
        let (labels, classes) = classes(from, &labels.elements)?;
        (self.labels, self.classes) = (Some(labels), classes);
        Ok(self)
    }
}

/// The number of images; channels, height and width; whether the channels are last.
fn layout(
    file: &Path,
    shape: &[usize],
    axis: Option<ChannelAxis>,
) -> Result<(usize, [usize; 3], bool), ImageError> {
    let channels = |c: usize| (1..=4).contains(&c);
    let none = shape.contains(&0);
    match *shape {
        _ if shape.first() == Some(&0) => Err(ImageError::NoImages { file: file.into() }),
        [n, h, w] if !none => Ok((n, [1, h, w], false)),
        [n, a, b, c] if !none => match axis {
            Some(ChannelAxis::Second) => Ok((n, [a, b, c], false)),
            Some(ChannelAxis::Last) => Ok((n, [c, a, b], true)),
            None if channels(a) && channels(c) => {
                Err(ImageError::Ambiguous { file: file.into(), found: shape.to_vec() })
            }
            None if channels(a) => Ok((n, [a, b, c], false)),
            None if channels(c) => Ok((n, [c, a, b], true)),
            None => Err(ImageError::Shape { file: file.into(), found: shape.to_vec() }),
        },
        _ => Err(ImageError::Shape { file: file.into(), found: shape.to_vec() }),
    }
}

/// Pixels whose channels lie side by side, as planes; `size` numbers are an image.
pub(crate) fn planes<T: Copy>(pixels: &[T], channels: usize, size: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(pixels.len());
    for image in pixels.chunks_exact(size) {
        for channel in 0..channels {
            out.extend(image[channel..].iter().step_by(channels));
        }
    }
    out
}

/// The class of each label, and the values that occur, ascending.
fn classes(file: &Path, labels: &Elements) -> Result<(Vec<u32>, Vec<String>), ImageError> {
    let whole = |index| {
        let found = || ImageError::Label { file: file.into(), index, found: labels.get(index) };
        labels.whole(index).ok_or_else(found)
    };
    let values: Vec<i64> = (0..labels.len()).map(whole).collect::<Result<_, _>>()?;
    let mut known = values.clone();
    known.sort_unstable();
    known.dedup();
    let class = |v: &i64| known.binary_search(v).expect("every value is among those that occur") as u32;
    Ok((values.iter().map(class).collect(), known.iter().map(i64::to_string).collect()))
}
