//! The errors of what is no table: arrays, images, text.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use super::list;

/// Why a file is not an array of numbers (IDX or NumPy's formats).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArrayError {
    /// The file could not be opened or read.
    #[error("cannot read {}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path is a folder.
    #[error("{} is a folder; name a file in it", .file.display())]
    Folder {
        /// The folder.
        file: PathBuf,
    },
    /// The file is compressed, and what is compressed is damaged.
    #[error("{}: damaged: it can be unpacked up to byte {offset} only", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// How many bytes could be unpacked.
        offset: u64,
        /// What the decompressor said.
        source: io::Error,
    },
    /// The file ends too early.
    #[error("{}: byte {offset}{}: expected {expected} bytes of {what}, found {found}", .file.display(), after(*unpacked))]
    Truncated {
        /// The file.
        file: PathBuf,
        /// Where the missing part begins.
        offset: u64,
        /// Whether the offset counts bytes after unpacking.
        unpacked: bool,
        /// What should be there.
        what: &'static str,
        /// How many bytes that should be.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// The file goes on after its array.
    #[error("{}: byte {offset}{}: expected the end of the file, found more bytes", .file.display(), after(*unpacked))]
    Trailing {
        /// The file.
        file: PathBuf,
        /// Where the array ends.
        offset: u64,
        /// Whether the offset counts bytes after unpacking.
        unpacked: bool,
    },
    /// Something in the file is not what the format says.
    #[error("{}: byte {offset}{}: expected {expected}, found {found}", .file.display(), after(*unpacked))]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// Whether the offset counts bytes after unpacking.
        unpacked: bool,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The archive could not be read.
    #[error("{} is not an archive of arrays (.npz) that can be read", .file.display())]
    Archive {
        /// The file.
        file: PathBuf,
        /// What the reader of archives said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The archive has no array of that name.
    #[error("{} has no array {name:?}; arrays: {known}", .file.display())]
    NoSuchArray {
        /// The archive.
        file: PathBuf,
        /// The name that was asked for.
        name: String,
        /// The names there are, the first few.
        known: String,
    },
}

/// Why files are not images to learn from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A file is not an array.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// A file or folder could not be opened or read.
    #[error("cannot read {}", .file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An image cannot be decoded.
    #[error("{}: not a {format} image that can be read", .file.display())]
    Decode {
        /// The file.
        file: PathBuf,
        /// PNG or JPEG.
        format: &'static str,
        /// What the decoder said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A file named as an image is none.
    #[error("{}: expected a PNG or JPEG image, found a file that begins with {found}", .file.display())]
    NotAnImage {
        /// The file.
        file: PathBuf,
        /// Its first bytes.
        found: String,
    },
    /// An image has more pixels than are decoded.
    #[error("{}: {width} × {height} pixels are more than the {most} that are read", .file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// Pixels in a row.
        width: usize,
        /// Rows.
        height: usize,
        /// The most there may be.
        most: usize,
    },
    /// Images cannot be brought to a size.
    #[error("images cannot be resized to {width} × {height} pixels; expected 1 to {most} in all")]
    Resize {
        /// Pixels in a row.
        width: usize,
        /// Rows.
        height: usize,
        /// The most there may be.
        most: usize,
    },
    /// Two images have different sizes.
    #[error(
        "{} is {} × {} pixels (width × height), but {} is {} × {}; say --resize {}x{} to bring all to one size",
        .file.display(), .found.1, .found.0, .first.display(), .expected.1, .expected.0, .expected.1, .expected.0
    )]
    Size {
        /// The file that differs.
        file: PathBuf,
        /// Its height and width.
        found: (usize, usize),
        /// The first file.
        first: PathBuf,
        /// Its height and width.
        expected: (usize, usize),
    },
    /// There is no image.
    #[error("{} has no images; expected .png, .jpg or .jpeg files, or folders of them named after their classes", .file.display())]
    NoImages {
        /// The folder or file.
        file: PathBuf,
    },
    /// A folder holds images and folders.
    #[error("{} lies beside folders of images: is it of no class? move it into the folder of its class", .file.display())]
    Mixed {
        /// An image outside the folders.
        file: PathBuf,
    },
    /// A folder in the folder of a class.
    #[error("{} is a folder in the folder of a class; images must lie in the class's folder itself", .file.display())]
    Nested {
        /// The folder.
        file: PathBuf,
    },
    /// An array has not the shape of images.
    #[error(
        "{}: expected images of shape [n, height, width], [n, channels, height, width] or [n, height, width, channels] \
         with 1 to 4 channels, found {}", .file.display(), shape(.found)
    )]
    Shape {
        /// The file.
        file: PathBuf,
        /// The shape of the array.
        found: Vec<usize>,
    },
    /// Either of two axes could be the channels.
    #[error("{}: shape {} has channels second or last; say which", .file.display(), shape(.found))]
    Ambiguous {
        /// The file.
        file: PathBuf,
        /// The shape of the array.
        found: Vec<usize>,
    },
    /// A pixel is infinite or NaN.
    #[error("{}: image {image} (from 0) has a pixel {found}; every pixel must be finite", .file.display())]
    NotFinite {
        /// The file.
        file: PathBuf,
        /// The image, from 0.
        image: usize,
        /// The pixel.
        found: f32,
    },
    /// There are not as many labels as images.
    #[error(
        "{} has labels of shape {}; expected [{expected}], one for each image of {}",
        .file.display(), shape(.found), .images.display()
    )]
    Labels {
        /// The file of labels.
        file: PathBuf,
        /// The file of images.
        images: PathBuf,
        /// The shape of the labels.
        found: Vec<usize>,
        /// How many images there are.
        expected: usize,
    },
    /// A label is not a whole number.
    #[error("{}: label {index} (from 0): expected a whole number, found {found}", .file.display())]
    Label {
        /// The file.
        file: PathBuf,
        /// Which label, from 0.
        index: usize,
        /// What it is.
        found: f64,
    },
    /// The images are not those that a model was trained on.
    #[error(
        "{} has images of {} × {} × {} (channels × height × width); the model was trained on {} × {} × {}",
        .file.display(), .found[0], .found[1], .found[2], .expected[0], .expected[1], .expected[2]
    )]
    Differs {
        /// The file or folder.
        file: PathBuf,
        /// Channels, height and width.
        found: [usize; 3],
        /// Those of training.
        expected: [usize; 3],
    },
    /// The images have bytes where those of training have fractions, or the reverse.
    #[error("{} has pixels that are {found}; the model was trained on {expected}", .file.display())]
    PixelKind {
        /// The file or folder.
        file: PathBuf,
        /// What the pixels are.
        found: &'static str,
        /// What they were in training.
        expected: &'static str,
    },
    /// A class that training did not see.
    #[error("{}: class {class:?} was not seen in training; known: {}", .file.display(), list(.known.iter().map(String::as_str)))]
    UnknownClass {
        /// The file or folder.
        file: PathBuf,
        /// The class.
        class: String,
        /// The classes of the model.
        known: Vec<String>,
    },
    /// The images have no labels, and labels are needed.
    #[error("{} has no labels; name a file of labels, or sort the images into folders named after their classes", .file.display())]
    NoLabels {
        /// The file or folder.
        file: PathBuf,
    },
    /// There are no rows to learn from.
    #[error("{}: there are no images to learn from", .file.display())]
    NoRows {
        /// The file or folder.
        file: PathBuf,
    },
}

/// Why a text cannot be learnt from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The file could not be opened or read.
    #[error("cannot read {}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file has no bytes.
    #[error("{} is empty; expected text", .file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// The file starts with a byte-order mark of UTF-16.
    #[error("{} is encoded in UTF-16; save it as UTF-8", .file.display())]
    Utf16 {
        /// The file.
        file: PathBuf,
    },
    /// A fraction is not between 0 and 1.
    #[error("the {part} part must be a fraction in (0, 1), got {found}")]
    Fraction {
        /// Which part.
        part: &'static str,
        /// The fraction.
        found: f64,
    },
    /// A part has no sequence to learn or score.
    #[error(
        "the {part} part has {found} symbols, and a sequence of {context} with the symbol after it needs {}: \
         give a longer text or a smaller context", .context + 1
    )]
    TooShort {
        /// Which part.
        part: String,
        /// How many symbols it has.
        found: usize,
        /// Symbols in a sequence.
        context: usize,
    },
    /// No character is frequent enough for a number of its own.
    #[error(
        "{}: no character is in the training part {least} times, and rarer ones are not told apart: give a longer text",
        .file.display()
    )]
    AllRare {
        /// The file.
        file: PathBuf,
        /// A character that occurs less often is rare.
        least: usize,
    },
    /// A text has more symbols than can be numbered.
    #[error("the text has {found} symbols; at most 4294967295 can be learnt from")]
    TooLong {
        /// How many symbols it has.
        found: usize,
    },
    /// A text is too short to be cut.
    #[error("{} has {found} symbols, too few for {parts} parts", .file.display())]
    TooFew {
        /// The file.
        file: PathBuf,
        /// How many symbols it has.
        found: usize,
        /// How many parts were asked for.
        parts: usize,
    },
}

fn after(unpacked: bool) -> &'static str {
    if unpacked { " of what is unpacked" } else { "" }
}

/// `[60000, 28, 28]`.
fn shape(shape: &[usize]) -> String {
    format!("{shape:?}")
}
