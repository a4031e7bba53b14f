//! `thalweg compare`: the same numbers as single runs, divergence as a result, the test rows out of every choice.

use serde_json::Value;

use crate::common::Scene;

fn rows(scene: &Scene, line: &str) -> Vec<Value> {
    let done = scene.run(line);
    assert_eq!(done.status, 0, "{}", done.err);
    serde_json::from_str::<Vec<Value>>(&done.out).unwrap()
}

#[test]
fn the_five_optimizer_table_is_five_single_runs_bit_for_bit() {
    let scene = Scene::new();
    let table = rows(
        &scene,
        "compare data/breast_cancer.csv --target diagnosis --optimizers 'gd, momentum, adagrad, rmsprop, adam' --json --no-report -q",
    );
    assert_eq!(table.len(), 5);
    for (i, row) in table.iter().enumerate() {
        let optimizer = row["optimizer"].as_str().unwrap();
        let single = scene.run(&format!(
            "fit data/breast_cancer.csv --target diagnosis --optimizer '{optimizer}' --out one{i} --json --no-report -q"
        ));
        assert_eq!(single.status, 0, "{}", single.err);
        let single: Value = serde_json::from_str(&single.out).unwrap();
        for key in [
            "train_loss",
            "test_loss",
            "score",
            "train_score",
            "epochs",
            "steps",
            "stop",
            "lr",
            "sha256",
            "optimizer",
        ] {
            assert_eq!(row[key], single[key], "{optimizer}: {key}");
            assert!(!row[key].is_null(), "{optimizer}: {key}");
        }
    }
}

/// Plain descent against Adam on a network: each run is the single run of the same settings, bit for bit, and the picture is drawn.
#[test]
fn networks_side_by_side_are_single_runs_bit_for_bit() {
    let scene = Scene::new();
    let data = "data/digits.csv --target digit --model 'mlp(16, dropout=0.1)' --epochs 5";
    let table =
        rows(&scene, &format!("compare {data} --optimizers 'gd, adam' --out side --json -q --threads 2"));
    for (i, row) in table.iter().enumerate() {
        let optimizer = row["optimizer"].as_str().unwrap();
        let single =
            scene.json(&format!("fit {data} --optimizer '{optimizer}' --out one{i} --json --no-report -q"));
        for key in
            ["train_loss", "valid_loss", "test_loss", "score", "epochs", "steps", "stop", "lr", "sha256"]
        {
            assert_eq!(row[key], single[key], "{optimizer}: {key}");
            assert!(!row[key].is_null(), "{optimizer}: {key}");
        }
        assert_eq!(row["batch"], "32");
        // Five rates around one that suits the rule, each tried for one pass of the five.
        let (search, centre) = (&row["search"], [0.05, 0.001][i]);
        let rates: Vec<f64> =
            search["rates"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        assert_eq!((rates.len(), rates[2], &search["epochs"]), (5, centre, &Value::from(1)));
        let losses: Vec<f64> =
            search["losses"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
        let best = search["best"].as_u64().unwrap() as usize;
        assert!(losses.len() == 5 && losses.iter().all(|&loss| loss >= losses[best]), "{search}");
        assert_eq!(row["lr"], rates[best]);
        // A try is a run of its own: the same settings with one pass.
        let line = format!("fit {} --lr {}", data.replace("--epochs 5", "--epochs 1"), rates[best]);
        let name = ["gd", "adam"][i];
        let short = scene.json(&format!("{line} --optimizer {name} --out short{i} --json --no-report -q"));
        assert_eq!(short["valid_loss"], losses[best]);
    }
    // Adam's training loss falls well below chance, log 10.
    assert!(table[1]["train_loss"].as_f64().unwrap() < 1.0, "{}", table[1]["train_loss"]);
    let page = scene.text("side/report.html");
    for what in ["<svg", "gd", "adam", "the best of five, each tried for 1 pass of 5"] {
        assert!(page.contains(what), "{what} is not in the report");
    }
    let done = scene.ok(&format!("compare {data} --optimizers 'gd, adam' --no-report"));
    assert!(done.err.contains("gd with batches of 32 rows is stochastic gradient descent"), "{}", done.err);
    assert!(done.out.contains("best of five") && done.out.contains("1 pass of 5"), "{}", done.out);
}

#[test]
fn a_rate_that_diverges_is_a_result_and_the_search_never_takes_one() {
    let scene = Scene::new();
    let table = rows(
        &scene,
        "compare data/diabetes.csv --target progression --lrs '0.1, 1000' --json --no-report -q",
    );
    assert_eq!(table[0]["diverged"], false);
    assert_eq!((&table[1]["diverged"], &table[1]["stop"]), (&Value::Bool(true), &Value::from("diverged")));
    assert_eq!((table[0]["lr"].as_f64(), table[1]["lr"].as_f64()), (Some(0.1), Some(1000.0)));

    let table =
        rows(&scene, "compare data/diabetes.csv --target progression --optimizers gd --json --no-report -q");
    let search = &table[0]["search"];
    assert_eq!(search["rates"].as_array().unwrap().len(), 9);
    let losses = search["losses"].as_array().unwrap();
    let best = search["best"].as_u64().unwrap() as usize;
    // L is about 4 for this table: a rate of 10 cannot converge.
    assert!(losses[8].is_null() && !losses[best].is_null());
    assert!(losses.iter().filter_map(Value::as_f64).all(|l| l >= losses[best].as_f64().unwrap()));
    assert_eq!(table[0]["lr"], search["rates"][best]);
}

#[test]
fn batches_make_steps_and_the_same_pass_over_the_rows() {
    let scene = Scene::new();
    let line = "compare data/iris.csv --target species --batches '1, 32, full' --lr 0.05 --epochs 3 --tolerance 0 --json --no-report -q";
    let table = rows(&scene, line);
    let steps: Vec<u64> = table.iter().map(|r| r["steps"].as_u64().unwrap()).collect();
    assert_eq!(steps, [3 * 120, 3 * 4, 3]);
    assert!(table.iter().all(|r| r["epochs"] == 3));
}

/// Other targets in the rows that test change neither the rates that are taken nor any loss.
#[test]
fn the_test_rows_are_in_no_choice() {
    let scene = Scene::new();
    let csv = |flip: bool| {
        let mut text = String::from("x,y,part\n");
        for i in 0..200 {
            let x = f64::from(i % 37) / 7.0;
            let part = if i % 5 == 0 { "test" } else { "train" };
            let y = if flip && part == "test" { -1000.0 * x } else { 3.0 * x + f64::from(i % 3) };
            text += &format!("{x},{y},{part}\n");
        }
        text
    };
    scene.write("a.csv", csv(false));
    scene.write("b.csv", csv(true));
    let table =
        |file: &str| rows(&scene, &format!("compare {file} --target y --split part --json --no-report -q"));
    for (a, b) in table("a.csv").iter().zip(&table("b.csv")) {
        for key in ["lr", "train_loss", "search", "steps", "stop"] {
            assert_eq!(a[key], b[key], "{}: {key}", a["member"]);
        }
        assert_ne!(a["score"], b["score"]);
    }
}

#[test]
fn seeds_give_median_and_spread() {
    let scene = Scene::new();
    let table = rows(
        &scene,
        "compare data/iris.csv --target species --optimizers 'adam(lr=0.05)' --seeds 3 --json --no-report -q",
    );
    let seeds = &table[0]["seeds"];
    assert_eq!(seeds["seeds"], 3);
    let score: Vec<f64> = seeds["score"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    assert!(score[0] <= score[1] && score[1] <= score[2] && score[0] > 0.8, "{score:?}");
}

#[test]
fn every_function_can_be_walked_on() {
    let scene = Scene::new();
    let list = scene.run("compare --function list");
    let names: Vec<&str> = list.out.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        let paths = rows(&scene, &format!("compare --function {name} --steps 300 --out {name} --json"));
        assert_eq!(paths.len(), 5);
        assert!(paths.iter().any(|p| p["diverged"] == false), "{name}");
        assert!(scene.text(&format!("{name}/report.html")).contains("</html>"));
    }
    let path = &rows(
        &scene,
        "compare --function quadratic --optimizers 'gd(lr=0.02)' --start '3, 0' --steps 2 --json --no-report",
    )[0];
    // x ← (1 − 0.02)·x twice.
    assert!((path["end"][0].as_f64().unwrap() - 3.0 * 0.98 * 0.98).abs() < 1e-15);
}

#[test]
fn wrong_usage_is_said_in_words() {
    let scene = Scene::new();
    for (line, words) in [
        ("compare --function rosenbrok", "did you mean \"rosenbrock\""),
        ("compare --function booth --start 1", "--start takes two numbers"),
        ("compare data/iris.csv --target species --lrs 0.1 --batches 1", "take one of"),
        ("compare data/iris.csv --target species --lrs x", "--lrs takes numbers"),
        ("compare data/iris.csv --target species --batches 0", "--batches"),
        ("compare data/iris.csv --target species --optimizers 'gd, adma'", "did you mean \"adam\""),
    ] {
        let done = scene.run(line);
        assert_eq!(done.status, 2, "{line}: {}", done.err);
        assert!(done.err.contains(words), "{line}: {}", done.err);
        assert!(done.out.is_empty());
    }
}

#[test]
fn the_report_holds_every_member() {
    let scene = Scene::new();
    let done =
        scene.run("compare data/diabetes.csv --target progression --optimizers 'gd, adam' --out side -q");
    assert_eq!(done.status, 0, "{}", done.err);
    let page = scene.text("side/report.html");
    for words in
        ["gd", "adam", "rows seen", "learning rate", "thalweg compare data/diabetes.csv --target progression"]
    {
        assert!(page.contains(words), "{words}");
    }
}

/// The command in the report repeats the comparison: nothing that was given is left out.
#[test]
fn the_report_says_the_whole_command() {
    let scene = Scene::new();
    let line = "compare data/iris.csv --target species --optimizers 'gd, adam(lr=0.1)' --no-intercept --ignore petal_width_cm \
                --patience 3 --loss-tolerance 0.001 --delimiter , --types sepal_width_cm=category --epochs 3 --seeds 2";
    scene.ok(&format!("{line} --out a -q"));
    let page = scene.text("a/report.html");
    for words in [
        "--no-intercept",
        "--ignore petal_width_cm",
        "--patience 3",
        "--loss-tolerance 0.001",
        "--delimiter ,",
        "--types sepal_width_cm=category",
        "--epochs 3",
        "--seeds 2",
        "gd, adam(lr=0.1)",
    ] {
        assert!(page.contains(words), "{words}");
    }
}

/// A run's own configuration can be compared on; the list of optimizers wins over the one it holds.
#[test]
fn a_stored_configuration_serves_a_comparison() {
    let scene = Scene::new();
    scene.ok("fit data/iris.csv --target species --epochs 5 --out run --no-report -q");
    let table = scene.json(
        "compare --config run/config.toml --optimizers 'gd(lr=0.1), adam(lr=0.1)' --json --no-report -q",
    );
    assert_eq!(table.as_array().unwrap().len(), 2);
}

#[test]
fn one_file_is_never_two_parts_and_flags_without_effect_are_refused() {
    let scene = Scene::new();
    scene.refuses(
        "fit data/iris.csv --target species --test data/iris.csv",
        2,
        &["DATA and --test are one file"],
    );
    scene.refuses("compare --function booth --lr 0.3", 2, &["--function goes with"]);
    scene.refuses("compare --function booth --steps 100000000000", 2, &["--steps must be in"]);
    scene.refuses("compare data/iris.csv --target species --steps 5", 2, &["--epochs"]);
    scene.refuses("fit data/iris.csv --target species --lr -1", 2, &["--lr must be in [0, ∞), got -1"]);
    scene.refuses("fit data/iris.csv --target species --patience 0", 2, &["--patience must be at least 1"]);
    let line = "compare data/iris.csv --target species --seed 18446744073709551615 --seeds 2 --epochs 1 --optimizers gd(lr=0.1)";
    let done = scene.run(line);
    assert_eq!(done.status, 2, "{}", done.err);
}

/// A split column may name test rows; with `--test none` they are used for nothing and there is no score.
#[test]
fn no_test_rows_means_no_score_with_a_split_column_too() {
    let scene = Scene::new();
    let rows: String =
        (0..60).map(|i| format!("{},{},{}\n", i % 7, i % 2, ["train", "test", "train"][i % 3])).collect();
    scene.write("t.csv", format!("x,y,part\n{rows}"));
    let with = scene.json("fit t.csv --target y --split part --json --no-report -q --out a");
    let without = scene.json("fit t.csv --target y --split part --test none --json --no-report -q --out b");
    assert!(with["score"].is_number() && without["score"].is_null(), "{without}");
    assert_eq!(scene.tensors("a"), scene.tensors("b"));
}
