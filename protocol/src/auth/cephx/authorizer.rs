//! How does a client convince a service, and the service the client?
//!
//! ```text
//! client   u8 1, u64 global_id, u32 service, ticket blob, ENC(session key; u8 2, u64 nonce, u8 0, u64 0)
//! service  ENCB(session key; u8 1, u64 server_challenge)
//! client   the same with   ENC(session key; u8 2, u64 nonce, u8 1, u64 server_challenge + 1)
//! service  ENC(session key; u8 version, u64 nonce + 1 [, string connection_secret])
//! ```
//! The client shows with it that it knows the ticket's session key, now: the challenge is new (CVE-2018-1128). The service
//! shows that it could read the ticket, as the session key is in there.

use bytes::{BufMut, Bytes};
use zeroize::Zeroizing;

use super::cipher::Usage;
use super::key::CryptoKey;
use super::monitor::MODE_AUTHORIZER;
use super::random::Random;
use super::ticket::TicketBlob;
use super::wire::{Reader, put_blob};
use crate::auth::Reason;

const PROOF_MOST: u32 = 256;
const REPLY_MOST: u32 = 1024;
const SECRET_MOST: u32 = 256;

/// What a client shows to a service. Ceph: `CephXAuthorizer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorizer {
    /// The client's number, as in the ticket.
    pub global_id: u64,
    /// The entity type of the service.
    pub service: u32,
    /// The ticket.
    pub ticket: TicketBlob,
    /// What proves that the client knows the session key: an [`Authorize`], sealed.
    pub proof: Bytes,
}

impl Authorizer {
    /// Reads it.
    ///
    /// # Errors
    /// When it is cut or longer than it may be.
    pub fn decode(bytes: &[u8]) -> Result<Self, Reason> {
        let mut reader = Reader::new("authorizer", bytes);
        let this = Self::read(&mut reader)?;
        reader.end()?;
        Ok(this)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        let mode = reader.u8("mode")?;
        if !(1..=9).contains(&mode) {
            return Err(reader.value("mode", mode.into(), "1"));
        }
        Ok(Self {
            global_id: reader.u64("global_id")?,
            service: reader.u32("service")?,
            ticket: TicketBlob::read(reader)?,
            proof: Bytes::copy_from_slice(reader.blob("proof", PROOF_MOST)?),
        })
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.ticket.blob.len() + self.proof.len());
        out.put_u8(MODE_AUTHORIZER);
        out.put_u64_le(self.global_id);
        out.put_u32_le(self.service);
        self.ticket.put(&mut out);
        put_blob(&mut out, &self.proof);
        out
    }

    /// Reads the proof with the session key.
    ///
    /// # Errors
    /// The client does not have that key, or something was altered.
    pub fn open(&self, session_key: &CryptoKey) -> Result<Authorize, Reason> {
        let plain = session_key.open(Usage::Authorize, "authorizer", &self.proof)?;
        let mut reader = Reader::new("authorizer's proof", &plain);
        let version = reader.version("version")?;
        let nonce = reader.u64("nonce")?;
        let mut challenge = None;
        if version >= 2 {
            let answered = reader.u8("have_challenge")? != 0;
            challenge = Some(reader.u64("server_challenge_plus_one")?).filter(|_| answered);
        }
        reader.end_of(version, 2)?;
        Ok(Authorize { nonce, challenge })
    }

    /// Puts another proof into it.
    pub fn prove(&mut self, proof: Authorize, session_key: &CryptoKey, random: &mut Random) {
        self.proof = proof.seal(session_key, random).into();
    }
}

/// What is sealed in an authorizer. Ceph: `CephXAuthorize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorize {
    /// The client's random number, the same in both steps.
    pub nonce: u64,
    /// The service's challenge plus one; nothing in the first step.
    pub challenge: Option<u64>,
}

impl Authorize {
    fn seal(self, session_key: &CryptoKey, random: &mut Random) -> Vec<u8> {
        let mut plain = vec![2];
        plain.put_u64_le(self.nonce);
        plain.put_u8(self.challenge.is_some().into());
        plain.put_u64_le(self.challenge.unwrap_or(0));
        session_key.seal(Usage::Authorize, &plain, random)
    }
}

/// A service's challenge. No length stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorizeChallenge(pub u64);

impl AuthorizeChallenge {
    /// Reads it.
    ///
    /// # Errors
    /// The service does not have that key, or something was altered.
    pub fn open(payload: &[u8], session_key: &CryptoKey) -> Result<Self, Reason> {
        let plain = session_key.open(Usage::AuthorizeChallenge, "authorizer challenge", payload)?;
        let mut reader = Reader::new("authorizer challenge", &plain);
        let version = reader.version("version")?;
        let challenge = reader.u64("challenge")?;
        reader.end_of(version, 1)?;
        Ok(Self(challenge))
    }

    /// Writes it.
    #[must_use]
    pub fn seal(self, session_key: &CryptoKey, random: &mut Random) -> Vec<u8> {
        let mut plain = vec![1];
        plain.put_u64_le(self.0);
        session_key.seal(Usage::AuthorizeChallenge, &plain, random)
    }

    /// What answers it.
    #[must_use]
    pub fn answer(self) -> u64 {
        self.0.wrapping_add(1)
    }
}

/// What a service proves with, and the connection secret that it made.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorizeReply {
    /// The client's nonce plus one.
    pub nonce_plus_one: u64,
    /// For the frames of secure mode; else empty.
    pub connection_secret: Zeroizing<Vec<u8>>,
}

impl AuthorizeReply {
    /// Reads it.
    ///
    /// # Errors
    /// The service does not have that key, something was altered, or it is cut.
    pub fn open(payload: &[u8], session_key: &CryptoKey) -> Result<Self, Reason> {
        let mut reader = Reader::new("authorizer reply", payload);
        let sealed = reader.blob("reply", REPLY_MOST)?;
        reader.end()?;
        let plain = session_key.open(Usage::AuthorizeReply, "authorizer reply", sealed)?;
        let mut reader = Reader::new("authorizer reply", &plain);
        let version = reader.version("version")?;
        let nonce_plus_one = reader.u64("nonce_plus_one")?;
        let mut connection_secret = Zeroizing::default();
        if version >= 2 {
            connection_secret = Zeroizing::new(reader.blob("connection secret", SECRET_MOST)?.to_vec());
        }
        reader.end_of(version, 2)?;
        Ok(Self { nonce_plus_one, connection_secret })
    }

    /// Writes it.
    #[must_use]
    pub fn seal(&self, session_key: &CryptoKey, random: &mut Random) -> Vec<u8> {
        let mut plain = Zeroizing::new(Vec::with_capacity(16 + self.connection_secret.len()));
        plain.put_u8(if self.connection_secret.is_empty() { 1 } else { 2 });
        plain.put_u64_le(self.nonce_plus_one);
        if !self.connection_secret.is_empty() {
            put_blob(&mut plain, &self.connection_secret);
        }
        let mut out = Vec::new();
        put_blob(&mut out, &session_key.seal(Usage::AuthorizeReply, &plain, random));
        out
    }
}

impl std::fmt::Debug for AuthorizeReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthorizeReply").field("nonce_plus_one", &self.nonce_plus_one).finish_non_exhaustive()
    }
}
