//! Tables whose columns are not what is asked of them.

use thalweg_data::{
    ColumnType, Encoder, EncoderOptions, ReadOptions, Split, SplitBy, SplitOptions, Table, Target, TaskKind,
    read_bytes,
};

use crate::{message, read};

/// A header and `n` rows.
fn rows(header: &str, n: usize, row: impl Fn(usize) -> String) -> String {
    let rows: String = (0..n).map(|i| row(i) + "\n").collect();
    format!("{header}\n{rows}")
}

fn learn(table: &Table, options: &EncoderOptions) -> Result<Encoder, String> {
    let learnt = Encoder::learn(table, &table.all_rows(), None, options);
    learnt.map(|(encoder, _)| encoder).map_err(|e| e.to_string())
}

fn target(text: &str, name: &str, kind: Option<TaskKind>) -> String {
    message(Target::infer(&read(text).unwrap(), name, kind, None))
}

#[test]
fn a_target_that_does_not_exist_suggests_the_nearest() {
    assert_eq!(
        target("size,species\n1,a\n2,b\n", "specis", None),
        "t.csv has no column \"specis\"; did you mean \"species\"?; columns: size, species"
    );
    assert_eq!(target("a,b\n1,2\n", "zzzzzz", None), "t.csv has no column \"zzzzzz\"; columns: a, b");
}

#[test]
fn a_target_with_nothing_to_tell_apart() {
    assert_eq!(
        target("x,y\n1,a\n2,a\n3,\n", "y", None),
        "t.csv: target \"y\" is \"a\" in every row; two classes are needed"
    );
    assert_eq!(
        target("x,y\n1,1\n2,1\n", "y", None),
        "t.csv: target \"y\" is \"1\" in every row; two classes are needed"
    );
    assert_eq!(
        target("x,y\n1,1.5\n2,1.5\n", "y", None),
        "t.csv: target \"y\" is 1.5 in every row; there is nothing to learn"
    );
    assert_eq!(target("x,y\n1,\n2,NA\n", "y", None), "t.csv: target \"y\" is missing in every row");
    let names = rows("x,y", 50, |i| format!("{i},name{i}"));
    assert_eq!(
        target(&names, "y", None),
        "t.csv: target \"y\" is text with 50 different values in 50 rows (such as \"name0\"); name another target, \
         or say --task classes"
    );
}

#[test]
fn a_target_with_text_or_infinity_among_numbers() {
    let text = rows("x,y", 100, |i| if i == 70 { "1,oops".into() } else { format!("1,{i}.5") });
    assert_eq!(
        target(&text, "y", None),
        "t.csv:72: target \"y\": expected a number, found \"oops\"; say --missing \"oops\" if it stands for a \
         missing value, or --task classes"
    );
    assert!(
        target("x,y\n1,a\n2,b\n", "y", Some(TaskKind::Number))
            .starts_with("t.csv:2: target \"y\": expected a number")
    );
    assert_eq!(target("x,y\n1,1.5\n2,inf\n", "y", None), "t.csv:3: target \"y\" is infinite (inf)");
}

#[test]
fn text_in_a_numeric_column() {
    let text = rows("x,y", 100, |i| if i == 98 { "N.A.,2".into() } else { format!("{i}.5,2") });
    let table = read(text.replace("y\n", "y\n\n\n")).unwrap();
    assert_eq!(
        learn(&table, &EncoderOptions::default()).unwrap_err(),
        "t.csv:102: column \"x\": expected a number, found \"N.A.\"; say --missing \"N.A.\" if it stands for a missing \
         value, or --types x=category if the column is not numeric"
    );
    // Both ways out, and a third: the row does not train. But then it cannot be encoded.
    let missing = ReadOptions { missing: vec!["N.A.".into()], ..ReadOptions::default() };
    assert!(
        learn(&read_bytes("t.csv", text.as_bytes(), &missing).unwrap(), &EncoderOptions::default()).is_ok()
    );
    let types =
        EncoderOptions { types: [("x".into(), ColumnType::Ignore)].into(), ..EncoderOptions::default() };
    assert!(
        learn(&table, &types)
            .unwrap_err()
            .starts_with("t.csv: no column is left to learn from: \"x\": as asked; \"y\"")
    );
    let (encoder, _) =
        Encoder::learn(&table, &(0..98).collect::<Vec<_>>(), None, &EncoderOptions::default()).unwrap();
    assert!(encoder.encode::<f64>(&table, &[5, 97], false).is_ok());
    let found = message(encoder.encode::<f64>(&table, &[5, 98, 99], false));
    assert!(found.starts_with("t.csv:102: column \"x\": expected a number, found \"N.A.\""), "{found}");
    // Below 95%, it is text.
    let text = rows("x", 100, |i| if i % 10 == 0 { "x".into() } else { (i % 7).to_string() });
    let encoder = learn(&read(text).unwrap(), &EncoderOptions::default()).unwrap();
    assert_eq!((encoder.width(), encoder.levels()), (0, 8));
}

#[test]
fn infinite_cells() {
    let text = rows("x,y", 60, |i| if i == 41 { "-inf,1".into() } else { format!("{i}.5,{i}.25") });
    let table = read(&text).unwrap();
    let error = "t.csv:43: column \"x\": -inf is not a finite number; say --missing -inf if it stands for a missing value";
    assert_eq!(learn(&table, &EncoderOptions::default()).unwrap_err(), error);
    let (encoder, _) =
        Encoder::learn(&table, &(0..41).collect::<Vec<_>>(), None, &EncoderOptions::default()).unwrap();
    assert_eq!(message(encoder.encode::<f32>(&table, &[50, 41, 2], false)), error);
    // Too large for a number is infinite as well.
    let table = read(text.replace("-inf", "1e999")).unwrap();
    assert!(learn(&table, &EncoderOptions::default()).unwrap_err().contains("inf is not a finite number"));
    // A column that is not used may hold anything.
    let ignore = EncoderOptions { ignore: vec!["x".into()], ..EncoderOptions::default() };
    assert!(learn(&table, &ignore).is_ok());
    let missing = ReadOptions { missing: vec!["-inf".into()], ..ReadOptions::default() };
    assert!(
        learn(&read_bytes("t.csv", text.as_bytes(), &missing).unwrap(), &EncoderOptions::default()).is_ok()
    );
}

#[test]
fn cells_that_are_no_dates() {
    let text =
        rows("d", 40, |i| if i == 30 { "2024-02-30".into() } else { format!("2024-01-{:02}", 1 + i % 28) });
    assert_eq!(
        learn(&read(text).unwrap(), &EncoderOptions::default()).unwrap_err(),
        "t.csv:32: column \"d\": expected a date such as 2024-12-31, found \"2024-02-30\"; say --missing \"2024-02-30\" if \
         it stands for a missing value, or --types d=category if the column is not dates"
    );
    let types =
        EncoderOptions { types: [("x".into(), ColumnType::Date)].into(), ..EncoderOptions::default() };
    let table = read(rows("x", 30, |i| format!("{i}.5"))).unwrap();
    assert!(learn(&table, &types).unwrap_err().starts_with("t.csv:2: column \"x\": expected a date"));
}

#[test]
fn nothing_left_to_learn_from() {
    let text = rows("a,b,c", 30, |i| format!("7,,name{i}"));
    assert_eq!(
        learn(&read(text).unwrap(), &EncoderOptions::default()).unwrap_err(),
        "t.csv: no column is left to learn from: \"a\": it is the same in every training row; \"b\": it is missing in every \
         training row; \"c\": it is text, and more than half of its values differ"
    );
    let table = read("y\n1.5\n2.5\n").unwrap();
    let target = Target::infer(&table, "y", None, None).unwrap();
    let learnt = Encoder::learn(&table, &target.rows, Some(&target), &EncoderOptions::default());
    assert_eq!(message(learnt), "t.csv: no column is left to learn from: there is none beside the target");
}

#[test]
fn weights_that_are_none() {
    let weights = |cell: &str| {
        let table = read(rows("x,w", 40, |i| {
            format!("{i}.5,{}", if i == 3 { cell.into() } else { format!("{i}.5") })
        }))
        .unwrap();
        learn(&table, &EncoderOptions { weight: Some("w".into()), ..EncoderOptions::default() })
    };
    for (cell, found) in [("-1", "-1"), ("inf", "inf"), ("", ""), ("NA", ""), ("heavy", "heavy")] {
        let text =
            format!("t.csv:5: weight column \"w\": expected a number that is not negative, found {found:?}");
        assert_eq!(weights(cell).unwrap_err(), text);
    }
    assert!(weights("0").is_ok());
    let table = read("x,w\n1.5,0\n2.5,0\n").unwrap();
    let option = |w: &str| EncoderOptions { weight: Some(w.into()), ..EncoderOptions::default() };
    assert_eq!(
        learn(&table, &option("w")).unwrap_err(),
        "t.csv: weight column \"w\" is 0 in every row that would be trained on"
    );
    assert_eq!(
        learn(&table, &option("W")).unwrap_err(),
        "t.csv has no column \"W\", named by --weight; did you mean \"w\"?"
    );
    let target = Target::infer(&table, "x", None, None).unwrap();
    let learnt = Encoder::learn(&table, &target.rows, Some(&target), &option("x"));
    assert_eq!(message(learnt), "column \"x\" cannot be the target and the weight at once");
}

#[test]
fn options_that_name_no_column() {
    let table = read("size,b\n1.5,2\n2.5,3\n").unwrap();
    let options = [
        EncoderOptions { types: [("sice".into(), ColumnType::Number)].into(), ..EncoderOptions::default() },
        EncoderOptions { keep: vec!["sice".into()], ..EncoderOptions::default() },
        EncoderOptions { ignore: vec!["sice".into()], ..EncoderOptions::default() },
    ];
    for (options, option) in options.iter().zip(["types", "keep", "ignore"]) {
        let text = format!("t.csv has no column \"sice\", named by --{option}; did you mean \"size\"?");
        assert_eq!(learn(&table, options).unwrap_err(), text);
    }
}

#[test]
fn columns_missing_at_prediction() {
    let table = read(rows("width,height,y", 30, |i| format!("{i}.5,{}.25,{}", i * i, i % 2))).unwrap();
    let target = Target::infer(&table, "y", None, None).unwrap();
    let (encoder, _) =
        Encoder::learn(&table, &target.rows, Some(&target), &EncoderOptions::default()).unwrap();
    let encode = |text: &str, need| {
        message(encoder.encode::<f64>(
            &read_bytes("p.csv", text.as_bytes(), &ReadOptions::default()).unwrap(),
            &[0],
            need,
        ))
    };
    assert_eq!(
        encode("width,heigth\n1,2\n", false),
        "p.csv has no column \"height\", which the model was trained on; did you mean \"heigth\"?"
    );
    assert_eq!(
        encode("width,z\n1,2\n", false),
        "p.csv has no column \"height\", which the model was trained on"
    );
    assert_eq!(
        encode("width,height\n1,2\n", true),
        "p.csv has no column \"y\", which the model was trained on"
    );
    assert_eq!(encode("width,height,y\n1,2,\n", true), "p.csv:2: target \"y\" is missing");
    assert_eq!(
        encode("width,height,y\n1,2,7\n", true),
        "p.csv:2: target \"y\": class \"7\" was not seen in training; known: 0, 1"
    );
    assert!(
        encode("width,height\nwide,2\n", false)
            .starts_with("p.csv:2: column \"width\": expected a number, found \"wide\"")
    );
}

#[test]
fn one_row_and_no_rows() {
    let table = read("x,y\n1.5,2.5\n").unwrap();
    let target = Target::infer(&table, "y", None, None).unwrap();
    assert_eq!(
        message(Split::new(&table, &target.rows, None, &SplitOptions::default())),
        "1 row: too few for test, train; say --test none or give more data"
    );
    let none = SplitOptions { test: None, ..SplitOptions::default() };
    let split = Split::new(&table, &target.rows, None, &none).unwrap();
    let learnt = Encoder::learn(&table, &split.train, Some(&target), &EncoderOptions::default());
    assert!(message(learnt).contains("\"x\": it is the same in every training row"));
    assert_eq!(
        message(Encoder::learn(&table, &[], None, &EncoderOptions::default())),
        "t.csv: there are no rows to learn from"
    );
    assert_eq!(
        message(Split::new(&table, &[], None, &none)),
        "0 rows: too few for train; say --test none or give more data"
    );
}

#[test]
fn more_columns_than_rows() {
    let header: Vec<String> = (0..300).map(|i| format!("x{i}")).collect();
    let row =
        |r: usize| (0..300).map(|i| format!("{}.5", (i * 7 + r * r) % 11)).collect::<Vec<_>>().join(",");
    let table = read(rows(&header.join(","), 4, row)).unwrap();
    let encoder = learn(&table, &EncoderOptions::default()).unwrap();
    assert!(encoder.width() > 250);
    assert_eq!(
        encoder.encode::<f64>(&table, &table.all_rows(), false).unwrap().dense.len(),
        4 * encoder.width()
    );
}

#[test]
fn splits_that_cannot_be() {
    let table = read(rows("x,part,some", 10, |i| {
        format!("{i}.5,{},{}", ["Train", "test"][i / 5], if i == 7 { "" } else { "train" })
    }))
    .unwrap();
    let rows = table.all_rows();
    let split = |options: &SplitOptions| message(Split::new(&table, &rows, None, options));
    let with = |test, valid, by| SplitOptions { test, valid, by, seed: 0 };
    for f in [0.0, 1.0, -0.5, 2.0, f64::NAN, f64::INFINITY] {
        assert_eq!(
            split(&with(Some(f), None, SplitBy::Ordered)),
            format!("the test fraction must be in (0, 1), got {f}")
        );
        assert!(split(&with(None, Some(f), SplitBy::Shuffled)).starts_with("the valid fraction"));
    }
    assert!(
        split(&with(Some(0.99), None, SplitBy::Shuffled)).starts_with("10 rows: too few for test, train")
    );
    assert_eq!(
        split(&with(None, None, SplitBy::Column("prat".into()))),
        "t.csv has no column \"prat\" to split by; did you mean \"part\"?"
    );
    assert_eq!(
        split(&with(None, None, SplitBy::Column("some".into()))),
        "t.csv:9: split column \"some\": expected train, valid or test, found \"\""
    );
    assert_eq!(
        split(&with(None, Some(0.5), SplitBy::Column("part".into()))),
        "the valid part of the split has no rows"
    );
    let few = &rows[..5];
    let all_train = Split::new(&table, few, None, &with(Some(0.2), None, SplitBy::Column("part".into())));
    assert_eq!(message(all_train), "the test part of the split has no rows");
}

#[test]
fn stored_splits_that_do_not_fit() {
    let parse = |text: &str| message(Split::parse("split.csv".as_ref(), text, 3));
    assert_eq!(parse(""), "split.csv:1: expected the header row,part");
    assert_eq!(parse("row,part\n0,train\n3,test\n"), "split.csv:3: expected a row from 0 to 2, found \"3\"");
    assert_eq!(parse("row,part\n0,train\n0,test\n"), "split.csv:3: row 0 comes a second time");
    assert_eq!(parse("row,part\n0,trian\n"), "split.csv:2: expected train, valid or test, found \"trian\"");
    assert_eq!(parse("row,part\nx\n"), "split.csv:2: expected a row and its part, found \"x\"");
    let missing = Split::read("/no/such/split.csv".as_ref(), 3);
    assert!(message(missing).starts_with("cannot read /no/such/split.csv"));
}
