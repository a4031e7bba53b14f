//! Every loss through the command, by what holds at its optimum whatever the data; penalties and class weights.

use crate::common::{HEADER, Numbers, Scene, csv, table};

/// Targets that are skewed, so that mean, median and quantiles differ.
fn scene() -> Scene {
    let scene = Scene::new();
    let mut x = Numbers::new(23);
    let rows = (0..400).map(|_| {
        let (a, b) = (x.normal(), x.normal());
        let noise = -libm::log(1.0 - x.share());
        let count = (x.share() * libm::exp(0.5 + 0.4 * a) * 2.0 + 0.3).floor();
        [a.to_string(), b.to_string(), (a - b + 3.0 * noise).to_string(), count.to_string()]
    });
    scene.write("skewed.csv", csv("a,b,y,count", rows));
    scene.write("t.csv", csv(HEADER, table(300)));
    scene
}

/// Predictions beside truths, of all rows.
fn fitted(scene: &Scene, data: &str, target: &str, options: &str) -> Vec<(f64, f64)> {
    scene.ok(&format!("fit {data} --target {target} {options} --test none --out run --force -q --no-report"));
    let out = scene.ok(&format!("predict run {data}")).out;
    let text = scene.text(data);
    let column = text.lines().next().unwrap().split(',').position(|c| c == target).unwrap();
    let number = |x: &str| x.parse::<f64>().unwrap();
    let truths = text.lines().skip(1).map(|l| number(l.split(',').nth(column).unwrap()));
    out.lines().skip(1).map(number).zip(truths).collect()
}

#[test]
fn losses_of_numbers() {
    let scene = scene();
    let long = "--ignore count --tolerance 0 --epochs 3000 --lr 0.05 --schedule cosine";
    let below =
        |pairs: &[(f64, f64)]| pairs.iter().filter(|(p, y)| y < p).count() as f64 / pairs.len() as f64;
    let mean = |pairs: &[(f64, f64)]| pairs.iter().map(|(p, y)| p - y).sum::<f64>() / pairs.len() as f64;
    let squared = fitted(&scene, "skewed.csv", "y", &format!("--loss squared {long}"));
    assert!(mean(&squared).abs() < 1e-6, "residuals sum to 0: {}", mean(&squared));
    // Three parameters: at most three rows lie on the plane itself.
    let absolute = fitted(&scene, "skewed.csv", "y", &format!("--loss absolute {long}"));
    assert!((below(&absolute) - 0.5).abs() <= 3.0 / 400.0, "{}", below(&absolute));
    for q in [0.1, 0.9] {
        let quantile = fitted(&scene, "skewed.csv", "y", &format!("--loss quantile({q}) {long}"));
        assert!((below(&quantile) - q).abs() <= 3.0 / 400.0, "{q}: {}", below(&quantile));
    }
    // Huber's slopes, cut at delta standard deviations of the target, sum to 0.
    let huber = fitted(&scene, "skewed.csv", "y", &format!("--loss huber(0.5) {long}"));
    let n = huber.len() as f64;
    let centre = huber.iter().map(|h| h.1).sum::<f64>() / n;
    let spread = (huber.iter().map(|h| (h.1 - centre) * (h.1 - centre)).sum::<f64>() / n).sqrt();
    let slopes = huber.iter().map(|(p, y)| ((p - y) / spread).clamp(-0.5, 0.5)).sum::<f64>() / n;
    assert!(slopes.abs() < 1e-6, "{slopes}");
    // Half way from the mean to the median.
    assert!(below(&huber) > below(&absolute) && below(&huber) < below(&squared));
}

#[test]
fn counts() {
    let scene = scene();
    let poisson =
        fitted(&scene, "skewed.csv", "count", "--loss poisson --ignore y --tolerance 1e-9 --epochs 3000");
    assert!(poisson.iter().all(|(p, _)| *p > 0.0));
    let mean = poisson.iter().map(|(p, y)| p - y).sum::<f64>() / poisson.len() as f64;
    assert!(mean.abs() < 1e-6, "{mean}");
    scene.write("negative.csv", scene.text("skewed.csv").replacen("\n", "\n0,0,0,-2\n", 1));
    let says = ["negative.csv:2: target \"count\"", "-2"];
    scene.refuses("fit negative.csv --target count --ignore y --loss poisson --test none", 1, &says);
}

#[test]
fn losses_of_classes() {
    let scene = scene();
    // Without a penalty, the probabilities of each class sum to the rows that have it.
    for (data, target, loss, options) in [
        ("t.csv", "class", "logistic", "--ignore y"),
        ("t.csv", "class", "softmax", "--ignore y"),
        ("data/penguins.csv", "island", "softmax", "--l2 0.01"),
    ] {
        let line = format!(
            "fit {data} --target {target} --loss {loss} {options} --test none --out run --force --json -q"
        );
        let run = scene.json(&format!("{line} --tolerance 1e-8 --epochs 4000 --l1 0"));
        assert_eq!(run["loss"], loss);
        let classes: Vec<String> =
            run["classes"].as_array().unwrap().iter().map(|c| c.as_str().unwrap().into()).collect();
        let out = scene.ok(&format!("predict run {data} --proba")).out;
        let text = scene.text(data);
        let column = text.lines().next().unwrap().split(',').position(|c| c == target).unwrap();
        for (k, class) in classes.iter().enumerate() {
            let sum: f64 =
                out.lines().skip(1).map(|l| l.split(',').nth(k).unwrap().parse::<f64>().unwrap()).sum();
            let rows =
                text.lines().skip(1).filter(|l| l.split(',').nth(column) == Some(class)).count() as f64;
            assert!((sum - rows).abs() < 1e-4 * rows, "{loss} {class}: {sum} of {rows}");
        }
    }
}

#[test]
fn class_weights() {
    let scene = scene();
    // At the optimum, weighted probabilities sum to the weight of the rows.
    let text = scene.text("t.csv");
    let is_yes: Vec<bool> = text.lines().skip(1).map(|l| l.ends_with(",yes")).collect();
    let (yes, n) = (is_yes.iter().filter(|y| **y).count() as f64, is_yes.len() as f64);
    let balanced = (n / (2.0 * yes), n / (2.0 * (n - yes)));
    let mut sums = vec![];
    for (given, (w_yes, w_no)) in
        [("none", (1.0, 1.0)), ("balanced", balanced), ("'yes=5, no=1'", (5.0, 1.0)), ("no=4", (1.0, 4.0))]
    {
        scene.ok(&format!(
            "fit t.csv --target class --ignore y --class-weight {given} --test none --out run --force -q --tolerance 1e-8 --epochs 4000"
        ));
        let out = scene.ok("predict run t.csv --proba").out;
        let proba = out.lines().skip(1).map(|l| l.split(',').nth(1).unwrap().parse::<f64>().unwrap());
        let (mut weighted, mut plain) = (0.0, 0.0);
        for (p, is_yes) in proba.zip(&is_yes) {
            weighted += if *is_yes { w_yes * (p - 1.0) } else { w_no * p };
            plain += p;
        }
        assert!(weighted.abs() < 1e-4 * n, "{given}: {weighted}");
        sums.push(plain);
    }
    assert!(sums[2] > sums[0] && sums[3] < sums[0], "{sums:?}");
    scene.refuses("fit t.csv --target class --class-weight maybe=2", 1, &["no class \"maybe\"", "no, yes"]);
}

#[test]
fn l1_gives_exact_zeros() {
    let scene = Scene::new();
    let zeros = |l1: &str, optimizer: &str| {
        scene.ok(&format!(
            "fit data/diabetes.csv --target progression --l1 {l1} --optimizer {optimizer} --out run --force -q"
        ));
        scene.tensors("run")["weight"].iter().filter(|w| **w == 0.0).count()
    };
    for optimizer in ["gd", "adam", "nesterov"] {
        let counts = ["0", "0.01", "0.1", "0.3", "10"].map(|l1| zeros(l1, optimizer));
        assert!(counts.is_sorted(), "{optimizer}: {counts:?}");
        assert_eq!((counts[0], counts[4]), (0, 10), "{optimizer}");
        assert!(counts[2] > 2 && counts[2] < 9, "{optimizer}: {counts:?}");
    }
    // With no weight left, the mean is predicted.
    let out = scene.ok("predict run data/diabetes.csv").out;
    let mut predicted: Vec<&str> = out.lines().skip(1).collect();
    predicted.dedup();
    assert_eq!(predicted.len(), 1);
}
