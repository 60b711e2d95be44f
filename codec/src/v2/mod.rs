//! Messenger v2: banner, frames, and the four ways to frame them.
//!
//! ```text
//! banner       "ceph v2\n" len(u16) supported(u64) required(u64)                     once, each way
//!
//! 2.0 crc      preamble(32) seg0 seg1 seg2 seg3 epilogue(17: flags, 4 × crc)
//! 2.1 crc      preamble(32) seg0 crc0 │ seg1 seg2 seg3 epilogue(13: status, 3 × crc)
//!                                       if there are several segments
//! 2.0 secure   GCM( preamble(32) seg0 seg1 seg2 seg3 epilogue(16) ) tag
//! 2.1 secure   GCM( preamble(32) seg0[..48] ) tag │ GCM( seg0[48..] ) tag │ GCM( seg1 seg2 seg3 epilogue(16) ) tag
//!              always                               if there is more        if there are several segments
//! ```
//!
//! In secure mode every segment is padded to 16 bytes, and each `GCM(…) tag` has a nonce of its own.
//! 2.1 is spoken when both banners have feature REVISION_1. If AUTH_DONE says secure, everything behind
//! it is sealed. A [`Decoder`] turns the bytes of one direction into [`Frame`]s, an [`Encoder`] does the
//! reverse; neither knows what frames mean for a session.
//!
//! Ceph: `src/msg/async/frames_v2.{h,cc}`, `ProtocolV2.cc`.

#[cfg(feature = "secure")]
mod aead;
mod compress;
mod decoder;
mod encoder;
mod fields;
mod frame;
mod preamble;

#[cfg(feature = "secure")]
pub use aead::{Keys, SECRET_LEAST, SecretTooShort, TAG_LEN};
pub use compress::Method;
pub use decoder::{Announcement, Decoder, Footprint, Progress};
pub use encoder::{Compression, Encoder};
pub use frame::{
    AuthBadMethod, AuthDone, AuthRequest, Banner, ClientIdent, CompressionDone, CompressionRequest, Frame,
    Hello, MessageFrame, ServerIdent, SessionReconnect, Tag,
};
pub use preamble::{Preamble, WireLengths};

/// The first bytes of either direction.
pub const BANNER_PREFIX: [u8; 8] = *b"ceph v2\n";
/// The length of a preamble.
pub const PREAMBLE_LEN: usize = 32;
/// The greatest number of segments in a frame.
pub const MAX_SEGMENTS: usize = 4;
/// The length of a message's header, segment 0 of its frame.
pub const MESSAGE_HEADER_LEN: usize = 41;

/// Which framing is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Revision {
    /// Messenger 2.0: the first one, with one epilogue for all crcs.
    V2_0,
    /// Messenger 2.1: both peers have feature REVISION_1 (every Ceph since 14.2.11).
    #[default]
    V2_1,
}

/// Connection modes, as AUTH_REQUEST and AUTH_DONE number them.
pub mod mode {
    /// None chosen.
    pub const UNKNOWN: u32 = 0;
    /// Frames are protected by crc against accidents.
    pub const CRC: u32 = 1;
    /// Frames are encrypted and authenticated.
    pub const SECURE: u32 = 2;

    /// The name that Ceph's options use.
    #[must_use]
    pub const fn name(mode: u32) -> Option<&'static str> {
        match mode {
            UNKNOWN => Some("unknown"),
            CRC => Some("crc"),
            SECURE => Some("secure"),
            _ => None,
        }
    }
}

/// Authentication methods, as AUTH_REQUEST and v1's connect number them.
pub mod method {
    /// None chosen.
    pub const UNKNOWN: u32 = 0;
    /// Everybody is who they say.
    pub const NONE: u32 = 1;
    /// Ceph's own, with tickets from the monitors.
    pub const CEPHX: u32 = 2;
    /// Kerberos.
    pub const GSS: u32 = 4;

    /// The name that Ceph's options use.
    #[must_use]
    pub const fn name(method: u32) -> Option<&'static str> {
        match method {
            UNKNOWN => Some("unknown"),
            NONE => Some("none"),
            CEPHX => Some("cephx"),
            GSS => Some("gss"),
            _ => None,
        }
    }
}

/// late_status (2.1): the low nibble of a complete frame, and of one that its sender gave up.
pub(crate) const LATE_COMPLETE: u8 = 0x0e;
pub(crate) const LATE_ABORTED: u8 = 0x01;
/// late_flags (2.0): set if the sender gave the frame up.
pub(crate) const LATE_FLAG_ABORTED: u8 = 0x01;
