//! What [`gru`](super::gru) and [`lstm`](super::lstm) share: where the rows of a step lie, and the gradients of what leads from state to state.

use thalweg_core::gemm::Gather;

use crate::Number;
use crate::number::{View, ViewMut};
use crate::op::{Backward, Codes, Forward};
use crate::sums;

/// The sizes of n sequences of so many steps, with states of k numbers and so many gates for each of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sizes {
    pub n: usize,
    pub steps: usize,
    pub k: usize,
    pub gates: usize,
}

/// Where the row of each sequence starts: in the states of a step, in its gates, in the first states. And the place 0.
#[derive(Clone, Copy)]
pub(super) struct Lists<'a> {
    pub states: &'a [u32],
    pub gates: &'a [u32],
    pub first: &'a [u32],
    pub zero: &'a [u32],
}

impl<'a> Lists<'a> {
    /// Leaves them on the tape.
    ///
    /// # Panics
    /// When there are 2³² gates or more.
    pub fn write<N: Number>(f: &mut Forward<'_, N>, Sizes { n, steps, k, gates }: Sizes) -> Codes {
        let all = n.saturating_mul(steps).saturating_mul(gates * k);
        assert!(
            u32::try_from(all).is_ok(),
            "{n} sequences of {steps} steps have {all} gates: 2³² are too many"
        );
        let codes = f.new_codes(3 * n + 1);
        let lists = f.codes_mut(codes);
        for i in 0..n {
            lists[i] = (i * steps * k) as u32;
            lists[n + i] = (i * steps * gates * k) as u32;
            lists[2 * n + i] = (i * k) as u32;
        }
        codes
    }
    /// What was left there for n sequences.
    pub fn read(codes: &'a [u32], n: usize) -> Self {
        Self {
            states: &codes[..n],
            gates: &codes[n..2 * n],
            first: &codes[2 * n..3 * n],
            zero: &codes[3 * n..],
        }
    }
    /// Rows of `len` numbers that start at these places.
    pub fn rows<N>(&self, data: &'a [N], rows: &'a [u32], len: usize) -> Gather<'a, N> {
        Gather { data, rows, segments: self.zero, len, step: 1 }
    }
}

/// Adds the gradients of the weight u, input `u`, and of its bias, the input behind it if there is one: `du += Σ dbᵀ·h`, `dc += Σ db` over sequences and
/// steps, with h the state before each step: `first`, then `states`.
pub(super) fn weights<N: Number>(
    back: &mut Backward<'_, N>,
    u: usize,
    (first, states): (&[N], &[N]),
    db: &[N],
    Sizes { n, steps, k, gates }: Sizes,
) {
    if back.count() > u + 1 {
        sums::columns(back, u + 1, db, gates * k);
    }
    if !back.wants(u) {
        return;
    }
    let work = back.work;
    let mut before = back.take(states.len());
    let sequences = before.chunks_exact_mut(steps * k).zip(states.chunks_exact(steps * k));
    for ((before, states), first) in sequences.zip(first.chunks_exact(k)) {
        before[..k].copy_from_slice(first);
        before[k..].copy_from_slice(&states[..(steps - 1) * k]);
    }
    if let Some(du) = back.grad(u) {
        let beta = du.beta();
        let (db, before) = (View::new(db, n * steps, gates * k), View::new(&before, n * steps, k));
        work.product(N::one(), db.t(), before, beta, ViewMut::new(du.grad, gates * k, k));
    }
    back.give(before);
}
