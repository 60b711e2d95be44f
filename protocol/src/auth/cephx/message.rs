//! In which messages do a client and a monitor talk?
//!
//! ```text
//! MAuth (17)       u64 version, i16 −1, u64 0, u32 protocol, blob auth_payload, u32 monmap_epoch
//! MAuthReply (18)  u32 protocol, i32 result, u64 global_id, blob result_bl, string result_msg
//! ```
//! v1 authenticates in them, on a session that is open already; v2 only renews tickets. What the payloads say:
//! [`monitor`](super::monitor). Ceph: `src/messages/MAuth.h`, `MAuthReply.h`.

use bytes::{BufMut, Bytes};
use cephwire_codec::{Header, Message, MessageType};

use super::wire::{Reader, put_blob};
use crate::auth::Reason;

const PAYLOAD_MOST: u32 = 64 << 10;
const TEXT_MOST: u32 = 4 << 10;

/// What an MAuth says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// 0 in the first on a session, which introduces the client; then the method, see [`cephwire_codec::v2::method`].
    pub protocol: u32,
    /// What is said.
    pub payload: Bytes,
    /// The epoch of the monmap that the client has; 0 for none.
    pub monmap_epoch: u32,
}

/// What an MAuthReply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthReply {
    /// The method, see [`cephwire_codec::v2::method`]; 0 if there is none in common.
    pub protocol: u32,
    /// 0, or a negative errno.
    pub result: i32,
    /// The client's number.
    pub global_id: u64,
    /// What is said.
    pub payload: Bytes,
    /// A text for people, mostly empty.
    pub text: String,
}

impl Auth {
    /// Reads a message's front. The oldest clients do not send the epoch.
    ///
    /// # Errors
    /// When it is cut or longer than it may be.
    pub fn decode(front: &[u8]) -> Result<Self, Reason> {
        let mut reader = Reader::new("MAuth", front);
        reader.take("paxos fields", 18)?;
        let protocol = reader.u32("protocol")?;
        let payload = Bytes::copy_from_slice(reader.blob("payload", PAYLOAD_MOST)?);
        let monmap_epoch = if reader.is_empty() { 0 } else { reader.u32("monmap epoch")? };
        reader.end()?;
        Ok(Self { protocol, payload, monmap_epoch })
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> Message {
        let mut front = Vec::with_capacity(30 + self.payload.len());
        front.put_u64_le(0);
        front.put_i16_le(-1);
        front.put_u64_le(0);
        front.put_u32_le(self.protocol);
        put_blob(&mut front, &self.payload);
        front.put_u32_le(self.monmap_epoch);
        message(MessageType::AUTH, front)
    }
}

impl AuthReply {
    /// Reads a message's front.
    ///
    /// # Errors
    /// When it is cut or longer than it may be.
    pub fn decode(front: &[u8]) -> Result<Self, Reason> {
        let mut reader = Reader::new("MAuthReply", front);
        let this = Self {
            protocol: reader.u32("protocol")?,
            result: reader.i32("result")?,
            global_id: reader.u64("global_id")?,
            payload: Bytes::copy_from_slice(reader.blob("payload", PAYLOAD_MOST)?),
            text: reader.string("text", TEXT_MOST)?.to_owned(),
        };
        reader.end()?;
        Ok(this)
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> Message {
        let mut front = Vec::with_capacity(24 + self.payload.len() + self.text.len());
        front.put_u32_le(self.protocol);
        front.put_i32_le(self.result);
        front.put_u64_le(self.global_id);
        put_blob(&mut front, &self.payload);
        put_blob(&mut front, self.text.as_bytes());
        message(MessageType::AUTH_REPLY, front)
    }
}

/// Version 1, understood since version 1.
fn message(kind: MessageType, front: Vec<u8>) -> Message {
    let header = Header {
        kind,
        version: 1,
        compat_version: 1,
        priority: cephwire_codec::priority::DEFAULT,
        ..Header::default()
    };
    Message { header, front: front.into(), ..Message::default() }
}
