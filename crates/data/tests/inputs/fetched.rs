//! The data sets that `scripts/data/fetch.sh` fetches.

use std::path::{Path, PathBuf};

use thalweg_data::text::{MIN_CHARACTER_COUNT, NGram, Smoothing, Text, Unit, Vocabulary};
use thalweg_data::{ImageEncoder, Images, Pixels, idx};

fn fetched(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/data").join(name)
}

/// Shape, the first ten labels as their papers' pages show them, and the mean and deviation that tutorials give (0.1307 and 0.3081
/// for MNIST, 0.2860 and 0.3530 for Fashion-MNIST).
fn check(images: &str, count: usize, first: [&str; 10], moments: Option<(f64, f64)>) {
    let file = fetched(images);
    let labels = idx::labels_beside(&file).expect("the labels lie beside");
    let x = Images::from_idx(&file, Some(&labels)).unwrap();
    assert_eq!((x.count, x.channels, x.height, x.width), (count, 1, 28, 28));
    assert_eq!(x.classes, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let found: Vec<_> = (0..10).map(|i| x.class(i).unwrap()).collect();
    assert_eq!(found, first);
    let rows: Vec<u32> = (0..count as u32).collect();
    let encoder = ImageEncoder::learn(&x, &rows, true).unwrap();
    if let Some((mean, scale)) = moments {
        assert!(
            (encoder.mean[0] - mean).abs() < 5e-5 && (encoder.scale[0] - scale).abs() < 5e-5,
            "{encoder:?}"
        );
    }
    let encoded = encoder.encode::<f32>(&x, &rows[..100], true).unwrap();
    assert_eq!((encoded.dense.len(), encoded.target[0].to_string()), (78_400, first[0].to_string()));
}

#[test]
#[ignore = "needs scripts/data/fetch.sh mnist"]
fn mnist() {
    let first = ["5", "0", "4", "1", "9", "2", "1", "3", "1", "4"];
    check("mnist/train-images-idx3-ubyte", 60_000, first, Some((0.1307, 0.3081)));
    check("mnist/t10k-images-idx3-ubyte", 10_000, ["7", "2", "1", "0", "4", "1", "4", "9", "5", "9"], None);
    let Pixels::Bytes(x) = Images::from_idx(fetched("mnist/train-images-idx3-ubyte"), None).unwrap().pixels
    else {
        panic!("MNIST is of bytes");
    };
    // The first five's upper edge: row 5, columns 12 to 23.
    assert_eq!(x[5 * 28 + 12..5 * 28 + 24], [3, 18, 18, 18, 126, 136, 175, 26, 166, 255, 247, 127]);
}

#[test]
#[ignore = "needs scripts/data/fetch.sh fashion-mnist"]
fn fashion_mnist() {
    let first = ["9", "0", "0", "3", "0", "2", "7", "2", "5", "5"];
    check("fashion-mnist/train-images-idx3-ubyte.gz", 60_000, first, Some((0.2860, 0.3530)));
    let test = ["9", "2", "1", "1", "6", "1", "4", "6", "5", "7"];
    check("fashion-mnist/t10k-images-idx3-ubyte.gz", 10_000, test, None);
}

/// English text: a model of five characters lies near 2 bits.
#[test]
#[ignore = "needs scripts/data/fetch.sh kjv"]
fn kjv() {
    let (text, notes) = Text::read(fetched("kjv.txt")).unwrap();
    assert_eq!((text.unit(), text.len(), notes), (Unit::Character, 4_137_850, vec![]));
    let parts = text.cut(Some(0.05), Some(0.05)).unwrap();
    let (vocabulary, notes) = Vocabulary::learn(&text, parts.train.clone(), MIN_CHARACTER_COUNT);
    let (train, test) = (vocabulary.encode(&text, parts.train), vocabulary.encode(&text, parts.test));
    assert!(
        vocabulary.decode(&train).starts_with("In the beginning God created the heaven and the earth.\n")
    );
    let per = |order, smoothing| {
        NGram::learn(&train, vocabulary.len(), order, smoothing).bits(&test) / test.len() as f64
    };
    let orders: Vec<f64> = [1, 2, 3, 4, 5].map(|n| per(n, Smoothing::KneserNey)).into();
    println!(
        "{} symbols, {notes:?}; Kneser–Ney {orders:?}, Witten–Bell {}",
        vocabulary.len(),
        per(5, Smoothing::WittenBell)
    );
    assert!(orders.windows(2).all(|w| w[1] < w[0]), "each further character helps");
    assert!((1.5..2.3).contains(&orders[4]));
}
