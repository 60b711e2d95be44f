//! Where do keys, nonces and challenges come from?
//!
//! From a 32-byte seed that the driver takes from the operating system (and a test does not): a generator by
//! HMAC-SHA256 in counter mode. After each use the generator's own key is replaced by an output that nobody
//! saw, so that what it gave before cannot be computed from what it holds now.

use std::fmt;

use zeroize::Zeroizing;

use super::cipher::hmac_sha256;

/// A generator of secrets. Two with the same seed give the same.
pub struct Random {
    key: Zeroizing<[u8; 32]>,
}

impl Random {
    /// From a seed that nobody can guess.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self { key: Zeroizing::new(seed) }
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        // Block 0 is the next key.
        for (n, block) in (1u64..).zip(out.chunks_mut(32)) {
            let random = hmac_sha256(&*self.key, &[&n.to_le_bytes()]);
            block.iter_mut().zip(random.iter()).for_each(|(out, random)| *out = *random);
        }
        self.key = hmac_sha256(&*self.key, &[&0u64.to_le_bytes()]);
    }

    /// Some bytes that nobody but the caller shall know.
    #[must_use]
    pub fn secret<const N: usize>(&mut self) -> Zeroizing<[u8; N]> {
        let mut secret = Zeroizing::new([0; N]);
        self.fill(&mut *secret);
        secret
    }

    /// A number that is not 0.
    #[must_use]
    pub fn number(&mut self) -> u64 {
        loop {
            let number = u64::from_le_bytes(*self.secret());
            if number != 0 {
                return number;
            }
        }
    }

    /// The seed of another generator.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self { key: self.secret() }
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_twice_and_the_seed_decides() {
        let (mut a, mut b, mut c) = (Random::new([1; 32]), Random::new([1; 32]), Random::new([2; 32]));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100 {
            let numbers = [a.number(), c.number(), a.fork().number()];
            assert!(numbers.into_iter().all(|number| seen.insert(number)));
            assert_eq!(numbers.first(), Some(&b.number()));
            let _ = b.fork();
        }
        let (long, short) = (a.secret::<100>(), b.secret::<40>());
        assert_eq!(long.get(..40), Some(&short[..]));
        assert_ne!(long.get(..32), long.get(32..64));
        assert_eq!(a.number(), b.number());
    }
}
