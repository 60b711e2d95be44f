//! What is a message, whichever protocol carries it?

use crate::message_type::MessageType;
use crate::payload::Payload;

/// A message: what an application sends and receives.
///
/// The parts are opaque here: `front` holds the encoded fields of the message's type, `middle` is in
/// use for a few file system messages, `data` is bulk data. What the wire adds (sequence number,
/// lengths, checksums, acknowledgement) is not part of a message: it differs with every sending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Message {
    /// The fields that travel in both protocols' message headers.
    pub header: Header,
    /// The encoded fields.
    pub front: Payload,
    /// The middle part.
    pub middle: Payload,
    /// Bulk data.
    pub data: Payload,
}

impl Message {
    /// The bytes of all three parts together.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.front.len() + self.middle.len() + self.data.len()
    }

    /// Copies all parts out of the blocks they were read with ([`Payload::detach`]).
    pub fn detach(&mut self) {
        self.front.detach();
        self.middle.detach();
        self.data.detach();
    }
}

/// The fields of a message's header that both protocols have and that belong to the message.
///
/// Ceph: `ceph_msg_header` (v1), `ceph_msg_header2` (v2) in `src/include/msgr.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Header {
    /// Transaction id: a request's number, which the reply repeats. Opaque to the messenger.
    pub tid: u64,
    /// Which message it is; names the encoding of `front`.
    pub kind: MessageType,
    /// Greater is more urgent: see [`priority`].
    pub priority: u16,
    /// Version of the encoding of `front`.
    pub version: u16,
    /// The oldest version whose decoders can read this encoding; 0 from some kernel clients.
    pub compat_version: u16,
    /// Where in a page the data should be placed by the receiver (low bits of a file offset): a hint,
    /// which never changes what is on the wire.
    pub data_off: u16,
}

/// Priorities that Ceph uses; any value between is as good.
pub mod priority {
    /// Background work.
    pub const LOW: u16 = 64;
    /// What a message has that asks for nothing special.
    pub const DEFAULT: u16 = 127;
    /// Heartbeats, replies of monitors, maps.
    pub const HIGH: u16 = 196;
    /// Before everything else; also what a requeued message gets.
    pub const HIGHEST: u16 = 255;
}

/// The flags byte of a message: v1's footer, v2's message header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Flags(pub u8);

impl Flags {
    /// The message was sent whole. Without it in a v1 footer, the sender gave the message up on the way.
    pub const COMPLETE: Self = Self(1);
    /// The crc of the data was not computed (by the message itself: in v2 the frame's crc holds all the same).
    pub const NOCRC: Self = Self(2);
    /// The footer's signature is valid (v1).
    pub const SIGNED: Self = Self(4);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the bits of `other` as well.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without the bits of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl Default for Flags {
    fn default() -> Self {
        Self::COMPLETE
    }
}
