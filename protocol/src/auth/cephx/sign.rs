//! What is signed with a session key?
//!
//! In v2 the transcript of the handshake, once. In v1 each message:
//!
//! ```text
//! new form   u32 header crc, front crc, front length, middle crc, middle length, data crc, data length, seq   (32 bytes)
//! old form   u8 1, u64 magic, u32 16, u32 header crc, front crc, middle crc, data crc                           (29 bytes)
//! ```
//! encrypted without an envelope, or for aes256k keys under HMAC-SHA256. Of the result, the first four `u64` one over
//! the other are the signature in the new form, the first alone in the old one. The new form is used if both sides have
//! CEPHX_V2.
//!
//! Ceph: `src/auth/cephx/CephxSessionHandler.cc`.

use std::fmt;

use bytes::BufMut;
use cephwire_codec::{Features, v1};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::cipher::aes::{Aes, BLOCK};
use super::cipher::{Cipher, hmac_sha256, keyed_sha256};
use super::key::{CryptoKey, MAGIC, fold};

/// v2: the AUTH_SIGNATURE over what one side said, HMAC-SHA256 with the session key.
#[must_use]
pub fn sign_transcript(session_key: &CryptoKey, said: &[u8]) -> [u8; 32] {
    *hmac_sha256(session_key.secret(), &[said])
}

/// v1: signs messages. Made once for a connection, as expanding a key costs more than signing a message.
pub struct MessageSigner {
    new_form: bool,
    key: Prepared,
}

enum Prepared {
    Aes(Box<Aes>),
    Aes256k(Hmac<Sha256>),
}

impl MessageSigner {
    /// The signer of a connection with these features.
    #[must_use]
    pub fn new(session_key: &CryptoKey, features: Features) -> Self {
        let key = match session_key.cipher() {
            Cipher::Aes(cipher) => Prepared::Aes(cipher),
            Cipher::Aes256k(_) => Prepared::Aes256k(keyed_sha256(session_key.secret())),
        };
        Self { new_form: features.contains(Features::CEPHX_V2), key }
    }

    /// What the block of 32 bytes, of which `len` count, becomes.
    fn digest(&self, block: &[u8; 2 * BLOCK], len: usize) -> [u8; 32] {
        match &self.key {
            Prepared::Aes(cipher) => cipher.first_blocks(block),
            Prepared::Aes256k(hmac) => {
                let mut hmac = hmac.clone();
                hmac.update(block.get(..len).unwrap_or(block));
                hmac.finalize().into_bytes().into()
            }
        }
    }
}

impl v1::Signer for MessageSigner {
    fn sign(&self, covered: &v1::Signed) -> u64 {
        let v1::Signed { header_crc, front_crc, front_len, middle_crc, middle_len, data_crc, data_len, seq } =
            *covered;
        let mut block = [0; 2 * BLOCK];
        let mut out = &mut block[..];
        if self.new_form {
            // Of the number, the low 32 bits.
            for field in
                [header_crc, front_crc, front_len, middle_crc, middle_len, data_crc, data_len, seq as u32]
            {
                out.put_u32_le(field);
            }
            fold(&self.digest(&block, 32))
        } else {
            out.put_u8(1);
            out.put_u64_le(MAGIC);
            for field in [16, header_crc, front_crc, middle_crc, data_crc] {
                out.put_u32_le(field);
            }
            // The padding of the last three bytes.
            out.put_bytes(3, 3);
            let digest = self.digest(&block, 29);
            digest.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
        }
    }
}

impl fmt::Debug for MessageSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSigner").field("new_form", &self.new_form).finish_non_exhaustive()
    }
}
