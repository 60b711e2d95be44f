//! Ceph's messenger protocols as a pure codec: what do the bytes mean?
//!
//! No sockets, clocks, threads, randomness or async: bytes go in, frames come out, and the reverse. Who
//! may say what when, and what must not be lost, is the business of the layers above.
//!
//! ```text
//!            bytes in                                              bytes out
//!               │  recv_buf / received, or feed                        ▲  Chunks: a gather list
//!        ┌──────▼──────┐                                        ┌──────┴──────┐
//!        │ v1::Decoder │──► v1::Frame                           │ v1::Encoder │◄── v1::Frame
//!        │ v2::Decoder │──► v2::Frame                           │ v2::Encoder │◄── v2::Frame
//!        └─────────────┘                                        └─────────────┘
//! ```
//!
//! | module | answers |
//! |---|---|
//! | [`v1`] | messenger v1: banner, connect and reply, tagged items |
//! | [`v2`] | messenger v2: banner, frames in four framings |
//! | [`Message`], [`Payload`] | what is a message, whichever protocol carries it? |
//! | [`EntityAddr`], [`AddrVec`] | where does an entity live? |
//! | [`EntityName`], [`EntityType`], [`Timestamp`] | who is it, and when did it speak? |
//! | [`Features`], [`MsgrFeatures`] | what can a peer do? |
//! | [`Limits`], [`Malformed`] | how much is believed, and what is wrong? |
//! | [`crc`] | what is a crc in Ceph? |
//! | `arbitrary` (feature) | what is any frame, for fuzzing and property tests? |
//!
//! # Example
//! ```
//! use cephwire_codec::v2::{Decoder, Encoder, Frame, MessageFrame};
//! use cephwire_codec::{Chunks, Header, Message, MessageType, Payload};
//!
//! let message = Message {
//!     header: Header { kind: MessageType::PING, ..Header::default() },
//!     front: Payload::from(&b"front"[..]),
//!     ..Message::default()
//! };
//! let sent = Frame::Message(MessageFrame { seq: 1, message, ..MessageFrame::default() });
//!
//! let mut out = Chunks::new();
//! Encoder::new().encode(&sent, &mut out)?;
//!
//! let mut decoder = Decoder::mid_stream(Default::default(), 0); // no banner in this example
//! for piece in out.take_pieces() {
//!     decoder.feed(&piece);
//! }
//! assert_eq!(decoder.next_frame()?, Some(sent));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//! | feature | adds |
//! |---|---|
//! | `secure` (default) | msgr2 secure mode, in pure Rust |
//! | `aws-lc-rs` | secure mode by aws-lc's assembler, four to six times as fast with large messages |
//! | `crc-fast` | crc32c by another crate, faster on processors with AVX-512 |
//! | `lz4`, `snappy`, `zlib`, `zstd` | msgr2 on-wire compression |
//! | `arbitrary` | `Arbitrary` for frames |

mod addr;
#[cfg(feature = "arbitrary")]
pub mod arbitrary;
mod chunks;
pub mod crc;
mod error;
mod features;
mod intake;
mod limits;
mod message;
mod message_type;
mod name;
mod parse;
mod payload;
pub mod v1;
pub mod v2;

pub use addr::{AddrType, AddrVec, EntityAddr, LEGACY_LEN};
pub use chunks::{COPY_BELOW, Chunks};
pub use error::{Exhausted, Flaw, Malformed, Unencodable};
pub use features::{Features, MsgrFeatures};
pub use intake::Room;
pub use limits::Limits;
pub use message::{Flags, Header, Message, priority};
pub use message_type::MessageType;
pub use name::{EntityName, EntityType, Timestamp};
pub use payload::Payload;

/// The two ends of a TCP connection: who dialed, who accepted. (Which has nothing to do with entity types.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The end that opened the connection.
    Client,
    /// The end that accepted it.
    Server,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}
