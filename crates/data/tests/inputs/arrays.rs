//! IDX and NumPy's files.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use thalweg_data::input::{self, Kind};
use thalweg_data::npy::Npz;
use thalweg_data::{Array, ArrayError, Elements, Table, idx, npy};

use crate::{RecordedArray, bytes, message, recorded};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn numbers(array: &Array) -> Vec<f64> {
    (0..array.len()).map(|i| array.elements.get(i)).collect()
}

/// 2 × 3 numbers 1 to 6 of type `i16`.
const SHORT: [u8; 24] =
    [0, 0, 0x0b, 2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 1, 0, 2, 0, 3, 0, 4, 0xff, 0xfb, 0x01, 0x00];

#[test]
fn idx_by_hand() {
    let array = idx::parse("x", &SHORT).unwrap();
    assert_eq!(array, Array { shape: vec![2, 3], elements: Elements::I16(vec![1, 2, 3, 4, -5, 256]) });
    assert_eq!(array.to_idx().unwrap(), SHORT);
    let one = idx::parse("x", &[0, 0, 0x0d, 0, 0x3f, 0xc0, 0, 0]).unwrap();
    assert_eq!(one, Array { shape: vec![], elements: Elements::F32(vec![1.5]) });
}

proptest! {
    #[test]
    fn idx_comes_back(shape in prop::collection::vec(0usize..5, 0..5), kind in 0..6, seed: u32, packed: bool) {
        let n: usize = shape.iter().product();
        let bits = |i: usize| (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(seed));
        let x = 0..n;
        let elements = match kind {
            0 => Elements::U8(x.map(|i| bits(i) as u8).collect()),
            1 => Elements::I8(x.map(|i| bits(i) as i8).collect()),
            2 => Elements::I16(x.map(|i| bits(i) as i16).collect()),
            3 => Elements::I32(x.map(|i| bits(i) as i32).collect()),
            4 => Elements::F32(x.map(|i| bits(i) as i32 as f32).collect()),
            _ => Elements::F64(x.map(|i| bits(i) as i64 as f64).collect()),
        };
        let array = Array { shape, elements };
        let file = array.to_idx().unwrap();
        let file = if packed { gzip(&file) } else { file };
        prop_assert_eq!(idx::parse("x", &file).unwrap(), array);
    }

    #[test]
    fn no_bytes_panic(head in 0..4, tail in prop::collection::vec(any::<u8>(), 0..60)) {
        let head: &[u8] = [&b""[..], b"\x00\x00\x08\x02", b"\x93NUMPY\x01\x00\x10\x00", b"\x1f\x8b\x08\x00"][head as usize];
        let file = [head, &tail].concat();
        let _ = (idx::parse("x", &file), npy::parse("x", &file));
    }
}

#[test]
fn idx_that_is_broken() {
    let error = |file: &[u8]| message(idx::parse("x", file));
    assert_eq!(error(&SHORT[..3]), "x: byte 0: expected 4 bytes of the format's first number, found 3");
    assert_eq!(error(&SHORT[..10]), "x: byte 8: expected 4 bytes of lengths of axes, found 2");
    assert_eq!(error(&SHORT[..23]), "x: byte 12: expected 12 bytes of numbers, found 11");
    assert_eq!(error(b""), "x: byte 0: expected 4 bytes of the format's first number, found 0");
    assert_eq!(
        error(b"size,colour"),
        "x: byte 0: expected an IDX file, which begins with 00 00, found 73 69 7a 65"
    );
    assert_eq!(
        error(&[0, 0, 0x0a, 1]),
        "x: byte 2: expected a type of number (08, 09, 0b, 0c, 0d or 0e), found 0a"
    );
    assert_eq!(
        error(&[&SHORT[..], &[0]].concat()),
        "x: byte 24: expected the end of the file, found more bytes"
    );
    let packed = gzip(&SHORT);
    assert_eq!(
        error(&gzip(&SHORT[..23])),
        "x: byte 12 of what is unpacked: expected 12 bytes of numbers, found 11"
    );
    assert_eq!(
        error(&gzip(&[&SHORT[..], &[0]].concat())),
        "x: byte 24 of what is unpacked: expected the end of the file, found more bytes"
    );
    for end in 2..packed.len() {
        assert!(idx::parse("x", &packed[..end]).is_err(), "gzip cut at byte {end}");
    }
    let mut wrong = packed.clone();
    wrong[packed.len() - 6] ^= 1;
    assert_eq!(error(&wrong), "x: damaged: it can be unpacked up to byte 24 only", "the checksum is wrong");
    assert!(matches!(idx::parse("x", &wrong), Err(ArrayError::Damaged { offset: 24, .. })));
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(idx::read(folder.path()), Err(ArrayError::Folder { .. })));
    assert!(matches!(idx::read(folder.path().join("none")), Err(ArrayError::Io { .. })));
}

/// A header can say anything: memory is taken for bytes that are there. (Were it taken for what the header says, these would end
/// the process: 2⁶² bytes are more than any address space has.)
#[test]
fn huge_lengths_take_no_memory() {
    let with = |axes: &[u32]| {
        let mut file = vec![0, 0, 0x08, axes.len() as u8];
        axes.iter().for_each(|a| file.extend(a.to_be_bytes()));
        file
    };
    let huge = with(&[1 << 31, 1 << 31]);
    assert_eq!(
        message(idx::parse("x", &huge)),
        format!("x: byte 12: expected {} bytes of numbers, found 0", 1u64 << 62)
    );
    assert!(matches!(idx::parse("x", &gzip(&huge)), Err(ArrayError::Truncated { found: 0, .. })));
    let overflow = with(&[1 << 31, 1 << 31, 1 << 31]);
    assert_eq!(
        message(idx::parse("x", &overflow)),
        "x: byte 4: expected lengths whose product can be counted, found [2147483648, 2147483648, 2147483648]"
    );
    assert_eq!(idx::parse("x", &with(&[0, u32::MAX, u32::MAX, u32::MAX])).unwrap().len(), 0);
    let numpy = |shape: &str| {
        let header = format!("{{'descr': '<f8', 'fortran_order': True, 'shape': {shape}}}\n");
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes()].concat()
    };
    assert!(matches!(
        npy::parse("x", &numpy("(1152921504606846975,)")),
        Err(ArrayError::Truncated { found: 0, .. })
    ));
    assert!(matches!(npy::parse("x", &numpy("(4294967296, 4294967296)")), Err(ArrayError::Malformed { .. })));
    assert_eq!(npy::parse("x", &numpy("(0, 4294967296, 4294967296)")).unwrap().len(), 0);
}

/// 64 MiB of zeros in 64 KiB, behind a header that says 3 bytes: reading stops at the fourth.
#[test]
fn a_gzip_bomb_is_read_as_far_as_its_header_says() {
    let mut file = vec![0, 0, 8, 1, 0, 0, 0, 3];
    file.resize(64 << 20, 0);
    assert!(matches!(idx::parse("x", &gzip(&file)), Err(ArrayError::Trailing { offset: 11, .. })));
}

#[test]
fn labels_lie_beside_images() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("t10k-images-idx3-ubyte.gz"), b"").unwrap();
    assert_eq!(idx::labels_beside(at("t10k-images-idx3-ubyte.gz")), None);
    std::fs::write(at("t10k-labels-idx1-ubyte"), b"").unwrap();
    assert_eq!(idx::labels_beside(at("t10k-images-idx3-ubyte.gz")), Some(at("t10k-labels-idx1-ubyte")));
    assert_eq!(idx::labels_beside(at("t10k-labels-idx1-ubyte")), None);
}

#[test]
fn what_numpy_wrote() {
    let folder = tempfile::tempdir().unwrap();
    for RecordedArray { name, file, shape, numbers: expected } in recorded::<Vec<RecordedArray>>("arrays") {
        let file = bytes(&file);
        let array = match name.ends_with(".npz") {
            false => npy::parse(&name, &file).unwrap(),
            true => {
                let path = folder.path().join(&name);
                std::fs::write(&path, &file).unwrap();
                let mut archive = Npz::open(&path).unwrap();
                assert_eq!(archive.names().collect::<Vec<_>>(), ["x", "y"]);
                assert_eq!(archive.read("y").unwrap().elements, Elements::I64(vec![1, 0]));
                assert!(message(archive.read("z")).ends_with("has no array \"z\"; arrays: x, y"));
                archive.read("x").unwrap()
            }
        };
        assert_eq!((&array.shape, numbers(&array)), (&shape, expected), "{name}");
        if !name.ends_with(".npz") {
            for end in 0..file.len() {
                assert!(npy::parse(&name, &file[..end]).is_err(), "{name} cut at byte {end}");
            }
            assert!(npy::parse(&name, &[&file[..], b"x"].concat()).is_err(), "{name} and a byte more");
        }
    }
}

#[test]
fn npy_that_is_broken() {
    let error = |header: &str| {
        let file =
            [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes()].concat();
        message(npy::parse("x", &file))
    };
    let types = "a type of number (b1, i1 to i8, u1 to u8, f4 or f8)";
    assert_eq!(error("{'descr': '|O'}"), format!("x: byte 20: expected {types}, found \"|O\""));
    assert_eq!(error("{'descr': '<c16'}"), format!("x: byte 20: expected {types}, found \"<c16\""));
    assert_eq!(
        error("{'descr': [('a', '<f4')]}"),
        "x: byte 20: expected a text in quotes, found \"[('a', '<f4')]}\""
    );
    assert_eq!(error("{'descr"), "x: byte 11: expected a text whose quote is closed, found \"'descr\"");
    assert_eq!(error("{}"), "x: byte 10: expected a header with 'descr', found \"{}\"");
    assert_eq!(
        error("{'shape': (3)}"),
        "x: byte 10: expected a header with 'descr', found \"{'shape': (3)}\""
    );
    assert_eq!(error("{'shape': (-3,)}"), "x: byte 21: expected the length of an axis, found \"-3,)}\"");
    assert_eq!(
        error("{'shape': (99999999999999999999,)}"),
        "x: byte 21: expected the length of an axis, found \"99999999999999999999\""
    );
    assert_eq!(
        error("{'shape': (), 'shape': ()}"),
        "x: byte 24: expected each key once, found \"'shape': ()}\""
    );
    assert_eq!(error("{'fortran_order': 1}"), "x: byte 28: expected True or False, found \"1}\"");
    assert_eq!(
        error("{'x': 1}"),
        "x: byte 11: expected 'descr', 'fortran_order' or 'shape', found \"'x': 1}\""
    );
    assert_eq!(error(""), "x: byte 10: expected '{', found the end of the header");
    assert_eq!(error("{} {"), "x: byte 13: expected the end of the header, found \"{\"");
    assert_eq!(
        message(npy::parse("x", b"PK\x03\x04....")),
        "x: byte 0: expected a NumPy file, which begins with 93 NUMPY, found 50 4b 03 04 2e 2e 2e 2e"
    );
    assert_eq!(
        message(npy::parse("x", b"\x93NUMPY\x04\x00")),
        "x: byte 6: expected version 1, 2 or 3, found 4"
    );
    assert_eq!(
        message(npy::parse("x", b"\x93NUMPY\x02\x00\xff\xff\xff\xff")),
        "x: byte 8: expected a header of at most 65536 bytes, found 4294967295"
    );
    let header = "{'descr': '|b1', 'fortran_order': False, 'shape': (2,)}";
    let file = [b"\x93NUMPY\x01\x00", &[header.len() as u8, 0][..], header.as_bytes(), &[1, 2]].concat();
    assert_eq!(message(npy::parse("x", &file)), "x: byte 66: expected a boolean, 00 or 01, found 02");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npz");
    std::fs::write(&path, b"no archive").unwrap();
    assert!(matches!(Npz::open(&path), Err(ArrayError::Archive { .. })));
    assert!(matches!(Npz::open(folder.path()), Err(ArrayError::Folder { .. })));
}

/// An array is the table that its numbers are as text: the same columns, whole numbers of few values and missing cells among them.
#[test]
fn arrays_are_tables() {
    let (n, d) = (50, 11);
    let at = |i: usize, j: usize| match j {
        0 => (i % 4) as f64,
        1 => i as f64,
        2 if i % 7 == 3 => f64::NAN,
        9 => f64::NAN,
        10 => -0.0,
        _ => (i * 31 + j * 17) as f64 / 8.0,
    };
    let x: Vec<f64> = (0..n * d).map(|k| at(k / d, k % d)).collect();
    let y: Vec<i64> = (0..n as i64).map(|i| i % 3).collect();
    let features = Array { shape: vec![n, d], elements: Elements::F64(x.clone()) };
    let targets = Array { shape: vec![n, 1], elements: Elements::I64(y.clone()) };
    let made = Table::from_arrays("x", &features, Some((Path::new("y"), &targets))).unwrap();
    let mut text: String = (1..=d).map(|j| format!("column{j},")).collect();
    text += "target\n";
    for (i, y) in y.iter().enumerate() {
        let cell = |x: f64| if x.is_nan() { String::new() } else { (x + 0.0).to_string() };
        (0..d).for_each(|j| text += &format!("{},", cell(at(i, j))));
        text += &format!("{y}\n");
    }
    let read = thalweg_data::read_bytes("x", text.as_bytes(), &Default::default()).unwrap();
    assert_eq!((made.rows(), made.columns()), (n, read.columns()));
    assert_eq!((made.line(0), made.line(7)), (1, 8));
    let one = Array { shape: vec![n], elements: Elements::I64(y) };
    let alone = Table::from_arrays("x", &one, None).unwrap();
    let target = read.column("target").unwrap();
    assert!((0..n as u32).all(|row| alone.columns()[0].text(row) == target.text(row)));
    let refused = |features: &Array, targets: Option<&Array>| {
        message(Table::from_arrays("x", features, targets.map(|t| (Path::new("y"), t))))
    };
    let few = Array { shape: vec![3], elements: Elements::U8(vec![0; 3]) };
    assert_eq!(
        refused(&features, Some(&few)),
        "y has targets of shape [3]; expected [50], one for each row of x"
    );
    assert!(refused(&features, Some(&features)).starts_with("y has targets of shape [50, 11]"));
    for shape in [vec![], vec![0], vec![0, 3], vec![3, 0], vec![1, 1, 1]] {
        let elements = Elements::U8(vec![0; shape.iter().product()]);
        assert!(refused(&Array { shape, elements }, None).contains("expected rows of numbers"));
    }
}

#[test]
fn what_a_path_names() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let all: Vec<RecordedArray> = recorded("arrays");
    let file = |name: &str| bytes(&all.iter().find(|a| a.name == name).unwrap().file);
    for (name, bytes) in [
        ("x_train.npy", file("|u1")),
        ("y_train.npy", file("row")),
        ("odd", file("<i4")),
        ("packed.gz", gzip(&file("<f4"))),
        ("idx", SHORT.to_vec()),
        ("both.npz", file("stored.npz")),
        ("table.csv", b"a,b\n1,2\n".to_vec()),
        ("empty.npy", vec![]),
    ] {
        std::fs::write(at(name), bytes).unwrap();
    }
    for name in ["x_train.npy", "odd", "packed.gz", "idx", "both.npz", "both.npz/x", "empty.npy", "none.npz"]
    {
        assert_eq!(input::kind(at(name)), Kind::Array, "{name}");
    }
    for name in ["table.csv", "none", "table.csv/x"] {
        assert_eq!(input::kind(at(name)), Kind::Table, "{name}");
    }
    assert_eq!(input::kind(folder.path()), Kind::Folder);
    let shape = |name: &str| input::read_array(at(name)).map(|a| a.shape);
    assert_eq!(shape("odd").unwrap(), [2, 3, 4]);
    assert_eq!(shape("packed.gz").unwrap(), [2, 3, 4]);
    assert_eq!(shape("idx").unwrap(), [2, 3]);
    assert_eq!(shape("both.npz/y").unwrap(), [2]);
    assert_eq!(shape("both.npz/y.npy").unwrap(), [2]);
    let error = message(shape("both.npz"));
    assert!(
        error.ends_with("both.npz/x") && error.contains("has the arrays x, y; name one, as in"),
        "{error}"
    );
    assert!(message(shape("table.csv")).ends_with(
        "byte 0: expected an IDX file, which begins with 00 00, or a NumPy file, which begins with 93 NUMPY, found 61 2c 62 0a"
    ));
    assert!(matches!(shape("none.npz"), Err(ArrayError::Io { .. })));
    assert!(matches!(shape("none"), Err(ArrayError::Io { .. })));
    assert!(matches!(shape("both.npz/z"), Err(ArrayError::NoSuchArray { .. })));
    // What belongs to what.
    assert_eq!(input::targets_beside(at("x_train.npy")), Some(at("y_train.npy")));
    assert_eq!(input::targets_beside(at("both.npz/x")), Some(at("both.npz/y")));
    assert_eq!(input::targets_beside(at("both.npz/y")), None);
    assert_eq!(input::targets_beside(at("odd")), None);
    assert_eq!(input::features_of(&at("both.npz"), None).unwrap(), at("both.npz/x"));
    assert_eq!(input::features_of(&at("both.npz"), Some("x")).unwrap(), at("both.npz/y"));
    assert!(matches!(input::features_of(&at("both.npz"), Some("z")), Err(ArrayError::Which { .. })));
}
