//! IDX, the format of MNIST: <http://yann.lecun.com/exdb/mnist/>.
//!
//! ```text
//! 0 0 type rank        type: 08 u8, 09 i8, 0B i16, 0C i32, 0D f32, 0E f64
//! length of each axis  u32, the first axis first
//! numbers              C order
//! ```
//! All numbers have their most significant byte first. A file may be packed with gzip; its first bytes tell.

use std::path::{Path, PathBuf};

use crate::array::{Array, ByteOrder, ElementType, Elements, volume};
use crate::error::ArrayError;
use crate::stream::Stream;

/// Reads a file.
///
/// # Errors
/// [`ArrayError`] names the file, the byte, what the format expects there and what was found.
pub fn read(file: impl AsRef<Path>) -> Result<Array, ArrayError> {
    array(Stream::open(file.as_ref())?)
}

/// Reads bytes, packed or not; `name` is for messages.
///
/// ```
/// # fn main() -> Result<(), thalweg_data::ArrayError> {
/// let array = thalweg_data::idx::parse("labels", &[0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1])?;
/// assert_eq!((array.shape, array.elements), (vec![3], thalweg_data::Elements::U8(vec![7, 2, 1])));
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`read`].
pub fn parse(name: impl AsRef<Path>, bytes: &[u8]) -> Result<Array, ArrayError> {
    array(Stream::bytes(name.as_ref(), bytes)?)
}

/// The file of labels that belongs to a file of images by its name: `train-images-idx3-ubyte.gz` has
/// `train-labels-idx1-ubyte.gz`, packed or not. `None` if there is no such file.
pub fn labels_beside(images: impl AsRef<Path>) -> Option<PathBuf> {
    let images = images.as_ref();
    let name = images.file_name()?.to_str()?;
    let labels = name.replace("images", "labels").replace("idx3", "idx1");
    let plain = labels.strip_suffix(".gz").unwrap_or(&labels);
    let names = [labels.clone(), plain.into(), format!("{plain}.gz")];
    names.iter().filter(|&n| n != name).map(|n| images.with_file_name(n)).find(|p| p.is_file())
}

/// Whether a file begins as an IDX file does, packed or not. No table does: its first two bytes are 0.
pub fn is_idx(file: impl AsRef<Path>) -> bool {
    let file = file.as_ref();
    // What is no plain file can be read only once.
    let first = || Stream::open(file).and_then(|mut stream| stream.array::<4>("the format's first number"));
    file.is_file() && first().is_ok_and(|magic| matches!(magic, [0, 0, 0x08 | 0x09 | 0x0b..=0x0e, _]))
}

fn array(mut stream: Stream) -> Result<Array, ArrayError> {
    let magic: [u8; 4] = stream.array("the format's first number")?;
    let kind = match magic {
        [0, 0, 0x08, _] => ElementType::U8,
        [0, 0, 0x09, _] => ElementType::I8,
        [0, 0, 0x0b, _] => ElementType::I16,
        [0, 0, 0x0c, _] => ElementType::I32,
        [0, 0, 0x0d, _] => ElementType::F32,
        [0, 0, 0x0e, _] => ElementType::F64,
        [0, 0, kind, _] => {
            let expected = "a type of number (08, 09, 0b, 0c, 0d or 0e)";
            return Err(stream.malformed(2, expected, format!("{kind:02x}")));
        }
        _ => return Err(stream.malformed(0, "an IDX file, which begins with 00 00", hex(&magic))),
    };
    let mut shape = Vec::new();
    for _ in 0..magic[3] {
        let length = u32::from_be_bytes(stream.array("lengths of axes")?);
        // A usize of 16 bits is none that this is built for.
        shape.push(length as usize);
    }
    let Some((_, bytes)) = volume(&shape, kind.size()) else {
        return Err(stream.malformed(4, "lengths whose product can be counted", format!("{shape:?}")));
    };
    let bytes = stream.take(bytes as u64, "numbers")?;
    stream.end()?;
    Ok(Array { shape, elements: Elements::from_bytes(kind, bytes, ByteOrder::Big) })
}

/// `1f 8b 08`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

impl Array {
    /// The bytes of an IDX file with these numbers.
    ///
    /// # Errors
    /// A sentence, if the format has no such type of number, more than 255 axes or a longer axis than it can tell.
    pub fn to_idx(&self) -> Result<Vec<u8>, String> {
        macro_rules! bytes {
            ($code:literal, $x:expr) => {
                ($code, $x.iter().flat_map(|x| x.to_be_bytes()).collect::<Vec<u8>>())
            };
        }
        let (code, numbers) = match &self.elements {
            Elements::U8(x) => (0x08, x.clone()),
            Elements::I8(x) => bytes!(0x09, x),
            Elements::I16(x) => bytes!(0x0b, x),
            Elements::I32(x) => bytes!(0x0c, x),
            Elements::F32(x) => bytes!(0x0d, x),
            Elements::F64(x) => bytes!(0x0e, x),
            other => return Err(format!("IDX has no numbers of type {}", other.type_name())),
        };
        let rank = u8::try_from(self.shape.len()).map_err(|_| "IDX has at most 255 axes".to_string())?;
        let mut out = vec![0, 0, code, rank];
        for &length in &self.shape {
            let length =
                u32::try_from(length).map_err(|_| format!("an axis of IDX cannot be {length} long"))?;
            out.extend(length.to_be_bytes());
        }
        out.extend(numbers);
        Ok(out)
    }
}
