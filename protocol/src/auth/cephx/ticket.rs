//! What is in a ticket, and how does it reach the client?
//!
//! A ticket tells a service who the client is. The monitor seals it with a key of the service, so that the
//! client can only carry it; the session key in it goes to the client separately, sealed with what the client has:
//!
//! ```text
//! ticket reply    u8 1, u32 count, count times
//!                   u32 service, u8 1, ENC(client's key; u8 1, CryptoKey session key, utime validity)
//!                   u8 encrypted:  0: blob(ticket blob)    1: ENC(old session key; blob(ticket blob))
//! ticket blob     u8 1, u64 secret_id, blob                            for the client opaque
//!   inside        ENCB(service's key; u8 1, AuthTicket, CryptoKey session key)
//! AuthTicket      u8 2, EntityName, u64 global_id, u64 auid, utime created, utime expires,
//!                 u8 1, u8 allow_all, blob caps, u32 flags
//! ```
//! Ceph: `src/auth/cephx/CephxProtocol.h`, `src/auth/Auth.h`.

use std::time::Duration;

use bytes::{BufMut, Bytes};
use cephwire_codec::Timestamp;
use zeroize::Zeroizing;

use super::cipher::Usage;
use super::key::CryptoKey;
use super::random::Random;
use super::wire::{Reader, put_blob, put_entity, put_time, read_entity};
use crate::auth::{Entity, Reason};

/// The number of a key that is no rotating one: the service's own. Monitors use it among themselves.
pub const OWN_SECRET: u64 = u64::MAX;
/// `auid` in every ticket: nobody uses it.
pub const NO_AUID: u64 = u64::MAX;

/// The longest sealed ticket, and the longest caps, that are read.
const BLOB_MOST: u32 = 16 << 10;
const CAPS_MOST: u32 = 12 << 10;
/// The most tickets in a reply: there are 32 bits of services.
const TICKETS_MOST: u32 = 32;

/// A ticket as the client carries it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TicketBlob {
    /// Which key of the service it is sealed with; [`OWN_SECRET`] for the service's own key. 0 without a ticket.
    pub secret_id: u64,
    /// The sealed ticket; empty without one.
    pub blob: Bytes,
}

impl TicketBlob {
    /// Reads it.
    ///
    /// # Errors
    /// When it is cut or longer than it may be.
    pub fn decode(bytes: &[u8]) -> Result<Self, Reason> {
        let mut reader = Reader::new("ticket blob", bytes);
        let (version, this) = Self::read_with_version(&mut reader)?;
        reader.end_of(version, 1)?;
        Ok(this)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        Self::read_with_version(reader).map(|(_, this)| this)
    }

    fn read_with_version(reader: &mut Reader<'_>) -> Result<(u8, Self), Reason> {
        let version = reader.version("ticket version")?;
        let secret_id = reader.u64("secret id")?;
        let blob = Bytes::copy_from_slice(reader.blob("ticket", BLOB_MOST)?);
        Ok((version, Self { secret_id, blob }))
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(13 + self.blob.len());
        self.put(&mut out);
        out
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.put_u8(1);
        out.put_u64_le(self.secret_id);
        put_blob(out, &self.blob);
    }

    /// Reads the ticket with the service's key.
    ///
    /// # Errors
    /// Another key was used, or it was altered.
    pub fn open(&self, key: &CryptoKey) -> Result<TicketInfo, Reason> {
        TicketInfo::decode(&key.open(Usage::TicketInfo, "ticket", &self.blob)?)
    }
}

/// The inside of a ticket: who the client is, and the key that it shares with the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketInfo {
    /// Who the client is.
    pub ticket: AuthTicket,
    /// What client and service both know.
    pub session_key: CryptoKey,
}

/// Who a client is, by the monitor's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthTicket {
    /// The client's name.
    pub name: Entity,
    /// Its number in the cluster.
    pub global_id: u64,
    /// [`NO_AUID`].
    pub auid: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// What the client may do at this service.
    pub caps: Caps,
    /// 0.
    pub flags: u32,
}

/// What a client may do at a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Everything. Only with the method "none".
    pub allow_all: bool,
    /// The capability, encoded as the service wants it: for osd, mds and mgr a `string`; empty in tickets for the
    /// monitors themselves, who look it up.
    pub blob: Bytes,
}

impl Caps {
    /// What `text`, as it stands in a keyring, allows.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        let mut blob = Vec::new();
        put_blob(&mut blob, text.as_bytes());
        Self { allow_all: false, blob: blob.into() }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        let mut reader = Reader::new("caps", &self.blob);
        let text = reader.string("text", CAPS_MOST).ok()?;
        reader.is_empty().then_some(text)
    }
}

impl TicketInfo {
    /// Reads what was sealed.
    ///
    /// # Errors
    /// When it is cut or has more than it should.
    pub fn decode(bytes: &[u8]) -> Result<Self, Reason> {
        let mut reader = Reader::new("ticket", bytes);
        let version = reader.version("version")?;
        reader.version("AuthTicket version")?;
        let ticket = AuthTicket {
            name: read_entity(&mut reader)?,
            global_id: reader.u64("global_id")?,
            auid: reader.u64("auid")?,
            created: reader.time("created")?,
            expires: reader.time("expires")?,
            caps: {
                reader.version("caps version")?;
                let allow_all = reader.u8("allow_all")? != 0;
                Caps { allow_all, blob: Bytes::copy_from_slice(reader.blob("caps", CAPS_MOST)?) }
            },
            flags: reader.u32("flags")?,
        };
        let session_key = CryptoKey::read(&mut reader)?;
        reader.end_of(version, 1)?;
        Ok(Self { ticket, session_key })
    }

    /// Writes what is to be sealed.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        // A vector that grows leaves its old memory behind unwiped: the key goes in last, and there is room for it.
        let mut out =
            Zeroizing::new(Vec::with_capacity(160 + self.ticket.name.id.len() + self.ticket.caps.blob.len()));
        out.put_u8(1);
        out.put_u8(2);
        put_entity(&mut out, &self.ticket.name);
        out.put_u64_le(self.ticket.global_id);
        out.put_u64_le(self.ticket.auid);
        put_time(&mut out, self.ticket.created);
        put_time(&mut out, self.ticket.expires);
        out.put_u8(1);
        out.put_u8(self.ticket.caps.allow_all.into());
        put_blob(&mut out, &self.ticket.caps.blob);
        out.put_u32_le(self.ticket.flags);
        self.session_key.put(&mut out);
        out
    }

    /// Seals it with the service's key of this number.
    #[must_use]
    pub fn seal(&self, secret_id: u64, key: &CryptoKey, random: &mut Random) -> TicketBlob {
        TicketBlob { secret_id, blob: key.seal(Usage::TicketInfo, &self.encode(), random).into() }
    }
}

/// The tickets of a monitor's reply, still sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TicketReply {
    /// One for each service.
    pub tickets: Vec<SealedTicket>,
}

/// A ticket on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedTicket {
    /// The service's entity type.
    pub service: u32,
    /// Session key and validity, sealed with what the client has.
    pub session: Bytes,
    /// Whether `blob` is sealed too, with the session key of the AUTH ticket that it replaces.
    pub encrypted: bool,
    /// The ticket blob, or what it is sealed in.
    pub blob: Bytes,
}

/// A ticket in the hand of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The service's entity type.
    pub service: u32,
    /// What client and service both know.
    pub session_key: CryptoKey,
    /// How long it is good; zero for ever.
    pub validity: Duration,
    /// What is shown to the service.
    pub blob: TicketBlob,
}

impl TicketReply {
    /// Reads a whole reply.
    ///
    /// # Errors
    /// When it is cut or longer than it may be.
    pub fn decode(bytes: &[u8]) -> Result<Self, Reason> {
        let mut reader = Reader::new("ticket reply", bytes);
        let this = Self::read(&mut reader)?;
        reader.end()?;
        Ok(this)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        reader.version("version")?;
        let count = reader.count("tickets", TICKETS_MOST)?;
        let mut tickets = Vec::new();
        for _ in 0..count {
            let service = reader.u32("service")?;
            reader.version("ticket version")?;
            let session = Bytes::copy_from_slice(reader.blob("session key", BLOB_MOST)?);
            let encrypted = reader.u8("encrypted")? != 0;
            let blob = Bytes::copy_from_slice(reader.blob("ticket blob", BLOB_MOST)?);
            tickets.push(SealedTicket { service, session, encrypted, blob });
        }
        Ok(Self { tickets })
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u8(1);
        out.put_u32_le(self.tickets.len() as u32);
        for ticket in &self.tickets {
            out.put_u32_le(ticket.service);
            out.put_u8(1);
            put_blob(&mut out, &ticket.session);
            out.put_u8(ticket.encrypted.into());
            put_blob(&mut out, &ticket.blob);
        }
        out
    }
}

impl SealedTicket {
    /// Reads it with what the client has: its key, or for services the session key of the AUTH ticket; and, if the
    /// ticket replaces one, that one's session key.
    ///
    /// # Errors
    /// Another key was used, or it was altered.
    pub fn open(&self, key: &CryptoKey, old: Option<&CryptoKey>) -> Result<Ticket, Reason> {
        let (session_key, validity) = self.open_session(key)?;
        Ok(Ticket { service: self.service, session_key, validity, blob: self.open_blob(old)? })
    }

    /// Reads only the session key, and how long the ticket is good.
    ///
    /// # Errors
    /// Another key was used, or it was altered.
    pub fn open_session(&self, key: &CryptoKey) -> Result<(CryptoKey, Duration), Reason> {
        let session = key.open(Usage::TicketSessionKey, "session key", &self.session)?;
        let mut reader = Reader::new("session key", &session);
        let version = reader.version("version")?;
        let session_key = CryptoKey::read(&mut reader)?;
        let validity = reader.time("validity")?;
        reader.end_of(version, 1)?;
        let validity = Duration::from_secs(validity.sec.into()) + Duration::from_nanos(validity.nsec.into());
        Ok((session_key, validity))
    }

    /// Reads only what is shown to the service: with the session key of the ticket that it replaces, if it is sealed.
    ///
    /// # Errors
    /// Another key was used, it was altered, or there is no key where one is needed.
    pub fn open_blob(&self, old: Option<&CryptoKey>) -> Result<TicketBlob, Reason> {
        if !self.encrypted {
            return TicketBlob::decode(&self.blob);
        }
        let old = old.ok_or(Reason::OutOfTurn { what: "a ticket sealed with an older one's key" })?;
        let plain = old.open(Usage::TicketBlob, "ticket blob", &self.blob)?;
        let mut reader = Reader::new("ticket blob", &plain);
        let blob = TicketBlob::decode(reader.blob("ticket blob", BLOB_MOST)?)?;
        reader.end()?;
        Ok(blob)
    }
}

impl Ticket {
    /// Seals it for the client, the reverse of [`SealedTicket::open`].
    #[must_use]
    pub fn seal(&self, key: &CryptoKey, old: Option<&CryptoKey>, random: &mut Random) -> SealedTicket {
        let mut session = Zeroizing::new(Vec::with_capacity(128));
        session.put_u8(1);
        self.session_key.put(&mut session);
        let sec = u32::try_from(self.validity.as_secs()).unwrap_or(u32::MAX);
        put_time(&mut session, Timestamp { sec, nsec: self.validity.subsec_nanos() });
        let mut blob = self.blob.encode();
        if let Some(old) = old {
            let mut plain = Vec::new();
            put_blob(&mut plain, &blob);
            blob = old.seal(Usage::TicketBlob, &plain, random);
        }
        SealedTicket {
            service: self.service,
            session: key.seal(Usage::TicketSessionKey, &session, random).into(),
            encrypted: old.is_some(),
            blob: blob.into(),
        }
    }
}
