//! How do keys of each type encrypt?
//!
//! Two types, which stand side by side in one cluster for years:
//!
//! | type | encryption | proof of knowing the key |
//! |---|---|---|
//! | [`aes`] | AES-128-CBC with a fixed IV; integrity only by a magic number inside | the ciphertext |
//! | [`aes256k`] | aes256-cts-hmac-sha384-192 of Kerberos (RFC 8009), a key for each usage | HMAC-SHA256 |
//!
//! Ceph: `src/auth/Crypto.cc`.

pub mod aes;
pub mod aes256k;

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::random::Random;

/// A key that is ready to encrypt, decrypt and prove.
#[non_exhaustive]
pub enum Cipher {
    /// Type 1.
    Aes(Box<aes::Aes>),
    /// Type 2.
    Aes256k(aes256k::Aes256k),
}

/// What is encrypted. With aes256k each has its own keys, so that nothing can stand for something else.
/// Ceph: `CEPHX_KEY_USAGE_*` in `src/auth/cephx/CephxProtocol.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Usage {
    /// The connection secret that comes with an AUTH ticket.
    ConnectionSecret = 0x03,
    /// A ticket's session key and validity, for the client.
    TicketSessionKey = 0x04,
    /// A new AUTH ticket, with the session key of the old one.
    TicketBlob = 0x05,
    /// What an authorizer proves.
    Authorize = 0x10,
    /// A service's challenge.
    AuthorizeChallenge = 0x11,
    /// A service's reply.
    AuthorizeReply = 0x12,
    /// Rotating secrets.
    RotatingSecret = 0x20,
    /// The inside of a ticket, for the service.
    TicketInfo = 0x30,
}

impl Cipher {
    /// Encrypts. Only aes256k needs randomness.
    #[must_use]
    pub fn encrypt(&self, usage: Usage, plain: &[u8], random: &mut Random) -> Vec<u8> {
        match self {
            Self::Aes(aes) => aes.encrypt(plain),
            Self::Aes256k(aes256k) => aes256k.encrypt(usage as u32, plain, random.secret()),
        }
    }

    /// Decrypts; nothing if it was encrypted with another key or altered, as far as the type can tell.
    #[must_use]
    pub fn decrypt(&self, usage: Usage, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Aes(aes) => aes.decrypt(sealed),
            Self::Aes256k(aes256k) => aes256k.decrypt(usage as u32, sealed),
        }
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aes(_) => "Aes(..)",
            Self::Aes256k(_) => "Aes256k(..)",
        })
    }
}

/// HMAC-SHA256 of all parts together.
pub(super) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut mac = keyed_sha256(key);
    parts.iter().for_each(|part| mac.update(part));
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// HMAC-SHA256 with a key of at most 64 bytes (of a longer one, the first 64).
pub(super) fn keyed_sha256(key: &[u8]) -> Hmac<Sha256> {
    // An HMAC's key is filled with zeros to a block anyway, and a whole block always fits.
    let mut block = Zeroizing::new([0u8; 64]);
    block.iter_mut().zip(key).for_each(|(block, key)| *block = *key);
    Hmac::new((&*block).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test cases 1, 2 and 3.
    #[test]
    fn hmac_sha256_as_in_the_rfc() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for (key, data, mac) in [
            (
                &[0x0b; 20][..],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        ] {
            let (first, second) = data.split_at(3);
            assert_eq!(hex(&*hmac_sha256(key, &[first, second])), mac);
        }
    }
}
