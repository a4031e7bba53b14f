//! [`Source`]: where bytes come from, read by range.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::window::PAD;

/// Bytes that can be read at any place, by many threads.
pub(crate) enum Source<'a> {
    Bytes(&'a [u8]),
    Owned(Vec<u8>),
    File(File, u64),
}

impl Source<'_> {
    /// Opens a file; what is no regular file (a pipe) is read to its end.
    pub fn open(path: &Path) -> io::Result<Source<'static>> {
        let mut file = File::open(path)?;
        let about = file.metadata()?;
        if about.is_file() {
            return Ok(Source::File(file, about.len()));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Source::Owned(bytes))
    }

    pub fn len(&self) -> u64 {
        match self {
            Source::Bytes(bytes) => bytes.len() as u64,
            Source::Owned(bytes) => bytes.len() as u64,
            Source::File(_, len) => *len,
        }
    }

    /// Puts the bytes from `start` to `end` into `buffer`, and line feeds after them, so that a look past the end is safe
    /// and sees the end of a line.
    pub fn read(&self, start: u64, end: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
        let len = (end - start) as usize;
        match self {
            Source::Bytes(bytes) => {
                buffer.clear();
                buffer.extend_from_slice(&bytes[start as usize..end as usize]);
            }
            Source::Owned(bytes) => {
                buffer.clear();
                buffer.extend_from_slice(&bytes[start as usize..end as usize]);
            }
            Source::File(file, _) => {
                buffer.resize(len, 0);
                read_exact_at(file, &mut buffer[..len], start)?;
            }
        }
        buffer.extend_from_slice(&[b'\n'; PAD]);
        Ok(())
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => (buffer, at) = (&mut buffer[n..], at + n as u64),
        }
    }
    Ok(())
}
