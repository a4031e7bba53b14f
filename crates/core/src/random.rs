//! Random streams: counter-based (Philox4x32-10), so a draw depends on its key alone, not on what was drawn before.
//!
//! Every use has a [`Purpose`], so that two uses of one seed never share numbers; within a purpose, `nth` counts
//! (the epoch of a shuffle, say).

use rand_philox::{Philox, splitmix64};

/// What random numbers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Cutting rows into training, validation and test parts.
    Split = 1,
    /// The order of rows in an epoch.
    Shuffle = 2,
    /// Starting values of parameters.
    Init = 3,
    /// Made-up data.
    Data = 4,
    /// Vectors that a power iteration starts from.
    Probe = 5,
    /// Noise that an optimizer adds, and the vectors it probes curvature with.
    Noise = 6,
    /// Rounding of compressed memory.
    Rounding = 7,
    /// Which numbers dropout keeps.
    Dropout = 8,
    /// Which symbol of a text comes next.
    Sample = 9,
}

/// A stream of random numbers for `(seed, purpose, nth)`.
#[derive(Clone, Debug)]
pub struct Stream(Philox);

impl Stream {
    /// The stream of that key, from its start.
    pub fn new(seed: u64, purpose: Purpose, nth: u64) -> Self {
        let key = splitmix64(seed ^ splitmix64((purpose as u64) << 48 ^ 0x9e37_79b9_7f4a_7c15));
        Self(Philox::from_u64_seed_stream(key, nth))
    }
    /// Uniform on `[0, n)`, without bias.
    pub fn below(&mut self, n: u32) -> u32 {
        self.0.bounded(n)
    }
    /// Uniform on `[0, 1)`, 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
    /// Standard normal: the polar method of Marsaglia, one of the two numbers used.
    pub fn normal(&mut self) -> f64 {
        loop {
            let (a, b) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let s = a * a + b * b;
            if s > 0.0 && s < 1.0 {
                return a * (-2.0 * libm::log(s) / s).sqrt();
            }
        }
    }
    /// Puts `items` in a random order: Fisher and Yates, from the end.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let bound = u32::try_from(i + 1).expect("fewer than 2³² items are shuffled");
            items.swap(i, self.below(bound) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 distribution (kat_vectors, philox4x32 10): a change of generator must not go unseen.
    #[test]
    fn the_generator_is_philox_4x32_10() {
        assert_eq!(
            rand_philox::philox4x32_10([0; 4], [0; 2]),
            [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]
        );
        let ones = u32::MAX;
        assert_eq!(
            rand_philox::philox4x32_10([ones; 4], [ones; 2]),
            [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]
        );
        assert_eq!(
            rand_philox::philox4x32_10(
                [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
                [0xa4093822, 0x299f31d0]
            ),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn streams_differ_by_seed_purpose_and_number() {
        let draw = |s, p, n| Stream::new(s, p, n).0.next_u64();
        let all = [
            draw(0, Purpose::Split, 0),
            draw(1, Purpose::Split, 0),
            draw(0, Purpose::Shuffle, 0),
            draw(0, Purpose::Split, 1),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b));
        }
        assert_eq!(draw(7, Purpose::Data, 3), draw(7, Purpose::Data, 3));
    }

    #[test]
    fn normal_has_mean_0_and_variance_1() {
        let mut s = Stream::new(3, Purpose::Data, 0);
        let n = 100_000;
        let draws: Vec<f64> = (0..n).map(|_| s.normal()).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let var = draws.iter().map(|x| x * x).sum::<f64>() / f64::from(n);
        // Four standard errors: 4/√n and 4·√(2/n).
        assert!(mean.abs() < 0.0127, "{mean}");
        assert!((var - 1.0).abs() < 0.0179, "{var}");
    }
}
