//! A file's own head as a text: what stands above the code is what `thalweg optimizers NAME` shows, word for word.

/// The `//!` lines at the head of the given files, without that mark, one file after the other; Markdown.
macro_rules! about {
    ($($file:literal),+) => {{
        const FILES: &[&str] = &[$(include_str!($file)),+];
        const TEXT: [u8; crate::about::length(FILES)] = crate::about::text(FILES);
        match std::str::from_utf8(&TEXT) {
            Ok(text) => text,
            Err(_) => panic!("the head of a file is cut at the ends of lines"),
        }
    }};
}
pub(crate) use about;

/// Bytes of the text.
pub(crate) const fn length(files: &[&str]) -> usize {
    write(files, &mut [])
}

/// The text, which has `N` bytes.
pub(crate) const fn text<const N: usize>(files: &[&str]) -> [u8; N] {
    let mut text = [0; N];
    write(files, &mut text);
    text
}

/// Writes as much of the text as there is room for; its length.
const fn write(files: &[&str], to: &mut [u8]) -> usize {
    let (mut at, mut file) = (0, 0);
    while file < files.len() {
        let from = files[file].as_bytes();
        let mut i = 0;
        // An empty line between two files.
        if file > 0 {
            at = put(to, at, b'\n');
        }
        while i + 2 < from.len() && from[i] == b'/' && from[i + 1] == b'/' && from[i + 2] == b'!' {
            i += 3;
            if i < from.len() && from[i] == b' ' {
                i += 1;
            }
            while i < from.len() && from[i] != b'\n' {
                at = put(to, at, from[i]);
                i += 1;
            }
            at = put(to, at, b'\n');
            i += 1;
        }
        file += 1;
    }
    at
}

const fn put(to: &mut [u8], at: usize, byte: u8) -> usize {
    if at < to.len() {
        to[at] = byte;
    }
    at + 1
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_head_of_this_file_is_its_text() {
        let text = about!("about.rs");
        assert_eq!(
            text,
            "A file's own head as a text: what stands above the code is what `thalweg optimizers NAME` shows, word for word.\n"
        );
        let both = about!("about.rs", "chain/ema.rs");
        assert!(both.starts_with(text) && both.contains("\n\nAn exponential moving average"));
        assert!(!both.contains("use thalweg_core"));
    }
}
