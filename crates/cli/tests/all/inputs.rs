//! What is no table of text: folders of images, NumPy's arrays and archives; and what is wrong with them.

use std::fs;

use serde_json::{Value, json};

use crate::common::{Numbers, Scene, csv, recorded, unhex};

const MODEL: &str = "'conv(8, kernel=3, padding=same) relu pool(2) flatten dense(16) relu'";

/// The grey levels of an image of `side` × `side`: a bright row or column, over noise.
fn stripe(x: &mut Numbers, class: usize, side: usize) -> Vec<u8> {
    let at = x.below(side);
    let bright = |i: usize| if [i / side, i % side][class] == at { 120.0 } else { 0.0 };
    (0..side * side).map(|i| (bright(i) + 100.0 * x.share()) as u8).collect()
}

/// A PNG of grey levels, or in colour, where red is darker.
fn png(pixels: &[u8], side: usize, colour: bool) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side as u32, side as u32);
    encoder.set_color(if colour { png::ColorType::Rgb } else { png::ColorType::Grayscale });
    let data: Vec<u8> = match colour {
        true => pixels.iter().flat_map(|&p| [p / 2, p, p]).collect(),
        false => pixels.into(),
    };
    encoder.write_header().unwrap().write_image_data(&data).unwrap();
    file
}

/// A folder of `count` images in each of two classes.
fn folder(scene: &Scene, name: &str, count: usize, side: usize, colour: bool, seed: u64) {
    let mut x = Numbers::new(seed);
    for (class, folder) in ["across", "down"].iter().enumerate() {
        let path = scene.path(name).join(folder);
        fs::create_dir_all(&path).unwrap();
        for i in 0..count {
            fs::write(path.join(format!("{i:03}.png")), png(&stripe(&mut x, class, side), side, colour))
                .unwrap();
        }
    }
}

/// A `.npy` file of numbers of one type.
fn npy(descr: &str, shape: &str, bytes: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    file.extend(bytes);
    file
}

#[test]
fn a_folder_whose_folders_are_classes() {
    let scene = Scene::new();
    folder(&scene, "pets", 150, 6, false, 1);
    fs::write(scene.path("pets/read.me"), "stripes").unwrap();
    let line = format!("fit pets/ --model {MODEL} --epochs 25 --no-report");
    let done = scene.ok(&format!("{line} --out run --json"));
    let run: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&run["target"], &run["classes"]), (&json!("class"), &json!(["across", "down"])));
    assert_eq!(run["rows"], json!({"train": 216, "valid": 24, "test": 60}));
    assert!(run["score"].as_f64().unwrap() > 0.9, "{}", run["score"]);
    let says = "300 images of 6 × 6 pixels, 1 channel; 2 classes (across, down)";
    assert!(done.err.contains(says), "{}", done.err);
    assert!(done.err.contains("1 file not .png"), "{}", done.err);
    // What was resolved repeats the run, to the byte.
    scene.ok("fit --config run/config.toml --out again --no-report -q");
    assert!(scene.read("run/model.safetensors") == scene.read("again/model.safetensors"));

    folder(&scene, "new", 40, 6, false, 2);
    let scored = scene.json("evaluate run new --json");
    assert_eq!(scored["rows"], 80);
    let predicted = scene.ok("predict run new").out;
    let lines: Vec<&str> = predicted.lines().collect();
    assert_eq!((lines[0], lines.len()), ("file,prediction", 81));
    let right = |line: &&&str| {
        let (file, class) = line.split_once(',').unwrap();
        file.starts_with(&format!("{class}/"))
    };
    let right = lines[1..].iter().filter(right).count();
    assert_eq!(right as f64 / 80.0, scored["score"].as_f64().unwrap());
    assert!(right > 70 && lines[1].starts_with("across/000.png,"), "{right} {}", lines[1]);
    // Images that nobody has sorted are predicted all the same, but not scored.
    fs::create_dir(scene.path("flat")).unwrap();
    fs::copy(scene.path("new/down/007.png"), scene.path("flat/a,b.png")).unwrap();
    let predicted = scene.ok("predict run flat --proba").out;
    assert!(predicted.starts_with("file,proba_across,proba_down\n\"a,b.png\",0"), "{predicted}");
    scene.refuses("evaluate run flat", 1, &["flat has no labels"]);
    let fit = "fit flat --model mlp(4) --out other";
    scene.refuses(fit, 1, &["flat has no labels", "sort the images into folders"]);
}

#[test]
fn images_of_other_sizes_and_colours() {
    let scene = Scene::new();
    folder(&scene, "pets", 40, 6, false, 3);
    let odd = stripe(&mut Numbers::new(9), 1, 8);
    scene.write("pets/down/007.png", png(&odd, 8, true));
    let line = format!("fit pets --model {MODEL} --epochs 2 --no-report");
    let says = [
        "down/007.png is 8 × 8 pixels",
        "across/000.png is 6 × 6",
        "say --resize 6x6 to bring all to one size",
    ];
    scene.refuses(&format!("{line} --out run"), 1, &says);
    scene.refuses("data pets", 1, &says);
    // One has colour: all have.
    let described = scene.json("data pets --resize 12x10 --json");
    assert_eq!(
        (&described["width"], &described["height"], &described["channels"]),
        (&json!(12), &json!(10), &json!(3))
    );
    let grey = scene.ok("data pets --resize 6x6 --grey").out;
    assert!(grey.starts_with("pets: 80 images of 6 × 6 pixels, 1 channel\n"), "{grey}");
    assert!(grey.contains("across      40") && grey.contains("down        40"), "{grey}");
    scene.ok(&format!("{line} --resize 6 --grey --out run -q"));
    assert!(scene.ok("inspect run").out.contains("1 × 6 × 6"));
    assert!(scene.text("run/config.toml").contains("resize = \"6\"\ngrey = true"));
    // The model reads images as it was trained to: any size, in grey.
    folder(&scene, "large", 3, 9, true, 4);
    assert_eq!(scene.json("evaluate run large --json")["rows"], 6);
    assert_eq!(scene.ok("predict run large").out.lines().count(), 7);
    for flag in ["--resize 9x9", "--grey"] {
        let says = ["is the model's: it reads images as it was trained to"];
        scene.refuses(&format!("evaluate run large {flag}"), 2, &says);
        scene.refuses(&format!("predict run large {flag}"), 2, &says);
    }
    // Trained on one size, it takes no other.
    scene.ok(&format!("{} --out strict -q", line.replace("pets", "large")));
    let says = ["pets has images", "the model was trained on 3 × 9 × 9"];
    fs::remove_file(scene.path("pets/down/007.png")).unwrap();
    scene.refuses("predict strict pets", 1, &says);
}

/// The same numbers as a table and as arrays give the same model.
#[test]
fn numbers_of_numpy_are_a_table() {
    let scene = Scene::new();
    let table = &recorded()["table"];
    for (name, key) in [("x.npy", "x"), ("y.npy", "y"), ("a.npz", "archive"), ("pair.npz", "pair")] {
        scene.write(name, unhex(&table[key]));
    }
    // Both are f8 behind a header of 128 bytes.
    let numbers = |name: &str| -> Vec<String> {
        let bytes = scene.read(name);
        let (kind, body) = (String::from_utf8_lossy(&bytes[..128]).into_owned(), &bytes[128..]);
        let words = body.as_chunks::<8>().0.iter();
        match kind.contains("<f8") {
            true => words.map(|w| f64::from_le_bytes(*w).to_string()).collect(),
            false => words.map(|w| i64::from_le_bytes(*w).to_string()).collect(),
        }
    };
    let (x, y) = (numbers("x.npy"), numbers("y.npy"));
    let rows = x.chunks(5).zip(&y).map(|(x, y)| [x, std::slice::from_ref(y)].concat());
    scene.write("t.csv", csv("column1,column2,column3,column4,column5,target", rows));
    for (nth, more) in ["--epochs 40", "--model mlp(4) --epochs 3 --valid 0.2", "--task number --epochs 40"]
        .iter()
        .enumerate()
    {
        let sha = |name: &str, data: &str| {
            let line = format!("fit {data} {more} --out {name}{nth} --no-report --json -q");
            scene.json(&line)["sha256"].clone()
        };
        let wanted = sha("table", "t.csv --target target");
        assert_eq!(sha("arrays", "x.npy --target y.npy"), wanted, "{more}");
        assert_eq!(sha("beside", "x.npy"), wanted, "{more}");
        assert_eq!(sha("archive", "a.npz/x --target y"), wanted, "{more}");
        assert_eq!(sha("named", "a.npz/x --target a.npz/y"), wanted, "{more}");
        assert_eq!(sha("repeated", &format!("--config beside{nth}/config.toml")), wanted, "{more}");
    }
    assert!(scene.ok("fit x.npy --out said --no-report").err.contains("target from y.npy"));
    // X and Y belong together by their names; these are f4 and u1.
    scene.ok("fit pair.npz --out pair --no-report -q --epochs 2");
    let scored = scene.json("evaluate pair pair.npz --json");
    assert_eq!((&scored["rows"], &scored["target"]), (&json!(24), &json!("target")));
    assert_eq!(scene.json("evaluate pair x.npy --target y.npy --json")["rows"], 24);
    assert_eq!(scene.ok("predict pair a.npz/test_x").out.lines().count(), 9);
    let tested = scene.json("fit a.npz/x --target y --test a.npz/test_x --out tested --json -q --no-report");
    assert_eq!(tested["rows"]["test"], 8);
    let described = scene.ok("data a.npz/x").out;
    assert!(described.contains("24 rows, 6 columns") && described.contains("column5"), "{described}");
    let says = ["a.npz has the arrays x, y, test_x, test_y; name one, as in a.npz/x"];
    scene.refuses("fit a.npz --target y --out no", 1, &says);
    scene.refuses("predict pair a.npz", 1, &says);
    scene.refuses("fit a.npz/z --target y --out no", 1, &["a.npz has no array \"z\"; arrays: x, y"]);
}

#[test]
fn every_order_of_numbers_is_read() {
    let scene = Scene::new();
    let typed = &recorded()["typed"];
    for name in ["c", "fortran", "big", "boolean", "objects", "texts"] {
        scene.write(&format!("{name}.npy"), unhex(&typed[name]));
    }
    let fit = |data: &str| {
        let line = format!("fit {data}.npy --target boolean.npy --test none --epochs 20 --out {data}");
        scene.ok(&format!("{line} --no-report -q"));
        scene.parameters(data)
    };
    let c = fit("c");
    assert_eq!(fit("fortran"), c);
    assert_eq!(fit("big"), c);
    assert_eq!(scene.json("inspect c --json")["classes"], json!(["0", "1"]));
    for name in ["objects", "texts"] {
        let place = format!("{name}.npy: byte ");
        let says = [place.as_str(), "expected a type of number"];
        scene.refuses(&format!("fit {name}.npy --target boolean.npy --out no"), 1, &says);
        scene.refuses(&format!("fit c.npy --target {name}.npy --out no"), 1, &says);
        scene.refuses(&format!("data {name}.npy"), 1, &says);
    }
}

/// Images in arrays are those of IDX files, channels second or last.
#[test]
fn images_of_numpy_are_those_of_idx() {
    let scene = Scene::new();
    let image = &recorded()["image"];
    let (images, labels) = (unhex(&image["images"]), unhex(&image["labels"]));
    scene.write("train-images-idx3-ubyte", &images);
    scene.write("train-labels-idx1-ubyte", &labels);
    scene.write("images.npy", npy("|u1", "(24, 6, 6)", images[16..].to_vec()));
    scene.write("labels.npy", npy("|u1", "(24,)", labels[8..].to_vec()));
    scene.write("second.npy", npy("|u1", "(24, 1, 6, 6)", images[16..].to_vec()));
    scene.write("last.npy", npy("|u1", "(24, 6, 6, 1)", images[16..].to_vec()));
    let sha = |name: &str, data: &str| {
        let line = format!("fit {data} --model 'conv(4) relu flatten' --epochs 2 --out {name} --no-report");
        scene.json(&format!("{line} --json -q"))["sha256"].clone()
    };
    let wanted = sha("idx", "train-images-idx3-ubyte");
    assert_eq!(sha("named", "train-images-idx3-ubyte --target train-labels-idx1-ubyte"), wanted);
    assert_eq!(sha("numpy", "images.npy"), wanted);
    assert_eq!(sha("second", "second.npy --target labels.npy"), wanted);
    assert_eq!(sha("last", "last.npy --target labels.npy"), wanted);
    // A comparison trains on them as a single run does.
    let line = "images.npy --model 'conv(4) relu flatten' --epochs 2 --json -q --no-report";
    let rows = scene.json(&format!("compare {line} --optimizers 'sgd(lr=0.1), adamw(lr=0.001)'"));
    assert_eq!((&rows[1]["sha256"], &rows[0]["batch"]), (&wanted, &json!("full")));
    let scored = scene.json("evaluate idx images.npy --json");
    assert_eq!(scene.json("evaluate idx last.npy --target labels.npy --json")["score"], scored["score"]);
    assert_eq!(scored["rows"], 24);
    // Either axis could be the channels, but not for a model.
    scene.write("either.npy", npy("|u1", "(8, 3, 12, 3)", images[16..].to_vec()));
    scene.write("eight.npy", npy("|u1", "(8,)", labels[8..16].to_vec()));
    let fit =
        "fit either.npy --target eight.npy --model mlp(2) --epochs 1 --test none --valid none --no-report";
    scene.refuses(&format!("{fit} --out no"), 1, &["say --channels first or --channels last"]);
    scene.ok(&format!("{fit} --channels last --out three -q"));
    assert!(scene.ok("inspect three").out.contains("3 × 3 × 12"));
    assert_eq!(scene.ok("predict three either.npy").out.lines().count(), 9);
    assert_eq!(scene.json("data images.npy --json")["classes"].as_array().unwrap().len(), 3);
    assert_eq!(scene.json("data either.npy --channels first --json")["channels"], 3);
}

#[test]
fn what_is_wrong_with_arrays() {
    let scene = Scene::new();
    let doubles = |x: &[f64]| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let x: Vec<f64> = (0..40).map(|i| f64::from(i) / 3.0).collect();
    let whole = npy("<f8", "(20, 2)", doubles(&x));
    scene.write("x.npy", &whole);
    scene.write("y.npy", npy("<f8", "(20,)", doubles(&x[..20])));
    scene.write("few.npy", npy("<f8", "(19,)", doubles(&x[..19])));
    scene.write("wide.npy", npy("<f8", "(20, 2)", doubles(&x)));
    let refuses = |line: &str, status: i32, says: &[&str]| {
        scene.refuses(&format!("{line} --out no"), status, says);
    };
    refuses("fit x.npy --target few.npy", 1, &["few.npy has targets of shape [19]; expected [20]", "x.npy"]);
    refuses("fit x.npy --target wide.npy", 1, &["wide.npy has targets of shape [20, 2]; expected [20]"]);
    refuses("fit x.npy --target absent.npy", 1, &["cannot read absent.npy"]);
    refuses(
        "fit wide.npy",
        2,
        &["wide.npy holds an array; name the file of its classes or numbers", "--target FILE"],
    );
    scene.write("y.csv", "y\n1\n2\n");
    let says = ["y.csv: byte 0: expected an IDX file", "or a NumPy file", "found 79 0a 31 0a"];
    refuses("fit x.npy --target y.csv", 1, &says);
    for cut in [0, 3, 7, 40, 79, whole.len() - 1] {
        scene.write("cut.npy", &whole[..cut]);
        refuses("fit cut.npy --target y.npy", 1, &["cut.npy: byte ", "expected"]);
    }
    scene.write("long.npy", [&whole[..], b"x"].concat());
    refuses("fit long.npy --target y.npy", 1, &["expected the end of the file, found more bytes"]);
    scene.write("none.npy", npy("<f8", "(0, 2)", []));
    refuses("fit none.npy --target y.npy", 1, &["expected rows of numbers, of shape [n, d]", "found [0, 2]"]);
    scene.write("deep.npy", npy("<f8", "(5, 2, 2, 1, 2)", doubles(&x)));
    refuses("fit deep.npy --target y.npy --model mlp(2)", 1, &["found [5, 2, 2, 1, 2]"]);
    let mut inf = x.clone();
    inf[7] = f64::INFINITY;
    scene.write("inf.npy", npy("<f8", "(20, 2)", doubles(&inf)));
    refuses("fit inf.npy --target y.npy --test none", 1, &["inf.npy:4: column \"column2\"", "inf"]);
    // NaN is a missing number, as in a table.
    inf[7] = f64::NAN;
    scene.write("nan.npy", npy("<f8", "(20, 2)", doubles(&inf)));
    let done = scene.ok("fit nan.npy --target y.npy --out nan --no-report --test none");
    assert!(done.err.contains("column \"column2\": missing in 1 training row;"), "{}", done.err);
    scene.write("bad.npz", "PK\u{3}\u{4} but no archive");
    refuses("fit bad.npz --target y", 1, &["bad.npz is not an archive of arrays"]);
    // Images of one class, of labels that are no classes, of pixels that are no numbers.
    scene.write("pictures.npy", npy("<f8", "(10, 2, 2)", doubles(&x)));
    scene.write("one.npy", npy("|u1", "(10,)", [3; 10]));
    let fit = "fit pictures.npy --model mlp(2) --target";
    refuses(&format!("{fit} one.npy"), 1, &["\"3\" in every row; two classes are needed"]);
    scene.write("half.npy", npy("<f8", "(10,)", doubles(&x[1..11])));
    refuses(
        &format!("{fit} half.npy"),
        1,
        &["half.npy: label 0 (from 0): expected a whole number, found 0.33"],
    );
    refuses(&format!("{fit} y.npy"), 1, &["y.npy has labels of shape [20]; expected [10]"]);
    inf[7] = f64::INFINITY;
    scene.write("bright.npy", npy("<f8", "(10, 2, 2)", doubles(&inf)));
    scene.write("ten.npy", npy("|u1", "(10,)", [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]));
    refuses(
        "fit bright.npy --model mlp(2) --target ten.npy",
        1,
        &["bright.npy: image 1 (from 0) has a pixel inf; every pixel must be finite"],
    );
    // A model of one kind of rows takes no other.
    scene.ok("fit x.npy --target y.npy --out numbers --no-report -q --epochs 2");
    scene.ok(&format!("{fit} ten.npy --out images --no-report -q --epochs 1"));
    scene.refuses(
        "predict numbers pictures.npy",
        1,
        &["pictures.npy holds images, and the model was trained on a table"],
    );
    scene.refuses("predict images x.npy", 1, &["x.npy is a table, and the model was trained on images"]);
    scene.refuses("evaluate images data/iris.csv", 1, &["data/iris.csv is a table"]);
    let said = "--target is for arrays: a table has its target in a column";
    scene.refuses("evaluate numbers data/iris.csv --target y.npy", 2, &[said]);
    let says = ["pictures.npy holds images, and x.npy is a table"];
    refuses("fit x.npy --target y.npy --test pictures.npy", 2, &["holds an array; name the file"]);
    fs::copy(scene.path("pictures.npy"), scene.path("images.npy")).unwrap();
    fs::copy(scene.path("ten.npy"), scene.path("labels.npy")).unwrap();
    refuses("fit x.npy --target y.npy --test images.npy", 2, &[&says[0].replace("pictures", "images")]);
}

#[test]
fn what_is_wrong_with_folders() {
    let scene = Scene::new();
    let refuses = |line: &str, status: i32, says: &[&str]| {
        scene.refuses(&format!("fit {line} --model mlp(2) --out no"), status, says);
    };
    fs::create_dir(scene.path("empty")).unwrap();
    refuses("empty", 1, &["empty has no images; expected .png, .jpg or .jpeg files"]);
    scene.refuses("data empty", 1, &["empty has no images"]);
    folder(&scene, "pets", 10, 4, false, 5);
    scene.refuses("fit pets --out no", 2, &["pets holds images, which need a network; say --model"]);
    fs::create_dir_all(scene.path("one/across")).unwrap();
    fs::copy(scene.path("pets/across/000.png"), scene.path("one/across/000.png")).unwrap();
    refuses("one", 1, &["one: target \"class\" is \"across\" in every row; two classes are needed"]);
    fs::create_dir(scene.path("one/down")).unwrap();
    refuses("one", 1, &["one/down has no images"]);
    let whole = scene.read("pets/down/003.png");
    for (file, says) in [
        (&b"GIF89a"[..], "found a file that begins with 47 49 46 38"),
        (b"", "found a file that begins with nothing"),
        (&whole[..whole.len() / 2], "not a PNG image that can be read"),
        (b"\x89PNG\r\n\x1a\nrubbish", "not a PNG image that can be read"),
        (b"\xff\xd8\xff\xe0rubbish", "not a JPEG image that can be read"),
    ] {
        scene.write("pets/down/003.png", file);
        refuses("pets", 1, &["pets/down/003.png", says]);
        scene.refuses("data pets", 1, &["pets/down/003.png", says]);
    }
    scene.write("pets/down/003.png", whole);
    refuses("pets --resize 0x4", 2, &["--resize takes a width and a height as in 32x24, got \"0x4\""]);
    refuses("pets --resize big", 2, &["--resize takes a width and a height"]);
    refuses("pets --resize 99999x99999", 1, &["images cannot be resized to 99999 × 99999 pixels"]);
    refuses("pets --target y.npy", 2, &["--target is not needed: the folders in pets are the classes"]);
    refuses("pets --split ordered", 2, &["--split ordered would test the last classes alone"]);
    refuses("pets --loss squared", 2, &["the loss squared is for numbers, and images have classes"]);
    refuses("pets --weight w", 2, &["--weight is for tables"]);
    refuses("pets --test data/iris.csv", 2, &["data/iris.csv is a table, and pets holds images"]);
}

/// Flags that say something about data of another kind are refused, not passed over.
#[test]
fn flags_of_other_kinds_of_data() {
    let scene = Scene::new();
    folder(&scene, "pets", 10, 4, false, 6);
    let image = &recorded()["image"];
    scene.write("train-images-idx3-ubyte", unhex(&image["images"]));
    scene.write("train-labels-idx1-ubyte", unhex(&image["labels"]));
    scene.write("x.npy", unhex(&recorded()["table"]["x"]));
    scene.write("y.npy", unhex(&recorded()["table"]["y"]));
    let fit = "--model mlp(2) --epochs 1 --no-report -q";
    scene.ok(&format!("fit pets {fit} --out folder"));
    scene.ok(&format!("fit train-images-idx3-ubyte {fit} --out idx"));
    scene.ok(&format!("fit x.npy {fit} --out array"));
    for (run, data) in [("folder", "pets"), ("idx", "train-images-idx3-ubyte"), ("array", "x.npy")] {
        for flag in ["--delimiter ;", "--header no", "--missing 0"] {
            let says = [flag.split(' ').next().unwrap(), " is for CSV files, and ", data];
            for line in [
                format!("fit {data} {fit} --out no"),
                format!("compare {data} --model mlp(2)"),
                format!("evaluate {run} {data}"),
                format!("predict {run} {data}"),
                format!("data {data}"),
            ] {
                scene.refuses(&format!("{line} '{}'", flag.replace(' ', "' '")), 2, &says);
            }
        }
    }
    let iris = "fit data/iris.csv --target species --out no";
    for flag in ["--resize 4x4", "--grey"] {
        let says = [" is for folders of images, and data/iris.csv is a table"];
        scene.refuses(&format!("{iris} {flag}"), 2, &says);
        scene.refuses(
            &format!("data train-images-idx3-ubyte {flag}"),
            2,
            &["train-images-idx3-ubyte holds an array"],
        );
    }
    scene.refuses(&format!("{iris} --channels last"), 2, &["--channels is for arrays of images"]);
    scene.refuses("data x.npy --channels last", 2, &["--channels is for arrays of images", "[24, 5]"]);
    scene.refuses("data pets --channels last", 2, &["pets is a folder of images"]);
    scene.refuses("data x.npy --channels middle", 2, &["--channels takes first or last, got \"middle\""]);
}

/// What gives the score is in no other part.
#[test]
fn no_rows_are_in_two_parts() {
    let scene = Scene::new();
    folder(&scene, "pets", 10, 4, false, 7);
    let image = &recorded()["image"];
    scene.write("train-images-idx3-ubyte", unhex(&image["images"]));
    scene.write("train-labels-idx1-ubyte", unhex(&image["labels"]));
    scene.write("a.npz", unhex(&recorded()["table"]["archive"]));
    std::os::unix::fs::symlink(scene.path("pets"), scene.path("others")).unwrap();
    for (line, says) in [
        ("pets --test pets", "DATA and --test are one folder, pets"),
        ("pets --valid others", "DATA and --valid are one folder, others"),
        ("pets --test ./pets/../pets/down", "one lies in the other"),
        ("pets/down --valid pets", "one lies in the other"),
        (
            "train-images-idx3-ubyte --test ./train-images-idx3-ubyte",
            "DATA and --test are one file, ./train-images-idx3-ubyte",
        ),
        ("train-images-idx3-ubyte --valid train-images-idx3-ubyte", "DATA and --valid are one file"),
        ("a.npz/x --target y --test a.npz/x", "DATA and --test are one file, a.npz/x"),
        ("a.npz/x --target y --valid a.npz/test_x --test ./a.npz/test_x", "--valid and --test are one file"),
    ] {
        let says = [says, "its rows cannot be both"];
        scene.refuses(&format!("fit {line} --model mlp(2) --out no"), 2, &says);
    }
}

/// Pixels stay bytes: 20,000 images of 28 × 28 are 16 MB, which as `f32` would be 63 and as `f64` 125.
#[test]
fn images_take_the_memory_of_their_bytes() {
    let scene = Scene::new();
    let (count, mut x) = (20_000u32, Numbers::new(8));
    let mut images = vec![0, 0, 8, 3];
    [count, 28, 28].iter().for_each(|n| images.extend(n.to_be_bytes()));
    let mut labels = [vec![0, 0, 8, 1], count.to_be_bytes().to_vec()].concat();
    for _ in 0..count {
        let class = x.below(4) as u8;
        labels.push(class);
        images.resize(images.len() + 784, class * 50);
    }
    scene.write("train-images-idx3-ubyte", images);
    scene.write("train-labels-idx1-ubyte", labels);
    // One arena: others are reserved whether or not they are used. The command itself takes some 15 MB.
    let limited = |line: &str| {
        let done =
            scene.shell(&format!("export MALLOC_ARENA_MAX=1; ulimit -v {}; \"$THALWEG\" {line}", 100 << 10));
        assert_eq!(done.status, 0, "{line}\n{}", done.err);
    };
    let images = "train-images-idx3-ubyte";
    limited(&format!(
        "fit {images} --model 'mlp(2)' --epochs 1 --batch 256 --threads 1 --out run -q --no-report"
    ));
    limited(&format!("evaluate run {images}"));
    limited(&format!("predict run {images} --out predicted.csv"));
}
