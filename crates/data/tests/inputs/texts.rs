//! Text as symbols, and the sequences of it.

use proptest::prelude::*;
use thalweg_data::Note;
use thalweg_data::text::{Sequences, Text, TextParts, Unit, Vocabulary};

use crate::message;

fn text(bytes: impl AsRef<[u8]>) -> Text {
    Text::parse("t.txt", bytes.as_ref()).unwrap().0
}

#[test]
fn characters_or_bytes() {
    let (x, notes) = Text::parse("t", "\u{feff}naïve 🌊\r\n".as_bytes()).unwrap();
    assert_eq!((x.unit(), x.len(), notes), (Unit::Character, 9, vec![]));
    let (x, notes) = Text::parse("t", b"na\xefve").unwrap();
    assert_eq!((x.unit(), x.len(), notes), (Unit::Byte, 5, vec![Note::Bytes { offset: 2 }]));
    let (_, notes) = Text::parse("t", b"\xef\xbb\xbfna\xefve").unwrap();
    assert_eq!(notes[0].to_string(), "byte 5 is not valid UTF-8: the text is taken as bytes, not characters");
    assert_eq!(message(Text::parse("t", b"")), "t is empty; expected text");
    assert_eq!(message(Text::parse("t", b"\xef\xbb\xbf")), "t is empty; expected text");
    assert_eq!(message(Text::parse("t", b"\xff\xfea\0")), "t is encoded in UTF-16; save it as UTF-8");
    assert_eq!(message(Text::read("/nowhere/t.txt")), "cannot read /nowhere/t.txt");
}

#[test]
fn a_vocabulary_is_learnt_on_its_part() {
    let x = text("aaaaabbbbbc ddddddddd");
    let (v, notes) = Vocabulary::learn(&x, 0..12, 5);
    assert_eq!((v.len(), v.other()), (3, Some(2)));
    let note = Note::PooledCharacters { characters: vec![' ', 'c'], times: 2, least: 5 };
    assert_eq!(notes, [note]);
    assert_eq!(
        notes[0].to_string(),
        "2 characters seen fewer than 5 times in training (2 together) count as \"other\": ' ', 'c'"
    );
    assert_eq!(v.encode(&x, 4..14), [0, 1, 1, 1, 1, 1, 2, 2, 2, 2]);
    assert_eq!(v.decode(&v.encode_str("abcab")), "ab�ab");
    let json = serde_json::to_string(&v).unwrap();
    assert_eq!(serde_json::from_str::<Vocabulary>(&json).unwrap(), v);
    let (v, notes) = Vocabulary::learn(&text(b"\xff\x00a"), 0..3, 5);
    assert_eq!((v.len(), v.other(), notes), (256, None, vec![]));
    assert_eq!(v.encode_str("é"), [0xc3, 0xa9]);
    assert_eq!(v.decode(&[0xc3, 0xa9, 0xff]), "é�");
    // A text of the other kind.
    assert_eq!(v.encode(&text("aé"), 0..2), [0x61, 0xc3, 0xa9]);
    let (v, _) = Vocabulary::learn(&text("aab"), 0..3, 1);
    assert_eq!(v.encode(&text(b"a\xffb"), 0..3), [0, 2, 1]);
}

#[test]
fn parts_are_contiguous() {
    let x = text("x".repeat(101));
    assert_eq!(
        x.cut(Some(0.1), Some(0.2)).unwrap(),
        TextParts { train: 0..73, valid: 73..81, test: 81..101 }
    );
    assert_eq!(x.cut(None, None).unwrap(), TextParts { train: 0..101, valid: 101..101, test: 101..101 });
    assert_eq!(message(x.cut(Some(1.0), None)), "the valid part must be a fraction in (0, 1), got 1");
    assert_eq!(message(x.cut(None, Some(f64::NAN))), "the test part must be a fraction in (0, 1), got NaN");
    assert_eq!(message(text("xy").cut(Some(0.1), Some(0.1))), "t.txt has 2 symbols, too few for 3 parts");
}

/// All sequences of an epoch, one after the other, and where in the text 0, 1, 2, … each begins.
fn epoch(x: &mut Sequences) -> (Vec<Vec<u32>>, Vec<u32>) {
    let (mut rows, mut starts) = (Vec::new(), Vec::new());
    loop {
        let batch = x.next();
        assert_eq!(batch.codes.len(), batch.rows * batch.context);
        for (codes, targets) in batch.codes.chunks(batch.context).zip(batch.targets.chunks(batch.context)) {
            assert!(codes.iter().zip(targets).all(|(c, t)| c + 1 == *t), "targets are one further on");
            assert!(codes.windows(2).all(|w| w[0] + 1 == w[1]), "symbols lie side by side");
            rows.push(targets.to_vec());
            starts.push(codes[0]);
        }
        if batch.last {
            return (rows, starts);
        }
    }
}

proptest! {
    #[test]
    fn in_order_every_symbol_is_a_target_once(n in 2u32..200, context in 1usize..40, size in 1usize..9) {
        let text: Vec<u32> = (0..n).collect();
        let mut x = Sequences::new(&text, context, size, 0, false).unwrap();
        for _ in 0..2 {
            let (rows, _) = epoch(&mut x);
            prop_assert_eq!(rows.concat(), (1..n).collect::<Vec<_>>());
            prop_assert_eq!(x.targets_per_epoch(), n as usize - 1);
        }
        prop_assert_eq!(x.position(), (2, 0));
    }

    #[test]
    fn shuffled_sequences_are_whole_and_apart(n in 2u32..300, context in 1usize..40, size in 1usize..9, seed: u64) {
        let text: Vec<u32> = (0..n).collect();
        let Ok(mut x) = Sequences::new(&text, context, size, seed, true) else {
            prop_assert!(n as usize <= context);
            return Ok(());
        };
        let mut all = Vec::new();
        for _ in 0..3 {
            let before = x.position();
            let (rows, mut starts) = epoch(&mut x);
            prop_assert!(rows.iter().all(|r| r.len() == context));
            prop_assert_eq!(rows.len() * context, x.targets_per_epoch());
            prop_assert_eq!(rows.len().div_ceil(size), x.per_epoch());
            // At most two contexts' worth of symbols is left out of an epoch.
            prop_assert!(n as usize - 1 - rows.len() * context < 2 * context);
            all.push(rows);
            starts.sort_unstable();
            prop_assert!(starts.windows(2).all(|w| w[1] - w[0] == context as u32));
            prop_assert!((starts[0] as usize) < context);
            // Sought, it is the same again.
            let after = x.position();
            let mut again = Sequences::new(&text, context, size, seed, true).unwrap();
            again.seek(before.0, x.per_epoch() - 1);
            let last = again.next().targets.to_vec();
            prop_assert_eq!(all.last().unwrap().concat()[(x.per_epoch() - 1) * size * context..].to_vec(), last);
            prop_assert_eq!(again.position(), after);
        }
    }
}

/// Epochs begin at different places, each place between 0 and context − 1 as often as others.
#[test]
fn epochs_differ() {
    let text: Vec<u32> = (0..1000).collect();
    let mut x = Sequences::new(&text, 8, 4, 3, true).unwrap();
    let mut seen = [0; 8];
    for _ in 0..400 {
        seen[*epoch(&mut x).1.iter().min().unwrap() as usize] += 1;
    }
    // 50 each; five standard deviations of a binomial are 33.
    assert!(seen.iter().all(|&n| (17..=83).contains(&n)), "{seen:?}");
    let order = |seed| epoch(&mut Sequences::new(&text, 8, 4, seed, true).unwrap()).1;
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
    assert_eq!(
        message(Sequences::new(&text[..8], 8, 4, 3, true)),
        "the training part has 8 symbols; sequences of 8 and the symbol after them need 9"
    );
    assert!(Sequences::new(&text[..1], 8, 4, 3, false).is_err());
}
