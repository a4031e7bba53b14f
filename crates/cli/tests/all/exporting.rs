//! `thalweg export`: what it writes and says, and what it refuses. What ONNX Runtime makes of the files is checked in
//! `tests/python/test_onnx.py`.

use serde_json::json;

use crate::common::Scene;

const PENGUINS: &str = "fit data/penguins.csv --target species --no-report -q --epochs 20";

#[test]
fn a_file_and_what_it_takes_and_gives() {
    let scene = Scene::new();
    scene.ok(&format!("{PENGUINS} --out run"));
    let text = scene.ok("export run --onnx penguins.onnx").out;
    for line in [
        "in   island             string  rows × 1  a category; \"\" where it is missing",
        "in   bill_length_mm     double  rows × 1  a number; NaN where it is missing",
        "out  label              string  rows      the most probable class",
        "out  probabilities      double  rows × 3  of Adelie, Chinstrap, Gentoo",
    ] {
        assert!(text.contains(line), "expected {line:?} in\n{text}");
    }
    assert!(text.contains("penguins.onnx: ") && text.contains("operator set 17"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");

    // A model file in the place of the run's folder, and the same bytes.
    let said = scene.json("export run/model.safetensors --onnx again.onnx --json");
    let bytes = scene.read("penguins.onnx");
    assert!(bytes == scene.read("again.onnx"));
    assert_eq!(said["model"], "linear");
    assert_eq!(said["loss"], "softmax");
    assert_eq!(said["target"], "species");
    assert_eq!(said["classes"], json!(["Adelie", "Chinstrap", "Gentoo"]));
    assert_eq!(said["onnx"], "again.onnx");
    assert_eq!(said["opset"], 17);
    assert_eq!(said["bytes"], bytes.len());
    let sum = scene.shell("sha256sum again.onnx").out;
    assert_eq!(said["sha256"], sum.split_whitespace().next().unwrap());
    let inputs: Vec<&str> =
        said["inputs"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(
        inputs,
        ["island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex", "year"]
    );
    assert_eq!(said["outputs"][1]["shape"], json!(["rows", 3]));
    // No trace of where or when it was made.
    let folder = scene.path("").display().to_string();
    assert!(!bytes.windows(folder.len()).any(|w| w == folder.as_bytes()));
}

#[test]
fn a_file_that_is_there_is_replaced_when_told() {
    let scene = Scene::new();
    scene.ok(&format!("{PENGUINS} --out run"));
    scene.ok(&format!("{PENGUINS} --out other --seed 1"));
    scene.write("precious.onnx", "not to be lost");
    scene.refuses("export run --onnx precious.onnx", 1, &["precious.onnx is there already", "--force"]);
    scene.ok("export run --onnx precious.onnx --force");
    scene.ok("export other --onnx other.onnx");
    assert!(scene.read("precious.onnx").len() > 1000);
    assert!(scene.read("precious.onnx") != scene.read("other.onnx"));
    // A device is no file to be kept.
    assert!(scene.shell("\"$THALWEG\" export run --onnx /dev/stdout | head -c 2").out.starts_with('\u{8}'));
}

#[test]
fn what_is_refused() {
    let scene = Scene::new();
    scene.ok(&format!("{PENGUINS} --out run"));
    scene.refuses("export run", 2, &["--onnx"]);
    scene.refuses("export --onnx a.onnx", 2, &["<MODEL>"]);
    scene.refuses("export run --onnx run", 2, &["run is a folder"]);
    scene.refuses("export run --onnx nowhere/a.onnx", 1, &["cannot write nowhere/a.onnx"]);
    scene.refuses("export missing --onnx a.onnx", 1, &["cannot read the model missing"]);
    scene.refuses("export data --onnx a.onnx", 1, &["data holds no model.safetensors"]);
    scene.refuses("export data/iris.csv --onnx a.onnx", 1, &["iris.csv is cut short or is no model file"]);
}
