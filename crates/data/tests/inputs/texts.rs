//! Text as symbols, and the sequences of it.

use proptest::prelude::*;
use thalweg_data::text::{Text, TextParts, Unit, Vocabulary};
use thalweg_data::{Batches, Note};

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
    assert_eq!((v.unit(), v.characters(), v.pooled()), (Unit::Character, &['a', 'b'][..], 2));
    assert_eq!((v.first_other("abba"), v.first_other("abca")), (None, Some((2, 'c'))));
    let mut bytes = Vec::new();
    (0..3).for_each(|code| v.write(code, &mut bytes));
    assert_eq!(bytes, "ab�".as_bytes());
    for (wrong, why) in [
        (json.replace("\"a\",\"b\"", "\"b\",\"a\""), "do not ascend"),
        (json.replace("\"a\",\"b\"", "\"a\",\"a\""), "do not ascend"),
        (json.replace("character\"", "byte\""), "a vocabulary of bytes has no characters"),
    ] {
        let error = serde_json::from_str::<Vocabulary>(&wrong).unwrap_err().to_string();
        assert!(error.contains(why), "{wrong}: {error}");
    }
    let (v, notes) = Vocabulary::learn(&text(b"\xff\x00a"), 0..3, 5);
    assert_eq!((v.len(), v.other(), notes), (256, None, vec![]));
    assert_eq!(v.encode_str("é"), [0xc3, 0xa9]);
    assert_eq!(v.decode(&[0xc3, 0xa9, 0xff]), "é�");
    assert_eq!(v.first_other("é\0"), None);
    bytes.clear();
    [0xc3, 0xff].into_iter().for_each(|code| v.write(code, &mut bytes));
    assert_eq!(bytes, [0xc3, 0xff]);
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

/// Where the sequences of an epoch begin, batch by batch.
fn epoch(x: &mut Batches) -> Vec<u32> {
    let mut starts = Vec::new();
    loop {
        let batch = x.next();
        let index = batch.index.expect("not the whole text at once");
        assert_eq!(batch.rows, index.len());
        starts.extend_from_slice(index);
        if batch.last {
            return starts;
        }
    }
}

proptest! {
    #[test]
    fn sequences_are_whole_and_apart(n in 2usize..300, context in 1usize..40, size in 1usize..9, seed: u64) {
        let Ok(mut x) = Batches::sequences(n, context, size, seed) else {
            prop_assert!(n <= context);
            return Ok(());
        };
        let count = if x.is_full() { x.batch_size() } else { epoch(&mut x).len() };
        // At most two contexts' worth of symbols is left out of an epoch.
        prop_assert!(count * context < n && n - 1 - count * context < 2 * context);
        prop_assert_eq!(count.div_ceil(size), x.per_epoch());
        if x.is_full() {
            let batch = x.next();
            prop_assert_eq!((batch.index, batch.rows), (None, count));
            return Ok(());
        }
        for _ in 0..3 {
            let before = x.position();
            let all = epoch(&mut x);
            let mut starts = all.clone();
            starts.sort_unstable();
            prop_assert_eq!(starts.len(), count);
            prop_assert!(starts.windows(2).all(|w| w[1] - w[0] == context as u32));
            prop_assert!((starts[0] as usize) < context);
            // The symbol behind the last sequence is its last target.
            prop_assert!(starts[count - 1] as usize + context < n);
            // Sought, it is the same again.
            let after = x.position();
            let mut again = Batches::sequences(n, context, size, seed).unwrap();
            again.seek(before.0, x.per_epoch() - 1);
            prop_assert_eq!(&all[(x.per_epoch() - 1) * size..], again.next().index.unwrap());
            prop_assert_eq!(again.position(), after);
        }
    }
}

/// Epochs begin at different places, each place between 0 and context − 1 as often as others.
#[test]
fn epochs_differ() {
    let mut x = Batches::sequences(1000, 8, 4, 3).unwrap();
    let mut seen = [0; 8];
    for _ in 0..400 {
        seen[*epoch(&mut x).iter().min().unwrap() as usize] += 1;
    }
    // 50 each; five standard deviations of a binomial are 33.
    assert!(seen.iter().all(|&n| (17..=83).contains(&n)), "{seen:?}");
    let order = |seed| epoch(&mut Batches::sequences(1000, 8, 4, seed).unwrap());
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
    assert_eq!(
        message(Batches::sequences(8, 8, 4, 3)),
        "the training part has 8 symbols, and a sequence of 8 with the symbol after it needs 9: \
         give a longer text or a smaller context"
    );
    assert!(message(Batches::sequences(1 << 32, 8, 4, 3)).contains("4294967296 symbols"));
}
