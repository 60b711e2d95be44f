//! Messenger v1: banner, connect and reply, then tagged items.
//!
//! ```text
//! client                                             server
//!                      ◄── banner(9) its address(136) client's address as it sees it(136)
//! banner(9) its address(136) ──►
//! connect(33) authorizer ──►                         \ again on the same stream
//!                      ◄── reply(26) authorizer      / until READY or SEQ
//! [after SEQ: u64 in_seq each way, the server first]
//! ══════════════ open: items, each a tag byte and what belongs to it ══════════════
//!
//! item     MSG(7) header(53) front middle data footer(21 or 13)   ACK(8) u64   KEEPALIVE2(14) stamp(8) …
//! ```
//!
//! Neither side waits for the other's banner. Nothing on the wire says what comes next in the
//! handshake: the owner of a [`Decoder`] tells it ([`Decoder::expect`]).
//!
//! Ceph: `src/msg/async/ProtocolV1.cc`, `src/include/msgr.h`; Linux: `net/ceph/messenger_v1.c`.

mod decoder;
mod encoder;
mod fields;
mod frame;

pub use decoder::{Announcement, Decoder, Expect, Footprint, Progress};
pub use encoder::{Encoder, Signer};
pub use frame::{Connect, ConnectReply, Frame, MessageFrame, Signed, Tag};

/// The first bytes of either direction. Its first 7 are also those of v2's banner.
pub const BANNER: [u8; 9] = *b"ceph v027";
/// The length of connect, without authorizer.
pub const CONNECT_LEN: usize = 33;
/// The length of connect_reply, without authorizer.
pub const REPLY_LEN: usize = 26;
/// The length of a message's header, without its tag byte.
pub const MESSAGE_HEADER_LEN: usize = 53;
/// The length of a message's footer with signature, for peers with feature MSG_AUTH.
pub const FOOTER_LEN: usize = 21;
/// The length of a message's footer without signature.
pub const OLD_FOOTER_LEN: usize = 13;
/// Bit 0 of `flags` in connect and reply: the session ends with the connection.
pub const CONNECT_LOSSY: u8 = 1;

/// How messages are framed once the stream is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Framing {
    /// Footers have a signature field (21 bytes): both peers have feature MSG_AUTH.
    pub signature: bool,
    /// The crcs of header, front and middle are sent and checked (`ms_crc_header`); both ends must agree.
    pub header_crc: bool,
    /// The crc of the data is sent, and checked unless the sender says it has none (`ms_crc_data`).
    pub data_crc: bool,
}

impl Default for Framing {
    fn default() -> Self {
        Self { signature: true, header_crc: true, data_crc: true }
    }
}

impl Framing {
    /// The length of a footer.
    #[must_use]
    pub const fn footer_len(&self) -> usize {
        if self.signature { FOOTER_LEN } else { OLD_FOOTER_LEN }
    }
}
