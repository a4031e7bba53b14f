//! What is no table: arrays, images, text. Checked against files that NumPy and Pillow wrote, by hand, and with what is broken.

mod arrays;
mod fetched;
mod ngram;
mod pictures;
mod texts;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// `tests/data/inputs.json`, made by `scripts/reference/inputs.py`.
fn recorded<T: DeserializeOwned>(part: &str) -> T {
    let text = include_str!("../data/inputs.json");
    let mut all: serde_json::Value = serde_json::from_str(text).expect("the recorded files are JSON");
    serde_json::from_value(all[part].take()).expect("of the shape that the test names")
}

/// The bytes of a recorded file.
fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn message(result: Result<impl std::fmt::Debug, impl std::fmt::Display>) -> String {
    result.expect_err("this input is bad").to_string()
}

/// An array that NumPy wrote.
#[derive(Deserialize)]
struct RecordedArray {
    name: String,
    file: String,
    shape: Vec<usize>,
    numbers: Vec<f64>,
}

/// An image that Pillow wrote and read.
#[derive(Deserialize)]
struct RecordedImage {
    name: String,
    file: String,
    shape: [usize; 3],
    pixels: Vec<u8>,
    grey: Option<Vec<u8>>,
}
