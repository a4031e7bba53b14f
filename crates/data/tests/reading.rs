//! What is read: the csv crate's fields, the same table however the work is divided, the stored data sets.

use std::path::PathBuf;

use proptest::prelude::*;
use thalweg_data::{
    Cells, Encoder, EncoderOptions, ReadOptions, Split, SplitOptions, Table, Target, Task, read, read_bytes,
    read_bytes_in_pieces,
};

fn table(text: &str) -> Table {
    read_bytes("t.csv", text.as_bytes(), &ReadOptions::default()).unwrap()
}

/// The cells of a column as text, missing ones empty.
fn texts(table: &Table, column: usize) -> Vec<String> {
    let column = &table.columns()[column];
    (0..table.rows() as u32).map(|r| column.text(r).unwrap_or_default().into_owned()).collect()
}

fn names(table: &Table) -> Vec<&str> {
    table.columns().iter().map(|c| c.name.as_str()).collect()
}

#[test]
fn delimiters_are_found() {
    for d in [",", ";", "\t", "|"] {
        let text = "a,b,c\n1,x,2\n3,y,4\n".replace(',', d);
        let t = table(&text);
        assert_eq!(
            (names(&t), texts(&t, 1)),
            (vec!["a", "b", "c"], vec!["x".to_string(), "y".into()]),
            "{d:?}"
        );
    }
    // Other delimiters in texts and numbers, quoted or not; a single column.
    assert_eq!(names(&table("a;b\n1,5;2,5\n2,5;3,5\n")), ["a", "b"]);
    assert_eq!(names(&table("name\tsaid\nx\tone, two\ny\tthree; four, five\n")), ["name", "said"]);
    assert_eq!(names(&table("name,said\nx,\"a;b;c\"\ny,\"d;e;f\"\n")), ["name", "said"]);
    assert_eq!(names(&table("words\none\ntwo; three\n")), ["words"]);
    let comma = ReadOptions { delimiter: Some(b','), ..ReadOptions::default() };
    assert_eq!(names(&read_bytes("t", b"a;b\n1;2\n", &comma).unwrap()), ["a;b"]);
    let space = ReadOptions { delimiter: Some(b' '), ..ReadOptions::default() };
    assert_eq!(names(&read_bytes("t", b"a b\n1 2\n", &space).unwrap()), ["a", "b"]);
}

#[test]
fn headers_are_found() {
    assert_eq!(names(&table("5.1,3.5,setosa\n4.9,3.0,virginica\n")), ["column1", "column2", "column3"]);
    assert_eq!(table("5.1,3.5,setosa\n4.9,3.0,virginica\n").rows(), 2);
    assert_eq!(table("2024-01-01,a\n2024-01-02,b\n").rows(), 2);
    assert_eq!(names(&table("0,1,2\n5,6,7\n")), ["0", "1", "2"]);
    assert_eq!(names(&table("1,2,3\n5,6,7\n")), ["1", "2", "3"]);
    assert_eq!(names(&table(",x, y \n5,6,7\n")), ["column1", "x", "y"]);
    assert_eq!(names(&table("\u{feff}x,y\n1,2\n")), ["x", "y"]);
    assert_eq!(names(&table("\"x\",\"y, z\"\n1,2\n")), ["x", "y, z"]);
    assert_eq!(names(&table("\n\nx,y\n1,2\n")), ["x", "y"]);
    let with = |header| ReadOptions { header: Some(header), ..ReadOptions::default() };
    let no = read_bytes("t", b"x,y\n1,2\n", &with(false)).unwrap();
    assert_eq!((names(&no), no.rows(), no.line(0)), (vec!["column1", "column2"], 2, 1));
    let yes = read_bytes("t", b"5,x\n1,2\n", &with(true)).unwrap();
    assert_eq!((names(&yes), yes.rows(), yes.line(0)), (vec!["5", "x"], 1, 2));
    let blank = read_bytes("t", b"\n\n5,x\n1,2\n", &with(false)).unwrap();
    assert_eq!((blank.rows(), blank.line(0)), (2, 3));
}

#[test]
fn lines_are_counted_as_an_editor_does() {
    let lines = |text: &str| {
        let t = table(text);
        (0..t.rows() as u32).map(|r| t.line(r)).collect::<Vec<_>>()
    };
    assert_eq!(lines("a,b\n1,2\n3,4\n"), [2, 3]);
    assert_eq!(lines("a,b\r\n\r\n1,2\r\n\r\n\r\n3,4\r\n"), [3, 6]);
    assert_eq!(lines("a,b\n1,\"x\ny\n\"\n3,4\n\n5,6"), [2, 5, 7]);
    assert_eq!(lines("a,b\r1,2\r\r3,4"), [2, 4]);
}

#[test]
fn missing_cells_and_numbers() {
    let t = table("x\n1.5\n NA \n\"\"\nNaN\n-nan\n+2.5\n1e3\n .5\n-0\nnull\n?\n\"7.25\"\n#N/A\n2.\nNone\n");
    let Cells::Numbers(x) = &t.columns()[0].cells else { panic!("numbers") };
    let some: Vec<f64> = x.iter().copied().filter(|x| !x.is_nan()).collect();
    assert_eq!(some, [1.5, 2.5, 1000.0, 0.5, 0.0, 7.25, 2.0]);
    assert_eq!(t.columns()[0].missing(), x.len() - some.len());
    // Markers that are numbers stand for the number, in columns of numbers and of text.
    let options = ReadOptions { missing: vec!["-999".into(), " x ".into()], ..ReadOptions::default() };
    let t =
        read_bytes("t", b"a,b\n1.5,1\n-999,2\n-999.0,-999\nx,x\n-9.99e2,-999.00\n2.5,3\n", &options).unwrap();
    assert_eq!(texts(&t, 0), ["1.5", "", "", "", "", "2.5"]);
    assert_eq!(texts(&t, 1), ["1", "2", "", "", "", "3"]);
}

#[test]
fn the_form_of_a_column_depends_on_its_cells_alone() {
    let form = |cells: &[String]| {
        let t = table(&format!(
            "a,x\n{}\n",
            cells.iter().map(|c| format!("1,{c}")).collect::<Vec<_>>().join("\n")
        ));
        matches!(t.columns()[1].cells, Cells::Numbers(_))
    };
    let whole = |n: usize| (0..3000).map(|i| (i % n).to_string()).collect::<Vec<_>>();
    assert!(!form(&whole(20)) && form(&whole(21)));
    // What decides may come late: after the head of the file that is looked at first.
    let late = |cell: &str, n| {
        let mut cells = whole(n);
        cells.push(cell.into());
        form(&cells)
    };
    assert!(late("1.5", 3) && late("77", 20) && !late("77", 3) && !late("text", 1000) && late("NA", 1000));
    let empty: Vec<String> =
        (0..3000).map(|i| if i < 2990 { String::new() } else { format!("{i}.5") }).collect();
    assert!(form(&empty));
    // Text keeps what the file says, also of the numbers before it.
    let mut cells: Vec<String> = (0..3000).map(|i| format!("{i:05}")).collect();
    cells.push("text".into());
    let t = table(&format!("x\n{}\n", cells.join("\n")));
    assert_eq!(texts(&t, 0), cells);
    let keep = ReadOptions { text: vec!["x".into()], ..ReadOptions::default() };
    let t = read_bytes("t", format!("x\n{}\n", cells[..3000].join("\n")).as_bytes(), &keep).unwrap();
    assert_eq!(texts(&t, 0), cells[..3000]);
}

/// A file of some megabytes with every kind of column; quotes or not.
fn large(quotes: bool) -> String {
    let mut text = String::from("a,b,when,kind,late,class\n");
    for i in 0..40_000usize {
        let h = i.wrapping_mul(2654435761) % 100_003;
        let kind = ["plain", "two words", "", "three, with comma"][h % if quotes { 4 } else { 3 }];
        let kind = if kind.contains(',') { format!("\"{kind}\"") } else { kind.into() };
        let late = if i == 39_000 && quotes { "odd".into() } else { format!("{}", h * 7) };
        text += &format!(
            "{}.{:03},{h}e-3,2024-0{}-1{},{kind},{late},{}\n",
            h % 1000,
            h % 997,
            1 + h % 9,
            h % 10,
            h % 3
        );
        if h % 1000 == 0 {
            text += "\n";
        }
    }
    text
}

/// Everything up to the numbers, as bytes.
fn fingerprint(table: &Table) -> Vec<u8> {
    let target = Target::infer(table, "class", None, None).unwrap();
    let split = Split::new(table, &target.rows, Some(&target.classes), &SplitOptions::default()).unwrap();
    let options = EncoderOptions {
        types: [("late".into(), thalweg_data::ColumnType::Ignore)].into(),
        ..Default::default()
    };
    let (encoder, _) = Encoder::learn(table, &split.train, Some(&target), &options).unwrap();
    let data = encoder.encode::<f64>(table, &split.test, true).unwrap();
    let mut bytes = serde_json::to_vec(&encoder).unwrap();
    bytes.extend(data.dense.iter().flat_map(|x| x.to_bits().to_le_bytes()));
    bytes.extend(data.codes.iter().flat_map(|x| x.to_le_bytes()));
    bytes
}

#[test]
fn neither_threads_nor_pieces_nor_the_file_change_a_bit() {
    for quotes in [false, true] {
        let text = large(quotes);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, &text).unwrap();
        let mut first: Option<(Table, Vec<u8>)> = None;
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let name = path.to_str().unwrap();
                let options = ReadOptions::default();
                let mut tables = vec![read(&path, &options).unwrap()];
                for piece in [1000, 4096, 77_777, 1 << 30] {
                    tables.push(read_bytes_in_pieces(name, text.as_bytes(), &options, piece).unwrap());
                }
                for table in tables {
                    let print = fingerprint(&table);
                    let (a, b) = first.get_or_insert_with(|| (table.clone(), print.clone()));
                    assert!(*a == table, "the table differs with {threads} threads");
                    assert!(*b == print, "the numbers differ with {threads} threads");
                }
            });
        }
    }
}

#[test]
fn a_pipe_is_read_like_a_file() {
    #[cfg(target_os = "linux")]
    {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let text = large(true);
        std::thread::scope(|scope| {
            scope.spawn(|| std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap());
            let piped = read(&path, &ReadOptions::default()).unwrap();
            let direct =
                read_bytes(path.to_str().unwrap(), text.as_bytes(), &ReadOptions::default()).unwrap();
            assert!(piped == direct);
        });
    }
}

#[test]
fn the_stored_data_sets() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/data");
    let known = [
        ("iris", "species", 150, 3, 4, 0),
        ("wine", "cultivar", 178, 3, 13, 0),
        ("breast_cancer", "diagnosis", 569, 2, 30, 0),
        ("digits", "digit", 1797, 10, 64, 0),
        ("penguins", "species", 344, 3, 5, 6),
        ("penguins", "body_mass_g", 342, 0, 4, 9),
        ("diabetes", "progression", 442, 0, 10, 0),
    ];
    for (name, column, rows, classes, numeric, levels) in known {
        let table = read(&folder.join(name).with_extension("csv"), &ReadOptions::default()).unwrap();
        let target = Target::infer(&table, column, None, None).unwrap();
        assert_eq!((target.rows.len(), target.rows.len() + target.missing), (rows, table.rows()), "{name}");
        match &target.task {
            Task::Classes(labels) => assert_eq!(labels.len(), classes, "{name}: {labels:?}"),
            Task::Number => assert_eq!(classes, 0, "{name}"),
        }
        let (encoder, _) =
            Encoder::learn(&table, &target.rows, Some(&target), &EncoderOptions::default()).unwrap();
        let kinds = |n: &&thalweg_data::Feature| n.kind == thalweg_data::FeatureKind::Number;
        let found = encoder.features().iter().filter(kinds).count();
        let constant = encoder.columns.iter().filter(|c| c.code.width() + c.code.levels() == 0).count();
        assert_eq!((found + constant, encoder.levels()), (numeric, levels), "{name} {column}");
    }
}

/// How the csv crate reads, trimmed as we trim.
fn csv_fields(bytes: &[u8], delimiter: u8) -> Vec<Vec<Vec<u8>>> {
    let mut builder = csv::ReaderBuilder::new();
    let mut reader = builder.has_headers(false).flexible(true).delimiter(delimiter).from_reader(bytes);
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let trim = |f: &[u8]| {
        let start = f.iter().position(|b| !blank(b)).unwrap_or(f.len());
        let end = f.iter().rposition(|b| !blank(b)).map_or(start, |e| e + 1);
        f[start..end].to_vec()
    };
    reader.byte_records().map(|r| r.unwrap().iter().map(trim).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Of any bytes that are a table to us, the csv crate says the same.
    #[test]
    fn fields_are_the_csv_crates(text in "(([ax\"]{0,3}|[ -~]{0,4})[,\n\"\r]){0,40}", piece in 1u64..30) {
        let options = ReadOptions {
            delimiter: Some(b','), header: Some(false), text: Vec::new(), missing: Vec::new(),
        };
        let Ok(t) = read_bytes_in_pieces("t", text.as_bytes(), &options, piece) else { return Ok(()) };
        let expected = csv_fields(text.as_bytes(), b',');
        prop_assert_eq!(t.rows(), expected.len());
        for (j, column) in t.columns().iter().enumerate() {
            for (i, record) in expected.iter().enumerate() {
                if let Some(found) = column.text(i as u32)
                    && matches!(column.cells, Cells::Text { .. })
                {
                    prop_assert_eq!(found.as_bytes(), &record[j][..]);
                }
            }
        }
    }

    /// What the csv crate writes comes back, whatever is in the cells.
    #[test]
    fn written_and_read(
        cells in prop::collection::vec(prop::collection::vec("[ -~\n\ré]{0,6}", 3..4), 1..30),
        piece in 1u64..200,
        crlf: bool,
    ) {
        let mut writer = csv::WriterBuilder::new();
        writer.terminator(if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') });
        let mut writer = writer.from_writer(Vec::new());
        writer.write_record(["a", "b", "c"]).unwrap();
        cells.iter().for_each(|row| writer.write_record(row).unwrap());
        let bytes = writer.into_inner().unwrap();
        let options = ReadOptions {
            delimiter: Some(b','), text: ["a", "b", "c"].map(String::from).into(), ..ReadOptions::default()
        };
        let t = read_bytes_in_pieces("t", &bytes, &options, piece).unwrap();
        prop_assert_eq!(t.rows(), cells.len());
        for j in 0..3 {
            for (i, row) in cells.iter().enumerate() {
                let (column, cell) = (&t.columns()[j], row[j].trim_matches([' ', '\t']));
                match column.text(i as u32) {
                    Some(text) => prop_assert_eq!(text, cell),
                    None => prop_assert!(
                        cell.is_empty() || cell.eq_ignore_ascii_case("nan") || cell.eq_ignore_ascii_case("-nan")
                            || cell.eq_ignore_ascii_case("+nan") || thalweg_data::MISSING_TEXTS.contains(&cell),
                        "{cell:?}"
                    ),
                }
            }
        }
    }

    /// Numbers of any length and form are what the standard library says.
    #[test]
    fn numbers_are_exact(numbers in prop::collection::vec(prop::num::f64::NORMAL, 25..60), digits in 0usize..20) {
        let texts: Vec<String> = numbers
            .iter()
            .enumerate()
            .map(|(i, x)| match i % 3 {
                0 => format!("{x:e}"),
                1 => format!("{:.*}", digits, x % 1e4),
                _ => format!("{}", x % 1e12),
            })
            .collect();
        let t = table(&format!("a,x\n{}\n", texts.iter().map(|t| format!("0,{t}")).collect::<Vec<_>>().join("\n")));
        for (i, text) in texts.iter().enumerate() {
            let exact: f64 = text.parse().unwrap();
            prop_assert!(t.columns()[1].number(i as u32) == exact, "{}", text);
        }
    }
}
