//! Networks from the command: fitted, scored, predicted with, looked at; on tables and on images.

use crate::common::{Numbers, Scene, csv, table};

const DIGITS: &str = "fit data/digits.csv --target digit --model mlp(64) --epochs 15 --no-report";

#[test]
fn digits_are_read_off_by_a_perceptron() {
    let scene = Scene::new();
    let run = scene.json(&format!("{DIGITS} --out run --json -q"));
    assert_eq!(run["model"], "mlp(64)");
    assert_eq!(run["loss"], "softmax");
    assert_eq!(run["batch"], "32");
    assert!(run["optimizer"].as_str().unwrap().starts_with("adamw(lr=0.001"), "{}", run["optimizer"]);
    // 360 test rows: a linear model gets 0.95 to 0.97, and one standard error of 0.96 is 0.01.
    assert!(run["score"].as_f64().unwrap() >= 0.96, "{}", run["score"]);
    assert!(run["valid_score"].as_f64().unwrap() > 0.9);

    // The saved model is the one that was scored.
    let lines: Vec<String> = scene.text("data/digits.csv").lines().map(String::from).collect();
    let parts = scene.text("run/split.csv");
    let test: Vec<usize> = parts
        .lines()
        .filter_map(|line| line.strip_suffix(",test"))
        .map(|row| row.parse::<usize>().unwrap())
        .collect();
    let rows: Vec<&str> = test.iter().map(|&row| lines[row + 1].as_str()).collect();
    scene.write("test.csv", format!("{}\n{}\n", lines[0], rows.join("\n")));
    let scored = scene.json("evaluate run test.csv --json");
    for key in ["score", "score_interval", "scores", "model", "optimizer", "train_loss", "valid_loss"] {
        assert_eq!(scored[key], run[key], "{key}");
    }
    assert_eq!(scored["loss"], run["test_loss"]);

    // The same answers, one for each row.
    let predicted = scene.ok("predict run test.csv").out;
    let digit = |line: &str| line.rsplit(',').next().unwrap().to_string();
    let right = predicted.lines().skip(1).zip(&rows).filter(|(p, row)| **p == digit(row)).count();
    assert_eq!(predicted.lines().count(), 1 + rows.len());
    assert_eq!(right as f64 / rows.len() as f64, run["score"].as_f64().unwrap());
    let proba = scene.ok("predict run test.csv --proba").out;
    assert!(proba.starts_with("proba_0,proba_1,"), "{proba}");
    for line in proba.lines().skip(1) {
        let sum: f64 = line.split(',').map(|p| p.parse::<f64>().unwrap()).sum();
        // Ten numbers of f32, each rounded once.
        assert!((sum - 1.0).abs() < 1e-6, "{line}");
    }
}

#[test]
fn a_saved_network_says_what_it_is() {
    let scene = Scene::new();
    let text = scene.ok(&format!("{} --out run", DIGITS.replace("15", "1"))).out;
    assert!(text.contains("dense(64)") && text.contains("parameters"), "{text}");
    assert!(!text.contains("coefficients"), "{text}");
    let text = scene.ok("inspect run").out;
    assert!(text.contains("model      mlp(64), "), "{text}");
    assert!(text.lines().any(|l| l.contains("1") && l.contains("relu")), "{text}");
    let inspected = scene.json("inspect run --json");
    let layers = inspected["layers"].as_array().unwrap();
    let names: Vec<&str> = layers.iter().map(|l| l["layer"].as_str().unwrap()).collect();
    assert_eq!(names, ["dense(64)", "relu", "dense(10)"]);
    // Pixels that never vary are no features, so the first layer has fewer than 64 inputs.
    let sum: u64 = layers.iter().map(|l| l["parameters"].as_u64().unwrap()).sum();
    assert_eq!(inspected["parameters"].as_u64().unwrap(), sum);
    assert_eq!(layers[2]["parameters"], 650);
    assert_eq!(layers[2]["multiply_adds"], 640);
    assert!(inspected.get("coefficients").is_none());
    assert!(scene.text("run/config.toml").contains("model = \"mlp(64)\""));
    // What was resolved repeats the run, to the byte.
    scene.ok("fit --config run/config.toml --out again --no-report -q");
    assert!(scene.read("run/model.safetensors") == scene.read("again/model.safetensors"));
}

#[test]
fn numbers_and_categories() {
    let scene = Scene::new();
    scene.write("t.csv", csv("a,b,kind,y,class", table(400)));
    let line =
        "fit t.csv --target y --ignore class --model 'mlp(16, 8, activation=tanh)' --epochs 60 --lr 0.01";
    let run = scene.json(&format!("{line} --out run --json -q"));
    assert_eq!(run["task"], "number");
    // Without the noise, 0.1 of a deviation of 2.8, a line would get 1.
    assert!(run["score"].as_f64().unwrap() > 0.98, "{}", run["score"]);
    assert!(scene.text("run/report.html").contains("The layers"));
    let text = scene.ok("inspect run").out;
    assert!(text.contains("embeddings.0  kind, 3 levels"), "{text}");
    // A level that training never saw is all zeros, not an error.
    scene.write("new.csv", "a,b,kind\n0.5,5,violet\n0.5,5,\n");
    let predicted = scene.ok("predict run new.csv").out;
    assert_eq!(predicted.lines().count(), 3);
    assert!(predicted.lines().skip(1).all(|y| y.parse::<f64>().unwrap().is_finite()), "{predicted}");
}

#[test]
fn counts_start_at_their_mean() {
    let scene = Scene::new();
    let line = "fit data/diabetes.csv --target progression --loss poisson --model mlp(32) --no-report";
    let run = scene.json(&format!("{line} --out run --json -q"));
    // Linear models get 0.45 to 0.5 here; from a mean of 1 the run would end below 0.
    assert!(run["score"].as_f64().unwrap() > 0.25, "{}", run["score"]);
}

/// Images of 6 × 6: a bright row, or a bright column, over noise; as IDX.
fn stripes(scene: &Scene, name: &str, count: usize, seed: u64) {
    let mut x = Numbers::new(seed);
    let (mut images, mut labels) = (vec![0, 0, 8, 3], vec![0, 0, 8, 1]);
    for length in [count, 6, 6] {
        images.extend((length as u32).to_be_bytes());
    }
    labels.extend((count as u32).to_be_bytes());
    for _ in 0..count {
        let (class, at) = (x.below(2), x.below(6));
        labels.push(class as u8);
        for i in 0..36 {
            let place = if class == 0 { i / 6 } else { i % 6 };
            let bright = if place == at { 120.0 } else { 0.0 };
            images.push((bright + 100.0 * x.share()) as u8);
        }
    }
    scene.write(&format!("{name}-images-idx3-ubyte"), images);
    scene.write(&format!("{name}-labels-idx1-ubyte"), labels);
}

const STRIPES: &str = "fit train-images-idx3-ubyte --target train-labels-idx1-ubyte --no-report \
    --model 'conv(8, kernel=3, padding=same) batchnorm relu pool(2) flatten dense(16) relu dropout(0.1)'";

#[test]
fn images() {
    let scene = Scene::new();
    stripes(&scene, "train", 600, 1);
    stripes(&scene, "test", 200, 2);
    let run = scene.json(&format!("{STRIPES} --epochs 8 --test test-images-idx3-ubyte --out run --json -q"));
    assert_eq!(run["classes"], serde_json::json!(["0", "1"]));
    assert_eq!(run["rows"]["test"], 200);
    // Rows against columns: the bright line stands out by 4 deviations.
    assert!(run["score"].as_f64().unwrap() > 0.9, "{}", run["score"]);
    // The running means of batch norm are in the file: the score is the same.
    let scored = scene.json("evaluate run test-images-idx3-ubyte --json");
    assert_eq!(scored["score"], run["score"]);
    assert_eq!(scored["loss"], run["test_loss"]);
    let named = scene.json("evaluate run test-images-idx3-ubyte --target test-labels-idx1-ubyte --json");
    assert_eq!(named["score"], run["score"]);
    let predicted = scene.ok("predict run test-images-idx3-ubyte").out;
    let labels = scene.read("test-labels-idx1-ubyte");
    let right = predicted.lines().skip(1).zip(&labels[8..]).filter(|(p, l)| **p == l.to_string()).count();
    assert_eq!(right as f64 / 200.0, run["score"].as_f64().unwrap());
    assert!(scene.ok("inspect run").out.contains("8 × 6 × 6"));
    scene.refuses("evaluate run data/iris.csv", 1, &["iris.csv"]);
}

#[test]
fn the_same_bits_on_any_number_of_threads() {
    let scene = Scene::new();
    stripes(&scene, "train", 300, 3);
    for (name, line) in [("mlp", DIGITS.replace("15", "2")), ("conv", format!("{STRIPES} --epochs 2"))] {
        let model = |threads: usize| {
            let out = format!("{name}-{threads}");
            scene.ok(&format!("{line} --threads {threads} --out {out} -q"));
            scene.read(&format!("{out}/model.safetensors"))
        };
        assert!(model(1) == model(2), "{name}");
    }
}

#[test]
fn the_best_epoch_keeps_its_own_statistics() {
    let scene = Scene::new();
    stripes(&scene, "train", 300, 4);
    // At this rate the validation loss goes up and down, and patience ends the run ten epochs behind the best.
    let line = format!("{STRIPES} --epochs 60 --lr 0.3 --valid 0.3");
    let long = scene.json(&format!("{line} --out long --json -q"));
    let best = long["best_epoch"].as_u64().unwrap();
    assert!(best < long["epochs"].as_u64().unwrap(), "the last epoch was the best: {long}");
    // Trained up to the best epoch only, the run ends with the same weights, means and variances.
    let line = line.replace("--epochs 60", &format!("--epochs {best}"));
    scene.ok(&format!("{line} --out short -q"));
    assert_eq!(tensors(&scene, "long"), tensors(&scene, "short"));
}

/// The bytes of all tensors, behind the header.
fn tensors(scene: &Scene, run: &str) -> Vec<u8> {
    let bytes = scene.read(&format!("{run}/model.safetensors"));
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    bytes[8 + header..].to_vec()
}

#[test]
fn wrong_models_are_refused_with_their_place() {
    let scene = Scene::new();
    let fit = "fit data/digits.csv --target digit --out run --model";
    for (model, says) in [
        ("'dense(16) rleu'", &["there is no layer \"rleu\"", "          ^^^^ did you mean \"relu\"?"][..]),
        ("'mlp(64'", &["^"]),
        ("'mlp(0)'", &["^"]),
        ("'mlp(64, dropout=1.5)'", &["^"]),
        ("'mlp(64) |'", &["^"]),
        ("''", &["^"]),
        // A row of a table is no image.
        ("'conv(8) relu'", &["  conv(8) relu\n  ^^^^"]),
        ("'mlp(99999999999999999999)'", &["^"]),
        ("'mlp(3000000000)'", &["parameters here; at most"]),
    ] {
        scene.refuses(&format!("{fit} {model}"), 2, says);
    }
    scene.refuses(&format!("{fit} mlp(8) --no-intercept"), 2, &["--no-intercept is for linear"]);
    scene.refuses(
        "compare data/digits.csv --target digit --model mlp(8)",
        2,
        &["compare trains linear models"],
    );
    stripes(&scene, "train", 20, 5);
    let fit = "fit train-images-idx3-ubyte --target train-labels-idx1-ubyte --out run";
    scene.refuses(fit, 2, &["need a network", "--model"]);
    scene.refuses(&format!("{fit} --model mlp(8) --types a=number"), 2, &["--types is for tables"]);
    scene.refuses(
        &format!("{fit} --model 'conv(4, kernel=9, padding=0)'"),
        2,
        &["  conv(4, kernel=9, padding=0)\n  ^"],
    );
    let images = "fit train-images-idx3-ubyte --target absent --out run --model mlp(8)";
    scene.refuses(images, 1, &["absent"]);
}

#[test]
fn damaged_networks_are_refused() {
    let scene = Scene::new();
    scene.ok(&format!("{} --out run -q", DIGITS.replace("15", "1")));
    let whole = scene.read("run/model.safetensors");
    let length = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let with = |from: &str, to: &str| {
        let header = String::from_utf8(whole[8..8 + length].to_vec()).unwrap().replace(from, to);
        assert_ne!(header.as_bytes(), &whole[8..8 + length], "{from}");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.bytes());
        bytes.extend(&whole[8 + length..]);
        scene.write("m.safetensors", bytes);
        scene.refuses("inspect m.safetensors", 1, &["m.safetensors"])
    };
    assert!(with("mlp(64)", "mlp(65)").err.contains("expected"));
    with("mlp(64)", "mlp(9000000000)");
    with("mlp(64)", "mlq(64)");
    with("0.weight", "0.height");
    scene.write("m.safetensors", &whole[..whole.len() - 4]);
    scene.refuses("inspect m.safetensors", 1, &["cut short"]);
}

#[test]
fn frozen_tensors_stay_as_they_start() {
    let scene = Scene::new();
    let fit = |epochs: &str, out: &str| {
        let line = DIGITS.replace("mlp(64)", "'mlp(24, 16)'").replace("--epochs 15", "");
        scene.ok(&format!("{line} --epochs {epochs} --freeze '0.* 2.bias' --out {out} -q"));
        scene.tensors(out)
    };
    let (short, long) = (fit("1", "short"), fit("3", "long"));
    for name in ["0.weight", "0.bias", "2.bias"] {
        assert_eq!(short[name], long[name], "{name}");
    }
    for name in ["2.weight", "4.weight", "4.bias"] {
        assert_ne!(short[name], long[name], "{name}");
    }
    // The file of settings has it, and repeats the run to the byte.
    assert!(scene.text("long/config.toml").contains("freeze = \"0.* 2.bias\""));
    let again = scene.ok("fit --config long/config.toml --out again --no-report");
    assert!(
        format!("{}{}", again.out, again.err).contains("frozen: 0.weight, 0.bias, 2.bias ("),
        "{}",
        again.out
    );
    assert!(scene.read("long/model.safetensors") == scene.read("again/model.safetensors"));
    // A frozen model is a model like any other.
    assert!(scene.ok("inspect long").out.contains("mlp(24, 16)"));
    scene.refuses(&format!("{DIGITS} --freeze 7.* --out no"), 2, &["\"7.*\" names no tensor", "0.weight"]);
    scene.refuses(&format!("{DIGITS} --freeze * --out no"), 2, &["nothing is left to be trained"]);
    scene.refuses("fit data/digits.csv --target digit --freeze 0.* --out no", 2, &["for a network"]);
}
