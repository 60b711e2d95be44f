//! Keys of type 2, AES256KRB5: aes256-cts-hmac-sha384-192 of RFC 8009.
//!
//! ```text
//! Ke = KDF(secret, usage, 0xaa)    Ki = KDF(secret, usage, 0x55)
//! sealed = C │ H     C = AES-256-CBC-CTS(Ke, IV 0; 16 random bytes │ plain)     H = HMAC-SHA384(Ki; IV │ C), 24 bytes
//! ```

use std::fmt;

use ::aes::Aes256;
use ::aes::cipher::{Array, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha384;
use zeroize::Zeroizing;

use super::aes::BLOCK;

/// The random bytes before the text.
const CONFOUNDER: usize = BLOCK;
/// The part of the HMAC that is sent.
const TAG: usize = 24;
/// What encrypting adds.
pub const OVERHEAD: usize = CONFOUNDER + TAG;

/// A secret, from which the keys of each usage are derived.
pub struct Aes256k(Zeroizing<[u8; 32]>);

impl fmt::Debug for Aes256k {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aes256k(..)")
    }
}

impl Aes256k {
    /// Takes a secret.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// Encrypts: [`OVERHEAD`] bytes longer.
    #[must_use]
    pub fn encrypt(&self, usage: u32, plain: &[u8], confounder: Zeroizing<[u8; CONFOUNDER]>) -> Vec<u8> {
        let len = CONFOUNDER + plain.len();
        let mut buf = Vec::with_capacity(len.next_multiple_of(BLOCK) + TAG);
        buf.extend_from_slice(&*confounder);
        buf.extend_from_slice(plain);
        self.encrypt_cts(usage, &mut buf);
        let tag = self.tag(usage, &buf).finalize().into_bytes();
        buf.extend(tag.into_iter().take(TAG));
        buf
    }

    /// Decrypts, if the tag holds.
    #[must_use]
    pub fn decrypt(&self, usage: u32, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let len = sealed.len().checked_sub(TAG).filter(|len| *len >= CONFOUNDER)?;
        let (text, tag) = sealed.split_at_checked(len)?;
        // Compares in constant time.
        self.tag(usage, text).verify_truncated_left(tag).ok()?;
        let mut buf = Zeroizing::new(text.to_vec());
        self.decrypt_cts(usage, &mut buf);
        Some(Zeroizing::new(buf.get(CONFOUNDER..)?.to_vec()))
    }

    /// CBC-CS3: as CBC over a text filled up with zeros, the last two blocks exchanged, cut to the text's length.
    fn encrypt_cts(&self, usage: u32, buf: &mut Vec<u8>) {
        let len = buf.len();
        buf.resize(len.next_multiple_of(BLOCK), 0);
        let (blocks, _) = Array::slice_as_chunks_mut(buf);
        cbc::Encryptor::inner_iv_init(self.cipher(usage), &[0; BLOCK].into()).encrypt_blocks(blocks);
        if let [.., before, last] = blocks {
            std::mem::swap(before, last);
        }
        buf.truncate(len);
    }

    fn decrypt_cts(&self, usage: u32, buf: &mut Vec<u8>) {
        let (len, cipher) = (buf.len(), self.cipher(usage));
        buf.resize(len.next_multiple_of(BLOCK), 0);
        let missing = buf.len() - len;
        let (blocks, _) = Array::slice_as_chunks_mut(buf);
        if let [.., before, last] = blocks {
            // What was cut from the last block is where the other one decrypts to: the text had zeros there.
            let mut filling = *before;
            ::aes::cipher::BlockCipherDecrypt::decrypt_block(&cipher, &mut filling);
            let cut = BLOCK - missing;
            last.iter_mut().zip(filling).skip(cut).for_each(|(last, filling)| *last = filling);
            std::mem::swap(before, last);
        }
        cbc::Decryptor::inner_iv_init(cipher, &[0; BLOCK].into()).decrypt_blocks(blocks);
        buf.truncate(len);
    }

    fn cipher(&self, usage: u32) -> Aes256 {
        let mut key = self.derive(usage, 0xaa);
        key.truncate(32);
        let mut whole = Zeroizing::new([0; 32]);
        whole.iter_mut().zip(key.iter()).for_each(|(whole, key)| *whole = *key);
        Aes256::new((&*whole).into())
    }

    /// The HMAC over the IV, which is zero, and the ciphertext.
    fn tag(&self, usage: u32, text: &[u8]) -> Hmac<Sha384> {
        let mut key = self.derive(usage, 0x55);
        key.truncate(TAG);
        let mut mac = keyed_sha384(&key);
        mac.update(&[0; BLOCK]);
        mac.update(text);
        mac
    }

    /// KDF-HMAC-SHA2 (RFC 8009 §3): the 48 bytes of which the first are the key.
    fn derive(&self, usage: u32, tag: u8) -> Zeroizing<Vec<u8>> {
        let bits = if tag == 0xaa { 8 * 32u32 } else { 8 * TAG as u32 };
        let mut mac = keyed_sha384(&*self.0);
        mac.update(&1u32.to_be_bytes());
        mac.update(&usage.to_be_bytes());
        mac.update(&[tag, 0]);
        mac.update(&bits.to_be_bytes());
        Zeroizing::new(mac.finalize().into_bytes().to_vec())
    }
}

fn keyed_sha384(key: &[u8]) -> Hmac<Sha384> {
    // An HMAC's key is filled with zeros to a block anyway, and a whole block always fits.
    let mut block = Zeroizing::new([0u8; 128]);
    block.iter_mut().zip(key).for_each(|(block, key)| *block = *key);
    Hmac::new((&*block).into())
}
