//! Input that cannot be learnt from: the message, the exit status, and that nothing is left behind.

use crate::common::{HEADER, Scene, csv, table, table_with};

#[test]
fn no_such_file() {
    let scene = Scene::new();
    let done = scene.refuses("fit nowhere.csv --target y", 1, &["cannot read nowhere.csv", "No such file"]);
    assert_eq!(done.err.matches("No such file").count(), 1, "said once: {}", done.err);
    scene.refuses("data nowhere.csv", 1, &["cannot read nowhere.csv"]);
    scene.refuses("fit data --target y", 1, &["data has no images"]);
}

#[test]
fn empty_file_and_header_only() {
    let scene = Scene::new();
    scene.write("empty.csv", "");
    scene.refuses("fit empty.csv --target y", 1, &["empty.csv is empty", "column names"]);
    scene.write("blank.csv", "\n\n\n");
    scene.refuses("fit blank.csv --target y", 1, &["blank.csv is empty"]);
    scene.write("header.csv", "a,b,y\n");
    scene.refuses("fit header.csv --target y", 1, &["header.csv has column names but no rows"]);
}

#[test]
fn target_missing_suggests_the_nearest_name() {
    let scene = Scene::new();
    let says = ["has no column \"speces\"", "did you mean \"species\"?", "columns: sepal_length_cm"];
    scene.refuses("fit data/iris.csv --target speces", 1, &says);
}

#[test]
fn targets_with_nothing_to_tell_apart() {
    let scene = Scene::new();
    let mut rows = table(40);
    rows.iter_mut().for_each(|r| r[4] = "yes".into());
    rows.iter_mut().for_each(|r| r[3] = "2.5".into());
    scene.write("same.csv", csv(HEADER, &rows));
    scene.refuses("fit same.csv --target class", 1, &["\"yes\" in every row", "two classes are needed"]);
    scene.refuses("fit same.csv --target y", 1, &["2.5 in every row", "nothing to learn"]);
    rows.iter_mut().for_each(|r| r[3] = String::new());
    scene.write("none.csv", csv(HEADER, &rows));
    scene.refuses("fit none.csv --target y", 1, &["target \"y\" is missing in every row"]);
}

#[test]
fn text_in_a_numeric_column() {
    let scene = Scene::new();
    scene.write("text.csv", table_with(60, 30, 1, "n/k"));
    let line = "fit text.csv --target y --test none --out run -q";
    let says = ["text.csv:32: column \"b\"", "found \"n/k\"", "--missing \"n/k\"", "--types b=category"];
    scene.refuses(line, 1, &says);
    scene.ok(&format!("{line} --missing n/k"));
    scene.ok(&format!("{line} --force --types b=category --keep b"));
    scene.write("target.csv", table_with(60, 30, 3, "n/k"));
    let says = ["target.csv:32: target \"y\"", "found \"n/k\"", "--missing \"n/k\"", "--task classes"];
    scene.refuses("fit target.csv --target y", 1, &says);
}

/// A loss that is made for numbers is why a number is expected; `--task classes` would be no way out.
#[test]
fn a_loss_for_numbers_on_text() {
    let scene = Scene::new();
    let done = scene.refuses(
        "fit data/iris.csv --target species --loss squared",
        1,
        &["iris.csv:2", "the loss squared is for numbers, found \"setosa\"", "leave --loss out"],
    );
    assert!(!done.err.contains("--task"), "{}", done.err);
}

#[test]
fn ragged_rows() {
    let scene = Scene::new();
    let mut lines: Vec<String> = csv(HEADER, table(30)).lines().map(String::from).collect();
    lines[10] = "1,2,red".into();
    scene.write("short.csv", lines.join("\n"));
    scene.refuses("fit short.csv --target y", 1, &["short.csv:11: expected 5 fields", "found 3"]);
    lines[10] = "1,2,red,4,yes,6".into();
    scene.write("long.csv", lines.join("\n"));
    scene.refuses("fit long.csv --target y", 1, &["long.csv:11: expected 5 fields", "found 6", "in quotes"]);
}

#[test]
fn nan_is_missing_and_inf_is_refused() {
    let scene = Scene::new();
    scene.write("nan.csv", table_with(60, 4, 0, "NaN"));
    let done = scene.ok("fit nan.csv --target y --test none --out nan");
    assert!(done.err.contains("column \"a\": missing in 1 training row; the mean is used"), "{}", done.err);
    for (inf, shown) in [("inf", "inf"), ("-Infinity", "-inf"), ("1e999", "inf")] {
        scene.write("inf.csv", table_with(60, 4, 0, inf));
        let says = ["inf.csv:6: column \"a\"", "not a finite number", &format!("--missing {shown}")];
        scene.refuses("fit inf.csv --target y --test none --out run", 1, &says);
        // In rows that only score, too: a score of infinity says nothing.
        scene.refuses("fit inf.csv --target y --split ordered --test 0.95 --out run", 1, &says[..1]);
        scene.ok(&format!("fit inf.csv --target y --test none --out told --force -q --missing {shown}"));
    }
    scene.write("target.csv", table_with(60, 4, 3, "inf"));
    scene.refuses("fit target.csv --target y --out run", 1, &["target.csv:6: target \"y\"", "inf"]);
}

#[test]
fn columns_that_never_change() {
    let scene = Scene::new();
    let rows: Vec<[String; 3]> = table(40).iter().map(|r| ["7".into(), "x".into(), r[3].clone()]).collect();
    scene.write("constant.csv", csv("a,b,y", rows));
    let says = ["no column is left to learn from", "\"a\": it is the same", "\"b\": it is the same"];
    scene.refuses("fit constant.csv --target y --out run", 1, &says);
    scene.write("lonely.csv", csv("y", table(40).iter().map(|r| [r[3].clone()])));
    scene.refuses("fit lonely.csv --target y --out run", 1, &["there is none beside the target"]);
}

#[test]
fn two_columns_of_one_name() {
    let scene = Scene::new();
    scene.write("twice.csv", csv("a,b,a,y,class", table(40)));
    let says = ["twice.csv:1: columns 1 and 3 are both named \"a\"", "rename one", "--header no"];
    scene.refuses("fit twice.csv --target y", 1, &says);
}

#[test]
fn one_row() {
    let scene = Scene::new();
    scene.write("one.csv", csv(HEADER, table(1)));
    scene.refuses("fit one.csv --target class", 1, &["one.csv", "two classes are needed"]);
    scene.refuses("fit one.csv --target y", 1, &["1 row: too few", "--test none"]);
    // Nothing varies in a single row.
    scene.refuses("fit one.csv --target y --test none", 1, &["no column is left to learn from"]);
}

#[test]
fn more_columns_than_rows() {
    let scene = Scene::new();
    let mut x = crate::common::Numbers::new(3);
    let names: Vec<String> = (0..60).map(|j| format!("c{j}")).chain(["y".into()]).collect();
    let rows: Vec<Vec<String>> = (0..12).map(|_| (0..61).map(|_| x.normal().to_string()).collect()).collect();
    scene.write("wide.csv", csv(&names.join(","), rows));
    let run = scene.json("fit wide.csv --target y --out run --json");
    assert_eq!(run["rows"]["train"], 10);
    assert!(run["train_loss"].as_f64().unwrap() < 1e-4, "{run}");
}

#[test]
fn divergence_names_step_columns_and_a_rate_that_works() {
    let scene = Scene::new();
    let line = "fit data/diabetes.csv --target progression --out run -q";
    let says = |ask: &'static str| {
        move |err: &str| {
            let after = err.split(ask).nth(1).unwrap_or_else(|| panic!("{ask}: {err}"));
            after.split([' ', '\n']).next().unwrap().to_string()
        }
    };
    let common =
        ["diverged at step 3 with the learning rate 100", "largest scale: s1 (standard", "s2", "2/L = "];
    let in_expression = scene.refuses(&format!("{line} --optimizer gd(lr=100)"), 1, &common);
    let rate = says("try lr=")(&in_expression.err);
    assert!(in_expression.err.contains("in --optimizer"), "{}", in_expression.err);
    scene.ok(&format!("{line} --optimizer gd(lr={rate})"));
    let as_flag = scene.refuses(&format!("{line} --force --optimizer momentum --lr 100"), 1, &["diverged"]);
    let rate = says("try --lr ")(&as_flag.err);
    scene.ok(&format!("{line} --force --optimizer momentum --lr {rate}"));
}

/// A run that diverges after it was better than the start keeps the best weights, and still fails.
#[test]
fn divergence_keeps_the_best_that_was_validated() {
    let scene = Scene::new();
    // The rate grows fivefold every 50 epochs: it is fine first, and too much later.
    let line = "fit data/diabetes.csv --target progression --valid 0.2 --out run --tolerance 0 \
                --optimizer gd(lr=exponential(0.1,gamma=5,every=50))";
    let done = scene.run(line);
    assert_eq!(done.status, 1, "{}", done.err);
    assert!(done.err.contains("diverged at step"), "{}", done.err);
    let model = scene.json("evaluate run data/diabetes.csv --json");
    assert_eq!(model["stop"], "diverged");
    assert!(model["score"].as_f64().unwrap() > 0.4, "{model}");
}

/// What the target is, training rows say alone: a class of other rows alone is not known, and does not become one.
#[test]
fn classes_that_only_rows_that_score_have() {
    let scene = Scene::new();
    let parts = |class: fn(usize, &str) -> String| {
        let rows = table(100).into_iter().enumerate().map(move |(i, mut r)| {
            r[2] = if i % 5 == 0 { "test" } else { "train" }.into();
            r[4] = class(i, &r[4]);
            r
        });
        csv("a,b,part,y,class", rows)
    };
    scene.write("new.csv", parts(|i, class| if i % 10 == 0 { "new".into() } else { class.into() }));
    let says = ["new.csv:2: target \"class\"", "\"new\" was not seen in training", "known: no, yes"];
    scene.refuses("fit new.csv --target class --split part", 1, &says);
    scene.write("one.csv", parts(|i, _| if i % 5 == 0 { "no" } else { "yes" }.into()));
    let says = ["in the training rows:", "\"yes\" in every row", "two classes are needed"];
    scene.refuses("fit one.csv --target class --split part", 1, &says);
    // Sorted by class, the last rows hold a class of their own.
    let sorted: Vec<String> = scene.text("data/wine.csv").lines().map(String::from).collect();
    scene.write("sorted.csv", sorted.join("\n"));
    scene.refuses(
        "fit sorted.csv --target cultivar --split ordered --test 0.3",
        1,
        &["\"barbera\" was not seen"],
    );
}

#[test]
fn a_column_too_small_for_its_coefficient() {
    let scene = Scene::new();
    let rows = table(60).into_iter().map(|mut r| {
        r[0] = format!("{}e-310", r[0]);
        r
    });
    scene.write("small.csv", csv(HEADER, rows));
    let says = ["column \"a\" has values so small", "--ignore a"];
    scene.refuses("fit small.csv --target y --out run", 1, &says);
    scene.ok("fit small.csv --target y --ignore a --out run");
}
