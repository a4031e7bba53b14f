//! [`Interner`]: distinct texts and their numbers, in the order of their first appearance.

use rayon::prelude::*;

use crate::number::{Cell, Rules};
use crate::table::{Levels, MISSING};
use crate::window::Window;

/// Fifteen bytes and fewer are compared by their window alone.
const SHORT: usize = 15;

/// A distinct text. A short one is `lo` and `hi`; of a longer one, they are its first eight bytes and its hash.
#[derive(Clone, Copy, Debug)]
struct Entry {
    lo: u64,
    hi: u64,
    start: usize,
    len: usize,
}

/// Distinct texts, found by hash (open addressing).
#[derive(Clone, Debug)]
pub(crate) struct Interner {
    /// One more than the number of an entry; 0 is free.
    slots: Vec<u32>,
    entries: Vec<Entry>,
    text: Vec<u8>,
}

#[inline(always)]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd1b5_4a32_d192_ed03);
    product as u64 ^ (product >> 64) as u64
}

fn hash(text: &[u8]) -> u64 {
    let word = |chunk: &[u8]| {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(bytes)
    };
    text.chunks(8).fold(text.len() as u64, |h, chunk| mix(h, word(chunk)))
}

impl Interner {
    pub fn new() -> Self {
        Self { slots: vec![0; 64], entries: Vec::new(), text: Vec::new() }
    }

    /// The number of a text of at most fifteen bytes, given as a window with zeros behind it.
    ///
    /// None if the text is new and not UTF-8.
    #[inline(always)]
    pub fn short(&mut self, window: Window, len: usize) -> Option<u32> {
        let Window { lo, hi } = window;
        let mask = self.slots.len() - 1;
        let mut slot = mix(lo, hi) as usize & mask;
        loop {
            let Some(i) = self.slots[slot].checked_sub(1) else {
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&lo.to_le_bytes());
                bytes[8..].copy_from_slice(&hi.to_le_bytes());
                return self.insert(slot, lo, hi, &bytes[..len]);
            };
            let e = &self.entries[i as usize];
            if e.lo == lo && e.hi == hi && e.len == len {
                return Some(i);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// The number of a text. None if it is new and not UTF-8.
    pub fn get(&mut self, text: &[u8]) -> Option<u32> {
        let head = |from: usize| {
            let mut bytes = [0; 8];
            let part = &text[from.min(text.len())..(from + 8).min(text.len())];
            bytes[..part.len()].copy_from_slice(part);
            u64::from_le_bytes(bytes)
        };
        if text.len() <= SHORT {
            return self.short(Window { lo: head(0), hi: head(8) }, text.len());
        }
        let (lo, hi) = (head(0), hash(text));
        let mask = self.slots.len() - 1;
        let mut slot = mix(lo, hi) as usize & mask;
        loop {
            let Some(i) = self.slots[slot].checked_sub(1) else {
                return self.insert(slot, lo, hi, text);
            };
            let e = &self.entries[i as usize];
            if e.lo == lo && e.hi == hi && self.bytes(i) == text {
                return Some(i);
            }
            slot = (slot + 1) & mask;
        }
    }

    #[cold]
    fn insert(&mut self, slot: usize, lo: u64, hi: u64, text: &[u8]) -> Option<u32> {
        std::str::from_utf8(text).ok()?;
        let i = self.entries.len() as u32;
        self.entries.push(Entry { lo, hi, start: self.text.len(), len: text.len() });
        self.text.extend_from_slice(text);
        self.slots[slot] = i + 1;
        if self.entries.len() * 2 > self.slots.len() {
            self.grow();
        }
        Some(i)
    }

    fn grow(&mut self) {
        let size = self.slots.len() * 4;
        self.slots.clear();
        self.slots.resize(size, 0);
        for (i, e) in self.entries.iter().enumerate() {
            let mut slot = mix(e.lo, e.hi) as usize & (size - 1);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (size - 1);
            }
            self.slots[slot] = i as u32 + 1;
        }
    }

    fn bytes(&self, i: u32) -> &[u8] {
        let e = &self.entries[i as usize];
        &self.text[e.start..e.start + e.len]
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// All texts, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|i| self.bytes(i as u32))
    }

    /// The texts sorted by bytes, without those that stand for a missing value, and the new number of each old one.
    pub fn sorted(&self, rules: &Rules) -> (Levels, Vec<u32>) {
        let mut order: Vec<u32> =
            (0..self.len() as u32).filter(|&i| rules.cell(self.bytes(i)) != Cell::Missing).collect();
        // The first eight bytes decide most comparisons (zeros behind a shorter text come before any byte, as its end does).
        let head = |i: u32| self.entries[i as usize].lo.swap_bytes();
        order.par_sort_unstable_by(|&a, &b| {
            head(a).cmp(&head(b)).then_with(|| self.bytes(a).cmp(self.bytes(b)))
        });
        let mut code = vec![MISSING; self.len()];
        let mut levels = Levels::default();
        for (new, &old) in order.iter().enumerate() {
            code[old as usize] = new as u32;
            levels.push(std::str::from_utf8(self.bytes(old)).expect("checked when it was inserted"));
        }
        (levels, code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_one_number_and_others_another() {
        let mut interner = Interner::new();
        let texts: Vec<String> = (0..5000).map(|i| format!("{:0>1$}", i, i % 23)).collect();
        let mut distinct = texts.clone();
        distinct.sort();
        distinct.dedup();
        let codes: Vec<u32> = texts.iter().map(|t| interner.get(t.as_bytes()).unwrap()).collect();
        assert_eq!(interner.len(), distinct.len());
        for (text, code) in texts.iter().zip(codes) {
            assert_eq!(interner.bytes(code), text.as_bytes());
            assert_eq!(interner.get(text.as_bytes()), Some(code));
        }
        assert_eq!(interner.get(&[0xff, 0xfe]), None);
        assert_ne!(interner.get(b""), interner.get(b"\0"));
    }
}
