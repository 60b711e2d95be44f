//! Keys of type 1: AES-128-CBC, the same IV for everything, PKCS#7 padding.
//!
//! The fixed IV and the missing integrity are this type's weakness (CVE-2025-30156); what is decrypted must
//! therefore begin with the envelope's magic number.

use std::fmt;

use ::aes::Aes128;
use ::aes::cipher::{Array, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use zeroize::Zeroizing;

/// The IV of every encryption. Ceph: `CEPH_AES_IV`.
const IV: [u8; 16] = *b"cephsageyudagreg";
/// A block's length.
pub const BLOCK: usize = 16;

/// A key, expanded.
pub struct Aes(Aes128);

impl fmt::Debug for Aes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aes(..)")
    }
}

impl Aes {
    /// Expands a secret.
    #[must_use]
    pub fn new(secret: &[u8; 16]) -> Self {
        Self(Aes128::new(secret.into()))
    }

    /// Encrypts: 1 to 16 bytes longer.
    #[must_use]
    pub fn encrypt(&self, plain: &[u8]) -> Vec<u8> {
        let padding = BLOCK - plain.len() % BLOCK;
        let mut buf = Vec::with_capacity(plain.len() + padding);
        buf.extend_from_slice(plain);
        buf.resize(plain.len() + padding, padding as u8);
        let (blocks, _) = Array::slice_as_chunks_mut(&mut buf);
        cbc::Encryptor::inner_iv_init(&self.0, &IV.into()).encrypt_blocks(blocks);
        buf
    }

    /// Decrypts what has whole blocks and a valid padding. (Ceph does not look at the padding.)
    #[must_use]
    pub fn decrypt(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut buf = Zeroizing::new(sealed.to_vec());
        let (blocks, []) = Array::slice_as_chunks_mut(&mut buf) else { return None };
        cbc::Decryptor::inner_iv_init(&self.0, &IV.into()).decrypt_blocks(blocks);
        let padding = usize::from(*buf.last()?);
        let text = buf.len().checked_sub(padding)?;
        let valid = (1..=BLOCK).contains(&padding)
            && buf.get(text..)?.iter().all(|byte| usize::from(*byte) == padding);
        buf.truncate(text);
        valid.then_some(buf)
    }

    /// The first two blocks of the ciphertext of a text of two blocks or more. The rest is not needed where it is only
    /// hashed so: nothing is allocated.
    pub(crate) fn first_blocks(&self, plain: &[u8; 2 * BLOCK]) -> [u8; 2 * BLOCK] {
        let mut blocks = *plain;
        let mut before = IV;
        for block in blocks.as_chunks_mut::<BLOCK>().0 {
            block.iter_mut().zip(before).for_each(|(byte, before)| *byte ^= before);
            self.0.encrypt_block(block.into());
            before = *block;
        }
        blocks
    }
}
