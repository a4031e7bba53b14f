//! Batches: every row once an epoch, and the same after a seek as without interruption.

use proptest::prelude::*;
use thalweg_data::{BatchSize, Batches};

/// The next batch as owned rows, with its place.
fn take(b: &mut Batches) -> (Option<Vec<u32>>, usize, u64, usize, bool) {
    let next = b.next();
    (next.index.map(<[u32]>::to_vec), next.rows, next.epoch, next.batch, next.last)
}

#[test]
fn full_batches_need_no_index() {
    for size in [0, 5, 9] {
        let mut b = Batches::new(5, size, 1, true);
        assert!(b.is_full() && b.per_epoch() == 1);
        assert_eq!(take(&mut b), (None, 5, 0, 0, true));
        assert_eq!(take(&mut b), (None, 5, 1, 0, true));
    }
    let mut none = Batches::new(0, 3, 1, true);
    assert_eq!((take(&mut none), none.per_epoch()), ((None, 0, 0, 0, true), 0));
}

#[test]
fn without_a_shuffle_rows_keep_their_order() {
    let mut b = Batches::new(5, 2, 1, false);
    let all: Vec<u32> = (0..6).flat_map(|_| take(&mut b).0.unwrap()).collect();
    assert_eq!(all, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
}

#[test]
fn sizes_as_one_says_them() {
    assert_eq!("32".parse(), Ok(BatchSize::Rows(32)));
    assert_eq!("full".parse(), Ok(BatchSize::Full));
    for bad in ["0", "-1", "1.5", "", "all"] {
        assert!(bad.parse::<BatchSize>().unwrap_err().contains(bad));
    }
}

proptest! {
    #[test]
    fn every_row_once_an_epoch(n in 1usize..80, size in 1usize..90, seed: u64) {
        let mut b = Batches::new(n, size, seed, true);
        let mut epochs = Vec::new();
        for epoch in 0..3 {
            let mut rows = Vec::new();
            for i in 0..b.per_epoch() {
                let (index, len, e, k, last) = take(&mut b);
                prop_assert_eq!((e, k, last), (epoch, i, i + 1 == b.per_epoch()));
                let index = index.unwrap_or_else(|| (0..n as u32).collect());
                prop_assert_eq!(index.len(), len);
                rows.extend(index);
            }
            let mut sorted = rows.clone();
            sorted.sort_unstable();
            prop_assert!(sorted.into_iter().eq(0..n as u32));
            epochs.push(rows);
        }
        if n > 30 && size < n {
            prop_assert_ne!(&epochs[0], &epochs[1]);
        }
    }

    #[test]
    fn a_seek_is_no_interruption(n in 1usize..60, size in 1usize..20, seed: u64, steps in 0usize..40, shuffle: bool) {
        let mut whole = Batches::new(n, size, seed, shuffle);
        (0..steps).for_each(|_| drop(take(&mut whole)));
        let mut sought = Batches::new(n, size, seed, shuffle);
        let (epoch, batch) = whole.position();
        sought.seek(epoch, batch);
        let mut counted = Batches::new(n, size, seed, shuffle);
        counted.seek(0, steps);
        for _ in 0..10 {
            let next = take(&mut whole);
            prop_assert_eq!(&take(&mut sought), &next);
            prop_assert_eq!(&take(&mut counted), &next);
        }
    }
}
