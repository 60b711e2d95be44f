//! What is a key?

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BufMut;
use cephwire_codec::Timestamp;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::cipher::{Cipher, Usage, aes, aes256k, hmac_sha256};
use super::random::Random;
use super::wire::{Reader, put_blob, put_time};
use crate::auth::Reason;

/// The longest secret that is read.
const SECRET_MOST: u32 = 64;
/// What every envelope begins with.
pub(super) const MAGIC: u64 = 0xff00_9cad_8826_aa55;

/// What a key is for. Ceph: `CEPH_CRYPTO_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum KeyType {
    /// AES-128-CBC: the only type until 2025.
    Aes = 1,
    /// AES256KRB5 of RFC 8009: Ceph 19.2.6, 20.2.4, Linux 7.0 and newer.
    Aes256k = 2,
}

impl KeyType {
    /// The name that Ceph's options use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes => "aes",
            Self::Aes256k => "aes256k",
        }
    }

    /// The length of a secret that is made.
    #[must_use]
    pub const fn secret_len(self) -> usize {
        match self {
            Self::Aes => 16,
            Self::Aes256k => 32,
        }
    }

    fn of(number: u16) -> Result<Self, Reason> {
        match number {
            1 => Ok(Self::Aes),
            2 => Ok(Self::Aes256k),
            found => Err(Reason::KeyType { found }),
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KeyType {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        match text {
            "aes" => Ok(Self::Aes),
            "aes256k" => Ok(Self::Aes256k),
            _ => Err(Reason::Text { what: "key type", field: "text", expected: "aes or aes256k" }),
        }
    }
}

/// Which types of key may be used (`auth_allowed_ciphers`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyTypes {
    /// Type 1.
    pub aes: bool,
    /// Type 2.
    pub aes256k: bool,
}

impl KeyTypes {
    /// Both.
    pub const ALL: Self = Self { aes: true, aes256k: true };

    /// Whether keys of this type are allowed.
    #[must_use]
    pub const fn contains(self, kind: KeyType) -> bool {
        match kind {
            KeyType::Aes => self.aes,
            KeyType::Aes256k => self.aes256k,
        }
    }

    /// Refuses a key of a type that is not allowed. `what` says whose key it is.
    ///
    /// # Errors
    /// [`Reason::KeyNotAllowed`].
    pub fn check(self, what: &'static str, key: &CryptoKey) -> Result<(), Reason> {
        let kind = key.kind();
        if self.contains(kind) { Ok(()) } else { Err(Reason::KeyNotAllowed { what, kind: kind.name() }) }
    }
}

/// A secret and when it was made. Never printed, wiped when dropped.
///
/// ```text
/// 0      2         10       12
/// │ type │ created │ length │ secret        text: the same in base64
/// ```
/// Ceph: `CryptoKey` in `src/auth/Crypto.h`.
#[derive(Clone)]
pub struct CryptoKey {
    kind: KeyType,
    created: Timestamp,
    secret: Zeroizing<Vec<u8>>,
}

impl CryptoKey {
    /// A key with this secret.
    ///
    /// # Errors
    /// aes needs 16 bytes at least (more are kept, but not used to encrypt), aes256k 32.
    pub fn new(kind: KeyType, created: Timestamp, secret: &[u8]) -> Result<Self, Reason> {
        let (len, most) = (secret.len(), SECRET_MOST as usize);
        let fits = match kind {
            KeyType::Aes => (kind.secret_len()..=most).contains(&len),
            KeyType::Aes256k => len == kind.secret_len(),
        };
        if !fits {
            return Err(Reason::KeyLength { kind: kind.name(), found: len as u64 });
        }
        Ok(Self { kind, created, secret: Zeroizing::new(secret.to_vec()) })
    }

    /// A new key.
    #[must_use]
    pub fn generate(kind: KeyType, now: Timestamp, random: &mut Random) -> Self {
        let mut secret = Zeroizing::new(vec![0; kind.secret_len()]);
        random.fill(&mut secret);
        Self { kind, created: now, secret }
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> KeyType {
        self.kind
    }

    /// When it was made.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// The secret itself.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// Makes it ready to encrypt.
    #[must_use]
    pub fn cipher(&self) -> Cipher {
        match self.kind {
            KeyType::Aes => {
                let mut secret = Zeroizing::new([0; 16]);
                secret.iter_mut().zip(self.secret.iter()).for_each(|(to, from)| *to = *from);
                Cipher::Aes(Box::new(aes::Aes::new(&secret)))
            }
            KeyType::Aes256k => {
                let mut secret = Zeroizing::new([0; 32]);
                secret.iter_mut().zip(self.secret.iter()).for_each(|(to, from)| *to = *from);
                Cipher::Aes256k(aes256k::Aes256k::new(*secret))
            }
        }
    }

    /// Encrypts an object in its envelope: `u8` 1, `u64` magic, the object.
    #[must_use]
    pub fn seal(&self, usage: Usage, object: &[u8], random: &mut Random) -> Vec<u8> {
        let mut plain = Zeroizing::new(Vec::with_capacity(9 + object.len()));
        plain.put_u8(1);
        plain.put_u64_le(MAGIC);
        plain.put_slice(object);
        self.cipher().encrypt(usage, &plain, random)
    }

    /// Takes an object out of its envelope. `what` names it in the error.
    ///
    /// # Errors
    /// [`Reason::Unreadable`]: sealed with another key, or altered.
    pub fn open(
        &self,
        usage: Usage,
        what: &'static str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Reason> {
        let object = self.cipher().decrypt(usage, sealed).and_then(|plain| {
            // The version byte is not looked at.
            let (magic, object) = plain.get(1..)?.split_first_chunk()?;
            (u64::from_le_bytes(*magic) == MAGIC).then(|| Zeroizing::new(object.to_vec()))
        });
        object.ok_or(Reason::Unreadable { what })
    }

    /// What a client proves to a monitor with: both challenges under the key, folded to 8 bytes.
    #[must_use]
    pub fn proof(&self, server_challenge: u64, client_challenge: u64) -> u64 {
        let challenges = [server_challenge.to_le_bytes(), client_challenge.to_le_bytes()].concat();
        match self.cipher() {
            Cipher::Aes(cipher) => {
                // Of the length and the ciphertext, the first 32 bytes.
                let mut plain = vec![1];
                plain.put_u64_le(MAGIC);
                plain.put_slice(&challenges);
                let mut sealed = Vec::new();
                put_blob(&mut sealed, &cipher.encrypt(&plain));
                fold(&sealed)
            }
            Cipher::Aes256k(_) => fold(&*hmac_sha256(&self.secret, &[&challenges])),
        }
    }

    /// Reads the binary form.
    ///
    /// # Errors
    /// When it is cut, has more bytes, or is of a type that is not known.
    pub fn decode(bytes: &[u8]) -> Result<Self, Reason> {
        let mut reader = Reader::new("key", bytes);
        let key = Self::read(&mut reader)?;
        reader.end()?;
        Ok(key)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        let kind = KeyType::of(reader.u16("key type")?)?;
        let created = reader.time("key's time")?;
        let len = reader.u16("secret length")?;
        Self::new(kind, created, reader.take("secret", len.into())?)
    }

    /// The binary form.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(12 + self.secret.len()));
        self.put(&mut out);
        out
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.put_u16_le(self.kind as u16);
        put_time(out, self.created);
        out.put_u16_le(self.secret.len() as u16);
        out.put_slice(&self.secret);
    }

    /// The text form, as it stands in a keyring.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(&*self.encode()))
    }
}

/// From base64; white space around it is ignored.
impl FromStr for CryptoKey {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        let text = text.trim();
        if text.len() > 4 * SECRET_MOST as usize {
            let (found, limit) = (text.len() as u64, 4 * u64::from(SECRET_MOST));
            return Err(Reason::TooLong { what: "key", field: "base64", found, limit });
        }
        let wrong = |_| Reason::Text { what: "key", field: "text", expected: "base64" };
        let bytes = Zeroizing::new(STANDARD.decode(text).map_err(wrong)?);
        Self::decode(&bytes)
    }
}

/// Compares type and secret, in constant time; not when they were made.
impl PartialEq for CryptoKey {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && bool::from(self.secret.ct_eq(&other.secret))
    }
}

impl Eq for CryptoKey {}

impl fmt::Debug for CryptoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CryptoKey({}, ..)", self.kind)
    }
}

/// Folds bytes to 8: the first four little-endian `u64`, one over the other.
pub(super) fn fold(bytes: &[u8]) -> u64 {
    bytes.as_chunks::<8>().0.iter().take(4).fold(0, |folded, chunk| folded ^ u64::from_le_bytes(*chunk))
}
