//! Where does chance come from? From a seed, and from nowhere else.

use std::time::Duration;

/// The generator splitmix64, Sebastiano Vigna's, in the public domain:
/// <https://prng.di.unimi.it/splitmix64.c>. Every seed is good, and it is
/// enough for faults that are injected; nothing secret, or only not to be guessed, may come from it.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// True once in `count` times on average; never for 0.
    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        count > 0 && self.scaled(count) == 0
    }

    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && (self.scaled(1 << 53) as f64) < probability * (1u64 << 53) as f64
    }

    /// Uniform in [0, `limit`), to the nanosecond.
    pub(crate) fn below(&mut self, limit: Duration) -> Duration {
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.scaled(limit))
    }

    /// Uniform in [0, `limit`), but for a bias of `limit` / 2⁶⁴; 0 for 0.
    fn scaled(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs for the seed 1234567, as Rosetta Code has them.
    #[test]
    fn known_answers() {
        let mut random = Random(1_234_567);
        let answers = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431];
        assert_eq!([random.next(), random.next(), random.next(), random.next()], answers);
    }
}
