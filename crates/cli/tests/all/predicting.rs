//! `predict`, `evaluate` and `inspect` on models that `fit` saved.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::common::{HEADER, Numbers, Scene, csv, table};

/// The records of a CSV text, quotes as RFC 4180 has them.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field, mut quoted) = (vec![], vec![], String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            c => field.push(c),
        }
    }
    assert!(!quoted && field.is_empty() && record.is_empty(), "ends in the middle of a record");
    records
}

/// The numbers of a column of predictions.
fn numbers(text: &str) -> Vec<f64> {
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("prediction"));
    lines.map(|line| line.parse().unwrap()).collect()
}

#[test]
fn evaluate_on_the_test_rows_gives_the_score_of_fit() {
    let scene = Scene::new();
    for (data, target) in [
        ("breast_cancer", "diagnosis"),
        ("penguins", "body_mass_g"),
        ("wine", "cultivar"),
        ("digits", "digit"),
    ] {
        let fit = scene
            .json(&format!("fit data/{data}.csv --target {target} --epochs 40 --out run --force --json -q"));
        let text = scene.text(&format!("data/{data}.csv"));
        let lines: Vec<&str> = text.lines().collect();
        let split = scene.text("run/split.csv");
        let tests = split
            .lines()
            .filter_map(|l| l.strip_suffix(",test"))
            .map(|row| lines[1 + row.parse::<usize>().unwrap()]);
        let rows: Vec<&str> = [lines[0]].into_iter().chain(tests).collect();
        scene.write("test.csv", rows.join("\n"));
        for model in ["run", "run/model.safetensors"] {
            let evaluated = scene.json(&format!("evaluate {model} test.csv --json"));
            for key in ["score", "score_interval", "scores", "metric", "task"] {
                assert_eq!(evaluated[key], fit[key], "{data}: {key}");
            }
            assert_eq!(evaluated["loss"], fit["test_loss"], "{data}");
            assert_eq!(evaluated["rows"], fit["rows"]["test"]);
        }
    }
}

#[test]
fn a_prediction_by_hand_from_what_inspect_shows() {
    let scene = Scene::new();
    for options in ["", "--no-intercept", "--loss huber(1)", "--l1 0.1", "--loss poisson"] {
        scene.ok(&format!("fit data/diabetes.csv --target progression {options} --out run --force -q"));
        let model = scene.json("inspect run --json");
        let coefficients: BTreeMap<&str, f64> = model["coefficients"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| (c["feature"].as_str().unwrap(), c["coefficient"].as_f64().unwrap()))
            .collect();
        assert_eq!(coefficients.len(), 10);
        let intercept = model["intercept"][0].as_f64().unwrap();
        let predicted = numbers(&scene.ok("predict run data/diabetes.csv").out);
        let text = scene.text("data/diabetes.csv");
        let names: Vec<&str> = text.lines().next().unwrap().split(',').collect();
        assert_eq!(predicted.len(), text.lines().count() - 1);
        for (line, predicted) in text.lines().skip(1).zip(predicted) {
            let cells = names
                .iter()
                .zip(line.split(','))
                .filter_map(|(n, x)| Some(coefficients.get(n)? * x.parse::<f64>().unwrap()));
            let sum = intercept + cells.sum::<f64>();
            let by_hand = if options.contains("poisson") { libm::exp(sum) } else { sum };
            assert!(
                (by_hand - predicted).abs() <= 1e-9 * predicted.abs(),
                "{options}: {by_hand} and {predicted}"
            );
        }
    }
}

/// By hand with categories and two classes: the log-odds of the second.
#[test]
fn probabilities_by_hand_with_categories() {
    let scene = Scene::new();
    scene.write("t.csv", csv(HEADER, table(200)));
    scene.ok("fit t.csv --target class --ignore y --out run -q");
    let model = scene.json("inspect run --json");
    assert_eq!(model["classes"], serde_json::json!(["no", "yes"]));
    let coefficient = |feature: &str, level: Option<&str>| {
        let found = model["coefficients"].as_array().unwrap().iter();
        let mut found = found.filter(|c| c["feature"] == feature && c["level"].as_str() == level);
        found.next().map_or(0.0, |c| c["coefficient"].as_f64().unwrap())
    };
    let odds = |a: f64, b: f64, kind: &str| {
        model["intercept"][0].as_f64().unwrap()
            + coefficient("a", None) * a
            + coefficient("b", None) * b
            + coefficient("kind", Some(kind))
    };
    assert_ne!(coefficient("kind", Some("red")), 0.0);
    // Purple was not there in training: it adds nothing, as no category does.
    scene.write("new.csv", "kind,b,a\nred,4.5,0.25\ngreen,1,-2\npurple,5,0.5\n,5,0.5\n");
    let out = scene.ok("predict run new.csv --proba").out;
    let records = records(&out);
    assert_eq!(records[0], ["proba_no", "proba_yes"]);
    for (record, (a, b, kind)) in records[1..].iter().zip([
        (0.25, 4.5, "red"),
        (-2.0, 1.0, "green"),
        (0.5, 5.0, "purple"),
        (0.5, 5.0, ""),
    ]) {
        let proba: Vec<f64> = record.iter().map(|x| x.parse().unwrap()).collect();
        let by_hand = 1.0 / (1.0 + libm::exp(-odds(a, b, kind)));
        assert!((proba[1] - by_hand).abs() < 1e-12, "{kind}: {} and {by_hand}", proba[1]);
        assert!((proba[0] + proba[1] - 1.0).abs() < 1e-15);
    }
}

/// A category that training has not seen joins the pooled ones, where training has pooled some.
#[test]
fn an_unseen_category_is_other() {
    let scene = Scene::new();
    let mut rows = table(200);
    rows.iter_mut().step_by(60).for_each(|r| r[2] = "rare".into());
    scene.write("t.csv", csv(HEADER, &rows));
    let done = scene.ok("fit t.csv --target y --ignore class --test none --out run");
    assert!(done.err.contains("column \"kind\": 1 level with fewer than 5 training rows"), "{}", done.err);
    scene.write("new.csv", "a,b,kind\n1,2,rare\n1,2,unheard of\n1,2,red\n");
    let predicted = numbers(&scene.ok("predict run new.csv").out);
    assert_eq!(predicted[0], predicted[1]);
    assert_ne!(predicted[0], predicted[2]);
    // A class is no category: to score it, the model would have to know it.
    scene.ok("fit t.csv --target class --ignore y --out classes -q");
    scene.write("class.csv", "a,b,kind,class\n1,2,red,yes\n1,2,red,maybe\n");
    let says = ["class.csv:3: target \"class\": class \"maybe\" was not seen in training; known: no, yes"];
    scene.refuses("evaluate classes class.csv", 1, &says);
    scene.ok("predict classes class.csv");
}

#[test]
fn columns_in_any_order_with_others_between() {
    let scene = Scene::new();
    scene.ok("fit data/penguins.csv --target body_mass_g --out run -q");
    let text = scene.text("data/penguins.csv");
    let expected = scene.ok("predict run data/penguins.csv").out;
    assert_eq!(expected.lines().count(), 345, "rows without a target are predicted too");
    let turned: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(i, line)| {
            let mut cells: Vec<&str> = line.split(',').filter(|c| *c != "body_mass_g").collect();
            if i > 0 {
                cells.remove(5);
            }
            cells.reverse();
            cells.insert(2, if i == 0 { "novelty" } else { "7" });
            cells.join(",")
        })
        .collect();
    scene.write("turned.csv", turned.join("\n"));
    let done = scene.ok("predict run turned.csv");
    assert_eq!(done.out, expected);
    assert_eq!(done.err, "not used, since the model does not know it: novelty\n");
    let done = scene.ok("predict run/model.safetensors turned.csv --out p.csv");
    assert_eq!(done.out, "");
    assert_eq!(scene.text("p.csv"), expected);

    let without = text.lines().map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        [&cells[..3], &cells[4..]].concat().join(",")
    });
    scene.write("without.csv", without.collect::<Vec<_>>().join("\n"));
    for line in ["predict run without.csv", "evaluate run without.csv"] {
        scene.refuses(
            line,
            1,
            &["without.csv has no column \"bill_depth_mm\", which the model was trained on"],
        );
    }
    scene.write("renamed.csv", text.replace("bill_depth_mm", "bill_depth"));
    scene.refuses(
        "predict run renamed.csv",
        1,
        &["no column \"bill_depth_mm\"", "did you mean \"bill_depth\"?"],
    );
    scene.write("text.csv", text.replace("18.7", "n/k"));
    scene.refuses("predict run text.csv", 1, &["text.csv:2: column \"bill_depth_mm\"", "\"n/k\""]);
    scene.write("inf.csv", text.replace("18.7", "inf"));
    scene.refuses("predict run inf.csv", 1, &["inf.csv:2: column \"bill_depth_mm\"", "not a finite number"]);
    scene.refuses("predict run data/penguins.csv --proba", 2, &["--proba is for classes"]);
    scene.write("empty.csv", format!("{}\n", text.lines().next().unwrap()));
    scene.refuses("predict run empty.csv", 1, &["no rows"]);
}

#[test]
fn classes_of_any_name_make_valid_csv() {
    let scene = Scene::new();
    let names =
        ["plain", "with, comma", "with \"quotes\"", "in blanks", "semi;colon", "é|ü", "tab\there", "7"];
    let mut x = Numbers::new(5);
    let rows = (0..400).map(|i| {
        let class = i % names.len();
        let quoted = format!("\"{}\"", names[class].replace('"', "\"\""));
        [(class as f64 + 0.2 * x.normal()).to_string(), (10.0 * x.share()).to_string(), quoted]
    });
    scene.write("names.csv", csv("a,b,class", rows));
    let run = scene.json("fit names.csv --target class --out run --json -q");
    let classes: Vec<&str> = run["classes"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    assert_eq!(classes.len(), names.len());
    for name in names {
        assert!(classes.contains(&name), "{name:?} in {classes:?}");
    }
    let predicted = records(&scene.ok("predict run names.csv").out);
    let proba = records(&scene.ok("predict run names.csv --proba").out);
    assert_eq!(predicted[0], ["prediction"]);
    assert_eq!(proba[0], classes.iter().map(|c| format!("proba_{c}")).collect::<Vec<_>>());
    assert_eq!((predicted.len(), proba.len()), (401, 401));
    for (class, proba) in predicted[1..].iter().zip(&proba[1..]) {
        let p: Vec<f64> = proba.iter().map(|x| x.parse().unwrap()).collect();
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-14);
        let best = (0..p.len()).fold(0, |best, i| if p[i] > p[best] { i } else { best });
        assert_eq!(class, &[classes[best]]);
    }
    // Our own reader takes it back.
    let out = scene.ok("predict run names.csv").out;
    scene.write("back.csv", out);
    let summary = scene.json("data back.csv --json --delimiter ,");
    assert_eq!(summary["rows"], 400);
}

/// R² and accuracy from the predictions as they are printed.
#[test]
fn predictions_give_the_score_again() {
    let scene = Scene::new();
    scene.ok("fit data/diabetes.csv --target progression --test none --out run -q");
    let predicted = numbers(&scene.ok("predict run data/diabetes.csv").out);
    let text = scene.text("data/diabetes.csv");
    let truth: Vec<f64> =
        text.lines().skip(1).map(|l| l.rsplit(',').next().unwrap().parse().unwrap()).collect();
    let mean = truth.iter().sum::<f64>() / truth.len() as f64;
    let square = |x: f64| x * x;
    let left: f64 = truth.iter().zip(&predicted).map(|(t, p)| square(t - p)).sum();
    let all: f64 = truth.iter().map(|t| square(t - mean)).sum();
    let score = scene.json("evaluate run data/diabetes.csv --json")["score"].as_f64().unwrap();
    assert!((1.0 - left / all - score).abs() < 1e-12);

    scene.ok("fit data/wine.csv --target cultivar --test none --out wine -q --epochs 20");
    let predicted = scene.ok("predict wine data/wine.csv").out;
    let text = scene.text("data/wine.csv");
    let hits =
        text.lines().zip(predicted.lines()).skip(1).filter(|(l, p)| l.rsplit(',').next() == Some(p)).count();
    let score = scene.json("evaluate wine data/wine.csv --json")["score"].as_f64().unwrap();
    assert!((hits as f64 / 178.0 - score).abs() < 1e-12);
}

#[test]
fn inspect_shows_what_the_model_is() {
    let scene = Scene::new();
    let fit = scene.json("fit data/penguins.csv --target species --out run --json -q");
    let out = scene.ok("inspect run").out;
    for what in [
        "linear",
        "species: classes Adelie, Chinstrap, Gentoo",
        "softmax",
        "rows, seed 0",
        "adam(lr=cosine",
        "accuracy",
        "(intercept)",
        "island",
        "Torgersen",
        "more: --all",
    ] {
        assert!(out.contains(what), "{what}: {out}");
    }
    let all = scene.ok("inspect run/model.safetensors --all").out;
    assert!(all.lines().count() > out.lines().count());
    let document = scene.json("inspect run --json");
    assert_eq!(document["score"]["value"], fit["score"]);
    assert_eq!(document["training"]["steps"], fit["steps"]);
    let weights: Vec<f64> = document["coefficients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["weight"].as_f64().unwrap().abs())
        .collect();
    assert!(weights.is_sorted_by(|a, b| a >= b), "the largest first");
    let tensors = scene.tensors("run");
    assert_eq!(tensors["weight"].len(), weights.len());
    assert_eq!(document["intercept"], Value::from(tensors["intercept"].clone()));
    // Two classes speak with one voice: whose, is said.
    scene.ok("fit data/breast_cancer.csv --target diagnosis --out cancer -q --epochs 20");
    assert!(scene.ok("inspect cancer").out.contains("above 0 speaks for \"malignant\""));
}
