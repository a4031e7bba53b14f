//! [`ImageEncoder`]: images as rows of numbers, by what was learnt from the training images.

use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg_core::Float;

use crate::Dataset;
use crate::error::ImageError;
use crate::images::{Images, Pixels};

/// How images become numbers: learnt on training images, stored with the model, applied to any images of the same size.
///
/// ```text
/// x = (pixel · unit − meanₖ) / scaleₖ        k the channel
/// ```
/// `unit` is 1/255 for bytes, so that full is 1, and 1 for floats. Computed in f64, then stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageEncoder {
    /// Planes of an image.
    pub channels: usize,
    /// Rows of a plane.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Whether pixels are bytes.
    pub bytes: bool,
    /// The mean of each channel over all training images, after `unit`.
    pub mean: Vec<f64>,
    /// The population standard deviation of each channel; 1 for a constant.
    pub scale: Vec<f64>,
    /// The names of the classes; a target is an index of them.
    pub classes: Vec<String>,
    /// Whether images of another size are brought to this one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resized: bool,
}

impl ImageEncoder {
    /// Learns from the images `rows`, and from no other.
    ///
    /// Without `standardise`, the mean is 0 and the scale 1: bytes go to [0, 1].
    ///
    /// # Errors
    /// [`ImageError::NoRows`] without rows.
    pub fn learn(images: &Images, rows: &[u32], standardise: bool) -> Result<Self, ImageError> {
        if rows.is_empty() {
            return Err(ImageError::NoRows { file: images.file.clone() });
        }
        let channels = images.channels;
        let moments: Vec<(f64, f64)> = match &images.pixels {
            _ if !standardise => vec![(0.0, 1.0); channels],
            Pixels::Bytes(x) => (0..channels).map(|k| of_bytes(images, x, rows, k)).collect(),
            Pixels::Floats(x) => (0..channels).map(|k| of_floats(images, x, rows, k)).collect(),
        };
        let (mean, scale) = moments.into_iter().unzip();
        let Images { height, width, .. } = *images;
        let bytes = matches!(images.pixels, Pixels::Bytes(_));
        let classes = images.classes.clone();
        Ok(Self { channels, height, width, bytes, mean, scale, classes, resized: false })
    }

    /// Numbers in a row: channels · height · width.
    pub fn width(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// The images `rows` as rows of numbers, in the order channel, height, width; `target` asks for their classes.
    ///
    /// # Errors
    /// What [`ImageEncoder::check`] refuses; with `target`, images without labels and classes that training did not have.
    pub fn encode<F: Float>(
        &self,
        images: &Images,
        rows: &[u32],
        target: bool,
    ) -> Result<Dataset<F>, ImageError> {
        let mut dense = Vec::new();
        self.encode_into(images, rows, &mut dense)?;
        let target = if target { self.targets(images, rows)? } else { Vec::new() };
        Ok(Dataset {
            dense,
            width: self.width(),
            codes: Vec::new(),
            code_width: 0,
            target,
            weight: None,
            rows: rows.to_vec(),
            pixels: None,
        })
    }

    /// [`ImageEncoder::encode`] without the numbers: each row is encoded when it is read ([`Dataset::append_row`]), to the same
    /// bits, and pixels stay what they are.
    ///
    /// # Errors
    /// As there.
    pub fn rows<F: Float>(
        &self,
        images: &Arc<Images>,
        rows: &[u32],
        target: bool,
    ) -> Result<Dataset<F>, ImageError> {
        self.check(images)?;
        let target = if target { self.targets(images, rows)? } else { Vec::new() };
        let encoder = Self { classes: Vec::new(), ..self.clone() };
        let pixels = PixelRows { images: Arc::clone(images), tables: self.tables(), encoder };
        Ok(Dataset {
            dense: Vec::new(),
            width: self.width(),
            codes: Vec::new(),
            code_width: 0,
            target,
            weight: None,
            rows: rows.to_vec(),
            pixels: Some(pixels),
        })
    }

    /// The number of a pixel of a channel.
    fn number(&self, channel: usize, pixel: f64) -> f64 {
        (pixel - self.mean[channel]) / self.scale[channel]
    }

    /// The number of each byte, for each channel.
    fn tables(&self) -> Vec<[f64; 256]> {
        let table = |k| std::array::from_fn(|byte| self.number(k, byte as f64 / 255.0));
        (0..self.channels).map(table).collect()
    }

    /// The numbers of the images `rows` alone, in the place of what `dense` held: a network that encodes each batch as it comes
    /// keeps the pixels as bytes.
    ///
    /// # Errors
    /// As [`ImageEncoder::check`].
    pub fn encode_into<F: Float>(
        &self,
        images: &Images,
        rows: &[u32],
        dense: &mut Vec<F>,
    ) -> Result<(), ImageError> {
        self.check(images)?;
        let (size, plane) = (self.width(), self.height * self.width);
        dense.clear();
        dense.resize(rows.len() * size, F::zero());
        let number = |k: usize, x: f64| F::from_f64(self.number(k, x));
        let pairs = dense.par_chunks_exact_mut(size).zip(rows);
        match &images.pixels {
            Pixels::Bytes(x) => {
                let tables: Vec<[F; 256]> = self.tables().iter().map(|t| t.map(F::from_f64)).collect();
                pairs.for_each(|(out, &row)| {
                    let image = &x[row as usize * size..][..size];
                    let planes = out.chunks_exact_mut(plane).zip(image.chunks_exact(plane));
                    for (table, (out, x)) in tables.iter().zip(planes) {
                        out.iter_mut().zip(x).for_each(|(o, &x)| *o = table[usize::from(x)]);
                    }
                });
            }
            Pixels::Floats(x) => pairs.for_each(|(out, &row)| {
                let image = &x[row as usize * size..][..size];
                let planes = out.chunks_exact_mut(plane).zip(image.chunks_exact(plane));
                for (k, (out, x)) in planes.enumerate() {
                    out.iter_mut().zip(x).for_each(|(o, &x)| *o = number(k, f64::from(x)));
                }
            }),
        }
        Ok(())
    }

    /// The classes of the images `rows`, as indices of this encoder's classes.
    ///
    /// # Errors
    /// [`ImageError::NoLabels`]; [`ImageError::UnknownClass`] if one of `rows` has a class that training did not have.
    pub fn targets<F: Float>(&self, images: &Images, rows: &[u32]) -> Result<Vec<F>, ImageError> {
        let Some(labels) = &images.labels else {
            return Err(ImageError::NoLabels { file: images.file.clone() });
        };
        let own = |class: &String| self.classes.iter().position(|c| c == class);
        let places: Vec<Option<usize>> = images.classes.iter().map(own).collect();
        let place = |&row: &u32| {
            let class = labels[row as usize] as usize;
            places[class].map(|p| F::from_f64(p as f64)).ok_or_else(|| ImageError::UnknownClass {
                file: images.file.clone(),
                class: images.classes[class].clone(),
                known: self.classes.clone(),
            })
        };
        rows.iter().map(place).collect()
    }

    /// Whether images are of the size and kind that this was learnt on.
    ///
    /// # Errors
    /// [`ImageError::Differs`] or [`ImageError::PixelKind`].
    pub fn check(&self, images: &Images) -> Result<(), ImageError> {
        let found = [images.channels, images.height, images.width];
        let expected = [self.channels, self.height, self.width];
        if found != expected {
            return Err(ImageError::Differs { file: images.file.clone(), found, expected });
        }
        let name = |bytes| if bytes { "bytes" } else { "floats" };
        let bytes = matches!(images.pixels, Pixels::Bytes(_));
        if bytes != self.bytes {
            let (found, expected) = (name(bytes), name(self.bytes));
            return Err(ImageError::PixelKind { file: images.file.clone(), found, expected });
        }
        Ok(())
    }
}

/// Images whose numbers are made as rows are read: a byte takes an eighth of an `f64`.
#[derive(Clone, PartialEq)]
pub struct PixelRows {
    images: Arc<Images>,
    /// Without classes.
    encoder: ImageEncoder,
    tables: Vec<[f64; 256]>,
}

impl PixelRows {
    /// Appends the numbers of an image, each rounded to `F` once.
    pub(crate) fn append<F: Float>(&self, image: u32, to: &mut Vec<F>) {
        let (size, plane) = (self.encoder.width(), self.encoder.height * self.encoder.width);
        let place = image as usize * size..(image as usize + 1) * size;
        match &self.images.pixels {
            Pixels::Bytes(x) => {
                for (table, x) in self.tables.iter().zip(x[place].chunks_exact(plane)) {
                    to.extend(x.iter().map(|&x| F::from_f64(table[usize::from(x)])));
                }
            }
            Pixels::Floats(x) => {
                for (k, x) in x[place].chunks_exact(plane).enumerate() {
                    to.extend(x.iter().map(|&x| F::from_f64(self.encoder.number(k, f64::from(x)))));
                }
            }
        }
    }
}

impl fmt::Debug for PixelRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PixelRows").field("file", &self.images.file).finish_non_exhaustive()
    }
}

/// The plane of a channel of an image.
fn plane<'a, T>(images: &Images, pixels: &'a [T], row: u32, channel: usize) -> &'a [T] {
    let plane = images.height * images.width;
    &pixels[(row as usize * images.channels + channel) * plane..][..plane]
}

/// Mean and deviation of a channel, over 255; sums of whole numbers are exact in any order.
fn of_bytes(images: &Images, pixels: &[u8], rows: &[u32], channel: usize) -> (f64, f64) {
    let counts = rows
        .par_iter()
        .fold(
            || [0u64; 256],
            |mut counts, &row| {
                plane(images, pixels, row, channel).iter().for_each(|&x| counts[usize::from(x)] += 1);
                counts
            },
        )
        .reduce(|| [0; 256], |a, b| std::array::from_fn(|i| a[i] + b[i]));
    let sum =
        |power: u32| counts.iter().zip(0u128..).map(|(&c, x)| u128::from(c) * x.pow(power)).sum::<u128>();
    let (n, x, xx) = (sum(0), sum(1), sum(2));
    let deviation = ((n * xx - x * x) as f64).sqrt() / n as f64;
    (x as f64 / n as f64 / 255.0, if deviation > 0.0 { deviation / 255.0 } else { 1.0 })
}

/// The same of floats: a sum for each image, then a sum of those, in the order of `rows`; the second pass around the mean.
fn of_floats(images: &Images, pixels: &[f32], rows: &[u32], channel: usize) -> (f64, f64) {
    let n = (rows.len() * images.height * images.width) as f64;
    let sum = |f: &(dyn Fn(f64) -> f64 + Sync)| {
        let sums: Vec<f64> = rows
            .par_iter()
            .map(|&row| plane(images, pixels, row, channel).iter().map(|&x| f(f64::from(x))).sum())
            .collect();
        sums.iter().sum::<f64>()
    };
    let mean = sum(&|x| x) / n;
    let scale = (sum(&|x| (x - mean) * (x - mean)) / n).sqrt();
    // Rounding gives a constant a tiny deviation.
    (mean, if scale > 1e-12 * mean.abs() { scale } else { 1.0 })
}
