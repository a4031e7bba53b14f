//! [`NGram`]: the baseline of a model of text, by counting.

use std::str::FromStr;

use rustc_hash::FxHashMap;

/// How counts of long contexts and of shorter ones are mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Smoothing {
    /// Witten & Bell 1991, method C, interpolated: a context is trusted the more, the less often it brought something new.
    WittenBell,
    /// Kneser & Ney 1995 with one discount for each order, interpolated as in Chen & Goodman 1998, §3.
    KneserNey,
}

impl FromStr for Smoothing {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "witten-bell" => Ok(Self::WittenBell),
            "kneser-ney" => Ok(Self::KneserNey),
            _ => Err(format!("expected witten-bell or kneser-ney, got {text:?}")),
        }
    }
}

/// An n-gram model of symbols 0 to `symbols` − 1: the probability of the next by the n − 1 before it.
///
/// ```text
/// h     the last k symbols, k = n − 1, …, 0;   h′ = h without its first
/// c(hw) how often w follows h;   c(h) = Σ c(hw);   N(h) = how many different w follow h
///
/// Witten–Bell   p(w|h) = (c(hw) + N(h)·p(w|h′)) / (c(h) + N(h))
/// Kneser–Ney    p(w|h) = (max(c(hw) − D, 0) + D·N(h)·p(w|h′)) / c(h)
///               D = n₁ / (n₁ + 2·n₂), n₁ and n₂ the strings hw that are counted once and twice
/// p(w|h) = p(w|h′) if h was never followed;   below the empty context: 1 / symbols
/// ```
///
/// Kneser–Ney counts, for all contexts but those of n − 1 symbols, not how often hw occurs but after how many different symbols.
/// Every probability is above 0 and they sum to 1 for each context. (Kneser–Ney's D is ½ for an order where nothing is counted once.)
#[derive(Clone, Debug)]
pub struct NGram {
    order: usize,
    symbols: usize,
    smoothing: Smoothing,
    /// From a string (0 is the empty one) and a symbol to the string with that symbol at its end.
    strings: FxHashMap<(u32, u32), u32>,
    /// For each string.
    counts: Vec<Count>,
    /// D by the length of the context.
    discounts: Vec<f64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// c of this string: how often it occurs, or after how many different symbols.
    own: u64,
    /// Σ c over the strings that are one symbol longer.
    next: u64,
    /// How many of them have c > 0.
    distinct: u32,
}

impl NGram {
    /// Counts a text. Orders from 1 (no context) on; 5 is usual for characters. Symbols of `text` must be below `symbols`.
    ///
    /// # Panics
    /// If the order or the number of symbols is 0, or a symbol is not below it.
    pub fn learn(text: &[u32], symbols: usize, order: usize, smoothing: Smoothing) -> Self {
        assert!(order > 0 && symbols > 0, "an n-gram model needs an order and a number of symbols from 1");
        let mut model = Self {
            order,
            symbols,
            smoothing,
            strings: FxHashMap::default(),
            counts: vec![Count::default()],
            discounts: vec![0.5; order],
        };
        // contexts[k]: the string of the last k symbols.
        let mut contexts = vec![0u32];
        let mut ends = Vec::with_capacity(order + 1);
        let mut lengths = vec![0usize];
        for &symbol in text {
            assert!((symbol as usize) < symbols, "symbol {symbol} is not below {symbols}");
            ends.clear();
            ends.push(0);
            for k in 0..contexts.len() {
                let context = contexts[k];
                let fresh = model.counts.len() as u32;
                let string = *model.strings.entry((context, symbol)).or_insert(fresh);
                if string == fresh {
                    model.counts.push(Count::default());
                    lengths.push(k + 1);
                    // One more symbol stands before the string that is one shorter.
                    if k > 0 && smoothing == Smoothing::KneserNey {
                        model.count(contexts[k - 1], ends[k]);
                    }
                }
                if k + 1 == order || smoothing == Smoothing::WittenBell {
                    model.count(context, string);
                }
                ends.push(string);
            }
            ends.truncate(order);
            std::mem::swap(&mut contexts, &mut ends);
        }
        for (k, discount) in model.discounts.iter_mut().enumerate() {
            let times =
                |n| lengths.iter().zip(&model.counts).filter(|&(&l, c)| l == k + 1 && c.own == n).count();
            let (once, twice) = (times(1) as f64, times(2) as f64);
            if once > 0.0 {
                *discount = once / (once + 2.0 * twice);
            }
        }
        model
    }

    fn count(&mut self, context: u32, string: u32) {
        let own = &mut self.counts[string as usize].own;
        *own += 1;
        let first = *own == 1;
        let context = &mut self.counts[context as usize];
        context.next += 1;
        context.distinct += u32::from(first);
    }

    /// The order n: the longest context has n − 1 symbols.
    pub fn order(&self) -> usize {
        self.order
    }

    /// The probability that `symbol` comes after `context`, of which the last n − 1 symbols count.
    pub fn probability(&self, context: &[u32], symbol: u32) -> f64 {
        let longest = context.len().min(self.order - 1);
        let contexts: Vec<u32> = (0..=longest)
            .map_while(|k| {
                let symbols = &context[context.len() - k..];
                symbols.iter().try_fold(0, |string, &s| self.strings.get(&(string, s)).copied())
            })
            .collect();
        self.mix(&contexts, symbol)
    }

    /// Σ −log₂ p of the symbols of a text, each after those before it. Over its length: bits per symbol.
    pub fn bits(&self, text: &[u32]) -> f64 {
        let (mut contexts, mut ends) = (vec![0u32], Vec::with_capacity(self.order));
        let mut bits = 0.0;
        for &symbol in text {
            bits -= libm::log2(self.mix(&contexts, symbol));
            ends.clear();
            ends.push(0);
            let longer = contexts.iter().take(self.order - 1);
            // A string that was not seen is the end of no longer one.
            ends.extend(longer.map_while(|&c| self.strings.get(&(c, symbol)).copied()));
            std::mem::swap(&mut contexts, &mut ends);
        }
        bits
    }

    /// From the empty context to the longest.
    fn mix(&self, contexts: &[u32], symbol: u32) -> f64 {
        let mut p = 1.0 / self.symbols as f64;
        for (k, &context) in contexts.iter().enumerate() {
            let Count { next, distinct, .. } = self.counts[context as usize];
            if next == 0 {
                continue;
            }
            let string = self.strings.get(&(context, symbol));
            let own = string.map_or(0, |&s| self.counts[s as usize].own) as f64;
            let (next, distinct) = (next as f64, f64::from(distinct));
            p = match self.smoothing {
                Smoothing::WittenBell => (own + distinct * p) / (next + distinct),
                Smoothing::KneserNey => {
                    let d = self.discounts[k];
                    ((own - d).max(0.0) + d * distinct * p) / next
                }
            };
        }
        p
    }
}
