//! Weights from elsewhere: what PyTorch saved, answered and learnt (`scripts/reference/interchange.py`).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::common::{Scene, recorded, unhex};

/// The tensors of a safetensors file as `f64`, whole numbers left out.
fn tensors(bytes: &[u8]) -> BTreeMap<String, (Vec<u64>, Vec<f64>)> {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let tensors = header.as_object().unwrap().iter().filter(|(_, t)| t["dtype"] == "F32");
    tensors
        .map(|(name, tensor)| {
            let list = |key: &str| -> Vec<u64> {
                tensor[key].as_array().unwrap().iter().map(|x| x.as_u64().unwrap()).collect()
            };
            let at = list("data_offsets");
            let body = &bytes[8 + length..][at[0] as usize..at[1] as usize];
            let numbers = body.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b)));
            (name.clone(), (list("shape"), numbers.collect()))
        })
        .collect()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// The recorded images, as the command reads them, and the weights that PyTorch saved.
fn images(scene: &Scene) -> Value {
    let image = recorded()["image"].clone();
    scene.write("train-images-idx3-ubyte", unhex(&image["images"]));
    scene.write("train-labels-idx1-ubyte", unhex(&image["labels"]));
    scene.write("state.safetensors", unhex(&image["state"]));
    image
}

const AS_IT_IS: &str = "--epochs 0 --no-standardise --test none --valid none --no-report -q";

#[test]
fn what_pytorch_saved_answers_as_in_pytorch() {
    let scene = Scene::new();
    let image = images(&scene);
    let model = image["model"].as_str().unwrap();
    let line = format!("fit train-images-idx3-ubyte --model '{model}' --init state.safetensors {AS_IT_IS}");
    let run = scene.json(&format!("{line} --out run --json"));
    assert_eq!((&run["epochs"], &run["steps"]), (&Value::from(0), &Value::from(0)));
    // Nothing was trained: the file holds the same numbers, running means and variances among them.
    let (saved, given) =
        (tensors(&scene.read("run/model.safetensors")), tensors(&scene.read("state.safetensors")));
    assert_eq!(saved, given);
    assert!(given.contains_key("1.running_mean") && given.len() == 10);
    let logits: Vec<Vec<f64>> = image["logits"].as_array().unwrap().iter().map(floats).collect();
    let predicted = scene.ok("predict run train-images-idx3-ubyte --proba").out;
    let (mut right, labels) = (0, scene.read("train-labels-idx1-ubyte"));
    for ((line, z), label) in predicted.lines().skip(1).zip(&logits).zip(&labels[8..]) {
        let p: Vec<f64> = line.split(',').map(|p| p.parse().unwrap()).collect();
        let top = z.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = z.iter().map(|z| libm::exp(z - top)).sum();
        for (k, z) in z.iter().enumerate() {
            let wanted = libm::exp(z - top) / sum;
            assert!((p[k] - wanted).abs() < 1e-5, "{line}: class {k}: {wanted}");
        }
        let best = |x: &[f64]| (0..3).max_by(|&a, &b| x[a].total_cmp(&x[b])).unwrap();
        right += usize::from(best(z) == usize::from(*label));
    }
    // The score that is said is theirs.
    assert_eq!(run["train_score"].as_f64().unwrap(), right as f64 / 24.0);

    // A saved model, or the folder of its run, is such a file; further training starts there.
    for from in ["run", "run/model.safetensors"] {
        let line = line.replace("state.safetensors", from);
        scene.ok(&format!("{line} --out again --force"));
        assert_eq!(tensors(&scene.read("again/model.safetensors")), given, "{from}");
    }
    let more = line.replace("--epochs 0", "--epochs 2");
    let first = scene.json(&format!("{more} --out more --json"));
    let other = scene.json(&format!("{} --out fresh --json", more.replace("--init state.safetensors", "")));
    assert_ne!(first["train_loss"], other["train_loss"]);
    assert_ne!(tensors(&scene.read("more/model.safetensors")), given);
    scene.ok("fit --config more/config.toml --out repeated --no-report -q");
    assert!(scene.read("repeated/model.safetensors") == scene.read("more/model.safetensors"));
}

#[test]
fn what_does_not_fit_is_told_whole() {
    let scene = Scene::new();
    images(&scene);
    let refuses = |model: &str, init: &str, says: &[&str]| {
        let line = format!("fit train-images-idx3-ubyte --model '{model}' --init {init} --epochs 1 --out no");
        let from = format!("cannot start from {init}");
        scene.refuses(&line, 1, &[&[from.as_str()], says].concat());
    };
    let fits = "conv(4) batchnorm relu pool(2) flatten dense(8) relu";
    refuses(
        &fits.replace("dense(8)", "dense(9)"),
        "state.safetensors",
        &[
            "5.bias has shape [8], expected [9]",
            "5.weight has shape [8, 36], expected [9, 36]",
            "7.weight has shape [3, 8], expected [3, 9]",
        ],
    );
    refuses(
        &fits.replace("batchnorm ", ""),
        "state.safetensors",
        &["1.running_mean is unknown", "4.weight [8, 36] is missing", "7.weight is unknown"],
    );
    refuses(fits, "absent.safetensors", &["it cannot be read"]);
    scene.write("model.pt", b"PK\x03\x04 and a pickle");
    refuses(
        fits,
        "model.pt",
        &["no whole safetensors file", "safetensors.torch.save_file(model.state_dict(), FILE)"],
    );
    let whole = scene.read("state.safetensors");
    scene.write("cut.safetensors", &whole[..whole.len() - 1]);
    refuses(fits, "cut.safetensors", &["no whole safetensors file"]);
    let mut nan = whole.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    scene.write("nan.safetensors", nan);
    refuses(fits, "nan.safetensors", &["] is NaN"]);
    std::fs::create_dir(scene.path("hollow")).unwrap();
    refuses(fits, "hollow", &["holds no model.safetensors"]);
    scene.ok("fit data/iris.csv --target species --out linear --no-report -q --epochs 2");
    refuses(fits, "linear", &["coefficients is unknown", "0.weight [4, 1, 3, 3] is missing"]);
    let iris = "fit data/iris.csv --target species --out no";
    scene.refuses(&format!("{iris} --init state.safetensors"), 2, &["--init is for networks"]);
    let says = ["--epochs must be in [1, 1000000000], got 0; with --init FILE, 0 scores the weights in it"];
    scene.refuses(&format!("{iris} --model mlp(2) --epochs 0"), 2, &says);
}

/// Σ w·loss / Σ w with the weights of classes, and smoothed labels: 12 steps as CrossEntropyLoss(weight=…, label_smoothing=…) goes.
#[test]
fn weighed_and_smoothed_classes_learn_as_in_pytorch() {
    let scene = Scene::new();
    let table = &recorded()["table"];
    for (name, key) in [("x.npy", "x"), ("y.npy", "y"), ("state.safetensors", "state")] {
        scene.write(name, unhex(&table[key]));
    }
    let model = table["model"].as_str().unwrap();
    let line = format!(
        "fit x.npy --model '{model}' --init state.safetensors --no-standardise --test none --valid none --batch full \
         --optimizer sgd(lr=0.5) --epochs 12 --no-report -q"
    );
    let runs = table["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 3);
    for (i, recorded) in runs.iter().enumerate() {
        let weights = if recorded["weighted"] == true { "--class-weight 1=0.5,2=2" } else { "" };
        let smoothing = recorded["smoothing"].as_f64().unwrap();
        scene.ok(&format!("{line} {weights} --label-smoothing {smoothing} --out run{i}"));
        let found: Vec<f64> =
            scene.metrics(&format!("run{i}")).iter().filter_map(|m| m["train_loss"].as_f64()).collect();
        let wanted = floats(&recorded["losses"]);
        assert_eq!(found.len(), 12);
        // Sums of 24 numbers of f32 in another order, twelve times: less than 1e-6 of what moves by a tenth.
        assert!(wanted[0] - wanted[11] > 0.05, "{wanted:?}");
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!((found - wanted).abs() < 1e-5 * wanted, "{weights} {smoothing}: {found} is not {wanted}");
        }
        let saved = tensors(&scene.read(&format!("run{i}/model.safetensors")));
        for (name, wanted) in
            [("2.weight", floats(&recorded["weight"])), ("2.bias", floats(&recorded["bias"]))]
        {
            let worst = saved[name].1.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-5, "{weights} {smoothing}: {name} is {worst} apart");
        }
    }
}

#[test]
fn label_smoothing_is_kept_and_checked() {
    let scene = Scene::new();
    let fit = "fit data/digits.csv --target digit --model mlp(16) --epochs 2 --no-report";
    let run = scene.json(&format!("{fit} --label-smoothing 0.1 --out run --json -q"));
    assert_eq!((&run["loss"], &run["label_smoothing"]), (&Value::from("softmax"), &Value::from(0.1)));
    let plain = scene.json(&format!("{fit} --out plain --json -q"));
    assert_eq!(plain["label_smoothing"], 0.0);
    assert_ne!(run["train_loss"], plain["train_loss"]);
    assert!(scene.ok("inspect run").out.contains("loss       softmax, label smoothing 0.1,"));
    assert!(!scene.ok("inspect plain").out.contains("smoothing"));
    // The saved model is judged by the loss that it was trained with.
    let test = scene.text("run/split.csv");
    let lines: Vec<String> = scene.text("data/digits.csv").lines().map(String::from).collect();
    let rows = test
        .lines()
        .filter_map(|l| l.strip_suffix(",test"))
        .map(|row| &*lines[row.parse::<usize>().unwrap() + 1]);
    let rows: Vec<&str> = rows.collect();
    scene.write("test.csv", format!("{}\n{}\n", lines[0], rows.join("\n")));
    assert_eq!(scene.json("evaluate run test.csv --json")["loss"], run["test_loss"]);
    scene.ok("fit --config run/config.toml --out again --no-report -q");
    assert!(scene.read("run/model.safetensors") == scene.read("again/model.safetensors"));
    // Two classes get two outputs: one alone has nothing to spread.
    let two = "fit data/breast_cancer.csv --target diagnosis --epochs 2 --no-report";
    let said = scene.json(&format!("{two} --model mlp(4) --label-smoothing 0.1 --out two --json -q"));
    assert_eq!(said["loss"], "softmax");
    scene.refuses(
        &format!("{two} --model mlp(4) --loss logistic --label-smoothing 0.1 --out no"),
        2,
        &["--label-smoothing goes with softmax, and the loss is logistic"],
    );
    scene.refuses(
        &format!("{two} --label-smoothing 0.1 --out no"),
        2,
        &["--label-smoothing is for networks"],
    );
    for x in ["1", "-0.1", "nan"] {
        scene.refuses(
            &format!("{fit} --label-smoothing={x} --out no"),
            2,
            &["--label-smoothing must be in [0, 1), got "],
        );
    }
}
