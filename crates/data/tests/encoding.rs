//! What an encoder learns, from which rows, and what it makes of others.

use proptest::prelude::*;
use thalweg_data::{
    Cells, ClassWeight, Code, ColumnType, Dataset, DatePart, Encoder, EncoderOptions, FeatureKind, Note,
    ReadOptions, Reason, Split, SplitOptions, Table, Target, Task, TaskKind, read_bytes, summary, weights,
};

const UNSEEN: u32 = u32::MAX;

fn table(text: &str) -> Table {
    read_bytes("t.csv", text.as_bytes(), &ReadOptions::default()).unwrap()
}

fn rows(header: &str, n: usize, row: impl Fn(usize) -> String) -> Table {
    let rows: String = (0..n).map(|i| row(i) + "\n").collect();
    table(&format!("{header}\n{rows}"))
}

fn learn(table: &Table) -> (Encoder, Vec<Note>) {
    Encoder::learn(table, &table.all_rows(), None, &EncoderOptions::default()).unwrap()
}

fn encode(encoder: &Encoder, table: &Table) -> Dataset<f64> {
    encoder.encode(table, &table.all_rows(), false).unwrap()
}

fn names(encoder: &Encoder) -> Vec<String> {
    encoder.features().into_iter().map(|f| f.name).collect()
}

#[test]
fn numbers_are_standardised_and_missing_ones_marked() {
    let t = table("x,y\n1.5,10\n2.5,20\n,30\n3.5,40.5\n");
    let (encoder, notes) = learn(&t);
    assert_eq!(names(&encoder), ["x", "x (missing)", "y"]);
    let std = (2.0f64 / 3.0).sqrt();
    let Code::Number { center, scale, varies: true, missing: true } = encoder.columns[0].code else {
        panic!()
    };
    assert_eq!((center, scale), (2.5, std));
    assert_eq!(notes, [Note::Missing { column: "x".into(), rows: 1, level: false }]);
    let d = encode(&encoder, &t);
    let column = |j: usize| d.dense.iter().skip(j).step_by(d.width).copied().collect::<Vec<_>>();
    assert_eq!(column(0), [-1.0 / std, 0.0, 0.0, 1.0 / std]);
    assert_eq!(column(1), [0.0, 0.0, 1.0, 0.0]);
    // Missing where training had none: the mean, and no mark.
    let late = table("y,x\nNA,1\n10,\n");
    let d = encode(&encoder, &late);
    assert_eq!((d.dense[2], d.dense[4]), (0.0, 1.0));
    // A constant with gaps: the gaps are what it says.
    let (encoder, _) = learn(&table("x\n7\n\n7\nNA\n7\n"));
    assert_eq!(names(&encoder), ["x (missing)"]);
    // f32 is the f64 result, rounded once.
    let (encoder, _) = learn(&t);
    let (a, b) = (encode(&encoder, &t), encoder.encode::<f32>(&t, &t.all_rows(), false).unwrap());
    assert!(a.dense.iter().zip(&b.dense).all(|(a, b)| *a as f32 == *b));
}

#[test]
fn levels_are_coded_pooled_and_unseen() {
    let kind = |i: usize| {
        ["red", "blue", "red", "", "rare", "green"][if i == 7 { 4 } else { [0, 1, 2, 3, 5][i % 5] }]
    };
    let t = rows("x,kind,plain", 60, |i| format!("{i}.5,{},{}", kind(i), ["a", "b"][i % 2]));
    let (encoder, notes) = learn(&t);
    assert_eq!(
        names(&encoder),
        ["x", "kind=blue", "kind=green", "kind=red", "kind (other)", "kind (missing)", "plain=a", "plain=b"]
    );
    assert_eq!((encoder.width(), encoder.code_width(), encoder.levels()), (1, 2, 7));
    assert!(notes.contains(&Note::Pooled { column: "kind".into(), levels: 1, rows: 1 }));
    let d = encode(&encoder, &t);
    assert_eq!(&d.codes[..12], [2, 5, 0, 6, 2, 5, 4, 6, 1, 5, 2, 6]);
    assert_eq!(d.codes[14], 3);
    // Unseen levels join the others, or nobody; columns in another order, and more of them.
    let new = table("extra,plain,kind,x\n1,c,violet,1\n2,,rare,2\n3,a,,3\n4,b,blue,4\n");
    assert_eq!(encode(&encoder, &new).codes, [3, UNSEEN, 3, UNSEEN, 4, 5, 0, 6]);
    assert_eq!(encoder.extra_columns(&new), Some(Note::Extra { columns: vec!["extra".into()] }));
    assert_eq!(encoder.extra_columns(&t), None);
    assert_eq!(
        encoder.extra_columns(&new).unwrap().to_string(),
        "not used, since the model does not know it: extra"
    );
}

#[test]
fn text_that_says_too_much_or_too_little_is_left_out() {
    let t = rows("x,name,few,same,none", 40, |i| format!("{i}.5,n{i},f{},s,", i / 4));
    let (encoder, notes) = learn(&t);
    assert_eq!(names(&encoder), ["x"]);
    let left = |column: &str, reason| Note::LeftOut { column: column.into(), reason };
    assert_eq!(
        notes,
        [
            left("name", Reason::Distinct),
            left("few", Reason::Rare),
            left("same", Reason::Constant),
            left("none", Reason::Empty)
        ]
    );
    assert_eq!(
        notes[0].to_string(),
        "column \"name\" is left out: it is text, and more than half of its values differ (--keep \"name\" to use it)"
    );
    let keep = EncoderOptions { keep: vec!["name".into(), "few".into()], ..EncoderOptions::default() };
    let (encoder, _) = Encoder::learn(&t, &t.all_rows(), None, &keep).unwrap();
    assert_eq!(encoder.levels(), 40 + 10);
    // Whole numbers as categories: their texts, if the reader keeps them.
    let text = format!("zip,x\n{}", (0..60).map(|i| format!("0{},{i}.5\n", 100 + i % 6)).collect::<String>());
    let types =
        EncoderOptions { types: [("zip".into(), ColumnType::Category)].into(), ..EncoderOptions::default() };
    let t = table(&text);
    let (encoder, _) = Encoder::learn(&t, &t.all_rows(), None, &types).unwrap();
    assert_eq!(names(&encoder)[1], "zip=0100");
    assert_eq!(encoder.text_columns(), ["zip"]);
    // Read as numbers, they are found by their value.
    let as_numbers =
        table(&format!("zip,x\n{}", (0..30).map(|i| format!("{}.0,1\n", 90 + i)).collect::<String>()));
    assert!(matches!(as_numbers.columns()[0].cells, Cells::Numbers(_)));
    let codes = encode(&encoder, &as_numbers).codes;
    assert_eq!(&codes[8..18], [UNSEEN, UNSEEN, 0, 1, 2, 3, 4, 5, UNSEEN, UNSEEN]);
}

#[test]
fn dates_become_numbers() {
    let t =
        rows(
            "when",
            40,
            |i| if i == 5 { "NA".into() } else { format!("2024-0{}-0{}", 1 + i % 3, 1 + i % 5) },
        );
    let (encoder, _) = learn(&t);
    assert_eq!(names(&encoder), ["when.month", "when.weekday", "when.days", "when (missing)"]);
    let Code::Date { first, .. } = &encoder.columns[0].code else { panic!() };
    assert_eq!(first, "2024-01-01T00:00:00");
    let d = encode(&encoder, &table("when\n2025-02-03\nNA\n"));
    let f = encoder.features();
    let original: Vec<f64> = (0..3).map(|j| d.dense[j] * f[j].scale + f[j].center).collect();
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(near(original[0], 2.0) && near(original[1], 1.0) && near(original[2], 399.0), "{original:?}");
    assert_eq!(&d.dense[3..], [0.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(f[0].kind, FeatureKind::Date(DatePart::Month));
}

#[test]
fn what_rows_outside_training_hold_changes_nothing() {
    let text = |leak: bool| {
        (0..80).fold(String::from("x,kind,when,y\n"), |text, i| {
            let row = match i % 4 == 3 && leak {
                true => format!("{},new{},1999-01-01,{}\n", 1e300, i, i % 2),
                false => format!(
                    "{}.25,{},2024-01-{:02},{}\n",
                    (i * 37) % 41,
                    ["a", "b"][i / 2 % 2],
                    1 + i % 28,
                    i % 2
                ),
            };
            text + &row
        })
    };
    let train: Vec<u32> = (0..80).filter(|i| i % 4 != 3).collect();
    let learn = |text: &str| {
        let t = table(text);
        let target = Target::infer(&t, "y", None, None).unwrap();
        let (encoder, notes) = Encoder::learn(&t, &train, Some(&target), &EncoderOptions::default()).unwrap();
        (serde_json::to_string(&encoder).unwrap(), notes, encoder.encode::<f64>(&t, &train, true).unwrap())
    };
    assert_eq!(learn(&text(false)), learn(&text(true)));
    // A numeric target as well: its mean is the training rows'.
    let text = |test: &str| {
        format!("x,y\n{}99.5,{test}\n", (0..30).map(|i| format!("{i}.5,{i}.25\n")).collect::<String>())
    };
    let center = |text: &str| {
        let t = table(text);
        let target = Target::infer(&t, "y", None, None).unwrap();
        let rows: Vec<u32> = (0..30).collect();
        Encoder::learn(&t, &rows, Some(&target), &EncoderOptions::default()).unwrap().0.target
    };
    assert_eq!(center(&text("7.5")), center(&text("1e300")));
}

#[test]
fn a_weight_is_a_number_of_rows() {
    let row = |i: usize| format!("{},{},{}", (i * i) % 17, ["a", "b", "c", ""][i % 4], (i * 7) % 13);
    let plain = |copies: fn(usize) -> usize| {
        let rows: String = (0..24).flat_map(|i| vec![row(i) + ",1\n"; copies(i)]).collect();
        format!("x,kind,y,w\n{rows}")
    };
    let weighted = |weight: fn(usize) -> usize| {
        let rows: String = (0..24).map(|i| format!("{},{}\n", row(i), weight(i))).collect();
        format!("x,kind,y,w\n{rows}")
    };
    let learn = |text: &str| {
        let t = table(text);
        let w = weights(&t, "w").unwrap();
        let target = Target::infer(&t, "y", Some(TaskKind::Number), Some(&w)).unwrap();
        let options = EncoderOptions { weight: Some("w".into()), ..EncoderOptions::default() };
        let (encoder, _) = Encoder::learn(&t, &target.rows, Some(&target), &options).unwrap();
        let data = encoder.encode::<f64>(&t, &target.rows, true).unwrap();
        (encoder, data)
    };
    // Weight 0: absent, bit for bit.
    fn zero(i: usize) -> usize {
        usize::from(!i.is_multiple_of(3))
    }
    assert_eq!(learn(&weighted(zero)).0, learn(&plain(zero)).0);
    assert_eq!(learn(&weighted(zero)).1.dense, learn(&plain(zero)).1.dense);
    assert!(learn(&weighted(zero)).1.weight.unwrap().iter().all(|&w| w == 1.0));
    // Weight 2: twice, to the rounding of sums of 48 terms.
    fn some(i: usize) -> usize {
        1 + i % 3
    }
    let close = |a: f64, b: f64| (a - b).abs() <= 48.0 * f64::EPSILON * a.abs().max(b.abs());
    let (a, b) = (learn(&weighted(some)).0, learn(&plain(some)).0);
    for (a, b) in a.columns.iter().zip(&b.columns) {
        match (&a.code, &b.code) {
            (Code::Number { center: a, scale: s, .. }, Code::Number { center: b, scale: t, .. }) => {
                assert!(close(*a, *b) && close(*s, *t), "{a} {b} {s} {t}");
            }
            (a, b) => assert_eq!(a, b),
        }
    }
    let (a, b) = (a.target.unwrap(), b.target.unwrap());
    assert!(close(a.center, b.center) && close(a.scale, b.scale));
    // Weights of which only the shares matter make no level rare.
    let shares =
        weighted(some).replace(",1\n", ",0.001\n").replace(",2\n", ",0.002\n").replace(",3\n", ",0.003\n");
    assert_eq!(learn(&shares).0.columns[1], learn(&weighted(some)).0.columns[1]);
}

#[test]
fn targets_and_classes() {
    let classes = |text: &str| {
        let t = table(text);
        let target = Target::infer(&t, "y", None, None).unwrap();
        match target.task.clone() {
            Task::Classes(labels) => (labels, target.classes, target.missing),
            Task::Number => (Vec::new(), Vec::new(), target.missing),
        }
    };
    let labels = |l: &[&str]| l.iter().map(|s| s.to_string()).collect::<Vec<_>>();
    assert_eq!(classes("x,y\n1,b\n2,a\n3,\n4,b\n"), (labels(&["a", "b"]), vec![1, 0, 1], 1));
    assert_eq!(classes("x,y\n1,10\n2,9\n3,10\n"), (labels(&["9", "10"]), vec![1, 0, 1], 0));
    assert_eq!(classes("x,y\n1,1.0\n2,0.0\n3,1\n4,-1\n"), (labels(&["-1", "0.0", "1"]), vec![2, 1, 2, 0], 0));
    assert_eq!(classes("x,y\n1,True\n2,False\n"), (labels(&["False", "True"]), vec![1, 0], 0));
    assert_eq!(classes("x,y\n1,007\n2,008\n"), (labels(&["007", "008"]), vec![0, 1], 0));
    assert_eq!(classes("x,y\n1,1.5\n2,2.5\n"), (vec![], vec![], 0));
    let whole = |n: usize| (0..60).fold("x,y\n".to_owned(), |t, i| t + &format!("1,{}\n", i % n));
    assert_eq!(classes(&whole(20)).0.len(), 20);
    assert_eq!(classes(&whole(21)).0.len(), 0);
    let zero =
        Target::infer(&table("x,y\n1,2\n2,3\n"), "y", None, Some(&[0.0, 0.0])).unwrap_err().to_string();
    assert_eq!(zero, "t.csv: every row with a target \"y\" has weight 0");
    // Either can be asked for.
    let t = table(&whole(21));
    let target = Target::infer(&t, "y", Some(TaskKind::Classes), None).unwrap();
    assert!(matches!(&target.task, Task::Classes(l) if l.len() == 21 && l[2] == "2" && l[20] == "20"));
    let target = Target::infer(&table(&whole(3)), "y", Some(TaskKind::Number), None).unwrap();
    assert_eq!(target.task, Task::Number);
    // A class is found by its text or its number.
    let t = table(&(0..40).fold("x,y\n".to_owned(), |t, i| t + &format!("{i}.5,{}\n", i % 2)));
    let target = Target::infer(&t, "y", None, None).unwrap();
    let (encoder, _) = Encoder::learn(&t, &target.rows, Some(&target), &EncoderOptions::default()).unwrap();
    let new = table("x,y\n1,1.0\n2,0\n3,\n");
    assert_eq!(encoder.rows_with_target(&new).unwrap(), (vec![0, 1], 1));
    assert_eq!(encoder.encode::<f64>(&new, &[0, 1], true).unwrap().target, [1.0, 0.0]);
    assert!(encoder.encode::<f64>(&new, &[0, 1, 2], false).unwrap().target.is_empty());
}

#[test]
fn numeric_targets_are_kept_and_can_be_standardised() {
    let t = rows("x,y", 30, |i| format!("{i}.5,{}.25", 3 * i));
    let target = Target::infer(&t, "y", None, None).unwrap();
    let (encoder, _) = Encoder::learn(&t, &target.rows, Some(&target), &EncoderOptions::default()).unwrap();
    let mut d = encoder.encode::<f64>(&t, &target.rows, true).unwrap();
    assert_eq!((d.target[0], d.target[2], d.batch().len()), (0.25, 6.25, 30));
    d.standardise_target(encoder.target.as_ref().unwrap());
    let mean = d.target.iter().sum::<f64>() / 30.0;
    let variance = d.target.iter().map(|y| y * y).sum::<f64>() / 30.0;
    assert!(mean.abs() < 1e-14 && (variance - 1.0).abs() < 1e-14);
}

#[test]
fn classes_can_weigh_the_same() {
    let t = rows("x,y", 40, |i| format!("{i}.5,{}", ["no", "yes"][usize::from(i % 4 == 0)]));
    let target = Target::infer(&t, "y", None, None).unwrap();
    let (encoder, _) = Encoder::learn(&t, &target.rows, Some(&target), &EncoderOptions::default()).unwrap();
    let Task::Classes(labels) = &target.task else { panic!() };
    let mut d = encoder.encode::<f64>(&t, &target.rows, true).unwrap();
    let factors = ClassWeight::Balanced.factors(labels, &d).unwrap();
    assert_eq!(factors, [40.0 / (2.0 * 30.0), 2.0]);
    d.weigh_classes(&factors);
    assert_eq!(&d.weight.as_ref().unwrap()[..2], [2.0, 40.0 / 60.0]);
    let given: ClassWeight = "yes=3, no=0.5".parse().unwrap();
    assert_eq!(given.to_string(), "yes=3, no=0.5");
    assert_eq!(given.factors(labels, &d).unwrap(), [0.5, 3.0]);
    let unknown: ClassWeight = "maybe=2".parse().unwrap();
    let error = unknown.factors(labels, &d).unwrap_err().to_string();
    assert_eq!(error, "there is no class \"maybe\" to give a weight to; classes: no, yes");
    assert!("yes".parse::<ClassWeight>().is_err() && "yes=-1".parse::<ClassWeight>().is_err());
}

#[test]
fn a_summary_says_what_columns_are() {
    let t = rows("x,kind,when,empty,mixed,y", 100, |i| {
        let mixed = if i == 60 { "oops".into() } else { format!("{i}.5") };
        format!("{i}.5,{},2024-01-{:02},,{mixed},{}", ["a", "b", "b", ""][i % 4], 1 + i % 28, i % 3)
    });
    let s = summary(&t);
    let json = serde_json::to_value(&s).unwrap();
    assert_eq!(json["rows"], 100);
    let c = &json["columns"];
    assert_eq!(
        (&c[0]["type"], &c[0]["min"], &c[0]["max"], &c[0]["distinct"]),
        (&"number".into(), &0.5.into(), &99.5.into(), &100.into())
    );
    assert_eq!((&c[1]["type"], &c[1]["missing"]), (&"category".into(), &25.into()));
    assert_eq!(c[1]["top"], serde_json::json!([["b", 50], ["a", 25]]));
    assert_eq!(
        (&c[2]["type"], &c[2]["first"], &c[2]["last"]),
        (&"date".into(), &"2024-01-01".into(), &"2024-01-28".into())
    );
    assert_eq!((&c[3]["type"], &c[3]["content"]), (&"ignore".into(), &"empty".into()));
    assert_eq!(c[4]["misfit"], serde_json::json!({"cells": 1, "line": 62, "found": "oops"}));
    assert_eq!((&c[5]["type"], &c[5]["distinct"]), (&"number".into(), &3.into()));
}

proptest! {
    /// Out and back: (x − center)/scale undone is x, to the rounding; JSON changes no bit; rows may come in any order.
    #[test]
    fn features_can_be_undone(
        cells in prop::collection::vec(prop::option::weighted(0.9, -1e6f64..1e6), 30..80),
        seed: u64,
    ) {
        let text = cells.iter().enumerate().fold("a,x\n".to_owned(), |t, (i, c)| {
            t + &format!("{},{}\n", i % 7, c.map(|x| x.to_string()).unwrap_or_default())
        });
        let t = table(&text);
        let split = Split::new(&t, &t.all_rows(), None, &SplitOptions { seed, ..SplitOptions::default() }).unwrap();
        let (encoder, _) = Encoder::learn(&t, &split.train, None, &EncoderOptions::default()).unwrap();
        let json = serde_json::to_string(&encoder).unwrap();
        let again: Encoder = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&again, &encoder);
        prop_assert_eq!(serde_json::to_string(&again).unwrap(), json);
        let mut order = split.test.clone();
        order.reverse();
        let d: Dataset<f64> = encoder.encode(&t, &order, false).unwrap();
        let features = encoder.features();
        let j = features.iter().position(|f| f.name == "x").unwrap();
        for (i, &row) in order.iter().enumerate() {
            let back = d.dense[i * d.width + j] * features[j].scale + features[j].center;
            let expected = cells[row as usize].unwrap_or(features[j].center);
            // Three roundings of numbers below 2·10⁶.
            prop_assert!((back - expected).abs() <= 4.0 * 2e6 * f64::EPSILON, "{} {}", back, expected);
        }
    }
}
