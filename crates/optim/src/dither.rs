//! Dither: where between its two neighbours a number begins to round up.
//!
//! Rounding up with the probability that makes the expected value exact takes a number u in [0, 1) for each rounding. Independent draws would
//! do, but what is rounded again at every step, as a rule's memory is, then walks at random. Here u goes through an additive recurrence,
//! u = u₀(seed, buffer) + step·α + place·β mod 1 with badly approximable α and β (Weyl 1916; Roberts 2018, "The unreasonable effectiveness of
//! quasirandom sequences"): uniform over seeds, hence unbiased, and spread so evenly over steps and over neighbouring numbers that errors
//! cancel soon. For the second moment of Adam (β₂ = 0.999) that leaves 0.17 of relative noise
//! where independent draws leave 0.21 (`scripts/reference/dither.py`).

use crate::format::BLOCK8;

/// Buffers that are rounded with dither of their own: the parameters and up to four slots of memory.
pub(crate) const BUFFERS: usize = 5;
/// α for each buffer: the fractions of the golden ratio and of the roots of 2, 3, 7 and 13, times 2³².
const STEP: [u32; BUFFERS] = [0x9E37_79B9, 0x6A09_E667, 0xBB67_AE85, 0xA54F_F53A, 0x9B05_688C];
/// β for all: the fraction of the root of 11, times 2³². (That of 5 is no choice: it is 1 less than twice the golden ratio's, so steps and places
/// would repeat each other.)
const PLACE: u32 = 0x510E_527F;

/// The dither of one buffer in one step, from one place on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dither {
    first: u32,
}

impl Dither {
    /// That of the first place.
    pub fn new(seed: u64, step: u64, buffer: usize) -> Self {
        let start = splitmix(seed ^ splitmix(buffer as u64));
        Self { first: ((start >> 32) as u32).wrapping_add(STEP[buffer].wrapping_mul(step as u32)) }
    }
    /// That of `place` and what follows.
    #[inline(always)]
    pub fn at(self, place: u64) -> Self {
        Self { first: self.first.wrapping_add(PLACE.wrapping_mul(place as u32)) }
    }
    /// u·2²⁰ for the first place.
    #[inline(always)]
    pub fn bits(self) -> u32 {
        self.first >> (32 - BITS)
    }
    /// u·2³² for the first place.
    #[inline(always)]
    pub fn first(self) -> u32 {
        self.first
    }
    /// That of the place after the one of `u`.
    #[inline(always)]
    pub fn next(u: u32) -> u32 {
        u.wrapping_add(PLACE)
    }
}

/// Bits of u that 8-bit memory takes.
pub(crate) const BITS: u32 = 20;
/// There u is that of a block's first place, with these bits turned over in each place (those of place·β): nearly as evenly spread, with the same
/// noise (`scripts/reference/dither.py`), and one instruction.
pub(crate) static TURNED: [u32; BLOCK8] = {
    let mut turned = [0; BLOCK8];
    let mut place = 0;
    while place < BLOCK8 {
        turned[place] = PLACE.wrapping_mul(place as u32) >> (32 - BITS);
        place += 1;
    }
    turned
};

fn splitmix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far the share of numbers below x is from x, at worst.
    fn discrepancy(mut u: Vec<f64>) -> f64 {
        u.sort_by(f64::total_cmp);
        let n = u.len() as f64;
        u.iter().enumerate().fold(0.0, |worst: f64, (i, u)| worst.max((u - (i as f64 + 0.5) / n).abs()))
    }

    /// Of independent draws this is 0.027 for a thousand in the middle, and below 0.01 once in 30 million.
    #[test]
    fn a_thousand_steps_or_places_are_spread_evenly() {
        for buffer in 0..BUFFERS {
            for seed in 0..5 {
                let at =
                    |step, place| f64::from(Dither::new(seed, step, buffer).at(place).first()) / 4294967296.0;
                for from in [0, 12_345, 1 << 40] {
                    let over_steps = discrepancy((0..1000).map(|i| at(from + i, 7)).collect());
                    let over_places = discrepancy((0..1000).map(|i| at(3, from + i)).collect());
                    assert!(over_steps < 0.01 && over_places < 0.01, "{buffer}: {over_steps}, {over_places}");
                    // With bits turned over, 0.02: independent draws stay below that once in six times, but not in all of these.
                    let in_block = |step, place: u64| {
                        let block = place / BLOCK8 as u64 * BLOCK8 as u64;
                        let bits = Dither::new(seed, step, buffer).at(block).bits();
                        f64::from(bits ^ TURNED[place as usize % BLOCK8]) / f64::from(1 << BITS)
                    };
                    let over_steps = discrepancy((0..1000).map(|i| in_block(from + i, 7)).collect());
                    let over_places = discrepancy((0..1000).map(|i| in_block(3, from + i)).collect());
                    assert!(over_steps < 0.02 && over_places < 0.02, "{buffer}: {over_steps}, {over_places}");
                }
            }
        }
        // And over seeds, as draws are.
        let over_seeds = discrepancy(
            (0..1000).map(|seed| f64::from(Dither::new(seed, 1, 2).first()) / 4294967296.0).collect(),
        );
        assert!(over_seeds < 0.07, "{over_seeds}");
    }
}
