//! Weight w is the row w times, weight 0 the row absent.

use crate::common::{Scene, csv, table};

const WAYS: [&str; 6] = [
    "--target y --ignore class --tolerance 1e-9 --optimizer gd",
    "--target y --ignore class --tolerance 1e-9 --optimizer gd --l2 0.1 --loss huber(1)",
    "--target y --ignore class --tolerance 1e-9 --l1 0.05",
    "--target class --ignore y --tolerance 1e-9 --optimizer nesterov",
    "--target class --ignore y --class-weight balanced",
    "--target y --ignore class --loss quantile(0.9) --lr 0.05 --schedule cosine --epochs 300",
];

/// The weight of row i.
fn weight(i: usize) -> usize {
    [1, 3, 0, 2, 1, 5, 0][i % 7]
}

/// The table with weights, with rows repeated, and without the rows of weight 0.
fn write(scene: &Scene) {
    let header = "a,b,kind,y,class,w";
    let row = |i: usize, row: &[String; 5], w: usize| {
        let mut row = row.to_vec();
        // Rows that are not there may say what they will.
        if weight(i) == 0 {
            row[0] = "1e30".into();
            row[2] = "nowhere".into();
        }
        row.push(w.to_string());
        row
    };
    let all = table(210);
    scene.write("weights.csv", csv(header, all.iter().enumerate().map(|(i, r)| row(i, r, weight(i)))));
    let there = || all.iter().enumerate().filter(|(i, _)| weight(*i) > 0);
    scene.write("there.csv", csv(header, there().map(|(i, r)| row(i, r, weight(i)))));
    let repeated = there().flat_map(|(i, r)| std::iter::repeat_n(row(i, r, 1), weight(i)));
    scene.write("repeated.csv", csv(header, repeated));
}

#[test]
fn weight_0_is_absence_to_the_bit() {
    let scene = Scene::new();
    write(&scene);
    for way in WAYS {
        let fit = |name: &str| {
            let run = scene.json(&format!(
                "fit {name} {way} --weight w --test none --out run --force --json -q --no-report"
            ));
            (scene.parameters("run"), run["train_loss"].clone(), run["steps"].clone())
        };
        assert_eq!(fit("weights.csv"), fit("there.csv"), "{way}");
    }
    // With rows drawn for a score and for validation, too.
    for part in ["shuffled", "ordered"] {
        let line = format!(
            "--target class --ignore y --weight w --split {part} --valid 0.2 -q --no-report --out run --force --json"
        );
        let with = (scene.json(&format!("fit weights.csv {line}"))["score"].clone(), scene.parameters("run"));
        let without =
            (scene.json(&format!("fit there.csv {line}"))["score"].clone(), scene.parameters("run"));
        assert_eq!(with, without, "{part}");
    }
}

#[test]
fn weight_w_is_the_row_w_times() {
    let scene = Scene::new();
    write(&scene);
    for way in WAYS {
        let fit = |name: &str, out: &str, weight: &str| {
            scene.ok(&format!("fit {name} {way} {weight} --test none --out {out} --force -q --no-report"));
            let tensors = scene.tensors(out);
            (tensors["coefficients"].clone(), tensors["intercept"].clone())
        };
        let weighted = fit("weights.csv", "weighted", "--weight w");
        let repeated = fit("repeated.csv", "repeated", "--ignore w");
        let scale = weighted.0.iter().chain(&weighted.1).fold(0.0f64, |m, x| m.max(x.abs()));
        for (x, y) in weighted.0.iter().chain(&weighted.1).zip(repeated.0.iter().chain(&repeated.1)) {
            assert!((x - y).abs() <= 1e-9 * scale, "{way}: {x} and {y}");
        }
    }
}

#[test]
fn scores_count_weights() {
    let scene = Scene::new();
    write(&scene);
    for (target, other, metrics) in
        [("y", "class", ["r2", "rmse", "mae"]), ("class", "y", ["accuracy", "log_loss", "roc_auc"])]
    {
        scene.ok(&format!(
            "fit weights.csv --target {target} --ignore {other} --weight w --test none --out run --force -q"
        ));
        let weighted = scene.json("evaluate run weights.csv --json");
        let repeated = scene.json("evaluate run repeated.csv --json");
        for metric in metrics {
            let of = |document: &serde_json::Value| document["scores"][metric].as_f64().unwrap();
            assert!(
                (of(&weighted) - of(&repeated)).abs() <= 1e-12 * of(&repeated).abs().max(1.0),
                "{metric}"
            );
        }
    }
}

#[test]
fn weights_that_are_none() {
    let scene = Scene::new();
    write(&scene);
    let text = scene.text("weights.csv");
    let line = |cell: &str| text.replacen(",3\n", &format!(",{cell}\n"), 1);
    for cell in ["-1", "", "x", "inf"] {
        scene.write("bad.csv", line(cell));
        let says = ["bad.csv:3: weight column \"w\"", "not negative", &format!("found {cell:?}")];
        scene.refuses("fit bad.csv --target y --weight w", 1, &says);
    }
    let zeros = csv("a,y,w", table(20).iter().map(|r| [r[0].clone(), r[3].clone(), "0".into()]));
    scene.write("zeros.csv", zeros);
    scene.refuses("fit zeros.csv --target y --weight w", 1, &["zeros.csv"]);
}
