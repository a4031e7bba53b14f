//! Files that are not tables.

use std::path::Path;

use thalweg_data::{ReadError, ReadOptions, read_bytes};

use crate::{message, read};

#[test]
fn no_such_file_and_a_folder() {
    let none = thalweg_data::read(Path::new("/no/such/file.csv"), &ReadOptions::default());
    assert!(matches!(none, Err(ReadError::Io { .. })));
    let error = none.expect_err("there is no such file");
    assert_eq!(error.to_string(), "cannot read /no/such/file.csv");
    let cause = std::error::Error::source(&error).expect("the cause is kept").to_string();
    assert!(cause.starts_with("No such file"), "{cause}");
    let folder = tempfile::tempdir().unwrap();
    let found = thalweg_data::read(folder.path(), &ReadOptions::default());
    assert_eq!(message(found), format!("{} is a folder; name a file in it", folder.path().display()));
}

#[test]
fn nothing_and_nothing_but_a_header() {
    for empty in ["", "\n", "\r\n\r\n", "\n\n\n", "\r", "\u{feff}", "\u{feff}\n"] {
        assert!(message(read(empty)).starts_with("t.csv is empty; expected"), "{empty:?}");
    }
    for header in ["a,b", "a,b\n", "a,b\r\n\r\n", "\n\na,b\n", "\u{feff}a,b\n\n\n", "a", "\"a\",b"] {
        assert_eq!(message(read(header)), "t.csv has column names but no rows", "{header:?}");
    }
}

#[test]
fn what_is_no_utf8_text_is_named() {
    let utf16: Vec<u8> = "\u{feff}a,b\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(message(read(utf16)), "t.csv is encoded in UTF-16; save it as UTF-8");
    assert_eq!(message(read(b"\xfe\xff\0a\0,")), "t.csv is encoded in UTF-16; save it as UTF-8");
    assert_eq!(message(read(b"\x1f\x8b\x08rest")), "t.csv is a gzip file, not text; expected CSV");
    assert_eq!(
        message(read(b"PK\x03\x04rest")),
        "t.csv is a zip file (or a spreadsheet), not text; expected CSV"
    );
    assert_eq!(message(read(b"PAR1rest")), "t.csv is a Parquet file, not text; expected CSV");
    assert_eq!(message(read(b"a,b\n1,\0\n")), "t.csv is a binary file, not text; expected CSV");
    // Latin 1, in a name, in a text, in quotes, and among numbers.
    let invalid = "is not valid UTF-8; save the file as UTF-8";
    let name = message(read(b"a,na\xefve\n1,2\n"));
    assert_eq!(name, format!("t.csv:1: column \"2\": \"na\u{fffd}ve\" {invalid}"));
    let text = message(read(b"a,b\n\nx,y\nx,caf\xe9\n"));
    assert_eq!(text, format!("t.csv:4: column \"b\": \"caf\u{fffd}\" {invalid}"));
    let quoted = message(read(b"a,b\n\"x\ny\",y\nx,\"caf\xe9\"\n"));
    assert_eq!(quoted, format!("t.csv:4: column \"b\": \"caf\u{fffd}\" {invalid}"));
    let numbers: String = (0..30).map(|i| format!("{i}.5,1\n")).collect();
    let number = message(read([b"a,b\n", numbers.as_bytes(), b"\xff,1\n"].concat()));
    assert_eq!(number, format!("t.csv:32: column \"a\": \"\u{fffd}\" {invalid}"));
}

#[test]
fn ragged_rows() {
    let hint = "a field that contains the delimiter must be in quotes";
    let text = |line, found, delimiter| {
        format!(
            "t.csv:{line}: expected 2 fields as in line 1, found {found} (delimiter {delimiter:?}); {hint}"
        )
    };
    assert_eq!(message(read("a,b\n1,2\n1,2,3\n")), text(3, 3, ','));
    assert_eq!(message(read("a,b\n1,2\n1\n1,2\n")), text(3, 1, ','));
    assert_eq!(message(read("a,b\n1,2\n\n\n1,2,\n")), text(5, 3, ','));
    assert_eq!(message(read("a,b\n1,2\n1,2\n1")), text(4, 1, ','));
    assert_eq!(message(read("a;b\r\n1;2\r\n1;2;;\r\n")), text(3, 4, ';'));
    assert_eq!(message(read("a,b\n\"x\n,y\",2\n\"1,2\",\"3\",4\n")), text(4, 3, ','));
    assert_eq!(message(read("a,b\nx,y\n  \n")), text(3, 1, ','));
    // The first of two, wherever the pieces are cut.
    let rows: String = (0..50).map(|i| if i == 20 || i == 40 { "1,2,3\n" } else { "1,2\n" }).collect();
    for piece in [1, 7, 64, 1 << 20] {
        let text = format!("a,b\n{rows}");
        let found = thalweg_data::read_bytes_in_pieces("t.csv", text.as_bytes(), &Default::default(), piece);
        assert!(message(found).starts_with("t.csv:22: expected 2 fields as in line 1, found 3"));
    }
}

#[test]
fn a_quote_that_is_never_closed() {
    let open = "a quote is opened in this row and never closed";
    assert_eq!(message(read("a,b\n1,2\n1,\"2\n3,4\n")), format!("t.csv:3: {open}"));
    assert_eq!(message(read("\n\"a,b\n1,2\n")), format!("t.csv:2: {open}"));
    assert_eq!(message(read("a,b\n1,2\n\n\n1,\"\"\"\n")), format!("t.csv:5: {open}"));
    assert_eq!(message(read("a,\"b\n1,2\n3,4\n")), format!("t.csv:1: {open}"));
    // Only under a delimiter that is not the file's.
    let t = read("size\tname,\"of it\n1\tx\n2\ty\n").unwrap();
    assert_eq!((t.rows(), t.columns()[1].name.as_str()), (2, "name,\"of it"));
}

#[test]
fn duplicate_column_names() {
    let text =
        "t.csv:1: columns 1 and 3 are both named \"a\"; rename one (or say --header no if this line is data)";
    assert_eq!(message(read("a,b, a \n1,2,3\n")), text);
    // An empty name is numbered, and may then be a name that there is.
    assert!(message(read(",column1\n1,2\n")).contains("both named \"column1\""));
}

#[test]
fn options_that_cannot_be() {
    let with = |options| message(read_bytes("t.csv", b"a,b\n1,2\n", &options));
    for delimiter in *b"\"\n\ra0.-\xff" {
        let text = with(ReadOptions { delimiter: Some(delimiter), ..Default::default() });
        assert!(text.starts_with("the delimiter must be one ASCII character"), "{text}");
    }
}

#[test]
fn a_file_that_shrinks_under_the_reader_is_an_error() {
    // The reader sees a length and then too few bytes; what it gives is an error or a table, and no panic.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let text = format!("a,b\n{}", "1.5,2.5\n".repeat(100_000));
    std::fs::write(&path, &text).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| std::fs::write(&path, "a,b\n1.5,2.5\n").unwrap());
        if let Err(error) = thalweg_data::read(&path, &ReadOptions::default()) {
            assert!(!error.to_string().is_empty());
        }
    });
}
