//! The model file: what is saved is read back, byte for byte the same; anything else is refused in words.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use thalweg_core::Params;
use thalweg_models::linear::Shape;
use thalweg_models::saved::{
    Description, FILE_NAME, FORMAT, KEY, Parameters, Saved, SavedError, Score, Training, canonical, sha256,
    write_whole,
};

fn description() -> Description {
    Description {
        format: FORMAT,
        model: "linear".into(),
        loss: "softmax".into(),
        label_smoothing: 0.0,
        dense: 2,
        one_hot: 1,
        classes: vec!["setosa".into(), "versicolor \"2\"".into(), "virginica".into()],
        encoder: json!({ "z": [1.5, 0.1, 1e-300], "a": { "ü": null, "b": true }, "m": "text" }),
        input: None,
        training: Training {
            rows: 120,
            l1: 0.0,
            l2: 1.0 / 120.0,
            seed: 7,
            optimizer: "adam(lr=0.05)".into(),
            epochs: 30,
            steps: 90,
            stop: "epochs".into(),
            train_loss: Some(0.125),
            valid_loss: None,
        },
        score: Some(Score {
            metric: "accuracy".into(),
            value: 29.0 / 30.0,
            interval: Some([0.83, 0.99]),
            baseline: None,
            rows: 30,
        }),
    }
}

fn saved(single: bool) -> Saved {
    let layout = Arc::new(Shape { dense: 2, one_hot: 1, outputs: 3, intercept: true }.layout());
    let numbers: Vec<f64> = (0..9).map(|i| 0.1 * f64::from(i) - 1.0 / 3.0).collect();
    let parameters: Parameters = if single {
        let mut p = Params::<f32>::zeros(&layout);
        p.tensor_mut("weight").iter_mut().zip(&numbers).for_each(|(to, &x)| *to = x as f32);
        p.tensor_mut("bias").copy_from_slice(&[1.5, f32::MIN_POSITIVE / 4.0, -0.0]);
        p.into()
    } else {
        let mut p = Params::<f64>::zeros(&layout);
        p.tensor_mut("weight").copy_from_slice(&numbers);
        p.tensor_mut("bias").copy_from_slice(&[1.5, 5e-324, -0.0]);
        p.into()
    };
    let coefficients = numbers.iter().map(|x| 7.0 * x).collect();
    Saved {
        description: description(),
        parameters,
        coefficients,
        intercept: vec![4.0, 5.0, 6.0],
        statistics: None,
    }
}

fn error(bytes: &[u8]) -> String {
    Saved::from_bytes(bytes, Path::new("some/model.safetensors")).unwrap_err().to_string()
}

/// A file of these tensors, in the other program's way.
fn file(metadata: Option<Value>, tensors: &[(&str, &[usize], &[f64])]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|t| t.2.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F64, shape.to_vec(), bytes);
        (*name, view.unwrap())
    });
    let metadata = metadata.map(|m| [(KEY.to_string(), m.to_string())].into());
    safetensors::serialize(views.collect::<Vec<_>>(), metadata).unwrap()
}

/// The file of `saved(false)` with other metadata.
fn with(description: Value) -> Vec<u8> {
    let s = saved(false);
    let p = s.parameters.to_f64();
    file(
        Some(description),
        &[
            ("weight", &[3, 3], p.tensor("weight")),
            ("bias", &[3], p.tensor("bias")),
            ("coefficients", &[3, 3], &s.coefficients),
            ("intercept", &[3], &s.intercept),
        ],
    )
}

#[test]
fn what_is_saved_is_read_back() {
    for single in [true, false] {
        let model = saved(single);
        let bytes = model.to_bytes().unwrap();
        let back = Saved::from_bytes(&bytes, Path::new("m")).unwrap();
        assert_eq!(back.description, model.description);
        assert_eq!(back.coefficients, model.coefficients);
        assert_eq!(back.intercept, model.intercept);
        assert_eq!(matches!(back.parameters, Parameters::F32(_)), single);
        assert_eq!(back.parameters.layout(), model.parameters.layout());
        let bits = |s: &Saved| s.parameters.to_f64().values().map(f64::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(&model));
        assert_eq!(back.to_bytes().unwrap(), bytes, "two saves of one model are the same bytes");
        assert_eq!(back.description.shape().unwrap().layout(), **model.parameters.layout());
        let encoder: std::collections::BTreeMap<String, Value> = back.description.encoder().unwrap();
        assert_eq!(encoder["m"], "text");
    }
}

#[test]
fn other_readers_find_the_tensors_and_one_key() {
    let bytes = saved(true).to_bytes().unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap().keys().collect::<Vec<_>>(), [KEY]);
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names = tensors.names();
    names.sort_unstable();
    assert_eq!(names, ["bias", "coefficients", "intercept", "weight"]);
    assert_eq!(tensors.tensor("weight").unwrap().shape(), [3, 3]);
    assert_eq!(tensors.tensor("coefficients").unwrap().dtype(), safetensors::Dtype::F64);
}

#[test]
fn the_description_is_canonical_json() {
    let text = canonical(&json!({ "b": 1, "a": { "d": [1.5, "x\n"], "c": null }, "é": 0.1 }));
    assert_eq!(text, r#"{"a":{"c":null,"d":[1.5,"x\n"]},"b":1,"é":0.1}"#);
    let header = String::from_utf8_lossy(&saved(false).to_bytes().unwrap()).to_string();
    let place = |key: &str| header.find(&format!("\\\"{key}\\\":")).unwrap();
    let keys = ["classes", "dense", "encoder", "format", "loss", "model", "one_hot", "score", "training"];
    assert!(keys.windows(2).all(|pair| place(pair[0]) < place(pair[1])));
}

#[test]
fn sha256_is_sha256() {
    // FIPS 180-2, appendix B.1.
    assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn saving_and_loading_by_file_and_by_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    let model = saved(false);
    let digest = model.save(&path).unwrap();
    assert_eq!(digest, sha256(&std::fs::read(&path).unwrap()));
    assert_eq!(Saved::load(&path).unwrap().description, model.description);
    assert_eq!(Saved::load(folder.path()).unwrap().description, model.description);
    // Over an existing one.
    assert_ne!(saved(true).save(&path).unwrap(), digest);
    assert!(matches!(Saved::load(&path).unwrap().parameters, Parameters::F32(_)));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let plain = folder.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain), "the rights of any other file");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let load = |path: &Path| Saved::load(path).unwrap_err().to_string();
    let text = load(folder.path());
    assert!(text.contains("holds no model.safetensors"), "{text}");
    let missing = folder.path().join("missing.safetensors");
    let text = load(&missing);
    assert!(text.starts_with("cannot read the model ") && text.contains("missing.safetensors"), "{text}");
    std::fs::write(folder.path().join("file"), "x").unwrap();
    let below = folder.path().join("file").join(FILE_NAME);
    let text = saved(true).save(&below).unwrap_err().to_string();
    assert!(text.starts_with("cannot write the model ") && text.contains("untouched"), "{text}");
}

/// A disk that is full after `left` bytes.
struct Full<'a> {
    to: &'a mut dyn Write,
    left: usize,
}

impl Write for Full<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let some = bytes.len().min(self.left).min(97);
        if some == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.left -= some;
        self.to.write(&bytes[..some])
    }
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    let bytes = saved(false).to_bytes().unwrap();
    for existing in [None, Some(saved(true).to_bytes().unwrap())] {
        if let Some(old) = &existing {
            std::fs::write(&path, old).unwrap();
        }
        for left in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
            let done = write_whole(&path, |to| Full { to, left }.write_all(&bytes));
            assert_eq!(done.unwrap_err().kind(), io::ErrorKind::StorageFull);
            assert_eq!(std::fs::read(&path).ok(), existing);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), usize::from(existing.is_some()));
        }
    }
    write_whole(&path, |to| Full { to, left: bytes.len() }.write_all(&bytes)).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_file_cut_short_is_refused_at_every_byte() {
    for single in [true, false] {
        let bytes = saved(single).to_bytes().unwrap();
        for end in 0..bytes.len() {
            let text = error(&bytes[..end]);
            assert!(
                text.starts_with("some/model.safetensors is cut short or is no model file"),
                "{end}: {text}"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(error(&longer).contains("cut short or is no model file"));
    }
}

#[test]
fn files_of_other_programs_are_refused() {
    assert!(error(b"PK\x03\x04 and so on, longer than a length").contains("is no model file"));
    let text = error(&file(None, &[("weight", &[1], &[1.0])]));
    assert!(text.contains("another program") && text.contains("thalweg fit"), "{text}");
}

#[test]
fn newer_formats_are_refused() {
    // The newer description may have any other shape.
    let text = error(&with(json!({ "format": FORMAT + 1, "new": [] })));
    assert!(
        text.contains("has format 2, written by a newer thalweg") && text.contains("update thalweg"),
        "{text}"
    );
}

#[test]
fn damaged_descriptions_are_refused() {
    let whole = serde_json::to_value(description()).unwrap();
    assert!(Saved::from_bytes(&with(whole.clone()), Path::new("m")).is_ok());
    for (key, value, says) in [
        ("format", json!("1"), "it has no format"),
        ("model", json!("mlp(3)"), "there is no model \"mlp\""),
        ("loss", json!("sofmax"), "did you mean \"softmax\"?"),
        ("classes", json!([]), "the description of the model is damaged"),
        ("dense", json!(u64::MAX), "the description of the model is damaged"),
        ("dense", json!(-1), "invalid value"),
        ("training", json!({}), "missing field"),
    ] {
        let mut changed = whole.clone();
        changed[key] = value;
        let text = error(&with(changed));
        assert!(text.contains(says), "{key}: {text}");
    }
    for key in whole.as_object().unwrap().keys().filter(|key| *key != "score") {
        let mut changed = whole.clone();
        changed.as_object_mut().unwrap().remove(key);
        assert!(error(&with(changed)).contains("the description of the model is damaged"), "{key}");
    }
}

#[test]
fn all_mismatches_are_listed_at_once() {
    let whole = serde_json::to_value(description()).unwrap();
    let bytes = file(
        Some(whole),
        &[
            ("weight", &[3, 2], &[0.0; 6]),
            ("bias", &[3], &[0.0; 3]),
            ("extra", &[1], &[0.0]),
            ("intercept", &[1], &[0.0]),
        ],
    );
    let text = error(&bytes);
    for part in [
        "weight has shape [3, 2], expected [3, 3]",
        "coefficients [3, 3] is missing",
        "intercept has shape [1], expected [3]",
        "\"extra\" is unknown",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("bias"), "{text}");
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let mut model = saved(false);
    if let Parameters::F64(p) = &mut model.parameters {
        p.tensor_mut("weight")[4] = f64::NAN;
    }
    let text = error(&model.to_bytes().unwrap());
    assert!(text.contains("weight[4] is NaN: the model diverged"), "{text}");
    let mut model = saved(true);
    model.intercept[2] = f64::INFINITY;
    assert!(error(&model.to_bytes().unwrap()).contains("intercept[2] is inf"));
    // JSON has no such numbers: what could not be read back is not written.
    let mut model = saved(true);
    model.description.training.l2 = f64::NAN;
    assert!(matches!(model.to_bytes(), Err(SavedError::Unreadable { .. })));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Saved::from_bytes(&bytes, Path::new("m")).is_err());
    }

    #[test]
    fn a_changed_file_is_read_or_refused(places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = saved(true).to_bytes().unwrap();
        for (place, byte) in places {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(model) = Saved::from_bytes(&bytes, Path::new("m")) {
            prop_assert!(model.parameters.to_f64().values().all(f64::is_finite));
            prop_assert!(model.to_bytes().is_ok());
        }
    }

    #[test]
    fn a_changed_description_is_read_or_refused(key in "[a-z_]{1,9}", dense in any::<u64>(), one_hot in any::<u64>(), loss in "[a-z(0-9.)]{0,12}") {
        let mut json = serde_json::to_value(description()).unwrap();
        json["dense"] = dense.into();
        json["one_hot"] = one_hot.into();
        prop_assert!(Saved::from_bytes(&with(json.clone()), Path::new("m")).is_err());
        json["loss"] = loss.into();
        json[key] = Value::Null;
        prop_assert!(Saved::from_bytes(&with(json), Path::new("m")).is_err());
    }
}
