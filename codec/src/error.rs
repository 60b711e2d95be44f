//! In which ways can bytes be wrong, and where did it happen?
//!
//! Incomplete input is not an error: decoders answer [`Progress::More`](crate::v2::Progress::More)
//! and wait. Everything here means that the peer, or whatever stands between, broke the protocol;
//! Ceph calls that a *fault* and closes the TCP connection.

use std::fmt;

/// Bytes that no peer which follows the protocol sends: the place, and what is wrong there.
///
/// A decoder that returned one stays at it: every later call gives the same error, because after
/// a malformed frame the next frame's start is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{frame}: {field} at stream offset {offset}: {flaw}")]
pub struct Malformed {
    /// The frame or structure in which it happened, by its name in the protocol: `preamble`,
    /// `MESSAGE`, `CLIENT_IDENT`, `connect`.
    pub frame: &'static str,
    /// The field, by its name in the protocol: `crc`, `front_len`, `num_segments`.
    pub field: &'static str,
    /// Bytes of this direction of the stream before the field's first byte. For text, the byte
    /// offset in the text; inside a compressed segment, the offset of the segment. Inside a sealed
    /// frame it is counted without the authentication tags before it.
    pub offset: u64,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What is wrong with a field, with the numbers needed to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// A constant of the protocol has another value.
    #[error("expected {expected:#x}, found {found:#x}")]
    Value {
        /// The only value allowed.
        expected: u64,
        /// The value on the wire.
        found: u64,
    },
    /// A value outside its range.
    #[error("expected {least}..={most}, found {found}")]
    Range {
        /// The least value allowed.
        least: u64,
        /// The greatest value allowed.
        most: u64,
        /// The value on the wire.
        found: u64,
    },
    /// A length above what [`Limits`](crate::Limits) allows, in bytes.
    #[error("{found} bytes announced, the limit is {limit}")]
    TooLong {
        /// The limit that applies.
        limit: u64,
        /// The length announced.
        found: u64,
    },
    /// A structure ends before this field does, in bytes.
    #[error("{expected} bytes needed, {found} left")]
    TooShort {
        /// Bytes that the field needs.
        expected: u64,
        /// Bytes that are left.
        found: u64,
    },
    /// A checksum does not hold.
    #[error("crc expected {expected:#010x}, found {found:#010x}")]
    Crc {
        /// The checksum of the bytes that arrived.
        expected: u32,
        /// The checksum that the peer sent.
        found: u32,
    },
    /// A tag or type that the protocol does not have, or not in this place.
    #[error("unknown or not allowed here: {found}")]
    Unknown {
        /// The value on the wire.
        found: u64,
    },
    /// The AES-GCM tag does not hold: altered bytes, another key, or a lost frame before.
    #[error("authentication tag does not match")]
    Seal,
    /// More frames than the cipher may protect under one key: the nonce would come back.
    #[error("nonces of this connection are used up")]
    Exhausted,
    /// The frame says that it is compressed, and no (supported) compression was negotiated.
    #[error("compressed, but no compression method is in force")]
    NotCompressible,
    /// A compressed segment cannot be inflated.
    #[error("not a valid {method} block")]
    Inflate {
        /// The name of the method: `snappy`, `zlib`, `zstd`, `lz4`.
        method: &'static str,
    },
    /// Text that does not read as what it should be.
    #[error("{expected} expected")]
    Text {
        /// What should stand there.
        expected: &'static str,
    },
}

/// The sender's GCM nonces are used up; the connection must close (CVE-2020-1759).
///
/// Ceph: `ceph::crypto::onwire::TxHandlerError("out of nonces")` in `src/msg/async/crypto_onwire.cc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the nonces of this connection are used up: it must be closed and opened anew")]
pub struct Exhausted;

impl Malformed {
    pub(crate) const fn new(frame: &'static str, field: &'static str, offset: u64, flaw: Flaw) -> Self {
        Self { frame, field, offset, flaw }
    }
}

/// Why a frame could not be encoded. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unencodable {
    /// The cipher's nonces are used up.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// A part is longer than its length field can say, or than the receiver's limit for it.
    #[error("{frame}: {field} has {found} bytes, the limit is {limit}")]
    TooLong {
        /// The frame.
        frame: &'static str,
        /// The part.
        field: &'static str,
        /// The greatest length.
        limit: u64,
        /// The length asked for.
        found: u64,
    },
    /// In 2.1 only a message with a payload can be aborted: a frame of one segment has no epilogue.
    #[error("a message without payload cannot be aborted")]
    NothingToAbort,
}

/// Shows bytes in hex without allocating; for `Debug` of things that are bytes.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
