//! The rows that give the score are used for nothing else.

use crate::common::{Scene, csv, table};

/// Tables whose last quarter tests; `change` alters a row, given whether it tests.
fn write(scene: &Scene, name: &str, change: impl Fn(usize, &mut Vec<String>)) {
    let rows = table(240).into_iter().enumerate().map(|(i, row)| {
        let mut row = row.to_vec();
        row.push(if i % 4 == 3 { "test" } else { "train" }.into());
        row.insert(0, ((i * 7919) % 1000).to_string());
        if i % 4 == 3 {
            change(i, &mut row);
        }
        row
    });
    scene.write(name, csv("leak,a,b,kind,y,class,part", rows));
}

/// Ways to train that look at the data in different manners.
const WAYS: [&str; 5] = [
    "--target y --ignore class",
    "--target class --ignore y",
    "--target y --ignore class --batch 16 --epochs 4 --optimizer 'clip(1) | adamw | ema(0.9)'",
    "--target y --ignore class --optimizer gd --loss huber(1.35) --l1 0.01",
    "--target class --ignore y --class-weight balanced --optimizer nesterov",
];

/// Trains on the table of that name, and gives the parameters' bits and the score.
fn train(scene: &Scene, name: &str, options: &str) -> (Vec<u64>, f64) {
    let run = scene.json(&format!("fit {name} {options} --out run --force --json -q --no-report"));
    assert_eq!(run["rows"]["train"], 180, "{run}");
    (scene.parameters("run"), run["score"].as_f64().unwrap_or(f64::NAN))
}

fn same_whatever_tests(change: impl Fn(usize, &mut Vec<String>)) {
    let scene = Scene::new();
    write(&scene, "plain.csv", |_, _| {});
    write(&scene, "changed.csv", change);
    let mut scores = 0;
    for way in WAYS {
        let options = format!("{way} --split part");
        let (plain, score) = train(&scene, "plain.csv", &options);
        let (changed, other) = train(&scene, "changed.csv", &options);
        assert_eq!(plain, changed, "{way}");
        scores += usize::from(score != other);
    }
    assert!(scores > 0, "the change must matter to some score");
}

#[test]
fn a_target_leaked_into_them_changes_no_parameter() {
    same_whatever_tests(|_, row| row[0] = row[4].clone());
}

#[test]
fn extreme_values_and_rare_categories_in_them_change_no_parameter() {
    same_whatever_tests(|i, row| {
        row[1] = if i % 8 == 3 { "1e300" } else { "-1e12" }.into();
        row[3] = format!("rare{i}");
    });
}

#[test]
fn missing_cells_in_them_change_no_parameter() {
    same_whatever_tests(|i, row| {
        row[1] = String::new();
        row[3] = if i % 8 == 3 { String::new() } else { "NA".into() };
    });
}

#[test]
fn other_targets_in_them_change_no_parameter() {
    same_whatever_tests(|_, row| {
        row[4] = "1e6".into();
        row[5] = if row[5] == "yes" { "no" } else { "yes" }.into();
    });
}

/// The same parameters as without these rows at all.
#[test]
fn without_them_the_model_is_the_same() {
    let scene = Scene::new();
    write(&scene, "plain.csv", |_, _| {});
    let plain = scene.text("plain.csv");
    let only: Vec<&str> = plain.lines().filter(|l| !l.ends_with(",test")).collect();
    scene.write("only.csv", only.join("\n"));
    for way in WAYS {
        let (with, _) = train(&scene, "plain.csv", &format!("{way} --split part"));
        let (without, _) = train(&scene, "only.csv", &format!("{way} --ignore part --test none"));
        assert_eq!(with, without, "{way}");
    }
}

/// Rows in a file of their own.
#[test]
fn a_test_file_changes_no_parameter() {
    let scene = Scene::new();
    write(&scene, "plain.csv", |_, _| {});
    let plain = scene.text("plain.csv");
    let (test, rest): (Vec<&str>, Vec<&str>) = plain.lines().partition(|l| l.ends_with(",test"));
    scene.write("rest.csv", rest.join("\n"));
    scene.write("test.csv", format!("{}\n{}\n", rest[0], test.join("\n")));
    let wild = test.join("\n").replace("red", "purple").replace("green", "1e9");
    scene.write("wild.csv", format!("{}\n{wild}\n", rest[0]));
    for way in WAYS {
        let (plain, score) = train(&scene, "rest.csv", &format!("{way} --ignore part --test test.csv"));
        let (changed, _) = train(&scene, "rest.csv", &format!("{way} --ignore part --test wild.csv"));
        let (by_column, same) = train(&scene, "plain.csv", &format!("{way} --split part"));
        assert_eq!(plain, changed, "{way}");
        assert_eq!((plain, score), (by_column, same), "{way}");
    }
}
