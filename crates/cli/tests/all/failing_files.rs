//! Files that cannot be written or read: nothing half-written stays, and what was there before survives.

use std::os::unix::fs::PermissionsExt;

use crate::common::{Done, Scene};

const FIT: &str = "fit data/iris.csv --target species -q --epochs 60";

#[test]
fn the_folder_cannot_be_made() {
    let scene = Scene::new();
    scene.write("file", "precious");
    for out in ["file", "file/run", "file/deeper/run"] {
        scene.refuses(&format!("{FIT} --out {out}"), 1, &["cannot make the folder", out, "file is a file"]);
    }
    scene.refuses("demo --report file/demo.html", 1, &["cannot write file/demo.html"]);
    scene.refuses("demo --report nowhere/demo.html", 1, &["cannot write nowhere/demo.html"]);
}

#[test]
fn a_folder_with_files_needs_force() {
    let scene = Scene::new();
    scene.ok(&format!("{FIT} --out run"));
    scene.refuses(&format!("{FIT} --out run"), 1, &["run is not empty", "--force", "--out"]);
    let before = scene.files();
    scene.ok(&format!("{FIT} --out run --force --seed 1 --no-report"));
    // A report of the run before would be taken for this run's.
    assert_eq!(scene.names("run"), ["config.toml", "metrics.jsonl", "model.safetensors", "split.csv"]);
    assert!(
        scene
            .files()
            .iter()
            .filter_map(|f| f.1.as_ref())
            .all(|bytes| !before.values().flatten().any(|b| b == bytes))
    );
    // An empty folder is as good as none, and stays if the run fails.
    std::fs::create_dir(scene.path("empty")).unwrap();
    scene.refuses("fit data/iris.csv --target nothing --out empty", 1, &["no column"]);
    scene.refuses(
        "fit data/diabetes.csv --target progression --optimizer gd(lr=9) -q --out empty",
        1,
        &["diverged"],
    );
    scene.ok(&format!("{FIT} --out empty"));
}

/// Folders that were made for a run go with it.
#[test]
fn a_run_that_fails_takes_its_folders_along() {
    let scene = Scene::new();
    let diverges = "fit data/diabetes.csv --target progression --optimizer gd(lr=9) -q";
    scene.refuses(&format!("{diverges} --out new/deep/run"), 1, &["diverged"]);
    scene.refuses(diverges, 1, &["diverged"]);
    scene.ok("fit data/diabetes.csv --target progression -q");
    scene.ok("fit data/diabetes.csv --target progression -q");
    assert_eq!(scene.names("runs"), ["diabetes-1", "diabetes-2"]);
}

/// A limit on the size of files fails a write after so many kilobytes, as a full disk does.
fn with_files_up_to(scene: &Scene, kilobytes: usize, line: &str) -> Done {
    let quoted: Vec<String> = line.split(' ').map(|word| format!("'{word}'")).collect();
    scene.shell(&format!("trap '' XFSZ; ulimit -f {kilobytes}; exec \"$THALWEG\" {}", quoted.join(" ")))
}

#[test]
fn a_full_disk_leaves_nothing_of_a_new_run() {
    let scene = Scene::new();
    let before = scene.files();
    // The metrics, the split, and the report are the first that do not fit.
    let runs = [
        (1, FIT.to_string(), "metrics"),
        (16, format!("{FIT} --epochs 3"), "cannot write new/run/report.html"),
        (1, "fit data/digits.csv --target digit -q --epochs 1".into(), "cannot write new/run/"),
    ];
    for (kilobytes, line, says) in runs {
        let line = line.replace("--epochs 60 --epochs 3", "--epochs 3");
        let done = with_files_up_to(&scene, kilobytes, &format!("{line} --out new/run"));
        assert_eq!(done.status, 1, "{}", done.err);
        assert!(done.err.contains(says) && done.err.contains("File too large"), "{says}: {}", done.err);
        assert_eq!(scene.files(), before, "{line}");
    }
}

#[test]
fn a_full_disk_leaves_the_run_before_as_it_was() {
    let scene = Scene::new();
    scene.ok(&format!("{FIT} --out run"));
    let before = scene.files();
    for (kilobytes, epochs) in [(1, 60), (16, 3), (3, 60)] {
        let line =
            format!("fit data/iris.csv --target species -q --epochs {epochs} --seed 1 --out run --force");
        let done = with_files_up_to(&scene, kilobytes, &line);
        assert_eq!(done.status, 1, "{}", done.err);
        assert!(done.err.contains("File too large"), "{}", done.err);
        assert_eq!(scene.files(), before, "{kilobytes} kB");
    }
}

#[test]
fn predictions_on_a_full_disk() {
    let scene = Scene::new();
    scene.ok(&format!("{FIT} --out run"));
    scene.ok("predict run data/iris.csv --out old.csv");
    let before = scene.files();
    let done = with_files_up_to(&scene, 1, "predict run data/iris.csv --proba --out old.csv");
    assert_eq!(done.status, 1);
    assert!(done.err.contains("cannot write old.csv: File too large"), "{}", done.err);
    assert_eq!(scene.files(), before);
    for line in
        ["predict run data/iris.csv", "evaluate run data/iris.csv --json", "demo --no-report", "optimizers"]
    {
        let done = scene.shell(&format!("\"$THALWEG\" {line} > /dev/full"));
        assert_eq!(done.status, 1, "{line}: {}", done.err);
        assert!(done.err.contains("cannot write the output: No space left"), "{line}: {}", done.err);
    }
    assert_eq!(scene.files(), before);
    // The run is saved all the same: only its document was lost.
    let done = scene.shell(&format!("\"$THALWEG\" {FIT} --json --out other > /dev/full"));
    assert_eq!(done.status, 1);
    assert!(scene.path("other/model.safetensors").exists());
    // Nobody to hear what is said: the run is as good.
    let done = scene.shell("\"$THALWEG\" fit data/iris.csv --target species --out unheard 2> /dev/full");
    assert_eq!(done.status, 0);
    assert!(scene.path("unheard/model.safetensors").exists());
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let scene = Scene::new();
    scene.ok(&format!("{FIT} --out run"));
    let rows = scene.text("data/iris.csv").lines().skip(1).collect::<Vec<_>>().join("\n");
    let header = scene.text("data/iris.csv").lines().next().unwrap().to_string();
    // More output than a pipe holds.
    scene.write("long.csv", format!("{header}\n{}", format!("{rows}\n").repeat(80)));
    for line in [
        "predict run long.csv --proba",
        "predict run long.csv",
        "demo --no-report",
        "optimizers",
        "data long.csv",
    ] {
        let done = scene.shell(&format!("\"$THALWEG\" {line} | head -1"));
        assert!(!done.out.is_empty());
        assert!(done.err.is_empty(), "{line}: {}", done.err);
    }
    // A reader of stderr that has gone does not end the run.
    let line = "fit data/iris.csv --target species --out unread";
    let done = scene
        .shell(&format!("set +o pipefail; (\"$THALWEG\" {line} 2>&1 >/dev/null; echo $? > status) | true"));
    assert_eq!(done.status, 0);
    assert_eq!(scene.text("status"), "0\n");
    assert!(scene.path("unread/model.safetensors").exists());
}

#[test]
fn links_stay_and_pipes_are_written_into() {
    let scene = Scene::new();
    scene.ok(&format!("{FIT} --out run"));
    let expected = scene.ok("predict run data/iris.csv").out;
    scene.write("target.csv", "old");
    std::os::unix::fs::symlink("target.csv", scene.path("link.csv")).unwrap();
    scene.ok("predict run data/iris.csv --out link.csv");
    assert!(scene.path("link.csv").is_symlink());
    assert_eq!(scene.text("target.csv"), expected);
    let done = scene.shell(
        "mkfifo pipe && (cat pipe > read & \"$THALWEG\" predict run data/iris.csv --out pipe && wait)",
    );
    assert_eq!(done.status, 0, "{}", done.err);
    assert_eq!(scene.text("read"), expected);
    let done = scene.shell("\"$THALWEG\" predict run data/iris.csv --out /dev/stdout | cat");
    assert_eq!(done.out, expected);
}

#[test]
fn the_rights_are_those_of_any_file() {
    let scene = Scene::new();
    scene.write("any", "");
    scene.ok(&format!("{FIT} --out run"));
    scene.ok("predict run data/iris.csv --out predictions.csv");
    let mode = |name: &str| std::fs::metadata(scene.path(name)).unwrap().permissions().mode();
    for name in ["run/model.safetensors", "run/report.html", "run/config.toml", "predictions.csv"] {
        assert_eq!(mode(name), mode("any"), "{name}");
    }
}

#[test]
fn a_model_file_cut_short() {
    let scene = Scene::new();
    scene.ok(&format!("{FIT} --out run"));
    let model = scene.read("run/model.safetensors");
    for n in [0, 3, 8, 100, 600, model.len() - 8, model.len() - 1] {
        scene.write("short.safetensors", &model[..n]);
        for line in ["predict short.safetensors data/iris.csv", "inspect short.safetensors"] {
            let done = scene.refuses(line, 1, &["short.safetensors is cut short or is no model file"]);
            let reason = done.err.split(['(', ')']).nth(1).unwrap();
            assert_eq!(done.err.matches(reason).count(), 1, "said once: {}", done.err);
        }
    }
    scene.refuses("evaluate data/iris.csv data/iris.csv", 1, &["no model file"]);
    scene.refuses("predict nowhere data/iris.csv", 1, &["cannot read the model nowhere: No such file"]);
    std::fs::create_dir(scene.path("bare")).unwrap();
    scene.refuses("predict bare data/iris.csv", 1, &["bare holds no model.safetensors"]);
    let mut altered = model.clone();
    let at = altered.windows(7).position(|w| w == b"softmax").unwrap();
    altered[at..at + 7].copy_from_slice(b"sigmoid");
    scene.write("altered.safetensors", altered);
    scene.refuses("inspect altered.safetensors", 1, &["altered.safetensors", "train it again"]);
}
