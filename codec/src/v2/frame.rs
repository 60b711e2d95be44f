//! What can peers say to each other? The frames, as plain structs.
//!
//! Lengths, crcs, padding and sealing are not here: those belong to the framing.

use bytes::Bytes;

use super::Method;
use crate::addr::{AddrVec, EntityAddr};
use crate::features::{Features, MsgrFeatures};
use crate::message::{Flags, Message};
use crate::name::{EntityType, Timestamp};

/// A frame of messenger v2; [`Banner`](Frame::Banner) stands for what comes before the first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Frame {
    /// The banner: both sides send it at once, unasked.
    #[cfg_attr(feature = "arbitrary", arbitrary(skip))]
    Banner(Banner),
    /// Both sides, right after the peer's banner.
    Hello(Hello),
    /// Client: the method it wants to authenticate with.
    AuthRequest(AuthRequest),
    /// Server: that method (or mode) will not do; these would.
    AuthBadMethod(AuthBadMethod),
    /// Server: one more step, with a payload of the method.
    AuthReplyMore(#[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary::bytes))] Bytes),
    /// Client: its answer to [`AuthReplyMore`](Frame::AuthReplyMore).
    AuthRequestMore(#[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary::bytes))] Bytes),
    /// Server: authenticated. Everything after it is in the mode it says.
    AuthDone(AuthDone),
    /// Both: HMAC-SHA256 over everything received so far; zeros without a session key.
    AuthSignature([u8; 32]),
    /// Client: begins a new session.
    ClientIdent(ClientIdent),
    /// Server: the new session stands.
    ServerIdent(ServerIdent),
    /// Server: the features that the client would need and does not have.
    IdentMissingFeatures(Features),
    /// Client: takes an earlier session up again.
    SessionReconnect(SessionReconnect),
    /// Server: it does not know that session (any more).
    SessionReset {
        /// Whether the client must forget everything, its own identity's cookie too.
        full: bool,
    },
    /// Server: connect_seq is too low; try again with more than this.
    SessionRetry(u64),
    /// Server: global_seq is too low; try again with more than this.
    SessionRetryGlobal(u64),
    /// Server: the session goes on; the sequence number of the last message it received.
    SessionReconnectOk(u64),
    /// Server: both sides dialed, and its own connection wins; wait for it.
    Wait,
    /// Both: a message.
    Message(MessageFrame),
    /// Both: are you there? The sender's clock.
    Keepalive2(Timestamp),
    /// Both: the stamp of the [`Keepalive2`](Frame::Keepalive2) that it answers.
    Keepalive2Ack(Timestamp),
    /// Both: every message up to this sequence number was received.
    Ack(u64),
    /// Client: what it can compress with. Only if both banners have feature COMPRESSION.
    CompressionRequest(CompressionRequest),
    /// Server: whether, and with what, frames are compressed from here on.
    CompressionDone(CompressionDone),
    /// A frame whose sender gave it up on the way: as if it had not been sent.
    #[cfg_attr(feature = "arbitrary", arbitrary(skip))]
    Aborted(Tag),
}

/// The numbers of the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the variants are those of Frame, and documented there")]
pub enum Tag {
    Hello = 1,
    AuthRequest = 2,
    AuthBadMethod = 3,
    AuthReplyMore = 4,
    AuthRequestMore = 5,
    AuthDone = 6,
    AuthSignature = 7,
    ClientIdent = 8,
    ServerIdent = 9,
    IdentMissingFeatures = 10,
    SessionReconnect = 11,
    SessionReset = 12,
    SessionRetry = 13,
    SessionRetryGlobal = 14,
    SessionReconnectOk = 15,
    Wait = 16,
    Message = 17,
    Keepalive2 = 18,
    Keepalive2Ack = 19,
    Ack = 20,
    CompressionRequest = 21,
    CompressionDone = 22,
}

impl Tag {
    /// All tags with their names, in the order of their numbers.
    pub const ALL: [(Self, &'static str); 22] = [
        (Self::Hello, "HELLO"),
        (Self::AuthRequest, "AUTH_REQUEST"),
        (Self::AuthBadMethod, "AUTH_BAD_METHOD"),
        (Self::AuthReplyMore, "AUTH_REPLY_MORE"),
        (Self::AuthRequestMore, "AUTH_REQUEST_MORE"),
        (Self::AuthDone, "AUTH_DONE"),
        (Self::AuthSignature, "AUTH_SIGNATURE"),
        (Self::ClientIdent, "CLIENT_IDENT"),
        (Self::ServerIdent, "SERVER_IDENT"),
        (Self::IdentMissingFeatures, "IDENT_MISSING_FEATURES"),
        (Self::SessionReconnect, "SESSION_RECONNECT"),
        (Self::SessionReset, "SESSION_RESET"),
        (Self::SessionRetry, "SESSION_RETRY"),
        (Self::SessionRetryGlobal, "SESSION_RETRY_GLOBAL"),
        (Self::SessionReconnectOk, "SESSION_RECONNECT_OK"),
        (Self::Wait, "WAIT"),
        (Self::Message, "MESSAGE"),
        (Self::Keepalive2, "KEEPALIVE2"),
        (Self::Keepalive2Ack, "KEEPALIVE2_ACK"),
        (Self::Ack, "ACK"),
        (Self::CompressionRequest, "COMPRESSION_REQUEST"),
        (Self::CompressionDone, "COMPRESSION_DONE"),
    ];

    /// The tag with this number.
    #[must_use]
    #[inline]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).map(|(tag, _)| *tag)
    }

    /// Its name in the protocol.
    #[must_use]
    #[inline]
    pub fn name(self) -> &'static str {
        Self::ALL.get(self as usize - 1).map_or("", |(_, name)| name)
    }
}

impl Frame {
    /// The tag, or nothing for the banner, which has none.
    #[must_use]
    pub fn tag(&self) -> Option<Tag> {
        Some(match self {
            Self::Banner(_) => return None,
            Self::Hello(_) => Tag::Hello,
            Self::AuthRequest(_) => Tag::AuthRequest,
            Self::AuthBadMethod(_) => Tag::AuthBadMethod,
            Self::AuthReplyMore(_) => Tag::AuthReplyMore,
            Self::AuthRequestMore(_) => Tag::AuthRequestMore,
            Self::AuthDone(_) => Tag::AuthDone,
            Self::AuthSignature(_) => Tag::AuthSignature,
            Self::ClientIdent(_) => Tag::ClientIdent,
            Self::ServerIdent(_) => Tag::ServerIdent,
            Self::IdentMissingFeatures(_) => Tag::IdentMissingFeatures,
            Self::SessionReconnect(_) => Tag::SessionReconnect,
            Self::SessionReset { .. } => Tag::SessionReset,
            Self::SessionRetry(_) => Tag::SessionRetry,
            Self::SessionRetryGlobal(_) => Tag::SessionRetryGlobal,
            Self::SessionReconnectOk(_) => Tag::SessionReconnectOk,
            Self::Wait => Tag::Wait,
            Self::Message(_) => Tag::Message,
            Self::Keepalive2(_) => Tag::Keepalive2,
            Self::Keepalive2Ack(_) => Tag::Keepalive2Ack,
            Self::Ack(_) => Tag::Ack,
            Self::CompressionRequest(_) => Tag::CompressionRequest,
            Self::CompressionDone(_) => Tag::CompressionDone,
            Self::Aborted(tag) => *tag,
        })
    }
}

/// The payload of the banner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Banner {
    /// What the sender can do.
    pub supported: MsgrFeatures,
    /// What the peer must be able to do.
    pub required: MsgrFeatures,
}

/// Who the sender is, and how it sees the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Hello {
    /// The sender's entity type. The server chooses its policy by it.
    pub entity_type: EntityType,
    /// The receiver's address: the client says what it dialed, the server what it sees the client come from.
    pub peer_addr: EntityAddr,
}

/// The client asks to be authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct AuthRequest {
    /// See [`method`](super::method).
    pub method: u32,
    /// Connection modes ([`mode`](super::mode)), the one it likes best first.
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary::few))]
    pub preferred_modes: Vec<u32>,
    /// The method's first payload.
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary::bytes))]
    pub payload: Bytes,
}

/// The server refuses a method.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct AuthBadMethod {
    /// The method that it refuses.
    pub method: u32,
    /// Why: a negative errno.
    pub result: i32,
    /// The methods that it would take.
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary::few))]
    pub allowed_methods: Vec<u32>,
    /// The modes that it would take.
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary::few))]
    pub allowed_modes: Vec<u32>,
}

/// The server accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct AuthDone {
    /// The client's id in the cluster, from monitors.
    pub global_id: u64,
    /// The mode of everything that follows.
    pub mode: u32,
    /// The method's last payload.
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary::bytes))]
    pub payload: Bytes,
}

/// The client's identity and the session it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ClientIdent {
    /// All addresses of the client.
    pub addrs: AddrVec,
    /// The address it dialed.
    pub target: EntityAddr,
    /// The number in its entity name; −1 while it does not know.
    pub gid: i64,
    /// Number of this attempt among all of that client process.
    pub global_seq: u64,
    /// Features it has.
    pub features_supported: Features,
    /// Features the server must have.
    pub features_required: Features,
    /// Bit 0: [`LOSSY`](Self::LOSSY).
    pub flags: u64,
    /// Its name for the session.
    pub cookie: u64,
}

impl ClientIdent {
    /// In `flags` of both idents: the session ends with the connection.
    pub const LOSSY: u64 = 1;
}

/// The server's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ServerIdent {
    /// All addresses of the server.
    pub addrs: AddrVec,
    /// The number in its entity name.
    pub gid: i64,
    /// Number of this session among all of that server process.
    pub global_seq: u64,
    /// Features it has.
    pub features_supported: Features,
    /// Features the client must have.
    pub features_required: Features,
    /// Bit 0: [`LOSSY`](ClientIdent::LOSSY).
    pub flags: u64,
    /// Its name for the session; 0 for a lossy one.
    pub cookie: u64,
}

/// The client takes a session up again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct SessionReconnect {
    /// All addresses of the client.
    pub addrs: AddrVec,
    /// The client's name for the session.
    pub client_cookie: u64,
    /// The server's name for it.
    pub server_cookie: u64,
    /// Number of this attempt among all of that client process.
    pub global_seq: u64,
    /// Number of this attempt in the session.
    pub connect_seq: u64,
    /// The sequence number of the last message it received.
    pub msg_seq: u64,
}

/// What the client can compress with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct CompressionRequest {
    /// Whether it wants compression at all.
    pub compress: bool,
    /// Its methods, the one it likes best first.
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary::few))]
    pub methods: Vec<Method>,
}

/// What both will compress with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct CompressionDone {
    /// Whether to compress.
    pub compress: bool,
    /// With what.
    pub method: Method,
}

/// A message, and what this sending of it adds.
///
/// Its header is segment 0 of the frame:
///
/// ```text
/// 0     8     16     18         20        22               26         28        36      37               39        41
/// │ seq │ tid │ type │ priority │ version │ pre_padding u32│ data_off │ ack_seq │ flags │ compat_version │ reserved │
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct MessageFrame {
    /// Its number in the session, from 1.
    pub seq: u64,
    /// The number of the last message that the sender received: an ack.
    pub ack_seq: u64,
    /// As in v1's footer; daemons send COMPLETE and NOCRC, the kernel sends 0, nobody looks.
    pub flags: Flags,
    /// Always 0, and ignored.
    pub pre_padding: u32,
    /// Always 0, and ignored.
    pub reserved: u16,
    /// The message.
    pub message: Message,
}
