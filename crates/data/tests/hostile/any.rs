//! Anything at all: no panic, and the same answer however the file is cut.

use proptest::prelude::*;
use thalweg_data::{
    Encoder, EncoderOptions, ReadOptions, Split, SplitOptions, Target, read_bytes, read_bytes_in_pieces,
    summary,
};

/// Reads, and goes on as far as it goes.
fn go_through(bytes: &[u8], options: &ReadOptions) {
    let whole = read_bytes("t.csv", bytes, options);
    for piece in [1, 3, 50] {
        let cut = read_bytes_in_pieces("t.csv", bytes, options, piece);
        match (&whole, &cut) {
            (Ok(a), Ok(b)) => assert_eq!(a, b),
            (a, b) => assert_eq!(
                a.as_ref().err().map(ToString::to_string),
                b.as_ref().err().map(ToString::to_string)
            ),
        }
    }
    let Ok(table) = whole else { return };
    assert_eq!(summary(&table).columns.len(), table.columns().len());
    for column in table.columns() {
        let Ok(target) = Target::infer(&table, &column.name, None, None) else { continue };
        let classes = (!target.classes.is_empty()).then_some(&target.classes[..]);
        let Ok(split) = Split::new(&table, &target.rows, classes, &SplitOptions::default()) else { continue };
        let Ok((encoder, _)) =
            Encoder::learn(&table, &split.train, Some(&target), &EncoderOptions::default())
        else {
            continue;
        };
        let train =
            encoder.encode::<f64>(&table, &split.train, true).expect("what was learnt can be encoded");
        assert!(train.dense.iter().all(|x| x.is_finite()));
        assert!(train.codes.iter().all(|&c| (c as usize) < encoder.levels()), "training levels are known");
        let _ = encoder.encode::<f32>(&table, &split.test, true);
        let json = serde_json::to_string(&encoder).expect("an encoder is JSON");
        assert_eq!(serde_json::from_str::<Encoder>(&json).expect("and comes back"), encoder);
    }
}

/// A table with everything in it.
fn everything() -> String {
    let mut text = String::from("\u{feff}id;when;\"si;ze\";kind;flag;y\r\n");
    for i in 0..40 {
        let when = ["2024-01-05", "2024-02-29 10:00", "", "2023-12-31"][i % 4];
        let kind = ["red", "\"dark; \"\"red\"\"\nor so\"", "", "grün"][i % 4];
        text += &format!("{i}.25;{when};{};{kind};{};{}\r\n", 1.5 * i as f64, i % 2 == 0, i % 3);
    }
    text
}

#[test]
fn a_file_cut_at_every_byte() {
    let text = everything();
    go_through(text.as_bytes(), &ReadOptions::default());
    for end in 0..text.len() {
        let _ = read_bytes("t.csv", &text.as_bytes()[..end], &ReadOptions::default());
    }
    for end in (0..text.len()).step_by(7) {
        go_through(&text.as_bytes()[..end], &ReadOptions::default());
    }
    let plain: String = text.chars().filter(|&c| c != '"' && c != '\u{feff}').collect();
    for end in 0..plain.len() {
        let _ = read_bytes("t.csv", &plain.as_bytes()[..end], &ReadOptions::default());
    }
}

#[test]
fn every_byte_changed() {
    let text = everything();
    for at in 0..text.len() {
        for byte in *b"\"\n\r;,\0\xff9x" {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = byte;
            let _ = read_bytes("t.csv", &bytes, &ReadOptions::default());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 4000 }))]

    #[test]
    fn random_bytes(bytes: Vec<u8>) {
        go_through(&bytes, &ReadOptions::default());
    }

    #[test]
    fn random_text_of_the_bytes_that_matter(text in "[,;\t\r\n\"|. 0-9a-c+\\-]{0,120}", header: Option<bool>) {
        let options = ReadOptions { header, ..ReadOptions::default() };
        go_through(text.as_bytes(), &options);
        go_through(text.as_bytes(), &ReadOptions { delimiter: Some(b','), ..options });
    }

    #[test]
    fn random_tables(
        cells in prop::collection::vec(
            prop::collection::vec("[0-9]{1,2}|-?[0-9]\\.[0-9]{1,3}|a|b|c|NA||2024-0[1-9]-1[0-9]|1e400|-0|nan", 4..5), 1..60),
        missing in prop::option::of("a|7|1e0"),
    ) {
        let rows: Vec<String> = cells.iter().map(|r| r.join(",")).collect();
        let text = format!("p,q,r,s\n{}\n", rows.join("\n"));
        go_through(text.as_bytes(), &ReadOptions { missing: missing.into_iter().collect(), ..ReadOptions::default() });
    }
}
