//! The n-gram baseline: by hand, against a slow count by the formulas, and its sums.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use thalweg_data::text::{NGram, Smoothing};

const A: u32 = 0;
const B: u32 = 1;
const C: u32 = 2;

/// "abac". Of no context: c = 2, 1, 1 of 4, N = 3, uniform ⅓: p(a) = (2 + 3·⅓)/7 = 3/7, p(b) = p(c) = 2/7. After a: b and c once, N = 2:
/// p(b|a) = (1 + 2·2/7)/4 = 11/28, p(a|a) = (0 + 2·3/7)/4 = 6/28. After c nothing came: p(·|c) = p(·).
#[test]
fn witten_bell_by_hand() {
    let model = NGram::learn(&[A, B, A, C], 3, 2, Smoothing::WittenBell);
    let p = |context: &[u32], symbol| model.probability(context, symbol);
    let cases = [
        (p(&[], A), 3.0 / 7.0),
        (p(&[], B), 2.0 / 7.0),
        (p(&[A], B), 11.0 / 28.0),
        (p(&[A], C), 11.0 / 28.0),
        (p(&[A], A), 6.0 / 28.0),
        (p(&[C], A), 3.0 / 7.0),
        // Only the last symbol of a context counts.
        (p(&[C, C, A], B), 11.0 / 28.0),
        // a: 3/7, then b after a: 11/28.
        (model.bits(&[A, B]), -(3.0f64 / 7.0 * 11.0 / 28.0).log2()),
    ];
    for (i, (found, expected)) in cases.into_iter().enumerate() {
        assert!((found - expected).abs() < 1e-15 * 4.0, "case {i}: {found} is not {expected}");
    }
}

/// "abacab": ab twice, ba, ac and ca once: D = 3/(3 + 2) = 0.6 after one symbol. a comes after 2 different symbols, b and c after 1: of 4,
/// N = 3, D = 2/(2 + 2) = ½: p(a) = (1.5 + ½·3·⅓)/4 = ½, p(b) = p(c) = ¼. After a, c(a) = 3 and N = 2:
/// p(b|a) = (1.4 + 0.6·2·¼)/3 = 1.7/3, p(c|a) = (0.4 + 0.3)/3, p(a|a) = 0.6·2·½/3.
#[test]
fn kneser_ney_by_hand() {
    let model = NGram::learn(&[A, B, A, C, A, B], 3, 2, Smoothing::KneserNey);
    let p = |context: &[u32], symbol| model.probability(context, symbol);
    let cases = [
        (p(&[], A), 0.5),
        (p(&[], B), 0.25),
        (p(&[A], B), 1.7 / 3.0),
        (p(&[A], C), 0.7 / 3.0),
        (p(&[A], A), 0.2),
    ];
    for (i, (found, expected)) in cases.into_iter().enumerate() {
        assert!((found - expected).abs() < 1e-15 * 4.0, "case {i}: {found} is not {expected}");
    }
}

/// The formulas, with counts by looking at every place of the text.
struct Slow<'a> {
    text: &'a [u32],
    symbols: u32,
    order: usize,
    smoothing: Smoothing,
}

impl Slow<'_> {
    /// c of every string of `length`.
    fn counts(&self, length: usize) -> BTreeMap<Vec<u32>, f64> {
        let mut counts = BTreeMap::new();
        if self.smoothing == Smoothing::WittenBell || length == self.order {
            self.text.windows(length).for_each(|w| *counts.entry(w.to_vec()).or_default() += 1.0);
        } else {
            let longer: BTreeSet<&[u32]> = self.text.windows(length + 1).collect();
            longer.iter().for_each(|w| *counts.entry(w[1..].to_vec()).or_default() += 1.0);
        }
        counts
    }

    fn p(&self, context: &[u32], symbol: u32) -> f64 {
        let context = &context[context.len().saturating_sub(self.order - 1)..];
        let shorter = match context {
            [] => 1.0 / f64::from(self.symbols),
            [_, rest @ ..] => self.p(rest, symbol),
        };
        let all = self.counts(context.len() + 1);
        let c = |w: u32| all.get(&[context, &[w]].concat()).copied().unwrap_or(0.0);
        let own: Vec<f64> = (0..self.symbols).map(c).collect();
        let (sum, distinct) = (own.iter().sum::<f64>(), own.iter().filter(|&&c| c > 0.0).count() as f64);
        if sum == 0.0 {
            return shorter;
        }
        match self.smoothing {
            Smoothing::WittenBell => (c(symbol) + distinct * shorter) / (sum + distinct),
            Smoothing::KneserNey => {
                let times = |n| all.values().filter(|&&c| c == n).count() as f64;
                let d = if times(1.0) > 0.0 { times(1.0) / (times(1.0) + 2.0 * times(2.0)) } else { 0.5 };
                ((c(symbol) - d).max(0.0) + d * distinct * shorter) / sum
            }
        }
    }
}

proptest! {
    #[test]
    fn as_the_formulas_say(
        text in prop::collection::vec(0u32..4, 0..60),
        other in prop::collection::vec(0u32..5, 0..12),
        order in 1usize..5,
        kneser_ney: bool,
    ) {
        let smoothing = if kneser_ney { Smoothing::KneserNey } else { Smoothing::WittenBell };
        let (fast, slow) = (NGram::learn(&text, 5, order, smoothing), Slow { text: &text, symbols: 5, order, smoothing });
        let mut bits = 0.0;
        for i in 0..=other.len() {
            let context = &other[..i];
            let p: Vec<f64> = (0..5).map(|w| fast.probability(context, w)).collect();
            prop_assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-14, "{:?} sum to {}", p, p.iter().sum::<f64>());
            for w in 0..5 {
                let (found, expected) = (p[w as usize], slow.p(context, w));
                // The same few operations at each order.
                prop_assert!(found > 0.0 && (found - expected).abs() < 1e-14, "{} is not {}", found, expected);
            }
            if let Some(&w) = other.get(i) {
                bits -= p[w as usize].log2();
            }
        }
        prop_assert!((fast.bits(&other) - bits).abs() < 1e-12 * bits.max(1.0));
    }
}

/// A text drawn from a known chain: no model is better than its entropy, and one that looks one symbol back comes near.
#[test]
fn bits_come_near_the_entropy() {
    use thalweg_core::random::{Purpose, Stream};
    let mut stream = Stream::new(5, Purpose::Data, 0);
    let mut draw = |n: usize| {
        let mut text = vec![0u32];
        while text.len() < n {
            let last = *text.last().unwrap();
            text.push(if stream.uniform() < 0.75 { (last + 1) % 4 } else { stream.below(4) });
        }
        text
    };
    // The next one: 0.75 + 0.0625, and three times 0.0625.
    let entropy = -(0.8125 * 0.8125f64.log2() + 3.0 * 0.0625 * 0.0625f64.log2());
    let (train, test) = (draw(20_000), draw(20_000));
    for smoothing in [Smoothing::WittenBell, Smoothing::KneserNey] {
        let per = |order| NGram::learn(&train, 4, order, smoothing).bits(&test) / test.len() as f64;
        // Bits of a symbol have a standard deviation below 1.5: of 20,000, 0.011; and 12 free numbers learnt from as many cost 12/(2 ln 2 · 20,000).
        assert!((per(2) - entropy).abs() < 0.033, "{smoothing:?}: {} and {entropy}", per(2));
        assert!((per(1) - 2.0).abs() < 0.01, "one symbol alone says nothing: {}", per(1));
    }
}
