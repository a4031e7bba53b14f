//! Splits are disjoint, complete, in proportion, and the same for the same seed.

use std::collections::BTreeSet;

use proptest::prelude::*;
use thalweg_data::{ReadOptions, Split, SplitBy, SplitOptions, Table, read_bytes};

/// A table with a column of groups.
fn table(groups: &[u8]) -> Table {
    let rows: String =
        groups.iter().enumerate().map(|(i, g)| format!("{i}.5,{}\n", char::from(b'a' + g))).collect();
    read_bytes("t.csv", format!("x,group\n{rows}").as_bytes(), &ReadOptions::default()).unwrap()
}

fn options(test: Option<f64>, valid: Option<f64>, by: SplitBy, seed: u64) -> SplitOptions {
    SplitOptions { test, valid, by, seed }
}

fn is_partition(split: &Split, rows: &[u32]) -> bool {
    let parts = [&split.train, &split.valid, &split.test];
    let all: BTreeSet<u32> = parts.iter().flat_map(|p| p.iter().copied()).collect();
    parts.iter().all(|p| p.is_sorted())
        && all.len() == parts.iter().map(|p| p.len()).sum::<usize>()
        && all.into_iter().eq(rows.iter().copied())
}

#[test]
fn sizes_are_rounded_to_the_nearest() {
    for (n, test, valid, expected) in [
        (10, Some(0.2), None, (8, 0, 2)),
        (150, Some(0.2), Some(0.1), (108, 12, 30)),
        (100, Some(0.07), None, (93, 0, 7)),
        (3, Some(0.01), None, (2, 0, 1)),
        (5, Some(0.5), None, (2, 0, 3)),
        (7, None, Some(0.3), (5, 2, 0)),
        (7, None, None, (7, 0, 0)),
    ] {
        let t = table(&vec![0; n]);
        for by in [SplitBy::Shuffled, SplitBy::Ordered] {
            let s = Split::new(&t, &t.all_rows(), None, &options(test, valid, by, 1)).unwrap();
            assert_eq!((s.train.len(), s.valid.len(), s.test.len()), expected, "{n} {test:?} {valid:?}");
        }
    }
}

#[test]
fn ordered_takes_the_last_rows() {
    let t = table(&[0; 10]);
    let s =
        Split::new(&t, &t.all_rows(), None, &options(Some(0.2), Some(0.25), SplitBy::Ordered, 9)).unwrap();
    assert_eq!((s.train, s.valid, s.test), (vec![0, 1, 2, 3, 4, 5], vec![6, 7], vec![8, 9]));
}

#[test]
fn a_column_names_the_parts() {
    let text = "x,part\n1.5,train\n2.5,TEST\n3.5,val\n4.5,Training\n5.5,validation\n";
    let t = read_bytes("t.csv", text.as_bytes(), &ReadOptions::default()).unwrap();
    let s = Split::new(&t, &t.all_rows(), None, &options(Some(0.2), None, SplitBy::Column("part".into()), 0))
        .unwrap();
    assert_eq!((s.train, s.valid, s.test), (vec![0, 3], vec![2, 4], vec![1]));
}

#[test]
fn a_split_is_drawn_from_the_seed_as_it_always_was() {
    let t = table(&[0; 12]);
    let s = Split::new(&t, &t.all_rows(), None, &options(Some(0.25), None, SplitBy::Shuffled, 42)).unwrap();
    assert_eq!(s.test, KNOWN);
    let other =
        Split::new(&t, &t.all_rows(), None, &options(Some(0.25), None, SplitBy::Shuffled, 43)).unwrap();
    assert_ne!(other.test, KNOWN);
}
const KNOWN: [u32; 3] = [4, 5, 11];

#[test]
fn rows_in_no_part_change_nothing() {
    let t = table(&[0; 40]);
    let some: Vec<u32> = (0..40).filter(|r| r % 3 != 1).collect();
    let dense: Vec<u32> = (0..some.len() as u32).collect();
    let o = options(Some(0.3), Some(0.2), SplitBy::Shuffled, 5);
    let a = Split::new(&t, &some, None, &o).unwrap();
    let b = Split::new(&t, &dense, None, &o).unwrap();
    let at = |rows: &[u32]| rows.iter().map(|&i| some[i as usize]).collect::<Vec<_>>();
    assert_eq!((a.train, a.valid, a.test), (at(&b.train), at(&b.valid), at(&b.test)));
}

proptest! {
    #[test]
    fn every_row_is_in_one_part(
        classes in prop::collection::vec(0u32..5, 8..200),
        test in prop::option::of(0.05..0.6),
        valid in prop::option::of(0.05..0.6),
        seed: u64,
        by_class: bool,
        ordered: bool,
    ) {
        let groups: Vec<u8> = classes.iter().map(|&c| c as u8).collect();
        let t = table(&groups);
        let rows = t.all_rows();
        let by = if ordered { SplitBy::Ordered } else { SplitBy::Shuffled };
        let o = options(test, valid, by, seed);
        let Ok(split) = Split::new(&t, &rows, by_class.then_some(&classes[..]), &o) else { return Ok(()) };
        prop_assert!(is_partition(&split, &rows));
        prop_assert_eq!(&split, &Split::new(&t, &rows, by_class.then_some(&classes[..]), &o).unwrap());
        let mut text = Vec::new();
        split.write(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        prop_assert_eq!(&Split::parse("s".as_ref(), &text, rows.len()).unwrap(), &split);
        if by_class && !ordered {
            let of = |part: &[u32], c| part.iter().filter(|&&r| classes[r as usize] == c).count();
            for c in 0..5 {
                let n = of(&rows, c);
                if n > 0 {
                    prop_assert!(of(&split.train, c) > 0, "training has every class");
                }
                // In proportion to within the rounding, if there are rows to spare.
                let exact = split.test.len() as f64 * n as f64 / rows.len() as f64;
                if classes.iter().filter(|&&d| d != c).count() > 0 && (0..5).all(|d| of(&rows, d) > 8) {
                    prop_assert!((of(&split.test, c) as f64 - exact).abs() <= 1.0 + 1e-9, "{} of {}", of(&split.test, c), exact);
                }
            }
        }
    }

    #[test]
    fn a_group_is_in_one_part(groups in prop::collection::vec(0u8..12, 20..200), seed: u64) {
        let t = table(&groups);
        let o = options(Some(0.25), Some(0.2), SplitBy::Column("group".into()), seed);
        let Ok(split) = Split::new(&t, &t.all_rows(), None, &o) else { return Ok(()) };
        prop_assert!(is_partition(&split, &t.all_rows()));
        let of = |part: &[u32]| part.iter().map(|&r| groups[r as usize]).collect::<BTreeSet<_>>();
        let (a, b, c) = (of(&split.train), of(&split.valid), of(&split.test));
        prop_assert!(a.is_disjoint(&b) && a.is_disjoint(&c) && b.is_disjoint(&c));
        // No further from its size than half the largest group.
        let largest = (0..12).map(|g| groups.iter().filter(|&&x| x == g).count()).max().unwrap();
        let off = (split.test.len() as f64 - 0.25 * groups.len() as f64).abs();
        prop_assert!(off <= largest as f64 + 1.0, "{} rows of {}, largest group {}", split.test.len(), groups.len(), largest);
    }
}
