//! How is a large message sealed without copying it first?
//!
//! aws-lc can seal two inputs into other memory. But a GCM message has three parts: short segments, a
//! large one, and an end (what the large one has beyond whole blocks, padding, epilogue). So aws-lc seals
//! the first two, and the last one or two blocks `C1`, `C2` and the tag are made here. With `Y` for the
//! GHASH after aws-lc's blocks, `E` for the key block of counter 1, `L1` and `L2` for the lengths:
//!
//! ```text
//! aws-lc's tag      T1 = E ⊕ (Y ⊕ L1)·H        so        Y·H = T1 ⊕ E ⊕ L1·H
//! one block more    (Y ⊕ C1)·H = T1 ⊕ E ⊕ (L1 ⊕ C1)·H
//! tag of all        T = E ⊕ GHASH(L1 ⊕ C1, T1 ⊕ E ⊕ C2, L2)        or, without C2, (L1 ⊕ C1, T1 ⊕ E ⊕ L2)
//! ```

use bytes::{Bytes, BytesMut};
use ghash::GHash;
use ghash::universal_hash::UniversalHash as _;
use zeroize::Zeroizing;

use super::backend::Cipher;
use super::{Stream, TAG_LEN};

/// Longer sealed messages are not kept as [`Apart::spare`]: twice Ceph's usual object.
const SPARE_MOST: usize = 8 << 20;
/// After so many other GCM messages in a row the spare memory is freed. Small frames between large ones
/// do not cost it; a direction that falls silent keeps it.
const SPARE_FOR: u32 = 64;

/// What sealing into other memory needs.
pub(super) struct Apart {
    /// Keyed with H, the key block of zeros.
    hash: GHash,
    /// An earlier sealed message. Its memory is used again once nobody else holds it: memory must be
    /// initialised, and filling it with zeros costs near half of the copy that is saved.
    spare: Option<Bytes>,
    not_used: u32,
}

impl Apart {
    pub(super) fn new(stream: &Stream) -> Self {
        let key = Zeroizing::new(stream.block([0; 12], 0).to_be_bytes());
        Self { hash: GHash::new((&*key).into()), spare: None, not_used: 0 }
    }

    /// Another message was sealed elsewhere.
    pub(super) fn not_used(&mut self) {
        self.not_used += 1;
        if self.not_used >= SPARE_FOR {
            (self.spare, self.not_used) = (None, 0);
        }
    }

    /// Seals whole blocks, a large text padded to whole blocks, and a last block; the tag follows.
    pub(super) fn seal(
        &mut self,
        cipher: &Cipher,
        stream: &Stream,
        nonce: [u8; 12],
        [before, large]: [&[u8]; 2],
        end: [u8; 16],
    ) -> Option<Bytes> {
        let (blocks, odd) = large.as_chunks::<16>();
        let blocks = blocks.as_flattened();
        let whole = before.len() + blocks.len();
        let odd = (!odd.is_empty()).then(|| {
            let mut padded = [0; 16];
            padded.iter_mut().zip(odd).for_each(|(to, from)| *to = *from);
            padded
        });
        let len = before.len() + large.len().next_multiple_of(16) + end.len() + TAG_LEN;
        let mut memory = self.memory(len);
        let (before_out, rest) = memory.get_mut(..len)?.split_at_mut_checked(before.len())?;
        let large_out = rest.get_mut(..blocks.len() + TAG_LEN)?;
        cipher.seal_apart(nonce, [before, blocks], [before_out, large_out])?;

        // The tag of what is sealed so far stands where the next block belongs.
        let rest = rest.get_mut(blocks.len()..)?;
        let so_far = u128::from_be_bytes(*rest.first_chunk()?);
        let (text, tag) = rest.split_last_chunk_mut::<TAG_LEN>()?;
        let text = text.as_chunks_mut::<16>().0;
        let counters = 2 + (whole / 16) as u32..;
        for ((to, plain), counter) in text.iter_mut().zip(odd.into_iter().chain([end])).zip(counters) {
            *to = (u128::from_be_bytes(plain) ^ *stream.block(nonce, counter)).to_be_bytes();
        }
        let tag_key = stream.block(nonce, 1);
        let bits = |len: usize| len as u128 * 8;
        let hashed = text.iter().map(|block| u128::from_be_bytes(*block)).chain([bits(len - TAG_LEN)]);
        let mend = Zeroizing::new([bits(whole), so_far ^ *tag_key, 0]);
        let mut hash = self.hash.clone();
        for (block, mend) in hashed.zip(mend.iter()) {
            hash.update(&[(block ^ mend).to_be_bytes().into()]);
        }
        *tag = (u128::from_be_bytes(hash.finalize().into()) ^ *tag_key).to_be_bytes();
        Some(self.keep(memory.freeze()).slice(..len))
    }

    /// Initialised memory of `len` bytes or more.
    fn memory(&mut self, len: usize) -> BytesMut {
        self.not_used = 0;
        match self.spare.take_if(|spare| spare.len() < len || spare.is_unique()).map(Bytes::try_into_mut) {
            Some(Ok(spare)) if spare.len() >= len => spare,
            _ => BytesMut::zeroed(len),
        }
    }

    /// Keeps it as the spare one, if there is none: the one that a writer has had for longer comes back first.
    fn keep(&mut self, memory: Bytes) -> Bytes {
        if self.spare.is_none() && memory.len() <= SPARE_MOST {
            self.spare = Some(memory.clone());
        }
        memory
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::{Keys, Sealed};
    use super::*;
    use crate::v2::Revision;
    use crate::{Exhausted, Side};
    use aes_gcm::aead::AeadInOut as _;
    use aes_gcm::{Aes128Gcm, KeyInit as _};
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// As RustCrypto seals it, message after message, whether the memory is new or used again.
        #[test]
        fn as_another_implementation(
            secret in vec(any::<u8>(), 40),
            (server, old) in any::<(bool, bool)>(),
            messages in vec((0usize..40, vec(any::<u8>(), 0..700), any::<([u8; 16], bool)>()), 1..8),
        ) {
            let keys = Keys::from_secret(&secret).unwrap();
            let revision = if old { Revision::V2_0 } else { Revision::V2_1 };
            let mut sealed = Sealed::new(&keys, if server { Side::Server } else { Side::Client }, revision);
            let other = Aes128Gcm::new((&keys.key).into());
            let mut held = Vec::new();
            for (before, large, (end, hold)) in messages {
                let before: Vec<u8> = (0..before * 16).map(|n| n as u8).collect();
                let mut expected = [&before[..], &large].concat();
                expected.resize(expected.len().next_multiple_of(16), 0);
                expected.extend_from_slice(&end);
                let nonce = sealed.nonces.next.into();
                let tag = other.encrypt_inout_detached(&nonce, &[], expected.as_mut_slice().into()).unwrap();
                expected.extend_from_slice(&tag);
                let found = sealed.seal_apart(&before, &large, end).unwrap();
                prop_assert_eq!(&found, &expected);
                held.push((expected, found));
                held.retain(|(expected, found)| hold && expected == found);
            }
        }
    }

    fn sealed() -> Sealed {
        Sealed::with_left(Revision::V2_1, u8::MAX)
    }

    #[test]
    fn memory_is_used_again_once_it_is_free() {
        let mut sealed = sealed();
        let mut seal = |len: usize| sealed.seal_apart(&[], &vec![1; len], [0; 16]).unwrap();
        let first = seal(1000);
        let (place, content) = (first.as_ptr(), first.to_vec());
        let second = seal(1000);
        assert_ne!(second.as_ptr(), place);
        assert_eq!(first, content);
        drop(first);
        assert_eq!(seal(900).as_ptr(), place);
        assert_eq!(seal(1000).as_ptr(), place);
        let longer = seal(5000);
        let place = longer.as_ptr();
        drop(longer);
        assert_eq!(seal(1000).as_ptr(), place);
    }

    #[test]
    fn memory_is_not_kept_for_ever() {
        let mut sealed = sealed();
        sealed.seal_apart(&[], &[1; 1000], [0; 16]).unwrap();
        for _ in 0..SPARE_FOR {
            assert!(sealed.apart.spare.is_some());
            sealed.seal(&mut [0; 16]).unwrap();
        }
        assert!(sealed.apart.spare.is_none());
        sealed.seal_apart(&[], &vec![0; SPARE_MOST], [0; 16]).unwrap();
        assert!(sealed.apart.spare.is_none());
    }

    #[test]
    fn used_up_nonces_seal_nothing() {
        let mut sealed = Sealed::with_left(Revision::V2_0, 0);
        assert_eq!(sealed.seal_apart(&[], &[1; 100], [0; 16]), Err(Exhausted));
    }
}
