//! What can peers say to each other? The structures of the handshake and the items of the open stream.

use bytes::Bytes;

use crate::addr::EntityAddr;
use crate::features::Features;
use crate::message::{Flags, Message};
use crate::name::{EntityName, Timestamp};

/// Everything that can stand on a v1 stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Frame {
    /// The banner, the same 9 bytes from both.
    Banner,
    /// An address: two from the server (its own, then the client's as it sees it), one from the client.
    /// In the legacy layout, so its type is always v1, or none without an IP.
    Address(#[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary::legacy))] EntityAddr),
    /// Client: connects or reconnects a session.
    Connect(Connect),
    /// Server: its answer.
    Reply(ConnectReply),
    /// Both, after a reply SEQ: the sequence number of the last message received in this session.
    Seq(u64),
    /// A message.
    Message(MessageFrame),
    /// A message whose sender gave it up on the way: as if it had not been sent.
    #[cfg_attr(feature = "arbitrary", arbitrary(skip))]
    Aborted {
        /// The sequence number it would have had.
        seq: u64,
    },
    /// Every message up to this sequence number was received.
    Ack(u64),
    /// A sign of life that nobody answers.
    Keepalive,
    /// Are you there? The sender's clock.
    Keepalive2(Timestamp),
    /// The stamp of the [`Keepalive2`](Frame::Keepalive2) that it answers.
    Keepalive2Ack(Timestamp),
    /// The sender closes the session.
    Close,
}

/// The tags of replies and items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Tag {
    /// Reply: the session is open.
    Ready = 1,
    /// Reply: the server does not know the session; begin anew.
    ResetSession = 2,
    /// Reply: both sides dialed, and the server's own connection wins.
    Wait = 3,
    /// Reply: connect_seq is too low; the reply's is the one to use.
    RetrySession = 4,
    /// Reply: global_seq is too low; more than the reply's is needed.
    RetryGlobal = 5,
    /// Item: [`Frame::Close`].
    Close = 6,
    /// Item: [`Frame::Message`].
    Msg = 7,
    /// Item: [`Frame::Ack`].
    Ack = 8,
    /// Item: [`Frame::Keepalive`].
    Keepalive = 9,
    /// Reply: the client's protocol version is another than the reply's.
    BadProtoVer = 10,
    /// Reply: the authorizer does not convince.
    BadAuthorizer = 11,
    /// Reply: the client lacks features that the reply shows.
    Features = 12,
    /// Reply: the session is open; sequence numbers are exchanged first.
    Seq = 13,
    /// Item: [`Frame::Keepalive2`].
    Keepalive2 = 14,
    /// Item: [`Frame::Keepalive2Ack`].
    Keepalive2Ack = 15,
    /// Reply: the authorizer must answer the challenge that the reply carries.
    ChallengeAuthorizer = 16,
}

impl Tag {
    /// All tags with their names, in the order of their numbers.
    pub const ALL: [(Self, &'static str); 16] = [
        (Self::Ready, "READY"),
        (Self::ResetSession, "RESETSESSION"),
        (Self::Wait, "WAIT"),
        (Self::RetrySession, "RETRY_SESSION"),
        (Self::RetryGlobal, "RETRY_GLOBAL"),
        (Self::Close, "CLOSE"),
        (Self::Msg, "MSG"),
        (Self::Ack, "ACK"),
        (Self::Keepalive, "KEEPALIVE"),
        (Self::BadProtoVer, "BADPROTOVER"),
        (Self::BadAuthorizer, "BADAUTHORIZER"),
        (Self::Features, "FEATURES"),
        (Self::Seq, "SEQ"),
        (Self::Keepalive2, "KEEPALIVE2"),
        (Self::Keepalive2Ack, "KEEPALIVE2_ACK"),
        (Self::ChallengeAuthorizer, "CHALLENGE_AUTHORIZER"),
    ];

    /// The tag with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).map(|(tag, _)| *tag)
    }

    /// Its name in the protocol.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.get(self as usize - 1).map_or("", |(_, name)| name)
    }

    /// Whether it stands in a connect_reply; the others begin an item.
    #[must_use]
    pub fn is_reply(self) -> bool {
        use Tag::{Ack, Close, Keepalive, Keepalive2, Keepalive2Ack, Msg};
        !matches!(self, Close | Msg | Ack | Keepalive | Keepalive2 | Keepalive2Ack)
    }
}

/// The client connects.
///
/// ```text
/// 0          8           12           16            20                 24                    28               32      33
/// │ features │ host_type │ global_seq │ connect_seq │ protocol_version │ authorizer_protocol │ authorizer_len │ flags │ authorizer
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Connect {
    /// Features it has.
    pub features: Features,
    /// Its entity type, not checked: unknown ones get the default policy.
    pub host_type: u32,
    /// Number of this attempt among all of that client process.
    pub global_seq: u32,
    /// Number of this attempt in the session; 0 begins a new one.
    pub connect_seq: u32,
    /// Must be what the server expects for the two entity types.
    pub protocol_version: u32,
    /// How the authorizer is to be read: [`method`](crate::v2::method); 0 without one.
    pub authorizer_protocol: u32,
    /// Bit 0: [`CONNECT_LOSSY`](super::CONNECT_LOSSY); the server decides.
    pub flags: u8,
    /// Opaque here.
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary::bytes))]
    pub authorizer: Bytes,
}

/// The server answers.
///
/// ```text
/// 0     1          9            13            17                 21               25      26
/// │ tag │ features │ global_seq │ connect_seq │ protocol_version │ authorizer_len │ flags │ authorizer
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectReply {
    /// What it says; one of the reply tags.
    pub tag: Tag,
    /// Features: its own, or for FEATURES those it wants.
    pub features: Features,
    /// For RETRY_GLOBAL the highest it has seen; else its own.
    pub global_seq: u32,
    /// For RETRY_SESSION the one to use; for READY and SEQ the client's + 1.
    pub connect_seq: u32,
    /// The version it expects.
    pub protocol_version: u32,
    /// Bit 0: [`CONNECT_LOSSY`](super::CONNECT_LOSSY), its decision.
    pub flags: u8,
    /// Opaque here: the proof that it could read the client's, or a challenge.
    pub authorizer: Bytes,
}

/// A message, and what this sending of it adds.
///
/// ```text
/// header 0     8     16     18         20        22          26           30         34         36         45               47         49    53
///        │ seq │ tid │ type │ priority │ version │ front_len │ middle_len │ data_len │ data_off │ src(1+8) │ compat_version │ reserved │ crc │
/// footer 0           4            8          12          20      21
///        │ front_crc │ middle_crc │ data_crc │ signature │ flags │        the old one is without signature
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageFrame {
    /// Its number in the session, from 1.
    pub seq: u64,
    /// The sender's name; the number is −1 while it does not know.
    pub src: EntityName,
    /// See [`Flags`].
    pub flags: Flags,
    /// The signature, if `flags` has SIGNED; else 0. A [`Signer`](super::Signer) replaces it.
    pub signature: u64,
    /// Always 0.
    pub reserved: u16,
    /// The message.
    pub message: Message,
}

/// What a message's signature covers, as it stands on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in header and footer")]
pub struct Signed {
    pub header_crc: u32,
    pub front_crc: u32,
    pub front_len: u32,
    pub middle_crc: u32,
    pub middle_len: u32,
    pub data_crc: u32,
    pub data_len: u32,
    pub seq: u64,
}
