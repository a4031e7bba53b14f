//! Images and their numbers.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde::Deserialize;
use thalweg_data::images::{ChannelAxis, FolderOptions};
use thalweg_data::{Array, Elements, ImageEncoder, ImageError, Images, Note, Pixels};

use crate::{RecordedImage, bytes, message, recorded};

fn images(elements: Elements, shape: &[usize], labels: Option<Elements>) -> Result<Images, ImageError> {
    let labels = labels.map(|l| (Path::new("l"), Array { shape: vec![l.len()], elements: l }));
    Images::from_arrays("x", Array { shape: shape.to_vec(), elements }, labels, None)
}

/// The same, with channels second.
fn planes(elements: Elements, shape: &[usize], labels: Option<Elements>) -> Images {
    let labels = labels.map(|l| (Path::new("l"), Array { shape: vec![l.len()], elements: l }));
    let array = Array { shape: shape.to_vec(), elements };
    Images::from_arrays("x", array, labels, Some(ChannelAxis::Second)).unwrap()
}

fn as_bytes(images: &Images) -> &[u8] {
    match &images.pixels {
        Pixels::Bytes(x) => x,
        Pixels::Floats(_) => panic!("bytes were read"),
    }
}

#[test]
fn arrays_become_images() {
    let x = images(Elements::U8((0..12).collect()), &[2, 2, 3], Some(Elements::I32(vec![7, -1]))).unwrap();
    assert_eq!((x.count, x.channels, x.height, x.width, x.size()), (2, 1, 2, 3, 6));
    assert_eq!(
        (x.labels.as_deref(), &x.classes[..]),
        (Some(&[1, 0][..]), &["-1".to_string(), "7".into()][..])
    );
    assert_eq!((x.class(0), x.class(1)), (Some("7"), Some("-1")));
    let x = images(Elements::U8((0..60).collect()), &[2, 5, 6, 1], None).unwrap();
    assert_eq!((x.channels, x.height, x.width, as_bytes(&x)[1]), (1, 5, 6, 1));
    // Two channels that lie side by side: planes after.
    let x = images(Elements::U8((0..60).collect()), &[1, 5, 6, 2], None).unwrap();
    assert_eq!((x.channels, x.height, x.width), (2, 5, 6));
    assert_eq!(as_bytes(&x)[..3], [0, 2, 4]);
    assert_eq!(as_bytes(&x)[30..33], [1, 3, 5]);
    let x = images(Elements::F64((0..60).map(f64::from).collect()), &[1, 2, 5, 6], None).unwrap();
    assert_eq!((x.channels, x.height, x.width), (2, 5, 6));
    assert_eq!(x.pixels, Pixels::Floats((0..60).map(|x| x as f32).collect()));
    // Either axis could be it: the caller says.
    let both = Array { shape: vec![1, 3, 2, 3], elements: Elements::U8((0..18).collect()) };
    assert!(matches!(Images::from_arrays("x", both.clone(), None, None), Err(ImageError::Ambiguous { .. })));
    let x = Images::from_arrays("x", both.clone(), None, Some(ChannelAxis::Second)).unwrap();
    assert_eq!((x.channels, x.height, x.width), (3, 2, 3));
    let x = Images::from_arrays("x", both, None, Some(ChannelAxis::Last)).unwrap();
    assert_eq!((x.channels, x.height, x.width, as_bytes(&x)[1]), (3, 3, 2, 3));
}

#[test]
fn arrays_that_are_no_images() {
    let of = |shape: &[usize]| {
        let n = shape.iter().product();
        message(images(Elements::U8(vec![0; n]), shape, None))
    };
    assert!(of(&[4, 9]).ends_with("with 1 to 4 channels, found [4, 9]"));
    assert!(of(&[2, 5, 5, 5]).ends_with("found [2, 5, 5, 5]"));
    assert!(of(&[2, 0, 5]).ends_with("found [2, 0, 5]"));
    assert!(of(&[]).ends_with("found []"));
    assert!(matches!(images(Elements::U8(vec![]), &[0, 5, 5], None), Err(ImageError::NoImages { .. })));
    let pixels = Elements::F32(vec![0.0, 0.0, f32::NAN, 0.0]);
    assert_eq!(
        message(images(pixels, &[2, 1, 2], None)),
        "x: image 1 (from 0) has a pixel NaN; every pixel must be finite"
    );
    let labelled = |labels| message(images(Elements::U8(vec![0; 4]), &[2, 1, 2], Some(labels)));
    assert_eq!(
        labelled(Elements::U8(vec![1; 3])),
        "l has labels of shape [3]; expected [2], one for each image of x"
    );
    assert_eq!(
        labelled(Elements::F32(vec![1.0, 1.5])),
        "l: label 1 (from 0): expected a whole number, found 1.5"
    );
    assert_eq!(
        labelled(Elements::F64(vec![f64::NAN, 1.0])),
        "l: label 0 (from 0): expected a whole number, found NaN"
    );
}

/// Writes a recorded image into a folder.
fn put(folder: &Path, name: &str, file: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), bytes(file)).unwrap();
}

#[test]
fn what_pillow_wrote() {
    for image in recorded::<Vec<RecordedImage>>("images") {
        let name = &image.name;
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), name, &image.file);
        let (x, notes) = Images::from_folder(folder.path(), &FolderOptions::default()).unwrap();
        assert_eq!([x.channels, x.height, x.width], image.shape, "{name}");
        assert_eq!((x.count, &x.labels), (1, &None));
        let transparent = Note::Transparent { files: 1, first: name.clone() };
        assert_eq!(
            notes,
            if ["rgba.png", "la.png"].contains(&&name[..]) { vec![transparent] } else { vec![] }
        );
        // PNG loses nothing. Two decoders of JPEG round the same transform differently, by 1 in each of Y, Cb and Cr, which is up to
        // 1 + 1.772 in a colour; where colour has half the resolution, they also interpolate differently.
        let bound = match &name[..] {
            "grey.jpg" => 1,
            "full.jpg" | "progressive.jpg" => 2,
            "half.jpg" => 8,
            _ => 0,
        };
        let worst = as_bytes(&x).iter().zip(&image.pixels).map(|(&a, &b)| a.abs_diff(b)).max().unwrap();
        assert!(worst <= bound, "{name}: {worst}");
        if let Some(expected) = &image.grey {
            let options = FolderOptions { colour: Some(false), ..Default::default() };
            let (x, _) = Images::from_folder(folder.path(), &options).unwrap();
            let worst = as_bytes(&x).iter().zip(expected).map(|(&a, &b)| a.abs_diff(b)).max().unwrap();
            assert!(x.channels == 1 && worst <= bound, "{name} in grey: {worst}");
        }
        let file = bytes(&image.file);
        let n = file.len();
        let read = |bytes: &[u8]| {
            // A new file: some file systems wait for the disk when one is written over.
            let path = folder.path().join(name);
            fs::remove_file(&path).unwrap();
            fs::write(&path, bytes).unwrap();
            Images::from_folder(folder.path(), &FolderOptions::default())
        };
        for end in (0..n - 20).step_by(3).chain(n - 20..n) {
            // All pixels of a PNG are there without its last chunk, of 12 bytes, that only says so.
            let whole = name.ends_with(".png") && end + 12 >= n;
            assert!(read(&file[..end]).is_err() || whole, "{name} cut at byte {end} of {n}");
        }
        for at in (0..n).step_by(3) {
            let mut wrong = file.clone();
            wrong[at] ^= 0x55;
            let _ = read(&wrong);
        }
    }
}

#[derive(Deserialize)]
struct Resized {
    file: String,
    to: Vec<ResizedTo>,
}

#[derive(Deserialize)]
struct ResizedTo {
    size: (usize, usize),
    pixels: Vec<u8>,
}

#[test]
fn images_are_resized_as_pillow_does() {
    let Resized { file, to } = recorded("resized");
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "x.png", &file);
    for ResizedTo { size, pixels } in to {
        let options = FolderOptions { resize: Some(size), colour: None };
        let (x, _) = Images::from_folder(folder.path(), &options).unwrap();
        assert_eq!((x.height, x.width), size);
        // Pillow rounds to a byte between rows and columns.
        let worst = as_bytes(&x).iter().zip(&pixels).map(|(&a, &b)| a.abs_diff(b)).max().unwrap();
        assert!(worst <= 1, "{size:?}: {worst}");
    }
}

#[test]
fn folders_are_classes() {
    let all: Vec<RecordedImage> = recorded("images");
    let file = |name: &str| &all.iter().find(|i| i.name == name).unwrap().file[..];
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    put(&at("dog"), "2.png", file("grey.png"));
    put(&at("dog"), "10.JPG", file("grey.jpg"));
    put(&at("cat"), "b.png", file("rgb.png"));
    put(&at(".hidden"), "b.png", file("wide.png"));
    fs::write(at("dog").join("notes.txt"), "x").unwrap();
    fs::write(at("read.me"), "x").unwrap();
    let read = || Images::from_folder(folder.path(), &FolderOptions::default());
    let (x, notes) = read().unwrap();
    assert_eq!((x.count, x.channels, &x.classes[..]), (3, 3, &["cat".to_string(), "dog".into()][..]));
    assert_eq!(x.labels.as_deref(), Some(&[0, 1, 1][..]));
    assert_eq!(notes, [Note::NotImages { files: 2, first: "read.me".into() }]);
    assert_eq!(notes[0].to_string(), "2 files not .png, .jpg or .jpeg left out, such as \"read.me\"");
    assert_eq!(x.names, ["cat/b.png", "dog/10.JPG", "dog/2.png"]);
    // Grey is repeated.
    let plane = x.height * x.width;
    let last = &as_bytes(&x)[6 * plane..];
    assert_eq!(last[..plane], last[2 * plane..]);
    // Sorted by bytes: 10.JPG before 2.png.
    let (png, jpg) =
        (all.iter().find(|i| i.name == "grey.png").unwrap(), &as_bytes(&x)[3 * plane..][..plane]);
    assert_eq!(last[..plane], png.pixels);
    assert_ne!(jpg, png.pixels);
    put(&at("dog"), "3.png", file("wide.png"));
    let error = message(read());
    assert!(
        error.ends_with("13 × 9; say --resize 13x9 to bring all to one size")
            && error.contains("3.png is 7 × 5 pixels (width × height), but ")
            && error.contains("b.png is 13 × 9"),
        "{error}"
    );
    let options = FolderOptions { resize: Some((9, 13)), colour: None };
    assert_eq!(Images::from_folder(folder.path(), &options).unwrap().0.count, 4);
    fs::write(at("dog").join("3.png"), b"GIF89a").unwrap();
    assert!(
        message(read())
            .ends_with("3.png: expected a PNG or JPEG image, found a file that begins with 47 49 46 38")
    );
    fs::write(at("dog").join("3.png"), b"").unwrap();
    assert!(message(read()).ends_with("found a file that begins with nothing"));
    fs::remove_file(at("dog").join("3.png")).unwrap();
    put(folder.path(), "0.png", file("grey.png"));
    assert!(matches!(read(), Err(ImageError::Mixed { .. })));
    fs::remove_file(at("0.png")).unwrap();
    fs::create_dir(at("dog").join("small")).unwrap();
    assert!(matches!(read(), Err(ImageError::Nested { .. })));
    fs::remove_dir(at("dog").join("small")).unwrap();
    fs::create_dir(at("empty")).unwrap();
    assert!(message(read()).contains("empty has no images; expected .png, .jpg"));
    assert!(matches!(Images::from_folder(at("none"), &FolderOptions::default()), Err(ImageError::Io { .. })));
}

#[test]
fn sizes_to_resize_to_are_checked() {
    for size in [(0, 5), (5, 0), (1 << 20, 1 << 20), (usize::MAX, 2)] {
        let options = FolderOptions { resize: Some(size), colour: None };
        assert!(matches!(Images::from_folder(".", &options), Err(ImageError::Resize { .. })), "{size:?}");
    }
}

/// A PNG whose header says 2³¹ − 1 pixels a side is refused by its header.
#[test]
fn a_huge_png_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = Vec::new();
    png::Encoder::new(&mut file, 1, 1).write_header().unwrap().write_image_data(&[0]).unwrap();
    file[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let mut crc = flate2::Crc::new();
    crc.update(&file[12..29]);
    file[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    fs::write(folder.path().join("x.png"), file).unwrap();
    let result = Images::from_folder(folder.path(), &FolderOptions::default());
    assert!(matches!(result, Err(ImageError::TooLarge { width: 0x7fff_ffff, .. })), "{result:?}");
}

/// Two channels, two images of two pixels: by hand.
#[test]
fn the_encoder_by_hand() {
    let pixels = vec![0, 255, 51, 51, 255, 0, 51, 51, 9, 9, 8, 8];
    let x = planes(Elements::U8(pixels), &[3, 2, 1, 2], Some(Elements::U8(vec![3, 5, 9])));
    let encoder = ImageEncoder::learn(&x, &[0, 1], true).unwrap();
    assert_eq!((&encoder.mean[..], &encoder.scale[..]), (&[0.5, 0.2][..], &[0.5, 1.0][..]));
    let rows = encoder.encode::<f64>(&x, &[1, 0], true).unwrap();
    assert_eq!(rows.dense, [1.0, -1.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0]);
    assert_eq!((rows.width, rows.target, rows.rows), (4, vec![1.0, 0.0], vec![1, 0]));
    let json = serde_json::to_string(&encoder).unwrap();
    assert_eq!(serde_json::from_str::<ImageEncoder>(&json).unwrap(), encoder);
    let plain = ImageEncoder::learn(&x, &[0], false).unwrap();
    assert_eq!(plain.encode::<f32>(&x, &[0], false).unwrap().dense, [0.0, 1.0, 0.2, 0.2]);
    assert!(matches!(ImageEncoder::learn(&x, &[], true), Err(ImageError::NoRows { .. })));
    // What the model does not know.
    let other = planes(Elements::U8(vec![0; 4]), &[1, 2, 1, 2], Some(Elements::U8(vec![4])));
    assert_eq!(
        message(encoder.encode::<f32>(&other, &[0], true)),
        "x: class \"4\" was not seen in training; known: 3, 5, 9"
    );
    let other = planes(Elements::U8(vec![0; 4]), &[1, 1, 2, 2], None);
    assert_eq!(
        message(encoder.encode::<f32>(&other, &[0], false)),
        "x has images of 1 × 2 × 2 (channels × height × width); the model was trained on 2 × 1 × 2"
    );
    let other = planes(Elements::F32(vec![0.0; 4]), &[1, 2, 1, 2], None);
    assert_eq!(
        message(encoder.encode::<f32>(&other, &[0], false)),
        "x has pixels that are floats; the model was trained on bytes"
    );
    let other = planes(Elements::U8(vec![0; 4]), &[1, 2, 1, 2], None);
    assert!(matches!(encoder.encode::<f32>(&other, &[0], true), Err(ImageError::NoLabels { .. })));
    assert_eq!(encoder.encode::<f32>(&other, &[0], false).unwrap().dense.len(), 4);
}

/// Rows that are encoded as they are read have the bits of those that lie in memory, in each precision.
#[test]
fn rows_are_encoded_as_they_are_read() {
    let pixels: Vec<u8> = (0..5u32 * 2 * 12).map(|i| (i * 89 % 251) as u8).collect();
    let floats = Elements::F32(pixels.iter().map(|&x| f32::from(x) / 7.0).collect());
    for elements in [Elements::U8(pixels), floats] {
        let x = Arc::new(planes(elements, &[5, 2, 3, 4], Some(Elements::U8(vec![3, 1, 3, 2, 1]))));
        let encoder = ImageEncoder::learn(&x, &[0, 2, 3], true).unwrap();
        let rows = [4, 0, 0, 2];
        let (dense, lazy) =
            (encoder.encode::<f64>(&x, &rows, true).unwrap(), encoder.rows::<f64>(&x, &rows, true).unwrap());
        assert_eq!((&lazy.target, &lazy.rows, lazy.width), (&dense.target, &dense.rows, 24));
        assert!(lazy.dense.is_empty() && lazy.len() == 4);
        let (mut wide, mut single, mut cast) = (Vec::<f64>::new(), Vec::<f32>::new(), Vec::<f32>::new());
        for at in 0..4 {
            lazy.append_row(at, &mut wide);
            lazy.append_row(at, &mut single);
            dense.append_row(at, &mut cast);
        }
        assert_eq!(wide, dense.dense);
        assert_eq!(single, encoder.encode::<f32>(&x, &rows, false).unwrap().dense);
        assert_eq!(cast, single);
        assert_eq!(lazy.cast::<f32>().pixels, lazy.pixels);
        let other = Arc::new(planes(Elements::U8(vec![0; 4]), &[1, 1, 2, 2], None));
        assert!(matches!(encoder.rows::<f64>(&other, &[0], false), Err(ImageError::Differs { .. })));
        assert!(matches!(encoder.rows::<f64>(&x, &[0], true), Ok(data) if data.target == [2.0]));
    }
}

proptest! {
    /// Encoded training images have mean 0 and variance 1 in each channel, of bytes and of the same numbers as floats.
    #[test]
    fn training_images_are_standardised(n in 1usize..6, seed: u32) {
        let (c, plane) = (3, 4 * 5);
        let pixel = |i: usize| ((i as u32 + 1).wrapping_mul(2_654_435_761) ^ seed) as u8;
        let pixels: Vec<u8> = (0..n * c * plane).map(pixel).collect();
        let floats = Elements::F32(pixels.iter().map(|&x| f32::from(x)).collect());
        let rows: Vec<u32> = (0..n as u32).collect();
        for elements in [Elements::U8(pixels), floats] {
            let x = images(elements, &[n, c, 4, 5], None).unwrap();
            let encoder = ImageEncoder::learn(&x, &rows, true).unwrap();
            let encoded = encoder.encode::<f64>(&x, &rows, false).unwrap();
            for k in 0..c {
                let channel: Vec<f64> = encoded.dense.chunks(plane).skip(k).step_by(c).flatten().copied().collect();
                let count = channel.len() as f64;
                let mean = channel.iter().sum::<f64>() / count;
                let variance = channel.iter().map(|x| x * x).sum::<f64>() / count;
                // At most 100 numbers of size below 20, each rounded a few times: 20 · 100 · 2⁻⁵² = 4e-13.
                prop_assert!(mean.abs() < 1e-12 && (variance - 1.0).abs() < 1e-12, "{} {}", mean, variance);
            }
        }
    }
}
