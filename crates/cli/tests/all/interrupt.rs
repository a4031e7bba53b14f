//! Ctrl-C ends a run; the model so far is saved.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::common::{Done, Scene};

/// Starts a run without an end, and waits until it trains.
fn endless(scene: &Scene, options: &str) -> Child {
    let line = format!(
        "fit data/digits.csv --target digit --epochs 1000000000 --tolerance 0 --out run --json {options}"
    );
    let mut command = scene.command(&line);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It has trained when the buffer of its metrics was written for the first time.
    while std::fs::metadata(scene.path("run/metrics.jsonl")).map_or(0, |m| m.len()) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "the run has ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn interrupted_runs_leave_a_model() {
    for (name, options) in [("-INT", "--batch 256"), ("-INT", "-q --valid 0.2"), ("-TERM", "-q")] {
        let scene = Scene::new();
        let child = endless(&scene, options);
        signal(&child, name);
        let done = Done::of(child.wait_with_output().unwrap());
        assert_eq!(done.status, 130, "{}", done.err);
        let document: Value = serde_json::from_str(&done.out).unwrap();
        assert_eq!(document["stop"], "interrupted");
        assert!(document["steps"].as_u64().unwrap() > 0);
        assert!(document["epochs"].as_u64().unwrap() > 0);
        let all = ["config.toml", "metrics.jsonl", "model.safetensors", "report.html", "split.csv"];
        assert_eq!(scene.names("run"), all);
        let evaluated = scene.json("evaluate run data/digits.csv --json");
        assert_eq!(evaluated["stop"], "interrupted");
        assert_eq!(evaluated["steps"], document["steps"]);
        assert!(evaluated["score"].as_f64().unwrap() > 0.5, "{evaluated}");
        assert_eq!(scene.metrics("run").last().unwrap()["stop"], "interrupted");
        if options.contains("valid") {
            assert!(document["valid_loss"].is_f64());
        }
    }
}
