//! What do a client and a monitor say to each other?
//!
//! The same payloads in both versions: v2 carries them in AUTH frames, v1 in MAuth and MAuthReply messages, in
//! which both versions also renew tickets.
//!
//! ```text
//! client   v2: u8 10, EntityName, u64 global_id     v1: u8 1, set<u32> methods, EntityName, u64 global_id
//! monitor  u8 1, u64 server_challenge
//! client   u16 0x0100, u8 3, u64 client_challenge, u64 proof, ticket blob, u32 other_keys
//! monitor  u16 0x0100, i32 0, ticket reply(entity's key)
//!          and if other_keys: blob(ENC(session key; string connection_secret)), blob(ticket reply(session key))
//! ---
//! client   u16 0x0200, authorizer for AUTH, u8 1, u32 keys
//! monitor  u16 0x0200, i32 status, ticket reply(session key)
//! daemon   u16 0x0400
//! monitor  u16 0x0400, i32 status, ENC(entity's key; rotating secrets)
//! ```

use bytes::{BufMut, Bytes};
use zeroize::Zeroizing;

use super::authorizer::Authorizer;
use super::cipher::Usage;
use super::key::CryptoKey;
use super::random::Random;
use super::rotating::RotatingSecrets;
use super::ticket::{Ticket, TicketBlob, TicketReply};
use super::wire::{Reader, put_blob, put_entity, read_entity};
use crate::auth::{Entity, Reason};

/// The first byte of a client's first payload to a monitor in v2; Ceph takes 10 to 19.
pub const MODE_MON: u8 = 10;
/// The first byte of an authorizer, and of the first payload in v1.
pub const MODE_AUTHORIZER: u8 = 1;

const METHODS_MOST: u32 = 32;
const SECRET_MOST: u32 = 256;
const BLOB_MOST: u32 = 48 << 10;

/// What a client asks a monitor for. Ceph: `CEPHX_GET_*`.
pub mod request {
    /// An AUTH ticket, and others along with it.
    pub const AUTH_SESSION_KEY: u16 = 0x0100;
    /// Tickets for services.
    pub const PRINCIPAL_SESSION_KEY: u16 = 0x0200;
    /// The keys with which tickets for the own service are sealed.
    pub const ROTATING_KEY: u16 = 0x0400;
}

/// A client's first payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// v1: the methods that the client has, ascending; nothing in v2, where the frame says it.
    pub methods: Option<Vec<u32>>,
    /// Who the client is.
    pub name: Entity,
    /// Its number in the cluster, if it has one; else 0.
    pub global_id: u64,
}

impl Introduction {
    /// Reads it: the first byte tells the version.
    ///
    /// # Errors
    /// When it is cut, too long, or begins with neither mode.
    pub fn decode(bytes: &[u8]) -> Result<Self, Reason> {
        let mut reader = Reader::new("first payload", bytes);
        let mode = reader.u8("mode")?;
        let methods = match mode {
            MODE_AUTHORIZER => {
                let count = reader.count("methods", METHODS_MOST)?;
                Some((0..count).map(|_| reader.u32("method")).collect::<Result<_, _>>()?)
            }
            10..=19 => None,
            found => return Err(reader.value("mode", found.into(), "1 or 10")),
        };
        let this = Self { methods, name: read_entity(&mut reader)?, global_id: reader.u64("global_id")? };
        reader.end()?;
        Ok(this)
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match &self.methods {
            None => out.put_u8(MODE_MON),
            Some(methods) => {
                out.put_u8(MODE_AUTHORIZER);
                out.put_u32_le(methods.len() as u32);
                methods.iter().for_each(|method| out.put_u32_le(*method));
            }
        }
        put_entity(&mut out, &self.name);
        out.put_u64_le(self.global_id);
        out
    }
}

/// A monitor's challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerChallenge(pub u64);

impl ServerChallenge {
    /// Reads it.
    ///
    /// # Errors
    /// When it has not 9 bytes, or is 0.
    pub fn decode(bytes: &[u8]) -> Result<Self, Reason> {
        let mut reader = Reader::new("server challenge", bytes);
        let version = reader.version("version")?;
        let challenge = reader.u64("challenge")?;
        if challenge == 0 {
            return Err(reader.value("challenge", 0, "a random number"));
        }
        reader.end_of(version, 1)?;
        Ok(Self(challenge))
    }

    /// Writes it.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let mut out = vec![1];
        out.put_u64_le(self.0);
        out
    }
}

/// What a client wants of a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// To be authenticated.
    Authenticate(Authenticate),
    /// Tickets for these services (bits), by the right of its AUTH ticket.
    ServiceTickets(Authorizer, u32),
    /// The rotating secrets of the own service.
    RotatingSecrets,
}

/// How a client proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticate {
    /// 3; with 1 and 2, of older clients, a ticket may be missing that should be there.
    pub version: u8,
    /// The client's random number.
    pub client_challenge: u64,
    /// See [`CryptoKey::proof`].
    pub proof: u64,
    /// The AUTH ticket that it has, by which it keeps its global_id.
    pub old_ticket: TicketBlob,
    /// The services (bits) whose tickets it wants along.
    pub other_keys: u32,
}

impl Request {
    /// Reads any of them.
    ///
    /// # Errors
    /// When it is cut, has more than it should, or is of a type that is not known.
    pub fn decode(bytes: &[u8]) -> Result<Self, Reason> {
        let mut reader = Reader::new("request", bytes);
        match reader.u16("request type")? {
            request::AUTH_SESSION_KEY => {
                reader.within("authenticate request");
                let version = reader.version("version")?;
                let this = Authenticate {
                    version,
                    client_challenge: reader.u64("client challenge")?,
                    proof: reader.u64("proof")?,
                    old_ticket: TicketBlob::read(&mut reader)?,
                    other_keys: if version >= 2 { reader.u32("other keys")? } else { 0 },
                };
                reader.end_of(version, 3)?;
                Ok(Self::Authenticate(this))
            }
            request::PRINCIPAL_SESSION_KEY => {
                reader.within("service ticket request");
                let authorizer = Authorizer::read(&mut reader)?;
                let version = reader.version("version")?;
                let keys = reader.u32("keys")?;
                reader.end_of(version, 1)?;
                Ok(Self::ServiceTickets(authorizer, keys))
            }
            request::ROTATING_KEY => {
                reader.end()?;
                Ok(Self::RotatingSecrets)
            }
            found => Err(reader.value("request type", found.into(), "0x100, 0x200 or 0x400")),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Authenticate(this) => {
                out.put_u16_le(request::AUTH_SESSION_KEY);
                out.put_u8(this.version);
                out.put_u64_le(this.client_challenge);
                out.put_u64_le(this.proof);
                this.old_ticket.put(&mut out);
                if this.version >= 2 {
                    out.put_u32_le(this.other_keys);
                }
            }
            Self::ServiceTickets(authorizer, keys) => {
                out.put_u16_le(request::PRINCIPAL_SESSION_KEY);
                out.put_slice(&authorizer.encode());
                out.put_u8(1);
                out.put_u32_le(*keys);
            }
            Self::RotatingSecrets => out.put_u16_le(request::ROTATING_KEY),
        }
        out
    }
}

/// A monitor's answer to a [`Request`], still sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Request::Authenticate`].
    Session(SessionReply),
    /// To [`Request::ServiceTickets`]: sealed with the session key of the AUTH ticket.
    ServiceTickets(TicketReply),
    /// To [`Request::RotatingSecrets`]: sealed with the daemon's own key; see [`RotatingSecrets::open`].
    RotatingSecrets(Bytes),
    /// To any of them: no. The request's type, and a negative errno.
    Refused(u16, i32),
}

/// What a monitor gives who has proved who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionReply {
    /// The AUTH ticket, sealed with the entity's key.
    pub auth: TicketReply,
    /// If other keys were wanted: the connection secret, sealed with the new session key (empty in v1), and the other
    /// tickets, sealed likewise (empty if there are none).
    pub more: Option<(Bytes, Bytes)>,
}

impl Reply {
    /// Reads any of them.
    ///
    /// # Errors
    /// When it is cut, has more than it should, or is of a type that is not known.
    pub fn decode(bytes: &[u8]) -> Result<Self, Reason> {
        let mut reader = Reader::new("reply", bytes);
        let kind = reader.u16("request type")?;
        let status = reader.i32("status")?;
        if status != 0 {
            return Ok(Self::Refused(kind, status));
        }
        match kind {
            request::AUTH_SESSION_KEY => {
                reader.within("session reply");
                let auth = TicketReply::read(&mut reader)?;
                let mut more = None;
                if !reader.is_empty() {
                    let secret = Bytes::copy_from_slice(reader.blob("connection secret", BLOB_MOST)?);
                    more = Some((secret, Bytes::copy_from_slice(reader.blob("extra tickets", BLOB_MOST)?)));
                }
                reader.end()?;
                Ok(Self::Session(SessionReply { auth, more }))
            }
            request::PRINCIPAL_SESSION_KEY => {
                reader.within("service ticket reply");
                let tickets = TicketReply::read(&mut reader)?;
                reader.end()?;
                Ok(Self::ServiceTickets(tickets))
            }
            request::ROTATING_KEY => {
                reader.within("rotating secrets reply");
                let sealed = Bytes::copy_from_slice(reader.blob("secrets", BLOB_MOST)?);
                reader.end()?;
                Ok(Self::RotatingSecrets(sealed))
            }
            found => Err(reader.value("request type", found.into(), "0x100, 0x200 or 0x400")),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let (kind, status) = match self {
            Self::Session(_) => (request::AUTH_SESSION_KEY, 0),
            Self::ServiceTickets(_) => (request::PRINCIPAL_SESSION_KEY, 0),
            Self::RotatingSecrets(_) => (request::ROTATING_KEY, 0),
            Self::Refused(kind, status) => (*kind, *status),
        };
        out.put_u16_le(kind);
        out.put_i32_le(status);
        match self {
            Self::Session(SessionReply { auth, more }) => {
                out.put_slice(&auth.encode());
                if let Some((secret, extra)) = more {
                    put_blob(&mut out, secret);
                    put_blob(&mut out, extra);
                }
            }
            Self::ServiceTickets(tickets) => out.put_slice(&tickets.encode()),
            Self::RotatingSecrets(sealed) => put_blob(&mut out, sealed),
            Self::Refused(..) => {}
        }
        out
    }
}

/// All that a [`SessionReply`] gives.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The AUTH ticket with the session key.
    pub auth: Ticket,
    /// For the frames of secure mode; empty in crc mode and in v1.
    pub connection_secret: Zeroizing<Vec<u8>>,
    /// The other tickets.
    pub tickets: Vec<Ticket>,
}

impl SessionReply {
    /// Opens everything with the entity's key and, if the AUTH ticket replaces one, that one's session key.
    ///
    /// # Errors
    /// Another key was used, something was altered, or there is not exactly one AUTH ticket.
    pub fn open(&self, key: &CryptoKey, old: Option<&CryptoKey>) -> Result<Granted, Reason> {
        let [auth] = &self.auth.tickets[..] else {
            let found = self.auth.tickets.len() as u64;
            return Err(Reason::Value { what: "session reply", field: "tickets", found, expected: "1" });
        };
        if auth.service != cephwire_codec::EntityType::AUTH.0.into() {
            let found = auth.service.into();
            return Err(Reason::Value {
                what: "session reply",
                field: "service",
                found,
                expected: "32, AUTH",
            });
        }
        let auth = auth.open(key, old)?;
        let (mut connection_secret, mut tickets) = (Zeroizing::default(), Vec::new());
        if let Some((sealed, extra)) = &self.more {
            if !sealed.is_empty() {
                connection_secret = open_connection_secret(sealed, &auth.session_key)?;
            }
            if !extra.is_empty() {
                tickets = TicketReply::decode(extra)?.open(&auth.session_key)?;
            }
        }
        Ok(Granted { auth, connection_secret, tickets })
    }
}

impl TicketReply {
    /// Opens tickets for services with the session key of the AUTH ticket.
    ///
    /// # Errors
    /// Another key was used, or something was altered.
    pub fn open(&self, session_key: &CryptoKey) -> Result<Vec<Ticket>, Reason> {
        self.tickets.iter().map(|ticket| ticket.open(session_key, None)).collect()
    }
}

/// Seals a connection secret for [`SessionReply::more`].
#[must_use]
pub fn seal_connection_secret(secret: &[u8], session_key: &CryptoKey, random: &mut Random) -> Vec<u8> {
    let mut plain = Zeroizing::new(Vec::with_capacity(4 + secret.len()));
    put_blob(&mut plain, secret);
    let mut out = Vec::new();
    put_blob(&mut out, &session_key.seal(Usage::ConnectionSecret, &plain, random));
    out
}

/// Opens the connection secret of [`SessionReply::more`].
///
/// # Errors
/// Another key was used, or it was altered.
pub fn open_connection_secret(sealed: &[u8], session_key: &CryptoKey) -> Result<Zeroizing<Vec<u8>>, Reason> {
    let mut reader = Reader::new("connection secret", sealed);
    let plain = session_key.open(
        Usage::ConnectionSecret,
        "connection secret",
        reader.blob("connection secret", SECRET_MOST + 64)?,
    )?;
    reader.end()?;
    let mut reader = Reader::new("connection secret", &plain);
    let secret = Zeroizing::new(reader.blob("connection secret", SECRET_MOST)?.to_vec());
    reader.end()?;
    Ok(secret)
}

impl RotatingSecrets {
    /// Opens the payload of [`Reply::RotatingSecrets`] with the daemon's own key.
    ///
    /// # Errors
    /// Another key was used, or it was altered.
    pub fn open(sealed: &[u8], key: &CryptoKey) -> Result<Self, Reason> {
        Self::decode(&key.open(Usage::RotatingSecret, "rotating secrets", sealed)?)
    }

    /// Seals it for a daemon.
    #[must_use]
    pub fn seal(&self, key: &CryptoKey, random: &mut Random) -> Bytes {
        key.seal(Usage::RotatingSecret, &self.encode(), random).into()
    }
}
