//! `demo`, `optimizers`, `data` and the help.

use serde_json::Value;

use crate::common::{Scene, csv, table};

#[test]
fn the_demo_meets_the_closed_form() {
    let scene = Scene::new();
    let demo = scene.json("demo --json --no-report");
    assert!(scene.files().is_empty(), "no report was asked for");
    let line = |of: &Value| (of["intercept"].as_f64().unwrap(), of["slope"].as_f64().unwrap());
    let near = |a: (f64, f64), b: (f64, f64), by: f64| (a.0 - b.0).abs() < by && (a.1 - b.1).abs() < by;
    // The closed form, from the points in the document.
    let column = |name: &str| -> Vec<f64> {
        demo[name].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let (x, y) = (column("x"), column("y"));
    assert_eq!((x.len(), y.len()), (100, 100));
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (mx, my) = (mean(&x), mean(&y));
    let slope = x.iter().zip(&y).map(|(x, y)| (x - mx) * (y - my)).sum::<f64>()
        / x.iter().map(|x| (x - mx) * (x - mx)).sum::<f64>();
    let exact = line(&demo["exact"]);
    assert!(near(exact, (my - slope * mx, slope), 1e-10), "{exact:?}");
    assert!(near(line(&demo["gd"]["end"]), exact, 1e-6));
    assert!(near(line(&demo["adam"]["end"]), exact, 1e-3));
    assert!(!near(line(&demo["slow_gd"]["end"]), exact, 0.05), "a rate that is too small");
    let number = |name: &str| demo[name].as_f64().unwrap();
    assert!((number("kappa") - number("l") / number("mu")).abs() < 1e-9);
    let arrived = demo["gd"]["arrived"].as_f64().unwrap();
    assert!(arrived > 1.0 && arrived <= number("predicted_steps"), "{arrived}");
    // Another draw is another demo, the same draw the same.
    assert_ne!(scene.json("demo --json --no-report --seed 1"), demo);
    assert_eq!(scene.json("demo --json --no-report --seed 42"), demo);
}

#[test]
fn the_demo_writes_its_report_where_asked() {
    let scene = Scene::new();
    let out = scene.ok("demo").out;
    assert_eq!(scene.names("."), ["data", "demo.html"]);
    assert!(out.contains("demo.html") && out.contains("Too small: here is why"), "{out}");
    for line in out.lines() {
        assert!(line.chars().count() <= 80, "wider than 80 columns: {line}");
    }
    std::fs::create_dir(scene.path("folder")).unwrap();
    scene.ok("demo --report folder/mine.html");
    assert_eq!(scene.read("folder/mine.html"), scene.read("demo.html"));
    assert!(scene.text("demo.html").contains("</html>"));
    scene.refuses("demo --report folder", 1, &["cannot write folder"]);
}

#[test]
fn every_optimizer_is_listed_and_told() {
    let scene = Scene::new();
    let list = scene.ok("optimizers").out;
    let document = scene.json("optimizers --json");
    let names = |kind: &str| -> Vec<String> {
        document[kind].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap().into()).collect()
    };
    for rule in ["sgd", "adagrad", "rmsprop", "adam", "amsgrad", "adamw", "lion", "radam", "ftrl"] {
        assert!(names("optimizers").contains(&rule.to_string()), "{rule}");
    }
    for kind in ["optimizers", "aliases", "stages", "schedules"] {
        for name in names(kind) {
            assert!(list.lines().any(|l| l.trim_start().starts_with(&format!("{name} "))), "{name}: {list}");
            let told = scene.ok(&format!("optimizers {name}")).out;
            assert!(told.starts_with(&name) && told.lines().count() > 1, "{told}");
            assert_eq!(scene.json(&format!("optimizers {name} --json"))["name"], name);
        }
    }
    assert!(list.lines().all(|l| l.chars().count() <= 80), "{list}");
    // Each rule with its values, their defaults and ranges, its memory and its source.
    let flat: String = list.split_whitespace().collect::<Vec<_>>().join(" ");
    for rule in document["optimizers"].as_array().unwrap() {
        let values = rule["hyper"].as_array().unwrap().iter();
        let values = values.map(|h| format!("{}=", h["name"].as_str().unwrap()));
        let source = rule["source"].as_str().unwrap().to_string();
        for what in values.chain([source]) {
            assert!(flat.contains(&what), "{what} of {} is not in {list}", rule["name"]);
        }
    }
    assert_eq!(flat.matches(" lr=").count(), document["optimizers"].as_array().unwrap().len());
    for what in [
        "memory 2; Kingma & Ba 2015, Algorithm 1 lr=0.001 [0, ∞), beta1=0.9 [0, 1), beta2=0.999 [0, 1)",
        "nesterov=false true or false",
        "memory 202: 2·history_size + 2 once the history is full; Liu & Nocedal 1989",
        "memory N + 1, a gradient for each of the N rows and their sum; Defazio, Bach",
    ] {
        assert!(flat.contains(what), "{what} is not in {list}");
    }
    let adam = scene.ok("optimizers adam").out;
    for what in ["Kingma & Ba 2015", "beta1", "0.9", "[0, 1)", "1e-8", "weight_decay"] {
        assert!(adam.contains(what), "{what}: {adam}");
    }
    // The text above a rule's code, links and all, without marks.
    for what in [
        "For almost everything",
        "Memory: 2 numbers a parameter (m, v).",
        "Keras adds ε = 1e-7",
        "<https://arxiv.org/abs/1711.05101>",
    ] {
        let flat = adam.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(what), "{what}: {adam}");
    }
    assert!(!adam.contains('`') && !adam.contains("[Sgd]"), "{adam}");
    let penalty = scene.ok("optimizers l1").out;
    assert!(
        penalty.contains("coupled, decoupled or proximal") && penalty.contains("soft(x, a)"),
        "{penalty}"
    );
    assert_eq!(scene.json("optimizers l1 --json")["hyper"][1]["default"], "proximal");
    // Each one trains as it is.
    for name in names("optimizers").iter().chain(&names("aliases")) {
        let run = scene.json(&format!(
            "fit data/wine.csv --target cultivar --optimizer {name} --out run --force --json -q"
        ));
        assert!(run["score"].as_f64().unwrap() > 0.9, "{name}: {run}");
    }
}

/// Rules that evaluate more than a batch's gradient, with and without a batch, and before others.
#[test]
fn rules_that_look_at_all_rows_or_single_ones_train() {
    let scene = Scene::new();
    let fit = |rest: &str| {
        let line = format!("fit data/penguins.csv --target species --out run --force --json -q {rest}");
        let run = scene.json(&line);
        assert!(run["score"].as_f64().unwrap() > 0.95, "{rest}: {run}");
        run["train_loss"].as_f64().unwrap()
    };
    let best = fit("--optimizer lbfgs");
    for rest in [
        "--optimizer armijo",
        "--optimizer 'adam until 20% then lbfgs'",
        "--optimizer svrg",
        "--optimizer saga --batch 8",
        "--optimizer 'sam(rho=0.01) | adam'",
        "--optimizer prodigy --schedule cosine",
        "--optimizer schedulefree_adamw --batch 64",
    ] {
        let loss = fit(rest);
        // Each ends where no slope is above 1e-4.
        assert!(loss > best - 1e-4 && loss < best + 0.01, "{rest}: {loss} and {best}");
    }
    scene.ok("compare --function rosenbrock --optimizers 'lbfgs, armijo, saga' --steps 50 --no-report");
}

#[test]
fn a_curve_is_told_with_all_that_it_takes() {
    let scene = Scene::new();
    let told = scene.ok("optimizers cyclic").out;
    for what in ["base_lr", "(0, 1]", "triangular2", "2 epochs", "warmup", "the highest rate"] {
        assert!(told.contains(what), "{what}: {told}");
    }
    assert!(told.lines().all(|l| l.chars().count() <= 80), "{told}");
    let document = scene.json("optimizers cyclic --json");
    assert_eq!(document["lengths"][0]["name"], "up");
    assert_eq!(document["choices"][0]["words"][1], "triangular2");
    let page = scene.ok("optimizers --markdown").out;
    let stored = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/optimizers.md");
    assert!(
        std::fs::read_to_string(stored).unwrap_or_default() == page,
        "docs/optimizers.md is stale: cargo run -p thalweg-cli -- optimizers --markdown > docs/optimizers.md"
    );
    assert!(page.contains("## cyclic") && page.contains("| `up` | 2 epochs |"), "{page}");
}

#[test]
fn schedules_are_drawn() {
    let scene = Scene::new();
    let one = scene.ok("optimizers --schedule 'cosine(0.5)' --steps 100 --epochs 5").out;
    assert!(one.lines().all(|l| l.chars().count() <= 80), "{one}");
    let row = |step: &str| -> Vec<String> {
        let found = one.lines().find(|l| l.split_whitespace().next() == Some(step));
        found.unwrap().split_whitespace().map(String::from).collect()
    };
    assert_eq!(row("1"), ["1", "1", "0.5"]);
    assert_eq!(row("50")[..2], ["50", "3"]);
    assert!((row("50")[2].parse::<f64>().unwrap() - 0.257852).abs() < 1e-5, "{one}");
    assert!(one.contains("cosine(0.5) is cosine(0.5, end=0, over=100%)"), "{one}");
    assert!(one.contains('┤') && one.contains("learning rate"), "{one}");
    let line = "optimizers --schedule 'wsd(0.1)' --schedule 'sequential(linear(0.1), cosine, at=2)' --schedule plateau";
    let three = scene.ok(line).out;
    assert!(three.lines().all(|l| l.chars().count() <= 80), "{three}");
    let words = three.split_whitespace().collect::<Vec<_>>().join(" ");
    for what in ["A wsd(0.1)", "C plateau", "drawn from 0.001", "drawn without any", "1,000 10 "] {
        assert!(words.contains(what), "{what}: {three}");
    }
    let document = scene.json(&format!("{line} --steps 5000 --json"));
    assert_eq!((&document["steps"], &document["steps_per_epoch"]), (&5000.into(), &500.into()));
    let (steps, each) = (document["step"].as_array().unwrap(), document["schedules"].as_array().unwrap());
    assert_eq!((steps.len(), &steps[0], &steps[1999]), (2000, &1.into(), &5000.into()));
    assert_eq!(each.iter().map(|s| s["rates"].as_array().unwrap().len()).collect::<Vec<_>>(), [2000; 3]);
    assert_eq!(each[0]["rates"][1000], 0.1);
    assert_eq!(each[2]["follows_scores"], true);
    assert_eq!(
        scene.json("optimizers --schedule 0.1 --steps 1 --json")["schedules"][0]["rates"],
        serde_json::json!([0.1])
    );
    for (line, says) in [
        ("--schedule 'cosin(0.1)'", "  cosin(0.1)\n  ^^^^^ did you mean \"cosine\"?"),
        ("--schedule 'sequential(0.1, cosine)'", "sequential joins two schedules or more, got 1"),
        ("--schedule cosine --steps 0", "0 is not in 1.."),
        ("--schedule cosine --steps 5 --epochs 6", "--epochs 6 are more than --steps 5"),
        ("--steps 5", "--schedule <SCHEDULE>"),
        ("adam --schedule cosine", "cannot be used with"),
    ] {
        scene.refuses(&format!("optimizers {line}"), 2, &[says]);
    }
}

/// A text without columns is told as one, whatever its sentences have of commas; a table in a .txt stays a table.
#[test]
fn data_tells_what_a_text_holds() {
    let scene = Scene::new();
    scene.write("book.txt", "One day, two.\nTwo, three, four\nand the rest.\n");
    let out = scene.ok("data book.txt").out;
    assert!(
        out.starts_with("book.txt: a text of 45 characters in 3 lines, 19 kinds of characters\n"),
        "{out}"
    );
    assert!(out.contains("most often") && out.contains("space") && out.contains("\\n"), "{out}");
    let document = scene.json("data book.txt --json");
    assert!(document["characters"] == 45 && document["lines"] == 3, "{document}");
    let symbols = document["symbols"].as_array().unwrap();
    for (symbol, count) in [("space", 6), ("t", 4), ("\\n", 3)] {
        assert!(symbols.iter().any(|s| s["symbol"] == symbol && s["count"] == count), "{symbol}: {document}");
    }
    // The last line has no end here; quotes are what they are.
    scene.write("said.txt", "\"It's so\",\nhe said");
    let out = scene.ok("data said.txt").out;
    assert!(out.starts_with("said.txt: a text of 18 characters in 2 lines"), "{out}");
    assert!(out.contains("  \"  ") && !out.contains("\\\""), "{out}");
    scene.write("table.txt", "a,b\n1,2\n3,4\n");
    assert!(scene.ok("data table.txt").out.starts_with("table.txt: 2 rows, 2 columns"));
    scene.refuses("data missing.txt", 1, &["cannot read missing.txt"]);
}

#[test]
fn data_says_what_a_table_holds() {
    let scene = Scene::new();
    let rows = table(60).into_iter().enumerate().map(|(i, r)| {
        let gap = if i % 6 == 0 { String::new() } else { r[1].clone() };
        [r[0].clone(), gap, r[2].clone(), format!("2024-01-{:02}", 1 + i % 28), "7".into()]
    });
    scene.write("t.csv", csv("a,b,kind,day,same", rows));
    let document = scene.json("data t.csv --json");
    assert_eq!(document["rows"], 60);
    let columns = document["columns"].as_array().unwrap();
    let of = |key: &str| columns.iter().map(|c| c[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("name"), ["a", "b", "kind", "day", "same"]);
    assert_eq!(of("type"), ["number", "number", "category", "date", "number"]);
    assert_eq!(of("missing"), [0, 10, 0, 0, 0]);
    assert_eq!(of("distinct"), [60, 50, 3, 28, 1]);
    let out = scene.ok("data t.csv").out;
    assert!(out.starts_with("t.csv: 60 rows, 5 columns"), "{out}");
    assert!(out.lines().all(|l| l.chars().count() <= 80), "{out}");
}

#[test]
fn help_is_there_for_everything() {
    let scene = Scene::new();
    let help = scene.ok("--help").out;
    assert!(help.contains("Exit status"), "{help}");
    for command in ["demo", "fit", "evaluate", "predict", "compare", "inspect", "data", "optimizers"] {
        assert!(help.contains(command), "{command}");
        for flag in ["--help", "-h"] {
            let text = scene.ok(&format!("{command} {flag}")).out;
            assert!(text.contains(&format!("Usage: thalweg {command}")), "{text}");
        }
    }
    let fit = scene.ok("fit --help").out;
    for flag in [
        "--target",
        "--test",
        "--valid",
        "--split",
        "--weight",
        "--class-weight",
        "--seed",
        "--task",
        "--types",
        "--keep",
        "--ignore",
        "--model",
        "--loss",
        "--no-intercept",
        "--l1",
        "--l2",
        "--optimizer",
        "--lr",
        "--schedule",
        "--batch",
        "--epochs",
        "--tolerance",
        "--loss-tolerance",
        "--patience",
        "--metric",
        "--delimiter",
        "--header",
        "--missing",
        "--config",
        "--out",
        "--force",
        "--no-report",
        "--threads",
        "--json",
        "--quiet",
    ] {
        assert!(fit.contains(&format!("{flag} ")) || fit.contains(&format!("{flag}\n")), "{flag}");
    }
    assert_eq!(scene.ok("--version").out.split(' ').next(), Some("thalweg"));
}

/// The formula is read off the code, whatever the setting: a rule of another memory has another formula.
#[test]
fn a_rule_shows_the_formula_that_runs() {
    let scene = Scene::new();
    let adam = scene.ok("optimizers adam").out;
    let flat = adam.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in ["m ← beta1·m + (1 − beta1)·g", "Memory: m, v: 2 numbers a parameter", "28 bytes in f32"]
    {
        assert!(flat.contains(line), "{line} is not in\n{adam}");
    }
    // What the driver does around the rule belongs to it.
    let formula = |rule: &str| -> Vec<String> {
        let trace = &scene.json(&format!("optimizers --json '{rule}'"))["trace"];
        assert_eq!(trace["formula"].as_array().unwrap().len(), trace["traced"].as_array().unwrap().len());
        trace["formula"].as_array().unwrap().iter().map(|l| l.as_str().unwrap().into()).collect()
    };
    let step = "lr/(1 − beta1^t)·m/(√(1/(1 − beta2^t)·v) + eps)";
    assert_eq!(formula("adamw")[2], format!("θ ← θ·(1 − lr·weight_decay) − {step}"));
    assert_eq!(formula("adam(weight_decay=0.1)")[0], "g ← g + weight_decay·θ");
    assert_eq!(
        formula("adan(weight_decay=0.1)").last().unwrap().matches("/(1 + lr·weight_decay)").count(),
        2
    );
    assert_eq!(
        formula("clip(1) | l1(0.1) | sgd(lr=1)"),
        ["c ← min(max_norm/(‖g‖ + 1e-6), 1)", "g ← g·c", "θ ← θ − lr·g", "θ ← max(|θ| − lr·l1, 0)·sign(θ)"]
    );
    assert_eq!(formula("elastic(0.1, 0.1, by=coupled) | lamb")[..2], ["g ← g + l1·sign(θ)", "g ← g + l2·θ"]);
    assert_eq!(
        formula("l1(0.1, by=decoupled) | lamb | ema").last().unwrap(),
        "ema: validates and saves θ̄ ← decay·θ̄ + (1 − decay)·θ in place of θ"
    );
    assert!(formula("l1(0.1, by=decoupled) | lamb").last().unwrap().starts_with("θ ← max(|θ| − lr·l1, 0)"));
    // Every group has its formula, and the rule that Muon leaves the rest to.
    for expression in ["'{ matrices: muon; rest: adamw }'", "muon"] {
        let told = scene.ok(&format!("optimizers {expression}")).out;
        let flat = told.split_whitespace().collect::<Vec<_>>().join(" ");
        for what in [
            "X ← 3.4445·X + (−4.775·A + 2.0315·A·A)·X",
            "θ ← θ·(1 − lr·weight_decay) − lr/(1 − beta1^t)·m",
            "Group ",
        ] {
            assert!(flat.contains(what), "{what} is not in {told}");
        }
    }
    let phases = scene.ok("optimizers 'adam until 60% then sgd(lr=0.1)'").out;
    assert!(phases.contains("Group all, until 60%: adam(") && phases.contains("Group all: sgd("), "{phases}");
    let words = scene.ok("optimizers lbfgs").out;
    assert!(words.contains("Its formula is not traced"), "{words}");
    let plain = scene.json("optimizers --json sgd");
    assert_eq!(plain["trace"]["formula"], serde_json::json!(["θ ← θ − lr·g"]));
    let heavy = scene.json("optimizers --json sgd(momentum=0.9)");
    assert_eq!(heavy["trace"]["memory"], serde_json::json!(["momentum_buffer"]));
    assert_eq!(heavy["numbers_per_parameter"], 1.0);
    scene.refuses("optimizers adma(lr=1)", 2, &["did you mean \"adam\""]);
    // Every formula names each piece of its memory and ends in θ.
    let mut words = vec![];
    for rule in scene.json("optimizers --json")["optimizers"].as_array().unwrap() {
        let formula = rule["trace"]["formula"].as_array().unwrap();
        let text: Vec<&str> = formula.iter().map(|l| l.as_str().unwrap()).collect();
        assert!(text.iter().any(|l| l.starts_with("θ ← ")), "{text:?}");
        if rule["trace"]["traced"].as_array().unwrap().iter().all(|t| t == false) {
            words.push(rule["name"].as_str().unwrap().to_string());
        }
        for slot in rule["trace"]["memory"].as_array().unwrap() {
            assert!(text.iter().any(|l| l.contains(slot.as_str().unwrap())), "{slot} is not in {text:?}");
        }
    }
    assert_eq!(words, ["lbfgs"]);
}

#[test]
fn the_machine_is_measured() {
    let scene = Scene::new();
    let found = scene.json("optimizers adam --bench --numbers 20000 --threads 1 --json");
    let rows = found["rules"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]["rule"]), (1, &serde_json::json!("adam")));
    assert!(rows[0]["steps_per_second"].as_f64().unwrap() > 1.0);
    assert!(rows[0]["copy_bytes_per_second"].as_f64().unwrap() > 1e6);
    // Every rule has a row: those that ask for more than a gradient get a quadratic to ask.
    let found = scene.json("optimizers --bench --numbers 400 --threads 1 --json");
    let rules = scene.json("optimizers --json")["optimizers"].as_array().unwrap().len();
    let rows = found["rules"].as_array().unwrap();
    assert_eq!(rows.len(), rules);
    for row in rows {
        let asks = ["lbfgs", "armijo", "svrg", "saga", "sophia"].contains(&row["rule"].as_str().unwrap());
        assert_eq!(row["bytes"].is_null(), asks, "{row}");
        assert!(row["seconds"].as_f64().unwrap() > 0.0, "{row}");
    }
    let asked =
        |name: &str| rows.iter().find(|r| r["rule"] == name).unwrap()["evaluations"].as_u64().unwrap();
    assert!(asked("saga") == 4 && asked("svrg") >= 1 && asked("armijo") >= 1 && asked("adam") == 0);
    let shown = scene.ok("optimizers muon --bench --numbers 400 --threads 1").out;
    assert!(
        shown.contains("copying at 400 numbers: ") && shown.contains("GB/s, read and written together"),
        "{shown}"
    );
    assert!(shown.lines().any(|l| l.trim_start().starts_with("muon ") && l.contains('%')), "{shown}");
    assert!(shown.lines().all(|l| l.chars().count() <= 80), "{shown}");
    scene.refuses("optimizers clip --bench", 2, &["--bench measures rules", "\"clip\" is none"]);
}

/// Muon alone takes hidden matrices; the head, vectors and tables go to AdamW, and the command says so.
#[test]
fn muon_alone_leaves_the_head_to_adamw() {
    let scene = Scene::new();
    let fit = "fit data/wine.csv --target cultivar --out run --force --epochs 2 --optimizer muon";
    let told = |rest: &str| {
        let done = scene.ok(&format!("{fit} {rest}"));
        let said = format!("{}{}", done.out, done.err);
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let network = told("--model 'mlp(16, 8)'");
    for what in [
        "group all others: 0.bias, 2.bias, 4.weight, 4.bias (51 parameters) by adamw(",
        "group all: 0.weight, 2.weight (336 parameters) by muon(",
    ] {
        assert!(network.contains(what), "{what} is not in {network}");
    }
    let linear = told("");
    assert!(linear.contains("group all others: weight, bias (42 parameters) by adamw("), "{linear}");
    assert!(!linear.contains("by muon("), "{linear}");
    // Named in a group, it takes what it works on.
    let named = scene.ok(&fit.replace("--optimizer muon", "--optimizer '{ matrices: muon; rest: adamw }'"));
    let flat = format!("{}{}", named.out, named.err).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("group matrices: weight (39 parameters) by muon("), "{flat}");
    let hidden = scene.ok(&fit.replace(
        "--optimizer muon",
        "--model 'mlp(16)' --optimizer '{ hidden: muon; head: sgd; rest: adamw }'",
    ));
    let flat = format!("{}{}", hidden.out, hidden.err).split_whitespace().collect::<Vec<_>>().join(" ");
    for what in ["group hidden: 0.weight (", "group head: 2.weight (", "group rest: 0.bias, 2.bias ("] {
        assert!(flat.contains(what), "{what} is not in {flat}");
    }
}

#[test]
fn groups_and_phases_are_told() {
    let scene = Scene::new();
    let fit = "fit data/wine.csv --target cultivar --out run --force --optimizer";
    let done = scene.ok(&format!("{fit} {{matrices:adam(lr=0.05);rest:sgd(lr=0.1)}}"));
    let said = format!("{}{}", done.out, done.err);
    let flat: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for what in [
        "group matrices: weight (39 parameters) by adam(lr=0.05,",
        "group rest: bias (3 parameters) by sgd(lr=0.1,",
    ] {
        assert!(flat.contains(what), "{what} is not in {said}");
    }
    let said = scene.ok(&format!("{fit} 'adam(lr=0.05) until 50% then sgd(lr=0.1)'"));
    let flat: String = format!("{}{}", said.out, said.err).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("group all, until 50%: weight, bias (42 parameters) by adam(lr=0.05,"), "{flat}");
    scene.refuses(&format!("{fit} {{weight:adam}}"), 2, &["the tensor \"bias\" is in none of the groups"]);
    scene.refuses(&format!("{fit} {{weights:adam;weight:sgd;rest:sgd}}"), 2, &["is in two groups"]);
    scene.refuses(&format!("{fit} {{wieght:adam;rest:sgd}}"), 2, &["the group \"wieght\" holds no tensor"]);
}
