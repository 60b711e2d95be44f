//! Where do the names of sessions come from, which strangers must not guess?
//!
//! A cookie goes over the wire to every peer. From those that a peer has seen, nothing follows for those of others: each
//! is AES-256 of a counter, under a key that never leaves.

use std::fmt;

use aes::Aes256;
use aes::cipher::{Block, BlockCipherEncrypt, KeyInit};
use zeroize::Zeroizing;

/// What all randomness of a messenger comes from: 32 bytes of the operating system's generator, of which no two
/// messengers have the same. Never printed; wiped when it is dropped.
pub struct Seed(Zeroizing<[u8; 32]>);

impl From<[u8; 32]> for Seed {
    fn from(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<Zeroizing<[u8; 32]>> for Seed {
    fn from(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }
}

/// For simulators and tests: the number in the first 8 bytes, least significant first, and then zeros. Who can guess it
/// knows all cookies.
impl From<u64> for Seed {
    fn from(number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
        bytes.into()
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// Draws numbers; the key is wiped when it is dropped.
pub(crate) struct Cookies {
    cipher: Aes256,
    drawn: u64,
}

impl Cookies {
    pub(crate) fn new(seed: &Seed) -> Self {
        Self { cipher: Aes256::new((&*seed.0).into()), drawn: 0 }
    }

    /// A number that is not 0.
    pub(crate) fn draw(&mut self) -> u64 {
        loop {
            self.drawn = self.drawn.wrapping_add(1);
            let mut block = Block::<Aes256>::from(u128::from(self.drawn).to_le_bytes());
            self.cipher.encrypt_block(&mut block);
            // The lower half of it.
            let number = u128::from_le_bytes(block.into()) as u64;
            if number != 0 {
                return number;
            }
        }
    }
}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cookies").field("drawn", &self.drawn).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::collections::HashSet;
    use std::sync::Arc;

    use cephwire_codec::{AddrVec, EntityName};

    use super::*;
    use crate::{Local, Options, Policies, auth::AllowAll};

    fn local(seed: impl Into<Seed>) -> Arc<Local> {
        let (name, options) = (EntityName::default(), Options::default());
        Local::new(
            name,
            AddrVec::default(),
            1,
            seed,
            Policies::default(),
            Arc::new(AllowAll { name }),
            options,
        )
    }

    /// By openssl: `enc -aes-256-ecb -nopad` with a key of zeros, of a block that begins with 1, and zeros.
    #[test]
    fn known_answer() {
        assert_eq!(
            Cookies::new(&0.into()).draw(),
            u64::from_le_bytes([0x52, 0x75, 0xf3, 0xd8, 0x6b, 0x4f, 0xb8, 0x68])
        );
    }

    /// As splitmix64 is undone: a number tells the generator's state, and that the next one.
    fn next_of_splitmix(number: u64) -> u64 {
        let unshift = |mixed: u64, by: u32| (0..64 / by).fold(mixed, |x, _| mixed ^ (x >> by));
        let inverse =
            |odd: u64| (0..6).fold(odd, |x, _| x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x))));
        let x = unshift(number, 31).wrapping_mul(inverse(0x94d0_49bb_1331_11eb));
        let x = unshift(x, 27).wrapping_mul(inverse(0xbf58_476d_1ce4_e5b9));
        let mut next = crate::random::Random::new(unshift(x, 30));
        next.next()
    }

    #[test]
    fn one_cookie_does_not_tell_the_next() {
        let mut random = crate::random::Random::new(99);
        assert_eq!(next_of_splitmix(random.next()), random.next(), "the attack works");
        let local = local(99);
        let (first, second) = (local.random(), local.random());
        assert_ne!(next_of_splitmix(first), second);
    }

    #[test]
    fn the_whole_seed_decides_and_nothing_comes_twice() {
        let mut seen = HashSet::new();
        for byte in 0..32 {
            let mut seed = [0; 32];
            *seed.get_mut(byte).unwrap() = 1;
            let (one, same) = (local(seed), local(seed));
            for _ in 0..20 {
                let number = one.random();
                assert!(number != 0 && seen.insert(number));
                assert_eq!(number, same.random());
            }
        }
        let mut first = [0; 32];
        *first.get_mut(0).unwrap() = 1;
        assert_eq!(local(1).random(), local(first).random());
    }

    #[test]
    fn neither_seed_nor_key_is_printed() {
        let seed = Seed::from([0xab; 32]);
        assert_eq!(format!("{seed:?}"), "Seed(..)");
        let local = local(seed);
        local.random();
        let text = format!("{local:?}");
        assert!(text.contains("Cookies { drawn: 1, .. }"), "{text}");
        assert!(!text.contains("ab, ab") && !text.contains("171"), "{text}");
    }
}
