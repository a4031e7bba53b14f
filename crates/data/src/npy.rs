//! NumPy's files: `.npy`, one array, and `.npz`, a zip archive of them.
//!
//! The format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>. Versions 1, 2 and 3 are read, C and
//! Fortran order, both byte orders, booleans (as 0 and 1), whole numbers and floats of 32 and 64 bits. What holds Python objects,
//! texts or records is refused.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use crate::array::{Array, ByteOrder, ElementType, Elements, volume};
use crate::error::{ArrayError, list};
use crate::idx::hex;
use crate::stream::Stream;

/// What a file begins with.
const MAGIC: [u8; 6] = *b"\x93NUMPY";
/// The longest header that is read; NumPy itself takes 10,000 bytes for suspicious.
const LONGEST_HEADER: u64 = 1 << 16;

/// Reads a `.npy` file, packed with gzip or not.
///
/// # Errors
/// [`ArrayError`] names the file, the byte, what the format expects there and what was found.
pub fn read(file: impl AsRef<Path>) -> Result<Array, ArrayError> {
    array(Stream::open(file.as_ref())?)
}

/// Whether a file begins as a NumPy file does, packed or not.
pub fn is_npy(file: impl AsRef<Path>) -> bool {
    let file = file.as_ref();
    // What is no plain file can be read only once.
    let first = || Stream::open(file).and_then(|mut stream| stream.array::<6>("the format's name"));
    file.is_file() && first().is_ok_and(|magic| magic == MAGIC)
}

/// Reads bytes of a `.npy` file; `name` is for messages.
///
/// # Errors
/// As [`read`].
pub fn parse(name: impl AsRef<Path>, bytes: &[u8]) -> Result<Array, ArrayError> {
    array(Stream::bytes(name.as_ref(), bytes)?)
}

/// A `.npz` archive, as `numpy.savez` and `numpy.savez_compressed` write it.
pub struct Npz {
    file: PathBuf,
    names: Vec<String>,
    archive: ZipArchive<BufReader<File>>,
}

impl Npz {
    /// Opens an archive and reads its list of arrays.
    ///
    /// # Errors
    /// [`ArrayError::Io`], [`ArrayError::Folder`] or [`ArrayError::Archive`].
    pub fn open(file: impl AsRef<Path>) -> Result<Self, ArrayError> {
        let file = file.as_ref();
        let io = |source| ArrayError::Io { file: file.into(), source };
        let handle = File::open(file).map_err(io)?;
        if handle.metadata().map_err(io)?.is_dir() {
            return Err(ArrayError::Folder { file: file.into() });
        }
        let archive = ZipArchive::new(BufReader::new(handle))
            .map_err(|e| ArrayError::Archive { file: file.into(), source: e.into() })?;
        let member = |name: &str| name.strip_suffix(".npy").map(str::to_owned);
        let names = archive.file_names().filter_map(|name| member(&name.ok()?)).collect();
        Ok(Self { file: file.into(), names, archive })
    }

    /// The names of the arrays, in the order of the archive.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Reads the array of a name.
    ///
    /// # Errors
    /// [`ArrayError::NoSuchArray`], or as [`read`] with `archive.npz/name.npy` for the file.
    pub fn read(&mut self, name: &str) -> Result<Array, ArrayError> {
        let member = format!("{name}.npy");
        let Some(index) = self.archive.index_for_name(&member) else {
            let names: Vec<&str> = self.names().collect();
            let known = list(names.into_iter());
            return Err(ArrayError::NoSuchArray { file: self.file.clone(), name: name.into(), known });
        };
        let entry = self
            .archive
            .by_index(index)
            .map_err(|e| ArrayError::Archive { file: self.file.clone(), source: e.into() })?;
        array(Stream::unpacking(&self.file.join(member), entry))
    }
}

fn array(mut stream: Stream) -> Result<Array, ArrayError> {
    let magic: [u8; 8] = stream.array("the format's name and version")?;
    if magic[..6] != MAGIC {
        return Err(stream.malformed(0, "a NumPy file, which begins with 93 NUMPY", hex(&magic)));
    }
    let length = match magic[6] {
        1 => u64::from(u16::from_le_bytes(stream.array("the header's length")?)),
        2 | 3 => u64::from(u32::from_le_bytes(stream.array("the header's length")?)),
        version => return Err(stream.malformed(6, "version 1, 2 or 3", version.to_string())),
    };
    if length > LONGEST_HEADER {
        return Err(stream.malformed(
            8,
            format!("a header of at most {LONGEST_HEADER} bytes"),
            length.to_string(),
        ));
    }
    let start = stream.at();
    let text = stream.take(length, "the header")?;
    let header = Header::parse(&text)
        .map_err(|Wrong { at, expected, found }| stream.malformed(start + at as u64, expected, found))?;
    let Header { kind, order, boolean, fortran, shape } = header;
    let Some((_, bytes)) = volume(&shape, kind.size()) else {
        return Err(stream.malformed(start, "a shape whose product can be counted", format!("{shape:?}")));
    };
    let body = stream.at();
    let bytes = stream.take(bytes as u64, "numbers")?;
    if boolean && let Some(at) = bytes.iter().position(|&b| b > 1) {
        return Err(stream.malformed(body + at as u64, "a boolean, 00 or 01", hex(&bytes[at..at + 1])));
    }
    stream.end()?;
    let elements = Elements::from_bytes(kind, bytes, order);
    let elements = if fortran { elements.fortran_to_c(&shape) } else { elements };
    Ok(Array { shape, elements })
}

/// What a header says.
struct Header {
    kind: ElementType,
    order: ByteOrder,
    boolean: bool,
    fortran: bool,
    shape: Vec<usize>,
}

/// What is wrong in a header, and where.
struct Wrong {
    at: usize,
    expected: String,
    found: String,
}

impl Header {
    /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, the keys in any order.
    fn parse(text: &[u8]) -> Result<Self, Wrong> {
        let mut reader = Reader { text, at: 0 };
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        reader.expect(b'{')?;
        while !reader.follows(b'}') {
            let at = reader.space();
            let key = reader.string()?;
            reader.expect(b':')?;
            let twice = match key {
                b"descr" => {
                    let at = reader.space();
                    descr.replace(element_type(reader.string()?, at)?).is_some()
                }
                b"fortran_order" => fortran.replace(reader.boolean()?).is_some(),
                b"shape" => shape.replace(reader.tuple()?).is_some(),
                _ => return Err(reader.wrong(at, "'descr', 'fortran_order' or 'shape'")),
            };
            if twice {
                return Err(reader.wrong(at, "each key once"));
            }
            if !reader.follows(b',') {
                reader.expect(b'}')?;
                break;
            }
        }
        let at = reader.space();
        if at < text.len() {
            return Err(reader.wrong(at, "the end of the header"));
        }
        let missing = |key| reader.wrong(0, &format!("a header with {key}"));
        let (kind, order, boolean) = descr.ok_or_else(|| missing("'descr'"))?;
        let fortran = fortran.ok_or_else(|| missing("'fortran_order'"))?;
        let shape = shape.ok_or_else(|| missing("'shape'"))?;
        Ok(Self { kind, order, boolean, fortran, shape })
    }
}

/// `<f4`: byte order, kind, bytes.
fn element_type(text: &[u8], at: usize) -> Result<(ElementType, ByteOrder, bool), Wrong> {
    use ElementType as E;
    let (order, name) = match text {
        [b'<' | b'|' | b'=', name @ ..] => (ByteOrder::Little, name),
        [b'>', name @ ..] => (ByteOrder::Big, name),
        name => (ByteOrder::Little, name),
    };
    let kind = match name {
        b"b1" | b"?" | b"u1" => E::U8,
        b"i1" => E::I8,
        b"u2" => E::U16,
        b"i2" => E::I16,
        b"u4" => E::U32,
        b"i4" => E::I32,
        b"u8" => E::U64,
        b"i8" => E::I64,
        b"f4" => E::F32,
        b"f8" => E::F64,
        _ => {
            let expected = "a type of number (b1, i1 to i8, u1 to u8, f4 or f8)".into();
            return Err(Wrong { at, expected, found: format!("{:?}", String::from_utf8_lossy(text)) });
        }
    };
    Ok((kind, order, matches!(name, b"b1" | b"?")))
}

/// Reads the few kinds of Python literals that a header has.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Goes on to what is no space; where that is.
    fn space(&mut self) -> usize {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.at
    }

    fn wrong(&self, at: usize, expected: &str) -> Wrong {
        let rest = &self.text[at.min(self.text.len())..];
        let found = match rest.is_empty() {
            true => "the end of the header".into(),
            false => format!("{:?}", String::from_utf8_lossy(&rest[..rest.len().min(20)])),
        };
        Wrong { at, expected: expected.into(), found }
    }

    /// Goes past `byte` if it follows.
    fn follows(&mut self, byte: u8) -> bool {
        let at = self.space();
        let is = self.text.get(at) == Some(&byte);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, byte: u8) -> Result<(), Wrong> {
        match self.follows(byte) {
            true => Ok(()),
            false => Err(self.wrong(self.at, &format!("{:?}", char::from(byte)))),
        }
    }

    fn string(&mut self) -> Result<&'a [u8], Wrong> {
        let at = self.space();
        let quote = match self.text.get(at) {
            Some(&q @ (b'\'' | b'"')) => q,
            _ => return Err(self.wrong(at, "a text in quotes")),
        };
        let rest = &self.text[at + 1..];
        let Some(len) = rest.iter().position(|&b| b == quote) else {
            return Err(self.wrong(at, "a text whose quote is closed"));
        };
        self.at = at + len + 2;
        Ok(&rest[..len])
    }

    fn boolean(&mut self) -> Result<bool, Wrong> {
        let at = self.space();
        for (name, value) in [("True", true), ("False", false)] {
            if self.text[at..].starts_with(name.as_bytes()) {
                self.at += name.len();
                return Ok(value);
            }
        }
        Err(self.wrong(at, "True or False"))
    }

    fn tuple(&mut self) -> Result<Vec<usize>, Wrong> {
        let mut lengths = Vec::new();
        self.expect(b'(')?;
        while !self.follows(b')') {
            let at = self.space();
            let digits = self.text[at..].iter().take_while(|b| b.is_ascii_digit()).count();
            let text = std::str::from_utf8(&self.text[at..at + digits]).expect("digits are ASCII");
            match text.parse() {
                Ok(length) => lengths.push(length),
                Err(_) => return Err(self.wrong(at, "the length of an axis")),
            }
            self.at += digits;
            // Python 2 wrote 3L.
            if self.text.get(self.at) == Some(&b'L') {
                self.at += 1;
            }
            if !self.follows(b',') {
                self.expect(b')')?;
                break;
            }
        }
        Ok(lengths)
    }
}
