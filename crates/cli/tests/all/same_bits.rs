//! The same data, seed and configuration: the same bytes, on any number of threads and on every instruction set.

use crate::common::{Numbers, Scene, csv};

/// More rows than a full batch takes, numbers, missing cells and categories.
fn write_large(scene: &Scene) {
    let mut x = Numbers::new(11);
    let rows = (0..6000).map(|i| {
        let (a, b) = (x.normal(), x.normal());
        let kind = ["red", "green", "blue", "rare"][if i % 2000 == 7 { 3 } else { x.below(3) }];
        let y = a - 2.0 * b + if kind == "red" { 1.0 } else { 0.0 } + x.normal();
        let b = if x.share() < 0.02 { String::new() } else { b.to_string() };
        [a.to_string(), b, kind.into(), (1 + x.below(4)).to_string(), y.to_string(), x.below(3).to_string()]
    });
    scene.write("large.csv", csv("a,b,kind,w,y,class", rows));
}

const RUNS: [(&str, &str); 5] = [
    ("batches", "large.csv --target y --ignore class --epochs 3"),
    (
        "classes",
        "large.csv --target class --weight w --epochs 2 --valid 0.1 --optimizer 'clip(0.5) | adamw | ema(0.9)'",
    ),
    ("full", "large.csv --target y --batch full --epochs 20 --optimizer gd --l1 0.01"),
    ("cancer", "data/breast_cancer.csv --target diagnosis --optimizer momentum --epochs 200"),
    ("huber", "data/diabetes.csv --target progression --loss huber(1) --optimizer adagrad --epochs 100"),
];

#[test]
fn on_any_number_of_threads() {
    let scene = Scene::new();
    write_large(&scene);
    for (name, options) in RUNS {
        let model = |threads: usize| {
            let out = format!("{name}-{threads}");
            scene.ok(&format!("fit {options} --threads {threads} --out {out} -q --no-report"));
            let files = ["model.safetensors", "split.csv", "config.toml"];
            files.map(|file| scene.read(&format!("{out}/{file}")))
        };
        let one = model(1);
        for threads in [2, 3, 0] {
            assert!(model(threads) == one, "{name} on {threads} threads");
        }
    }
}

#[test]
fn on_every_instruction_set() {
    let scene = Scene::new();
    write_large(&scene);
    for (name, options) in RUNS {
        let model = |isa: &str| {
            let out = format!("{name}-{isa}");
            let line = format!("fit {options} --out {out} -q --no-report");
            assert!(scene.command(&line).env("THALWEG_ISA", isa).status().unwrap().success(), "{line}");
            scene.read(&format!("{out}/model.safetensors"))
        };
        let one = model("sse2");
        for isa in ["avx2", "avx512"] {
            assert!(model(isa) == one, "{name} with {isa}");
        }
    }
}

#[test]
fn twice() {
    let scene = Scene::new();
    let line = "fit data/penguins.csv --target species --batch 32 --epochs 5 -q --seed 4";
    for out in ["one", "two"] {
        scene.ok(&format!("{line} --out {out}"));
    }
    for file in ["model.safetensors", "split.csv", "config.toml"] {
        assert!(scene.read(&format!("one/{file}")) == scene.read(&format!("two/{file}")), "{file}");
    }
    // Another seed: other rows train.
    scene.ok(&format!("{} --out three", line.replace("--seed 4", "--seed 5")));
    assert!(scene.read("one/split.csv") != scene.read("three/split.csv"));
    assert!(scene.read("one/model.safetensors") != scene.read("three/model.safetensors"));
}
