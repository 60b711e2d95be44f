//! How does secure mode protect frames?
//!
//! AES-128-GCM without additional data. Both directions use one key and each its own nonce, all taken
//! from the connection secret that authentication gave:
//!
//! ```text
//! secret   0        16                28                40        64
//!          │  key   │ server→client   │ client→server   │ unused  │
//!
//! nonce    u32 LE, u64 LE   2.0 counts in the u32, 2.1 in the u64; each wraps without carry
//! ```
//!
//! Every GCM message (not every frame) takes the next nonce. When the counter comes back to its first
//! value the direction is [`Exhausted`], sending and receiving: a repeated nonce would give the key
//! away (CVE-2020-1759). Ceph: `src/msg/async/crypto_onwire.cc`.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::Revision;
use crate::Side;
use crate::error::Exhausted;

#[cfg(feature = "aws-lc-rs")]
mod apart;

/// The length of an authentication tag.
pub const TAG_LEN: usize = 16;
/// The bytes that a connection secret must have at least; Ceph's has 64.
pub const SECRET_LEAST: usize = 40;

/// Key and nonces of a connection in secure mode. Never printed, wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Keys {
    key: [u8; 16],
    from_server: [u8; 12],
    from_client: [u8; 12],
}

/// A connection secret shorter than [`SECRET_LEAST`]: authentication produced none, and secure mode
/// must be refused. (Ceph's 16.2 monitors abort here.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("connection secret of {found} bytes, secure mode needs {SECRET_LEAST}")]
pub struct SecretTooShort {
    /// Its length in bytes.
    pub found: usize,
}

impl Keys {
    /// Takes key and nonces from the connection secret.
    ///
    /// # Errors
    /// When it has fewer than [`SECRET_LEAST`] bytes.
    pub fn from_secret(secret: &[u8]) -> Result<Self, SecretTooShort> {
        let split = || {
            let (key, rest) = secret.split_first_chunk()?;
            let (from_server, rest) = rest.split_first_chunk()?;
            Some(Self { key: *key, from_server: *from_server, from_client: *rest.first_chunk()? })
        };
        split().ok_or(SecretTooShort { found: secret.len() })
    }

    /// The nonce with which `from` begins.
    fn nonce(&self, from: Side) -> [u8; 12] {
        match from {
            Side::Client => self.from_client,
            Side::Server => self.from_server,
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// The cipher of one direction.
pub(crate) struct Sealed {
    cipher: backend::Cipher,
    nonces: Nonces,
    /// For the look ahead of 2.0, which must read a frame's length before its tag is there.
    stream: Stream,
    #[cfg(feature = "aws-lc-rs")]
    apart: apart::Apart,
}

impl Sealed {
    pub(crate) fn new(keys: &Keys, from: Side, revision: Revision) -> Self {
        let stream = Stream::new(&keys.key);
        Self {
            cipher: backend::Cipher::new(&keys.key),
            nonces: Nonces::new(keys.nonce(from), revision),
            #[cfg(feature = "aws-lc-rs")]
            apart: apart::Apart::new(&stream),
            stream,
        }
    }

    /// Encrypts in place with the next nonce; returns the tag.
    pub(crate) fn seal(&mut self, text: &mut [u8]) -> Result<[u8; TAG_LEN], Exhausted> {
        let nonce = self.nonces.take()?;
        #[cfg(feature = "aws-lc-rs")]
        self.apart.not_used();
        self.cipher.seal(nonce, text).ok_or(Exhausted)
    }

    /// Encrypts `before` (whole blocks), `large` padded to blocks, and `end` as one GCM message with the
    /// next nonce, into memory of its own; the tag follows.
    #[cfg(feature = "aws-lc-rs")]
    pub(crate) fn seal_apart(
        &mut self,
        before: &[u8],
        large: &[u8],
        end: [u8; 16],
    ) -> Result<bytes::Bytes, Exhausted> {
        let nonce = self.nonces.take()?;
        self.apart.seal(&self.cipher, &self.stream, nonce, [before, large], end).ok_or(Exhausted)
    }

    /// How many GCM messages can still be sealed or opened, at most `most`.
    pub(crate) fn left(&self, most: u64) -> u64 {
        self.nonces.left(most)
    }

    /// Decrypts in place with the next nonce: whether the tag holds. Text of a wrong tag must not be used.
    pub(crate) fn open(&mut self, text: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<bool, Exhausted> {
        let nonce = self.nonces.take()?;
        Ok(self.cipher.open(nonce, text, tag))
    }

    /// The first 32 bytes of the next message decrypted without knowing whether they are genuine.
    pub(crate) fn peek(&self, mut text: [u8; 32]) -> [u8; 32] {
        self.stream.apply(self.nonces.next, &mut text);
        text
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("revision", &self.nonces.revision).finish_non_exhaustive()
    }
}

/// The nonces of one direction: a counter that never repeats.
struct Nonces {
    next: [u8; 12],
    first: [u8; 12],
    revision: Revision,
    used: bool,
}

impl Nonces {
    fn new(first: [u8; 12], revision: Revision) -> Self {
        Self { next: first, first, revision, used: false }
    }

    fn take(&mut self) -> Result<[u8; 12], Exhausted> {
        if self.used && self.next == self.first {
            return Err(Exhausted);
        }
        self.used = true;
        let now = self.next;
        let [a, b, c, d, high @ ..] = now;
        self.next = match self.revision {
            Revision::V2_0 => {
                let [a, b, c, d] = u32::from_le_bytes([a, b, c, d]).wrapping_add(1).to_le_bytes();
                let [e, f, g, h, i, j, k, l] = high;
                [a, b, c, d, e, f, g, h, i, j, k, l]
            }
            Revision::V2_1 => {
                let [e, f, g, h, i, j, k, l] = u64::from_le_bytes(high).wrapping_add(1).to_le_bytes();
                [a, b, c, d, e, f, g, h, i, j, k, l]
            }
        };
        Ok(now)
    }

    fn left(&self, most: u64) -> u64 {
        let count = |nonce: [u8; 12]| {
            let [a, b, c, d, high @ ..] = nonce;
            match self.revision {
                Revision::V2_0 => u64::from(u32::from_le_bytes([a, b, c, d])),
                Revision::V2_1 => u64::from_le_bytes(high),
            }
        };
        let distance = match self.revision {
            Revision::V2_0 => u64::from((count(self.first) as u32).wrapping_sub(count(self.next) as u32)),
            Revision::V2_1 => count(self.first).wrapping_sub(count(self.next)),
        };
        match (distance, self.used) {
            (0, false) => most,
            (left, _) => left.min(most),
        }
    }
}

impl Drop for Nonces {
    fn drop(&mut self) {
        self.next.zeroize();
        self.first.zeroize();
    }
}

/// GCM's counter stream by single blocks, where the cipher itself only does whole messages.
struct Stream(aes::Aes128);

impl Stream {
    fn new(key: &[u8; 16]) -> Self {
        use aes::cipher::KeyInit as _;
        Self(aes::Aes128::new(key.into()))
    }

    /// The key block for `counter`: GCM keeps 1 for the tag, text starts at 2.
    fn block(&self, nonce: [u8; 12], counter: u32) -> Zeroizing<u128> {
        use aes::cipher::BlockCipherEncrypt as _;
        let [a, b, c, d, e, f, g, h, i, j, k, l] = nonce;
        let [m, n, o, p] = counter.to_be_bytes();
        let mut block = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p].into();
        self.0.encrypt_block(&mut block);
        Zeroizing::new(u128::from_be_bytes(block.into()))
    }

    fn apply(&self, nonce: [u8; 12], text: &mut [u8; 32]) {
        for (block, counter) in text.as_chunks_mut().0.iter_mut().zip(2..) {
            *block = (u128::from_be_bytes(*block) ^ *self.block(nonce, counter)).to_be_bytes();
        }
    }
}

/// aws-lc's assembler.
#[cfg(feature = "aws-lc-rs")]
mod backend {
    use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    pub(super) struct Cipher(Option<LessSafeKey>);

    impl Cipher {
        pub(super) fn new(key: &[u8; 16]) -> Self {
            // The only failure is a key of another length; without a key nothing is sealed or opened.
            Self(UnboundKey::new(&AES_128_GCM, key).ok().map(LessSafeKey::new))
        }

        pub(super) fn seal(&self, nonce: [u8; 12], text: &mut [u8]) -> Option<[u8; 16]> {
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = self.0.as_ref()?.seal_in_place_separate_tag(nonce, Aad::empty(), text).ok()?;
            tag.as_ref().first_chunk().copied()
        }

        /// Encrypts two inputs into two outputs; the tag follows in the second.
        pub(super) fn seal_apart(
            &self,
            nonce: [u8; 12],
            [before, large]: [&[u8]; 2],
            [before_out, large_out]: [&mut [u8]; 2],
        ) -> Option<()> {
            let nonce = Nonce::assume_unique_for_key(nonce);
            let key = self.0.as_ref()?;
            key.seal_out_of_place_scatter(nonce, Aad::empty(), before, before_out, large, large_out).ok()
        }

        pub(super) fn open(&self, nonce: [u8; 12], text: &mut [u8], tag: &[u8; 16]) -> bool {
            let nonce = Nonce::assume_unique_for_key(nonce);
            let Some(key) = &self.0 else { return false };
            key.open_in_place_separate_tag(nonce, Aad::empty(), tag, text).is_ok()
        }
    }
}

/// RustCrypto, pure Rust.
#[cfg(not(feature = "aws-lc-rs"))]
mod backend {
    use aes_gcm::aead::AeadInOut as _;
    use aes_gcm::{Aes128Gcm, KeyInit as _};

    pub(super) struct Cipher(Aes128Gcm);

    impl Cipher {
        pub(super) fn new(key: &[u8; 16]) -> Self {
            Self(Aes128Gcm::new(key.into()))
        }

        pub(super) fn seal(&self, nonce: [u8; 12], text: &mut [u8]) -> Option<[u8; 16]> {
            let tag = self.0.encrypt_inout_detached(&nonce.into(), &[], text.into()).ok()?;
            Some(tag.into())
        }

        pub(super) fn open(&self, nonce: [u8; 12], text: &mut [u8], tag: &[u8; 16]) -> bool {
            self.0.decrypt_inout_detached(&nonce.into(), &[], text.into(), tag.into()).is_ok()
        }
    }
}

#[cfg(test)]
impl Sealed {
    /// A direction in use that can seal or open `left` more GCM messages. The next nonce is the same for any.
    pub(crate) fn with_left(revision: Revision, left: u8) -> Self {
        let keys = Keys { key: [1; 16], from_server: [2; 12], from_client: [3; 12] };
        let mut sealed = Self::new(&keys, Side::Client, revision);
        let mut ahead = Nonces::new([3; 12], revision);
        for _ in 0..left {
            assert!(ahead.take().is_ok());
        }
        (sealed.nonces.first, sealed.nonces.used) = (ahead.next, true);
        sealed
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const REVISIONS: [Revision; 2] = [Revision::V2_0, Revision::V2_1];

    #[test]
    fn nonces_end_before_the_first_comes_back() {
        for revision in REVISIONS {
            for left in 0..5 {
                let mut nonces = Sealed::with_left(revision, left).nonces;
                for n in (0..u64::from(left)).rev() {
                    assert_eq!((nonces.left(u64::MAX), nonces.left(n)), (n + 1, n));
                    assert_ne!(nonces.take().unwrap(), nonces.first);
                }
                for _ in 0..3 {
                    assert_eq!((nonces.left(3), nonces.next), (0, nonces.first));
                    assert_eq!(nonces.take(), Err(Exhausted));
                }
            }
        }
    }

    #[test]
    fn the_first_nonce_may_be_used_once() {
        for revision in REVISIONS {
            for first in [[0; 12], [0xff; 12], [7; 12]] {
                let mut nonces = Nonces::new(first, revision);
                assert_eq!(nonces.left(3), 3);
                assert_eq!(nonces.take(), Ok(first));
                assert_eq!(
                    nonces.left(u64::MAX),
                    if revision == Revision::V2_0 { u32::MAX.into() } else { u64::MAX }
                );
            }
        }
    }

    /// One before the end of a whole round, across the wrap; the other part of the nonce stays.
    #[test]
    fn a_round_ends_across_the_wrap() {
        let rows = [
            (
                Revision::V2_0,
                [0xff, 0xff, 0xff, 0xff, 9, 9, 9, 9, 9, 9, 9, 9],
                [0, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9],
            ),
            (
                Revision::V2_1,
                [9, 9, 9, 9, 255, 255, 255, 255, 255, 255, 255, 255],
                [9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
        ];
        for (revision, last, first) in rows {
            let mut nonces = Nonces { next: last, first, revision, used: true };
            assert_eq!(nonces.take(), Ok(last));
            assert_eq!(nonces.next, first);
            assert_eq!(nonces.take(), Err(Exhausted));
        }
    }

    #[test]
    fn used_up_ciphers_leave_text_alone() {
        for revision in REVISIONS {
            let mut sealed = Sealed::with_left(revision, 0);
            let mut text = *b"text";
            assert_eq!(sealed.seal(&mut text), Err(Exhausted));
            assert_eq!(sealed.open(&mut text, &[0; TAG_LEN]), Err(Exhausted));
            assert_eq!(&text, b"text");
        }
    }
}
