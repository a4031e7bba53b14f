//! What is written for programs: the JSON documents, `metrics.jsonl`, `config.toml`, the files of a run.

use serde_json::Value;

use crate::common::Scene;

/// The keys that fit and evaluate have both.
const KEYS: [&str; 12] = [
    "task",
    "model",
    "optimizer",
    "metric",
    "score",
    "train_loss",
    "valid_loss",
    "epochs",
    "steps",
    "stop",
    "seconds",
    "run",
];

fn has_all(document: &Value) {
    for key in KEYS {
        assert!(document.get(key).is_some(), "{key} is missing in {document}");
    }
}

#[test]
fn one_document_on_stdout_and_all_else_on_stderr() {
    let scene = Scene::new();
    let done = scene.ok("fit data/iris.csv --target species --out run --json");
    assert_eq!(done.out.lines().count(), 1, "{}", done.out);
    let fit: Value = serde_json::from_str(&done.out).unwrap();
    has_all(&fit);
    assert_eq!(fit["task"], "classes");
    assert_eq!(fit["target"], "species");
    assert_eq!(fit["classes"], serde_json::json!(["setosa", "versicolor", "virginica"]));
    assert_eq!(fit["model"], "linear");
    assert_eq!(fit["loss"], "softmax");
    assert_eq!(fit["metric"], "accuracy");
    assert_eq!(fit["stop"], "gradient");
    assert_eq!(fit["run"], "run");
    assert_eq!(fit["valid_loss"], Value::Null);
    assert_eq!(fit["rows"], serde_json::json!({"train": 120, "valid": null, "test": 30}));
    assert_eq!(fit["steps"], fit["epochs"], "a full batch is one step an epoch");
    assert!(fit["optimizer"].as_str().unwrap().starts_with("adam(lr=cosine(0.05"), "{fit}");
    assert!(fit["score"].as_f64().unwrap() > 0.8);
    assert!(
        done.err.starts_with("target \"species\": 3 classes (setosa, versicolor, virginica)"),
        "{}",
        done.err
    );
    assert!(done.err.contains("epoch      1/1000  loss 1.0986"), "{}", done.err);

    let done = scene.ok("fit data/diabetes.csv --target progression --out number --json -q");
    assert_eq!(done.err, "", "quiet");
    let fit: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(fit["task"], "number");
    assert_eq!(fit["metric"], "r2");
    let done = scene.ok("fit data/diabetes.csv --target progression --out quiet -q");
    assert_eq!((done.out.as_str(), done.err.as_str()), ("", ""));
}

#[test]
fn without_test_rows_the_score_is_null() {
    let scene = Scene::new();
    let fit = scene.json("fit data/iris.csv --target species --out run --json --test none");
    has_all(&fit);
    assert_eq!(fit["score"], Value::Null);
    assert_eq!(fit["rows"]["test"], Value::Null);
    assert!(fit["train_score"].as_f64().unwrap() > 0.9);
    let done = scene.ok("fit data/iris.csv --target species --out run --force --test none");
    assert!(done.out.contains("no test rows, so no honest score"), "{}", done.out);
}

#[test]
fn evaluate_has_the_same_keys() {
    let scene = Scene::new();
    let fit = scene.json("fit data/breast_cancer.csv --target diagnosis --valid 0.2 --out run --json");
    let evaluated = scene.json("evaluate run data/breast_cancer.csv --json");
    has_all(&evaluated);
    for key in ["task", "model", "optimizer", "metric", "train_loss", "valid_loss", "epochs", "steps", "stop"]
    {
        assert_eq!(evaluated[key], fit[key], "{key}");
    }
    assert_eq!(evaluated["rows"], 569);
    assert_eq!(evaluated["run"], "run");
    for metric in ["accuracy", "balanced_accuracy", "f1", "roc_auc", "log_loss"] {
        let other = scene.json(&format!("evaluate run data/breast_cancer.csv --json --metric {metric}"));
        assert_eq!(other["metric"], metric);
        assert_eq!(other["score"], evaluated["scores"][metric]);
    }
    scene.refuses("evaluate run data/breast_cancer.csv --metric r2", 2, &["the metric r2 does not fit"]);
    let done = scene.ok("evaluate run/model.safetensors data/breast_cancer.csv");
    assert!(done.out.starts_with("diagnosis on 569 rows of data/breast_cancer.csv\n"), "{}", done.out);
}

#[test]
fn metrics_are_lines_of_json_in_order() {
    let scene = Scene::new();
    for (run, options) in [("full", ""), ("batches", "--batch 16 --epochs 8"), ("valid", "--valid 0.2")] {
        let fit = scene.json(&format!("fit data/iris.csv --target species {options} --json --out {run}"));
        let lines = scene.metrics(run);
        let steps: Vec<&Value> = lines.iter().filter(|l| l["event"] == "step").collect();
        let epochs: Vec<&Value> = lines.iter().filter(|l| l["event"] == "epoch").collect();
        let number = |line: &Value, key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key}: {line}"));
        for (i, step) in steps.iter().enumerate() {
            assert_eq!(number(step, "step"), (i + 1) as f64, "{run}");
            assert!(
                number(step, "lr") > 0.0 && number(step, "loss") > 0.0 && number(step, "grad_norm") > 0.0
            );
        }
        assert_eq!(steps.len() as f64, number(&fit, "steps"));
        assert_eq!(steps[0]["lr"], fit["lr"]);
        for (i, epoch) in epochs.iter().enumerate() {
            assert_eq!(number(epoch, "epoch"), (i + 1) as f64, "{run}");
            assert!(number(epoch, "lr") >= 0.0);
            assert_eq!(epoch["valid_loss"].is_f64(), run == "valid");
        }
        assert_eq!(epochs.len() as f64, number(&fit, "epochs"));
        let end = lines.last().unwrap();
        assert_eq!(
            (&end["event"], &end["stop"], &end["steps"]),
            (&"end".into(), &fit["stop"], &fit["steps"])
        );
    }
}

#[test]
fn the_best_validated_weights_are_the_saved_ones() {
    let scene = Scene::new();
    let line = "fit data/breast_cancer.csv --target diagnosis --valid 0.2 --patience 5 --l2 0 --lr 0.3 --out run --json";
    let fit = scene.json(line);
    assert_eq!(fit["stop"], "patience");
    let lines = scene.metrics("run");
    let losses: Vec<f64> =
        lines.iter().filter(|l| l["event"] == "epoch").map(|l| l["valid_loss"].as_f64().unwrap()).collect();
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let best = 1 + losses.iter().position(|&l| l == least).unwrap() as u64;
    assert_eq!(fit["valid_loss"].as_f64(), Some(least));
    assert_eq!(fit["best_epoch"].as_u64(), Some(best));
    assert_eq!(fit["epochs"].as_u64(), Some(best + 5));
    // The run that ends at that epoch has no better weights to go back to: it saves the same.
    let again = scene.json(&format!(
        "fit data/breast_cancer.csv --target diagnosis --valid 0.2 --l2 0 --tolerance 0 --epochs {best} \
         --optimizer adam(lr=cosine(0.3,over=1000)) --out again --json"
    ));
    assert_eq!(again["valid_loss"], fit["valid_loss"]);
    assert_eq!(scene.parameters("again"), scene.parameters("run"));
    let done = scene.ok(&format!("{} --force", line.replace("--json", "")));
    assert!(done.out.contains(&format!("weights of epoch {best}")), "{}", done.out);
}

#[test]
fn a_configuration_given_back_makes_the_same_bytes() {
    let scene = Scene::new();
    let runs = [
        ("iris", "data/iris.csv --target species"),
        (
            "penguins",
            "data/penguins.csv --target body_mass_g --ignore year --types island=category --valid 0.1 --patience 20 --seed 3",
        ),
        (
            "cancer",
            "data/breast_cancer.csv --target diagnosis --optimizer 'clip(1) | momentum' --lr 0.05 --schedule cosine(warmup=5%) \
             --batch 64 --epochs 9 --class-weight 'malignant=2, benign=1' --l1 0.001 --metric roc_auc --loss-tolerance 1e-6",
        ),
        (
            "gd",
            "data/diabetes.csv --target progression --optimizer gd --loss huber(1.35) --no-intercept --test 0.3",
        ),
        (
            "missing",
            "data/penguins.csv --target sex --missing Dream --split ordered --epochs 50 --delimiter ,",
        ),
    ];
    for (name, options) in runs {
        scene.ok(&format!("fit {options} --out {name} -q"));
        scene.ok(&format!("fit --config {name}/config.toml --out {name}-again -q"));
        for file in ["model.safetensors", "split.csv", "config.toml"] {
            let (first, again) =
                (scene.read(&format!("{name}/{file}")), scene.read(&format!("{name}-again/{file}")));
            assert!(first == again, "{name}/{file}");
        }
        // Nothing of the machine or the hour is in the model or the configuration.
        let config = scene.text(&format!("{name}/config.toml"));
        assert!(!config.contains("threads") && !config.contains("out"), "{config}");
    }
}

#[test]
fn flags_win_over_a_configuration() {
    let scene = Scene::new();
    scene.ok("fit data/iris.csv --target species --out run -q --seed 1");
    let config = |extra: &str| {
        scene.ok(&format!("fit --config run/config.toml --out other --force -q {extra}"));
        scene.text("other/config.toml")
    };
    assert_eq!(config(""), scene.text("run/config.toml"));
    assert!(config("--seed 2").contains("seed = 2"));
    assert!(config("--test 0.3").contains("test = \"0.3\""));
    assert!(config("--l2 0.5 --epochs 7").contains("l2 = 0.5"));
    // A rate replaces the rate of the resolved optimizer, a schedule its curve, an optimizer all of it.
    assert!(config("--lr 0.1").contains("adam(lr=cosine(0.1, "));
    assert!(
        config("--schedule step(every=3,gamma=0.5)")
            .contains("adam(lr=step(0.05, gamma=0.5, every=3 epochs)")
    );
    assert!(config("--schedule constant(0.02)").contains("adam(lr=0.02,"));
    assert!(config("--schedule polynomial --lr 0.3").contains("adam(lr=polynomial(0.3, "));
    assert!(config("--optimizer gd").contains("sgd(lr=0."));
    scene.write(
        "mine.toml",
        "data = \"data/iris.csv\"\ntarget = \"species\"\nlr = 0.2\nschedule = \"cosine\"\n",
    );
    scene.ok("fit --config mine.toml --optimizer momentum(lr=0.01) --out mine -q");
    assert!(scene.text("mine/config.toml").contains("sgd(lr=0.01, momentum=0.9"));
    scene.ok("fit --config mine.toml --optimizer momentum --out mine -q --force");
    assert!(scene.text("mine/config.toml").contains("sgd(lr=cosine(0.2, "));
}

#[test]
fn the_files_of_a_run() {
    let scene = Scene::new();
    let done = scene.ok("fit data/iris.csv --target species");
    let all = ["config.toml", "metrics.jsonl", "model.safetensors", "report.html", "split.csv"];
    assert_eq!(scene.names("runs/iris-1"), all);
    for what in [
        "accuracy ",
        "(95%: ",
        " on 30 test rows; the majority class gets 0.3333",
        "petal_width_cm",
        "(intercept)",
    ] {
        assert!(done.out.contains(what), "{what}: {}", done.out);
    }
    for line in [
        "report   runs/iris-1/report.html",
        "model    runs/iris-1/model.safetensors",
        "repeat   thalweg fit --config runs/iris-1/config.toml",
    ] {
        assert!(done.out.lines().any(|l| l == line), "{line}: {}", done.out);
    }
    let sum = scene.shell("sha256sum runs/iris-1/model.safetensors | cut -d ' ' -f 1");
    assert!(done.out.contains(&format!("sha-256  {}", sum.out)), "{}", done.out);
    let split = scene.text("runs/iris-1/split.csv");
    assert_eq!(split.lines().filter(|l| l.ends_with(",test")).count(), 30);
    assert_eq!(split.lines().filter(|l| l.ends_with(",train")).count(), 120);
    let report = scene.text("runs/iris-1/report.html");
    assert!(report.starts_with("<!doctype html>") || report.starts_with("<!DOCTYPE html>"));
    // A folder whose name a shell would cut is quoted in the command that repeats the run.
    let done = scene.ok("fit data/iris.csv --target species --out 'my run'");
    assert!(done.out.contains("thalweg fit --config 'my run/config.toml'"), "{}", done.out);
}

/// On a terminal of 80 columns no line is wider, and the bar is gone at the end.
#[test]
fn a_terminal_of_80_columns() {
    let scene = Scene::new();
    for (name, line) in [
        ("penguins", "fit data/penguins.csv --target species"),
        ("cancer", "fit data/breast_cancer.csv --target diagnosis --valid 0.2 --patience 5"),
        ("epochs", "fit data/diabetes.csv --target progression --test none --epochs 30"),
        ("diverged", "fit data/diabetes.csv --target progression --optimizer gd(lr=100)"),
        ("digits", "fit data/digits.csv --target digit --batch 16 --epochs 3"),
    ] {
        let shown = scene.terminal(&format!("{line} --out {name}"));
        // What is drawn over starts again at the left.
        let over =
            |line: &str| line.trim_end_matches('\r').rsplit('\r').next().map(|l| l.replace("\u{1b}[K", ""));
        let lines: Vec<String> = shown.lines().filter_map(over).collect();
        for line in &lines {
            assert!(line.chars().count() <= 80, "{name}: wider than 80 columns: {line:?}");
            assert!(!line.contains(['█', '░']), "{name}: the bar stays: {line:?}");
        }
        let says = if name == "diverged" { "error: diverged" } else { "sha-256" };
        assert!(lines.iter().any(|l| l.starts_with(says)), "{name}: {shown}");
    }
}
