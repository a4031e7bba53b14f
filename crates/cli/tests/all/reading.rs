//! How files are read: delimiters, headers, missing cells, types, what is kept and what is left out.

use crate::common::{HEADER, Scene, csv, table};

/// The parameters that a file gives.
fn parameters(scene: &Scene, file: &str, options: &str) -> Vec<u64> {
    scene.ok(&format!("fit {file} {options} --out run --force -q --no-report --epochs 30"));
    scene.parameters("run")
}

#[test]
fn one_table_in_every_guise() {
    let scene = Scene::new();
    let plain = csv(HEADER, table(80));
    scene.write("plain.csv", &plain);
    let expected = parameters(&scene, "plain.csv", "--target y --ignore class");
    let quoted = plain.lines().map(|l| format!("\"{}\"\n", l.replace(',', "\",\""))).collect::<String>();
    let guises = [
        ("semicolon.csv", plain.replace(',', ";"), ""),
        ("tab.tsv", plain.replace(',', "\t"), ""),
        ("bar.txt", plain.replace(',', "|"), ""),
        ("told.csv", plain.replace(',', ";"), "--delimiter ;"),
        ("told.tsv", plain.replace(',', "\t"), "--delimiter tab"),
        ("hash.csv", plain.replace(',', "#"), "--delimiter #"),
        ("header.csv", plain.clone(), "--header yes"),
        ("bom.csv", format!("\u{feff}{plain}"), ""),
        ("crlf.csv", plain.replace('\n', "\r\n"), ""),
        ("quoted.csv", quoted, ""),
        ("cut.csv", plain.trim_end().to_string(), ""),
        ("blank.csv", plain.replacen('\n', "\n\n", 5) + "\n\n", ""),
    ];
    for (name, text, options) in guises {
        scene.write(name, text);
        let found = parameters(&scene, name, &format!("--target y --ignore class {options}"));
        assert!(found == expected, "{name}");
        // Predicting reads the same way.
        let predicted = scene.ok(&format!("predict run {name} {options}")).out;
        assert_eq!(predicted, scene.ok("predict run plain.csv").out, "{name}");
        scene.ok(&format!("evaluate run {name} {options}"));
        assert_eq!(scene.json(&format!("data {name} {options} --json"))["rows"], 80);
    }
    let done = scene.refuses("fit plain.csv --target y --delimiter ;", 1, &["has no column \"y\""]);
    assert!(done.err.contains("a,b,kind,y,class"), "{}", done.err);
}

#[test]
fn without_a_header() {
    let scene = Scene::new();
    let plain = csv(HEADER, table(80));
    scene.write("plain.csv", &plain);
    scene.write("bare.csv", plain.split_once('\n').unwrap().1);
    let expected = parameters(&scene, "plain.csv", "--target y --ignore class");
    for options in ["", "--header no"] {
        let found = parameters(&scene, "bare.csv", &format!("--target column4 --ignore column5 {options}"));
        assert_eq!(found, expected, "{options:?}");
    }
    scene.refuses("fit bare.csv --target y", 1, &["has no column \"y\"", "column1, column2"]);
}

#[test]
fn missing_cells() {
    let scene = Scene::new();
    let mut rows = table(120);
    for (i, row) in rows.iter_mut().enumerate().skip(7).step_by(9) {
        row[0] = ["", "NA", "NaN", "nan"][i % 4].into();
    }
    scene.write("usual.csv", csv(HEADER, &rows));
    for row in rows.iter_mut().skip(7).step_by(9) {
        row[0] = "-999".into();
    }
    scene.write("told.csv", csv(HEADER, &rows));
    let expected = parameters(&scene, "usual.csv", "--target y --ignore class");
    assert_eq!(parameters(&scene, "told.csv", "--target y --ignore class --missing -999"), expected);
    assert_eq!(
        parameters(&scene, "told.csv", "--target y --ignore class --missing n/k --missing -999.0"),
        expected
    );
    let done = scene.ok("fit usual.csv --target y --ignore class --out run --force");
    assert!(done.err.contains("column \"a\": missing in "), "{}", done.err);
    let features = scene.json("inspect run --json");
    let has = |name: &str| features["coefficients"].as_array().unwrap().iter().any(|c| c["feature"] == name);
    assert!(has("a") && has("a (missing)") && !has("b (missing)"));
    // Rows without a target neither train nor score, and are predicted all the same.
    rows.iter_mut().step_by(10).for_each(|r| r[3] = "none at all".into());
    scene.write("targets.csv", csv(HEADER, &rows));
    let done = scene.ok(
        "fit targets.csv --target y --ignore class --missing -999 --missing 'none at all' --out run --force",
    );
    assert!(done.err.contains("108 rows, 12 more without a target left out"), "{}", done.err);
    assert_eq!(
        scene.ok("predict run targets.csv --missing -999 --missing 'none at all'").out.lines().count(),
        121
    );
    let done = scene.ok("evaluate run targets.csv --missing -999 --missing 'none at all'");
    assert!(done.out.contains("y on 108 rows of targets.csv (12 without a target left out)"), "{}", done.out);
}

#[test]
fn types_keep_and_ignore() {
    let scene = Scene::new();
    let rows = table(100).into_iter().enumerate().map(|(i, r)| {
        let zip = (1000 + i % 4).to_string();
        let day = format!("2024-0{}-1{}", 1 + i % 6, i % 9);
        [r[0].clone(), zip, day, format!("note {i}"), r[3].clone()]
    });
    scene.write("t.csv", csv("a,zip,day,note,y", rows));
    let features = |options: &str| -> Vec<String> {
        scene.ok(&format!("fit t.csv --target y {options} --out run --force -q --epochs 5"));
        let model = scene.json("inspect run --json");
        let mut names: Vec<String> = model["coefficients"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["feature"].as_str().unwrap().into())
            .collect();
        names.sort();
        names
    };
    let days = ["day.days", "day.month", "day.weekday"];
    assert_eq!(features(""), [&["a"], &days[..], &["zip"]].concat());
    assert_eq!(features("--types zip=category"), [&["a"], &days[..], &["zip"; 4]].concat());
    assert_eq!(features("--types 'zip=category, day=ignore'"), ["a", "zip", "zip", "zip", "zip"]);
    assert_eq!(features("--types zip=category --types day=ignore"), ["a", "zip", "zip", "zip", "zip"]);
    assert_eq!(features("--ignore zip --ignore day"), ["a"]);
    assert_eq!(features("--ignore zip --ignore day --keep note").len(), 81);
    let done = scene.ok("fit t.csv --target y --out run --force");
    assert!(
        done.err.contains("column \"note\" is left out") && done.err.contains("--keep \"note\""),
        "{}",
        done.err
    );
    scene.refuses("fit t.csv --target y --types note=number", 1, &["t.csv:2: column \"note\"", "\"note 0\""]);
    scene.refuses("fit t.csv --target y --types a=date", 1, &["t.csv:2: column \"a\": expected a date"]);
}

#[test]
fn what_the_target_is_taken_for() {
    let scene = Scene::new();
    let rows = table(120).into_iter().enumerate().map(|(i, r)| {
        let truth = if r[4] == "yes" { "True" } else { "False" };
        [
            r[0].clone(),
            r[1].clone(),
            (i % 3).to_string(),
            (i % 30).to_string(),
            truth.into(),
            format!("name {i}"),
        ]
    });
    scene.write("t.csv", csv("a,b,few,many,truth,name", rows));
    for (target, says) in [
        ("few", "target \"few\": 3 classes (0, 1, 2) (--task number to change that)"),
        ("many", "target \"many\": a number (--task classes to change that)"),
        ("truth", "target \"truth\": 2 classes (False, True)"),
    ] {
        let done =
            scene.ok(&format!("fit t.csv --target {target} --out run --force --epochs 3 --ignore name"));
        assert!(done.err.lines().next().unwrap().starts_with(says), "{}", done.err);
    }
    let fit = |options: &str| {
        scene.json(&format!("fit t.csv {options} --out run --force --epochs 3 -q --json --ignore name"))
    };
    assert_eq!(fit("--target few --task number")["task"], "number");
    assert_eq!(fit("--target many --task classes")["classes"].as_array().unwrap().len(), 30);
    assert_eq!(fit("--target few --loss squared")["task"], "number");
    assert_eq!(fit("--target many --loss softmax")["task"], "classes");
    scene.refuses("fit t.csv --target truth --task number", 1, &["expected a number, found \"True\""]);
    scene.refuses("fit t.csv --target name", 1, &["text with 120 different values", "--task classes"]);
}

#[test]
fn splits() {
    let scene = Scene::new();
    let rows = table(100).into_iter().enumerate().map(|(i, mut r)| {
        r[2] = format!("group{}", i / 5);
        r
    });
    scene.write("t.csv", csv(HEADER, rows));
    let split = |options: &str| {
        scene.ok(&format!("fit t.csv --target y --ignore class {options} --out run --force -q --epochs 3"));
        let text = scene.text("run/split.csv");
        let parts: Vec<String> = text.lines().skip(1).map(|l| l.split_once(',').unwrap().1.into()).collect();
        parts
    };
    let count = |parts: &[String], part: &str| parts.iter().filter(|p| *p == part).count();
    let shuffled = split("--valid 0.25");
    assert_eq!(["train", "valid", "test"].map(|p| count(&shuffled, p)), [60, 20, 20]);
    let ordered = split("--split ordered --valid 0.25");
    assert!(ordered[..60].iter().all(|p| p == "train") && ordered[60..80].iter().all(|p| p == "valid"));
    assert!(ordered[80..].iter().all(|p| p == "test"));
    // Rows of a group stay together.
    let groups = split("--split kind");
    assert!(groups.chunks(5).all(|g| g.iter().all(|p| *p == g[0])));
    assert_eq!(count(&groups, "test"), 20);
    assert_ne!(shuffled, split("--valid 0.25 --seed 1"));
    let done = scene.refuses("fit t.csv --target y --test nowhere.csv", 1, &["cannot read nowhere.csv"]);
    assert!(!done.err.contains("panicked"));
}
