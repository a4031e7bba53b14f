//! Text from the command: fitted, scored, written on, looked at.

use crate::common::{Numbers, Scene};

/// Sentences of a small language.
fn sentences(count: usize) -> String {
    let mut x = Numbers::new(3);
    let mut pick = |words: &[&'static str]| words[x.below(words.len())];
    (0..count)
        .map(|_| {
            let who = pick(&["the cat", "a dog", "my bird", "the old man"]);
            let (does, whom) =
                (pick(&["sees", "likes", "hears"]), pick(&["a mouse", "the moon", "music", "nobody"]));
            format!("{who} {does} {whom}{}\n", pick(&[".", "!", ", sometimes."]))
        })
        .collect()
}

fn scene(count: usize) -> Scene {
    let scene = Scene::new();
    scene.write("book.txt", sentences(count));
    scene
}

const FIT: &str = "fit book.txt --model gru(24) --context 16 --epochs 3 --lr 0.01";

#[test]
fn a_text_is_fitted_scored_and_looked_at() {
    let scene = scene(300);
    let done = scene.ok(&format!("{FIT} --out run"));
    assert!(done.err.starts_with("text: "), "{}", done.err);
    assert!(done.err.contains("different ones in training; for a table say --target COL"), "{}", done.err);
    assert!(
        done.out.contains("bits per character ") && done.out.contains("; a 5-gram gets "),
        "{}",
        done.out
    );
    assert!(done.out.contains("gru(24)") && done.out.contains("embedding("), "{}", done.out);
    let report = scene.text("run/report.html");
    for what in ["bits per character", "5-gram", "What it writes", "The layers", "How to repeat it"] {
        assert!(report.contains(what), "{what}");
    }

    let run = scene.json(&format!("{FIT} --out again --json -q"));
    let symbols = scene.text("book.txt").len();
    assert_eq!(
        (&run["task"], &run["unit"], &run["context"]),
        (&"text".into(), &"character".into(), &16.into())
    );
    assert!(run["target"].is_null());
    assert_eq!((&run["metric"], &run["loss"]), (&"bits_per_character".into(), &"softmax".into()));
    let test = (symbols as f64 * 0.2).round() as u64;
    assert_eq!(run["rows"]["test"], test);
    let (score, baseline) = (run["score"].as_f64().unwrap(), run["baseline"].as_f64().unwrap());
    assert!(score > 0.2 && score < 4.0 && baseline > 0.2 && baseline < 4.0, "{score} {baseline}");
    assert_eq!(run["scores"]["bits_per_character"], run["score"]);
    let parts = scene.text("again/split.csv");
    assert_eq!(parts.lines().last(), Some(format!("test,{},{symbols}", symbols as u64 - test).as_str()));
    // What the loop says: a line for each epoch, with the score.
    let epochs: Vec<_> = scene.metrics("again").into_iter().filter(|m| m["event"] == "epoch").collect();
    assert_eq!(epochs.len(), 3);
    assert!(
        epochs.iter().all(|e| e["valid_score"].as_f64().unwrap() < e["valid_loss"].as_f64().unwrap() / 0.693)
    );

    // The model that was scored is the one that was saved: the test part alone.
    let text = scene.text("book.txt");
    scene.write("part.txt", &text[symbols - test as usize..]);
    let scored = scene.json("evaluate run part.txt --json");
    for key in ["score", "score_interval", "scores", "model", "optimizer", "train_loss", "valid_loss"] {
        assert_eq!(scored[key], run[key], "{key}");
    }
    assert_eq!(scored["loss"], run["test_loss"]);
    assert_eq!(scored["rows"], test - 1);
    assert!(scene.ok("evaluate run part.txt").out.contains("bits per character"));
    // Characters that training never saw are counted, and said.
    assert_eq!(scored["others"], 0);
    scene.write("new.txt", b"the cat sees Q\xff a dog");
    let done = scene.ok("evaluate run new.txt");
    assert!(
        done.err.contains("new.txt: this is not valid UTF-8") && done.err.contains("2 characters"),
        "{}",
        done.err
    );
    // A part of its own gives the same score, by a model that saw more of the rest.
    let other = scene.json(&format!("{FIT} --test part.txt --out other --json -q"));
    assert_eq!(other["rows"]["test"], test);

    let shown = scene.ok("inspect run").out;
    assert!(shown.contains("text       the next character of "), "{shown}");
    assert!(shown.contains("baseline   ") && shown.contains(" by a 5-gram"), "{shown}");
    assert!(shown.contains("16 × 24"), "{shown}");
    let inspected = scene.json("inspect run --json");
    assert_eq!((&inspected["context"], &inspected["unit"]), (&16.into(), &"character".into()));
    assert!(inspected["characters"].as_str().unwrap().starts_with("\n !,.abcd"), "{inspected}");
    assert_eq!(inspected["layers"].as_array().unwrap().len(), 4);
    assert_eq!(inspected["score"]["baseline"], run["baseline"]);

    // What was resolved repeats the run, to the byte; on any number of threads.
    assert!(scene.text("run/config.toml").contains("context = 16"));
    assert!(!scene.text("run/config.toml").contains("target"));
    scene.ok("fit --config run/config.toml --out third --no-report -q --threads 1");
    let models = ["run", "again", "third"].map(|run| scene.read(&format!("{run}/model.safetensors")));
    assert!(models[0] == models[1] && models[0] == models[2]);
}

#[test]
fn a_text_is_written_on() {
    let scene = Scene::new();
    scene.write("book.txt", "abcdefgh\n".repeat(150));
    for (name, model) in [("gru", "gru(16)"), ("block", "'transformer(d=16, heads=2, layers=1, context=12)'")]
    {
        let line = format!(
            "fit book.txt --model {model} --epochs 80 --lr 0.01 --valid none --out {name} -q --no-report"
        );
        scene.ok(&line);
        let written = scene.ok(&format!("generate {name} --prompt fgh --length 12 --temperature 0")).out;
        assert_eq!(written, "fgh\nabcdefgh\nab\n", "{name}");
        let document =
            scene.json(&format!("generate {name} --prompt fgh --length 12 --top-k 1 --seed 3 --json"));
        assert_eq!(document["text"], "\nabcdefgh\nab");
        assert_eq!(
            (&document["prompt"], &document["length"], &document["seed"]),
            (&"fgh".into(), &12.into(), &3.into())
        );
        // Without a prompt, a line begins.
        assert_eq!(scene.ok(&format!("generate {name} --length 9 --temperature 0")).out, "abcdefgh\n\n");
        let hot = |seed: u32, threads: u32| {
            let line =
                format!("generate {name} --length 80 --temperature 5 --seed {seed} --threads {threads}");
            scene.ok(&line).out
        };
        assert_eq!(hot(1, 1), hot(1, 2));
        assert_ne!(hot(1, 1), hot(2, 1));
        // A reader that has enough ends it without a word.
        let done = scene.shell(&format!("$THALWEG generate {name} --length 1000000 | head -c 20 >/dev/null"));
        assert_eq!((done.status, done.err.as_str()), (1, ""));
    }
    let unknown = scene.refuses("generate gru --prompt abXc", 1, &["character 3 of the prompt, 'X'"]);
    assert!(unknown.err.contains("leave it out"), "{}", unknown.err);
    for (flags, says) in [
        ("--temperature -1", "--temperature must be in [0, ∞), got -1"),
        ("--temperature nan", "--temperature must be in [0, ∞), got NaN"),
        ("--length 0", "--length"),
        ("--top-k 0", "--top-k"),
    ] {
        scene.refuses(&format!("generate gru {flags}"), 2, &[says]);
    }
    scene.refuses("generate absent", 1, &["absent"]);
    scene.refuses("predict gru book.txt", 2, &["a model of text has no rows", "thalweg generate"]);
    scene.refuses("evaluate gru book.txt --metric accuracy", 2, &["bits_per_character"]);
    scene.refuses("evaluate gru book.txt --target x", 2, &["--target does not fit"]);
    scene.refuses("evaluate gru book.txt --delimiter tab", 2, &["--delimiter does not fit"]);
    scene.ok("fit data/iris.csv --target species --epochs 5 --out iris -q --no-report");
    scene.refuses("generate iris", 2, &["the model predicts \"species\", not text"]);
    scene.refuses("evaluate iris data/iris.csv --metric bits_per_character", 2, &["does not fit"]);
}

#[test]
fn the_default_is_a_recurrent_network() {
    let scene = scene(200);
    let run = scene.json("fit book.txt --epochs 1 --out run --json -q --no-report");
    assert_eq!((&run["model"], &run["context"]), (&"gru(128)".into(), &64.into()));
    assert_eq!(run["batch"], "32");
    let model = scene.json("fit book.txt --model 'transformer(d=8, heads=2, layers=1, context=10)' --epochs 1 --out other --json -q");
    assert_eq!(model["context"], 10);
}

#[test]
fn hostile_texts_are_refused_or_read() {
    let scene = Scene::new();
    let fit = "fit t.txt --model gru(4) --context 8 --epochs 1 --no-report -q --out run --force";
    scene.write("t.txt", "");
    scene.refuses(fit, 1, &["t.txt is empty; expected text"]);
    scene.write("t.txt", b"\xff\xfea\0b\0");
    scene.refuses(fit, 1, &["encoded in UTF-16"]);
    scene.write("t.txt", "aaaaaaaaaaa");
    scene.refuses(fit, 1, &["the training part has 8 symbols", "needs 9", "a smaller context"]);
    scene.write("t.txt", "ab");
    scene.refuses(fit, 1, &["2 symbols, too few for 3 parts"]);
    scene.write("t.txt", "abcdefghijklmnopqrstuvwxyz");
    scene.refuses(fit, 1, &["no character is in the training part 5 times"]);
    scene.refuses("fit absent.txt", 1, &["cannot read absent.txt"]);
    // One symbol, no line's end, zeros, broken UTF-8.
    for bytes in [b"x".repeat(300), b"\0".repeat(300), b"ab\0c".repeat(100), b"\xff\xc3\x28 a".repeat(100)] {
        scene.write("t.txt", bytes);
        let run = scene.json(&format!("{fit} --json"));
        assert!(run["score"].as_f64().unwrap().is_finite());
        // Bytes that training never saw are no text.
        let done = scene.command("generate run --length 5").output().unwrap();
        assert!(done.status.success() && done.stdout.len() >= 6);
    }
    assert_eq!(scene.json("inspect run --json")["unit"], "byte");
    scene.write("t.txt", "a long line without an end ".repeat(4000));
    scene.ok(fit);
    // Bytes go out as they are.
    scene.write("t.txt", b"\xffab".repeat(200));
    scene.ok(&fit.replace("gru(4)", "gru(8)").replace("--epochs 1", "--epochs 100 --lr 0.02"));
    let done = scene.command("generate run --prompt ab --length 4 --temperature 0").output().unwrap();
    assert_eq!(done.stdout, b"ab\xffab\xff\n");
}

#[test]
fn what_is_not_for_text_is_refused() {
    let scene = scene(60);
    for (flags, says) in [
        ("--model linear", "linear is for tables: text needs a network"),
        ("--model gru(8) --types a=number", "--types is for tables"),
        ("--keep a", "--keep is for tables"),
        ("--weight a", "--weight is for tables"),
        ("--task number", "--task is for tables"),
        ("--class-weight balanced", "--class-weight is for tables"),
        ("--delimiter tab", "--delimiter is for tables"),
        ("--split part", "a column in --split is for tables"),
        ("--loss squared", "softmax loss"),
        ("--metric accuracy", "bits_per_character"),
        ("--no-intercept", "--no-intercept is for linear"),
        ("--context 0", "--context"),
        ("--context 100000", "--context"),
        ("--context 32 --model 'transformer(context=16)'", "say different things"),
        ("--model 'gru(8) rleu'", "^^^^ did you mean \"relu\"?"),
        ("--model 'transformer(d=8, heads=2, layers=1, causal=false)'", "sees what comes behind a character"),
        ("--test book.txt", "are one file"),
        ("--valid book.txt", "are one file"),
        ("--optimizer saga", "take adamw"),
    ] {
        scene.refuses(&format!("fit book.txt --out run {flags}"), 2, &[says]);
    }
    std::os::unix::fs::symlink("book.txt", scene.path("link.txt")).unwrap();
    scene.refuses("fit book.txt --out run --test link.txt", 2, &["are one file"]);
    // A table is one all the same.
    scene.refuses("fit data/iris.csv", 2, &["--target COL"]);
    scene.refuses("fit data/iris.csv --target species --context 8", 2, &["--context is for text"]);
    scene.refuses("fit data/iris.csv --target species --metric bits_per_character", 2, &["is for text"]);
}

#[test]
fn damaged_models_of_text_are_refused() {
    let scene = scene(60);
    scene.ok(&format!("{} --out run -q --no-report", FIT.replace("--epochs 3", "--epochs 1")));
    let whole = scene.read("run/model.safetensors");
    let length = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(whole[8..8 + length].to_vec()).unwrap();
    for (from, to) in [
        ("\\\"vocabulary\\\":", "\\\"vocabulary\\\":1"),
        ("\\\"context\\\":16", "\\\"context\\\":99999999"),
        ("\\\"context\\\":16", "\\\"context\\\":0"),
        ("\\\"a\\\",\\\"b\\\"", "\\\"b\\\",\\\"a\\\""),
        ("\\\"softmax\\\"", "\\\"logistic\\\""),
        ("\\\"character\\\"", "\\\"word\\\""),
    ] {
        let altered = header.replacen(from, to, 1);
        assert_ne!(altered, header, "{from} in {header}");
        let mut bytes = (altered.len() as u64).to_le_bytes().to_vec();
        bytes.extend(altered.bytes());
        bytes.extend(&whole[8 + length..]);
        scene.write("m.safetensors", bytes);
        scene.refuses("generate m.safetensors", 1, &["m.safetensors"]);
        scene.refuses("evaluate m.safetensors book.txt", 1, &["m.safetensors"]);
    }
}
