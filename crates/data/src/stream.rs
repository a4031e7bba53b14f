//! [`Stream`]: the bytes of a file from its start, unpacked if it is gzip, counted.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::error::ArrayError;

/// The bytes of a file, one after the other.
pub(crate) struct Stream<'a> {
    file: PathBuf,
    reader: Box<dyn Read + 'a>,
    /// How many bytes were read, after unpacking.
    at: u64,
    /// How many bytes there are, where that is known before reading.
    len: Option<u64>,
    unpacked: bool,
}

impl<'a> Stream<'a> {
    /// Opens a file.
    pub fn open(file: &Path) -> Result<Stream<'static>, ArrayError> {
        let io = |source| ArrayError::Io { file: file.into(), source };
        let handle = File::open(file).map_err(io)?;
        let about = handle.metadata().map_err(io)?;
        if about.is_dir() {
            return Err(ArrayError::Folder { file: file.into() });
        }
        let len = about.is_file().then_some(about.len());
        Stream::new(file, BufReader::with_capacity(1 << 16, handle), len)
    }

    /// Bytes that are there already; `name` is for messages.
    pub fn bytes(name: &Path, bytes: &'a [u8]) -> Result<Self, ArrayError> {
        Self::new(name, bytes, Some(bytes.len() as u64))
    }

    fn new(file: &Path, mut reader: impl BufRead + 'a, len: Option<u64>) -> Result<Self, ArrayError> {
        let head = reader.fill_buf().map_err(|source| ArrayError::Io { file: file.into(), source })?;
        Ok(match head.starts_with(&[0x1f, 0x8b]) {
            true => Self::unpacking(file, MultiGzDecoder::new(reader)),
            false => Self { file: file.into(), reader: Box::new(reader), at: 0, len, unpacked: false },
        })
    }

    /// What a decompressor gives; how much that is shows only as it is read.
    pub fn unpacking(file: &Path, reader: impl Read + 'a) -> Self {
        Self { file: file.into(), reader: Box::new(reader), at: 0, len: None, unpacked: true }
    }

    /// Reads exactly `N` bytes.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], ArrayError> {
        let bytes = self.take(N as u64, what)?;
        Ok(bytes.try_into().expect("as many bytes as were asked for"))
    }

    /// Reads exactly `expected` bytes. Memory is taken for bytes that are there, never for what a header says.
    pub fn take(&mut self, expected: u64, what: &'static str) -> Result<Vec<u8>, ArrayError> {
        let truncated = |s: &Self, found| ArrayError::Truncated {
            file: s.file.clone(),
            offset: s.at,
            unpacked: s.unpacked,
            what,
            expected,
            found,
        };
        let mut bytes = match self.len.map(|len| len.saturating_sub(self.at)) {
            Some(rest) if rest < expected => return Err(truncated(self, rest)),
            _ => Vec::new(),
        };
        if self.len.is_some() {
            let reserved = bytes.try_reserve_exact(expected as usize);
            reserved.map_err(|e| ArrayError::Io { file: self.file.clone(), source: io::Error::other(e) })?;
        }
        if let Err(source) = self.reader.by_ref().take(expected).read_to_end(&mut bytes) {
            return Err(self.failed(source, bytes.len() as u64));
        }
        if (bytes.len() as u64) < expected {
            return Err(truncated(self, bytes.len() as u64));
        }
        self.at += expected;
        Ok(bytes)
    }

    /// Checks that nothing follows.
    pub fn end(mut self) -> Result<(), ArrayError> {
        let mut byte = [0];
        loop {
            match self.reader.read(&mut byte) {
                Ok(0) => return Ok(()),
                Ok(_) => {
                    let (file, offset, unpacked) = (self.file, self.at, self.unpacked);
                    return Err(ArrayError::Trailing { file, offset, unpacked });
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failed(source, 0)),
            }
        }
    }

    /// An error about the bytes at `offset`.
    pub fn malformed(
        &self,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> ArrayError {
        ArrayError::Malformed {
            file: self.file.clone(),
            offset,
            unpacked: self.unpacked,
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// How many bytes were read.
    pub fn at(&self) -> u64 {
        self.at
    }

    fn failed(&self, source: io::Error, more: u64) -> ArrayError {
        let (file, offset) = (self.file.clone(), self.at + more);
        match self.unpacked {
            true => ArrayError::Damaged { file, offset, source },
            false => ArrayError::Io { file, source },
        }
    }
}
