//! [`Images::from_folder`]: PNG and JPEG files in folders named after their classes.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::error::ImageError;
use crate::idx::hex;
use crate::images::{Images, Pixels, planes};
use crate::notes::Note;
use crate::resize::resize;

/// The most pixels that an image may have: 8,192 × 8,192.
pub const MAX_PIXELS: usize = 1 << 26;

/// How images are brought to one form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FolderOptions {
    /// The height and width that all images are brought to, bilinearly and without regard to their proportions. Without,
    /// all must have the same size.
    pub resize: Option<(usize, usize)>,
    /// Whether images are read in colour (`true`, three channels) or in grey; without, in colour if any of them has it.
    pub colour: Option<bool>,
}

impl Images {
    /// Reads a folder whose folders are classes and hold PNG or JPEG files; a folder that has images and no folder gives images
    /// without labels.
    ///
    /// Classes are the folders' names and images the files', each sorted by bytes, so the order is the same everywhere. Names that
    /// begin with a dot are passed over; a note counts files that are not .png, .jpg or .jpeg. What a file is, its first bytes
    /// say. 16-bit channels keep their upper byte, transparency is dropped (with a note), grey among colours is repeated in
    /// each channel, colours read as grey are weighed 0.299, 0.587, 0.114 as in ITU-R BT.601. The orientation that a camera notes
    /// is not applied, and an animation gives its first frame.
    ///
    /// # Errors
    /// [`ImageError`] names the first file that differs in size, is no image or is damaged.
    pub fn from_folder(
        folder: impl AsRef<Path>,
        options: &FolderOptions,
    ) -> Result<(Self, Vec<Note>), ImageError> {
        let folder = folder.as_ref();
        if let Some((height, width)) = options.resize
            && !height.checked_mul(width).is_some_and(|n| (1..=MAX_PIXELS).contains(&n))
        {
            return Err(ImageError::Resize { width, height, most: MAX_PIXELS });
        }
        let mut listing = Listing::default();
        let (folders, files) = entries(folder)?;
        if folders.is_empty() {
            listing.add(files);
        } else {
            let mut beside = Listing::default();
            beside.add(files);
            if let Some(file) = beside.files.into_iter().next() {
                return Err(ImageError::Mixed { file });
            }
            listing.others = beside.others;
        }
        let (mut labels, mut classes) = (Vec::new(), Vec::new());
        for class in &folders {
            let (nested, files) = entries(class)?;
            if let Some(file) = nested.into_iter().next() {
                return Err(ImageError::Nested { file });
            }
            let before = listing.files.len();
            listing.add(files);
            if listing.files.len() == before {
                return Err(ImageError::NoImages { file: class.clone() });
            }
            labels.resize(listing.files.len(), classes.len() as u32);
            classes.push(name(class));
        }
        let Listing { files, others } = listing;
        if files.is_empty() {
            return Err(ImageError::NoImages { file: folder.into() });
        }
        // The first error in the order of the files, whichever comes up first.
        let decoded: Vec<Result<Decoded, ImageError>> =
            files.par_iter().map(|f| Decoded::read(f, options)).collect();
        let decoded: Vec<Decoded> = decoded.into_iter().collect::<Result<_, _>>()?;
        let (height, width) = (decoded[0].height, decoded[0].width);
        for (file, image) in files.iter().zip(&decoded) {
            if (image.height, image.width) != (height, width) {
                return Err(ImageError::Size {
                    file: file.clone(),
                    found: (image.height, image.width),
                    first: files[0].clone(),
                    expected: (height, width),
                });
            }
        }
        let colour = options.colour.unwrap_or_else(|| decoded.iter().any(|d| d.channels == 3));
        let channels = if colour { 3 } else { 1 };
        let count = decoded.len();
        let mut notes = Vec::new();
        note(&mut notes, others.iter(), |files, first| Note::NotImages { files, first });
        let transparent = files.iter().zip(&decoded).filter(|(_, d)| d.transparent).map(|(f, _)| f);
        note(&mut notes, transparent, |files, first| Note::Transparent { files, first });
        let mut pixels = Vec::with_capacity(count * channels * height * width);
        for image in decoded {
            for _ in 0..channels / image.channels {
                pixels.extend_from_slice(&image.planes);
            }
        }
        let labels = (!folders.is_empty()).then_some(labels);
        let pixels = Pixels::Bytes(pixels);
        let names = files.iter().map(|file| below(folder, file)).collect();
        let file = folder.into();
        let images = Self { count, channels, height, width, pixels, labels, classes, file, names };
        Ok((images, notes))
    }
}

fn note<'a>(
    notes: &mut Vec<Note>,
    files: impl Iterator<Item = &'a PathBuf>,
    make: impl Fn(usize, String) -> Note,
) {
    let files: Vec<&PathBuf> = files.collect();
    if let Some(first) = files.first() {
        notes.push(make(files.len(), name(first)));
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The path of a file from a folder on: `cat/1.png`.
fn below(folder: &Path, file: &Path) -> String {
    let parts = file.strip_prefix(folder).unwrap_or(file).components();
    parts.map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Files to decode, and others.
#[derive(Default)]
struct Listing {
    files: Vec<PathBuf>,
    others: Vec<PathBuf>,
}

impl Listing {
    fn add(&mut self, files: Vec<PathBuf>) {
        for file in files {
            let extension = file.extension().unwrap_or_default().to_ascii_lowercase();
            match extension.to_str() {
                Some("png" | "jpg" | "jpeg") => self.files.push(file),
                _ => self.others.push(file),
            }
        }
    }
}

/// The folders and the files in a folder, sorted by name, without those whose name begins with a dot.
fn entries(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), ImageError> {
    let io = |source| ImageError::Io { file: folder.into(), source };
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        if path.is_dir() { folders.push(path) } else { files.push(path) }
    }
    folders.sort_unstable();
    files.sort_unstable();
    Ok((folders, files))
}

/// One image in planes.
struct Decoded {
    /// 1 or 3.
    channels: usize,
    height: usize,
    width: usize,
    planes: Vec<u8>,
    transparent: bool,
}

impl Decoded {
    fn read(file: &Path, options: &FolderOptions) -> Result<Self, ImageError> {
        let bytes = fs::read(file).map_err(|source| ImageError::Io { file: file.into(), source })?;
        let mut image = match bytes[..] {
            [0x89, b'P', b'N', b'G', ..] => png(file, &bytes)?,
            [0xff, 0xd8, ..] => jpeg(file, &bytes)?,
            _ => {
                let found = hex(&bytes[..bytes.len().min(4)]);
                let found = if found.is_empty() { "nothing".into() } else { found };
                return Err(ImageError::NotAnImage { file: file.into(), found });
            }
        };
        if options.colour == Some(false) && image.channels == 3 {
            image = image.grey();
        }
        if let Some((height, width)) = options.resize
            && (image.height, image.width) != (height, width)
        {
            let from = (image.height, image.width);
            let planes = image.planes.chunks_exact(from.0 * from.1);
            image.planes = planes.flat_map(|p| resize(p, from, (height, width))).collect();
            (image.height, image.width) = (height, width);
        }
        Ok(image)
    }

    /// From pixels whose channels lie side by side: grey, grey and alpha, RGB, or RGB and alpha.
    fn new(height: usize, width: usize, samples: usize, pixels: &[u8]) -> Self {
        let channels = if samples < 3 { 1 } else { 3 };
        let transparent = samples != channels && pixels.chunks_exact(samples).any(|p| p[channels] != 255);
        let mut planes = planes(pixels, samples, height * width * samples);
        planes.truncate(height * width * channels);
        Self { channels, height, width, planes, transparent }
    }

    /// Luminance, in the fixed point and rounding that Pillow uses.
    fn grey(mut self) -> Self {
        let n = self.height * self.width;
        let (red, rest) = self.planes.split_at(n);
        let (green, blue) = rest.split_at(n);
        let grey = red.iter().zip(green).zip(blue).map(|((&r, &g), &b)| {
            let sum = 19_595 * u32::from(r) + 38_470 * u32::from(g) + 7_471 * u32::from(b);
            ((sum + 0x8000) >> 16) as u8
        });
        self.planes = grey.collect();
        self.channels = 1;
        self
    }
}

fn limit(file: &Path, width: usize, height: usize) -> Result<(), ImageError> {
    match width.checked_mul(height) {
        Some(1..=MAX_PIXELS) => Ok(()),
        _ => Err(ImageError::TooLarge { file: file.into(), width, height, most: MAX_PIXELS }),
    }
}

fn png(file: &Path, bytes: &[u8]) -> Result<Decoded, ImageError> {
    let wrong =
        |e: png::DecodingError| ImageError::Decode { file: file.into(), format: "PNG", source: Box::new(e) };
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    // Before anything is allocated for the pixels.
    let header = decoder.read_header_info().map_err(wrong)?;
    limit(file, header.width as usize, header.height as usize)?;
    let mut reader = decoder.read_info().map_err(wrong)?;
    // At most four bytes for each of MAX_PIXELS.
    let mut pixels = vec![0; reader.output_buffer_size().unwrap_or(0)];
    let info = reader.next_frame(&mut pixels).map_err(wrong)?;
    pixels.truncate(info.buffer_size());
    Ok(Decoded::new(info.height as usize, info.width as usize, info.color_type.samples(), &pixels))
}

fn jpeg(file: &Path, bytes: &[u8]) -> Result<Decoded, ImageError> {
    let wrong = |e: zune_jpeg::errors::DecodeErrors| ImageError::Decode {
        file: file.into(),
        format: "JPEG",
        source: format!("{e:?}").into(),
    };
    // The decoder makes up what is missing at the end. Neither mark occurs in what is between them.
    let last = |mark: u8| bytes.windows(2).rposition(|w| w == [0xff, mark]);
    if last(0xd9) <= last(0xda) {
        let source = "it ends before its mark of the end (ff d9)".into();
        return Err(ImageError::Decode { file: file.into(), format: "JPEG", source });
    }
    // Without "unsafe" (instruction sets): the same pixels on every machine. Strict: half an image is an error, not grey.
    let options = DecoderOptions::default().set_use_unsafe(false).set_strict_mode(true);
    let options = options.set_max_width(1 << 16).set_max_height(1 << 16);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(wrong)?;
    let Some(info) = decoder.info() else {
        return Err(ImageError::NotAnImage { file: file.into(), found: hex(&bytes[..4.min(bytes.len())]) });
    };
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    limit(file, width, height)?;
    let (samples, space) = match info.components {
        1 => (1, ColorSpace::Luma),
        _ => (3, ColorSpace::RGB),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let pixels = decoder.decode().map_err(wrong)?;
    Ok(Decoded::new(height, width, samples, &pixels))
}
